//! A real engine and its containers, at few addresses that are used again.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use lb_docker::{ConnectionConfig, DockerConfig, DockerSource, ReachFrom};

use crate::{
    network::{NETWORK, Reachable},
    support::engine::Engine,
};

/// An engine whose containers this program reaches, for all parts one after the other.
pub(crate) struct Host {
    engine: Engine,
    network: Reachable,
    next: AtomicU32,
}

/// The most containers at once.
const CONTAINERS: usize = 10;
/// Their network's first address is the engine's.
const FIRST: usize = 2;

/// The containers of one part. Dropping it removes them.
pub(crate) struct Containers {
    pub(crate) host: Arc<Host>,
    /// The container at each address.
    pub(crate) names: BTreeMap<SocketAddr, String>,
    /// Addresses that were left since everything was last in effect.
    pub(crate) left: BTreeSet<SocketAddr>,
    /// If `true`, an address goes to its next container at once: only while the way from the engine to HAProxy is open,
    /// for whose an address is that changed hands before anybody could say so, nobody can know.
    pub(crate) recycles: bool,
    /// If `true`, that way is open: a container that ends while it is closed is one that fails, and HAProxy has nothing
    /// but its retries against that.
    pub(crate) open: bool,
    misrouted_before: u64,
}

impl Host {
    pub(crate) fn start() -> Self {
        let engine = Engine::start();
        let network = Reachable::new(&engine);
        std::fs::create_dir(engine.dir().join("shared")).unwrap();
        Self {
            engine,
            network,
            next: AtomicU32::new(0),
        }
    }

    /// A name that no container had.
    pub(crate) fn name(&self) -> String {
        format!("chaos-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn run(&self, name: &str, service: &str, address: SocketAddr) {
        let (label, variable) = (
            format!("lb.service={service}"),
            format!("SERVICE={service}"),
        );
        let shared = format!("{}:/shared", self.engine.dir().join("shared").display());
        let ip = address.ip().to_string();
        let place = ["--network", NETWORK, "--ip", &ip, "-v", &shared];
        let identity = ["--label", &label, "-e", &variable];
        self.engine
            .run(name, &[place.as_slice(), &identity].concat());
    }

    /// The engine's address.
    pub(crate) fn address(&self) -> String {
        self.engine.host()
    }

    /// Runs a container with these labels.
    pub(crate) fn run_labelled(&self, name: &str, labels: &[(String, String)]) {
        let file = self.engine.dir().join(format!("{name}.labels"));
        let lines: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect();
        std::fs::write(&file, lines.concat()).unwrap();
        let file = file.display().to_string();
        self.engine.run(name, &["--label-file", &file]);
    }

    pub(crate) fn restart(&self, name: &str) {
        self.engine.docker(&["restart", "--time", "1", name]);
    }

    /// Stops a container as an operator does, in time for what it is asked, and removes it.
    pub(crate) fn stop(&self, name: &str) {
        self.engine.docker(&["stop", name]);
        self.engine.docker(&["rm", name]);
    }

    /// Kills a container.
    pub(crate) fn kill(&self, name: &str) {
        self.engine.docker(&["kill", "--signal", "KILL", name]);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.engine.docker(&["rm", "-f", name]);
    }

    /// Pauses a container, or lets it go on.
    pub(crate) fn pause(&self, name: &str, paused: bool) {
        let action = if paused { "pause" } else { "unpause" };
        self.engine.docker(&[action, name]);
    }

    /// The number of requests that reached a container of another service.
    fn misrouted(&self) -> u64 {
        let file = self.engine.dir().join("shared/misrouted");
        std::fs::metadata(file).map_or(0, |file| file.len())
    }
}

impl Containers {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self {
            misrouted_before: host.misrouted(),
            host,
            names: BTreeMap::new(),
            left: BTreeSet::new(),
            recycles: false,
            open: true,
        }
    }

    pub(crate) fn source(&self) -> DockerSource {
        let mut config = DockerConfig::default();
        config.connection = ConnectionConfig::at(self.host.engine.host());
        config.reach.from = ReachFrom::Host;
        DockerSource::new(config)
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.host.network.addresses().skip(FIRST).take(CONTAINERS);
        addresses
            .map(|address| SocketAddr::new(IpAddr::V4(address), 80))
            .collect()
    }

    /// Everything is in effect: whatever left an address, nothing is sent there for it any more.
    pub(crate) fn settled(&mut self) {
        self.left.clear();
        self.open = true;
    }

    /// Asks a container for another service's sake: it must notice.
    pub(crate) fn mistake(&mut self, address: SocketAddr, service: &str) {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET / HTTP/1.1\r\nx-service: {service}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        assert!(stream.read(&mut [0; 512]).unwrap() > 0);
        assert_eq!(self.misrouted(), 1);
        self.misrouted_before += 1;
    }

    pub(crate) fn misrouted(&self) -> u64 {
        self.host.misrouted() - self.misrouted_before
    }

    /// Stops the engine's own process in its tracks, or lets it go on.
    pub(crate) fn freeze_engine(&self, frozen: bool) {
        match frozen {
            true => self.host.engine.freeze(),
            false => self.host.engine.thaw(),
        }
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        self.host.engine.thaw();
        let names: Vec<&str> = self.names.values().map(String::as_str).collect();
        if !names.is_empty() {
            let remove = ["rm", "-f"].as_slice();
            self.host.engine.try_docker(&[remove, &names].concat());
        }
    }
}
