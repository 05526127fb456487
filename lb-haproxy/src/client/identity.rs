//! Whether a path still leads to the socket it led to.

use std::{io, os::unix::fs::MetadataExt as _, path::Path};

/// Which socket was behind a path. A worker that takes over binds a new one to the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketIdentity {
    device: u64,
    inode: u64,
    /// An inode's number may be used again at once, its time of change cannot.
    changed: (i64, i64),
}

/// Which socket is behind the path now.
///
/// Two equal answers mean that nobody took the path over in between. Unequal ones may be a mere change of mode or
/// owner, after which another look (a new connection, `show info`) says more.
///
/// # Errors
/// As for reading the metadata of a file: above all that there is none.
pub fn socket_identity(path: &Path) -> io::Result<SocketIdentity> {
    let metadata = std::fs::metadata(path)?;
    Ok(SocketIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
