//! The content of maps, with its versions.

use std::collections::BTreeSet;

use super::config::MapModel;

#[derive(Debug, Clone)]
pub(super) struct Map {
    pub(super) id: u32,
    pub(super) file: String,
    pub(super) description: String,
    pub(super) current: u32,
    pub(super) next: u32,
    pub(super) entries: Vec<Entry>,
    /// The versions that had entries since they were cleared last.
    used: BTreeSet<u32>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) version: u32,
    pub(super) key: String,
    pub(super) value: String,
}

impl Map {
    pub(super) fn new(model: &MapModel) -> Self {
        let mut map = Self {
            id: model.id,
            file: model.file.clone(),
            description: model.description.clone(),
            current: 0,
            next: 0,
            entries: Vec::new(),
            used: BTreeSet::new(),
        };
        for (key, value) in &model.entries {
            map.add(0, key, value);
        }
        map
    }

    pub(super) fn is(&self, name: &str) -> bool {
        match name.strip_prefix('#') {
            Some(number) => number.parse() == Ok(self.id),
            None => self.file == name,
        }
    }

    pub(super) fn add(&mut self, version: u32, key: &str, value: &str) {
        self.used.insert(version);
        self.entries.push(Entry {
            version,
            key: key.to_owned(),
            value: value.to_owned(),
        });
    }

    /// The entries of a version, in the order they came.
    pub(super) fn of(&self, version: u32) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.version == version)
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.of(self.current)
            .find(|entry| entry.key == key)
            .map(|entry| entry.value.as_str())
    }

    /// Gives every entry of a key another value; tells whether there was one. `reach` takes prepared versions in.
    pub(super) fn set(&mut self, key: &str, value: &str, reach: bool) -> bool {
        let mut found = false;
        for entry in &mut self.entries {
            if (reach || entry.version == self.current) && entry.key == key {
                value.clone_into(&mut entry.value);
                found = true;
            }
        }
        found
    }

    /// Deletes the entries of a key, or the first of them; tells whether there was one. `reach` takes prepared versions
    /// in.
    pub(super) fn delete(&mut self, key: &str, only_one: bool, reach: bool) -> bool {
        let current = self.current;
        let before = self.entries.len();
        let mut left = if only_one { 1 } else { usize::MAX };
        self.entries.retain(|entry| {
            let hit = left > 0 && (reach || entry.version == current) && entry.key == key;
            left -= usize::from(hit);
            !hit
        });
        self.entries.len() < before
    }

    /// Deletes the entries of a version; `only_lowest`: if no lower one is in use.
    pub(super) fn clear(&mut self, version: u32, only_lowest: bool) {
        if only_lowest && self.used.first() != Some(&version) {
            return;
        }
        self.used.remove(&version);
        self.entries.retain(|entry| entry.version != version);
    }

    pub(super) fn prepare(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    /// Makes a prepared version the content; tells whether it was one.
    pub(super) fn commit(&mut self, version: u32) -> bool {
        if version <= self.current || version > self.next {
            return false;
        }
        self.current = version;
        self.entries.retain(|entry| entry.version >= version);
        self.used.retain(|used| *used >= version);
        true
    }
}
