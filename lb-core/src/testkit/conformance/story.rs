//! Properties of everything a source said, in order.

use super::{
    follower::{Store, describe},
    properties::Checked,
};
use crate::source::{Admission, Cursor, Protocol, Update};

pub(super) fn order(log: &[Update]) -> Checked {
    let first = log
        .iter()
        .find(|update| !matches!(update, Update::Diagnostic(_) | Update::Resolved { .. }));
    if !matches!(first, Some(Update::Reset { .. } | Update::Progress { .. })) {
        return Err(format!("the story begins with {first:?}, expected a reset"));
    }
    let mut last: Option<&Cursor> = None;
    for update in log {
        let (Update::Reset { at, .. } | Update::Resumed { at } | Update::Batch { at, .. }) = update
        else {
            continue;
        };
        if last.is_some_and(|last| last.epoch == at.epoch && at.revision < last.revision) {
            return Err(format!("{at} came after {last:?}"));
        }
        last = Some(at);
    }
    Ok(None)
}

pub(super) fn replay(log: &[Update]) -> Checked {
    let mut protocol = Protocol::default();
    let mut store = Store::default();
    let hear = |protocol: &mut Protocol, store: &mut Store, update: &Update| {
        if protocol.admit(update) == Ok(Admission::Apply) {
            store.apply(update.clone());
        }
    };
    for update in log {
        hear(&mut protocol, &mut store, update);
    }
    let end = store.in_effect.clone();
    for from in (0..log.len()).rev().take(200) {
        for update in log.iter().skip(from) {
            hear(&mut protocol, &mut store, update);
        }
        if store.in_effect != end {
            return Err(format!(
                "hearing the last {} updates again led to {}, expected {}",
                log.len() - from,
                describe(&store.in_effect),
                describe(&end)
            ));
        }
    }
    Ok(None)
}
