//! Containers that are being inspected while events go on: an engine that takes its time for one must not hold up
//! what it says of another.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::pending,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};

use crate::{
    container::Container,
    container_reader::{AT_ONCE, inspect_through},
    engine::Engine,
    error::EngineError,
};

type Inspection = Result<(Container, Option<Container>), EngineError>;

/// The inspections that are under way or wait for their turn. Of each container only the one that was asked for last
/// counts: an earlier one may tell what has changed since.
#[derive(Debug)]
pub(crate) struct Reads {
    engine: Engine,
    under_way: FuturesUnordered<BoxFuture<'static, (String, u64, Inspection)>>,
    waiting: VecDeque<String>,
    /// The latest inspection of each container that was begun and not answered.
    begun: BTreeMap<String, u64>,
    /// Containers that are read only because another has their address.
    suspects: BTreeSet<String>,
    last: u64,
}

/// What an inspection told.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) id: String,
    pub(crate) inspection: Inspection,
    /// Whether it was read only because another has its address.
    pub(crate) suspect: bool,
}

impl Reads {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            under_way: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            begun: BTreeMap::new(),
            suspects: BTreeSet::new(),
            last: 0,
        }
    }

    /// Something happened to a container: what it is now counts, and nothing that was read before.
    pub(crate) fn ask(&mut self, id: String) {
        self.suspects.remove(&id);
        if !self.waiting.contains(&id) {
            self.waiting.push_back(id);
        }
    }

    /// Another container has its address.
    pub(crate) fn suspect(&mut self, id: String) {
        if !self.is_asked(&id) {
            self.suspects.insert(id.clone());
            self.waiting.push_back(id);
        }
    }

    /// It is gone: what was asked before does not count any more.
    pub(crate) fn forget(&mut self, id: &str) {
        self.begun.remove(id);
        self.suspects.remove(id);
        self.waiting.retain(|waiting| waiting != id);
    }

    /// Whether an answer about a container is awaited.
    pub(crate) fn is_asked(&self, id: &str) -> bool {
        self.begun.contains_key(id) || self.waiting.iter().any(|waiting| waiting == id)
    }

    /// The containers about which answers are awaited.
    pub(crate) fn asked(&self) -> impl Iterator<Item = &String> {
        self.begun.keys().chain(&self.waiting)
    }

    /// The next answer that counts; never, when none is awaited. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Found {
        loop {
            self.begin();
            let Some((id, number, inspection)) = self.under_way.next().await else {
                return pending().await;
            };
            if self.begun.get(&id) != Some(&number) {
                continue;
            }
            self.begun.remove(&id);
            if self.waiting.contains(&id) {
                continue;
            }
            return Found {
                suspect: self.suspects.remove(&id),
                id,
                inspection,
            };
        }
    }

    fn begin(&mut self) {
        while self.under_way.len() < AT_ONCE
            && let Some(id) = self.waiting.pop_front()
        {
            self.last += 1;
            let number = self.last;
            self.begun.insert(id.clone(), number);
            let engine = self.engine.clone();
            let inspection = async move {
                let found = inspect_through(&engine, &id).await;
                (id, number, found)
            };
            self.under_way.push(inspection.boxed());
        }
    }
}
