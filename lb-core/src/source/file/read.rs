//! Reads a file, or the files of a folder, within bounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{files::Content, parse::Format};

/// The most files that are read of one folder.
const MOST_FILES: usize = 4096;

/// What was found on disk.
pub(super) struct Found {
    /// Each file by its name.
    pub(super) contents: BTreeMap<String, Content>,
    /// What must be watched to see the next change.
    pub(super) folders: BTreeSet<PathBuf>,
    /// What comes before a file's name in its path.
    pub(super) prefix: String,
}

/// Reads the file at `path`, or all files with a known extension in the folder at `path`; at most `most_bytes`
/// of each.
///
/// # Errors
/// When there is no such file or folder. A file that is there and cannot be read is told in its content.
pub(super) fn read(path: &Path, most_bytes: u64) -> io::Result<Found> {
    let mut found = Found {
        contents: BTreeMap::new(),
        folders: BTreeSet::new(),
        prefix: String::new(),
    };
    if !std::fs::metadata(path)?.is_dir() {
        let folder = parent(path);
        found.prefix = prefix(&folder);
        found.take_in(path, most_bytes);
        found.folders.insert(folder);
        return Ok(found);
    }
    found.prefix = prefix(path);
    found.folders.insert(path.to_owned());
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if file
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(is_ours)
            && file.is_file()
        {
            files.push(file);
        }
        if files.len() > MOST_FILES {
            return Err(io::Error::other(format!(
                "{} has more than {MOST_FILES} files, expected fewer",
                path.display()
            )));
        }
    }
    for file in files {
        found.take_in(&file, most_bytes);
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
    fn take_in(&mut self, file: &Path, most_bytes: u64) {
        let Some(name) = file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
        else {
            return;
        };
        // A link's goal may lie elsewhere: an edit in place is seen only there.
        if let Ok(goal) = file.canonicalize() {
            self.folders.insert(parent(&goal));
        }
        let content = content(file, most_bytes).unwrap_or_else(|error| Err(error.to_string()));
        self.contents.insert(name, content);
    }
}

fn content(file: &Path, most_bytes: u64) -> io::Result<Content> {
    let mut bytes = Vec::new();
    File::open(file)?
        .take(most_bytes + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most_bytes {
        return Ok(Err(format!(
            "larger than {most_bytes} bytes, expected at most that"
        )));
    }
    Ok(Ok(bytes))
}

/// Whether a name in a folder is that of a file of ours: a known extension, not hidden, not left by an editor.
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
    fn of_a_folder_only_files_of_ours_are_read_and_none_beyond_its_bound() {
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
        let found = read(folder.path(), 5).unwrap();
        let names: Vec<&String> = found.contents.keys().collect();
        assert_eq!(names, ["a.yaml", "b.toml"]);
        assert!(found.contents.values().all(Result::is_ok));
        let found = read(folder.path(), 4).unwrap();
        assert!(found.contents.values().all(Result::is_err));
        assert!(read(&folder.path().join("x.toml"), 4).is_err());
    }
}
