//! The simulated HAProxy answers as the real one does, in every version: the same commands to both, every reply
//! compared.
//!
//! `LB_DIFFERENTIAL_COMMANDS` is how many random commands each version gets, `LB_SEED` where they begin.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod both;
mod commands;
mod normal;
mod regressions;

use std::env;

use both::Both;
use commands::Commands;

/// The number of commands that one pair of processes gets before the next begins from scratch.
const TRACE: u64 = 1500;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test]
async fn random_commands_are_answered_alike() {
    let total = number("LB_DIFFERENTIAL_COMMANDS", 3000);
    let seed = number("LB_SEED", 1);
    for executable in support::executables() {
        let mut done = 0;
        let mut trace = 0;
        let mut version = (0, 0);
        while done < total {
            let count = TRACE.min(total - done);
            let mut both = Both::start(&executable).await;
            version = both.version;
            let mut commands = Commands::new(seed.wrapping_mul(1000).wrapping_add(trace));
            for number in 0..count {
                let line = commands.next();
                both.say(
                    &line,
                    &format!("seed {seed}, trace {trace}, command {number}"),
                );
                if number % 25 == 24 {
                    both.compare_all();
                }
            }
            done += count;
            trace += 1;
            both.end().await;
        }
        println!(
            "{}.{}: {done} commands, every reply as expected",
            version.0, version.1
        );
    }
}
