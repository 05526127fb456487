//! From what a map has to what it is to have.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fmt,
    time::Duration,
};

use serde::Serialize;

use super::{
    RouteMap,
    key::{by_specificity, host_chain, host_of_key},
    value::{backend_of_value, options_of_value},
};
use crate::{
    capability::Capabilities,
    proto::{Command, MapEntry, MapKey, MapName, MapValue, MapVersion, map_batches},
};

/// The stages that bring a map from what it has to what it is to have, one after the other.
///
/// At every moment every request finds what it found before or what it is to find, and nothing else; so one that
/// finds the same before and after finds it all the time. A request looks into the map several times (its host,
/// the parents of the host, `*`), and on another thread a change may fall between two looks. So no stage holds
/// two edits that one request could see in the wrong order, and between two stages a request has time to end its
/// looks: see [`PAUSE`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct MapChange {
    /// None if it has what it is to have.
    pub stages: Vec<MapStage>,
    /// Keys that no command can name and that stay; only where there are no transactions.
    pub left: Vec<String>,
}

/// A part of a change of a map: between two of them, wait for [`PAUSE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MapStage {
    /// Entry by entry, in this order: at least one. A refusal of one is no reason to send the rest: read the map
    /// again.
    Edits(Vec<Command>),
    /// All entries at once.
    Transaction(Transaction),
}

/// The time a request may take for its looks into a map. They follow one another without any waiting, so this is
/// long even where a thread is suspended in between.
pub const PAUSE: Duration = Duration::from_millis(20);

impl MapChange {
    /// The changes that turn the observed entries of a map into the desired ones.
    #[must_use]
    pub fn new(
        map: &MapName,
        observed: &[MapEntry],
        wanted: &RouteMap,
        capabilities: &Capabilities,
    ) -> Self {
        if wanted.is_in(observed) {
            return Self::default();
        }
        let difference = Difference::new(observed, wanted);
        let stages = difference.stages(map);
        if !capabilities.map_transactions {
            // A double entry of the wanted value is no difference that a lookup could tell.
            return Self {
                stages: stages.into_iter().map(MapStage::Edits).collect(),
                left: difference.foreign.iter().map(ToString::to_string).collect(),
            };
        }
        // Single edits of a double entry mean different things by version, and no edit can name a foreign key.
        let mut simple = difference.foreign.is_empty() && !difference.doubled;
        let transaction = |wanted: RouteMap| {
            let map = map.clone();
            MapStage::Transaction(Transaction { map, wanted })
        };
        if stages.is_empty() {
            return Self {
                stages: vec![transaction(wanted.clone())],
                left: Vec::new(),
            };
        }
        let few = |edits: &[Command]| {
            edits.len() <= FEW || edits.len().saturating_mul(SHARE) <= wanted.len()
        };
        let mut made = Vec::new();
        let last = stages.len() - 1;
        let stages = stages.into_iter().enumerate().map(|(number, edits)| {
            if simple && few(&edits) {
                made.extend_from_slice(&edits);
                return MapStage::Edits(edits);
            }
            simple = true;
            if number == last {
                return transaction(wanted.clone());
            }
            made.extend(edits);
            transaction(RouteMap::observed(observed).edited(&made))
        });
        Self {
            stages: stages.collect(),
            left: Vec::new(),
        }
    }

    /// The number of entries that are written or deleted.
    #[must_use]
    pub fn entries(&self) -> usize {
        let entries = self.stages.iter().map(|stage| match stage {
            MapStage::Edits(commands) => commands.len(),
            MapStage::Transaction(transaction) => transaction.wanted.len(),
        });
        entries.sum()
    }

    /// The actions on requests before they are passed on, one line for each route that asks for something: what is
    /// taken off the path, and that it is passed on in normal form then; redirects to https.
    pub fn options(&self) -> impl Iterator<Item = String> {
        let written = self.stages.last().into_iter().flat_map(MapStage::written);
        written.filter_map(|(key, value)| {
            let (redirects, segments) = options_of_value(value)?;
            let (host, path) = key.split_at_checked(key.find('/')?)?;
            let host = match host.strip_prefix('.') {
                Some(domain) => format!("*.{domain}"),
                None => host.to_owned(),
            };
            let mut does: Vec<String> = Vec::new();
            if redirects {
                does.push("redirected to https without TLS".to_owned());
            }
            if segments > 0 {
                let parts: Vec<&str> = path.split('/').skip(1).take(segments).collect();
                does.push(format!(
                    "/{} is taken off, the rest is passed on in normal form (without //, . and ..)",
                    parts.join("/")
                ));
            }
            Some(format!(
                "{host}{path} to {}: {}",
                backend_of_value(value),
                does.join("; ")
            ))
        })
    }

    /// Returns `true` if nothing is to be sent.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.stages.is_empty()
    }
}

impl fmt::Display for MapChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            f.write_str("nothing")?;
        }
        for (number, stage) in self.stages.iter().enumerate() {
            if number > 0 {
                f.write_str(", then ")?;
            }
            match stage {
                MapStage::Edits(commands) => write!(f, "{} single edits", commands.len())?,
                MapStage::Transaction(transaction) => {
                    write!(f, "one transaction of {} entries", transaction.wanted.len())?;
                }
            }
        }
        if let Some(stage) = self.stages.last() {
            let options = stage
                .written()
                .filter_map(|(_, value)| options_of_value(value));
            let (redirects, strips) = options.fold((0_usize, 0_usize), |(one, other), its| {
                (one + usize::from(its.0), other + usize::from(its.1 > 0))
            });
            for (count, what) in [(redirects, "redirect to https"), (strips, "strip a prefix")] {
                if count > 0 {
                    write!(f, ", {count} {what}")?;
                }
            }
        }
        match self.left.len() {
            0 => Ok(()),
            left => write!(f, ", {left} foreign entries stay"),
        }
    }
}

impl MapStage {
    /// The keys and values that it writes.
    fn written(&self) -> impl Iterator<Item = (&str, &str)> {
        let (commands, wanted) = match self {
            Self::Edits(commands) => (commands.as_slice(), None),
            Self::Transaction(transaction) => (&[][..], Some(&transaction.wanted)),
        };
        let edited = commands.iter().filter_map(|command| match command {
            Command::AddMap { key, value, .. } | Command::SetMap { key, value, .. } => {
                Some((key.as_str(), value.as_str()))
            }
            _ => None,
        });
        let all = wanted.into_iter().flat_map(RouteMap::entries);
        edited.chain(all.map(|(key, value)| (key.as_str(), value.as_str())))
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

    /// Checks that the version holds the desired entries.
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
    /// The number of entries that were found.
    pub found: usize,
    /// The number of entries that were written.
    pub wanted: usize,
}

/// The entries that have to be written, sorted by what they are.
struct Difference<'a> {
    /// New entries and new values, most specific first.
    writes: Vec<(&'a MapKey, &'a MapValue, Kind)>,
    /// Keys to be deleted, least specific first.
    deletes: Vec<MapKey>,
    /// Keys that cannot be named.
    foreign: Vec<&'a str>,
    /// If `true`, a key is there more than once.
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

    /// Writes from the most specific on, then deletes from the least specific on, in stages.
    ///
    /// A write is seen by the requests that find nothing more specific, and all that is more specific is there
    /// already as it is to be. A delete uncovers what is less specific: of that, only what stays is left.
    ///
    /// A request looks for the specific before it looks for the general. Where it missed a write and then sees what
    /// was done after that, it was too early for the one and late enough for the other; so what a request looks for after
    /// a write of the same stage begins another one. Keys of hosts that have nothing to do with each other share a stage.
    fn stages(&self, map: &MapName) -> Vec<Vec<Command>> {
        let mut stages: Vec<Vec<Command>> = Vec::new();
        // The hosts that a request may look for after it missed a write of the stage.
        let mut looked_up_later: HashSet<Cow<'_, str>> = HashSet::new();
        let writes = self.writes.iter().map(|(key, value, kind)| {
            let command = match kind {
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
            };
            (key.as_str(), true, command)
        });
        let deletes = self.deletes.iter().map(|key| {
            let command = Command::DelMap {
                map: map.clone(),
                key: key.clone(),
            };
            (key.as_str(), false, command)
        });
        for (key, is_write, command) in writes.chain(deletes) {
            let host = host_of_key(key);
            let begins = looked_up_later.contains(host);
            if begins {
                looked_up_later.clear();
            }
            if is_write {
                looked_up_later.extend(host_chain(host).into_iter().skip(1));
            }
            match stages.last_mut() {
                Some(stage) if !begins => stage.push(command),
                _ => stages.push(vec![command]),
            }
        }
        stages
    }
}

/// So few edits are made one by one in a map of any size.
const FEW: usize = 64;

/// More edits are made one by one up to this part of the map: a transaction writes all of it again.
const SHARE: usize = 16;
