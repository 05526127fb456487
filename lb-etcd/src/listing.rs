//! Everything there is at one revision, page by page.

use std::sync::Arc;

use lb_core::{Diagnostic, Sink, SourceError, Update};
use prost::Message;

use crate::{
    client::{Session, wire},
    config::EtcdConfig,
    error::EtcdError,
    layout::{Change, Layout, View},
    progress::{Changed, Position, Witness, cluster_name, revision},
};

/// How often a listing begins anew when the revision it is pinned to is compacted under it.
const ATTEMPTS: u32 = 3;

/// The smallest page that a slow link is asked for.
const MIN_PAGE: i64 = 16;

/// The most values of one listing that are told to be unusable.
const MAX_DIAGNOSTICS: usize = 256;

/// Pages grow while they are smaller than this, in bytes: for each page, etcd walks over all keys of the range.
const GROW_BELOW: usize = 1024 * 1024;

/// How often the first page's size they may become.
const GROWTH: i64 = 32;

/// Everything there is at one revision.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) view: View,
    pub(crate) position: Position,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Lists all keys of the layout at one revision. A value that cannot be used keeps its meaning in `known`.
pub(crate) async fn list(
    session: &Session,
    config: &EtcdConfig,
    layout: &Arc<Layout>,
    known: Option<&View>,
    sink: &Sink,
) -> Result<Listed, SourceError> {
    let mut attempt = 1;
    loop {
        match pages(session, config, layout, known, sink).await {
            Err(SourceError::CursorGone { .. }) if attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

async fn pages(
    session: &Session,
    config: &EtcdConfig,
    layout: &Arc<Layout>,
    known: Option<&View>,
    sink: &Sink,
) -> Result<Listed, SourceError> {
    let (mut key, range_end) = range(layout.prefix());
    let mut view = View::new(Arc::clone(layout));
    let mut diagnostics = Vec::new();
    let mut position: Option<Position> = None;
    let mut newest: Option<(u64, Witness)> = None;
    let mut limit = i64::from(config.page_keys);
    loop {
        let request = wire::RangeRequest {
            key: key.clone(),
            range_end: range_end.clone(),
            limit,
            revision: position.as_ref().map_or(0, |position| {
                i64::try_from(position.revision).unwrap_or_default()
            }),
            ..wire::RangeRequest::default()
        };
        let answer = match session.range(request).await {
            // A slow link may still carry less at once.
            Err(EtcdError::Silent { .. }) if limit > MIN_PAGE && position.is_some() => {
                limit = (limit / 4).max(MIN_PAGE);
                continue;
            }
            answer => answer?,
        };
        let most = i64::from(config.page_keys) * GROWTH;
        if answer.encoded_len() < GROW_BELOW && limit >= i64::from(config.page_keys) {
            limit = (limit * 2).min(most);
        }
        let header = answer.header.unwrap_or_default();
        let at = position.get_or_insert_with(|| Position {
            cluster: cluster_name(header.cluster_id),
            history: 0,
            revision: revision(header.revision),
            term: 0,
            witness: None,
        });
        at.term = at.term.max(header.raft_term);

        if let Some(last) = answer.kvs.last() {
            key.clone_from(&last.key);
            key.push(0);
        }
        let page_newest = answer.kvs.iter().max_by_key(|kv| kv.mod_revision);
        if let Some(kv) = page_newest
            && newest
                .as_ref()
                .is_none_or(|(at, _)| *at < revision(kv.mod_revision))
        {
            let witness = Witness {
                key: kv.key.clone(),
                changed: Some(Changed::of(kv)),
            };
            newest = Some((revision(kv.mod_revision), witness));
        }
        let done = !answer.more || answer.kvs.is_empty();
        let changes = answer.kvs.into_iter().map(|kv| Change {
            key: kv.key,
            value: Some(kv.value),
        });
        diagnostics.extend(view.load(changes, known));
        diagnostics.truncate(MAX_DIAGNOSTICS);
        if view.key_count() > config.max_keys {
            return Err(too_many_keys(config.max_keys).into());
        }
        if !done {
            // A long listing is no silence.
            let at = at.cursor(at.revision);
            sink.send(Update::Progress { at }).await?;
            continue;
        }
        at.witness = newest.map(|(_, witness)| witness);
        let position = at.clone();
        diagnostics.extend(view.incomplete());
        return Ok(Listed {
            view,
            position,
            diagnostics,
        });
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

pub(crate) fn too_many_keys(limit: usize) -> EtcdError {
    EtcdError::Config {
        field: "max_keys",
        value: limit.to_string(),
        expected: "as many as there are keys below the prefix, or fewer keys",
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
