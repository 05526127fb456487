//! Everything there is at one revision, page by page.

use std::sync::Arc;

use lb_core::{Sink, SourceError, Update};
use prost::Message;

use crate::{
    client::{Session, wire},
    config::EtcdConfig,
    error::EtcdError,
    layout::{Change, Layout, View},
    pager::Pager,
    progress::{Changed, Position, Witness, cluster_name, revision},
};

/// The number of times a listing begins anew when the revision it is pinned to is compacted under it.
const ATTEMPTS: u32 = 3;

/// Everything there is at one revision.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) view: View,
    pub(crate) position: Position,
}

/// A listing that goes on.
pub(crate) struct Listing<'l> {
    /// The most bytes that an answer may have.
    max_message_bytes: usize,
    pager: &'l mut Pager,
    known: Option<&'l View>,
    view: View,
    position: Option<Position>,
    newest: Option<(u64, Witness)>,
    /// The first key that is still to come.
    key: Vec<u8>,
    range_end: Vec<u8>,
}

/// The subject of the next question.
pub(crate) enum Asked {
    Page,
    /// The next key without its value, which is larger than what is taken.
    OneKey,
}

/// Lists all keys of the layout at one revision. A value that cannot be used keeps its meaning in `known`.
pub(crate) async fn list(
    session: &Session,
    config: &EtcdConfig,
    layout: &Arc<Layout>,
    known: Option<&View>,
    pager: &mut Pager,
    sink: &Sink,
) -> Result<Listed, SourceError> {
    let mut attempt = 1;
    loop {
        let view = View::limited(Arc::clone(layout), config.max_keys);
        let limit = session.max_message_bytes();
        let listing = Listing::new(layout, view, known, &mut *pager, limit);
        match listing.run(session, sink).await {
            Err(SourceError::CursorGone { .. }) if attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

impl<'l> Listing<'l> {
    /// A listing of all keys of a layout into a `view` that has none yet.
    pub(crate) fn new(
        layout: &Layout,
        view: View,
        known: Option<&'l View>,
        pager: &'l mut Pager,
        max_message_bytes: usize,
    ) -> Self {
        let (key, range_end) = range(layout.prefix());
        Self {
            max_message_bytes,
            pager,
            known,
            view,
            position: None,
            newest: None,
            key,
            range_end,
        }
    }

    async fn run(mut self, session: &Session, sink: &Sink) -> Result<Listed, SourceError> {
        let mut asked = Asked::Page;
        loop {
            match session.range(self.request(&asked)).await {
                Ok(answer) => {
                    let more = self.take(answer, &asked)?;
                    asked = Asked::Page;
                    if !more {
                        break;
                    }
                }
                Err(EtcdError::TooLarge { .. }) if matches!(asked, Asked::Page) => {
                    if !self.pager.too_much() {
                        asked = Asked::OneKey;
                    }
                }
                // A slow link may still carry less at once. The first page is asked for anew by the next attempt: it
                // may be the member that is slow.
                Err(error @ EtcdError::Silent { .. }) => {
                    if !self.pager.too_much() || self.position.is_none() {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            if let Some(position) = &self.position {
                // A long listing is no silence.
                let at = position.cursor(position.revision);
                sink.send(Update::Progress { at }).await?;
            }
        }
        Ok(self.listed())
    }

    /// The result of the listing.
    pub(crate) fn listed(self) -> Listed {
        let mut position = self.position.unwrap_or_else(|| Position {
            cluster: cluster_name(0),
            history: 0,
            revision: 0,
            term: 0,
            witness: None,
        });
        position.witness = self.newest.map(|(_, witness)| witness);
        Listed {
            view: self.view,
            position,
        }
    }

    /// The next question.
    pub(crate) fn request(&self, asked: &Asked) -> wire::RangeRequest {
        let one = matches!(asked, Asked::OneKey);
        wire::RangeRequest {
            key: self.key.clone(),
            range_end: self.range_end.clone(),
            limit: if one { 1 } else { self.pager.limit() },
            revision: self.position.as_ref().map_or(0, |position| {
                i64::try_from(position.revision).unwrap_or_default()
            }),
            keys_only: one,
            ..wire::RangeRequest::default()
        }
    }

    /// Takes one answer; returns `true` if there is more.
    pub(crate) fn take(
        &mut self,
        answer: wire::RangeResponse,
        asked: &Asked,
    ) -> Result<bool, SourceError> {
        if answer.kvs.iter().any(|kv| kv.key < self.key) {
            // Never asked for, and a listing that goes back does not end.
            let what = "etcd answers with keys that were not asked for";
            return Err(SourceError::transient(what));
        }
        let header = answer.header.unwrap_or_default();
        let at = self.position.get_or_insert_with(|| Position {
            cluster: cluster_name(header.cluster_id),
            history: 0,
            revision: revision(header.revision),
            term: 0,
            witness: None,
        });
        at.term = at.term.max(header.raft_term);
        let more = answer.more && !answer.kvs.is_empty();
        if let Some(last) = answer.kvs.last() {
            self.key.clone_from(&last.key);
            self.key.push(0);
        }
        if matches!(asked, Asked::OneKey) {
            for kv in answer.kvs {
                self.view
                    .leave_out(&kv.key, self.max_message_bytes, self.known);
            }
            return Ok(more);
        }
        self.pager.came(answer.encoded_len());
        let page_newest = answer.kvs.iter().max_by_key(|kv| kv.mod_revision);
        if let Some(kv) = page_newest
            && self
                .newest
                .as_ref()
                .is_none_or(|(at, _)| *at < revision(kv.mod_revision))
        {
            let witness = Witness {
                key: kv.key.clone(),
                changed: Some(Changed::of(kv)),
            };
            self.newest = Some((revision(kv.mod_revision), witness));
        }
        let changes = answer.kvs.into_iter().map(|kv| Change {
            key: kv.key,
            value: Some(kv.value),
        });
        self.view.load(changes, self.known);
        Ok(more)
    }
}

/// The first key of a prefix and the key after the last.
pub(crate) fn range(prefix: &str) -> (Vec<u8>, Vec<u8>) {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if let Some(after) = last.checked_add(1) {
            end.push(after);
            return (range_start(prefix), end);
        }
    }
    (range_start(prefix), vec![0])
}

/// etcd has no empty key: a zero byte is the least.
pub(crate) fn range_start(prefix: &str) -> Vec<u8> {
    if prefix.is_empty() {
        vec![0]
    } else {
        prefix.as_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_prefix_and_nothing_else() {
        assert_eq!(range("/lb/"), (b"/lb/".to_vec(), b"/lb0".to_vec()));
        assert_eq!(range(""), (vec![0], vec![0]));
    }
}
