//! A listing and the watch after it, without the network: answers are bytes as etcd sends them.

use std::sync::Arc;

use prost::Message;

use crate::{
    client::wire,
    layout::{Layout, Step, View},
    listing::{Asked, Listing},
    pager::Pager,
    progress::{Ended, Follower, Position, Relist, Told, may_resume},
};

/// A reader of listings and watches that knows what the etcd source knows.
#[derive(Debug)]
pub struct WatchReader {
    layout: Arc<Layout>,
    pager: Pager,
    ordered_progress: bool,
    limit: usize,
    known: Option<Known>,
    relist: Option<Relist>,
}

#[derive(Debug)]
struct Known {
    view: View,
    follower: Follower,
}

/// The effect of a watch's answer on what a [`WatchReader`] knows.
#[derive(Debug)]
pub enum WatchHeard {
    /// It is no answer of a watch, or nothing was listed before.
    Nothing,
    /// The watch goes on: each revision that came whole, with what it means.
    Steps(Vec<(u64, Step)>),
    /// The watch ended; another one may go on where it ended.
    Ended,
    /// The watch ended, and everything has to be listed.
    Relist,
}

/// A change of one key in an answer: the key, its value unless it is gone, and its revision.
pub type WatchEvent = (Vec<u8>, Option<Vec<u8>>, i64);

/// Who answers: the cluster, its revision and the term of its leader.
#[derive(Debug, Clone, Copy)]
pub struct Answering {
    /// The cluster.
    pub cluster: u64,
    /// The revision of its store.
    pub revision: i64,
    /// The term of its leader.
    pub term: u64,
}

/// An answer of a watch.
#[derive(Debug, Clone, Default)]
pub struct WatchAnswer {
    /// The watch; -1 for all of the stream.
    pub watch: i64,
    /// The watch begins.
    pub created: bool,
    /// The watch has ended, for this reason.
    pub cancelled: Option<String>,
    /// The history before this revision is gone.
    pub compacted: i64,
    /// More of the same answer follows.
    pub fragment: bool,
    /// The changes.
    pub events: Vec<WatchEvent>,
}

impl WatchReader {
    /// Creates one that has listed nothing yet. `limit`: the most bytes of one answer, and of one revision in
    /// fragments.
    #[must_use]
    pub fn new(layout: Layout, ordered_progress: bool, limit: usize) -> Self {
        Self {
            layout: Arc::new(layout),
            pager: Pager::new(2),
            ordered_progress,
            limit,
            known: None,
            relist: None,
        }
    }

    /// Lists everything. `answer` is given the first key, the most keys and the revision (0: the newest) of each
    /// question. Returns `false` if an answer cannot be used, or there is no end of them.
    pub fn list(&mut self, mut answer: impl FnMut(&[u8], i64, i64) -> Vec<u8>) -> bool {
        const MOST_PAGES: usize = 256;
        let known = self.known.as_ref();
        let listed = {
            let view = View::new(Arc::clone(&self.layout));
            let before = known.map(|known| &known.view);
            let mut listing = Listing::new(&self.layout, view, before, &mut self.pager, self.limit);
            let mut pages = 0..MOST_PAGES;
            loop {
                if pages.next().is_none() {
                    return false;
                }
                let asked = listing.request(&Asked::Page);
                let bytes = answer(&asked.key, asked.limit, asked.revision);
                let Ok(page) = wire::RangeResponse::decode(bytes.as_slice()) else {
                    return false;
                };
                match listing.take(page, &Asked::Page) {
                    Ok(true) => {}
                    Ok(false) => break listing.listed(),
                    Err(_) => return false,
                }
            }
        };
        let mut position = listed.position;
        if let Some(known) = known {
            let before = &known.follower.position;
            let why = self.relist.take().unwrap_or(Relist::First);
            let why = why.in_hindsight(Some(before), &position);
            position = position.after(before, &why);
        }
        self.know(listed.view, position);
        true
    }

    fn know(&mut self, view: View, position: Position) {
        let follower = Follower::new(position, self.ordered_progress, self.limit);
        self.known = Some(Known { view, follower });
    }

    /// The view as it is known; `None` before the first listing.
    #[must_use]
    pub fn view(&self) -> Option<&View> {
        self.known.as_ref().map(|known| &known.view)
    }

    /// Every change up to this revision has been told.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.known
            .as_ref()
            .map_or(0, |known| known.follower.position.revision)
    }

    /// The bytes of a revision that is not whole.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.known
            .as_ref()
            .map_or(0, |known| known.follower.gathered())
    }

    /// The key by which another history is recognised, if there is one.
    #[must_use]
    pub fn witness(&self) -> Option<&[u8]> {
        let witness = self.known.as_ref()?.follower.position.witness.as_ref()?;
        Some(&witness.key)
    }

    /// Begins another watch, given the answer to a question for the [witness](Self::witness) at the
    /// [revision](Self::revision). Returns `false` if everything has to be listed instead.
    pub fn resume(&mut self, answer: &[u8]) -> bool {
        let Ok(answer) = wire::RangeResponse::decode(answer) else {
            return false;
        };
        let Some(known) = self.known.take() else {
            return false;
        };
        let position = known.follower.position.clone();
        let may = may_resume(&position, &answer);
        self.know(known.view, position);
        match may {
            Ok(()) => true,
            Err(why) => {
                self.relist = Some(why);
                false
            }
        }
    }

    /// Reads an answer of the watch.
    pub fn hear(&mut self, answer: &[u8]) -> WatchHeard {
        let (Ok(answer), Some(known)) = (wire::WatchResponse::decode(answer), &mut self.known)
        else {
            return WatchHeard::Nothing;
        };
        match known.follower.handle(answer) {
            Ok(told) => {
                let batches = told.into_iter().filter_map(|told| match told {
                    Told::Batch { revision, changes } => Some((revision, changes)),
                    Told::Created | Told::CaughtUp => None,
                });
                let view = &mut known.view;
                WatchHeard::Steps(
                    batches
                        .map(|(revision, changes)| (revision, view.apply(changes)))
                        .collect(),
                )
            }
            Err(Ended::Cancelled { .. }) => WatchHeard::Ended,
            Err(Ended::Relist(why)) => {
                self.relist = Some(why);
                WatchHeard::Relist
            }
        }
    }
}

impl Answering {
    fn header(self) -> wire::ResponseHeader {
        wire::ResponseHeader {
            cluster_id: self.cluster,
            member_id: 1,
            revision: self.revision,
            raft_term: self.term,
        }
    }

    /// The bytes of an answer with these keys, their values and the revisions of their last changes.
    #[must_use]
    pub fn range(self, keys: Vec<(Vec<u8>, Vec<u8>, i64)>, more: bool) -> Vec<u8> {
        let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        let kvs = keys
            .into_iter()
            .map(|(key, value, revision)| kv(key, value, revision));
        let answer = wire::RangeResponse {
            header: Some(self.header()),
            kvs: kvs.collect(),
            more,
            count,
        };
        answer.encode_to_vec()
    }

    /// The bytes of an answer of a watch.
    #[must_use]
    pub fn watch(self, answer: WatchAnswer) -> Vec<u8> {
        let event = |(key, value, revision): WatchEvent| {
            let r#type = match value {
                Some(_) => wire::event::EventType::Put,
                None => wire::event::EventType::Delete,
            };
            wire::Event {
                r#type: r#type.into(),
                kv: Some(kv(key, value.unwrap_or_default(), revision)),
            }
        };
        let answer = wire::WatchResponse {
            header: Some(self.header()),
            watch_id: answer.watch,
            created: answer.created,
            canceled: answer.cancelled.is_some(),
            compact_revision: answer.compacted,
            cancel_reason: answer.cancelled.unwrap_or_default(),
            fragment: answer.fragment,
            events: answer.events.into_iter().map(event).collect(),
        };
        answer.encode_to_vec()
    }
}

fn kv(key: Vec<u8>, value: Vec<u8>, revision: i64) -> wire::KeyValue {
    wire::KeyValue {
        key,
        mod_revision: revision,
        value,
        ..wire::KeyValue::default()
    }
}
