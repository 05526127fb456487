//! The entries of one route map: what HAProxy finds in it, and its form on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::Serialize;

use super::{
    frontend::NOT_FOUND,
    key::{END, longest_prefix, lookup_hosts, request_host},
    reading::readings,
    value::backend_of_value,
};
use crate::proto::{Command, InvalidMapText, MapEntry, MapKey, MapValue};

/// The entries of one map, each key once, in the order of their keys.
///
/// ```
/// use lb_haproxy::routes::RouteMap;
///
/// let map = RouteMap::parse_file("shop.example/ shop\nshop.example/api/ api\n*/ rest\n").unwrap();
/// assert_eq!(map.lookup("shop.example:8080", "/api/v1").unwrap().as_str(), "api");
/// assert_eq!(map.lookup("shop.example", "/apiary").unwrap().as_str(), "shop");
/// assert_eq!(map.lookup("other.example", "/").unwrap().as_str(), "rest");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct RouteMap {
    entries: BTreeMap<MapKey, MapValue>,
}

impl RouteMap {
    /// A map with these entries; of several with the same key the first stays, as in HAProxy.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (MapKey, MapValue)>) -> Self {
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            map.entry(key).or_insert(value);
        }
        Self { entries: map }
    }

    /// The value that HAProxy finds for a request, given what it finds in the map: the value, which is a backend's name
    /// and the options of the route (see [`backend_of_value`]).
    ///
    /// `host` is as in the request (any case, with or without port), `path` without query. `None` where the frontend
    /// answers itself: see [`answer`](Self::answer). For a TLS server name use [`lookup_sni`](Self::lookup_sni).
    #[must_use]
    pub fn lookup(&self, host: &str, path: &str) -> Option<&MapValue> {
        match self.answer(host, path) {
            Answer::Found(value) => Some(value),
            Answer::NotFound | Answer::Refused => None,
        }
    }

    /// As [`lookup`](Self::lookup), with the reason why nothing is found.
    #[must_use]
    pub fn answer(&self, host: &str, path: &str) -> Answer<'_> {
        let Some(readings) = readings(path) else {
            return Answer::Refused;
        };
        let host = request_host(host);
        let first = |looked_up: &str| self.looks_of(&host, looked_up).into_iter().flatten().next();
        let Some(found) = first(&looked_up(path)) else {
            return Answer::NotFound;
        };
        match readings.iter().all(|reading| first(reading) == Some(found)) {
            true if found.as_str() == NOT_FOUND => Answer::NotFound,
            true => Answer::Found(found),
            false => Answer::Refused,
        }
    }

    /// The value that each look of HAProxy's finds for a path as it was sent: the host, its parents, `*`. It stops at
    /// the first that finds something; here are all.
    #[must_use]
    pub fn looks(&self, host: &str, path: &str) -> Vec<Option<&MapValue>> {
        self.looks_of(&request_host(host), &looked_up(path))
    }

    fn looks_of(&self, host: &str, path: &str) -> Vec<Option<&MapValue>> {
        let hosts = lookup_hosts(host);
        let looks = hosts.iter().map(|host| {
            let least = host.len() + 1;
            longest_prefix(&self.entries, &format!("{host}{path}"), least)
        });
        looks.collect()
    }

    /// The value that HAProxy finds for the server name of a TLS handshake, or for a connection without one (`""`).
    #[must_use]
    pub fn lookup_sni(&self, name: &str) -> Option<&MapValue> {
        lookup_hosts(&request_host(name))
            .iter()
            .find_map(|host| self.value(host))
    }

    /// The entries, in the order of their keys.
    pub fn entries(&self) -> impl Iterator<Item = (&MapKey, &MapValue)> {
        self.entries.iter()
    }

    /// One entry's value.
    #[must_use]
    pub fn get(&self, key: &MapKey) -> Option<&MapValue> {
        self.entries.get(key)
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The backends that the map leads to.
    #[must_use]
    pub fn backends(&self) -> BTreeSet<&str> {
        self.entries
            .values()
            .map(|value| backend_of_value(value.as_str()))
            .collect()
    }

    /// Returns `true` if HAProxy's entries are exactly these, each once.
    #[must_use]
    pub fn is_in(&self, observed: &[MapEntry]) -> bool {
        let found: BTreeMap<&str, &str> = observed
            .iter()
            .map(|entry| (entry.key.as_str(), entry.value.as_str()))
            .collect();
        observed.len() == self.len()
            && found.len() == self.len()
            && self
                .entries
                .iter()
                .zip(&found)
                .all(|((key, value), (k, v))| key.as_str() == *k && value.as_str() == *v)
    }

    /// The map as the text of a map file, which HAProxy loads when it starts. The same entries give the same text.
    #[must_use]
    pub fn file_text(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.entries {
            // Writing to a string cannot fail.
            let _infallible = writeln!(text, "{key} {value}");
        }
        text
    }

    /// Reads a map file: an entry a line, empty lines and `#` comments left out.
    ///
    /// # Errors
    /// [`InvalidMapFile`] with the line's number: for a line without value, and for a key or value that cannot be
    /// written to HAProxy.
    pub fn parse_file(text: &str) -> Result<Self, InvalidMapFile> {
        let mut entries = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line_number = at + 1;
            let (key, value) =
                line.split_once([' ', '\t'])
                    .ok_or_else(|| InvalidMapFile::NoValue {
                        line: line_number,
                        text: line.chars().take(EXCERPT).collect(),
                    })?;
            let fault = |source| InvalidMapFile::Text {
                line: line_number,
                source,
            };
            entries.push((
                key.parse().map_err(fault)?,
                value.trim_start().parse().map_err(fault)?,
            ));
        }
        Ok(Self::new(entries))
    }

    /// HAProxy's entries, but for those of keys and values that no command could name.
    pub(super) fn observed(entries: &[MapEntry]) -> Self {
        let entries = entries
            .iter()
            .filter_map(|entry| Some((entry.key.parse().ok()?, entry.value.parse().ok()?)));
        Self::new(entries)
    }

    /// The entries after single edits.
    pub(super) fn edited(mut self, edits: &[Command]) -> Self {
        for edit in edits {
            match edit {
                Command::AddMap { key, value, .. } | Command::SetMap { key, value, .. } => {
                    self.entries.insert(key.clone(), value.clone());
                }
                Command::DelMap { key, .. } => {
                    self.entries.remove(key);
                }
                _ => {}
            }
        }
        self
    }

    fn value(&self, key: &str) -> Option<&MapValue> {
        self.entries.get(key)
    }
}

/// The answer of a frontend to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'m> {
    /// It does what the value of an entry says.
    Found(&'m MapValue),
    /// It answers 404.
    NotFound,
    /// It answers 400: the path leads to different routes, depending on how it is read.
    Refused,
}

/// A path as it is looked up.
fn looked_up(path: &str) -> String {
    match path.starts_with('/') {
        true => format!("{path}{END}"),
        false => format!("/{END}"),
    }
}

/// Why a text is no map file of `lb`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMapFile {
    /// A line with a key alone.
    #[error("line {line} is {text:?}, expected a key, a blank and a value")]
    NoValue {
        /// Its number, from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// A key or value that HAProxy cannot be told.
    #[error("line {line} cannot be used")]
    Text {
        /// Its number, from 1.
        line: usize,
        /// The diagnostic.
        #[source]
        source: InvalidMapText,
    },
}

/// The most characters of a foreign line in an error.
const EXCERPT: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_back_as_it_was_written() {
        let map = RouteMap::parse_file("# routes\n\n b.example/ \tb\na.example/ a \n").unwrap();
        assert_eq!(map.file_text(), "a.example/ a\nb.example/ b\n");
        assert_eq!(RouteMap::parse_file(&map.file_text()).unwrap(), map);
    }

    #[test]
    fn refusals_name_the_line() {
        let error = RouteMap::parse_file("a/ a\nb/\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2 is \"b/\", expected a key, a blank and a value"
        );
        let error = RouteMap::parse_file("a/ a b\n").unwrap_err();
        assert!(error.to_string().starts_with("line 1"), "{error}");
    }

    #[test]
    fn server_names_are_looked_up_without_paths() {
        let map = RouteMap::parse_file("a.example a\n.example wild\n* rest\n").unwrap();
        for (name, expected) in [
            ("A.example", "a"),
            ("b.example", "wild"),
            ("example", "rest"),
            ("", "rest"),
        ] {
            assert_eq!(map.lookup_sni(name).unwrap().as_str(), expected, "{name:?}");
        }
    }

    #[test]
    fn entries_are_the_same_only_if_each_is_there_once() {
        let map = RouteMap::parse_file("a/ a\nb/ b\n").unwrap();
        let observed = |text: &str| crate::proto::parse_map_entries(text).unwrap();
        assert!(map.is_in(&observed("0x1 b/ b\n0x2 a/ a\n")));
        assert!(!map.is_in(&observed("0x1 b/ b\n")));
        assert!(!map.is_in(&observed("0x1 b/ b\n0x2 a/ a\n0x3 a/ a\n")));
        assert!(!map.is_in(&observed("0x1 b/ b\n0x2 a/ c\n")));
    }
}
