//! What the conformance kit needs from a source's server.

use std::time::Duration;

use async_trait::async_trait;

use crate::source::{Record, RecordKey, Source};

/// The ability of a harness to do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// It was done.
    Done,
    /// This harness cannot do it: the property is skipped.
    Cannot,
}

/// A server with objects that a source reports, and the ways to disturb it.
///
/// An object is a number `item` (below 64) that has a `version` (1 to 200). The harness decides what that is:
/// a key, a container, an entry of a file. Its record must show the version; where nothing else is said, in its
/// endpoint's weight. Methods return when the *server* has done it; the kit waits for the source.
///
/// A harness panics, or waits for ever, only when the server itself cannot be used.
#[async_trait]
pub trait Harness: Send {
    /// A new source that reads the server's objects. Its liveness bound should be short, a second or a few, so that
    /// P11 ends soon.
    async fn source(&mut self) -> Box<dyn Source>;

    /// Makes `item` exist with this version, or changes it to it.
    async fn put(&mut self, item: u16, version: u16);

    /// Makes `item` not exist. Without it, nothing happens.
    async fn remove(&mut self, item: u16);

    /// The key of the record that `item` gives.
    fn key(&self, item: u16) -> RecordKey;

    /// The version that a record shows. Where a version cannot be shown, return `None` always.
    fn version(&self, record: &Record) -> Option<u16> {
        record
            .endpoint
            .as_ref()
            .map(|endpoint| endpoint.weight.get())
    }

    /// The longest that the source may take to learn of a change. It only bounds how long a failure takes.
    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }

    /// The number of operations of a random sequence. Fewer where one takes long.
    fn effort(&self) -> usize {
        60
    }

    /// Puts both items with this version in one transaction.
    async fn put_both(&mut self, items: [u16; 2], version: u16) -> Ability {
        let _ = (items, version);
        Ability::Cannot
    }

    /// Tells `item` to leave, so that the source must report it draining, and removes it after that.
    async fn drain_and_remove(&mut self, item: u16) -> Ability {
        let _ = item;
        Ability::Cannot
    }

    /// Adds an object that the source cannot understand. [`unspoil`](Self::unspoil) takes it away.
    async fn spoil(&mut self) -> Ability {
        Ability::Cannot
    }

    /// Takes away what [`spoil`](Self::spoil) added.
    async fn unspoil(&mut self) {}

    /// Makes the server unreachable: connections break, new ones fail. [`put`](Self::put) and
    /// [`remove`](Self::remove) are not called before [`heal`](Self::heal).
    async fn interrupt(&mut self) -> Ability {
        Ability::Cannot
    }

    /// Ends what [`interrupt`](Self::interrupt) and [`silence`](Self::silence) began.
    async fn heal(&mut self) {}

    /// Makes the server answer nothing while connections stay, such as by `SIGSTOP`.
    async fn silence(&mut self) -> Ability {
        Ability::Cannot
    }

    /// Makes the server forget its history, so that no cursor can be resumed.
    async fn forget(&mut self) -> Ability {
        Ability::Cannot
    }

    /// Causes events at the server that change no record.
    async fn noise(&mut self) -> Ability {
        Ability::Cannot
    }

    /// The number of connections, files or leases that the source holds at the server now, where that can be told.
    async fn holdings(&mut self) -> Option<usize> {
        None
    }
}
