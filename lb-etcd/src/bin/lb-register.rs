//! Registers an endpoint in etcd for as long as a command runs: see [`lb_etcd::register`].

use std::process::ExitCode;

use lb_etcd::register::{Args, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let host = std::env::var("HOSTNAME")
        .or_else(|_| std::fs::read_to_string("/etc/hostname").map(|name| name.trim().to_owned()))
        .unwrap_or_else(|_| "host".to_owned());
    let args = match Args::parse(std::env::args().skip(1), &host) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("lb-register: {error}");
            return ExitCode::from(2);
        }
    };
    let event = std::env::var("SERF_EVENT").ok();
    match run(args, event.as_deref()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lb-register: {}", lb_etcd::register::explain(&error));
            ExitCode::FAILURE
        }
    }
}
