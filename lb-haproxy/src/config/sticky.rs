//! Users who stay with their endpoint.

use super::{ConfigError, HeaderName, writer::Writer};

/// A cookie that keeps a user with their endpoint, whichever slot that is in.
///
/// Its value is made of the endpoint's address and the key, so it is the same on every HAProxy with the same key, and
/// says nothing to a slot's next tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StickyCookie {
    /// Its name.
    pub name: HeaderName,
    /// The key its values are made with: letters, digits, `-` and `_`.
    pub key: HeaderName,
    /// If `true`, browsers send it over TLS only, and show it to no script.
    pub secure: bool,
}

impl StickyCookie {
    /// A cookie that is also sent without TLS.
    #[must_use]
    pub fn new(name: HeaderName, key: HeaderName) -> Self {
        Self {
            name,
            key,
            secure: false,
        }
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) {
        let Self { name, key, secure } = self;
        let secure = if *secure { " httponly secure" } else { "" };
        out.line(format_args!(
            "cookie {name} insert indirect nocache dynamic{secure}"
        ));
        out.line(format_args!("dynamic-cookie-key {key}"));
    }
}

/// A limit on how many requests one client address may make, counted in a stick table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// The number of requests; the next ones get 429.
    pub requests: u32,
    /// In which time.
    pub period: std::time::Duration,
    /// The number of addresses that are remembered.
    pub addresses: u32,
}

impl RateLimit {
    /// So many requests in that time, of a million addresses.
    #[must_use]
    pub fn new(requests: u32, period: std::time::Duration) -> Self {
        Self {
            requests,
            period,
            addresses: 1_000_000,
        }
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), ConfigError> {
        let requests = super::writer::positive("requests", self.requests)?;
        let addresses = super::writer::positive("addresses", self.addresses)?;
        let period = super::writer::time("period", self.period)?;
        out.line(format_args!(
            "stick-table type ipv6 size {addresses} expire {period} store http_req_rate({period})"
        ));
        out.line(format_args!("http-request track-sc0 src"));
        out.line(format_args!(
            "http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {requests} }}"
        ));
        Ok(())
    }
}
