//! The other sockets at which one HAProxy answers.

use std::path::{Path, PathBuf};

use super::{SocketAddress, identify::answer};
use crate::proto::{Epoch, Info, unix_sockets};

/// The most sockets of one HAProxy that are looked at.
const MOST: usize = 16;

/// The Unix sockets of the HAProxy at `address`, but that one, as it names them: another file system may have other
/// files there. Empty where it does not answer.
pub(crate) async fn other_sockets(address: &SocketAddress) -> Vec<PathBuf> {
    let told = answer(address, b"show cli sockets\n").await;
    let sockets = unix_sockets(told.as_deref().unwrap_or_default());
    let own = address.path();
    sockets
        .into_iter()
        .filter(|socket| Some(socket.as_path()) != own)
        .take(MOST)
        .collect()
}

/// Returns `true` if one process answers at both.
pub(crate) async fn is_same_process(address: &SocketAddress, socket: &Path) -> bool {
    let Ok(socket) = SocketAddress::unix(socket) else {
        return false;
    };
    let one = epoch(address).await;
    one.is_some() && one == epoch(&socket).await
}

async fn epoch(address: &SocketAddress) -> Option<Epoch> {
    let told = answer(address, b"show info\n").await?;
    Info::parse(told.trim_end()).ok().map(|info| info.epoch())
}
