//! Fields of objects that restrict who may reach a route, wherever they are in it.

use lb_core::credentials::{hidden_in_value, is_secret};
use lb_schemes::{plain_name as plain, restricts};
use serde_json::Value;

/// Returns `true` if a field, or one of those within it, restricts who may reach a route.
pub(crate) fn in_field(field: &str, found: &Value) -> bool {
    let is_off = matches!(found, Value::Bool(false) | Value::Null);
    // What describes an object restricts nothing.
    let describes = matches!(
        plain(field).as_str(),
        "annotations" | "labels" | "meta" | "metadata" | "tags"
    );
    !is_off && (restricts(field) || (!describes && within(found)))
}

fn within(found: &Value) -> bool {
    match found {
        Value::Object(fields) => fields.iter().any(|(field, found)| in_field(field, found)),
        Value::Array(items) => items.iter().any(within),
        _ => false,
    }
}

/// Returns `true` if an unknown field of this name may say what a route matches.
pub(crate) fn says_place(field: &str) -> bool {
    const WORDS: [&str; 14] = [
        "domain", "fqdn", "host", "location", "match", "path", "pattern", "prefix", "route",
        "rule", "server", "sni", "uri", "url",
    ];
    let plain = plain(field);
    WORDS.iter().any(|word| plain.contains(word))
}

/// The part of a match that an unknown field may state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Host,
    Path,
    Both,
}

/// The place of a field that [`says_place`].
pub(crate) fn place_of(field: &str) -> Place {
    let plain = plain(field);
    let has = |words: &[&str]| words.iter().any(|word| plain.contains(word));
    match (
        has(&["domain", "fqdn", "host", "sni"]),
        has(&["location", "path", "prefix"]),
    ) {
        (true, false) => Place::Host,
        (false, true) => Place::Path,
        _ => Place::Both,
    }
}

/// Returns `true` if a text can be nothing but an address, an URL, a host or a path, with or without credentials.
pub(crate) fn is_place(text: &str) -> bool {
    let plain = hidden_in_value(text);
    let fits = |c: char| c.is_ascii_alphanumeric() || ".:-_*[]@".contains(c);
    // Such as 80 or 8O: what is longer, or begins otherwise, may be a password after a user.
    let is_port = |text: &str| text.len() <= 5 && text.starts_with(|c: char| c.is_ascii_digit());
    let is_host = match plain.rsplit_once(':') {
        Some((_, port)) => is_port(port),
        None => plain.contains('.') && !plain.contains(|c: char| c.is_ascii_uppercase()),
    };
    let is_one_word = !plain.contains(|c: char| c.is_whitespace() || "{}\"`'()".contains(c));
    is_one_word
        && !is_secret(&plain)
        && (plain.contains("://") || plain.starts_with('/') || (is_host && plain.chars().all(fits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_s05_only_what_can_be_a_place_is_shown() {
        for text in [
            "web:80",
            "10.0.0.1",
            "10.0.0.1:9OOO",
            "[::1]:80",
            "*.shop.example",
            "/api",
            "http://joe:s3cret@web:80",
            "joe:s3cret@web:80",
        ] {
            assert!(is_place(text), "{text}");
        }
        for text in [
            "",
            "hunter2",
            "joe:hunter2",
            "Tr0ub4dor.3",
            "a b.c",
            "{ \"address\": \"10.0.0.1:80\" ",
            "Host(`a.example`)",
            "http://web/password=x",
        ] {
            assert!(!is_place(text), "{text}");
        }
    }
}
