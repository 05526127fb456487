//! Real HAProxies for tests: on sockets and ports of their own, in folders of their own.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use lb_haproxy::{
    SocketAddress,
    process::{Executable, Haproxy, HaproxyOptions},
};
use tempfile::TempDir;

/// The executables to test with: those of `LB_HAPROXY_MATRIX` (separated by blanks), else the one in `PATH`.
///
/// Where there is none the test fails: what was not run has not passed.
pub(crate) fn executables() -> Vec<Executable> {
    let found: Vec<Executable> = match env::var("LB_HAPROXY_MATRIX") {
        Ok(matrix) => matrix
            .split_whitespace()
            .map(|path| Executable::find(Some(Path::new(path))).unwrap())
            .collect(),
        Err(_) => Executable::find(None).into_iter().collect(),
    };
    assert!(
        !found.is_empty(),
        "cannot run: no haproxy in PATH and none in LB_HAPROXY_MATRIX"
    );
    found
}

/// A port of 127.0.0.1 that nobody listens on.
pub(crate) fn free_port() -> u16 {
    lb_core::testkit::free_port().unwrap().port()
}

/// A folder with a configuration in it.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) config: PathBuf,
    pub(crate) admin: SocketAddress,
}

impl Place {
    /// `text` is the configuration; `DIR` in it becomes the folder, `PORT` a free port.
    pub(crate) fn new(text: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("lbh").tempdir().unwrap();
        let config = dir.path().join("haproxy.cfg");
        let text = text
            .replace("DIR", dir.path().to_str().unwrap())
            .replace("PORT", &free_port().to_string());
        std::fs::write(&config, text).unwrap();
        let admin = SocketAddress::unix(dir.path().join("admin.sock")).unwrap();
        Self { dir, config, admin }
    }

    pub(crate) async fn start(&self, executable: &Executable) -> Haproxy {
        Haproxy::start(self.options(executable)).await.unwrap()
    }

    pub(crate) fn options(&self, executable: &Executable) -> HaproxyOptions {
        let master = self.dir.path().join("master.sock");
        let admin = self.admin.clone();
        let mut options = HaproxyOptions::new(executable.clone(), &self.config, admin, master);
        options.start = Duration::from_secs(120);
        options
    }
}
