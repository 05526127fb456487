//! What an endpoint costs in memory: its place in the snapshot and in the planner.

use crate::{planner::fleet, report::Report};

pub fn measure(report: &mut Report) {
    const ENDPOINTS: usize = 100_000;
    let before = resident();
    let kept = fleet(ENDPOINTS);
    let after = resident();
    report.add(
        "memory before the first endpoint",
        before / 1048576.0,
        "MiB",
        "this program; budget 12 MiB",
    );
    report.add(
        "memory per endpoint",
        (after - before) / ENDPOINTS as f64,
        "bytes",
        "snapshot and planner, 100,000 endpoints; budget ≤ 1024",
    );
    drop(kept);
}

/// Resident bytes of this process.
pub fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<f64>().ok())
        .unwrap_or(f64::NAN);
    pages * 4096.0
}
