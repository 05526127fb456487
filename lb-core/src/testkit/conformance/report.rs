//! What the conformance kit found.

use std::fmt;

/// The outcome of one property.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It could not be checked.
    Skipped(String),
    /// It does not hold.
    Failed(String),
}

/// One property and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Property {
    /// Its short name, such as `P1`.
    pub id: &'static str,
    /// The text of the property.
    pub says: &'static str,
    /// The outcome of the check.
    pub verdict: Verdict,
}

/// The result of the kit: see [`run`](super::run).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConformanceReport {
    /// The seed that repeats the run.
    pub seed: u64,
    /// All properties, in the order in which they were checked.
    pub properties: Vec<Property>,
}

impl ConformanceReport {
    /// Returns `true` if no property failed. Skipped ones count as nothing: [`skipped`](Self::skipped) lists them.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self
            .properties
            .iter()
            .any(|property| matches!(property.verdict, Verdict::Failed(_)))
    }

    /// The short names of the properties that could not be checked.
    #[must_use]
    pub fn skipped(&self) -> Vec<&'static str> {
        self.properties
            .iter()
            .filter(|property| matches!(property.verdict, Verdict::Skipped(_)))
            .map(|property| property.id)
            .collect()
    }
}

impl fmt::Display for ConformanceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "conformance of a source, seed {}:", self.seed)?;
        for Property { id, says, verdict } in &self.properties {
            match verdict {
                Verdict::Passed => writeln!(f, "  {id:<4} ok      {says}")?,
                Verdict::Skipped(why) => writeln!(f, "  {id:<4} SKIPPED {says}: {why}")?,
                Verdict::Failed(why) => writeln!(f, "  {id:<4} FAILED  {says}: {why}")?,
            }
        }
        Ok(())
    }
}
