//! What a seed does to the world.

use std::{net::SocketAddr, time::Duration};

use lb_core::{Endpoint, EndpointState, Name, PathMatch, Record, RecordKey, Route, Weight};
use lb_haproxy::simulator::{ConnectionId, Faults, Simulator};

use crate::{
    clock,
    play::Play,
    scene::{ROUTES, SHARED_HOST},
    seed::Kind,
    source::{Mode, Store},
    world::{Host, Trigger},
};

/// Services, their routes and their first endpoints.
pub(crate) fn begin(play: &mut Play) {
    for service in 0..play.scene.services.len() {
        declare(play, service, true);
        for _ in 0..play.random.below(4) {
            start(play, service, true);
        }
    }
    // Some of it is in HAProxy's past rather than in lb's: nothing is yet.
    play.stores.iter().for_each(|store| store.set_late(20));
}

/// One thing, or none.
pub(crate) async fn act(play: &mut Play) {
    let options = play.world.lock().options.clone();
    let services = play.scene.services.len() as u64;
    let service = play.random.below(services) as usize;
    let dice = play.random.below(1000);
    // The same choices are made whether the kind is left out or not.
    let kind = match dice {
        0..330 => Kind::Churn,
        330..390 => Kind::Crashes,
        390..430 => Kind::Checks,
        430..480 => Kind::Weights,
        480..590 => Kind::Reuse,
        590..630 => Kind::Routes,
        630..690 => Kind::Wire,
        690..730 => Kind::KillLb,
        730..770 => Kind::Reload,
        770..790 => Kind::Restart,
        790..840 => Kind::Foreign,
        840..900 => Kind::Sources,
        900..910 => Kind::Jumps,
        _ => return,
    };
    let mut fork = lb_haproxy::simulator::Random::new(play.random.next());
    std::mem::swap(&mut fork, &mut play.random);
    if options.has(kind) {
        let now = clock::elapsed();
        play.world
            .lock()
            .note(now, format_args!("act {kind:?} on s{service}"));
        play.world.lock().counts.changes += 1;
        match kind {
            Kind::Churn => churn(play, service),
            Kind::Crashes => crash(play, service),
            Kind::Checks => toggle_health(play),
            Kind::Weights => reweigh(play, service),
            Kind::Reuse => hand_over(play, service),
            Kind::Routes => {
                let present = play.random.chance(700);
                declare(play, service, present);
            }
            Kind::Wire => set_faults(play),
            Kind::KillLb => kill(play).await,
            Kind::Reload => reload(play, Trigger::Reload),
            Kind::Restart => restart(play).await,
            Kind::Foreign => meddle(play),
            Kind::Sources => disturb(play),
            Kind::Jumps => jump(play).await,
            _ => {}
        }
    }
    std::mem::swap(&mut fork, &mut play.random);
}

/// A round of requests.
pub(crate) fn traffic(play: &Play) {
    let (network, world) = (play.network.clone(), play.world.clone());
    network.with(|simulator| {
        let mut world = world.lock();
        let now = clock::elapsed();
        for service in 0..world.scene.services.len() {
            if world.random.chance(600) {
                world.request(simulator, now, service);
            }
        }
    });
}

// === endpoints

fn key(play: &Play, service: usize, address: SocketAddr) -> RecordKey {
    let id = format!("e{}", address.ip().to_string().rsplit('.').next().unwrap());
    RecordKey::new(
        play.scene.services[service].name.clone(),
        id.parse().unwrap(),
    )
}

/// The source that tells of a key: always the same, so that two never disagree.
fn store_of(play: &Play, service: usize, address: SocketAddr) -> &Store {
    let octet = match address {
        SocketAddr::V4(v4) => usize::from(v4.ip().octets()[3]),
        SocketAddr::V6(_) => 0,
    };
    &play.stores[(service + octet) % play.stores.len()]
}

fn set(play: &Play, service: usize, address: SocketAddr, endpoint: Option<Endpoint>) {
    let key = key(play, service, address);
    let record = endpoint.map(|endpoint| Record::new(key.clone(), endpoint));
    let now = clock::elapsed();
    play.world.lock().note(
        now,
        format_args!(
            "truth: {key} {:?}",
            record.as_ref().map(|known| &known.endpoint)
        ),
    );
    store_of(play, service, address).set([(key, record)]);
}

fn endpoint(play: &Play, service: usize, address: SocketAddr) -> Option<Endpoint> {
    store_of(play, service, address)
        .get(&key(play, service, address))
        .and_then(|record| record.endpoint)
}

/// The addresses of a service in the truth.
fn addresses(play: &Play, service: usize) -> Vec<SocketAddr> {
    play.scene
        .pool
        .iter()
        .copied()
        .filter(|address| endpoint(play, service, *address).is_some())
        .collect()
}

fn host(play: &Play, address: SocketAddr, host: Option<Host>) {
    let (network, world) = (play.network.clone(), play.world.clone());
    network.with(|simulator| world.lock().set_host(simulator, address, host));
}

fn weight(play: &mut Play) -> Weight {
    let number = match play.random.below(8) {
        0 | 1 => 0,
        2 => 256,
        3 => 1,
        _ => 1 + play.random.below(200) as u16,
    };
    Weight::new(number).unwrap()
}

/// A process begins, at an address that nobody has.
fn start(play: &mut Play, service: usize, ready: bool) {
    let free: Vec<SocketAddr> = {
        let world = play.world.lock();
        let services = 0..play.scene.services.len();
        let mut free = play.scene.pool.clone();
        free.retain(|address| !world.hosts.contains_key(address));
        drop(world);
        free.retain(|address| {
            services
                .clone()
                .all(|other| endpoint(play, other, *address).is_none())
        });
        free
    };
    let Some(address) = play.random.pick(&free).copied() else {
        return;
    };
    let healthy = play.random.chance(900);
    host(
        play,
        address,
        Some(Host {
            service,
            healthy,
            leaves: None,
        }),
    );
    let mut fresh = Endpoint::new(address);
    if play.random.chance(300) {
        fresh = fresh.with_weight(weight(play));
    }
    if !ready && play.random.chance(300) {
        fresh = fresh.with_state(EndpointState::Pending);
    }
    set(play, service, address, Some(fresh));
}

fn churn(play: &mut Play, service: usize) {
    let all = addresses(play, service);
    let Some(address) = play
        .random
        .pick(&all)
        .copied()
        .filter(|_| play.random.chance(600))
    else {
        return start(play, service, false);
    };
    let Some(known) = endpoint(play, service, address) else {
        return;
    };
    match known.state {
        EndpointState::Pending | EndpointState::Down => {
            let healthy = play.random.chance(900);
            host(
                play,
                address,
                Some(Host {
                    service,
                    healthy,
                    leaves: None,
                }),
            );
            set(
                play,
                service,
                address,
                Some(known.with_state(EndpointState::Ready)),
            );
        }
        EndpointState::Ready if play.random.chance(400) => {
            let grace = play
                .random
                .chance(500)
                .then(|| Duration::from_millis(500 + play.random.below(2500)));
            set(
                play,
                service,
                address,
                Some(known.with_state(EndpointState::Draining { grace })),
            );
        }
        EndpointState::Draining { .. } if play.random.chance(300) => {
            set(
                play,
                service,
                address,
                Some(known.with_state(EndpointState::Ready)),
            );
        }
        _ => {
            // It is gone from its source; its process stays for the requests it has.
            set(play, service, address, None);
            linger(play, address);
        }
    }
}

fn linger(play: &mut Play, address: SocketAddr) {
    let time = Duration::from_millis(play.random.below(6000));
    let known = play.world.lock().hosts.get(&address).copied();
    if let Some(known) = known {
        let leaves = Some(clock::elapsed() + time);
        host(play, address, Some(Host { leaves, ..known }));
    }
}

fn crash(play: &mut Play, service: usize) {
    let all = addresses(play, service);
    let Some(address) = play.random.pick(&all).copied() else {
        return;
    };
    host(play, address, None);
    match (play.random.chance(600), endpoint(play, service, address)) {
        (true, Some(known)) => {
            set(
                play,
                service,
                address,
                Some(known.with_state(EndpointState::Down)),
            );
        }
        _ => set(play, service, address, None),
    }
}

fn toggle_health(play: &mut Play) {
    let pool = play.scene.pool.clone();
    let Some(address) = play.random.pick(&pool).copied() else {
        return;
    };
    let known = play.world.lock().hosts.get(&address).copied();
    if let Some(known) = known {
        let healthy = !known.healthy;
        host(play, address, Some(Host { healthy, ..known }));
    }
}

fn reweigh(play: &mut Play, service: usize) {
    let all = addresses(play, service);
    let Some(address) = play.random.pick(&all).copied() else {
        return;
    };
    let weight = weight(play);
    if let Some(known) = endpoint(play, service, address) {
        set(play, service, address, Some(known.with_weight(weight)));
    }
}

/// An address leaves one service for another at once.
fn hand_over(play: &mut Play, from: usize) {
    let to = (from + 1 + play.random.below(play.scene.services.len() as u64 - 1) as usize)
        % play.scene.services.len();
    let all = addresses(play, from);
    let Some(address) = play.random.pick(&all).copied() else {
        return;
    };
    // Rarely both have it.
    if play.random.chance(900) {
        set(play, from, address, None);
    }
    let healthy = play.random.chance(950);
    host(
        play,
        address,
        Some(Host {
            service: to,
            healthy,
            leaves: None,
        }),
    );
    set(play, to, address, Some(Endpoint::new(address)));
}

/// A service says which routes it wants, with its own or also the one that all want.
fn declare(play: &mut Play, service: usize, present: bool) {
    let known = &play.scene.services[service];
    let name: Name = known.name.clone();
    let key = RecordKey::new(name.clone(), "routes".parse().unwrap());
    let mut routes = Vec::new();
    let path: PathMatch = "/".parse().unwrap();
    if present {
        routes.push(Route::new(
            known.host.parse().unwrap(),
            path.clone(),
            name.clone(),
        ));
    }
    if play.random.chance(200) {
        routes.push(Route::new(SHARED_HOST.parse().unwrap(), path, name));
    }
    let record = Record::declare(key.clone()).with_routes(routes);
    play.stores[0].set([(key, Some(record))]);
}

// === what goes wrong

fn set_faults(play: &mut Play) {
    let faults = match play.random.below(3) {
        0 => Faults::default(),
        1 => Faults {
            refuse: play.random.below(100),
            cut_write: play.random.below(60),
            cut_reply: play.random.below(60),
            hang: play.random.below(20),
            delay: play.random.below(200),
            garbage: play.random.below(10),
        },
        _ => Faults {
            refuse: play.random.below(400),
            cut_write: play.random.below(250),
            cut_reply: play.random.below(250),
            hang: play.random.below(60),
            delay: play.random.below(300),
            garbage: play.random.below(20),
        },
    };
    play.network.set_faults(faults);
}

async fn kill(play: &mut Play) {
    if play.random.chance(600) {
        let lines = play.random.below(12);
        play.world.lock().armed = Some((lines, Trigger::Kill));
        return;
    }
    play.world.lock().counts.kills += 1;
    play.die().await;
    let down = match play.random.chance(500) {
        true => 0,
        false => play.random.below(4000),
    };
    traffic(play);
    tokio::time::sleep(Duration::from_millis(down)).await;
    play.live();
}

fn reload(play: &mut Play, trigger: Trigger) {
    if play.random.chance(500) {
        let lines = play.random.below(12);
        play.world.lock().armed = Some((lines, trigger));
        return;
    }
    let (network, world) = (play.network.clone(), play.world.clone());
    network.with(|simulator| {
        world
            .lock()
            .reload(simulator, clock::elapsed(), trigger == Trigger::Reload)
    });
    if trigger == Trigger::Restart || play.random.chance(500) {
        network.replace_socket();
    }
}

/// HAProxy is gone for a while, or ends and begins in the middle of something.
async fn restart(play: &mut Play) {
    if play.random.chance(400) {
        return reload(play, Trigger::Restart);
    }
    let (network, world) = (play.network.clone(), play.world.clone());
    let state = network.with(|simulator| {
        let mut world = world.lock();
        world.note(clock::elapsed(), format_args!("HAProxy ends"));
        world.counts.restarts += 1;
        let state = world
            .scene
            .restores
            .then(|| simulator.state_file())
            .flatten();
        world.keep_maps(simulator);
        simulator.stop();
        world.look(simulator, clock::elapsed(), false);
        state
    });
    tokio::time::sleep(Duration::from_millis(play.random.below(2000))).await;
    network.with(|simulator| {
        let mut world = world.lock();
        world.note(clock::elapsed(), format_args!("HAProxy begins"));
        simulator.restart(state.as_deref());
        world.look(simulator, clock::elapsed(), false);
    });
    network.replace_socket();
}

/// Somebody else changes something in HAProxy.
fn meddle(play: &mut Play) {
    let line = {
        let world = play.world.lock();
        let sights = world.sights.clone();
        drop(world);
        let Some(sight) = play.random.pick(&sights).cloned() else {
            return;
        };
        let title = format!("{}/{}", play.scene.backends[sight.place], sight.name);
        let pool = play.scene.pool.clone();
        let address = play.random.pick(&pool).copied().unwrap();
        match play.random.below(10) {
            0 | 1 => format!("set server {title} state maint"),
            2 => format!("set server {title} state drain"),
            3 => format!("set server {title} state ready"),
            4 => format!("set server {title} weight {}", play.random.below(257)),
            5 => format!(
                "set server {title} health {}",
                play.random.pick(&["up", "down"]).unwrap()
            ),
            6 => format!(
                "set server {title} addr {} port {}",
                address.ip(),
                address.port()
            ),
            7 => format!("disable health {title}"),
            8 => format!("del map {ROUTES} s0.example/"),
            _ => {
                let spare = play.random.pick(&["s0", "s1", "nobody"]).unwrap();
                let key = play
                    .random
                    .pick(&["s0.example/", "s1.example/", "x.example/"])
                    .unwrap();
                format!("add map {ROUTES} {key} {spare}")
            }
        }
    };
    let (network, world) = (play.network.clone(), play.world.clone());
    network.with(|simulator| {
        let mut world = world.lock();
        let now = clock::elapsed();
        world.look(simulator, now, false);
        world.note(now, format_args!("somebody says {line}"));
        world.counts.edits += 1;
        let Some(id) = simulator.connect() else {
            return;
        };
        say(simulator, id, &line);
        if line.contains(" map ") {
            world.meddled = Some(now);
        }
        if line.contains(" addr ") {
            let worker = world.worker;
            let was = world
                .sights
                .iter()
                .find(|sight| line.contains(&world.title(sight)));
            let was = was.and_then(|sight| Some((worker, sight.place, sight.address?)));
            world.taken.extend(was);
        }
        if line.contains(" addr ") || line.contains("health ") {
            taint(&mut world, &line);
        }
        world.rebase(simulator, now);
    });
}

fn taint(world: &mut crate::world::World, line: &str) {
    let title = line
        .split(' ')
        .find(|word| word.contains('/'))
        .unwrap_or_default()
        .to_owned();
    let backends = world.scene.backends.clone();
    for sight in &mut world.sights {
        if format!("{}/{}", backends[sight.place], sight.name) == title {
            sight.tainted = true;
            sight.known = false;
            sight.tainted_until = clock::elapsed() + Duration::from_millis(700);
        }
    }
}

fn say(simulator: &mut Simulator, id: ConnectionId, line: &str) {
    simulator.send(id, format!("{line}\n").as_bytes());
    simulator.disconnect(id);
}

fn disturb(play: &mut Play) {
    let at = play.random.below(play.stores.len() as u64) as usize;
    let store = play.stores[at].clone();
    match play.random.below(6) {
        0 | 1 => store.set_mode(Mode::Down),
        2 => store.set_mode(Mode::Hung),
        3 => store.renew(),
        4 => store.set_late(play.random.below(1500)),
        _ => store.set_mode(Mode::Up),
    }
    if play.random.chance(300) {
        play.stores
            .iter()
            .for_each(|store| store.set_mode(Mode::Up));
    }
}

/// Nothing runs for a while, and everything that was due comes at once.
async fn jump(play: &mut Play) {
    if play.stores.iter().any(Store::is_lying) {
        return;
    }
    let time = Duration::from_millis(play.random.below(6000));
    tokio::time::advance(time).await;
    // Whatever came before has not been seen by anybody.
    play.world.lock().worker_since = clock::elapsed();
}
