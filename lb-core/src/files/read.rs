//! Reads regular files within a bound.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::AsFd,
    path::Path,
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

/// The rule for files of a folder that are links out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Links {
    /// A link may lead to another file of the folder and of those below it.
    #[default]
    Inside,
    /// A link may lead anywhere.
    Anywhere,
}

/// Opening never waits for the other end of a FIFO, and takes no terminal.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// Reads the regular file at a path of the operator's, where links may lead.
///
/// # Errors
/// Fails if there is none, it is no regular file, or has more than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    content(openat(CWD, path, FLAGS, Mode::empty())?.into(), most)
}

/// Reads a text as [`read`] does.
///
/// # Errors
/// As [`read`], and when it is no UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
}

/// Reads the regular file of this name in a folder, in which others may write.
///
/// # Errors
/// As [`read`], and when it is a link that leads where `links` does not allow.
pub fn read_in(folder: &Path, name: &str, links: Links, most: u64) -> io::Result<Vec<u8>> {
    if links == Links::Anywhere {
        return read(&folder.join(name), most);
    }
    let opened = openat(
        CWD,
        folder,
        OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY,
        Mode::empty(),
    )?;
    content(beneath(opened.as_fd(), folder, name)?, most)
}

/// Opens a file that lies in the folder, following links that stay there.
fn beneath(opened: std::os::fd::BorrowedFd<'_>, folder: &Path, name: &str) -> io::Result<File> {
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(opened, name, FLAGS, Mode::empty(), within);
    match found {
        Ok(file) => return Ok(file.into()),
        // An absolute link, or one that leads out and maybe in again.
        Err(rustix::io::Errno::XDEV) => {}
        // A kernel or a sandbox without this call.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let goal = folder.join(name).canonicalize()?;
    let folder = folder.canonicalize()?;
    let Ok(inside) = goal.strip_prefix(&folder) else {
        return Err(io::Error::other(
            "a link that leads out of the folder, expected a file in it",
        ));
    };
    match openat2(
        opened,
        inside,
        FLAGS,
        Mode::empty(),
        within | ResolveFlags::NO_SYMLINKS,
    ) {
        Ok(file) => Ok(file.into()),
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
            Ok(openat(CWD, &goal, FLAGS | OFlags::NOFOLLOW, Mode::empty())?.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The whole content of a file that was opened, if it is a regular one.
pub(super) fn content(file: File, most: u64) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(
            "not a regular file, expected one and no FIFO, device, socket or folder",
        ));
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!(
            "larger than {most} bytes, expected at most that"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn case_h11_only_regular_files_within_their_bound_are_read_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("good"), "12345").unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(at("fifo"))
            .status();
        assert!(made.unwrap().success());
        symlink("/dev/zero", at("device")).unwrap();
        symlink("good", at("link")).unwrap();
        assert_eq!(read(&at("good"), 5).unwrap(), b"12345");
        assert_eq!(read(&at("link"), 5).unwrap(), b"12345");
        for (name, expected) in [
            ("good", "larger than 4 bytes"),
            ("fifo", "not a regular file"),
            ("device", "not a regular file"),
            (".", "not a regular file"),
        ] {
            let error = read(&at(name), 4).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
    }

    #[test]
    fn case_h11_a_link_out_of_the_folder_is_refused_unless_it_is_allowed() {
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // As Kubernetes mounts a ConfigMap.
        fs::create_dir(at("..2026")).unwrap();
        fs::write(at("..2026/a.toml"), "inside").unwrap();
        symlink("..2026", at("..data")).unwrap();
        symlink("..data/a.toml", at("a.toml")).unwrap();
        symlink(at("..2026/a.toml"), at("absolute.toml")).unwrap();
        symlink(&secret, at("out.toml")).unwrap();
        symlink(outside.path(), at("door")).unwrap();
        symlink("door/secret", at("through.toml")).unwrap();
        for name in ["a.toml", "absolute.toml"] {
            let read = read_in(folder.path(), name, Links::Inside, 99);
            assert_eq!(read.unwrap(), b"inside", "{name}");
        }
        for name in ["out.toml", "through.toml"] {
            let error = read_in(folder.path(), name, Links::Inside, 99).unwrap_err();
            assert!(
                error.to_string().contains("leads out of the folder"),
                "{error}"
            );
            let read = read_in(folder.path(), name, Links::Anywhere, 99);
            assert_eq!(read.unwrap(), b"secret", "{name}");
        }
    }
}
