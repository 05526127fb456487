//! Reads a file, or the files of a folder, within bounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use super::{files::Content, parse::Format};
use crate::files::{self, Links};

/// The most files that are read of one folder.
const MOST_FILES: usize = 4096;

/// The bounds of a reading: its size, and the links it follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The most bytes of one file.
    pub(super) file: u64,
    /// The most bytes of all files of a folder.
    pub(super) folder: u64,
    pub(super) links: Links,
}

/// The files that were found on disk.
#[derive(Debug)]
pub(super) struct Found {
    /// Each file by its name.
    pub(super) contents: BTreeMap<String, Content>,
    /// The folders that must be watched to see the next change.
    pub(super) folders: BTreeSet<PathBuf>,
    /// The text before a file's name in its path.
    pub(super) prefix: String,
}

/// Reads the file at `path`, or all files with a known extension in the folder at `path`, within the bounds. Of a folder
/// with too much, the smallest files are read.
///
/// # Errors
/// Fails if there is no such file or folder. A file that is there and cannot be read is told in its content.
pub(super) fn read(path: &Path, bounds: Bounds) -> io::Result<Found> {
    let mut found = Found {
        contents: BTreeMap::new(),
        folders: BTreeSet::new(),
        prefix: String::new(),
    };
    if !std::fs::metadata(path)?.is_dir() {
        let folder = parent(path);
        found.prefix = prefix(&folder);
        found.take_in(path, |file| files::read(file, bounds.file));
        found.folders.insert(folder);
        return Ok(found);
    }
    found.prefix = prefix(path);
    found.folders.insert(path.to_owned());
    let mut files: Vec<(u64, String)> = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let Ok(metadata) = std::fs::metadata(entry.path()) else {
            continue;
        };
        if is_ours(&name) && !metadata.is_dir() {
            files.push((metadata.len(), name));
        }
        if files.len() > MOST_FILES {
            return Err(io::Error::other(format!(
                "{} has more than {MOST_FILES} files, expected fewer",
                path.display()
            )));
        }
    }
    files.sort_unstable();
    let mut left = bounds.folder;
    for (_, name) in files {
        let most = bounds.file.min(left);
        let read = |_: &Path| files::read_in(path, &name, bounds.links, most);
        let size = found.take_in(&path.join(&name), |file| {
            read(file).map_err(|error| match most < bounds.file {
                true => io::Error::other(format!(
                    "{error}: all files of the folder have more than {} bytes",
                    bounds.folder
                )),
                false => error,
            })
        });
        left = left.saturating_sub(size);
    }
    Ok(found)
}

/// The folder that must be watched to see `path` come into being.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("/"),
    }
}

impl Found {
    /// Takes in what is read of a file. Returns how much that is.
    fn take_in(&mut self, file: &Path, read: impl FnOnce(&Path) -> io::Result<Vec<u8>>) -> u64 {
        let Some(name) = file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
        else {
            return 0;
        };
        // A link's goal may lie elsewhere: an edit in place is seen only there.
        if let Ok(goal) = file.canonicalize() {
            self.folders.insert(parent(&goal));
        }
        let content = read(file).map_err(|error| error.to_string());
        let size = content.as_ref().map_or(0, Vec::len) as u64;
        self.contents.insert(name, content);
        size
    }
}

/// Returns `true` if a name in a folder is that of a file of ours: a known extension, not hidden, not left by an
/// editor.
fn is_ours(name: &str) -> bool {
    let left_by_editor = name.starts_with(['.', '#', '~']) || name.ends_with(['~', '#']);
    !left_by_editor && Format::of(name).is_some()
}

fn prefix(folder: &Path) -> String {
    match folder.to_str() {
        Some(".") => String::new(),
        _ => format!("{}/", folder.display().to_string().trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_h11_of_a_folder_only_files_of_ours_are_read_and_none_beyond_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b.toml",
            "a.yaml",
            ".c.toml",
            "d.toml~",
            "#e.toml#",
            "f.txt",
            "g.toml.swp",
        ] {
            std::fs::write(folder.path().join(name), "12345").unwrap();
        }
        std::fs::create_dir(folder.path().join("h.toml")).unwrap();
        let bounds = |file, folder| Bounds {
            file,
            folder,
            links: Links::Inside,
        };
        let found = read(folder.path(), bounds(5, 99)).unwrap();
        let names: Vec<&String> = found.contents.keys().collect();
        assert_eq!(names, ["a.yaml", "b.toml"]);
        assert!(found.contents.values().all(Result::is_ok));
        let found = read(folder.path(), bounds(4, 99)).unwrap();
        assert!(found.contents.values().all(Result::is_err));
        assert!(read(&folder.path().join("x.toml"), bounds(4, 99)).is_err());
        // Of too much, what is small goes on.
        std::fs::write(folder.path().join("0.toml"), "123456789").unwrap();
        let found = read(folder.path(), bounds(16, 12)).unwrap();
        let good = found.contents.iter().filter(|(_, content)| content.is_ok());
        assert_eq!(
            good.map(|(name, _)| name).collect::<Vec<_>>(),
            ["a.yaml", "b.toml"]
        );
        let told = found.contents["0.toml"].as_ref().unwrap_err();
        assert!(told.contains("all files of the folder"), "{told}");
    }
}
