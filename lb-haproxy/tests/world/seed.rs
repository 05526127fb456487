//! One seed: what it may do, and how it is told.

use std::{env, fmt, time::Duration};

/// Everything that a seed may do to the world, so that a failing one can be replayed without what it does not need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Churn,
    Crashes,
    Checks,
    Weights,
    Reuse,
    Routes,
    Spares,
    Wire,
    SlowAddresses,
    KillLb,
    Reload,
    Restart,
    Foreign,
    Sources,
    Lies,
    Jumps,
    LongRequests,
    Between,
    Exclusive,
    Fixed,
    Poison,
    Agents,
    CheckEdits,
    Tenant,
    Owners,
    Fights,
}

pub(crate) const KINDS: [Kind; 26] = [
    Kind::Churn,
    Kind::Crashes,
    Kind::Checks,
    Kind::Weights,
    Kind::Reuse,
    Kind::Routes,
    Kind::Spares,
    Kind::Wire,
    Kind::SlowAddresses,
    Kind::KillLb,
    Kind::Reload,
    Kind::Restart,
    Kind::Foreign,
    Kind::Sources,
    Kind::Lies,
    Kind::Jumps,
    Kind::LongRequests,
    Kind::Between,
    Kind::Exclusive,
    Kind::Fixed,
    Kind::Poison,
    Kind::Agents,
    Kind::CheckEdits,
    Kind::Tenant,
    Kind::Owners,
    Kind::Fights,
];

/// The play.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// Kinds left out.
    pub(crate) without: u32,
    /// The world is disturbed for no more steps than this.
    pub(crate) steps: u64,
    /// The world is played for at least this long.
    pub(crate) lasts: Duration,
    pub(crate) keep_trace: bool,
    /// Without a trace a seed is played faster.
    pub(crate) trace: bool,
}

impl Options {
    pub(crate) fn of(seed: u64) -> Self {
        Self {
            seed,
            without: 0,
            steps: u64::MAX,
            lasts: Duration::ZERO,
            keep_trace: false,
            trace: true,
        }
    }

    /// As the environment says it.
    pub(crate) fn from_env(seed: u64) -> Self {
        let mut options = Self::of(seed);
        let without = env::var("WITHOUT").unwrap_or_default();
        for word in without.split(',').filter(|word| !word.is_empty()) {
            let at = KINDS
                .iter()
                .position(|kind| format!("{kind:?}").eq_ignore_ascii_case(word))
                .unwrap_or_else(|| panic!("WITHOUT names {word:?}, expected some of {KINDS:?}"));
            options.without |= 1 << at;
        }
        if let Some(steps) = number("STEPS") {
            options.steps = steps;
        }
        options
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.without & (1 << (kind as u32)) == 0
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make simulate SEED={}", self.seed)?;
        let without: Vec<String> = KINDS
            .iter()
            .filter(|kind| !self.has(**kind))
            .map(|kind| format!("{kind:?}").to_lowercase())
            .collect();
        if !without.is_empty() {
            write!(f, " WITHOUT={}", without.join(","))?;
        }
        if self.steps != u64::MAX {
            write!(f, " STEPS={}", self.steps)?;
        }
        Ok(())
    }
}

pub(crate) fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text:?}, expected a number")),
    )
}

/// The lines of a play, as a hash and, where they are kept, as text.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: Fnv,
    keep: bool,
    off: bool,
    lines: Vec<String>,
}

#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

impl Trace {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            keep: options.keep_trace,
            off: !options.trace,
            ..Self::default()
        }
    }

    pub(crate) fn note(&mut self, now: Duration, what: fmt::Arguments<'_>) {
        use fmt::Write as _;
        if self.off {
            return;
        }
        let _ = writeln!(self.hash, "{} {what}", now.as_micros());
        if self.keep {
            self.lines
                .push(format!("{:>10.3} {what}", now.as_secs_f64()));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.0
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines
    }
}
