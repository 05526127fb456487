//! The other sockets at which one HAProxy answers.

use std::path::{Path, PathBuf};

use super::{SocketAddress, identify::answer};
use crate::proto::{Epoch, Info, unix_sockets};

/// The most sockets of one HAProxy that are looked at.
const MOST: usize = 64;

/// The Unix sockets that are told in the reply to `show cli sockets`, but the one at `address`.
///
/// HAProxy names them as its configuration does, and may see another file system: one that has another folder here, or
/// whose name is relative, is looked for beside the one at `address`.
pub(crate) fn other_sockets(told: &str, address: &SocketAddress) -> Vec<PathBuf> {
    let own = address.path();
    let folder = own.and_then(Path::parent);
    let mut others: Vec<PathBuf> = Vec::new();
    for socket in unix_sockets(told).into_iter().take(MOST) {
        let beside = folder
            .zip(socket.file_name())
            .map(|(at, name)| at.join(name));
        let absolute = Some(socket).filter(|socket| socket.is_absolute());
        for candidate in absolute.into_iter().chain(beside) {
            if Some(candidate.as_path()) != own && !others.contains(&candidate) {
                others.push(candidate);
            }
        }
    }
    others
}

/// The reply to `show cli sockets` on a connection of its own; empty where there is none.
pub(crate) async fn ask_sockets(address: &SocketAddress) -> String {
    let told = answer(address, b"show cli sockets\n").await;
    told.unwrap_or_default()
}

/// The process that answers at an address, on a connection of its own.
pub(crate) async fn ask_epoch(address: &SocketAddress) -> Option<Epoch> {
    let told = answer(address, b"show info\n").await?;
    epoch(&told)
}

/// Returns `true` if the process `known` answers at a socket.
pub(crate) async fn is_same_process(known: Epoch, socket: &Path) -> bool {
    match SocketAddress::unix(socket) {
        Ok(socket) => ask_epoch(&socket).await == Some(known),
        Err(_) => false,
    }
}

/// Returns `true` if another process than `known` answers at a socket, or none is there. One that takes connections and
/// says nothing may have as many of them as it is allowed.
pub(crate) async fn is_another_process(known: Epoch, socket: &Path) -> bool {
    let Ok(socket) = SocketAddress::unix(socket) else {
        return true;
    };
    match answer(&socket, b"show info\n").await {
        Some(told) if told.is_empty() => false,
        Some(told) => epoch(&told) != Some(known),
        None => true,
    }
}

fn epoch(told: &str) -> Option<Epoch> {
    Info::parse(told.trim_end()).ok().map(|info| info.epoch())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_p07_sockets_are_looked_for_here_and_where_haproxy_sees_them() {
        let told = "# socket lvl processes\nunix@/run/a.sock admin all\nunix@/run/b.sock admin all\n\
                    unix@c.sock admin all\n";
        let at = |address: &str| {
            let found = other_sockets(told, &address.parse().unwrap());
            let found: Vec<String> = found
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            found.join(" ")
        };
        assert_eq!(at("/run/a.sock"), "/run/b.sock /run/c.sock");
        // As of a container whose folder is another one here.
        assert_eq!(
            at("/srv/a.sock"),
            "/run/a.sock /run/b.sock /srv/b.sock /srv/c.sock"
        );
        assert_eq!(at("127.0.0.1:9999"), "/run/a.sock /run/b.sock");
    }
}
