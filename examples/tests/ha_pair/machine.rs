//! Machines, as network namespaces on one link.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use std::net::{Ipv4Addr, SocketAddr};

use lb_core::Name;
use lb_haproxy::{
    SocketAddress,
    config::{Backend, Balance, Bind, Config, Frontend, HashOn, Slots},
    process::{Executable, Haproxy, HaproxyOptions},
    proto::Version,
};
use tempfile::TempDir;

use crate::{address, script};

/// The link between the machines and the test.
pub(crate) struct Bridge(String);

impl Bridge {
    /// The test's own address on it.
    pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    /// The address that moves.
    pub(crate) const SHARED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 100);

    pub(crate) fn new() -> Self {
        let name = format!("lbb{}", std::process::id());
        run("ip", &["link", "add", &name, "type", "bridge"]);
        let bridge = Self(name);
        let own = format!("{}/24", Self::ADDRESS);
        run("ip", &["address", "add", &own, "dev", &bridge.0]);
        run("ip", &["link", "set", &bridge.0, "up"]);
        bridge
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        try_run("ip", &["link", "delete", &self.0]);
    }
}

/// A machine with a HAProxy. Dropping it takes it down.
pub(crate) struct Machine {
    pub(crate) namespace: String,
    bridge: String,
    own: Ipv4Addr,
    haproxy: Option<Haproxy>,
    ucarp: Option<Child>,
    folder: TempDir,
}

impl Machine {
    pub(crate) async fn start(bridge: &Bridge, number: u8) -> Self {
        let namespace = format!("lbm{}-{number}", std::process::id());
        run("ip", &["netns", "add", &namespace]);
        let mut machine = Self {
            namespace,
            bridge: bridge.0.clone(),
            own: address(10 + number),
            haproxy: None,
            ucarp: None,
            folder: tempfile::tempdir().unwrap(),
        };
        let outer = format!("lbv{}-{number}", std::process::id());
        let veth = [
            "link", "add", &outer, "type", "veth", "peer", "name", "eth0",
        ];
        let netns = ["netns", &machine.namespace];
        run("ip", &[veth.as_slice(), &netns].concat());
        run("ip", &["link", "set", &outer, "master", &bridge.0, "up"]);
        let own = format!("{}/24", machine.own);
        machine.inside("ip", &["address", "add", &own, "dev", "eth0"]);
        machine.inside("ip", &["link", "set", "eth0", "up"]);
        machine.inside("ip", &["link", "set", "lo", "up"]);
        machine.serve().await;
        machine
    }

    pub(crate) fn socket(&self) -> SocketAddress {
        SocketAddress::unix(self.folder.path().join("admin.sock")).unwrap()
    }

    /// Lets ucarp give it the shared address, or not.
    pub(crate) fn ucarp(&mut self) {
        let mut command = Command::new("nsenter");
        command.arg(self.net()).arg("ucarp").args([
            "--interface=eth0",
            &format!("--srcip={}", self.own),
            "--vhid=51",
            "--pass=secret",
            &format!("--addr={}", Bridge::SHARED),
            &format!("--upscript={}", script("vip-up")),
            &format!("--downscript={}", script("vip-down")),
        ]);
        let log = fs::File::create(self.folder.path().join("ucarp.log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.ucarp = Some(command.stdin(Stdio::null()).spawn().unwrap());
    }

    /// Gives it the shared address by hand, with what ucarp would call.
    pub(crate) fn take_address(&self) {
        let up = script("vip-up");
        self.inside(&up, &["eth0", &Bridge::SHARED.to_string()]);
        // ucarp tells the neighbours itself.
        try_run("ip", &["neighbour", "flush", "dev", &self.bridge]);
    }

    pub(crate) fn has_address(&self) -> bool {
        let shown = self.inside("ip", &["-o", "address", "show", "dev", "eth0"]);
        shown.contains(&format!("{}/32", Bridge::SHARED))
    }

    /// It is gone from one moment to the next.
    pub(crate) fn fail(&mut self) {
        self.inside("ip", &["link", "set", "eth0", "down"]);
        self.end();
    }

    fn end(&mut self) {
        if let Some(mut ucarp) = self.ucarp.take() {
            // It may have ended already.
            let _ = ucarp.kill();
            let _ = ucarp.wait();
        }
        self.haproxy = None;
    }

    async fn serve(&mut self) {
        let at = |file: &str| self.folder.path().join(file);
        let executable = executable();
        let version = executable.version().await.unwrap();
        println!("HAProxy {version}");
        let mut config = Config::new(at("admin.sock").display().to_string().parse().unwrap());
        let (web, slots) = (Name::from_text("web"), Name::from_text("slot"));
        let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 80);
        let mut frontend = Frontend::new(Name::from_text("in"), Bind::Tcp(everywhere));
        frontend.default_backend = Some(web.clone());
        config.frontends.push(frontend);
        let mut backend = Backend::new(web, Slots::new(slots, 32));
        backend.balance = Balance::Hash {
            on: HashOn::Header("x-user".parse().unwrap()),
            by_address: hashes_by_address(&version),
        };
        config.backends.push(backend);
        fs::write(at("haproxy.cfg"), config.render(&version).unwrap()).unwrap();
        let inside = at("inside");
        let script = format!(
            "#!/bin/sh\nexec nsenter {} {} \"$@\"\n",
            self.net(),
            executable.path().display()
        );
        fs::write(&inside, script).unwrap();
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).unwrap();
        let options = HaproxyOptions::new(
            Executable::find(Some(&inside)).unwrap(),
            at("haproxy.cfg"),
            self.socket(),
            at("master.sock"),
        );
        self.haproxy = Some(Haproxy::start(options).await.unwrap());
    }

    /// Returns `true` if its choice does not depend on the slots that endpoints are in.
    pub(crate) async fn hashes_by_address(&self) -> bool {
        hashes_by_address(&executable().version().await.unwrap())
    }

    fn inside(&self, program: &str, arguments: &[&str]) -> String {
        let net = self.net();
        run("nsenter", &[&[net.as_str(), program], arguments].concat())
    }

    fn net(&self) -> String {
        format!("--net=/run/netns/{}", self.namespace)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
        try_run("ip", &["netns", "delete", &self.namespace]);
    }
}

/// The newest HAProxy that is tested.
fn executable() -> Executable {
    let listed = std::env::var("LB_HAPROXY_MATRIX").unwrap_or_default();
    let newest = listed.split_whitespace().last().map(Path::new);
    Executable::find(newest).unwrap()
}

fn hashes_by_address(version: &Version) -> bool {
    (version.major(), version.minor()) >= (3, 0)
}

pub(crate) fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:\t0"))
}

/// Returns `true` if a program is in PATH.
pub(crate) fn exists(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program that may fail: it takes away what may be gone.
fn try_run(program: &str, arguments: &[&str]) {
    let _output = Command::new(program).args(arguments).output();
}
