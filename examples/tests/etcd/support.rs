//! Real etcd servers on loopback, and a client that shares nothing with ours: those of the tests of lb-etcd.

use std::time::Duration;

#[path = "../../../lb-etcd/tests/real/support/api.rs"]
#[expect(dead_code, reason = "the tests of lb-etcd need more of it")]
pub(crate) mod api;
#[path = "../../../lb-etcd/tests/real/support/server.rs"]
#[expect(dead_code, reason = "the tests of lb-etcd need more of it")]
pub(crate) mod server;

/// The longest that etcd may take to start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
