//! An engine, a HAProxy that reaches its containers, and a control plane between the two.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
};

use lb_docker::{ConnectionConfig, DockerConfig, DockerSource, ReachFrom};
use lb_examples::testbed::{Options, Testbed};

use crate::{
    network::{NETWORK, Reachable},
    support::engine::Engine,
    users::{executables, name},
    verified::Verified,
};

/// Two services, each with one container that stays.
pub(crate) struct World {
    pub(crate) bed: Testbed,
    pub(crate) engine: Engine,
    pub(crate) verified: Verified,
}

pub(crate) const SERVICES: [&str; 2] = ["a", "b"];

impl World {
    pub(crate) async fn new() -> Self {
        let engine = Engine::start();
        let network = Reachable::new(&engine);
        std::fs::create_dir(engine.dir().join("shared")).unwrap();

        let executable = executables().pop().unwrap();
        println!("HAProxy {}", executable.version().await.unwrap());
        let options = Options::new(SERVICES.map(name).to_vec(), 64);
        let mut bed = Testbed::start(executable, options).await.unwrap();
        // Containers say themselves whose they are.
        for address in network.addresses() {
            let address = SocketAddr::new(IpAddr::V4(address), 80);
            for service in SERVICES {
                bed.oracle.publish(address, &name(service));
            }
        }
        let mut config = DockerConfig::default();
        config.connection = ConnectionConfig::at(engine.host());
        config.reach.from = ReachFrom::Host;
        let source = DockerSource::new(config);
        let handle = bed.start_plane_on(source).await.unwrap();
        let world = Self {
            bed,
            engine,
            verified: Verified::follow(handle),
        };
        for service in SERVICES {
            let address = world.start(service, &format!("{service}-stays"));
            world.ready(address, true).await;
            if service == "a" {
                world.mistake(address, "b");
            }
        }
        world
    }

    /// Asks a container for another service's sake: it must notice.
    fn mistake(&self, address: SocketAddr, service: &str) {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET / HTTP/1.1\r\nx-service: {service}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        assert!(stream.read(&mut [0; 512]).unwrap() > 0);
        assert_eq!(self.misrouted(), 1);
        std::fs::remove_file(self.engine.dir().join("shared/misrouted")).unwrap();
    }

    /// Runs a container of a service, and tells its address.
    pub(crate) fn start(&self, service: &str, container: &str) -> SocketAddr {
        self.run(service, container);
        let address = self.engine.ip(container, NETWORK);
        SocketAddr::new(address.parse().unwrap(), 80)
    }

    /// Runs a container of a service.
    pub(crate) fn run(&self, service: &str, container: &str) {
        let (label, variable) = (
            format!("lb.service={service}"),
            format!("SERVICE={service}"),
        );
        let shared = format!("{}:/shared", self.engine.dir().join("shared").display());
        let options = [
            "--network",
            NETWORK,
            "--label",
            &label,
            "-e",
            &variable,
            "-v",
            &shared,
        ];
        self.engine.run(container, &options);
    }

    /// Waits until an endpoint is verified to be ready, or not to be.
    pub(crate) async fn ready(&self, address: SocketAddr, ready: bool) {
        let what = format!("{address} to be ready: {ready}");
        self.verified
            .until(&what, |seen| seen.contains_key(&address) == ready)
            .await;
    }

    /// The number of requests that reached a container of another service.
    pub(crate) fn misrouted(&self) -> u64 {
        let file = self.engine.dir().join("shared/misrouted");
        std::fs::metadata(file).map_or(0, |file| file.len())
    }
}
