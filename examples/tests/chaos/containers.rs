//! The containers of an engine as endpoints: run, stopped, killed, paused.

use std::{net::SocketAddr, sync::Arc};

use lb_core::{EndpointState, RecordKey};
use tokio::task::JoinSet;

use crate::{source::Source, world::World};

/// A step at one address: the container there is stopped, the next one of a service is run, or both.
struct Step {
    address: SocketAddr,
    stops: Option<String>,
    runs: Option<(String, String)>,
}

/// The containers that there are when the users begin: one of each service stays.
pub(crate) async fn fill(world: &mut World) {
    for owner in 0..2 {
        let address = world.pool.remove(0);
        world.anchors.push(address);
        let steps = vec![step(world, address, None, Some(owner))];
        world.owners.remove(&address);
        perform(world, steps).await;
        if owner == 0
            && let Source::Docker(containers) = &mut world.source
        {
            containers.mistake(address, world.services[1].as_str());
        }
    }
    for _ in 0..2 {
        changes(world, 3).await;
    }
}

/// Changes at so many addresses at once.
pub(crate) async fn changes(world: &mut World, count: usize) {
    let mut steps = Vec::new();
    let mut pool = world.pool.clone();
    for _ in 0..count {
        let at = world.random.below(pool.len());
        let address = pool.remove(at);
        let Source::Docker(containers) = &world.source else {
            return;
        };
        let may_stop = containers.open;
        let may_run = containers.recycles || !containers.left.contains(&address);
        let moves = containers.recycles && world.random.below(2) == 0;
        let made = match world.owners.get(&address).copied() {
            Some((_, EndpointState::Ready)) if !may_stop => continue,
            Some((owner, EndpointState::Ready)) => {
                step(world, address, Some(owner), moves.then_some(1 - owner))
            }
            None if may_run => {
                let owner = world.random.below(2);
                step(world, address, None, Some(owner))
            }
            // It is paused, or was left a moment ago.
            Some(_) | None => continue,
        };
        steps.push(made);
    }
    perform(world, steps).await;
}

fn step(world: &mut World, address: SocketAddr, from: Option<usize>, to: Option<usize>) -> Step {
    let Source::Docker(containers) = &mut world.source else {
        panic!("the endpoints are no containers");
    };
    let stops = from.and_then(|_| containers.names.remove(&address));
    if stops.is_some() {
        containers.left.insert(address);
        world.owners.remove(&address);
    }
    let runs = to.map(|owner| {
        let name = containers.host.name();
        containers.names.insert(address, name.clone());
        world.owners.insert(address, (owner, EndpointState::Ready));
        (name, world.services.get(owner).unwrap().to_string())
    });
    Step {
        address,
        stops,
        runs,
    }
}

/// Tells the oracle first, then the engine.
async fn perform(world: &World, steps: Vec<Step>) {
    let desired = world.bed.desired.endpoints();
    let leaves = |step: &Step| {
        let address = step.address;
        let keys = desired
            .iter()
            .filter(move |(_, endpoint)| endpoint.address == address);
        keys.map(|(key, _)| key.clone()).collect::<Vec<RecordKey>>()
    };
    let remove = steps
        .iter()
        .filter(|step| step.stops.is_some())
        .flat_map(leaves)
        .collect();
    let comes = steps.iter().filter(|step| step.runs.is_some());
    let set = comes
        .filter_map(|step| {
            let service = &step.runs.as_ref()?.1;
            let owner = world
                .services
                .iter()
                .position(|name| name.as_str() == service)?;
            Some(world.endpoint(owner, step.address))
        })
        .collect();
    world.desire(set, remove).await;
    let Source::Docker(containers) = &world.source else {
        return;
    };
    let mut work = JoinSet::new();
    for step in steps {
        let host = Arc::clone(&containers.host);
        work.spawn_blocking(move || {
            if let Some(name) = step.stops {
                host.stop(&name);
            }
            if let Some((name, service)) = step.runs {
                host.run(&name, &service, step.address);
            }
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap();
    }
}

/// A container of those that may change, with its address and owner.
fn any(world: &mut World) -> Option<(SocketAddr, usize, String)> {
    let ready: Vec<(SocketAddr, usize)> = world
        .owners
        .iter()
        .filter(|(_, (_, state))| state.is_ready())
        .map(|(address, (owner, _))| (*address, *owner))
        .collect();
    let (address, owner) = *ready.get(world.random.below(ready.len()))?;
    let Source::Docker(containers) = &world.source else {
        return None;
    };
    Some((address, owner, containers.names.get(&address)?.clone()))
}

/// Something is about to be in the way from the engine to HAProxy: what has left is out by then.
pub(crate) async fn close(world: &mut World) {
    world.settle().await;
    if let Source::Docker(containers) = &mut world.source {
        containers.open = false;
    }
}

/// Kills a container where none has left before: the others of its service take what it would have been asked.
pub(crate) async fn kill_one(world: &mut World) {
    let Source::Docker(containers) = &world.source else {
        return;
    };
    if containers.left.is_empty() {
        kill(world).await;
    }
}

/// Kills a container: what it is asked at that moment may be lost, and nothing after.
pub(crate) async fn kill(world: &mut World) {
    let Some((address, owner, name)) = any(world) else {
        return;
    };
    let Source::Docker(containers) = &mut world.source else {
        return;
    };
    containers.names.remove(&address);
    containers.left.insert(address);
    let host = Arc::clone(&containers.host);
    world.owners.remove(&address);
    let (key, _) = world.endpoint(owner, address);
    world.desire(Vec::new(), vec![key]).await;
    world.excuse(true);
    let killing = tokio::task::spawn_blocking(move || {
        host.kill(&name);
        (host, name)
    });
    let (host, name) = killing.await.unwrap();
    world.excuse_until_seen(address).await;
    let remove = tokio::task::spawn_blocking(move || host.remove(&name));
    remove.await.unwrap();
}

/// Pauses a container, and lets it go on after some changes.
pub(crate) async fn pause(world: &mut World) {
    let Some((address, owner, name)) = any(world) else {
        return;
    };
    let (key, endpoint) = world.endpoint(owner, address);
    let draining = EndpointState::Draining { grace: None };
    for (paused, state) in [(true, draining), (false, EndpointState::Ready)] {
        let Source::Docker(containers) = &world.source else {
            return;
        };
        let (host, name) = (Arc::clone(&containers.host), name.clone());
        world.owners.insert(address, (owner, state));
        let desired = (key.clone(), endpoint.clone().with_state(state));
        world.desire(vec![desired], Vec::new()).await;
        let act = tokio::task::spawn_blocking(move || host.pause(&name, paused));
        act.await.unwrap();
        changes(world, 1).await;
    }
}
