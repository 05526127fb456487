//! The whole control plane, by seed, in virtual time: simulated sources, `lb`, and a simulated HAProxy of every version,
//! with everything going wrong that can. Each seed checks I1 to I12; a failing one is made small and told with the
//! command that repeats it.
//!
//! `SEEDS` is how many seeds are played, `FIRST` the first of them; `SEED` plays one and prints what happens in it.
//! `MINUTES` is how long, in virtual time, servers written by hand are watched.
//! `SURVEY=1` goes on after a failure and counts the kinds of them. `WITHOUT` leaves kinds of trouble out and `STEPS` ends them early.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod acts;
mod clock;
mod end;
mod lines;
mod owner;
mod play;
mod routes;
mod rules;
mod scene;
mod seed;
mod source;
mod target;
mod tenant;
mod troubles;
mod world;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use lb_haproxy::simulator::Profile;
use play::{Played, play};
use seed::{KINDS, Kind, Options, number};

#[test]
fn every_seed_keeps_the_invariants() {
    if let Some(seed) = number("SEED") {
        return one(Options::from_env(seed));
    }
    let seeds = number("SEEDS").unwrap_or(100);
    let first = number("FIRST").unwrap_or(1);
    let threads = number("JOBS").unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, |count| count.get() as u64)
    });
    let next = AtomicU64::new(first);
    let stop = AtomicBool::new(false);
    let failed: Mutex<Option<u64>> = Mutex::new(None);
    let survey = number("SURVEY").is_some();
    let kinds: Mutex<BTreeMap<String, (u64, u64, String)>> = Mutex::default();
    let sums: Mutex<BTreeMap<(u32, u32), Sum>> = Mutex::default();
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let played = play(&Options {
                        trace: false,
                        ..Options::of(seed)
                    });
                    if let Some(violation) = &played.violation
                        && survey
                    {
                        let mut kinds = kinds.lock().unwrap();
                        let first = (0, seed, violation.clone());
                        kinds.entry(kind(violation)).or_insert(first).0 += 1;
                    } else if played.violation.is_some() {
                        stop.store(true, Ordering::Relaxed);
                        let mut failed = failed.lock().unwrap();
                        *failed = Some(failed.map_or(seed, |other| other.min(seed)));
                    }
                    sums.lock()
                        .unwrap()
                        .entry(played.version)
                        .or_default()
                        .add(&played);
                }
            });
        }
    });
    for (count, seed, violation) in kinds.lock().unwrap().values() {
        println!("{count} times, as in SEED={seed}: {violation}");
    }
    let failed = *failed.lock().unwrap();
    if let Some(seed) = failed {
        let options = smaller(Options::of(seed));
        let _ = std::panic::take_hook();
        return one(options);
    }
    let _ = std::panic::take_hook();
    println!(
        "HAProxy    seeds  requests    served    lines   passes  verified  kills  reloads  restarts  edits  acts"
    );
    for ((major, minor), sum) in &*sums.lock().unwrap() {
        let Sum { seeds, counts } = sum;
        println!(
            "{major}.{minor:<7} {seeds:>6} {:>9} {:>9} {:>8} {:>8} {:>9} {:>6} {:>8} {:>9} {:>6} {:>5}",
            counts.requests,
            counts.served,
            counts.lines,
            counts.passes,
            counts.converged,
            counts.kills,
            counts.reloads,
            counts.restarts,
            counts.edits,
            counts.changes
        );
    }
}

/// P8: a server that was written by hand is byte for byte the same after `MINUTES` of changes, kills, faults and edits.
#[test]
fn case_p08_servers_written_by_hand_stay_as_they_are_for_long() {
    let minutes = number("MINUTES").unwrap_or(2);
    let mut left = Profile::ALL.to_vec();
    for seed in 1.. {
        let options = Options {
            trace: false,
            ..Options::of(seed)
        };
        let (version, by_hand) = play::looks_like(&options);
        if !left.contains(&version) || by_hand < 2 {
            continue;
        }
        left.retain(|other| *other != version);
        let played = play(&Options {
            lasts: Duration::from_secs(60 * minutes),
            ..options
        });
        assert_eq!(played.violation, None, "seed {seed} on {version:?}");
        assert!(played.counts.changes > 60 * minutes, "{:?}", played.counts);
        if left.is_empty() {
            return;
        }
    }
}

/// The kind of violation that a text reports: the text without what differs from seed to seed.
fn kind(violation: &str) -> String {
    let text = violation
        .split_once(" s: ")
        .map_or(violation, |(_, text)| text);
    let letters = text.chars().filter(|c| !c.is_ascii_digit());
    letters.take(70).collect()
}

#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    counts: world::Counts,
}

impl Sum {
    fn add(&mut self, played: &Played) {
        self.seeds += 1;
        let (sum, more) = (&mut self.counts, &played.counts);
        sum.requests += more.requests;
        sum.served += more.served;
        sum.lines += more.lines;
        sum.passes += more.passes;
        sum.converged += more.converged;
        sum.kills += more.kills;
        sum.reloads += more.reloads;
        sum.restarts += more.restarts;
        sum.edits += more.edits;
        sum.changes += more.changes;
    }
}

/// Plays one seed and tells what happened in it.
fn one(mut options: Options) {
    options.keep_trace = true;
    let played = play(&options);
    for line in &played.lines {
        println!("{line}");
    }
    let (major, minor) = played.version;
    println!(
        "seed {} on HAProxy {major}.{minor}, trace {:016x}",
        options.seed, played.hash
    );
    if let Some(violation) = played.violation {
        panic!("HAProxy {major}.{minor}: {violation}\nrepeat with: {options}");
    }
}

/// Leaves out of a failing seed what it does not need to fail.
fn smaller(mut options: Options) -> Options {
    let fails = |options: &Options| play(options).violation.is_some();
    for at in 0..KINDS.len() {
        let fewer = Options {
            without: options.without | (1 << at),
            ..options.clone()
        };
        if fails(&fewer) {
            options = fewer;
        }
    }
    let (mut low, mut high) = (0, 80);
    while low < high {
        let middle = (low + high) / 2;
        let shorter = Options {
            steps: middle,
            ..options.clone()
        };
        match fails(&shorter) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    let shorter = Options {
        steps: high,
        ..options.clone()
    };
    match fails(&shorter) {
        true => shorter,
        false => options,
    }
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    for seed in 1..=20 {
        let hashes = [play(&Options::of(seed)).hash, play(&Options::of(seed)).hash];
        assert_eq!(hashes[0], hashes[1], "seed {seed}");
    }
}

/// Faults of the product were found in these. They are so rare that the first seeds do not meet them, and what the driver
/// tells the planner for their sake is tested nowhere else. Each list has the kinds of trouble that there were not yet: a
/// seed is played as it was found.
const FOUND: [(&[u64], &[Kind]); 3] = [
    (
        &[
            386_714, 401_890, 407_801, 414_477, 565_672, 594_503, 742_105, 783_473, 839_081,
            874_817,
        ],
        &[
            Kind::Exclusive,
            Kind::Fixed,
            Kind::Poison,
            Kind::Agents,
            Kind::CheckEdits,
            Kind::Tenant,
            Kind::Owners,
            Kind::Fights,
        ],
    ),
    (
        &[650, 1830, 2748, 4043, 6227, 8939, 9261],
        &[Kind::Tenant, Kind::Owners, Kind::Fights],
    ),
    (&[6763, 14_435, 28_554], &[]),
];

#[test]
fn the_seeds_in_which_faults_were_found_are_clean() {
    for (seeds, later) in FOUND {
        let without = later.iter().fold(0, |mask, kind| mask | 1 << *kind as u32);
        for seed in seeds {
            let options = Options {
                without,
                ..Options::of(*seed)
            };
            let violation = play(&options).violation;
            assert_eq!(violation, None, "repeat with: {options}");
        }
    }
}
