//! What is being read of an engine while its events are heard.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
};

use futures_util::{StreamExt, stream::FuturesUnordered};

use crate::{
    address::Networks,
    config::ReachConfig,
    container::Container,
    container_reader::{AT_ONCE, Listed, inspect_through, list},
    engine::Engine,
    error::EngineError,
    surveyor::{Survey, survey},
    translate::Rules,
};

/// The result of an inspection.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) container: Container,
    /// The one whose network it uses.
    pub(crate) through: Option<Container>,
    /// All networks, if the container is on one that was not known.
    pub(crate) survey: Option<Survey>,
    /// If `true`, it was read because another has its address.
    pub(crate) suspect: bool,
}

type Inspecting = Pin<Box<dyn Future<Output = (String, Result<Read, EngineError>)> + Send>>;

/// Inspections, those under way and those that wait.
#[derive(Default)]
pub(crate) struct Readings {
    /// The containers to read, and whether only as a suspect.
    waiting: BTreeMap<String, bool>,
    /// The containers that are being read, and whether the result is still of use.
    begun: BTreeMap<String, bool>,
    under_way: FuturesUnordered<Inspecting>,
}

impl Readings {
    /// Has a container read, once more where it is being read.
    pub(crate) fn ask(&mut self, id: String) {
        self.waiting.insert(id, false);
    }

    /// Has a container read because another one has its address.
    pub(crate) fn suspect(&mut self, id: String) {
        self.waiting.entry(id).or_insert(true);
    }

    /// Marks the reading of a container as older than something that is known by now.
    pub(crate) fn outdate(&mut self, id: &str) {
        if let Some(of_use) = self.begun.get_mut(id) {
            *of_use = false;
        }
    }

    /// A container needs no reading any more.
    pub(crate) fn forget(&mut self, id: &str) {
        self.waiting.remove(id);
        self.outdate(id);
    }

    /// The number of containers that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing waits any more: all is read in another way.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Begins with those that wait, as many as may be under way at once.
    pub(crate) fn begin(&mut self, engine: &Engine, reach: &ReachConfig, networks: &Networks) {
        while self.begun.len() < AT_ONCE {
            // One that is being read waits for that.
            let mut free = self.waiting.iter();
            let Some((id, suspect)) = free.find(|(id, _)| !self.begun.contains_key(*id)) else {
                return;
            };
            let (id, suspect) = (id.clone(), *suspect);
            self.waiting.remove(&id);
            self.begun.insert(id.clone(), true);
            let known: BTreeSet<String> = networks.keys().cloned().collect();
            let (engine, reach) = (engine.clone(), reach.clone());
            self.under_way.push(Box::pin(async move {
                let read = read(&engine, &reach, &known, &id, suspect).await;
                (id, read)
            }));
        }
    }

    /// The next one that was read, or nothing where that is of no use any more; never, while none is being read.
    pub(crate) async fn next(&mut self) -> Option<(String, Result<Read, EngineError>)> {
        match self.under_way.next().await {
            Some((id, read)) => (self.begun.remove(&id) == Some(true)).then_some((id, read)),
            None => std::future::pending().await,
        }
    }
}

async fn read(
    engine: &Engine,
    reach: &ReachConfig,
    known: &BTreeSet<String>,
    id: &str,
    suspect: bool,
) -> Result<Read, EngineError> {
    let (container, through) = inspect_through(engine, id).await?;
    let mut networks = container.attachments.iter();
    let strange = networks
        .any(|attached| !attached.network_id.is_empty() && !known.contains(&attached.network_id));
    let survey = match strange {
        true => Some(survey(engine, reach).await?),
        false => None,
    };
    Ok(Read {
        container,
        through,
        survey,
        suspect,
    })
}

/// The result of a listing.
pub(crate) struct All {
    pub(crate) survey: Survey,
    pub(crate) listed: Listed,
    /// The containers that something happened to since the listing began.
    pub(crate) outdated: BTreeSet<String>,
}

type Found = Result<(Survey, Listed), EngineError>;

/// A listing of everything, if one is under way.
#[derive(Default)]
pub(crate) struct Listing {
    under_way: Option<Pin<Box<dyn Future<Output = Found> + Send>>>,
    outdated: BTreeSet<String>,
}

impl Listing {
    /// Begins one.
    pub(crate) fn begin(&mut self, engine: Engine, reach: ReachConfig, rules: Rules) {
        self.outdated.clear();
        self.under_way = Some(Box::pin(async move {
            let survey = survey(&engine, &reach).await?;
            let listed = list(&engine, &rules).await?;
            Ok((survey, listed))
        }));
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Marks what the listing will say of a container as older than what may be known by now.
    pub(crate) fn outdate(&mut self, id: &str) {
        if self.is_under_way() {
            self.outdated.insert(id.to_owned());
        }
    }

    /// The result that was found; never, while there is none.
    pub(crate) async fn next(&mut self) -> Result<All, EngineError> {
        let Some(under_way) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let found = under_way.await;
        self.under_way = None;
        let (survey, listed) = found?;
        Ok(All {
            survey,
            listed,
            outdated: std::mem::take(&mut self.outdated),
        })
    }
}
