//! What a matcher that cannot be read matches at most: the narrowest host and path that routes can express and that have
//! all its requests. There, what is protected is withheld.

use lb_core::{PathMatch, RouteHost};

/// The paths that `pattern` may match: those that begin with what is literal at its begin. None: any path, as for one
/// that is not bound to the begin.
///
/// ```
/// use lb_schemes::widen::path_of_pattern;
///
/// assert_eq!(path_of_pattern("^/admin(/.*)?$").unwrap().to_string(), "^/admin");
/// assert_eq!(path_of_pattern("^/a/bs?"), "^/a/b".parse().ok());
/// assert_eq!(path_of_pattern("/admin"), None);
/// assert_eq!(path_of_pattern("^/a|/b"), None);
/// ```
#[must_use]
pub fn path_of_pattern(pattern: &str) -> Option<PathMatch> {
    let inner = pattern.strip_prefix('^')?;
    if alternates(inner) {
        return None;
    }
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c) if is_literal(c) || c == '.' => text.push(c),
                _ => break,
            },
            // The one before it may be missing.
            '?' | '*' | '{' => {
                text.pop();
                break;
            }
            c if is_literal(c) => text.push(c),
            _ => break,
        }
    }
    beginning(&text)
}

/// The paths that begin as `text` does, as far as that can be read. None: any path.
#[must_use]
pub fn beginning(text: &str) -> Option<PathMatch> {
    let mut ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let mut longest = None;
    // A text that cannot be read does not become readable again.
    while let Some(found) = ends
        .next()
        .filter(|end| *end <= MAX_LITERAL)
        .and_then(|end| text.get(..end))
        .and_then(|text| format!("^{text}").parse::<PathMatch>().ok())
    {
        longest = Some(found);
    }
    longest.filter(|path| path.text() != "/")
}

/// The hosts that `pattern` may match: those of the domain that it ends in. Empty: any host.
///
/// ```
/// use lb_schemes::widen::hosts_of_pattern;
///
/// let shown = |pattern: &str| -> Vec<String> {
///     hosts_of_pattern(pattern).iter().map(ToString::to_string).collect()
/// };
/// assert_eq!(shown(r"^[a-z]+\.shop\.example$"), ["*.shop.example"]);
/// assert_eq!(shown(r"^s[12]\.shop\.example$"), ["*.shop.example"]);
/// assert_eq!(shown(r"^(.+\.)?shop\.example$"), ["shop.example", "*.shop.example"]);
/// assert_eq!(shown("{sub:[a-z]+}.shop.example"), ["*.shop.example"]);
/// assert!(shown(r"^shop\.").is_empty());
/// assert_eq!(shown(r"^([a-z]+\.)?shop\.example$"), ["shop.example", "*.shop.example"]);
/// assert!(shown(r"^a|b\.example$").is_empty());
/// assert!(shown("a|{sub}.example").is_empty());
/// ```
#[must_use]
pub fn hosts_of_pattern(pattern: &str) -> Vec<RouteHost> {
    let pattern = pattern.strip_prefix("(?i)").unwrap_or(pattern);
    if let Some(end) = end_of_template(pattern) {
        return hosts_ending_in(end);
    }
    let Some(inner) = pattern
        .strip_suffix('$')
        .filter(|inner| !inner.ends_with('\\'))
    else {
        return Vec::new();
    };
    if alternates(inner) {
        return Vec::new();
    }
    // `(.+\.)?a\.example` is what is below a domain, and the domain.
    if let Some((label, domain)) = inner
        .strip_prefix("^(")
        .and_then(|group| group.split_once("\\.)?"))
        && !label.contains(['|', '(', ')', '\\'])
        && label.matches('[').count() == label.matches(']').count()
        && let Some(domain) = literal_end(domain).filter(|end| end.len() == unescaped(domain))
    {
        let both = [domain.clone(), format!("*.{domain}")];
        return both.iter().filter_map(|text| text.parse().ok()).collect();
    }
    literal_end(inner).map_or_else(Vec::new, |end| hosts_ending_in(&end))
}

/// The hosts that end in a text. What stands before its first dot is a part of a label. Empty: any host.
#[must_use]
pub fn hosts_ending_in(end: &str) -> Vec<RouteHost> {
    let domain = end.split_once('.').map(|(_, domain)| domain);
    let below = domain.and_then(|domain| format!("*.{domain}").parse().ok());
    below.into_iter().collect()
}

/// The text after the last brace of the form before Traefik 3, `{name:.+}.example`: what is outside of braces stands
/// for itself.
fn end_of_template(pattern: &str) -> Option<&str> {
    let inside = pattern.split_once('{')?.1;
    let mut depth = 0_u32;
    let literal = pattern.chars().all(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c => return depth > 0 || is_literal(c) || c == '.',
        }
        true
    });
    let is_template = literal && inside.starts_with(|c: char| c.is_ascii_alphabetic());
    let end = pattern.rsplit_once('}')?.1;
    is_template.then_some(end)
}

/// The literal text that every match of a pattern without alternatives ends with.
fn literal_end(pattern: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                c @ ('.' | '-' | '_') => text.push(c),
                _ => text.clear(),
            },
            c if is_literal(c) && c != '/' => text.push(c),
            _ => text.clear(),
        }
    }
    Some(text)
}

/// The number of characters a pattern has without what escapes them.
fn unescaped(pattern: &str) -> usize {
    pattern.bytes().filter(|b| *b != b'\\').count()
}

fn is_literal(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/-_~".contains(c)
}

/// Returns `true` if a pattern may have alternatives that are not within a group.
fn alternates(pattern: &str) -> bool {
    if pattern.contains("\\Q") {
        return true;
    }
    let (mut depth, mut class) = (0_u32, false);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            // With a class that has brackets of its own, it is not known where what ends.
            '[' if class => return true,
            '[' => class = true,
            ']' => class = false,
            '(' if !class => depth += 1,
            ')' if !class => depth = depth.saturating_sub(1),
            '|' if !class && depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// The longest beginning of a path that is looked at.
const MAX_LITERAL: usize = 256;
