//! What to write to bring keys from one phase to another. Pure.

use super::entry::{Entry, Phase};
use crate::client::wire;

/// One transaction that brings all entries into a phase under a lease.
pub(crate) fn bring(entries: &[Entry], phase: Phase, lease: i64) -> wire::TxnRequest {
    wire::TxnRequest {
        success: entries
            .iter()
            .map(|entry| operation(entry, phase, lease))
            .collect(),
        ..wire::TxnRequest::default()
    }
}

/// The same, if any key is not there under this lease any more; else nothing is written.
pub(crate) fn mend(entries: &[Entry], phase: Phase, lease: i64) -> Option<wire::TxnRequest> {
    let ours: Vec<wire::Compare> = entries
        .iter()
        .filter(|entry| entry.value(phase).is_some())
        .map(|entry| wire::Compare {
            result: wire::compare::CompareResult::Equal.into(),
            target: wire::compare::CompareTarget::Lease.into(),
            key: entry.key.as_bytes().to_vec(),
            target_union: Some(wire::compare::TargetUnion::Lease(lease)),
        })
        .collect();
    (!ours.is_empty()).then(|| wire::TxnRequest {
        compare: ours,
        failure: entries
            .iter()
            .map(|entry| operation(entry, phase, lease))
            .collect(),
        ..wire::TxnRequest::default()
    })
}

fn operation(entry: &Entry, phase: Phase, lease: i64) -> wire::RequestOp {
    let key = entry.key.as_bytes().to_vec();
    let request = match entry.value(phase) {
        Some(value) => wire::request_op::Request::RequestPut(wire::PutRequest {
            key,
            value: value.as_bytes().to_vec(),
            lease,
        }),
        None => wire::request_op::Request::RequestDeleteRange(wire::DeleteRangeRequest {
            key,
            range_end: Vec::new(),
        }),
    };
    wire::RequestOp {
        request: Some(request),
    }
}

/// The same without a lease, for whoever writes and goes.
pub(crate) fn put_and_delete(puts: &[(String, String)], deletes: &[String]) -> wire::TxnRequest {
    let puts = puts.iter().map(|(key, value)| {
        let entry = Entry::plain(key, value);
        operation(&entry, Phase::Ready, 0)
    });
    let deletes = deletes.iter().map(|key| {
        let entry = Entry::plain(key, "");
        operation(&entry, Phase::Unknown, 0)
    });
    wire::TxnRequest {
        success: puts.chain(deletes).collect(),
        ..wire::TxnRequest::default()
    }
}
