//! The driver under test, with every pass looked at before and after.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use lb_core::{
    DriveError, Driver, EndpointState, Name, PathMatch, Preview, Report, Route, Snapshot, Unmet,
};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    proto::AdminState,
    routes::UNAVAILABLE,
    simulator::{Network, Simulator},
};

use crate::{
    clock,
    scene::Scene,
    source::Store,
    world::{Shared, World, desired_in},
};

pub(crate) struct Watched {
    driver: HaproxyDriver,
    world: Shared,
    network: Network,
    /// The generation of the last pass.
    generation: u64,
}

impl Watched {
    pub(crate) fn new(scene: &Scene, world: Shared, network: Network) -> Self {
        let name = "edge".parse().unwrap();
        let mut config = TargetConfig::new(name, "/simulated.sock".parse().unwrap())
            .with_policy(scene.policy.clone());
        if let Some(manage) = scene.manage() {
            config = config.managing(manage);
        }
        config.files.maps = false;
        config.timeout = Duration::from_secs(2);
        Self {
            driver: HaproxyDriver::new(config),
            world,
            network,
            generation: 0,
        }
    }
}

#[async_trait]
impl Driver for Watched {
    fn name(&self) -> &Name {
        self.driver.name()
    }

    async fn converge(&mut self, desired: &Arc<Snapshot>) -> Result<Report, DriveError> {
        let (worker, unwanted, lines) = {
            let mut world = self.world.lock();
            let now = clock::elapsed();
            world.counts.passes += 1;
            let generation = desired.generation();
            world.note(now, format_args!("pass on generation {generation}"));
            if generation < self.generation {
                let before = self.generation;
                world.broken(
                    now,
                    format_args!("I11: generation {generation} comes after {before}"),
                );
            }
            self.generation = generation;
            world.check_desired(now, desired);
            world.check_reuse(now, desired);
            world.check_tenant(now, desired);
            let unwanted = world.unwanted.clone();
            world.take_desired(now, desired);
            (world.worker, unwanted, world.counts.lines)
        };
        let result = self.driver.converge(desired).await;
        let network = self.network.clone();
        let world = self.world.clone();
        network.with(|sim| {
            let mut world = world.lock();
            let now = clock::elapsed();
            world.look(sim, now, false);
            match &result {
                Ok(report) => {
                    let (applied, converged) = (report.applied, report.converged);
                    world.note(
                        now,
                        format_args!("pass ends: applied {applied}, converged {converged}"),
                    );
                    for unmet in &report.unmet {
                        let (service, endpoint) = (&unmet.service, &unmet.endpoint);
                        let detail = &unmet.detail;
                        world.note(
                            now,
                            format_args!("  unmet: {service} {endpoint:?} {detail}"),
                        );
                    }
                    let settled = now > world.worker_since + Duration::from_secs(4);
                    if converged && worker == world.worker && settled {
                        world.counts.converged += 1;
                        world.check_converged(sim, now, desired, report);
                    }
                    if report
                        .counters
                        .get("endless_passes")
                        .is_some_and(|count| *count > 0)
                    {
                        world.broken(now, format_args!("I3: a pass found no end"));
                    }
                }
                Err(error) => {
                    world.note(now, format_args!("pass fails: {error}"));
                    // The desired state may not even have been looked at: what left before has left before.
                    let untouched = world.counts.lines == lines;
                    for (place, since) in unwanted.into_iter().filter(|_| untouched) {
                        let known = world.unwanted.entry(place).or_insert(since);
                        *known = since.min(*known);
                    }
                }
            }
        });
        result
    }

    async fn preview(&mut self, desired: &Arc<Snapshot>) -> Result<Preview, DriveError> {
        self.driver.preview(desired).await
    }

    async fn attention(&mut self) {
        self.driver.attention().await;
    }
}

impl World {
    /// I2, I11: the desired state holds everything that the sources have told last, and nothing older.
    fn check_desired(&mut self, now: Duration, desired: &Snapshot) {
        let lies = self.stores.iter().any(Store::is_lying);
        let users = if lies { self.users() } else { BTreeMap::new() };
        for store in self.stores.clone() {
            let Some(revision) = store.heard(now).filter(|_| !store.is_in_doubt(now)) else {
                continue;
            };
            let lying = store.is_lying();
            for (key, record) in store.at(revision) {
                // The guard holds back what serves or is about to; an empty listing may take the rest away.
                let live = record.endpoint.as_ref().is_some_and(|endpoint| {
                    matches!(
                        endpoint.state,
                        EndpointState::Ready | EndpointState::Pending
                    )
                });
                // And it holds nothing where another service is, and forgets what it held there.
                let reused = record.endpoint.as_ref().is_some_and(|endpoint| {
                    let mut services = users.get(&endpoint.address).into_iter().flatten();
                    services.any(|service| *service != key.service)
                });
                // What no target can serve is refused where it enters.
                if key.id.as_str() == "poison" || (lying && (!live || reused)) {
                    continue;
                }
                let found = desired
                    .service(&key.service)
                    .and_then(|service| service.endpoint(&key.id));
                if found != record.endpoint.as_ref() {
                    self.broken(
                        now,
                        format_args!(
                            "I2/I11: {key} was told last as {:?} and is desired as {found:?}",
                            record.endpoint
                        ),
                    );
                }
            }
        }
    }

    /// The services that each address ever was of, by what the sources told.
    fn users(&self) -> BTreeMap<SocketAddr, BTreeSet<Name>> {
        let mut users: BTreeMap<SocketAddr, BTreeSet<Name>> = BTreeMap::new();
        for store in &self.stores {
            for (key, endpoint) in store.ever_told() {
                let services = users.entry(endpoint.address).or_default();
                services.insert(key.service);
            }
        }
        users
    }

    /// I1: an address that one service has by what the only source told last is desired for no other that lost it,
    /// whatever is held. Of several sources an older one may be the one that is wrong.
    fn check_reuse(&mut self, now: Duration, desired: &Snapshot) {
        let [store] = self.stores.as_slice() else {
            return;
        };
        let Some(revision) = store.heard(now) else {
            return;
        };
        if store.is_in_doubt(now) || store.is_lying() {
            return;
        }
        let mut told: BTreeMap<SocketAddr, BTreeSet<Name>> = BTreeMap::new();
        for (key, record) in store.at(revision) {
            if let Some(endpoint) = record.endpoint {
                let services = told.entry(endpoint.address).or_default();
                services.insert(key.service);
            }
        }
        for (service, known) in desired.services() {
            for (id, endpoint) in known.endpoints() {
                let others = told.get(&endpoint.address);
                if others.is_some_and(|services| !services.contains(service)) {
                    self.broken(
                        now,
                        format_args!(
                            "I1: {service}/{id} is desired at {}, which is told to be of {others:?}",
                            endpoint.address
                        ),
                    );
                }
            }
        }
    }

    /// I3, I10: a pass that says that the desired state is in effect says what HAProxy does.
    fn check_converged(
        &mut self,
        sim: &Simulator,
        now: Duration,
        desired: &Snapshot,
        report: &Report,
    ) {
        self.check_routes(sim, now, desired, report);
        let scene = self.scene.clone();
        for (service, known) in scene.services.iter().enumerate() {
            let Some(place) = scene
                .owners
                .iter()
                .position(|owner| *owner == Some(service))
            else {
                continue;
            };
            if self
                .sights
                .iter()
                .any(|sight| sight.place == place && sight.tainted)
            {
                continue;
            }
            let unmet = |address: SocketAddr| {
                let desired_service = desired.service(&known.name);
                report.unmet.iter().any(|unmet| {
                    unmet.service == known.name
                        && unmet.endpoint.as_ref().is_none_or(|id| {
                            desired_service
                                .and_then(|service| service.endpoint(id))
                                .is_some_and(|endpoint| endpoint.address == address)
                        })
                })
            };
            for address in &scene.pool {
                let desired_here = desired_in(desired, &known.name, *address);
                let ready: Vec<_> = self
                    .sights
                    .iter()
                    .filter(|sight| sight.place == place && sight.address == Some(*address))
                    .filter(|sight| sight.admin == AdminState::Ready)
                    .map(|sight| sight.weight)
                    .collect();
                // Of an exclusive service another one may serve in place of one of weight 0.
                let stands_by = known.is_exclusive() && ready.is_empty();
                // An agent weighs a server, and keeps it out.
                let by_agent = scene.agents
                    && (ready.len() == 1
                        || self.sights.iter().any(|sight| {
                            sight.place == place
                                && sight.address == Some(*address)
                                && sight.is_held()
                        }));
                let right = match desired_here {
                    Some((EndpointState::Ready, _)) if by_agent => true,
                    Some((EndpointState::Ready, 0)) if stands_by => true,
                    Some((EndpointState::Ready, weight)) => ready == [weight] || unmet(*address),
                    _ => ready.is_empty() || desired.is_partial(),
                };
                if !right {
                    self.broken(
                        now,
                        format_args!("I3/I10: a pass says that all is in effect; {} at {address} is desired {desired_here:?} and serves with {ready:?}", known.name),
                    );
                }
            }
        }
    }

    /// I3: a pass that says that the desired state is in effect leads every request where the desired state leads it.
    fn check_routes(
        &mut self,
        sim: &Simulator,
        now: Duration,
        desired: &Snapshot,
        report: &Report,
    ) {
        if self.is_meddled(now) || sim.newest().is_none() {
            return;
        }
        let scene = self.scene.clone();
        for (at, service) in scene.services.iter().enumerate() {
            let is_its = |route: &&Route| {
                route.service == service.name
                    && String::from(route.host.clone()) == service.host
                    && route.path == PathMatch::any()
            };
            let is_unmet = |unmet: &Unmet| unmet.service == service.name;
            if !desired.routes().any(|route| is_its(&route)) || report.unmet.iter().any(is_unmet) {
                continue;
            }
            let led = self.led.get(at).and_then(Option::as_deref);
            let desired_service = desired.service(&service.name);
            if led == Some(UNAVAILABLE)
                && desired_service.is_some_and(|desired_service| desired_service.is_empty())
            {
                // There may be no backend for it, and nobody who would be in it.
                continue;
            }
            let place = scene
                .backends
                .iter()
                .position(|known| Some(known.as_str()) == led);
            if place.and_then(|place| self.service_of(sim, place)) != Some(at) {
                let led = led.map(str::to_owned);
                let host = &service.host;
                self.broken(
                    now,
                    format_args!("I3: a pass says that all is in effect; {host} is led to {led:?}"),
                );
            }
        }
    }
}
