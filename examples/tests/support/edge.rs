//! A HAProxy that looks routes up in maps, with spare backends, and a driver that is given records.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use lb_core::{
    Driver as _, Mode, Name, Record, Snapshot,
    merge::{Merge, RecordChange, SourceId},
    testkit::free_port,
};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    config::{Backend, Bind, Frontend, Slots},
    process::{Executable, Haproxy, HaproxyOptions},
};

use crate::routed;

pub(crate) struct Edge {
    _haproxy: Haproxy,
    driver: HaproxyDriver,
    merge: Merge,
    source: SourceId,
    desired: Arc<Snapshot>,
    shown: Vec<Record>,
    /// The address for HTTP.
    pub(crate) http: SocketAddr,
    /// The address for TCP.
    pub(crate) tcp: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Edge {
    pub(crate) async fn start(executable: Executable) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |file: &str| folder.path().join(file).display().to_string();
        let (http, tcp) = (free_port().unwrap(), free_port().unwrap());
        let mut config = routed::configuration(folder.path(), http);
        std::fs::write(at("lb-sni.map"), "").unwrap();
        let mut front = Frontend::new(Name::from_text("tcp"), Bind::Tcp(tcp));
        front.mode = Mode::Tcp;
        front.route_map = Some(at("lb-sni.map").parse().unwrap());
        config.frontends.push(front);
        for number in 1..=4 {
            let slots = Slots::new(Name::from_text("slot"), 4);
            let spare = Name::from_text(&format!("spare-tcp-{number}"));
            let mut spare = Backend::new(spare, slots);
            spare.mode = Mode::Tcp;
            config.backends.push(spare);
        }
        let version = executable.version().await.unwrap();
        std::fs::write(at("haproxy.cfg"), config.render(&version).unwrap()).unwrap();
        let socket = at("admin.sock");
        let options = HaproxyOptions::new(
            executable,
            at("haproxy.cfg"),
            socket.parse().unwrap(),
            at("master.sock"),
        );
        let haproxy = Haproxy::start(options).await.unwrap();
        let target = TargetConfig::new(Name::from_text("edge"), socket.parse().unwrap());
        let mut merge = Merge::default();
        let source = merge.add_source(Name::from_text("edge"));
        Self {
            merge,
            source,
            _haproxy: haproxy,
            driver: HaproxyDriver::new(target),
            desired: Arc::default(),
            shown: Vec::new(),
            http,
            tcp,
            _folder: folder,
        }
    }

    /// Brings these records into effect, and those that were shown before out of it.
    pub(crate) async fn show(&mut self, records: Vec<Record>) {
        let gone = self.shown.drain(..).map(|record| RecordChange {
            key: record.key,
            record: None,
        });
        let new = records.iter().map(|record| RecordChange {
            key: record.key.clone(),
            record: Some(Arc::new(record.clone())),
        });
        for change in gone.chain(new) {
            self.merge.stage(self.source, change);
        }
        let mut edit = self.desired.edit();
        self.merge.finish(&mut edit);
        self.shown = records;
        // Without a change there is no later snapshot.
        if let Some(next) = edit.commit() {
            self.desired = Arc::new(next);
        }
        for _ in 0..1000 {
            match self.driver.converge(&self.desired).await.unwrap().again {
                None => return,
                Some(pause) => tokio::time::sleep(pause).await,
            }
        }
        panic!("it never ends");
    }
}

/// The address that answers a request, or HAProxy's own status.
pub(crate) fn get(frontend: SocketAddr, host: &str, path: &str) -> Result<SocketAddr, u16> {
    let mut stream = TcpStream::connect(frontend).unwrap();
    let limit = Some(Duration::from_secs(10));
    stream.set_read_timeout(limit).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let address = answer
        .lines()
        .find_map(|line| line.strip_prefix("x-endpoint: "));
    match address {
        Some(address) => Ok(address.parse().unwrap()),
        None => Err(answer.split(' ').nth(1).unwrap().parse().unwrap()),
    }
}
