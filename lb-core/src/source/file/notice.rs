//! Learns of changes on disk through the system, where it tells.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::Notify;

/// Watches folders. Dropping it ends the watch.
pub(super) struct Notice {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// A writer has finished: closed its file, or put one in place by renaming.
    finished: AtomicBool,
    something: Notify,
}

/// A change that was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noticed {
    /// A writer has finished.
    Finished,
    /// A writer may still be at it.
    Touched,
}

impl Notice {
    /// Begins to notice changes; never one where the system does not report them.
    pub(super) fn new() -> Self {
        let seen: Arc<Seen> = Arc::default();
        let tell = seen.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error means that something was missed, so there is something to look at.
            let kind = event.map_or(EventKind::Any, |event| event.kind);
            match kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_)) => {
                    tell.finished.store(true, Ordering::Release);
                }
                // Reading the files must not lead to reading them again.
                EventKind::Access(_) => return,
                _ => {}
            }
            tell.something.notify_one();
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!("changes of files are seen by polling only: {error}")
            })
            .ok();
        Self {
            watcher,
            watched: BTreeSet::new(),
            seen,
        }
    }

    /// Watches these folders from now on and no others. Returns whether one was added: what changed in it before
    /// was not noticed.
    pub(super) fn aim(&mut self, folders: BTreeSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        for gone in self.watched.difference(&folders) {
            // A folder that is no longer there cannot be unwatched, nor need it be.
            let _ = watcher.unwatch(gone);
        }
        let mut watched: BTreeSet<PathBuf> = self.watched.intersection(&folders).cloned().collect();
        let mut added = false;
        for folder in folders {
            if !watched.contains(&folder)
                && watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok()
            {
                watched.insert(folder);
                added = true;
            }
        }
        self.watched = watched;
        added
    }

    /// Waits for a change. Dropping the future loses nothing.
    pub(super) async fn wait(&self) -> Noticed {
        self.seen.something.notified().await;
        if self.seen.finished.swap(false, Ordering::AcqRel) {
            Noticed::Finished
        } else {
            Noticed::Touched
        }
    }
}
