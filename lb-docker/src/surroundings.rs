//! What this program can see around itself: variables, the `docker` command's files, its own container.

use std::path::{Path, PathBuf};

use crate::connection::Surroundings;

/// The real ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here;

impl Surroundings for Here {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> Option<String> {
        lb_core::files::read_text(path, MAX_FILE).ok()
    }

    fn folders(&self, path: &Path) -> Vec<PathBuf> {
        let Ok(entries) = path.read_dir() else {
            return Vec::new();
        };
        let mut folders: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_dir())
            .take(MAX_FOLDERS)
            .collect();
        folders.sort();
        folders
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

/// Ids that may be the container this program runs in, the likeliest first.
pub(crate) fn own_container_ids(around: &dyn Surroundings) -> Vec<String> {
    let mounts = around
        .read(Path::new("/proc/self/mountinfo"))
        .unwrap_or_default();
    let mut ids = Vec::new();
    for line in mounts.lines() {
        // Engines mount a container's own hostname file out of a folder that is named by its id.
        let found = line
            .split([' ', '/'])
            .find(|part| part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit()));
        if let Some(id) = found
            && line.contains("/etc/hostname")
            && !ids.iter().any(|known| known == id)
        {
            ids.push(id.to_owned());
        }
    }
    ids
}

const MAX_FILE: u64 = 1 << 20;
const MAX_FOLDERS: usize = 1000;
