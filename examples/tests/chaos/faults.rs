//! What goes wrong.

use std::{net::SocketAddr, time::Duration};

use lb_core::EndpointState;
use lb_examples::traffic::Seed;
use tokio::{net::UnixStream, time::sleep};

use crate::{containers, disk, source::Source, world::World};

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The control plane is killed in the middle of a pass.
    Plane,
    /// The control plane's process is stopped where it is, for a while.
    Hang,
    /// HAProxy is killed.
    Kill,
    /// HAProxy is stopped where it is, for a while.
    Freeze,
    /// HAProxy is reloaded.
    Reload,
    /// Somebody else changes servers.
    Edits,
    /// The runtime socket is gone for a while.
    Socket,
    /// Others take all the connections that the runtime socket has.
    Taken,
    /// The control plane's process gets no new file or connection for a while.
    Descriptors,
    /// There is no room for the files that HAProxy starts from.
    Disk,
    /// An endpoint is killed, and comes back later.
    Server,
    /// An endpoint is stopped where it is, for a while.
    Pause,
    /// The server that the source follows is killed.
    SourceKill,
    /// The server that the source follows is stopped where it is, for a while.
    SourceStop,
}

/// Faults in a random order, in which each comes before any comes again.
pub(crate) struct Deck {
    all: Vec<Fault>,
    left: Vec<Fault>,
}

impl Deck {
    /// All that can happen in a world.
    pub(crate) fn of(world: &World) -> Self {
        use Fault::{
            Descriptors, Disk, Edits, Freeze, Hang, Kill, Pause, Plane, Reload, Server, Socket,
            SourceKill, SourceStop, Taken,
        };
        let mut all = vec![
            Plane, Plane, Kill, Freeze, Reload, Edits, Socket, Taken, Server, Server,
        ];
        all.extend(match &world.source {
            Source::Program => [].as_slice(),
            Source::File(_) => &[Hang, Descriptors, Descriptors],
            Source::Etcd(_) => &[SourceKill, SourceKill, SourceStop],
            Source::Docker(_) => &[Server, Pause, Pause, SourceStop],
        });
        if world.disk.is_some() {
            all.push(Disk);
        }
        Self {
            all,
            left: Vec::new(),
        }
    }

    pub(crate) fn draw(&mut self, random: &mut Seed) -> Fault {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
        }
        self.left.swap_remove(random.below(self.left.len()))
    }
}

impl Fault {
    /// The number of kinds.
    pub(crate) const KINDS: usize = Self::SourceStop as usize + 1;

    pub(crate) async fn strike(self, world: &mut World) {
        if let Source::Docker(containers) = &mut world.source {
            containers.recycles = matches!(self, Self::Server | Self::Pause);
        }
        some_changes(world).await;
        if matches!(world.source, Source::Docker(_)) && !matches!(self, Self::Server | Self::Pause)
        {
            containers::close(world).await;
        }
        match self {
            Self::Plane => plane(world).await,
            Self::Hang | Self::Descriptors => agent(world, self).await,
            Self::Kill | Self::Reload => haproxy(world, self).await,
            Self::Freeze => {
                world.bed.haproxy.freeze().unwrap();
                some_changes(world).await;
                pause(world, 600).await;
                world.bed.haproxy.thaw().unwrap();
            }
            Self::Edits => edits(world).await,
            Self::Socket => socket(world).await,
            Self::Taken => taken(world).await,
            Self::Disk => disk::strike(world).await,
            Self::Server => match &world.source {
                Source::Docker(_) => containers::kill(world).await,
                _ => server(world).await,
            },
            Self::Pause => containers::pause(world).await,
            Self::SourceKill | Self::SourceStop => source(world, self).await,
        }
        some_changes(world).await;
    }
}

async fn plane(world: &mut World) {
    pause(world, 8).await;
    world.kill_plane().await;
    containers::kill_one(world).await;
    some_changes(world).await;
    pause(world, 300).await;
    world.start_plane().await;
}

/// The agent hangs, or gets nothing new from the system, while HAProxy goes on or is reloaded.
async fn agent(world: &mut World, fault: Fault) {
    let reloads = world.random.below(3) == 0;
    if reloads {
        // Who can write no file cannot let them follow: the new worker has what they say.
        world.settle().await;
        world.files_follow(&format!("before {fault:?}")).await;
    }
    let Source::File(agent) = &world.source else {
        return;
    };
    let before = match fault {
        Fault::Hang => {
            agent.freeze();
            None
        }
        _ => Some(agent.starve()),
    };
    some_changes(world).await;
    pause(world, 1500).await;
    if reloads {
        world.bed.haproxy.reload().await.unwrap();
        pause(world, 1500).await;
    }
    some_changes(world).await;
    let Source::File(agent) = &mut world.source else {
        return;
    };
    match before {
        Some(before) => agent.feed(before),
        None => agent.thaw(),
    }
    assert!(agent.is_alive(), "the agent ended by itself in {fault:?}");
}

/// HAProxy is killed or reloaded, and has from its first moment what the files say.
async fn haproxy(world: &mut World, fault: Fault) {
    world.settle().await;
    world.files_follow(&format!("before {fault:?}")).await;
    if fault == Fault::Reload {
        world.bed.haproxy.reload().await.unwrap();
        return;
    }
    world.excuse(true);
    world.bed.haproxy.kill();
    some_changes(world).await;
    pause(world, 200).await;
    world.bed.haproxy.restart().await.unwrap();
    world.excuse(false);
}

/// Takes a few serving servers out, or changes their weights, behind the back of `lb`; never all of a service.
///
/// While changes are under way, what stays for ever is left alone: whoever takes that one out, and leaves the one that
/// `lb` is taking out at the same moment, has emptied the service, and neither could know.
async fn edits(world: &mut World) {
    let quiet = world.random.below(2) == 0;
    if quiet {
        world.settle().await;
    }
    let slots = world.bed.haproxy.slots().await.unwrap();
    for (at, service) in world.services.clone().into_iter().enumerate() {
        let stays = world.anchors.get(at).filter(|_| !quiet).copied();
        let serving: Vec<_> = slots
            .iter()
            .filter(|slot| slot.serves() && slot.backend == service.as_str())
            .filter(|slot| stays.is_none() || slot.address != stays)
            .collect();
        let most = serving.len().saturating_sub(usize::from(stays.is_none()));
        let count = world.random.below(3).min(most);
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
    if quiet {
        world.settle().await;
    }
}

async fn socket(world: &mut World) {
    let socket = world.bed.haproxy.socket();
    let aside = socket.with_extension("aside");
    std::fs::rename(&socket, &aside).unwrap();
    if world.random.below(2) == 0 {
        world.start_plane().await;
    }
    some_changes(world).await;
    pause(world, 600).await;
    std::fs::rename(&aside, &socket).unwrap();
}

/// More than `stats maxconn` allows.
const CONNECTIONS: usize = 40;

async fn taken(world: &mut World) {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        // Those above the limit wait to be accepted, and when too many wait the system refuses more.
        match UnixStream::connect(world.bed.haproxy.socket()).await {
            Ok(connection) => connections.push(connection),
            Err(_) => break,
        }
    }
    assert!(connections.len() > 10, "the socket refuses by itself");
    if world.random.below(2) == 0 {
        world.start_plane().await;
    }
    some_changes(world).await;
    pause(world, 3000).await;
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
    let (key, endpoint) = world.endpoint(owner, address);
    // What it is asked at this moment may be lost; what comes later finds another one.
    world.excuse(true);
    world.bed.servers.get_mut(&address).unwrap().kill().await;
    world.excuse_until_seen(address).await;
    world.owners.insert(address, (owner, EndpointState::Down));
    let down = endpoint.clone().with_state(EndpointState::Down);
    world.desire(vec![(key.clone(), down)], Vec::new()).await;
    world.settle().await;
    let server = world.bed.servers.get_mut(&address).unwrap();
    server.restart().await.unwrap();
    world.owners.insert(address, (owner, EndpointState::Ready));
    world.desire(vec![(key, endpoint)], Vec::new()).await;
}

/// Takes away for a while what the source follows; the control plane may begin anew meanwhile.
async fn source(world: &mut World, fault: Fault) {
    let anew = world.random.below(3) == 0;
    let lasting = Duration::from_millis(500 + world.random.number() % 3500);
    let after = Duration::from_millis(world.random.number() % 20);
    match &mut world.source {
        Source::Etcd(etcd) => {
            let back = etcd.away(fault == Fault::SourceKill, after, lasting);
            // Whoever writes tries again until etcd is there again.
            some_changes(world).await;
            if anew {
                world.start_plane().await;
            }
            let member = back.await.unwrap();
            if let Source::Etcd(etcd) = &mut world.source {
                etcd.is_back(member);
            }
        }
        Source::Docker(containers) => {
            containers.freeze_engine(true);
            if anew {
                world.start_plane().await;
            }
            sleep(lasting).await;
            if let Source::Docker(containers) = &world.source {
                containers.freeze_engine(false);
            }
        }
        _ => {}
    }
}

pub(crate) async fn some_changes(world: &mut World) {
    let count = 1 + world.random.below(15);
    world.changes(count).await;
}

/// Up to so many milliseconds.
pub(crate) async fn pause(world: &mut World, most: u64) {
    let micros = world.random.number() % (most * 1000);
    sleep(Duration::from_micros(micros)).await;
}
