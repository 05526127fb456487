//! Names of fields that restrict who may reach a route. A route whose object has one that lb does not know is withheld.

pub(crate) use lb_schemes::restricts;

/// Returns `true` if a text, such as the name of a field or a whole object, may have a secret in it.
pub(crate) fn may_hold_secret(text: &str) -> bool {
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
    let plain = text.to_ascii_lowercase().replace(['_', '-'], "");
    HINTS.iter().any(|hint| plain.contains(hint))
}

/// A text without the user and password of the URLs in it.
pub(crate) fn without_credentials(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut left = text;
    while let Some((before, after)) = left.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '`' | ',' | '}'))
            .unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        // A password may have a slash: what comes before the last @ of the whole word is no host.
        let word = after
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '`' | '}'))
            .unwrap_or(after.len());
        match after.get(..word).and_then(|word| word.rfind('@')) {
            Some(at) if at < authority.len() || authority.contains(':') => {
                out.push_str("***");
                left = after.get(at..).unwrap_or_default();
            }
            _ => {
                out.push_str(authority);
                left = rest;
            }
        }
    }
    out.push_str(left);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_s04_fields_that_restrict_are_known_by_their_names() {
        for field in [
            "auth",
            "basic_auth",
            "BasicAuth",
            "auth_request",
            "ip_whitelist",
            "ipAllowList",
            "jwt_validator",
            "Middlewares",
            "users",
            "allow",
            "verify-client-ssl",
            "internal",
            "password",
            "acl",
            "source_range",
        ] {
            assert!(restricts(field), "{field}");
        }
        for field in [
            "host", "path", "comment", "version", "owner", "wieght", "tags",
        ] {
            assert!(!restricts(field), "{field}");
        }
    }

    #[test]
    fn case_s05_credentials_in_urls_are_not_shown() {
        for (text, expected) in [
            ("postgres://u:p@h:5432/x", "postgres://***@h:5432/x"),
            ("postgres://u:p/w@h:5432/x", "postgres://***@h:5432/x"),
            (
                r#"{"a":"http://joe:s3cret@10.0.0.1/","b":"http://h/x@y"}"#,
                r#"{"a":"http://***@10.0.0.1/","b":"http://h/x@y"}"#,
            ),
            ("http://10.0.0.1:80/a", "http://10.0.0.1:80/a"),
            ("no url: joe@x", "no url: joe@x"),
        ] {
            assert_eq!(without_credentials(text), expected);
        }
    }
}
