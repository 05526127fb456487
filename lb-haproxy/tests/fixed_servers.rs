//! Servers written by hand through an hour of changes on simulated HAProxies: not a byte of theirs changes (P8).

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and reads the time that it holds"
)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use lb_core::{Driver as _, Endpoint, EndpointState, Mode, Name, Snapshot, Weight};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    simulator::{BackendModel, ConfigModel, Network, Profile, Random, ServerModel, Simulator},
};
use tokio::time::{Instant, sleep};

const HOUR: Duration = Duration::from_secs(3600);

/// The servers written by hand: name, address, weight, whether it is disabled.
const BY_HAND: [(&str, &str, u16, bool); 4] = [
    ("legacy2", "10.0.0.8:8080", 1, true),
    ("sorry9", "10.0.0.9:8080", 1, true),
    ("app1", "127.0.0.1:1", 7, true),
    ("static", "10.0.1.3:1003", 5, false),
];

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn simulator(version: (u32, u32)) -> Simulator {
    let mut web = BackendModel::slots("web", 6, None);
    let by_hand = BY_HAND.map(|(name, address, weight, disabled)| ServerModel {
        name: name.to_owned(),
        address: Some(address.parse().unwrap()),
        weight,
        disabled,
        check: None,
        agent: false,
        track: None,
        restorable: false,
    });
    web.servers.extend(by_hand);
    let config = ConfigModel {
        backends: vec![web, BackendModel::slots("db", 3, None)],
        ..ConfigModel::default()
    };
    Simulator::new(Profile::of(version.0, version.1), config)
}

/// The lines of the servers written by hand, without the seconds since their last change.
fn lines(network: &Network) -> Vec<String> {
    let text = network.with(|simulator| {
        let socket = simulator.connect().unwrap();
        simulator.send(socket, b"show servers state web\n");
        String::from_utf8(simulator.receive(socket)).unwrap()
    });
    let by_hand = |line: &&str| {
        let server = line.split(' ').nth(3);
        BY_HAND.iter().any(|(name, ..)| server == Some(name))
    };
    let timeless = |line: &str| {
        let fields = line.split(' ').enumerate();
        let kept: Vec<&str> = fields
            .filter(|(at, _)| *at != 9)
            .map(|(_, field)| field)
            .collect();
        kept.join(" ")
    };
    text.lines().filter(by_hand).map(timeless).collect()
}

/// Other endpoints: some of them where a server written by hand is, and more than there are slots at times.
fn change(desired: &Arc<Snapshot>, random: &mut Random) -> Arc<Snapshot> {
    let mut edit = desired.edit();
    let web = name("web");
    edit.set_service(&web, Mode::Http);
    for number in 0..9_u16 {
        let id = name(&format!("e{number}"));
        let address = match number {
            0 => "10.0.0.8:8080".parse().unwrap(),
            1 => "10.0.1.3:1003".parse().unwrap(),
            _ => SocketAddr::from(([10, 0, 1, 2], 1000 + number)),
        };
        let state = match random.below(8) {
            0..4 => EndpointState::Ready,
            4 => EndpointState::Down,
            5 => EndpointState::Pending,
            6 => EndpointState::Draining { grace: None },
            _ => {
                edit.remove_endpoint(&web, &id);
                continue;
            }
        };
        let weight = Weight::new(u16::try_from(random.below(257)).unwrap()).unwrap();
        let endpoint = Endpoint::new(address).with_state(state).with_weight(weight);
        edit.set_endpoint(&web, &id, endpoint);
    }
    edit.commit().map_or_else(|| Arc::clone(desired), Arc::new)
}

#[tokio::test(start_paused = true)]
async fn case_p08_a_server_written_by_hand_stays_as_it_is_for_an_hour() {
    for version in Profile::ALL {
        let network = Network::new(simulator(version), 1);
        let _installed = network.install();
        let before = lines(&network);
        assert_eq!(before.len(), BY_HAND.len());
        let mut driver = driver();
        let mut random = Random::new(u64::from(version.1));
        let mut desired = Arc::<Snapshot>::default();
        let (end, mut changes) = (Instant::now() + HOUR, 0);
        while Instant::now() < end {
            desired = change(&desired, &mut random);
            let next = Instant::now() + Duration::from_millis(200 + random.below(20_000));
            while Instant::now() < next {
                let report = driver.converge(&desired).await.unwrap();
                let again = report.again.unwrap_or(Duration::from_secs(30));
                sleep(again.min(next - Instant::now())).await;
            }
            assert_eq!(lines(&network), before, "{version:?}, change {changes}");
            changes += 1;
            if random.below(40) == 0 {
                // Another life finds all as it is.
                driver.close().await;
                driver = self::driver();
            }
        }
        println!(
            "{version:?}: {changes} changes, {} commands that change",
            network.changes()
        );
        assert!(changes > 200 && network.changes() > 500);
    }
}

fn driver() -> HaproxyDriver {
    HaproxyDriver::new(TargetConfig::new(
        name("edge"),
        "/simulated.sock".parse().unwrap(),
    ))
}
