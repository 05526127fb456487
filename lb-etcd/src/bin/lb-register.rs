//! Registers an endpoint in etcd for as long as a command runs: see [`lb_etcd::register`].

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lb_etcd::register::main("lb-register").await
}
