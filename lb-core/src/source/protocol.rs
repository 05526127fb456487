//! What one attempt of a source may say, in which order.

use super::{Cursor, Update};

/// Watches the order of one source's updates over all its attempts. Pure.
#[derive(Debug, Default)]
pub struct Protocol {
    applied: Option<Cursor>,
    asked: Option<Cursor>,
    opened: bool,
}

/// The decision on an update that broke no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Apply it.
    Apply,
    /// It says something older than what was applied: leave it out (I11).
    Outdated {
        /// The cursor it claims.
        at: Cursor,
        /// The cursor that was applied before.
        applied: Cursor,
    },
    /// It proves life and says nothing else.
    Alive,
}

/// An update that ends the attempt, because what follows it cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A batch came before the attempt's first reset or resumed.
    #[error("a batch at {at} came before the first reset of the attempt")]
    BatchBeforeReset {
        /// The cursor the batch claims.
        at: Cursor,
    },
    /// The epoch changed without a reset.
    #[error("an update at {at} changed the epoch of {applied} without a reset")]
    EpochChanged {
        /// The cursor the update claims.
        at: Cursor,
        /// The cursor that was applied before.
        applied: Cursor,
    },
    /// A reset went back in the same epoch: a member that lags behind answered.
    #[error("a reset at {at} is older than {applied}, which was applied before")]
    ResetWentBack {
        /// The cursor the reset claims.
        at: Cursor,
        /// The cursor that was applied before.
        applied: Cursor,
    },
    /// The attempt resumed somewhere else than asked.
    #[error("resumed at {at}, expected {}", .asked.as_ref().map_or_else(|| "a reset".to_owned(), ToString::to_string))]
    ResumedElsewhere {
        /// The cursor at which it resumed.
        at: Cursor,
        /// The cursor at which it was asked to resume.
        asked: Option<Cursor>,
    },
}

impl Protocol {
    /// A new attempt begins, asked to resume at `asked`.
    pub fn begin(&mut self, asked: Option<Cursor>) {
        self.asked = asked;
        self.opened = false;
    }

    /// The last position that was applied.
    #[must_use]
    pub fn applied(&self) -> Option<&Cursor> {
        self.applied.as_ref()
    }

    /// The cursor at which this attempt was asked to resume.
    #[must_use]
    pub fn asked(&self) -> Option<&Cursor> {
        self.asked.as_ref()
    }

    /// Returns `true` if this attempt has sent its reset, or resumed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opened
    }

    /// Judges the next update.
    ///
    /// # Errors
    /// [`Violation`] when the attempt must end.
    pub fn admit(&mut self, update: &Update) -> Result<Admission, Violation> {
        match update {
            Update::Diagnostic(_) | Update::Resolved { .. } => Ok(Admission::Apply),
            Update::Reset { at, .. } => {
                if let Some(applied) = self
                    .applied
                    .as_ref()
                    .filter(|applied| is_older(at, applied))
                {
                    return Err(Violation::ResetWentBack {
                        at: at.clone(),
                        applied: applied.clone(),
                    });
                }
                self.opened = true;
                self.applied = Some(at.clone());
                Ok(Admission::Apply)
            }
            Update::Resumed { at } => {
                if self.opened || self.asked.as_ref() != Some(at) {
                    return Err(Violation::ResumedElsewhere {
                        at: at.clone(),
                        asked: self.asked.clone(),
                    });
                }
                self.opened = true;
                Ok(Admission::Apply)
            }
            Update::Batch { at, .. } if !self.opened => {
                Err(Violation::BatchBeforeReset { at: at.clone() })
            }
            // Progress before the first reset only says that a long listing is still going on.
            Update::Progress { .. } if !self.opened => Ok(Admission::Alive),
            Update::Batch { at, .. } => {
                if self.follow(at)? {
                    return Ok(Admission::Apply);
                }
                Ok(match &self.applied {
                    Some(applied) => Admission::Outdated {
                        at: at.clone(),
                        applied: applied.clone(),
                    },
                    None => Admission::Apply,
                })
            }
            Update::Progress { at } => Ok(if self.follow(at)? {
                Admission::Apply
            } else {
                Admission::Alive
            }),
        }
    }

    /// Moves on to `at`; false when that is in the past.
    fn follow(&mut self, at: &Cursor) -> Result<bool, Violation> {
        if let Some(applied) = &self.applied {
            if applied.epoch != at.epoch {
                return Err(Violation::EpochChanged {
                    at: at.clone(),
                    applied: applied.clone(),
                });
            }
            if is_older(at, applied) {
                return Ok(false);
            }
        }
        self.applied = Some(at.clone());
        Ok(true)
    }
}

fn is_older(at: &Cursor, than: &Cursor) -> bool {
    at.epoch == than.epoch && at.revision < than.revision
}
