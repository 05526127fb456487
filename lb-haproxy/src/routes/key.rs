//! How a host and a path are written as the key of a map entry, and which key goes before which.

use std::{
    borrow::{Borrow, Cow},
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
    ops::Bound,
};

use lb_core::{PathMatch, RouteHost};

/// The most labels of a wildcard's domain: `*.shop.example` has two.
///
/// The frontend tries this many parents of a request's host, those with the most labels first. The hosts
/// themselves may have any number.
pub const MAX_WILDCARD_LABELS: usize = 6;

/// The text after a path in a lookup. A path has no `?`, so a key that ends in it is one path and no prefix.
pub(super) const END: &str = "/?";

/// The host's part of a key.
pub(super) fn host_key(host: &RouteHost) -> String {
    match host {
        RouteHost::Any => "*".to_owned(),
        RouteHost::Exact(host) => host.as_ref().to_owned(),
        RouteHost::Wildcard(domain) => format!(".{domain}"),
    }
}

/// The path's part of a key; a key that begins with another lies below it.
pub(super) fn path_key(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("{path}{END}"),
        PathMatch::Prefix(path) => format!("{}/", path.trim_end_matches('/')),
        PathMatch::Beginning(path) => path.as_ref().to_owned(),
    }
}

/// The hosts that a host's part of a key lies below: itself, then its parents, the nearest first.
pub(super) fn host_chain(host: &str) -> Vec<Cow<'_, str>> {
    let mut chain = vec![Cow::Borrowed(host)];
    if host == "*" {
        return chain;
    }
    let below_dot = host.strip_prefix('.').unwrap_or(host);
    chain.extend(parents(below_dot).map(|parent| Cow::Owned(format!(".{parent}"))));
    chain.push(Cow::Borrowed("*"));
    chain
}

/// The hosts that are looked up for a request, in order.
pub(super) fn lookup_hosts(request: &str) -> Vec<Cow<'_, str>> {
    let mut hosts = vec![Cow::Borrowed(request)];
    let labels = request.split('.').count();
    let skipped = labels.saturating_sub(MAX_WILDCARD_LABELS + 1);
    hosts.extend(
        parents(request)
            .skip(skipped)
            .map(|parent| Cow::Owned(format!(".{parent}"))),
    );
    hosts.push(Cow::Borrowed("*"));
    hosts
}

/// The form in which a request's host is compared: lower case, up to the first `:` or `/`, without one trailing dot.
/// One that begins with a dot is none.
pub(super) fn request_host(host: &str) -> String {
    let bare = host.split([':', '/']).next().unwrap_or_default();
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    match bare.starts_with('.') {
        true => String::new(),
        false => bare.to_ascii_lowercase(),
    }
}

/// The entry whose key is the longest that the text begins with, of keys of at least `least` bytes.
///
/// Each step leaves out all keys that share no more with the text, so that there are few, and at most one per byte.
pub(super) fn longest_prefix<'m, K: Borrow<str> + Ord, V>(
    entries: &'m BTreeMap<K, V>,
    text: &str,
    least: usize,
) -> Option<&'m V> {
    let mut text = text;
    while text.len() >= least {
        let (key, value) = entries
            .range::<str, _>((Bound::Unbounded, Bound::Included(text)))
            .next_back()?;
        let key: &str = key.borrow();
        let shared = key
            .bytes()
            .zip(text.bytes())
            .take_while(|(own, other)| own == other)
            .count();
        if shared == key.len() {
            return (shared >= least).then_some(value);
        }
        // A text with other than ASCII has borders of characters.
        text = text.get(..text.floor_char_boundary(shared))?;
    }
    None
}

/// The host's part of a key, which has no `/`.
pub(super) fn host_of_key(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

/// At which look a request finds a key: the smaller, the earlier. Two keys of which one request may find both, at
/// different looks, differ in it.
fn level(key: &str) -> (u8, Reverse<usize>) {
    let host = host_of_key(key);
    match host.as_bytes().first() {
        Some(b'*') => (2, Reverse(0)),
        Some(b'.') => (1, Reverse(host.matches('.').count())),
        _ => (0, Reverse(0)),
    }
}

/// Most specific first: a key goes before all that are looked up after it for the same request.
pub(super) fn by_specificity(a: &str, b: &str) -> Ordering {
    let path = |key: &str| key.len() - key.find('/').unwrap_or(key.len());
    level(a)
        .cmp(&level(b))
        .then_with(|| path(b).cmp(&path(a)))
        .then_with(|| a.cmp(b))
}

/// The domains above a host, the nearest first, without leading dots.
fn parents(host: &str) -> impl Iterator<Item = &str> {
    host.match_indices('.')
        .filter_map(|(at, _)| host.get(at + 1..))
        .filter(|parent| !parent.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_key_goes_first() {
        let ordered = [
            "a.b.example/x/y/?",
            "a.b.example/x/",
            "a.b.example/",
            ".b.example/x/",
            ".b.example/",
            ".example/x/",
            "*/x/?",
            "*/",
        ];
        let mut shuffled = ordered;
        shuffled.reverse();
        shuffled.sort_by(|a, b| by_specificity(a, b));
        assert_eq!(shuffled, ordered);
    }

    #[test]
    fn hosts_of_any_depth_reach_the_parents_that_wildcards_may_name() {
        let deep = "1.2.3.4.a.b.c.d.e.f";
        let hosts = lookup_hosts(deep);
        assert_eq!(hosts.first().unwrap(), deep);
        assert_eq!(hosts.get(1).unwrap(), ".a.b.c.d.e.f");
        assert_eq!(hosts.last().unwrap(), "*");
        assert_eq!(hosts.len(), MAX_WILDCARD_LABELS + 2);
        assert_eq!(lookup_hosts("a.b"), ["a.b", ".b", "*"]);
    }

    #[test]
    fn requests_lose_case_port_and_trailing_dot() {
        for (given, expected) in [
            ("Shop.Example.:8080", "shop.example"),
            ("shop.example..", "shop.example."),
            (".shop.example", ""),
            ("..", ""),
            (".", ""),
            ("shop.example/admin", "shop.example"),
            ("[::1]:80", "["),
            ("", ""),
        ] {
            assert_eq!(request_host(given), expected, "{given:?}");
        }
    }

    #[test]
    fn the_longest_key_that_a_text_begins_with_is_found() {
        let keys = ["", "/", "/a", "/a.b", "/a/", "/a/b/", "/a/b/?", "/ab", "/é"];
        let map: BTreeMap<&str, &str> = keys.into_iter().map(|key| (key, key)).collect();
        for (text, expected) in [
            ("/a/b/?", Some("/a/b/?")),
            ("/a/b/c/?", Some("/a/b/")),
            ("/a/c/?", Some("/a/")),
            ("/a.c/?", Some("/a")),
            ("/aa/?", Some("/a")),
            ("/b/?", Some("/")),
            ("/è/?", Some("/")),
            ("x", None),
        ] {
            assert_eq!(longest_prefix(&map, text, 1).copied(), expected, "{text}");
        }
        assert_eq!(longest_prefix(&map, "x", 0), Some(&""));
    }
}
