//! The end of a seed: nothing goes wrong any more, and everything becomes as desired.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use lb_core::{Condition, ConditionKind, Endpoint, EndpointState, UnmetReason, Weight};
use lb_haproxy::{observed::is_parked, proto::AdminState, simulator::Faults};
use tokio::time::sleep;

use crate::{
    clock, owner,
    play::Play,
    routes::lookup,
    scene::RESYNC,
    world::{Shared, Sight, World},
};

/// The time it may take with nothing going wrong.
const PATIENCE: Duration = Duration::from_secs(240);

pub(crate) async fn end(play: &mut Play) -> Result<(), String> {
    play.network.set_faults(Faults::default());
    play.world.lock().armed = None;
    play.stores.iter().for_each(|store| store.be_good());
    if let Some(tenant) = &play.tenant {
        tenant.store.be_good();
    }
    if play.life.is_none() || !play.world.lock().lb_lives {
        play.die().await;
        play.live();
    }
    let now = clock::elapsed();
    play.world.lock().note(now, format_args!("all faults end"));
    play.network
        .with(|simulator| simulator.set_address_delay(Duration::from_millis(1)));
    if play.world.lock().counts.edits > 0 {
        // What somebody else changed is noticed when everything is read again.
        idle(play, RESYNC + Duration::from_secs(2)).await?;
    }
    loop {
        settle(play).await?;
        // A slot in doubt takes an endpoint that is not to serve yet only when the doubt is over.
        idle(play, Duration::from_secs(2)).await?;
        settle(play).await?;
        play.evidence()?;

        // I3: one more pass writes nothing.
        let before = play.network.changes();
        let handle = play.life.as_ref().unwrap().running.handle();
        let generation = handle.status().generation;
        let done = handle.reconcile_now(Duration::from_secs(20)).await;
        if !done.as_ref().is_ok_and(|done| done.is_verified()) {
            return Err(format!("I3: an idle pass ends with {done:?}"));
        }
        idle(play, Duration::from_secs(11)).await?;
        let handle = play.life.as_ref().unwrap().running.handle();
        if handle.status().generation != generation {
            // A source told late what it had to tell.
            continue;
        }
        let written = play.network.changes() - before;
        if written == 0 {
            break;
        }
        return Err(format!(
            "I3: {written} changes were written although all was in effect"
        ));
    }
    cost(play).await?;
    if play.random.chance(120) {
        same_slots(play).await?;
    }
    if play.scene.fight {
        owner::fight(play).await?;
    }
    Ok(())
}

pub(crate) async fn idle(play: &mut Play, time: Duration) -> Result<(), String> {
    let end = clock::elapsed() + time;
    while clock::elapsed() < end {
        sleep(Duration::from_millis(500)).await;
        let (network, world) = (play.network.clone(), play.world.clone());
        network.with(|simulator| world.lock().pass_time(simulator, clock::elapsed()));
        crate::acts::traffic(play);
        play.listen()?;
        if let Some(violation) = play.world.lock().violation.clone() {
            return Err(violation);
        }
    }
    Ok(())
}

/// I3: within a bounded time all is as desired, or said not to be.
pub(crate) async fn settle(play: &mut Play) -> Result<(), String> {
    let end = clock::elapsed() + PATIENCE;
    loop {
        idle(play, Duration::from_millis(500)).await?;
        let wrong = wrong(play);
        let Some(wrong) = wrong else {
            return Ok(());
        };
        if clock::elapsed() >= end {
            return Err(format!("I3: {PATIENCE:?} after the last fault {wrong}"));
        }
    }
}

/// The fault, if something is not as it should be.
fn wrong(play: &Play) -> Option<String> {
    let handle = play.life.as_ref()?.running.handle();
    let status = handle.status();
    let target = status.targets.first()?;
    if !status.published || status.partial {
        return Some("a source is not heard".to_owned());
    }
    if !status.holds.is_empty() || target.verified != Some(status.generation) {
        return Some(format!(
            "{:?} is verified, {} desired",
            target.verified, status.generation
        ));
    }
    if let Some(error) = &target.last_error {
        return Some(format!("the last pass failed: {error}"));
    }
    let (network, world) = (play.network.clone(), play.world.clone());
    network.with(|simulator| {
        let world: &Shared = &world;
        let mut world = world.lock();
        let now = clock::elapsed();
        world.look(simulator, now, false);
        wrong_in(&world, simulator, &target.unmet, &status.conditions)
    })
}

fn wrong_in(
    world: &World,
    simulator: &lb_haproxy::simulator::Simulator,
    unmet: &[lb_core::Unmet],
    conditions: &[Condition],
) -> Option<String> {
    let scene = world.scene.clone();
    // What somebody pointed at an endpoint while its agent was on looks as if its agent had taken it out.
    let is_told_held = |sight: &Sight| {
        let title = format!("{}/{}", scene.backends[sight.place], sight.name);
        let told = |condition: &&Condition| {
            condition.kind == ConditionKind::AgentHold && condition.object.as_ref() == Some(&title)
        };
        sight.tainted && conditions.iter().any(|condition| told(&condition))
    };
    let allowed = [UnmetReason::NoCapacity, UnmetReason::NoSuchService];
    let poison = |unmet: &&lb_core::Unmet| {
        unmet.reason == UnmetReason::Unsupported
            && unmet
                .endpoint
                .as_ref()
                .is_some_and(|id| id.as_str() == "poison")
    };
    let second =
        |unmet: &&lb_core::Unmet| unmet.reason == UnmetReason::Exclusive && !unmet.transient;
    if let Some(unmet) = unmet
        .iter()
        .filter(|unmet| scene.service(&unmet.service).is_some())
        .filter(|unmet| !second(unmet) && !poison(unmet))
        .find(|unmet| !allowed.contains(&unmet.reason))
    {
        return Some(format!("{unmet:?} is unmet"));
    }
    let mut homes: BTreeMap<usize, usize> = BTreeMap::new();
    for place in 0..scene.backends.len() {
        if let Some(service) = world.service_of(simulator, place) {
            homes.insert(service, place);
        }
    }
    for (at, service) in scene.services.iter().enumerate() {
        let mut wanted = truth(world, at);
        if service.is_exclusive()
            && let Some(place) = homes.get(&at).copied()
        {
            let told = unmet
                .iter()
                .filter(second)
                .filter(|unmet| unmet.service == service.name);
            if let Some(wrong) = only_one(world, place, &mut wanted, told.count()) {
                return Some(wrong);
            }
        }
        let Some(place) = homes.get(&at).copied() else {
            let told = unmet.iter().any(|unmet| unmet.service == service.name);
            if !wanted.is_empty() && !told {
                return Some(format!(
                    "{} has no backend, and nobody says so",
                    service.name
                ));
            }
            continue;
        };
        let sights: Vec<_> = world
            .sights
            .iter()
            .filter(|sight| sight.place == place && !sight.is_fixed())
            .collect();
        let missing: Vec<SocketAddr> = wanted
            .iter()
            .filter(|(_, endpoint)| endpoint.state.is_ready())
            .filter(|(address, endpoint)| {
                !sights.iter().any(|sight| {
                    sight.address == Some(**address)
                        && (sight.admin == AdminState::Ready
                            || sight.is_held()
                            || is_told_held(sight))
                        && (sight.weight == endpoint.weight.get() || scene.agents)
                })
            })
            .map(|(address, _)| *address)
            .collect();
        let lacking = unmet
            .iter()
            .filter(|unmet| {
                unmet.service == service.name && unmet.reason == UnmetReason::NoCapacity
            })
            .count();
        if missing.len() != lacking {
            return Some(format!(
                "{} lacks {missing:?}, {lacking} of them told",
                service.name
            ));
        }
        if lacking > 0
            && sights.iter().any(|sight| {
                sight.admin == AdminState::Maint && sight.address.is_some_and(is_parked)
            })
        {
            return Some(format!(
                "{} has a free slot and lacks {missing:?}",
                service.name
            ));
        }
        let keeps = |sight: &&&Sight| {
            let is_ready = |at| {
                wanted
                    .get(&at)
                    .is_some_and(|endpoint: &Endpoint| endpoint.state.is_ready())
            };
            sight.admin == AdminState::Maint && !sight.address.is_some_and(is_ready)
        };
        if lacking > 0
            && let Some(sight) = sights.iter().find(keeps)
        {
            return Some(format!(
                "{} lacks {missing:?}, and {sight:?} is not to serve",
                service.name
            ));
        }
        for sight in &sights {
            let address = sight.address?;
            let holders = sights.iter().filter(|other| other.address == sight.address);
            if !is_parked(address) && holders.count() > 1 {
                return Some(format!("{} has {address} twice", service.name));
            }
            let state = wanted.get(&address).map(|endpoint| endpoint.state);
            let right = match state {
                Some(EndpointState::Ready) => {
                    let host = world.hosts.get(&address);
                    let well = host.is_some_and(|host| host.healthy);
                    let up = !sight.checked || well;
                    let running = sight.weight == 0 || sight.serves == up;
                    let has_agent = scene.agents && sight.name.starts_with("slot");
                    let unheard = world.words.contains_key(&address) && sight.agent.is_none();
                    let ready = sight.admin == AdminState::Ready && running;
                    let held = sight.is_held() || is_told_held(sight);
                    (ready || held) && !(has_agent && unheard)
                }
                Some(_) => sight.admin == AdminState::Maint,
                None => sight.admin == AdminState::Maint && is_parked(address),
            };
            if !right {
                return Some(format!(
                    "{}/{} is {sight:?}, desired {state:?}",
                    service.name, sight.name
                ));
            }
        }
        let routed = world.stores.first().and_then(|store| {
            let key = lb_core::RecordKey::new(service.name.clone(), "routes".parse().ok()?);
            let record = store.get(&key)?;
            Some(
                record
                    .routes
                    .iter()
                    .any(|route| String::from(route.host.clone()) == service.host),
            )
        });
        let led = lookup(simulator, &service.host, "/");
        let left = routed == Some(false) && world.is_left_to_tenant(simulator, &service.host);
        let expected = routed
            .unwrap_or_default()
            .then(|| scene.backends[place].as_str());
        if led != expected && !left {
            return Some(format!(
                "{} is led to {led:?}, expected {expected:?}",
                service.host
            ));
        }
    }
    for sight in &world.sights {
        let free = sight.admin == AdminState::Maint && sight.address.is_some_and(is_parked);
        let homeless = !homes.values().any(|place| *place == sight.place)
            && scene.others != Some(sight.place)
            && !world.is_in_use_by_tenant(simulator, sight.place);
        if homeless && !free && !sight.is_fixed() {
            return Some(format!(
                "{}/{} belongs to nobody and is {sight:?}",
                scene.backends[sight.place], sight.name
            ));
        }
    }
    None
}

/// Of an exclusive service's ready endpoints one serves, and the others are told of: leaves them only pending.
fn only_one(
    world: &World,
    place: usize,
    wanted: &mut BTreeMap<SocketAddr, Endpoint>,
    told: usize,
) -> Option<String> {
    let ready = |endpoint: &&mut Endpoint| endpoint.state.is_ready();
    let asks = wanted.values().filter(|endpoint| endpoint.state.is_ready());
    let asks = asks.filter(|endpoint| endpoint.weight.get() > 0).count();
    let open = world.sights.iter().filter(|sight| {
        sight.place == place && sight.admin != AdminState::Maint && !sight.is_fixed()
    });
    let holder: Vec<SocketAddr> = open.filter_map(|sight| sight.address).collect();
    if holder.len() > 1 {
        return Some(format!("exclusive place {place} has {holder:?}"));
    }
    if told != asks.saturating_sub(1) {
        return Some(format!(
            "{asks} endpoints are ready, {told} are said not to serve"
        ));
    }
    let Some(holder) = holder.first() else {
        // The one that may serve has no slot. One of weight 0 asks for nothing, where another may get traffic.
        let mut others: Vec<&mut Endpoint> = wanted.values_mut().filter(ready).collect();
        others.sort_by_key(|endpoint| endpoint.weight.get() == 0);
        let others = others.into_iter().skip(1);
        others.for_each(|endpoint| endpoint.state = EndpointState::Pending);
        return None;
    };
    for endpoint in wanted.values_mut().filter(ready) {
        if endpoint.address != *holder {
            endpoint.state = EndpointState::Pending;
        }
    }
    None
}

/// The endpoints of a service, by address, in all sources.
fn truth(world: &World, service: usize) -> BTreeMap<SocketAddr, Endpoint> {
    let name = &world.scene.services[service].name;
    world
        .stores
        .iter()
        .flat_map(|store| store.records())
        .filter(|record| record.key.service == *name)
        .filter(|record| record.key.id.as_str() != "poison")
        .filter_map(|record| record.endpoint)
        .map(|endpoint| (endpoint.address, endpoint))
        .collect()
}

/// I4: one change costs one command.
async fn cost(play: &mut Play) -> Result<(), String> {
    // Of an exclusive service a weight may make another one serve.
    let counts = |record: &lb_core::Record| {
        let endpoint = record.endpoint.as_ref();
        endpoint.is_some_and(|endpoint| endpoint.state.is_ready())
            && record.options.exclusive.is_none()
            && record.key.id.as_str() != "poison"
    };
    let has_one = |store: &&crate::source::Store| store.records().iter().any(counts);
    let store = play.stores.iter().find(has_one);
    let Some(store) = store.cloned() else {
        return Ok(());
    };
    let record = store.records().into_iter().find(counts);
    let Some(mut record) = record else {
        return Ok(());
    };
    let other = match record.endpoint.as_ref().unwrap().weight.get() {
        77 => 78,
        _ => 77,
    };
    let weight = Weight::new(other).unwrap();
    record.endpoint = record.endpoint.map(|endpoint| endpoint.with_weight(weight));
    let generation = |play: &Play| {
        play.life
            .as_ref()
            .unwrap()
            .running
            .handle()
            .status()
            .generation
    };
    let (before, told) = (play.network.changes(), generation(play));
    store.set([(record.key.clone(), Some(record))]);
    settle(play).await?;
    let written = play.network.changes() - before;
    // With more than the one change, a source told late what it had to tell.
    if written > 1 && generation(play) <= told + 1 {
        return Err(format!(
            "I4: one change of a weight took {written} commands"
        ));
    }
    Ok(())
}

/// I5: the same endpoints get the same slots in every HAProxy that begins with none.
async fn same_slots(play: &mut Play) -> Result<(), String> {
    let mut seen: Vec<Vec<Option<SocketAddr>>> = Vec::new();
    for round in 0..2 {
        if round > 0 {
            // Another life has other seeds and no memory.
            play.die().await;
        }
        let (network, world) = (play.network.clone(), play.world.clone());
        network.with(|simulator| {
            let mut world = world.lock();
            for map in &mut simulator.config_mut().maps {
                map.entries.clear();
            }
            simulator.restart(None);
            world.look(simulator, clock::elapsed(), false);
        });
        network.replace_socket();
        if round > 0 {
            play.live();
        }
        settle(play).await?;
        seen.push(
            play.world
                .lock()
                .sights
                .iter()
                .filter(|sight| !play.scene.tenant || play.scene.owners[sight.place].is_some())
                .map(|sight| sight.address)
                .collect(),
        );
    }
    match seen.as_slice() {
        [one, other] if one != other => Err(format!(
            "I5: slots {one:?} the first time, {other:?} the second"
        )),
        _ => Ok(()),
    }
}
