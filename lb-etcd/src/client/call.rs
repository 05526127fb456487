//! The calls we make, and what their failures mean.

use std::sync::Arc;

use tonic::{Code, Status};

use crate::error::EtcdError;

/// One call of etcd's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    /// For people.
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
}

pub(crate) const AUTHENTICATE: Call = Call::new("authenticate", "/etcdserverpb.Auth/Authenticate");
pub(crate) const LEASE_GRANT: Call = Call::new("lease grant", "/etcdserverpb.Lease/LeaseGrant");
pub(crate) const LEASE_KEEP_ALIVE: Call =
    Call::new("lease keep-alive", "/etcdserverpb.Lease/LeaseKeepAlive");
pub(crate) const LEASE_REVOKE: Call = Call::new("lease revoke", "/etcdserverpb.Lease/LeaseRevoke");
pub(crate) const RANGE: Call = Call::new("range", "/etcdserverpb.KV/Range");
pub(crate) const STATUS: Call = Call::new("status", "/etcdserverpb.Maintenance/Status");
pub(crate) const TXN: Call = Call::new("transaction", "/etcdserverpb.KV/Txn");
pub(crate) const WATCH: Call = Call::new("watch", "/etcdserverpb.Watch/Watch");

impl Call {
    const fn new(name: &'static str, path: &'static str) -> Self {
        Self { name, path }
    }

    /// The error that a member's refusal of this call means.
    pub(crate) fn failed(self, endpoint: &Arc<str>, status: &Status) -> EtcdError {
        self.failed_with(endpoint, status.code(), &text(status))
    }

    /// The same for a refusal that came as text, on a stream.
    pub(crate) fn failed_with(self, endpoint: &Arc<str>, code: Code, message: &str) -> EtcdError {
        let endpoint = Arc::clone(endpoint);
        match verdict(code, message) {
            Verdict::Compacted => EtcdError::Compacted {
                call: self.name,
                endpoint,
            },
            Verdict::Denied => EtcdError::Denied {
                call: self.name,
                endpoint,
                message: message.to_owned(),
            },
            Verdict::TooLarge => EtcdError::TooLarge {
                call: self.name,
                endpoint,
            },
            Verdict::Passing => EtcdError::Call {
                call: self.name,
                endpoint,
                code: format!("{code:?}"),
                message: message.to_owned(),
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Compacted,
    Denied,
    Passing,
    TooLarge,
}

fn verdict(code: Code, message: &str) -> Verdict {
    // Both are cured by a new token, which the next attempt gets.
    if message.contains("invalid auth token") || message.contains("revision of auth store is old") {
        return Verdict::Passing;
    }
    if message.contains("has been compacted") {
        return Verdict::Compacted;
    }
    // The first is our own limit, the second that of a proxy on the way.
    let too_large = match code {
        Code::OutOfRange => message.contains("message length too large"),
        Code::ResourceExhausted => message.contains("larger than max"),
        _ => false,
    };
    if too_large {
        return Verdict::TooLarge;
    }
    match code {
        Code::PermissionDenied | Code::Unauthenticated => Verdict::Denied,
        _ if message.contains("permission denied")
            || message.contains("authentication failed")
            || message.contains("user name is empty")
            || message.contains("user name not found") =>
        {
            Verdict::Denied
        }
        _ => Verdict::Passing,
    }
}

/// The text of a status, with the causes below it: a refused certificate is only told there.
fn text(status: &Status) -> String {
    let mut text = status.message().to_owned();
    if let Some(cause) = std::error::Error::source(status) {
        let causes = chain(cause);
        if causes.starts_with(&text) {
            return causes;
        }
        if !text.contains(&causes) {
            text.push_str(": ");
            text.push_str(&causes);
        }
    }
    text
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(below) = cause {
        let below_text = below.to_string();
        if !text.ends_with(&below_text) {
            text.push_str(": ");
            text.push_str(&below_text);
        }
        cause = below.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_failures_that_pass() {
        for (code, message, expected) in [
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                Verdict::Passing,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
                Verdict::Passing,
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                Verdict::Denied,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                Verdict::Denied,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: user name is empty",
                Verdict::Denied,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                Verdict::Compacted,
            ),
            (Code::Unavailable, "etcdserver: no leader", Verdict::Passing),
            (
                Code::OutOfRange,
                "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes",
                Verdict::TooLarge,
            ),
            (
                Code::ResourceExhausted,
                "grpc: trying to send message larger than max (9 vs. 8)",
                Verdict::TooLarge,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: too many requests",
                Verdict::Passing,
            ),
            (
                Code::Unavailable,
                "etcdserver: request timed out",
                Verdict::Passing,
            ),
        ] {
            assert_eq!(verdict(code, message), expected, "{message}");
        }
    }
}
