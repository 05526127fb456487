//! etcd processes of the tests' own, on free ports and in directories of their own.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{PATIENCE, api::Api};

/// The etcd binaries to test with: those that `LB_ETCD_MATRIX` names, else the one on the path.
pub(crate) fn binaries() -> Vec<PathBuf> {
    let named: Vec<PathBuf> = std::env::var("LB_ETCD_MATRIX")
        .unwrap_or_default()
        .split_whitespace()
        .map(PathBuf::from)
        .collect();
    if !named.is_empty() {
        return named;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join("etcd"))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        panic!("cannot run: no etcd; name binaries in LB_ETCD_MATRIX or install etcd-server");
    }
    found.into_iter().collect()
}

/// One member. It ends with its value, by its own process id.
#[derive(Debug)]
pub(crate) struct Member {
    binary: PathBuf,
    name: String,
    directory: tempfile::TempDir,
    client: SocketAddr,
    peer: SocketAddr,
    cluster: String,
    token: String,
    tls: Option<Tls>,
    extra: Vec<String>,
    child: Option<Child>,
}

/// Files for a member that speaks TLS with its clients.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// With this, clients must show a certificate.
    pub(crate) client_ca: Option<PathBuf>,
}

/// The differences from a plain member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) tls: Option<Tls>,
    pub(crate) extra: Vec<String>,
}

impl Member {
    /// A cluster of one.
    pub(crate) fn single(binary: &Path) -> Self {
        Self::single_with(binary, Options::default())
    }

    pub(crate) fn single_with(binary: &Path, options: Options) -> Self {
        let mut last = String::new();
        for _ in 0..5 {
            let (client, peer) = (free_port(), free_port());
            let cluster = format!("m0=http://{peer}");
            let mut member = Self::new(binary, "m0", client, peer, &cluster, options.clone());
            match member.start() {
                Ok(()) => return member,
                // Somebody else may have taken the port in between.
                Err(error) => last = error,
            }
        }
        panic!("etcd does not start: {last}");
    }

    /// A cluster of three.
    pub(crate) fn three(binary: &Path) -> Vec<Self> {
        let ports: Vec<_> = (0..3).map(|_| (free_port(), free_port())).collect();
        let cluster: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(index, (_, peer))| format!("m{index}=http://{peer}"))
            .collect();
        let cluster = cluster.join(",");
        let mut members: Vec<Self> = ports
            .iter()
            .enumerate()
            .map(|(index, (client, peer))| {
                Self::new(
                    binary,
                    &format!("m{index}"),
                    *client,
                    *peer,
                    &cluster,
                    Options::default(),
                )
            })
            .collect();
        for member in &mut members {
            member.spawn();
        }
        for member in &mut members {
            member.wait_until_ready().unwrap();
        }
        members
    }

    fn new(
        binary: &Path,
        name: &str,
        client: SocketAddr,
        peer: SocketAddr,
        cluster: &str,
        options: Options,
    ) -> Self {
        Self {
            binary: binary.to_owned(),
            name: name.to_owned(),
            directory: tempfile::tempdir().unwrap(),
            client,
            peer,
            cluster: cluster.to_owned(),
            token: "first".to_owned(),
            tls: options.tls,
            extra: options.extra,
            child: None,
        }
    }

    pub(crate) fn api(&self) -> Api {
        Api {
            address: self.client,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.client)
    }

    pub(crate) fn port(&self) -> u16 {
        self.client.port()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn start(&mut self) -> Result<(), String> {
        self.spawn();
        self.wait_until_ready()
    }

    /// As if the machine went away.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    /// The next start begins another cluster, on the same ports.
    pub(crate) fn become_another_cluster(&mut self) {
        fs::remove_dir_all(self.data()).unwrap();
        self.token = "second".to_owned();
    }

    /// Copies the data of a member that does not run.
    pub(crate) fn back_up(&self) -> tempfile::TempDir {
        assert!(self.child.is_none());
        let backup = tempfile::tempdir().unwrap();
        copy(&self.data(), backup.path());
        backup
    }

    /// Puts a copy of data back.
    pub(crate) fn restore(&self, backup: &tempfile::TempDir) {
        assert!(self.child.is_none());
        fs::remove_dir_all(self.data()).unwrap();
        copy(backup.path(), &self.data());
    }

    /// The version that the binary prints.
    pub(crate) fn version(&self) -> String {
        let output = Command::new(&self.binary)
            .arg("--version")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    fn spawn(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .unwrap();
        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .args(["--name", &self.name])
            .arg("--data-dir")
            .arg(self.data())
            .args(["--listen-client-urls", &self.endpoint()])
            .args(["--advertise-client-urls", &self.endpoint()])
            .args(["--listen-peer-urls", &format!("http://{}", self.peer)])
            .args([
                "--initial-advertise-peer-urls",
                &format!("http://{}", self.peer),
            ])
            .args(["--initial-cluster", &self.cluster])
            .args(["--initial-cluster-token", &self.token])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .args([
                "--max-txn-ops",
                "2000",
                "--logger",
                "zap",
                "--log-level",
                "warn",
            ])
            .args(&self.extra);
        if let Some(tls) = &self.tls {
            command
                .arg("--cert-file")
                .arg(&tls.cert)
                .arg("--key-file")
                .arg(&tls.key);
            if let Some(ca) = &tls.client_ca {
                command
                    .arg("--client-cert-auth")
                    .arg("--trusted-ca-file")
                    .arg(ca);
            }
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    #[expect(clippy::disallowed_methods, reason = "tests wait for real servers")]
    fn wait_until_ready(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let child = self.child.as_mut().ok_or("not started")?;
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                self.child = None;
                let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                let tail: String = log.lines().rev().take(3).collect::<Vec<_>>().join("\n");
                return Err(format!("ended with {status}: {tail}"));
            }
            let ready = if self.tls.is_some() {
                // Its JSON interface asks for TLS, too; that it listens must do.
                std::net::TcpStream::connect(self.client).is_ok()
            } else {
                self.api().leader().is_some_and(|(_, leader)| leader != 0)
            };
            if ready {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("never ready".to_owned())
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The member that leads, by its place.
#[expect(clippy::disallowed_methods, reason = "tests wait for real servers")]
pub(crate) fn leader(members: &[Member], asked: usize) -> usize {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some((_, leader)) = members[asked].api().leader()
            && leader != 0
            && let Some(found) = members.iter().position(|member| {
                member.child.is_some() && member.api().leader().is_some_and(|(id, _)| id == leader)
            })
        {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no member leads");
}

pub(crate) fn free_port() -> SocketAddr {
    lb_core::testkit::free_port().unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
