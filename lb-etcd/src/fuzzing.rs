//! Readings that are no part of what the crate offers, for fuzz targets.

mod watch;

use std::sync::Arc;

use lb_core::Record;

use crate::{
    layout::{Change, Layout, Step, View},
    v2::{Said, read},
};

pub use watch::{Answering, WatchAnswer, WatchEvent, WatchHeard, WatchReader};

/// A reader of the keys API of etcd 2, without the network.
#[derive(Debug)]
pub struct V2Reader {
    layout: Arc<Layout>,
    view: View,
}

/// The effect of an answer on what a [`V2Reader`] knows.
#[derive(Debug)]
pub enum Heard {
    /// It was a listing: these are all records.
    Listing(Vec<Record>),
    /// It was a change; of a directory that is gone, its keys' beginning.
    Changed(Step, Option<String>),
    /// It was neither.
    Nothing,
}

impl V2Reader {
    /// One that has read nothing yet.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let layout = Arc::new(layout);
        Self {
            view: View::new(Arc::clone(&layout)),
            layout,
        }
    }

    /// The view as it is known.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The number of keys with a meaning that begin with this.
    #[must_use]
    pub fn keys_below(&self, prefix: &str) -> usize {
        self.view.keys_below(prefix).len()
    }

    /// Reads the body of an answer.
    pub fn hear(&mut self, body: &[u8]) -> Heard {
        match read(body) {
            Said::Listing(changes) => {
                let mut view = View::new(Arc::clone(&self.layout));
                view.load(changes, Some(&self.view));
                view.diagnostics();
                self.view = view;
                Heard::Listing(self.view.records())
            }
            Said::Changed { change, below, .. } => {
                let gone = below.iter().flat_map(|below| self.view.keys_below(below));
                let changes: Vec<Change> = gone.map(Change::delete).chain(change).collect();
                Heard::Changed(self.view.apply(changes), below)
            }
            Said::Cleared | Said::Refused(_) => Heard::Nothing,
        }
    }
}
