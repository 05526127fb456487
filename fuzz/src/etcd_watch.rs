//! What etcd answers to one that follows it, as hostile as it can be. It panics where what it states does not hold.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Record, RecordKey};
use lb_etcd::{
    fuzzing::{Answering, WatchAnswer, WatchEvent, WatchHeard, WatchReader},
    layout::{Change, Layout, View},
};

use crate::{
    bytes::Bytes,
    etcd::{add_up, by_key, chosen},
};

/// The first byte chooses a layout, the next how the reader is set up; then come lines of keys and, after a tab, their
/// values, which a byte 0 ends; then each operation is a byte and its arguments: transactions, answers that tell of
/// them, in fragments and again, progress, compaction, watches that end, stores that are restored, other clusters, and
/// answers of any content.
///
/// Whatever comes, each revision is told once, whole and after those before it; what was told adds up to what is known;
/// no more is gathered than is allowed. Since the last listing from an etcd that answered by its rules, what is known is
/// what each of its revisions said, and another history is always noticed.
pub fn watch(data: &[u8]) {
    let mut bytes = Bytes(data.get(..MOST_BYTES).unwrap_or(data));
    let mut world = World::new(&mut bytes);
    while !bytes.0.is_empty() {
        match bytes.next() % 16 {
            0..=3 => world.server.write(&mut bytes),
            4..=6 => world.deliver(&mut bytes),
            7 => world.repeat(),
            8 => world.progress(bytes.next()),
            9 => world.compact(bytes.next()),
            10 => world.cancel(bytes.next()),
            11 => world.reconnect(),
            12 => world.restore(bytes.next()),
            13 => world.list(),
            14 => world.forge(&mut bytes),
            _ => {
                let count = usize::from(bytes.next()).min(bytes.0.len());
                let (answer, rest) = bytes.0.split_at(count);
                bytes.0 = rest;
                world.honest = false;
                world.hear(answer);
            }
        }
    }
    world.end();
}

/// More is more of the same.
const MOST_BYTES: usize = 2048;

type Revision = (i64, Vec<(Vec<u8>, Option<Vec<u8>>)>);

/// An etcd: all revisions since it began, and up to which they are compacted.
struct Server {
    cluster: u64,
    term: u64,
    compacted: i64,
    history: Vec<Revision>,
    dictionary: Vec<(Vec<u8>, Vec<u8>)>,
}

struct World {
    server: Server,
    reader: WatchReader,
    limit: usize,
    ordered: bool,
    /// If `true`, all answers since the last listing were by the rules.
    honest: bool,
    /// Up to which revision the watch was told everything.
    sent: i64,
    last: Vec<Vec<u8>>,
    told: BTreeMap<RecordKey, Record>,
    /// The view that each revision gives, one by one, and the revision up to which it was asked.
    expected: Option<(View, i64)>,
}

impl Server {
    fn revision(&self) -> i64 {
        self.history.last().map_or(1, |(revision, _)| *revision)
    }

    fn answering(&self) -> Answering {
        Answering {
            cluster: self.cluster,
            revision: self.revision(),
            term: self.term,
        }
    }

    /// The keys at a revision, with their values and the revisions of their last changes.
    fn keys(&self, at: i64) -> BTreeMap<&[u8], (&[u8], i64)> {
        let mut keys = BTreeMap::new();
        for (revision, changes) in self.history.iter().take_while(|(known, _)| *known <= at) {
            for (key, value) in changes {
                match value {
                    Some(value) => keys.insert(key.as_slice(), (value.as_slice(), *revision)),
                    None => keys.remove(key.as_slice()),
                };
            }
        }
        keys
    }

    /// A transaction: no key twice, and none is deleted that is not there.
    fn write(&mut self, bytes: &mut Bytes<'_>) {
        let count = 1 + bytes.next() % 5;
        let known = self.keys(i64::MAX);
        let known: BTreeSet<Vec<u8>> = known.keys().map(|key| key.to_vec()).collect();
        let mut changes: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for _ in 0..count {
            let choice = bytes.next();
            let at = usize::from(choice & 0x7f) % self.dictionary.len();
            let (key, value) = self.dictionary[at].clone();
            let value = (choice < 0x80).then_some(value);
            if value.is_some() || known.contains(&key) {
                changes.insert(key, value);
            }
        }
        if !changes.is_empty() {
            let revision = self.revision() + 1;
            self.history.push((revision, changes.into_iter().collect()));
        }
    }

    /// The answer to a question for a range, at a revision or at the newest.
    fn range(&self, key: &[u8], limit: i64, at: i64) -> Vec<u8> {
        let keys = self.keys(if at == 0 { i64::MAX } else { at });
        let mut rest = keys.iter().filter(|(known, _)| **known >= key);
        let limit = usize::try_from(limit).unwrap_or_default();
        let page: Vec<_> = rest
            .by_ref()
            .take(limit)
            .map(|(key, (value, revision))| (key.to_vec(), value.to_vec(), *revision))
            .collect();
        self.answering().range(page, rest.next().is_some())
    }
}

impl World {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let Ok(layout) = Layout::new(&[chosen(bytes.next())]) else {
            panic!("well-known layouts can be used");
        };
        let choice = bytes.next();
        let ordered = choice & 1 == 0;
        let limit = if choice & 2 == 0 { 1 << 20 } else { 100 };
        let end = bytes.0.iter().position(|byte| *byte == 0);
        let (lines, rest) = bytes.0.split_at(end.unwrap_or(bytes.0.len()));
        bytes.0 = rest.get(1..).unwrap_or_default();
        let mut dictionary: Vec<(Vec<u8>, Vec<u8>)> = lines
            .split(|byte| *byte == b'\n')
            .filter_map(|line| {
                let at = line.iter().position(|byte| *byte == b'\t')?;
                Some((line[..at].to_vec(), line[at + 1..].to_vec()))
            })
            .filter(|(key, _)| !key.is_empty())
            .take(64)
            .collect();
        if dictionary.is_empty() {
            dictionary.push((b"/p/web/one".to_vec(), b"192.0.2.7:80".to_vec()));
        }
        let mut world = Self {
            server: Server {
                cluster: 7,
                term: 2,
                compacted: 0,
                history: Vec::new(),
                dictionary,
            },
            reader: WatchReader::new(layout, ordered, limit),
            limit,
            ordered,
            honest: true,
            sent: 0,
            last: Vec::new(),
            told: BTreeMap::new(),
            expected: None,
        };
        world.list();
        world
    }

    fn list(&mut self) {
        let server = &self.server;
        let listed = self
            .reader
            .list(|key, limit, revision| server.range(key, limit, revision));
        assert!(listed, "a listing by the rules");
        let Some(view) = self.reader.view() else {
            panic!("it was listed");
        };
        self.told = by_key(view.records());
        self.expected = Some((view.clone(), self.server.revision()));
        self.sent = self.server.revision();
        self.last.clear();
        self.honest = true;
        assert_eq!(Ok(self.reader.revision()), self.sent.try_into());
    }

    /// Another watch from where the last one ended, if that is possible.
    fn reconnect(&mut self) {
        let at = i64::try_from(self.reader.revision()).unwrap_or(i64::MAX);
        let future = at > self.server.revision();
        if future || at < self.server.compacted {
            return self.list();
        }
        let key = self.reader.witness().map(<[u8]>::to_vec);
        let answer = match key {
            Some(key) => {
                let keys = self.server.keys(at);
                let found = keys.get(key.as_slice());
                let found = found.map(|(value, revision)| (key.clone(), value.to_vec(), *revision));
                self.server
                    .answering()
                    .range(found.into_iter().collect(), false)
            }
            None => self.server.answering().range(Vec::new(), false),
        };
        let resumed = self.reader.resume(&answer);
        assert!(resumed || !self.honest, "the history is the same");
        match resumed {
            true => self.sent = at,
            false => self.list(),
        }
    }

    /// The store is another one, or as it was at an earlier revision.
    fn restore(&mut self, choice: u8) {
        let server = &mut self.server;
        if choice & 1 == 0 || server.term == 0 {
            server.cluster += 1;
            server.term = 2;
        } else {
            server.term -= 1;
        }
        let kept = usize::from(choice >> 1) % (server.history.len() + 1);
        server.history.truncate(kept);
        server.compacted = server.compacted.min(server.revision());
        let (key, value) = server.dictionary[0].clone();
        server
            .history
            .push((server.revision() + 1, vec![(key, Some(value))]));
        let revision = i64::try_from(self.reader.revision()).unwrap_or(i64::MAX);
        if revision <= self.server.revision() && self.honest {
            let answer = self.server.answering().range(Vec::new(), false);
            assert!(!self.reader.resume(&answer), "another history");
        }
        self.list();
    }

    /// Tells of some of the revisions that were not told, in one answer or in fragments.
    fn deliver(&mut self, bytes: &mut Bytes<'_>) {
        if self.sent < self.server.compacted {
            return self.compacted();
        }
        let (count, size) = (1 + bytes.next() % 4, bytes.next());
        let sent = self.sent;
        let pending = self.server.history.iter().filter(|(at, _)| *at > sent);
        let mut events: Vec<WatchEvent> = Vec::new();
        for (revision, changes) in pending.take(count.into()) {
            self.sent = *revision;
            let changed = changes.iter();
            events.extend(changed.map(|(key, value)| (key.clone(), value.clone(), *revision)));
        }
        if events.is_empty() {
            return;
        }
        let size = match size % 8 {
            0..=3 => events.len(),
            some => usize::from(some - 3),
        };
        let answering = self.server.answering();
        let parts = events.len().div_ceil(size);
        let answers: Vec<Vec<u8>> = events
            .chunks(size)
            .enumerate()
            .map(|(part, events)| {
                answering.watch(WatchAnswer {
                    fragment: part + 1 < parts,
                    events: events.to_vec(),
                    ..WatchAnswer::default()
                })
            })
            .collect();
        self.last = answers.clone();
        for answer in answers {
            if !self.hear(&answer) {
                return;
            }
        }
    }

    /// The last answer comes again.
    fn repeat(&mut self) {
        for answer in self.last.clone() {
            if !self.hear(&answer) {
                return;
            }
        }
    }

    fn progress(&mut self, choice: u8) {
        let all = self.sent == self.server.revision();
        // To a question, an etcd before 3.4.25 and 3.5.8 answers before it has told of everything.
        let watch = if choice & 1 == 0 { 0 } else { -1 };
        if all || watch == -1 && !self.ordered {
            let answer = WatchAnswer {
                watch,
                ..WatchAnswer::default()
            };
            self.hear(&self.server.answering().watch(answer));
        }
    }

    fn compact(&mut self, choice: u8) {
        let server = &mut self.server;
        let at = server.revision() - i64::from(choice % 4);
        server.compacted = server.compacted.max(at);
    }

    fn compacted(&mut self) {
        let answer = WatchAnswer {
            cancelled: Some(String::new()),
            compacted: self.server.compacted,
            ..WatchAnswer::default()
        };
        let answer = self.server.answering().watch(answer);
        let heard = self.reader.hear(&answer);
        assert!(matches!(heard, WatchHeard::Relist), "{heard:?}");
        self.list();
    }

    fn cancel(&mut self, choice: u8) {
        let reasons = ["", "etcdserver: no leader", "etcdserver: permission denied"];
        let answer = WatchAnswer {
            cancelled: reasons
                .get(usize::from(choice) % 3)
                .map(|why| (*why).to_owned()),
            ..WatchAnswer::default()
        };
        self.hear(&self.server.answering().watch(answer));
    }

    /// An answer by no rules.
    fn forge(&mut self, bytes: &mut Bytes<'_>) {
        self.honest = false;
        let near = self.server.revision();
        let number = |bytes: &mut Bytes<'_>| match bytes.next() {
            0x80 => i64::MIN,
            0x7f => i64::MAX,
            other => near + i64::from(other.cast_signed()),
        };
        let mut answering = self.server.answering();
        answering.revision = number(bytes);
        let flags = bytes.next();
        answering.term += u64::from(flags & 1);
        let count = bytes.next() % 8;
        let mut event = || {
            let (key, value) = bytes.pick(&self.server.dictionary);
            let deleted = bytes.next() & 1 == 0;
            (key, (!deleted).then_some(value), number(bytes))
        };
        let answer = WatchAnswer {
            watch: i64::from(flags >> 1 & 1) - 1,
            created: flags & 28 == 4,
            cancelled: None,
            compacted: i64::from(flags >> 5 & 1),
            fragment: flags & 64 != 0,
            events: (0..count).map(|_| event()).collect(),
        };
        self.hear(&answering.watch(answer));
    }

    /// Returns `false` if the watch ended, and another one began.
    fn hear(&mut self, answer: &[u8]) -> bool {
        let before = self.reader.revision();
        match self.reader.hear(answer) {
            WatchHeard::Nothing => {}
            WatchHeard::Steps(steps) => {
                let mut last = before;
                for (revision, step) in steps {
                    assert!(revision > last, "{revision} after {last}");
                    last = revision;
                    add_up(&mut self.told, step);
                }
                assert!(self.reader.revision() >= last);
                assert!(self.reader.gathered() <= self.limit);
                self.compare();
            }
            WatchHeard::Ended => {
                self.reconnect();
                return false;
            }
            WatchHeard::Relist => {
                assert!(!self.honest || self.limit < 1 << 20, "nothing was wrong");
                self.list();
                return false;
            }
        }
        true
    }

    fn compare(&mut self) {
        let Some(view) = self.reader.view() else {
            panic!("it was listed");
        };
        assert_eq!(view.record_count(), self.told.len(), "records");
        assert_eq!(by_key(view.records()), self.told, "what was told");
        let Some((expected, at)) = self.expected.as_mut().filter(|_| self.honest) else {
            return;
        };
        let up_to = i64::try_from(self.reader.revision()).unwrap_or(i64::MAX);
        let since = *at;
        for (revision, changes) in &self.server.history {
            if *revision > since && *revision <= up_to {
                let change = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| Change {
                    key: key.clone(),
                    value: value.clone(),
                };
                expected.apply(changes.iter().map(change));
                *at = *revision;
            }
        }
        assert_eq!(by_key(expected.records()), self.told, "revision {up_to}");
    }

    /// Everything is told by the rules.
    fn end(mut self) {
        if !self.honest {
            self.list();
        }
        // Some end with a listing.
        while self.sent < self.server.revision() {
            self.deliver(&mut Bytes(&[3, 0]));
        }
        self.progress(0);
        assert_eq!(
            Ok(self.reader.revision()),
            self.server.revision().try_into()
        );
        self.compare();
    }
}
