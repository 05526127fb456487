//! Whether a path still leads to the socket it led to.

use std::{io, os::unix::fs::MetadataExt as _, path::Path};

/// The identity of the socket that was behind a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketIdentity {
    device: u64,
    inode: u64,
    /// An inode's number may be used again at once, its time of change cannot.
    changed: (i64, i64),
}

/// The identity of the socket that is behind the path now.
///
/// Unequal answers tell of a restart, or of a reload by which the new worker bound the path anew; rarely of a mere
/// change of mode or owner. Equal answers tell of no restart, but not of no reload: with `expose-fd listeners` the
/// new worker is given the very socket of the old one. Ask the process whether it is
/// [stopping](crate::proto::Info::stopping), or connect anew and compare the epochs.
///
/// # Errors
/// As for reading the metadata of a file: above all that there is none.
pub fn socket_identity(path: &Path) -> io::Result<SocketIdentity> {
    #[cfg(feature = "simulator")]
    if let Some(number) = crate::simulator::identity() {
        return Ok(SocketIdentity {
            device: 0,
            inode: number,
            changed: (0, 0),
        });
    }
    let metadata = std::fs::metadata(path)?;
    Ok(SocketIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
