//! What is known of each file, and what follows from reading them again. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::parse::{Broken, parse, unservable};
use crate::source::{Diagnostic, Record, RecordKey, Severity};

/// The content of one file when it was read: its bytes, or why they could not be read.
pub(super) type Content = Result<Vec<u8>, String>;

/// The contents of all files, by their names.
pub(super) type Contents = BTreeMap<String, Content>;

/// The files of a source, over all readings.
#[derive(Debug, Default)]
pub(super) struct Files {
    known: BTreeMap<String, Known>,
}

/// The outcome of a reading.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Files came, went, or say something else.
    pub(super) changed: bool,
    /// A file was found broken that was not known to be.
    pub(super) newly_broken: bool,
    /// A file seems to be broken, but may only be half written: read again soon.
    pub(super) unsettled: bool,
}

#[derive(Debug, Default)]
struct Known {
    /// The content that was last judged.
    seen: Option<Print>,
    records: Option<Vec<Record>>,
    broken: Option<Broken>,
    /// The last good records that are left out, while the file still has them.
    unservable: Vec<Broken>,
    /// Broken content that was seen once.
    suspect: Option<Print>,
}

/// Tells contents apart without keeping them.
type Print = (usize, u64);

impl Files {
    /// Takes in what all files hold now. Only what is broken twice in the same way is broken.
    pub(super) fn read(&mut self, contents: Contents) -> Reading {
        let mut reading = Reading::default();
        self.known.retain(|file, known| {
            let stays = contents.contains_key(file);
            reading.changed |= !stays && known.seen.is_some();
            stays
        });
        for (file, content) in contents {
            let known = self.known.entry(file.clone()).or_default();
            let print = print(&content);
            if known.seen == Some(print) {
                known.suspect = None;
                continue;
            }
            let parsed = match &content {
                Ok(bytes) => parse(&file, bytes),
                Err(why) => Err(Broken::whole(why.clone())),
            };
            match parsed {
                Ok(records) => {
                    let bytes = content.as_deref().unwrap_or_default();
                    known.unservable = unservable(bytes, &records);
                    known.records = Some(records);
                    known.broken = None;
                    known.suspect = None;
                    known.seen = Some(print);
                    reading.changed = true;
                }
                Err(broken) if known.suspect == Some(print) => {
                    known.broken = Some(broken);
                    // Its lines are those of a text that is no longer there.
                    known.unservable.clear();
                    known.suspect = None;
                    known.seen = Some(print);
                    reading.newly_broken = true;
                }
                Err(_) => {
                    known.suspect = Some(print);
                    reading.unsettled = true;
                }
            }
        }
        reading
    }

    /// Returns `true` if some file has been understood once, or there is none.
    pub(super) fn has_records(&self) -> bool {
        self.known.is_empty() || self.known.values().any(|known| known.records.is_some())
    }

    /// The last good records of all files, and what is wrong, naming each file below `prefix`. Of two records with
    /// one key, that of the first file by name counts.
    pub(super) fn tell(&self, prefix: &str) -> (Vec<Record>, Vec<Diagnostic>) {
        let mut keys: BTreeSet<&RecordKey> = BTreeSet::new();
        let mut records = Vec::new();
        let mut diagnostics = Vec::new();
        for (file, known) in &self.known {
            let path = format!("{prefix}{file}");
            let wrong = known.broken.iter().chain(&known.unservable);
            diagnostics.extend(wrong.map(|wrong| wrong.diagnostic(&path)));
            for record in known.records.iter().flatten() {
                if keys.insert(&record.key) {
                    records.push(record.clone());
                } else {
                    diagnostics.push(Diagnostic {
                        object: path.clone(),
                        field: Some(format!("services.{}.endpoints", record.key.service)),
                        value: Some(record.key.id.to_string()),
                        message:
                            "another file has this endpoint already, expected it in one file only"
                                .to_owned(),
                        severity: Severity::Warning,
                    });
                }
            }
        }
        (records, diagnostics)
    }
}

fn print(content: &Content) -> Print {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let length = content.as_ref().map_or(0, Vec::len);
    (length, hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(all: &[(&str, &str)]) -> BTreeMap<String, Content> {
        all.iter()
            .map(|(file, text)| ((*file).to_owned(), Ok(text.as_bytes().to_vec())))
            .collect()
    }

    fn ids(files: &Files) -> Vec<String> {
        let (records, _) = files.tell("");
        let endpoints = records.iter().filter(|record| record.endpoint.is_some());
        endpoints.map(|record| record.key.id.to_string()).collect()
    }

    const A: &str = "[services.s]\nendpoints = [\"1.1.1.1:1\"]";
    const B: &str = "[services.s]\nendpoints = [\"2.2.2.2:2\"]";

    #[test]
    fn i2_a_broken_file_keeps_its_last_good_records_while_others_go_on() {
        let mut files = Files::default();
        assert!(
            files
                .read(contents(&[("a.toml", A), ("b.toml", A)]))
                .changed
        );
        assert_eq!(ids(&files), ["1.1.1.1:1"]);
        let half = "[services.s]\nendpoints = [";
        let read = files.read(contents(&[("a.toml", half), ("b.toml", B)]));
        assert_eq!(
            (read.changed, read.newly_broken, read.unsettled),
            (true, false, true)
        );
        assert_eq!(ids(&files), ["1.1.1.1:1", "2.2.2.2:2"]);
        assert!(files.tell("").1.is_empty(), "it may be half written");
        let read = files.read(contents(&[("a.toml", half), ("b.toml", B)]));
        assert_eq!(
            (read.changed, read.newly_broken, read.unsettled),
            (false, true, false)
        );
        assert_eq!(files.tell("/d/").1[0].object, "/d/a.toml:2:14");
        assert_eq!(ids(&files), ["1.1.1.1:1", "2.2.2.2:2"]);
        let read = files.read(contents(&[("a.toml", half), ("b.toml", B)]));
        assert_eq!(read, Reading::default(), "told once");
        assert!(
            files
                .read(contents(&[("a.toml", A), ("b.toml", B)]))
                .changed
        );
        assert!(files.tell("").1.is_empty());
    }

    #[test]
    fn case_p01_an_endpoint_that_no_target_can_serve_is_told_with_its_line_and_breaks_nothing() {
        let mut files = Files::default();
        let text = "[services.s]\nendpoints = [\"1.1.1.1:1\",\n  \"0.0.0.0:80\"]";
        assert!(files.read(contents(&[("a.toml", text)])).changed);
        assert_eq!(ids(&files), ["1.1.1.1:1", "0.0.0.0:80"]);
        let (_, diagnostics) = files.tell("/d/");
        let told: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "/d/a.toml:3:4: services.s.endpoints.0.0.0.0:80.address = \"0.0.0.0:80\": no target can serve it, expected \
              the address of one machine, not the unspecified address"
            ]
        );
        assert_eq!(diagnostics[0].severity, Severity::Error);
        assert!(files.read(contents(&[("a.toml", A)])).changed);
        assert!(files.tell("").1.is_empty(), "it ends with its cause");
    }

    #[test]
    fn a_file_that_is_gone_is_gone_and_two_files_with_one_endpoint_are_told() {
        let mut files = Files::default();
        files.read(contents(&[("a.toml", A), ("b.toml", A)]));
        assert_eq!(files.tell("").1.len(), 1);
        assert!(files.read(contents(&[("b.toml", B)])).changed);
        assert_eq!(ids(&files), ["2.2.2.2:2"]);
        assert!(files.read(BTreeMap::new()).changed);
        assert!(
            files.has_records(),
            "an empty folder says that there is nothing"
        );
    }
}
