//! Decides for how long an answer is waited for, and when to list instead of asking again. No I/O, no clock.

/// The number of requests for progress that fit into the longest silence.
pub(crate) const PROGRESS_REQUESTS: u32 = 3;

/// The number of longest silences that one answer may take while its bytes come in.
const LONGEST_ANSWER: u32 = 20;

/// The number of watches from one revision that may end without telling anything before the keys are listed.
const FRUITLESS: u32 = 2;

/// Judges the silence of one watch, a third of the longest silence at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience {
    bytes: u64,
    quiet: u32,
    waited: u32,
}

/// A judgement about a watch that has not given a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Bytes of an answer came in: the member lives.
    Receiving,
    /// Nothing came in, but not for long enough.
    Quiet,
    /// Nothing came in for too long.
    Silent,
    /// Bytes come in, but the answer takes too long.
    TooSlow,
}

/// Counts the watches from one revision that were waited for and told nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fruitless {
    revision: u64,
    watches: u32,
    /// The watch that goes on is counted.
    counted: bool,
}

impl Patience {
    /// A whole answer came; `bytes` were received so far.
    pub(crate) fn answered(&mut self, bytes: u64) {
        *self = Self {
            bytes,
            quiet: 0,
            waited: 0,
        };
    }

    /// A third of the longest silence passed without a whole answer.
    pub(crate) fn waited(&mut self, bytes: u64) -> Wait {
        self.waited += 1;
        if bytes == self.bytes {
            self.quiet += 1;
            return if self.quiet < PROGRESS_REQUESTS {
                Wait::Quiet
            } else {
                Wait::Silent
            };
        }
        self.bytes = bytes;
        self.quiet = 0;
        if self.waited < PROGRESS_REQUESTS * LONGEST_ANSWER {
            Wait::Receiving
        } else {
            Wait::TooSlow
        }
    }
}

impl Fruitless {
    /// A watch begins.
    pub(crate) fn begin(&mut self) {
        self.counted = false;
    }

    /// The watch from this revision was waited for and has told nothing. It counts as fruitless until it does, however it
    /// ends. One that was cut at once says nothing: it is not waited for.
    pub(crate) fn waited(&mut self, revision: u64) {
        if self.revision != revision {
            self.watches = 0;
        } else if self.counted {
            return;
        }
        self.revision = revision;
        self.counted = true;
        self.watches = self.watches.saturating_add(1);
    }

    /// The watch told something, or everything was listed.
    pub(crate) fn progressed(&mut self) {
        self.watches = 0;
    }

    /// Returns `true` if another watch from this revision is no use.
    pub(crate) fn must_list(&self, revision: u64) -> bool {
        self.revision == revision && self.watches >= FRUITLESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_h02_bytes_are_a_sign_of_life_but_not_for_ever() {
        let mut patience = Patience::default();
        assert_eq!(patience.waited(0), Wait::Quiet);
        assert_eq!(patience.waited(0), Wait::Quiet);
        assert_eq!(patience.waited(0), Wait::Silent);

        let mut patience = Patience::default();
        let mut bytes = 0;
        let slow = std::iter::from_fn(|| {
            bytes += 1;
            Some(patience.waited(bytes))
        });
        let waits = slow.take_while(|wait| *wait != Wait::TooSlow).take(1000);
        assert_eq!(waits.count(), 59, "20 silences are the most for one answer");

        patience.answered(100);
        assert_eq!(patience.waited(101), Wait::Receiving, "each answer anew");
        assert_eq!(patience.waited(101), Wait::Quiet);
    }

    #[test]
    fn case_h02_the_same_revision_is_not_watched_again_and_again() {
        let mut fruitless = Fruitless::default();
        assert!(!fruitless.must_list(0));
        for _ in 0..9 {
            fruitless.begin();
        }
        assert!(!fruitless.must_list(7), "links that are cut say nothing");
        let mut watch = |revision| {
            fruitless.begin();
            fruitless.waited(revision);
            fruitless.waited(revision);
            fruitless.must_list(revision)
        };
        assert!(!watch(7), "another member may do better");
        assert!(watch(7) && !watch(8));
        fruitless.progressed();
        assert!(!fruitless.must_list(7));
        let mut watch = |revision| {
            fruitless.begin();
            fruitless.waited(revision);
        };
        watch(8);
        watch(9);
        assert!(!fruitless.must_list(9), "the revision moves on");
    }
}
