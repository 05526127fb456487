//! Real etcd servers on loopback, a client for them that shares nothing with ours, and a plain supervisor.

pub(crate) mod api;
pub(crate) mod server;
pub(crate) mod supervisor;

use std::time::{Duration, Instant};

/// The longest a condition may take to come true. Generous: it decides nothing but when to give up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until `what` gives something.
#[expect(clippy::disallowed_methods, reason = "tests wait for real servers")]
pub(crate) async fn eventually<T>(expected: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "never happened: {expected}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
