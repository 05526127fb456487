//! Asks what is at a socket that did not answer as a stats socket does.

use std::{os::unix::fs::FileTypeExt as _, path::Path, time::Duration};

use tokio::{io::Interest, time::timeout_at};

use super::{ClientError, Deadline, SocketAddress, stream::Stream};
use crate::proto::{BoundedText, OtherEnd};

/// The time for which one answer is waited for.
const LIMIT: Duration = Duration::from_secs(1);

/// The most bytes of an answer that are read.
const MOST: usize = 16 << 10;

/// Says what is at `address`, after `error` there; `None` where that is what it should be, or is silent.
pub(crate) async fn identify(address: &SocketAddress, error: &ClientError) -> Option<OtherEnd> {
    match error {
        ClientError::Processes { found, .. } => return Some(OtherEnd::Processes(*found)),
        ClientError::Connect { .. } => return not_a_socket(address.path()?),
        ClientError::Level { .. }
        | ClientError::ConnectTimeout { .. }
        | ClientError::NotHaproxy { .. }
        | ClientError::Unreadable { .. } => {}
        _ => return None,
    }
    #[cfg(feature = "simulator")]
    if crate::simulator::identity().is_some() {
        return None;
    }
    let info = answer(address, b"show info\n").await.unwrap_or_default();
    let processes = match info.contains("show cli") {
        true => answer(address, b"show proc\n").await.unwrap_or_default(),
        false => String::new(),
    };
    let found = OtherEnd::of_answers(&info, &processes);
    match (found, error) {
        (None, ClientError::Level { found, .. }) => Some(OtherEnd::Level(BoundedText::new(found))),
        (found, _) => found,
    }
}

fn not_a_socket(path: &Path) -> Option<OtherEnd> {
    let kind = std::fs::metadata(path).ok()?.file_type();
    match () {
        () if kind.is_socket() => None,
        () if kind.is_dir() => Some(OtherEnd::File("directory")),
        () if kind.is_file() => Some(OtherEnd::File("regular file")),
        () => Some(OtherEnd::File("file that is no socket")),
    }
}

/// The beginning of the answer to one line on a connection of its own.
pub(super) async fn answer(address: &SocketAddress, line: &[u8]) -> Option<String> {
    let at = Deadline::after(LIMIT).at;
    let stream = timeout_at(at, Stream::connect(address)).await.ok()?.ok()?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let mut rest = line;
    loop {
        let interest = match rest.is_empty() {
            true => Interest::READABLE,
            false => Interest::READABLE | Interest::WRITABLE,
        };
        let Ok(Ok(ready)) = timeout_at(at, stream.ready(interest)).await else {
            break;
        };
        if ready.is_writable() && !rest.is_empty() {
            match stream.try_write(rest) {
                Ok(written) => rest = rest.get(written.unwrap_or_default()..).unwrap_or_default(),
                Err(_) => rest = &[],
            }
        }
        if ready.is_readable() || ready.is_read_closed() {
            match stream.try_read(&mut buffer) {
                Ok(Some(0)) | Err(_) => break,
                Ok(Some(count)) => bytes.extend_from_slice(buffer.get(..count)?),
                Ok(None) => {}
            }
        }
        if bytes.len() >= MOST {
            break;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
