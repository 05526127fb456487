//! The lock of one owner: a file beside the socket, or in a folder for such files, locked while the owner lives.
//!
//! Each owner has a file of its own, which says what it manages, so that owners of different backends do not disturb
//! each other. A file that no process has locked belongs to one that is gone, however it ended. An owner makes its file
//! first and looks for others then, at every socket of that HAProxy, so that of two that begin at once at most one goes
//! on.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use super::owner::Owner;

/// What ends the names of lock files.
const SUFFIX: &str = ".lb-owner";

/// The most bytes of a lock file that are read.
const MOST: u64 = 64 << 10;

/// The most symbolic links from a socket's name to the next that are followed.
const MOST_LINKS: usize = 8;

/// How often two that begin at once look again, and the pause before jitter.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(15);

/// The right to manage some backends of one HAProxy, until it is dropped or its process ends.
#[derive(Debug)]
pub(super) struct Claim {
    file: File,
    path: PathBuf,
}

/// Why there is no claim.
#[derive(Debug)]
pub(super) enum NoClaim {
    /// Another process manages backends that were claimed.
    Owned(Found),
    /// There is no folder in which a lock could be made.
    NoPlace,
}

/// Another owner of some of the same backends.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) owner: Box<Owner>,
    /// The socket beside which its file is.
    pub(super) socket: PathBuf,
}

/// The sockets of one HAProxy beside which there may be locks.
#[derive(Debug, Clone)]
pub(super) struct Sockets {
    /// The one beside which a lock is made.
    pub(super) own: PathBuf,
    pub(super) others: Vec<PathBuf>,
}

impl Sockets {
    /// A living owner of some of the backends of `owner`, other than the one whose file is `claimed`.
    pub(super) fn find(&self, owner: &Owner, claimed: Option<&Path>) -> Option<Found> {
        let mut all = std::iter::once(&self.own).chain(&self.others);
        all.find_map(|socket| {
            let other = find(&Place::of(socket), owner, claimed)?;
            Some(Found {
                owner: Box::new(other),
                socket: socket.clone(),
            })
        })
    }
}

impl Claim {
    /// Claims what `owner` is to manage of the HAProxy at these sockets.
    pub(super) fn make(sockets: &Sockets, owner: &Owner) -> Result<Self, NoClaim> {
        let places = Place::of(&sockets.own);
        let mut last = NoClaim::NoPlace;
        for attempt in 0..TRIES {
            if attempt > 0 {
                // Two that began at once part ways.
                thread::sleep(PAUSE * (1 + (owner.pid ^ attempt) % 7));
            }
            let Some(claim) = places
                .iter()
                .find_map(|place| Self::create(place, owner).ok())
            else {
                let found = sockets.find(owner, None);
                return Err(found.map_or(NoClaim::NoPlace, NoClaim::Owned));
            };
            match sockets.find(owner, Some(&claim.path)) {
                None => return Ok(claim),
                Some(found) => last = NoClaim::Owned(found),
            }
        }
        Err(last)
    }

    /// Returns `true` if the file is still where others look for it. A folder below `/run` may be made anew when HAProxy
    /// starts.
    pub(super) fn holds(&self) -> bool {
        let same = |there: &fs::Metadata, ours: &fs::Metadata| {
            (there.dev(), there.ino()) == (ours.dev(), ours.ino())
        };
        match (fs::symlink_metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => same(&there, &ours),
            _ => false,
        }
    }

    fn create(place: &Place, owner: &Owner) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        if place.is_ours {
            make_folder(&place.folder)?;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut name = place.prefix.clone();
        name.push(format!(".{}-{number}", owner.pid));
        let path = place.folder.join(with(&name, SUFFIX));
        let beside = place.folder.join(with(&name, ".lb-new"));
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let file = match open(&beside, flags, mode) {
            Err(rustix::io::Errno::EXIST) => {
                // Left behind by a process of the same number.
                fs::remove_file(&beside)?;
                open(&beside, flags, mode)?
            }
            opened => opened?,
        };
        let mut file = File::from(file);
        let made = flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(owner.text().as_bytes()))
            // Seen by others only now that it is locked and whole.
            .and_then(|()| fs::rename(&beside, &path));
        if let Err(error) = made {
            let _kept = fs::remove_file(&beside);
            return Err(error);
        }
        Ok(Self { file, path })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.holds() {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

/// A folder in which lock files of one HAProxy are, and what their names begin with.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    prefix: OsString,
    /// If `true`, the folder is made where it is missing.
    is_ours: bool,
}

impl Place {
    /// Where lock files may be, in the order in which they are made.
    fn of(socket: &Path) -> Vec<Self> {
        let socket = &resolved(socket);
        let folder = socket.parent().filter(|folder| *folder != Path::new(""));
        let folder = fs::canonicalize(folder.unwrap_or_else(|| Path::new(".")));
        let (Ok(folder), Some(name)) = (folder, socket.file_name()) else {
            return Vec::new();
        };
        // Elsewhere the name must tell sockets of one name apart.
        let hash = folder
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mut places = vec![Self {
            folder,
            prefix: name.to_owned(),
            is_ours: false,
        }];
        let mut elsewhere = OsString::from(format!("{hash:016x}-"));
        elsewhere.push(name);
        let mut folders = vec![PathBuf::from("/run/lb")];
        folders.extend(std::env::var_os("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("lb")));
        let user = rustix::process::geteuid().as_raw();
        folders.push(std::env::temp_dir().join(format!("lb-{user}")));
        places.extend(folders.into_iter().map(|folder| Self {
            folder,
            prefix: elsewhere.clone(),
            is_ours: true,
        }));
        places
    }
}

/// Follows the links that the name of a socket is, whether it is there or not.
fn resolved(socket: &Path) -> PathBuf {
    let mut socket = socket.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(next) = fs::read_link(&socket) else {
            break;
        };
        socket = match socket.parent() {
            Some(folder) => folder.join(next),
            None => next,
        };
    }
    socket
}

/// A folder that others can read, and none but this user (or root) can write to.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(folder)?;
    let user = rustix::process::geteuid().as_raw();
    let trusted = found.uid() == user || found.uid() == 0;
    match found.is_dir() && trusted && found.mode() & 0o002 == 0 {
        true => Ok(()),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// A living owner of some of the same backends, other than the one whose file is `own`.
fn find(places: &[Place], owner: &Owner, own: Option<&Path>) -> Option<Owner> {
    let mut folders: Vec<(PathBuf, &OsString)> = places
        .iter()
        .map(|place| (place.folder.clone(), &place.prefix))
        .collect();
    // Other users' folders for temporary files.
    let temporary = fs::read_dir(std::env::temp_dir()).into_iter().flatten();
    if let Some(last) = places.last() {
        let lbs = temporary
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"lb-"))
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(lbs.map(|entry| (entry.path(), &last.prefix)));
    }
    let beside = places
        .first()
        .and_then(|place| fs::metadata(&place.folder).ok());
    for (folder, prefix) in folders {
        let Ok(metadata) = fs::metadata(&folder) else {
            continue;
        };
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        // In a folder that everybody can write to, only those count who could stop HAProxy as well.
        let open_to_all = metadata.mode() & 0o002 != 0;
        let trusts = |file: &fs::Metadata| {
            let user = rustix::process::geteuid().as_raw();
            let of_haproxy = beside.as_ref().map(MetadataExt::uid);
            !open_to_all || [Some(0), Some(user), of_haproxy].contains(&Some(file.uid()))
        };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let mut begin = prefix.as_encoded_bytes().to_vec();
            begin.push(b'.');
            let is_lock = name.as_encoded_bytes().starts_with(&begin)
                && name.as_encoded_bytes().ends_with(SUFFIX.as_bytes());
            let path = folder.join(&name);
            if !is_lock || own == Some(&path) {
                continue;
            }
            if let Some(other) = living(&path, trusts)
                && other.manage.overlap(&owner.manage).is_some()
            {
                return Some(other);
            }
        }
    }
    None
}

/// The owner whose file this is, if it lives. The file of one that is gone is taken away.
fn living(path: &Path, trusts: impl Fn(&fs::Metadata) -> bool) -> Option<Owner> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(open(path, flags, Mode::empty()).ok()?);
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || !trusts(&metadata) {
        return None;
    }
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        let _gone = fs::remove_file(path);
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    Owner::parse(&bytes).filter(|owner| !owner.is_gone())
}

fn with(name: &OsString, end: &str) -> OsString {
    let mut name = name.clone();
    name.push(end);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{driver::TargetConfig, scope::Scope};

    fn owner(target: &str, manage: &str) -> Owner {
        let config = TargetConfig::new(target.parse().unwrap(), "/x".parse().unwrap())
            .managing(Scope::new([manage]).unwrap());
        Owner::this(&config)
    }

    fn claim(socket: &Path, owner: &Owner) -> Result<Claim, NoClaim> {
        let own = socket.to_owned();
        Claim::make(
            &Sockets {
                own,
                others: Vec::new(),
            },
            owner,
        )
    }

    #[test]
    fn case_p07_the_second_owner_hears_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let first = claim(&socket, &owner("edge", "web*")).unwrap();
        assert!(first.holds());
        let Err(NoClaim::Owned(Found { owner: other, .. })) = claim(&socket, &owner("other", "*1"))
        else {
            panic!("owned twice");
        };
        assert_eq!(other.pid, std::process::id());
        assert!(
            other.to_string().contains("target edge, manage web*"),
            "{other}"
        );
        let disjoint = claim(&socket, &owner("other", "db")).unwrap();
        // However the path is spelled.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(claim(&link.join("admin.sock"), &owner("third", "db")).is_err());
        let alias = folder.path().join("alias.sock");
        std::os::unix::fs::symlink("admin.sock", &alias).unwrap();
        assert!(claim(&alias, &owner("third", "db")).is_err());
        drop(disjoint);
        drop(first);
        let all = claim(&socket, &owner("other", "*")).unwrap();
        drop(all);
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2, "only the links are left");
    }

    /// A file that nobody has locked is of a process that was killed; a link leads nowhere.
    #[test]
    fn case_p07_what_is_left_behind_locks_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let stale = folder.path().join(format!("admin.sock.1-0{SUFFIX}"));
        fs::write(&stale, owner("gone", "*").text()).unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let link = folder.path().join(format!("admin.sock.2-0{SUFFIX}"));
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        let claim = claim(&socket, &owner("edge", "*")).unwrap();
        assert!(!stale.exists() && secret.exists());
        // A folder that was made anew has no lock: it is to be made again.
        fs::remove_file(&claim.path).unwrap();
        assert!(!claim.holds());
    }
}
