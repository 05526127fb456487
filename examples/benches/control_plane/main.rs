//! `make bench`: what `lb` costs, against the raw socket's floor measured in the same run.
//!
//! Prints a table and writes `target/bench.json`. Nothing here decides anything: figures are for reading.
//! `LB_BENCH=core`, `apply`, `ladder` or `etcd` measures that part alone.

#![expect(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a program that measures, and nobody's library"
)]

mod apply;
mod etcd;
mod haproxy;
mod ladder;
mod memory;
mod minimal;
mod planner;
mod raw;
mod report;

use report::Report;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` runs this too; only `cargo bench` is meant.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("run with `make bench`");
        return Ok(());
    }
    let mut report = Report::default();
    let only = std::env::var("LB_BENCH").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only == part;
    if wanted("core") {
        memory::measure(&mut report);
        planner::measure(&mut report);
    }
    if wanted("apply") {
        apply::measure(&mut report).await?;
    }
    if wanted("ladder") {
        ladder::measure(&mut report).await?;
    }
    if wanted("etcd") {
        etcd::measure(&mut report).await?;
    }
    report.print();
    report.write("target/bench.json")?;
    Ok(())
}
