//! Two services under load, and what happens to them.

use std::{collections::BTreeMap, future::Future, net::SocketAddr, time::Duration};

use lb_core::{EndpointState, Name, Weight};
use lb_examples::{
    testbed::{Options, Testbed, endpoint_at},
    traffic::{Connections, Running, Seed, now},
};
use lb_haproxy::process::Executable;

use crate::users::{self, executables, name};
pub(crate) use crate::users::{LIMIT, answers, judge, until};

/// The number of requests each run under changes makes at least.
pub(crate) const REQUESTS: u64 = 10_000;

/// Runs a test over every version, and says which.
pub(crate) async fn over_versions<F>(test: &str, run: impl Fn(Executable, u64) -> F)
where
    F: Future<Output = ()>,
{
    let seed = std::env::var("LB_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    for executable in executables() {
        let version = executable.version().await.unwrap();
        // Shown when the test fails.
        println!("{test}: HAProxy {version}, LB_SEED={seed}");
        let began = now();
        run(executable, seed).await;
        println!("{test}: HAProxy {version} passed in {:?}", began.elapsed());
    }
}

/// Two services that share a pool of addresses, each with one endpoint that stays.
pub(crate) struct World {
    pub(crate) bed: Testbed,
    pub(crate) services: [Name; 2],
    pub(crate) pool: Vec<SocketAddr>,
    /// Whose each address of the pool is, and in what state.
    pub(crate) owners: BTreeMap<SocketAddr, (usize, EndpointState)>,
    pub(crate) random: Seed,
}

impl World {
    pub(crate) async fn new(executable: Executable, seed: u64) -> Self {
        Self::with(executable, seed, |_| {}).await
    }

    pub(crate) async fn with(
        executable: Executable,
        seed: u64,
        adjust: impl FnOnce(&mut Options),
    ) -> Self {
        let services = [name("a"), name("b")];
        let mut options = Options::new(services.to_vec(), 32);
        adjust(&mut options);
        let mut bed = Testbed::start(executable, options).await.unwrap();
        bed.start_plane().await.unwrap();
        for service in &services {
            let anchor = bed.add_server().await.unwrap();
            bed.desired
                .change([endpoint_at(service, anchor)], [])
                .unwrap();
        }
        let mut pool = Vec::new();
        for _ in 0..16 {
            pool.push(bed.add_server().await.unwrap());
        }
        let mut world = Self {
            bed,
            services,
            pool,
            owners: BTreeMap::new(),
            random: Seed::new(seed),
        };
        for _ in 0..10 {
            world.change();
        }
        world.bed.verified(LIMIT).await.unwrap();
        world.bed.in_step(LIMIT).await.unwrap();
        world
    }

    /// One change: an address of the pool comes, goes, changes its service, its weight or its state.
    pub(crate) fn change(&mut self) {
        let at = self.random.below(self.pool.len());
        let address = *self.pool.get(at).unwrap();
        let before = self.owners.remove(&address);
        let (set, remove) = match (before, self.random.below(10)) {
            (Some((owner, state)), 0) => {
                let weight = u16::try_from(1 + self.random.below(256)).unwrap();
                (Some((owner, state, weight)), None)
            }
            (Some((owner, _)), 1) => (Some((owner, EndpointState::Down, 100)), None),
            (Some((owner, _)), 2) => (
                Some((owner, EndpointState::Draining { grace: None }, 100)),
                None,
            ),
            (Some((owner, _)), 3) => (Some((owner, EndpointState::Ready, 100)), None),
            (Some((owner, _)), 4..=5) => (None, Some(owner)),
            // The other service gets the address at once.
            (Some((owner, _)), _) => (Some((1 - owner, EndpointState::Ready, 100)), Some(owner)),
            (None, kind) => {
                let state = match kind {
                    0 => EndpointState::Pending,
                    _ => EndpointState::Ready,
                };
                (Some((kind % 2, state, 100)), None)
            }
        };
        let set = set.map(|(owner, state, weight)| {
            self.owners.insert(address, (owner, state));
            let (key, endpoint) = endpoint_at(self.services.get(owner).unwrap(), address);
            let weight = Weight::new(weight).unwrap();
            (key, endpoint.with_state(state).with_weight(weight))
        });
        let remove = remove.map(|owner| {
            let (key, _) = endpoint_at(self.services.get(owner).unwrap(), address);
            key
        });
        // Without a control plane the desired state waits for the next one.
        let _ = self.bed.desired.change(set, remove);
    }

    /// Users on both services until they are stopped.
    pub(crate) fn users(&self, users: usize) -> Running {
        users::start(&self.bed, users)
    }

    /// Users that all keep their connections, or all make new ones, until they are stopped.
    pub(crate) fn users_with(&self, users: usize, connections: Connections) -> Running {
        let mut load = self.bed.load(users, 0);
        load.at_least = LIMIT * 2;
        load.deadline = LIMIT * 2;
        load.request_limit = LIMIT;
        load.connections = connections;
        load.start(self.bed.oracle.clone())
    }

    /// Changes every `pause`, `count` times.
    pub(crate) async fn changes(&mut self, count: usize, pause: Duration) {
        let mut tick = tokio::time::interval(pause);
        for _ in 0..count {
            tick.tick().await;
            self.change();
        }
    }

    /// Everything is in effect, and nothing but that.
    pub(crate) async fn settle(&self) {
        self.bed.verified(LIMIT).await.unwrap();
        self.bed.in_step(LIMIT).await.unwrap();
    }

    pub(crate) fn reloads(&self) -> u64 {
        users::reloads(&self.bed)
    }
}
