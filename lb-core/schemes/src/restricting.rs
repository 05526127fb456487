//! Names of fields that restrict who may reach a route: one table for labels and for keys. A route whose object has one
//! that lb does not know is withheld.

/// The words that restrict wherever they are in the name of a field, in lower case and without separators.
pub(crate) const WITHIN: [&str; 48] = [
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
pub(crate) const AT_AN_END: [&str; 16] = [
    "access", "acl", "allowed", "client", "clients", "group", "groups", "guard", "only", "role",
    "roles", "source", "sources", "sso", "user", "waf",
];

/// Names that have such a word and restrict nothing.
const HARMLESS: [&str; 11] = [
    "author",
    "authors",
    "datasource",
    "internaladdress",
    "internalip",
    "privateaddress",
    "privateip",
    "readonly",
    "resource",
    "resources",
    "useragent",
];

/// Returns `true` if a field of this name restricts who may reach a route.
///
/// ```
/// assert!(lb_schemes::restricts("ipAllowList"));
/// assert!(!lb_schemes::restricts("author"));
/// ```
#[must_use]
pub fn restricts(field: &str) -> bool {
    let plain = plain_name(field);
    let begins = |start: &str| {
        let rest = field.get(..start.len());
        rest.is_some_and(|rest| rest.eq_ignore_ascii_case(start))
    };
    !HARMLESS.contains(&plain.as_str())
        && (plain == "ip"
            || plain == "ips"
            || begins("ip_")
            || begins("ip-")
            || WITHIN.iter().any(|word| plain.contains(word))
            || AT_AN_END
                .iter()
                .any(|word| plain.starts_with(word) || plain.ends_with(word)))
}

/// Returns a name in lower case and without separators: its letters and digits.
#[must_use]
pub fn plain_name(field: &str) -> String {
    field
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
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
            "clients",
            "client-networks",
            "sources",
            "allowed_sources",
        ] {
            assert!(restricts(field), "{field}");
        }
        let long = format!("{}_auth", "x".repeat(100));
        assert!(restricts(&long), "a long name is read to its end");
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
            "resources",
        ] {
            assert!(!restricts(field), "{field}");
        }
    }
}
