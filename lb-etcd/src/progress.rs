//! From what a watch says to atomic batches: revisions, fragments, compaction, restored stores. No I/O, no clock.

use std::{fmt, sync::Arc};

use lb_core::Cursor;

use crate::{client::wire, layout::Change};

/// A position in the history of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// The cluster.
    pub(crate) cluster: Arc<str>,
    /// The number of its history, as far as we saw: a restore from a backup begins another.
    pub(crate) history: u32,
    /// Every change up to this revision has been told.
    pub(crate) revision: u64,
    /// The leader's term last heard. Within a cluster's life it never falls.
    pub(crate) term: u64,
    /// A key as of this position, to recognise another history that happens to be as long.
    pub(crate) witness: Option<Witness>,
}

/// A key and when it was last changed, as of some position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Witness {
    pub(crate) key: Vec<u8>,
    /// `None`: there is no such key.
    pub(crate) changed: Option<Changed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) revision: u64,
    pub(crate) value_hash: u64,
}

/// Why everything has to be listed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Relist {
    /// Nothing was listed before, or the supervisor is elsewhere than we are.
    First,
    /// The history since our position has been compacted.
    Compacted,
    /// Another cluster answers.
    OtherCluster { before: Arc<str>, now: Arc<str> },
    /// The revision or the term went back, or a key is not what it was: the store was restored from a backup.
    Restored { before: u64, now: Option<u64> },
    /// Keys were left out because there were too many, and now there is room for them.
    Room,
    /// The changes since this revision came in another order than they were made in.
    Disordered { revision: u64 },
    /// Watches from this revision ended again and again without telling anything.
    Stalled { revision: u64 },
    /// The changes since this revision are more than is taken at once.
    TooLarge { revision: u64 },
    /// The changes since this revision take too long to come in.
    TooSlow { revision: u64 },
}

impl fmt::Display for Relist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first listing"),
            Self::Compacted => f.write_str("the history since the cursor has been compacted"),
            Self::Room => f.write_str("there is room for keys that were left out"),
            Self::Disordered { revision } => {
                write!(f, "the changes since revision {revision} came out of order")
            }
            Self::Stalled { revision } => {
                write!(f, "watches from revision {revision} told nothing")
            }
            Self::TooLarge { revision } => write!(
                f,
                "the changes since revision {revision} are larger than max_message_bytes"
            ),
            Self::TooSlow { revision } => {
                write!(
                    f,
                    "the changes since revision {revision} come in too slowly"
                )
            }
            Self::OtherCluster { before, now } => {
                write!(f, "another cluster answers: {now} instead of {before}")
            }
            Self::Restored { before, now } => {
                write!(
                    f,
                    "the store was restored from a backup: it was at revision {before}, now "
                )?;
                match now {
                    Some(now) => write!(f, "at {now} of another history"),
                    None => f.write_str("before that"),
                }
            }
        }
    }
}

/// Checks that a watch can go on from a position, by the answer to a read of its witness at its revision.
pub(crate) fn may_resume(position: &Position, answer: &wire::RangeResponse) -> Result<(), Relist> {
    let header = answer.header.unwrap_or_default();
    let now = cluster_name(header.cluster_id);
    if now != position.cluster {
        return Err(Relist::OtherCluster {
            before: Arc::clone(&position.cluster),
            now,
        });
    }
    let restored = Relist::Restored {
        before: position.revision,
        now: Some(revision(header.revision)),
    };
    if revision(header.revision) < position.revision || header.raft_term < position.term {
        return Err(restored);
    }
    match &position.witness {
        Some(witness) if witness.changed != answer.kvs.first().map(Changed::of) => Err(restored),
        _ => Ok(()),
    }
}

impl Position {
    /// The cursor of a revision of this history.
    pub(crate) fn cursor(&self, revision: u64) -> Cursor {
        // A cluster that was never seen to be restored is its number.
        let epoch = match self.history {
            0 => Arc::clone(&self.cluster),
            history => format!("{}.{history}", self.cluster).into(),
        };
        Cursor::new(epoch, revision)
    }

    /// The same, as it follows `before`: revisions of a store that was restored are not those of before.
    pub(crate) fn after(mut self, before: &Self, why: &Relist) -> Self {
        if self.cluster == before.cluster {
            let restored = matches!(why, Relist::Restored { .. })
                || self.revision < before.revision
                || self.term < before.term;
            self.history = before.history + u32::from(restored);
        }
        self
    }
}

impl Relist {
    /// The same, knowing what was listed because of it.
    pub(crate) fn in_hindsight(self, before: Option<&Position>, listed: &Position) -> Self {
        match (self, before) {
            (Self::Restored { .. }, Some(before)) if before.cluster != listed.cluster => {
                Self::OtherCluster {
                    before: Arc::clone(&before.cluster),
                    now: Arc::clone(&listed.cluster),
                }
            }
            (Self::Restored { before, now: None }, _) => Self::Restored {
                before,
                now: Some(listed.revision),
            },
            (why, _) => why,
        }
    }
}

/// A cluster's number as the epoch of cursors.
pub(crate) fn cluster_name(id: u64) -> Arc<str> {
    format!("{id:016x}").into()
}

/// etcd counts revisions from 1 and in signed numbers.
pub(crate) fn revision(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

impl Changed {
    pub(crate) fn of(kv: &wire::KeyValue) -> Self {
        Self {
            revision: revision(kv.mod_revision),
            value_hash: fnv1a(&kv.value),
        }
    }
}

/// A message of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// The watch has begun.
    Created,
    /// Everything that changed in one revision.
    Batch { revision: u64, changes: Vec<Change> },
    /// All up to the position has been told.
    CaughtUp,
}

/// Why a watch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The server ended it; the reason may be empty.
    Cancelled { reason: String },
    /// It cannot go on without listing again.
    Relist(Relist),
}

/// Turns the answers of one watch into batches, each of one whole revision.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) position: Position,
    /// The greatest revision that the server was heard to be at.
    pub(crate) server_revision: u64,
    ordered_progress: bool,
    limit: usize,
    /// The part of the last revision that came so far: events of one revision.
    fragments: Vec<wire::Event>,
    /// The bytes of `fragments`.
    gathered: usize,
}

impl Follower {
    /// A watch from the revision after `position`. `ordered_progress`: answers to requests for progress keep their
    /// place among events. `limit`: the most bytes of one revision gathered from fragments.
    pub(crate) fn new(position: Position, ordered_progress: bool, limit: usize) -> Self {
        Self {
            server_revision: position.revision,
            position,
            ordered_progress,
            limit,
            fragments: Vec::new(),
            gathered: 0,
        }
    }

    /// The bytes of a revision that is not whole.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn gathered(&self) -> usize {
        self.gathered
    }

    /// Takes one answer. Batches are to be told in order; the position is that after the last of them.
    pub(crate) fn handle(&mut self, answer: wire::WatchResponse) -> Result<Vec<Told>, Ended> {
        let header = answer.header.unwrap_or_default();
        if answer.canceled {
            return Err(if answer.compact_revision > 0 {
                Ended::Relist(Relist::Compacted)
            } else {
                Ended::Cancelled {
                    reason: answer.cancel_reason,
                }
            });
        }
        self.check_history(&header)?;
        if answer.created {
            return Ok(vec![Told::Created]);
        }

        if answer.fragment {
            return self.gather(answer.events);
        }
        self.fragments.extend(answer.events);
        self.gathered = 0;
        let events = std::mem::take(&mut self.fragments);
        if events.is_empty() {
            // An answer to our request goes to all watches of the stream; one that the server sends by itself goes
            // to this watch, in the order of its events.
            let in_order = answer.watch_id >= 0 || self.ordered_progress;
            let told = revision(header.revision);
            if in_order && told > self.position.revision {
                self.position.revision = told;
            }
            return Ok(vec![Told::CaughtUp]);
        }
        self.batches(events)
    }

    /// Takes a part of an answer. It costs what the part costs, however much came before.
    fn gather(&mut self, mut events: Vec<wire::Event>) -> Result<Vec<Told>, Ended> {
        let Some(last) = events.last().map(revision_of) else {
            return Ok(Vec::new());
        };
        // All revisions but the last are whole.
        let of_last = |event: &wire::Event| revision_of(event) == last;
        let goes_on = self.fragments.first().is_some_and(of_last);
        let whole = match goes_on {
            true => 0,
            false => events.iter().position(of_last).unwrap_or_default(),
        };
        let rest = events.split_off(whole);
        if !goes_on {
            events.splice(0..0, std::mem::take(&mut self.fragments));
            self.gathered = 0;
        }
        self.gathered += rest.iter().map(size_of).sum::<usize>();
        self.fragments.extend(rest);
        if self.gathered > self.limit {
            return Err(Ended::Relist(Relist::TooLarge {
                revision: self.position.revision,
            }));
        }
        self.batches(events)
    }

    fn check_history(&mut self, header: &wire::ResponseHeader) -> Result<(), Ended> {
        let now = cluster_name(header.cluster_id);
        if now != self.position.cluster {
            return Err(Ended::Relist(Relist::OtherCluster {
                before: Arc::clone(&self.position.cluster),
                now,
            }));
        }
        let at = revision(header.revision);
        if at < self.position.revision {
            return Err(Ended::Relist(Relist::Restored {
                before: self.position.revision,
                now: Some(at),
            }));
        }
        self.server_revision = self.server_revision.max(at);
        self.position.term = self.position.term.max(header.raft_term);
        Ok(())
    }

    fn batches(&mut self, events: Vec<wire::Event>) -> Result<Vec<Told>, Ended> {
        let before = self.position.revision;
        let mut batches: Vec<Told> = Vec::new();
        for event in events {
            let is_put = event.r#type() == wire::event::EventType::Put;
            let Some(kv) = event.kv else {
                continue;
            };
            let at = revision(kv.mod_revision);
            if at <= self.position.revision && batches.is_empty() {
                // Told before: a server that repeats itself must not undo what came later.
                continue;
            }
            self.position.revision = self.position.revision.max(at);
            self.position.witness = Some(Witness {
                key: kv.key.clone(),
                changed: is_put.then(|| Changed::of(&kv)),
            });
            let change = Change {
                key: kv.key,
                value: is_put.then_some(kv.value),
            };
            match batches.last_mut() {
                Some(Told::Batch { revision, changes }) if *revision == at => changes.push(change),
                Some(Told::Batch { revision, .. }) if *revision > at => {
                    return Err(Ended::Relist(Relist::Disordered { revision: before }));
                }
                _ => batches.push(Told::Batch {
                    revision: at,
                    changes: vec![change],
                }),
            }
        }
        Ok(batches)
    }
}

fn revision_of(event: &wire::Event) -> u64 {
    event.kv.as_ref().map_or(0, |kv| revision(kv.mod_revision))
}

fn size_of(event: &wire::Event) -> usize {
    event
        .kv
        .as_ref()
        .map_or(0, |kv| kv.key.len() + kv.value.len())
        + 32
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLUSTER: u64 = 7;

    fn position(revision: u64) -> Position {
        Position {
            cluster: cluster_name(CLUSTER),
            history: 0,
            revision,
            term: 2,
            witness: None,
        }
    }

    fn header(revision: i64) -> wire::ResponseHeader {
        wire::ResponseHeader {
            cluster_id: CLUSTER,
            member_id: 1,
            revision,
            raft_term: 2,
        }
    }

    fn put(key: &str, revision: i64) -> wire::Event {
        wire::Event {
            r#type: 0,
            kv: Some(wire::KeyValue {
                key: key.into(),
                mod_revision: revision,
                value: format!("{key}@{revision}").into(),
                ..wire::KeyValue::default()
            }),
        }
    }

    fn answer(at: i64, events: Vec<wire::Event>) -> wire::WatchResponse {
        wire::WatchResponse {
            header: Some(header(at)),
            events,
            ..wire::WatchResponse::default()
        }
    }

    fn revisions(told: &[Told]) -> Vec<(u64, usize)> {
        told.iter()
            .filter_map(|told| match told {
                Told::Batch { revision, changes } => Some((*revision, changes.len())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn one_revision_is_one_batch_also_in_fragments() {
        let mut follower = Follower::new(position(5), true, 10_000);
        let mut first = answer(9, vec![put("a", 6), put("b", 6), put("c", 7)]);
        first.fragment = true;
        let told = follower.handle(first).unwrap();
        assert_eq!(revisions(&told), [(6, 2)], "7 is not whole yet");
        assert_eq!(follower.position.revision, 6);
        let told = follower
            .handle(answer(9, vec![put("d", 7), put("e", 9)]))
            .unwrap();
        assert_eq!(revisions(&told), [(7, 2), (9, 1)]);
        assert_eq!(follower.position.revision, 9);
    }

    #[test]
    fn i7_fragments_are_bounded() {
        let mut follower = Follower::new(position(5), true, 100);
        let mut big = answer(9, (0..9).map(|_| put("aaaaaaaaaa", 6)).collect());
        big.fragment = true;
        let told = follower.handle(big);
        let why = Relist::TooLarge { revision: 5 };
        assert_eq!(told, Err(Ended::Relist(why)));
    }

    #[test]
    fn i11_changes_out_of_order_ask_for_a_listing() {
        let mut follower = Follower::new(position(5), true, 10_000);
        let told = follower.handle(answer(9, vec![put("a", 7), put("b", 6)]));
        let why = Relist::Disordered { revision: 5 };
        assert_eq!(told, Err(Ended::Relist(why)), "b would be undone or lost");
    }

    #[test]
    fn a_silent_compaction_asks_for_a_listing() {
        let mut follower = Follower::new(position(5), true, 100);
        let told = wire::WatchResponse {
            header: Some(header(0)),
            canceled: true,
            compact_revision: 8,
            ..wire::WatchResponse::default()
        };
        assert_eq!(follower.handle(told), Err(Ended::Relist(Relist::Compacted)));
    }

    #[test]
    fn progress_that_may_overtake_events_moves_nothing() {
        let mut progress = answer(9, vec![]);
        progress.watch_id = -1;
        let mut follower = Follower::new(position(5), false, 100);
        assert_eq!(follower.handle(progress.clone()).unwrap(), [Told::CaughtUp]);
        assert_eq!(
            (follower.position.revision, follower.server_revision),
            (5, 9)
        );
        let told = follower.handle(answer(9, vec![put("late", 8)])).unwrap();
        assert_eq!(
            revisions(&told),
            [(8, 1)],
            "the event that was overtaken is told"
        );

        let mut follower = Follower::new(position(5), true, 100);
        follower.handle(progress).unwrap();
        assert_eq!(follower.position.revision, 9);
    }

    #[test]
    fn another_history_asks_for_a_listing() {
        let mut at = position(9);
        at.witness = Some(Witness {
            key: b"k".to_vec(),
            changed: Some(Changed {
                revision: 9,
                value_hash: fnv1a(b"k@9"),
            }),
        });
        let same = put("k", 9).kv.unwrap();
        let reply = |header, kvs: Vec<wire::KeyValue>| wire::RangeResponse {
            header: Some(header),
            kvs,
            ..wire::RangeResponse::default()
        };
        let mut other_cluster = header(12);
        other_cluster.cluster_id = 8;
        let mut older_term = header(12);
        older_term.raft_term = 1;
        let mut other_value = same.clone();
        other_value.value = b"x".to_vec();

        assert_eq!(
            may_resume(&at, &reply(header(12), vec![same.clone()])),
            Ok(())
        );
        for (what, reply) in [
            ("cluster", reply(other_cluster, vec![same.clone()])),
            ("term", reply(older_term, vec![same.clone()])),
            ("revision", reply(header(8), vec![same])),
            ("value", reply(header(12), vec![other_value])),
            ("absence", reply(header(12), vec![])),
        ] {
            assert!(may_resume(&at, &reply).is_err(), "{what}");
        }
    }

    #[test]
    fn a_restored_store_has_another_epoch() {
        let before = position(9);
        let compacted = position(12).after(&before, &Relist::Compacted);
        assert_eq!(compacted.cursor(12).epoch, before.cursor(9).epoch);
        let shorter = position(8).after(&before, &Relist::First);
        assert_ne!(shorter.cursor(8).epoch, before.cursor(9).epoch);
        let why = Relist::Restored {
            before: 9,
            now: Some(12),
        };
        let longer = position(12).after(&shorter, &why);
        assert_ne!(longer.cursor(12).epoch, shorter.cursor(12).epoch);
    }

    proptest! {
        /// However answers are cut into fragments and repeated, each revision is told once, whole and in order.
        #[test]
        fn i11_revisions_are_told_once_whole_and_in_order(
            sizes in prop::collection::vec(1_usize..5, 1..12),
            cuts in prop::collection::vec(any::<bool>(), 60),
            repeat in any::<bool>(),
        ) {
            let mut follower = Follower::new(position(10), true, usize::MAX);
            let mut answers = Vec::new();
            let last = 10 + i64::try_from(sizes.len()).unwrap();
            let mut cuts = cuts.into_iter();
            for (index, size) in sizes.iter().enumerate() {
                let at = 11 + i64::try_from(index).unwrap();
                let mut events: Vec<_> = (0..*size).map(|n| put(&n.to_string(), at)).collect();
                while events.len() > 1 && cuts.next().unwrap_or(false) {
                    let rest = events.split_off(1);
                    let mut fragment = answer(last, events);
                    fragment.fragment = true;
                    answers.push(fragment);
                    events = rest;
                }
                answers.push(answer(last, events));
            }
            if repeat {
                let again = answers.clone();
                answers.extend(again);
            }
            let told: Vec<Told> = answers.into_iter().flat_map(|a| follower.handle(a).unwrap()).collect();
            let expected: Vec<(u64, usize)> = sizes.iter().enumerate().map(|(i, s)| (11 + i as u64, *s)).collect();
            prop_assert_eq!(revisions(&told), expected);
        }
    }
}
