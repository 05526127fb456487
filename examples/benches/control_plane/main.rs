//! `make bench`: what `lb` costs, against the raw socket's floor measured in the same run.
//!
//! Prints a table and writes `target/bench.json`. Nothing here decides anything: figures are for reading.

#![expect(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a program that measures, and nobody's library"
)]

mod apply;
mod haproxy;
mod memory;
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
    memory::measure(&mut report);
    planner::measure(&mut report);
    apply::measure(&mut report).await?;
    report.print();
    report.write("target/bench.json")?;
    Ok(())
}
