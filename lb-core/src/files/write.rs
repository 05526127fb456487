//! Replaces files whole.

use std::{
    collections::hash_map::RandomState,
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    hash::BuildHasher,
    io::{self, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::{MetadataExt as _, PermissionsExt as _, fchown},
        },
    },
    path::Path,
};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, renameat, unlinkat};

use super::read::content;

/// The outcome of [`replace`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// There is a new file.
    Replaced,
    /// The file had this content already.
    Unchanged,
}

/// The most names of a folder that are looked at for files that an earlier life left.
const MOST_NAMES: usize = 1000;

/// Puts a file with this content in the place of what is at the path, so that a reader sees one or the other, whole.
///
/// The new file has the mode and, where this process may give it away, the owner of the regular file that it replaces. A
/// link in the last part of the path is replaced and not followed. Content and name are on the disk when it returns.
///
/// # Errors
/// Fails if the folder is not there or cannot be written, or there is no room.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<Written> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("a path without a file name, expected one"))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = openat(
        CWD,
        folder,
        OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY,
        Mode::empty(),
    )?;
    let folder = folder.as_fd();
    let old = regular(folder, name);
    if let Some(old) = &old
        && old.metadata()?.len() == bytes.len() as u64
        && content(old.try_clone()?, bytes.len() as u64).is_ok_and(|known| known == bytes)
    {
        return Ok(Written::Unchanged);
    }
    sweep(folder, name);
    let new = random(name);
    let mode = match &old {
        Some(_) => Mode::RUSR | Mode::WUSR,
        None => Mode::from_raw_mode(0o666),
    };
    let written = fill(create(folder, &new, mode)?, old.as_ref(), bytes)
        .and_then(|()| Ok(renameat(folder, &new, folder, name)?))
        .and_then(|()| Ok(rustix::fs::fsync(folder)?));
    if written.is_err() {
        // Half a file would only take room, which may be what is missing.
        let _gone = unlinkat(folder, &new, AtFlags::empty());
    }
    written.map(|()| Written::Replaced)
}

/// A name beside this one that nobody can know before.
fn random(name: &OsStr) -> OsString {
    let mut new = prefix(name);
    new.push(format!("{:016x}", RandomState::new().hash_one(name)));
    new
}

/// Makes a file of this name, where there is nothing yet.
fn create(folder: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, mode)?.into())
}

/// The regular file of this name, opened without following a link or waiting.
fn regular(folder: BorrowedFd<'_>, name: &OsStr) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(folder, name, flags | OFlags::NOCTTY, Mode::empty()).ok()?);
    file.metadata().ok()?.is_file().then_some(file)
}

fn fill(mut file: File, old: Option<&File>, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    if let Some(old) = old {
        let old = old.metadata()?;
        // Only a privileged process may give a file away; to itself it need not.
        let _unprivileged = fchown(&file, Some(old.uid()), Some(old.gid()));
        file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
    }
    file.sync_all()
}

fn prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".lb-");
    prefix
}

/// Removes what an earlier life left when it was killed while it wrote. There is one writer of a file.
fn sweep(folder: BorrowedFd<'_>, name: &OsStr) {
    let prefix = prefix(name).into_vec();
    let Ok(names) = Dir::read_from(folder) else {
        return;
    };
    for entry in names.take(MOST_NAMES).flatten() {
        let found = OsStr::from_bytes(entry.file_name().to_bytes());
        let rest = found.as_bytes().strip_prefix(prefix.as_slice());
        if rest.is_some_and(|rest| rest.len() == 16 && rest.iter().all(u8::is_ascii_hexdigit)) {
            let _gone = unlinkat(folder, found, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_is_replaced_whole_and_left_alone_when_it_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs::write(folder.path().join(".state.lb-0123456789abcdef"), "left").unwrap();
        assert_eq!(replace(&path, b"one").unwrap(), Written::Replaced);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        assert_eq!(replace(&path, b"one").unwrap(), Written::Unchanged);
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        assert_eq!(replace(&path, b"two").unwrap(), Written::Replaced);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(names(folder.path()), ["state"]);
    }

    #[test]
    fn case_h05_nothing_that_stands_in_a_folder_of_another_user_is_followed_or_waited_for() {
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        fs::write(&victim, "root's").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        // What was written beside the file until now.
        symlink(&victim, folder.path().join("state.new")).unwrap();
        symlink(&victim, &path).unwrap();
        replace(&path, b"one").unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        fs::remove_file(&path).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read(&victim).unwrap(), b"root's");
        assert!(
            fs::symlink_metadata(folder.path().join("state.new"))
                .unwrap()
                .is_symlink()
        );
    }

    #[test]
    fn case_h05_a_new_file_has_a_name_that_nobody_knows_and_takes_no_others_place() {
        let names: std::collections::BTreeSet<OsString> =
            (0..100).map(|_| random(OsStr::new("state"))).collect();
        assert_eq!(names.len(), 100);
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "root's").unwrap();
        symlink(&victim, folder.path().join("link")).unwrap();
        symlink("nothing", folder.path().join("dangling")).unwrap();
        let made = Command::new("mkfifo")
            .arg(folder.path().join("fifo"))
            .status();
        assert!(made.unwrap().success());
        let opened = File::open(folder.path()).unwrap();
        for planted in ["victim", "link", "dangling", "fifo"] {
            let mode = Mode::RUSR | Mode::WUSR;
            let error = create(opened.as_fd(), OsStr::new(planted), mode).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{planted}");
        }
        assert_eq!(fs::read(&victim).unwrap(), b"root's");
        assert!(!folder.path().join("nothing").exists());
    }

    #[test]
    fn case_h05_a_link_in_the_place_of_the_file_gives_nothing_of_its_goal() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, path) = (folder.path().join("victim"), folder.path().join("state"));
        fs::write(&victim, "same").unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o4646)).unwrap();
        symlink(&victim, &path).unwrap();
        assert_eq!(replace(&path, b"same").unwrap(), Written::Replaced);
        let new = fs::symlink_metadata(&path).unwrap();
        assert!(new.is_file());
        assert_ne!(
            new.mode() & 0o7777,
            0o646,
            "neither its content nor its mode"
        );
        assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o7777, 0o4646);
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("x"), "x").unwrap();
        assert!(replace(&path, b"one").is_err());
        assert_eq!(names(folder.path()), ["state"]);
        assert!(replace(&folder.path().join("no/state"), b"one").is_err());
    }
}
