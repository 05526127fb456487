//! From what a map has to what it is to have.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{RouteMap, key::by_specificity};
use crate::{
    capability::Capabilities,
    proto::{Command, MapEntry, MapKey, MapName, MapValue, MapVersion, map_batches},
};

/// How a map is brought from what it has to what it is to have.
///
/// Whichever way it goes, at every moment every request finds what it found before or what it is to find, and
/// nothing else; so one that finds the same before and after finds it all the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MapChange {
    /// It has what it is to have.
    None,
    /// Entry by entry, in this order. A refusal of one is no reason to send the rest: read the map again.
    Steps {
        /// At least one, unless there is something `left`.
        commands: Vec<Command>,
        /// Keys that no command can name and that stay; only where there are no transactions.
        left: Vec<String>,
    },
    /// All at once.
    Transaction(Transaction),
}

impl MapChange {
    /// What turns the observed entries of a map into the wanted ones.
    #[must_use]
    pub fn new(
        map: &MapName,
        observed: &[MapEntry],
        wanted: &RouteMap,
        capabilities: &Capabilities,
    ) -> Self {
        if wanted.is_in(observed) {
            return Self::None;
        }
        let difference = Difference::new(observed, wanted);
        let count = difference.commands();
        // Single edits of a double entry mean different things by version.
        let simple = difference.foreign.is_empty() && !difference.doubled;
        let few = count <= FEW || count.saturating_mul(SHARE) <= wanted.len();
        if capabilities.map_transactions && !(simple && few) {
            return Self::Transaction(Transaction {
                map: map.clone(),
                wanted: wanted.clone(),
            });
        }
        let commands = difference.steps(map);
        match commands.is_empty() && difference.foreign.is_empty() {
            // A double entry of the wanted value, which no lookup can tell from a single one.
            true => Self::None,
            false => Self::Steps {
                commands,
                left: difference.foreign.iter().map(ToString::to_string).collect(),
            },
        }
    }

    /// How many entries are written or deleted.
    #[must_use]
    pub fn entries(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Steps { commands, .. } => commands.len(),
            Self::Transaction(transaction) => transaction.wanted.len(),
        }
    }

    /// Whether nothing is to be sent.
    #[must_use]
    pub fn is_none(&self) -> bool {
        match self {
            Self::None => true,
            Self::Steps { commands, .. } => commands.is_empty(),
            Self::Transaction(_) => false,
        }
    }
}

impl fmt::Display for MapChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("nothing"),
            Self::Steps { commands, left } if left.is_empty() => {
                write!(f, "{} single edits", commands.len())
            }
            Self::Steps { commands, left } => write!(
                f,
                "{} single edits, {} foreign entries stay",
                commands.len(),
                left.len()
            ),
            Self::Transaction(transaction) => {
                write!(f, "one transaction of {} entries", transaction.wanted.len())
            }
        }
    }
}

/// The replacement of all entries of a map, at once (2.4+).
///
/// Send [`begin`](Self::begin); with the version that came back all of [`fill`](Self::fill), then
/// [`check`](Self::check); if its entries pass [`verify`](Self::verify), [`commit`](Self::commit), and on any
/// failure before that [`abort`](Self::abort). Nothing is seen of it before the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transaction {
    map: MapName,
    wanted: RouteMap,
}

impl Transaction {
    /// Opens a version of the map.
    #[must_use]
    pub fn begin(&self) -> Command {
        Command::PrepareMap(self.map.clone())
    }

    /// Writes the entries into the version, in as few commands as their size allows.
    #[must_use]
    pub fn fill(&self, version: MapVersion) -> Vec<Command> {
        let entries = self
            .wanted
            .entries()
            .map(|(key, value)| (key.clone(), value.clone()));
        map_batches(&self.map, Some(version), entries)
    }

    /// Asks for the entries of the version.
    #[must_use]
    pub fn check(&self, version: MapVersion) -> Command {
        Command::ShowMapVersion(self.map.clone(), version)
    }

    /// Whether the version holds the wanted entries.
    ///
    /// # Errors
    /// [`TransactionError`]: then [`abort`](Self::abort).
    pub fn verify(&self, entries: &[MapEntry]) -> Result<(), TransactionError> {
        match self.wanted.is_in(entries) {
            true => Ok(()),
            false => Err(TransactionError {
                map: self.map.clone(),
                found: entries.len(),
                wanted: self.wanted.len(),
            }),
        }
    }

    /// Puts the version in the place of what the map had.
    #[must_use]
    pub fn commit(&self, version: MapVersion) -> Command {
        Command::CommitMap {
            map: self.map.clone(),
            version,
        }
    }

    /// Gives the version up.
    #[must_use]
    pub fn abort(&self, version: MapVersion) -> Command {
        Command::ClearMap {
            map: self.map.clone(),
            version: Some(version),
        }
    }
}

/// A transaction that does not hold what was written into it; another one may have mixed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("map {map} has {found} entries in its transaction that are not the {wanted} wanted ones")]
#[non_exhaustive]
pub struct TransactionError {
    /// The map.
    pub map: MapName,
    /// How many entries were found.
    pub found: usize,
    /// How many were written.
    pub wanted: usize,
}

/// What has to be written, sorted by what it is.
struct Difference<'a> {
    /// New entries and new values, most specific first.
    writes: Vec<(&'a MapKey, &'a MapValue, Kind)>,
    /// Keys to be deleted, least specific first.
    deletes: Vec<MapKey>,
    /// Keys that cannot be named.
    foreign: Vec<&'a str>,
    /// Whether a key is there more than once.
    doubled: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Add,
    Set,
}

impl<'a> Difference<'a> {
    fn new(observed: &'a [MapEntry], wanted: &'a RouteMap) -> Self {
        let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for entry in observed {
            found.entry(&entry.key).or_default().push(&entry.value);
        }
        let mut writes: Vec<_> = wanted
            .entries()
            .filter_map(|(key, value)| match found.get(key.as_str()) {
                None => Some((key, value, Kind::Add)),
                Some(values) if values.iter().all(|found| *found == value.as_str()) => None,
                Some(_) => Some((key, value, Kind::Set)),
            })
            .collect();
        writes.sort_by(|(a, ..), (b, ..)| by_specificity(a.as_str(), b.as_str()));

        let mut deletes: Vec<MapKey> = Vec::new();
        let mut foreign = Vec::new();
        for key in found.keys() {
            match key.parse::<MapKey>() {
                Ok(key) if wanted.get(&key).is_none() => deletes.push(key),
                Ok(_) => {}
                Err(_) => foreign.push(*key),
            }
        }
        deletes.sort_by(|a, b| by_specificity(b.as_str(), a.as_str()));
        Self {
            writes,
            deletes,
            foreign,
            doubled: found.len() != observed.len(),
        }
    }

    fn commands(&self) -> usize {
        self.writes.len() + self.deletes.len()
    }

    /// Writes from the most specific on, then deletes from the least specific on.
    ///
    /// A write is seen by the requests that find nothing more specific, and all that is more specific is there
    /// already as it is to be. A delete uncovers what is less specific: of that, only what stays is left.
    fn steps(&self, map: &MapName) -> Vec<Command> {
        let writes = self.writes.iter().map(|(key, value, kind)| match kind {
            Kind::Add => Command::AddMap {
                map: map.clone(),
                version: None,
                key: (*key).clone(),
                value: (*value).clone(),
            },
            Kind::Set => Command::SetMap {
                map: map.clone(),
                key: (*key).clone(),
                value: (*value).clone(),
            },
        });
        let deletes = self.deletes.iter().map(|key| Command::DelMap {
            map: map.clone(),
            key: key.clone(),
        });
        writes.chain(deletes).collect()
    }
}

/// So few edits are made one by one in a map of any size.
const FEW: usize = 64;

/// More edits are made one by one up to this part of the map: a transaction writes all of it again.
const SHARE: usize = 16;
