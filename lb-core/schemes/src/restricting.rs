//! Names of fields that restrict who may reach a route. A route whose object has one that is not known is withheld.

/// The words that restrict, in lower case and without separators. A field is one of these, or begins or ends with one.
const WORDS: [&str; 22] = [
    "accesscontrol",
    "acl",
    "allow",
    "apikey",
    "auth",
    "authentication",
    "authorization",
    "blacklist",
    "clientcert",
    "clientcertificate",
    "credentials",
    "deny",
    "internal",
    "jwt",
    "middleware",
    "middlewares",
    "oauth",
    "oidc",
    "password",
    "token",
    "users",
    "whitelist",
];

/// Returns `true` if a field of this name restricts who may reach a route.
#[must_use]
pub fn restricts(field: &str) -> bool {
    let plain: String = field
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .take(64)
        .collect();
    WORDS
        .iter()
        .any(|word| plain.starts_with(word) || plain.ends_with(word))
        || [
            "allowlist",
            "denylist",
            "verifyclient",
            "sourcerange",
            "ratelimit",
            "mtls",
        ]
        .iter()
        .any(|word| plain.contains(word))
}
