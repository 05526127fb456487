//! Hides what authenticates in texts from outside before they are shown.
//!
//! Pure.

use std::borrow::Cow;

/// The text in the place of what is hidden.
const HIDDEN: &str = "***";

/// The text without the user and password of the URLs and addresses in it, and without the query of URLs.
///
/// ```
/// use lb_core::credentials::hidden;
///
/// assert_eq!(hidden("http://joe:s3cret@10.0.0.1/x refuses"), "http://***@10.0.0.1/x refuses");
/// assert_eq!(hidden("joe:s3cret@db"), "***@db");
/// assert_eq!(hidden("http://10.0.0.1/x?token=s3cret"), "http://10.0.0.1/x?***");
/// assert_eq!(hidden("web@docker is unknown"), "web@docker is unknown");
/// ```
#[must_use]
pub fn hidden(text: &str) -> Cow<'_, str> {
    if !text.contains(['@', '?']) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '}' | ')');
    for word in text.split_inclusive(ends) {
        safe.push_str(&of_word(word));
    }
    Cow::Owned(safe)
}

/// The same of a text that is one value: what comes before its last `@` is hidden, whatever is in it.
///
/// ```
/// use lb_core::credentials::hidden_in_value;
///
/// assert_eq!(hidden_in_value("joe:pass word, or@two@db"), "***@db");
/// assert_eq!(hidden_in_value("http://joe:s3@a, http://jim:s3@b"), "http://***@b");
/// assert_eq!(hidden_in_value("Host(`joe:s3@a`) && Path(`/`)"), "***@a`) && Path(`/`)");
/// ```
#[must_use]
pub fn hidden_in_value(text: &str) -> Cow<'_, str> {
    match text.rsplit_once('@') {
        Some((before, after)) if before.contains(':') => {
            let scheme = scheme(before);
            Cow::Owned(format!("{scheme}{HIDDEN}@{}", hidden(after)))
        }
        _ => hidden(text),
    }
}

/// A parser's message without the values that it found and quotes. What it expected stays.
///
/// ```
/// use lb_core::credentials::without_quoted;
///
/// let message = "invalid type: string \"s3cret\", expected a table `auth`";
/// assert_eq!(without_quoted(message), "invalid type: string, expected a table `auth`");
/// assert_eq!(without_quoted("invalid type: integer `7`, expected a text"), "invalid type: integer, expected a text");
/// ```
#[must_use]
pub fn without_quoted(message: &str) -> String {
    let (found, expected) = match message.find(", expected") {
        Some(at) => message.split_at(at),
        None => (message, ""),
    };
    let shown = found.starts_with("missing field");
    let mut safe = String::new();
    let mut rest = found;
    while let Some(at) = rest.find(['"', '`', '\'']).filter(|_| !shown) {
        let (before, quoted) = rest.split_at(at);
        safe.push_str(before.trim_end());
        // An opening quote without its other end hides the rest.
        let quote = quoted.chars().next().unwrap_or('"');
        rest = quoted
            .get(1..)
            .and_then(|inside| inside.rsplit_once(quote))
            .map_or("", |(_, after)| after);
    }
    safe.push_str(rest);
    safe.push_str(expected);
    safe
}

/// Returns `true` if a field of this name says who may do something, or proves it.
///
/// ```
/// use lb_core::credentials::is_secret;
///
/// assert!(is_secret("connection.auth") && is_secret("api-key") && is_secret("Pass_word"));
/// assert!(!is_secret("weight"));
/// ```
#[must_use]
pub fn is_secret(name: &str) -> bool {
    const HINTS: [&str; 9] = [
        "pass",
        "secret",
        "token",
        "auth",
        "user",
        "credential",
        "private",
        "apikey",
        "jwt",
    ];
    let plain = name.to_ascii_lowercase().replace(['_', '-'], "");
    HINTS.iter().any(|hint| plain.contains(hint))
}

/// One word, with the character that ends it.
fn of_word(word: &str) -> Cow<'_, str> {
    let word = match word.rsplit_once('@') {
        Some((before, after)) if before.contains(':') => {
            Cow::Owned(format!("{}{HIDDEN}@{after}", scheme(before)))
        }
        _ => Cow::Borrowed(word),
    };
    match word.split_once('?') {
        Some((before, query)) if query.contains('=') => {
            let end = query
                .chars()
                .next_back()
                .filter(|c| !c.is_alphanumeric() && *c != '=');
            let end = end.map(String::from).unwrap_or_default();
            Cow::Owned(format!("{before}?{HIDDEN}{end}"))
        }
        _ => word,
    }
}

/// The beginning of a text that is an URL: `http://`.
fn scheme(text: &str) -> &str {
    let (scheme, _) = text.split_once("://").unwrap_or_default();
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    match !scheme.is_empty() && scheme.bytes().all(fits) {
        true => text.get(..scheme.len() + 3).unwrap_or_default(),
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_s05_credentials_are_hidden_wherever_they_are() {
        for (text, expected) in [
            ("postgres://u:p@h:5432/x", "postgres://***@h:5432/x"),
            ("postgres://u:p/w@h:5432/x", "postgres://***@h:5432/x"),
            (
                "host is \"joe:s3@h\", expected",
                "host is \"***@h\", expected",
            ),
            (
                "a http://u:p@a, tcp://v:q@b.",
                "a http://***@a, tcp://***@b.",
            ),
            ("http://10.0.0.1:80/a", "http://10.0.0.1:80/a"),
            ("is it so?", "is it so?"),
            ("web@docker", "web@docker"),
        ] {
            assert_eq!(hidden(text), expected);
        }
    }

    proptest! {
        #[test]
        fn case_s05_a_password_of_any_characters_is_hidden_in_a_value(password in "[a-z0-9!-/:-@]{8,20}", scheme in "(|http://|postgres://)") {
            let text = format!("{scheme}joe:{password}@host");
            // `joe:` before two slashes is the scheme of an URL.
            let scheme = match scheme.is_empty() && password.starts_with("//") {
                true => "joe://",
                false => &scheme,
            };
            prop_assert_eq!(hidden_in_value(&text), format!("{scheme}***@host"));
        }
    }
}
