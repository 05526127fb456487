//! The files that HAProxy starts from, on a disk that becomes full.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use lb_examples::traffic::now;
use tempfile::TempDir;

use crate::{
    faults::{pause, some_changes},
    source::Source,
    support::engine::run,
    world::{SLOTS, World},
};

/// A small file system of its own. Dropping it takes it away.
pub(crate) struct Disk {
    folder: TempDir,
}

/// Room for both files, twice.
const SIZE: &str = "size=128k";
const PAGE: usize = 4096;

impl Disk {
    /// `None` where nobody may make one: then no disk becomes full.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("lb-").tempdir().unwrap();
        let path = folder.path().display().to_string();
        run("mount", &["-t", "tmpfs", "-o", SIZE, "tmpfs", &path]);
        Some(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves room for so many pages.
    fn fill(&self, pages: usize) {
        let mut filler = File::create(self.filler()).unwrap();
        let mut length = 0_u64;
        loop {
            match filler.write(&[b'x'; PAGE]) {
                Ok(0) => break,
                Ok(count) => length += count as u64,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull);
                    break;
                }
            }
        }
        filler
            .set_len(length.saturating_sub((pages * PAGE) as u64))
            .unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: HAProxy may be just reading.
        let path = self.folder.path();
        let unmounted = std::process::Command::new("umount")
            .arg("-l")
            .arg(path)
            .status();
        drop(unmounted);
    }
}

/// The disk is full to the last byte, or nearly, while endpoints change; then there is room again.
pub(crate) async fn strike(world: &mut World) {
    let pages = world.random.below(3);
    let Some(disk) = &world.disk else { return };
    disk.fill(pages);
    let began = now();
    while began.elapsed() < Duration::from_millis(1500) {
        some_changes(world).await;
        look(world);
        pause(world, 100).await;
    }
    if world.random.below(3) == 0 {
        world.kill_plane().await;
        some_changes(world).await;
        world.start_plane().await;
    }
    world.settle().await;
    look(world);
    if let Some(disk) = &world.disk {
        disk.free();
    }
    // Nothing else changes now: that there is room must be enough.
    world.files_follow("after the disk had been full").await;
    look(world);
}

/// Both files must be whole, old or new.
fn look(world: &mut World) {
    let haproxy = &world.bed.haproxy;
    let known = |name: &String| {
        world
            .services
            .iter()
            .any(|service| service.as_str() == name)
    };
    let slots = match haproxy.saved().unwrap() {
        Some(slots) => slots.iter().filter(|slot| known(&slot.backend)).count(),
        // It may not have been written yet.
        None if fs::read(haproxy.state()).unwrap().is_empty() => 2 * SLOTS as usize,
        None => 0,
    };
    if slots != 2 * SLOTS as usize {
        let wrong = format!("the server-state file is not whole: it has {slots} slots");
        world.wrong.push(wrong);
    }
    if !matches!(world.source, Source::File(_)) {
        return;
    }
    let routes = fs::read_to_string(haproxy.routes()).unwrap();
    let whole = routes.is_empty() || routes.ends_with('\n');
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words.as_slice(), [host, "a" | "b"] if host.ends_with(".example/"))
    };
    if !whole || !routes.lines().all(entry) {
        world
            .wrong
            .push(format!("the map file is not whole: {routes:?}"));
    }
}
