//! What an etcd source says of itself.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

/// Reads the state of an etcd source while a control plane owns the source. Cheap to clone.
#[derive(Clone, Default)]
pub struct EtcdStatusReader {
    shared: Arc<Mutex<EtcdStatus>>,
}

/// The state of an etcd source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EtcdStatus {
    /// The member in use; `None` between attempts.
    pub endpoint: Option<Arc<str>>,
    /// The release of that member, where it said.
    pub version: String,
    /// The cluster, as in cursors; empty before the first listing.
    pub cluster: Arc<str>,
    /// Everything up to this revision has been told.
    pub applied_revision: u64,
    /// The greatest revision that the member was heard to be at.
    pub server_revision: u64,
    /// The number of keys with a meaning.
    pub keys: usize,
    /// The number of records they make.
    pub records: usize,
    /// The number of times everything was listed.
    pub listings: u64,
    /// The number of times a watch went on without a listing.
    pub resumes: u64,
    /// Why everything was last listed.
    pub last_listing: Option<String>,
    /// The error with which the last attempt ended.
    pub last_error: Option<String>,
}

impl EtcdStatus {
    /// The number of revisions of the store that are not reported yet. On members before 3.4.25 and 3.5.8 it may count
    /// revisions that do not concern the source.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.server_revision.saturating_sub(self.applied_revision)
    }
}

impl EtcdStatusReader {
    /// The state now.
    #[must_use]
    pub fn read(&self) -> EtcdStatus {
        self.shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut EtcdStatus)) {
        change(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl fmt::Debug for EtcdStatusReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EtcdStatusReader")
            .field(&self.read())
            .finish()
    }
}
