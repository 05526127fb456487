//! A HAProxy in the network of a container.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use lb_haproxy::{
    SocketAddress,
    config::Config,
    process::{Executable, Haproxy, HaproxyOptions},
};
use tempfile::TempDir;

use crate::support::engine::Engine;

/// A running HAProxy that reaches what a container reaches: networks of a Swarm too.
pub(crate) struct Front {
    pub(crate) socket: SocketAddress,
    /// Dropped before its folder.
    _haproxy: Haproxy,
    _folder: TempDir,
}

impl Front {
    /// Starts it; `config` is told the folder for its files.
    pub(crate) async fn start(
        executable: &Executable,
        engine: &Engine,
        container: &str,
        config: impl FnOnce(&Path) -> Config,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("lb-").tempdir().unwrap();
        let at = |file: &str| folder.path().join(file);
        let version = executable.version().await.unwrap();
        println!("HAProxy {version}");
        fs::write(
            at("haproxy.cfg"),
            config(folder.path()).render(&version).unwrap(),
        )
        .unwrap();
        let inside = inside(&at("inside"), executable, engine, container);
        let socket = SocketAddress::unix(at("admin.sock")).unwrap();
        let options = HaproxyOptions::new(
            Executable::find(Some(&inside)).unwrap(),
            at("haproxy.cfg"),
            socket.clone(),
            at("master.sock"),
        );
        Self {
            socket,
            _haproxy: Haproxy::start(options).await.unwrap(),
            _folder: folder,
        }
    }
}

/// Makes an executable that runs another one in the network of a container.
fn inside(path: &Path, executable: &Executable, engine: &Engine, container: &str) -> PathBuf {
    let pid = engine.docker(&["inspect", "-f", "{{.State.Pid}}", container]);
    let script = format!(
        "#!/bin/sh\nexec nsenter --net=/proc/{pid}/ns/net {} \"$@\"\n",
        executable.path().display()
    );
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}
