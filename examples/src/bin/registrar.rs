//! Registers an endpoint in etcd, or handles an event of serf: `lb-register` as part of one's own program, which adds
//! what it likes.
//!
//! ```text
//! registrar --etcd http://10.0.0.1:2379 --entry /proxy/frontend/web1=10.0.0.7:9001
//! ```

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lb_etcd::register::main("registrar").await
}
