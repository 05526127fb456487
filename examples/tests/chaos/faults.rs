//! What goes wrong, and how often it did.

use std::{net::SocketAddr, time::Duration};

use lb_core::EndpointState;
use lb_examples::{testbed::endpoint_at, traffic::Seed};
use tokio::time::sleep;

use crate::world::World;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The control plane and its source are killed in the middle of a pass.
    Plane,
    /// HAProxy is stopped where it is, for a while.
    Freeze,
    /// The runtime socket is gone for a while.
    Socket,
    /// Somebody else changes servers.
    Edits,
    /// An endpoint's process is killed, and comes back later.
    Server,
    /// HAProxy is reloaded.
    Reload,
    /// HAProxy is killed.
    Kill,
}

const FAULTS: [Fault; 11] = [
    Fault::Plane,
    Fault::Plane,
    Fault::Plane,
    Fault::Freeze,
    Fault::Socket,
    Fault::Edits,
    Fault::Edits,
    Fault::Server,
    Fault::Server,
    Fault::Reload,
    Fault::Kill,
];

impl Fault {
    pub(crate) fn pick(random: &mut Seed) -> Self {
        *FAULTS.get(random.below(FAULTS.len())).unwrap()
    }

    /// Whether requests in flight end with what is killed. A reloaded HAProxy has no endpoint until it is filled.
    pub(crate) fn costs_requests(self) -> bool {
        matches!(self, Self::Server | Self::Reload | Self::Kill)
    }

    pub(crate) async fn strike(self, world: &mut World) {
        some_changes(world).await;
        match self {
            Self::Plane => {
                pause(world, 8).await;
                world.bed.kill_plane().await;
                some_changes(world).await;
                pause(world, 300).await;
                world.bed.start_plane().await.unwrap();
            }
            Self::Freeze => {
                world.bed.haproxy.freeze().unwrap();
                some_changes(world).await;
                pause(world, 600).await;
                world.bed.haproxy.thaw().unwrap();
            }
            Self::Socket => {
                let socket = world.bed.haproxy.socket();
                let aside = socket.with_extension("aside");
                std::fs::rename(&socket, &aside).unwrap();
                if world.random.below(2) == 0 {
                    world.bed.start_plane().await.unwrap();
                }
                some_changes(world).await;
                pause(world, 600).await;
                std::fs::rename(&aside, &socket).unwrap();
            }
            Self::Edits => edits(world).await,
            Self::Server => server(world).await,
            Self::Reload => {
                world.bed.haproxy.reload().await.unwrap();
                some_changes(world).await;
            }
            Self::Kill => {
                world.bed.haproxy.kill();
                some_changes(world).await;
                pause(world, 200).await;
                world.bed.haproxy.restart().await.unwrap();
            }
        }
        some_changes(world).await;
    }
}

/// Takes a few serving servers out, or changes their weights, behind the back of `lb`; never all of a service.
async fn edits(world: &mut World) {
    let slots = world.bed.haproxy.slots().await.unwrap();
    for service in world.services.clone() {
        let serving: Vec<_> = slots
            .iter()
            .filter(|slot| slot.serves() && slot.backend == service.as_str())
            .collect();
        let count = world.random.below(3).min(serving.len().saturating_sub(1));
        for slot in serving.into_iter().take(count) {
            let change = match world.random.below(4) {
                0 => "state maint".to_owned(),
                1 => "state drain".to_owned(),
                2 => "weight 0".to_owned(),
                _ => format!("weight {}", 1 + world.random.below(256)),
            };
            let command = format!("set server {}/{} {change}", slot.backend, slot.server);
            world.bed.haproxy.ask(&command).await.unwrap();
        }
    }
}

/// Kills an endpoint's process, lets its source say so, and brings it back.
async fn server(world: &mut World) {
    let ready: Vec<(SocketAddr, usize)> = world
        .owners
        .iter()
        .filter(|(_, (_, state))| state.is_ready())
        .map(|(address, (owner, _))| (*address, *owner))
        .collect();
    if ready.is_empty() {
        return;
    }
    let (address, owner) = *ready.get(world.random.below(ready.len())).unwrap();
    let (key, endpoint) = endpoint_at(world.services.get(owner).unwrap(), address);
    world.bed.servers.get_mut(&address).unwrap().kill().await;
    world.owners.insert(address, (owner, EndpointState::Down));
    let down = endpoint.clone().with_state(EndpointState::Down);
    world.bed.wishes.change([(key.clone(), down)], []).unwrap();
    world.settle().await;
    world
        .bed
        .servers
        .get_mut(&address)
        .unwrap()
        .restart()
        .await
        .unwrap();
    world.owners.insert(address, (owner, EndpointState::Ready));
    world.bed.wishes.change([(key, endpoint)], []).unwrap();
}

async fn some_changes(world: &mut World) {
    let count = 1 + world.random.below(15);
    world.changes(count, Duration::from_millis(2)).await;
}

/// Up to so many milliseconds.
async fn pause(world: &mut World, most: u64) {
    let micros = world.random.number() % (most * 1000);
    sleep(Duration::from_micros(micros)).await;
}

/// What a version went through.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: [u64; 7],
    pub(crate) requests: u64,
    pub(crate) lost: u64,
    pub(crate) excused: u64,
    pub(crate) misrouted: u64,
    pub(crate) changes: u64,
    pub(crate) converged: Vec<Duration>,
}

impl Tally {
    pub(crate) const HEADER: &str = "HAProxy          requests  changes  lb kills  freezes  sockets  edits  servers  \
                                     reloads  kills  in flight  lost  misrouted  converge p50      max";

    pub(crate) fn count(&mut self, fault: Fault) {
        if let Some(count) = self.counts.get_mut(fault as usize) {
            *count += 1;
        }
    }

    pub(crate) fn line(&self, version: &str) -> String {
        let mut times = self.converged.clone();
        times.sort();
        let middle = times.get(times.len() / 2).copied().unwrap_or_default();
        let most = times.last().copied().unwrap_or_default();
        let [plane, freeze, socket, edits, server, reload, kill] = self.counts;
        format!(
            "{version:<15} {:>9} {:>8} {plane:>9} {freeze:>8} {socket:>8} {edits:>6} {server:>8} {reload:>8} {kill:>6} \
             {:>10} {:>5} {:>10} {:>10.0} ms {:>5.1} s",
            self.requests,
            self.changes,
            self.excused,
            self.lost,
            self.misrouted,
            middle.as_secs_f64() * 1000.0,
            most.as_secs_f64(),
        )
    }
}
