//! What a seed does to the world.

use std::{net::SocketAddr, time::Duration};

use lb_core::{Endpoint, EndpointState, Name, PathMatch, Record, RecordKey, Route, Weight};
use lb_haproxy::simulator::AgentWord;

use crate::{
    clock, owner,
    play::Play,
    scene::SHARED_HOST,
    seed::Kind,
    source::Store,
    tenant, troubles,
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
    for (service, address) in play.scene.clone().poisoned.iter().copied() {
        let name = play.scene.services[service].name.clone();
        let key = RecordKey::new(name, "poison".parse().unwrap());
        let record = Record::new(key.clone(), Endpoint::new(address))
            .with_options(play.scene.services[service].options);
        play.stores[0].set([(key, Some(record))]);
    }
    if play.tenant.is_some() {
        for _ in 0..play.strangers.below(6) {
            tenant::act(play);
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
    if play.scene.services[service].is_exclusive() && play.swaps.chance(400) {
        swap(play, service);
    }
    if play.scene.agents && play.oddities.chance(250) {
        speak(play);
    }
    if play.scene.check_edits && play.oddities.chance(60) {
        troubles::meddle_with_check(play);
    }
    if play.tenant.is_some() && play.strangers.chance(350) {
        tenant::act(play);
    }
    if play.scene.others.is_some() && play.strangers.chance(150) {
        owner::act(play);
    }
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
            Kind::Wire => troubles::set_faults(play),
            Kind::KillLb => troubles::kill(play).await,
            Kind::Reload => troubles::reload(play, Trigger::Reload),
            Kind::Restart => troubles::restart(play).await,
            Kind::Foreign => troubles::meddle(play),
            Kind::Sources => troubles::disturb(play),
            Kind::Jumps => troubles::jump(play).await,
            _ => {}
        }
    }
    std::mem::swap(&mut fork, &mut play.random);
}

/// An agent says something else, or nothing any more.
fn speak(play: &mut Play) {
    let pool = play.scene.pool.clone();
    let Some(address) = play.oddities.pick(&pool).copied() else {
        return;
    };
    let word = match play.oddities.below(6) {
        0 => Some(AgentWord::Drain),
        1 => Some(AgentWord::Maint),
        2 => Some(AgentWord::Ready(50)),
        3 => None,
        _ => Some(AgentWord::Ready(100)),
    };
    let (network, world) = (play.network.clone(), play.world.clone());
    network.with(|simulator| {
        let now = clock::elapsed();
        let mut world = world.lock();
        world.note(now, format_args!("the agent at {address} says {word:?}"));
        match word {
            Some(word) => world.words.insert(address, word),
            None => world.words.remove(&address),
        };
        simulator.set_agent(address, word);
    });
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
    let options = play.scene.services[service].options;
    let record = endpoint.map(|endpoint| Record::new(key.clone(), endpoint).with_options(options));
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

/// The primary of an exclusive service changes, written in one of the ways in which programs do.
fn swap(play: &mut Play, service: usize) {
    let all = addresses(play, service);
    let ready = |address: &&SocketAddr| {
        endpoint(play, service, **address).is_some_and(|known| known.state.is_ready())
    };
    let Some(old) = all.iter().find(ready).copied() else {
        return start(play, service, true);
    };
    let standby = all.iter().copied().find(|address| *address != old);
    let way = play.swaps.below(6);
    let known = endpoint(play, service, old);
    let new = |play: &mut Play| match standby.and_then(|at| endpoint(play, service, at)) {
        Some(known) => {
            let ready = known.with_state(EndpointState::Ready);
            let at = ready.address;
            let at_work = Host {
                service,
                healthy: true,
                leaves: None,
            };
            host(play, at, Some(at_work));
            set(
                play,
                service,
                at,
                Some(ready.with_weight(Weight::default())),
            );
        }
        None => start(play, service, true),
    };
    let Some(known) = known else { return };
    match way {
        0 => {
            let grace = Some(Duration::ZERO);
            let leaves = known.with_state(EndpointState::Draining { grace });
            set(play, service, old, Some(leaves));
            new(play);
        }
        1 => {
            new(play);
            let leaves = known.with_state(EndpointState::Draining { grace: None });
            set(play, service, old, Some(leaves));
        }
        2 => {
            set(play, service, old, None);
            linger(play, old);
            new(play);
        }
        3 => {
            set(
                play,
                service,
                old,
                Some(known.with_state(EndpointState::Down)),
            );
            new(play);
        }
        4 => {
            let none = Weight::new(0).unwrap();
            set(play, service, old, Some(known.with_weight(none)));
            new(play);
        }
        _ => {
            set(
                play,
                service,
                old,
                Some(known.with_state(EndpointState::Pending)),
            );
            new(play);
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
    if !present {
        let mut world = play.world.lock();
        world.ceded[service] = true;
        world.rightly_led[service] = false;
    }
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
    let record = Record::declare(key.clone())
        .with_options(known.options)
        .with_routes(routes);
    play.stores[0].set([(key, Some(record))]);
}
