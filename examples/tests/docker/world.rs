//! An engine, a HAProxy that reaches its containers, and a control plane between the two.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::SystemTime,
};

use lb_core::{Event, Handle};
use lb_docker::{ConnectionConfig, DockerConfig, DockerSource, ReachFrom};
use lb_examples::testbed::{Options, Testbed};

use crate::{
    support::engine::{Engine, run},
    users::{executables, name, until},
};

/// When HAProxy was verified, in nanoseconds of the Unix epoch, and the endpoints that were ready in it.
pub(crate) type Seen = (u128, BTreeSet<SocketAddr>);

/// Two services, each with one container that stays.
pub(crate) struct World {
    pub(crate) bed: Testbed,
    pub(crate) engine: Engine,
    /// What was verified, oldest first.
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

pub(crate) const SERVICES: [&str; 2] = ["a", "b"];
/// The only network, of 29 addresses: they are used again soon.
const NETWORK: &str = "few";
const ADDRESSES: u8 = 32;

impl World {
    pub(crate) async fn new() -> Self {
        let engine = Engine::start();
        let [_, near] = engine.link(None);
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let third = std::process::id().to_be_bytes()[3];
        let first = NEXT.fetch_add(1, Ordering::Relaxed) * ADDRESSES;
        let subnet = format!("{}/27", Ipv4Addr::new(198, 19, third, first));
        engine.docker(&["network", "create", "--subnet", &subnet, NETWORK]);
        // It goes with the link.
        run("ip", &["route", "add", &subnet, "via", &near]);
        let inside = format!("--net=/run/netns/{}", engine.netns);
        let open = ["iptables", "-I", "DOCKER-USER", "-j", "ACCEPT"];
        run("nsenter", &[&[inside.as_str()], open.as_slice()].concat());
        std::fs::create_dir(engine.dir().join("shared")).unwrap();

        let executable = executables().pop().unwrap();
        println!("HAProxy {}", executable.version().await.unwrap());
        let options = Options::new(SERVICES.map(name).to_vec(), 64);
        let mut bed = Testbed::start(executable, options).await.unwrap();
        // Containers say themselves whose they are.
        for host in first..first + ADDRESSES {
            let address = Ipv4Addr::new(198, 19, third, host);
            for service in SERVICES {
                let address = SocketAddr::new(IpAddr::V4(address), 80);
                bed.oracle.publish(address, &name(service));
            }
        }
        let mut config = DockerConfig::default();
        config.connection = ConnectionConfig::at(engine.host());
        config.reach.from = ReachFrom::Host;
        let source = DockerSource::new(config);
        let handle = bed.start_plane_on(source).await.unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(look(handle, Arc::clone(&seen)));
        let world = Self { bed, engine, seen };
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

    /// Runs a container of a service.
    pub(crate) fn start(&self, service: &str, container: &str) -> SocketAddr {
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
        let address = self.engine.ip(container, NETWORK);
        SocketAddr::new(address.parse().unwrap(), 80)
    }

    /// Waits until an endpoint is verified to be ready, or not to be.
    pub(crate) async fn ready(&self, address: SocketAddr, ready: bool) {
        let so = || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.last()
                .is_some_and(|(_, seen)| seen.contains(&address) == ready)
        };
        until(&format!("{address} to be ready: {ready}"), so).await;
    }

    /// How many requests reached a container of another service.
    pub(crate) fn misrouted(&self) -> u64 {
        let file = self.engine.dir().join("shared/misrouted");
        std::fs::metadata(file).map_or(0, |file| file.len())
    }
}

/// Notes what is ready whenever HAProxy was verified.
async fn look(handle: Handle, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut events = handle.subscribe();
    while let Some(event) = events.next().await {
        let Event::Verified { generation, .. } = &event.event else {
            continue;
        };
        let snapshot = handle.snapshot();
        // A later one was not verified; its own event follows.
        if snapshot.generation() != *generation {
            continue;
        }
        let ready = snapshot
            .services()
            .flat_map(|(_, service)| service.endpoints())
            .filter(|(_, endpoint)| endpoint.state.is_ready())
            .map(|(_, endpoint)| endpoint.address)
            .collect();
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push((at.unwrap().as_nanos(), ready));
    }
}
