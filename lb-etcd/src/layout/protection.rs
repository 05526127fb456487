//! Names of fields that restrict who may reach a route. A route whose object has one that lb does not know is withheld.

use serde_json::Value;

/// The words that restrict wherever they are in the name of a field, in lower case and without separators.
const WITHIN: [&str; 48] = [
    "accesscontrol",
    "accesslist",
    "allow",
    "apikey",
    "auth",
    "blacklist",
    "blocklist",
    "captcha",
    "cidr",
    "clientca",
    "clientcert",
    "country",
    "credential",
    "deny",
    "filter",
    "firewall",
    "forbid",
    "geoip",
    "htpasswd",
    "internal",
    "jwt",
    "ldap",
    "login",
    "method",
    "middleware",
    "mtls",
    "oidc",
    "passw",
    "permi",
    "policies",
    "policy",
    "private",
    "protect",
    "ratelimit",
    "remoteaddr",
    "remoteip",
    "require",
    "restrict",
    "saml",
    "secret",
    "secur",
    "sourceip",
    "sourcerange",
    "token",
    "trusted",
    "users",
    "verify",
    "whitelist",
];

/// The words that restrict at the begin or the end of a name; within others they mean something else.
const AT_AN_END: [&str; 12] = [
    "access", "acl", "allowed", "group", "groups", "guard", "only", "role", "roles", "sso", "user",
    "waf",
];

/// Names that have such a word and restrict nothing.
const HARMLESS: [&str; 8] = [
    "author",
    "authors",
    "internaladdress",
    "internalip",
    "privateaddress",
    "privateip",
    "readonly",
    "useragent",
];

/// Returns `true` if a field of this name restricts who may reach a route.
pub(crate) fn restricts(field: &str) -> bool {
    let plain = plain(field);
    let begins = |start: &str| {
        let rest = field.get(..start.len());
        rest.is_some_and(|rest| rest.eq_ignore_ascii_case(start))
    };
    !HARMLESS.contains(&plain.as_str())
        && (lb_schemes::restricts(field)
            || plain == "ip"
            || plain == "ips"
            || begins("ip_")
            || begins("ip-")
            || WITHIN.iter().any(|word| plain.contains(word))
            || AT_AN_END
                .iter()
                .any(|word| plain.starts_with(word) || plain.ends_with(word)))
}

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

/// A name in lower case and without separators.
fn plain(field: &str) -> String {
    field
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .take(64)
        .collect()
}

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
            "require_login",
            "htpasswd",
            "ip_filter",
            "ipFilter",
            "permit",
            "client_ca",
            "methods",
            "allowed_groups",
            "roles",
            "mTLS",
            "vpn_only",
            "sso",
        ] {
            assert!(restricts(field), "{field}");
        }
        for field in [
            "host",
            "path",
            "comment",
            "version",
            "owner",
            "wieght",
            "tags",
            "author",
            "controller",
            "oracle",
            "description",
            "zone",
            "region",
            "private_ip",
            "priority",
            "name",
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
