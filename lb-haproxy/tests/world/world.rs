//! The world as everybody in the simulation shares it: what is true, what HAProxy was last seen with, and what broke.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lb_core::{EndpointState, Name, Snapshot};
use lb_haproxy::{
    policy::HttpReuse,
    proto::AdminState,
    simulator::{AgentWord, ClientId, Outcome, Random, RequestId, Simulator, Upstream},
};
use tokio::sync::Notify;

use crate::{
    scene::{SERVICES, Scene},
    seed::{Options, Trace},
    source::Store,
};

#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) scene: Arc<Scene>,
    pub(crate) stores: Vec<Store>,
    /// The source of the tenant.
    pub(crate) tenant: Option<Store>,
    pub(crate) random: Random,
    pub(crate) trace: Trace,
    pub(crate) violation: Option<String>,
    /// The hosts that answer at an address, and their services.
    pub(crate) hosts: BTreeMap<SocketAddr, Host>,
    /// The desired state that the running or last pass of this life was given.
    pub(crate) desired: Option<Arc<Snapshot>>,
    /// Since when an address is not desired to serve a service any more.
    pub(crate) unwanted: BTreeMap<(usize, SocketAddr), Duration>,
    /// The newest worker's servers as last seen.
    pub(crate) worker: Option<u32>,
    pub(crate) worker_since: Duration,
    /// The time at which the servers were last seen.
    pub(crate) looked_at: Duration,
    pub(crate) sights: Vec<Sight>,
    /// The backend to which each service's host is led.
    pub(crate) led: Vec<Option<String>>,
    /// For each service, `true` if its host was led to it where it asks for that, and nothing ended that since.
    pub(crate) rightly_led: Vec<bool>,
    /// Services that once did not ask for their host, so that another could have it.
    pub(crate) ceded: Vec<bool>,
    /// The last word of the agent at each address.
    pub(crate) words: BTreeMap<SocketAddr, AgentWord>,
    /// The entries of the map of routes that are of another control plane.
    pub(crate) theirs: BTreeSet<(String, String)>,
    /// The trigger that fires after so many more lines.
    pub(crate) armed: Option<(u64, Trigger)>,
    pub(crate) killed: Arc<Notify>,
    pub(crate) lb_lives: bool,
    pub(crate) requests: Vec<Running>,
    pub(crate) between: bool,
    pub(crate) long: bool,
    /// Addresses that somebody else took from a server while requests could be there: the worker, the backend, the
    /// address. Connections to them may be found again.
    pub(crate) taken: Vec<(Option<u32>, usize, SocketAddr)>,
    /// The last time something was changed behind the back of `lb`.
    pub(crate) meddled: Option<Duration>,
    pub(crate) counts: Counts,
}

/// The amount that a seed did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) served: u64,
    pub(crate) lines: u64,
    pub(crate) passes: u64,
    pub(crate) converged: u64,
    pub(crate) kills: u64,
    pub(crate) reloads: u64,
    pub(crate) restarts: u64,
    pub(crate) edits: u64,
    pub(crate) changes: u64,
    pub(crate) stale: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    pub(crate) service: usize,
    pub(crate) healthy: bool,
    /// Until when it stays although no source names it any more.
    pub(crate) leaves: Option<Duration>,
}

/// A server of the newest worker, as seen last.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) place: usize,
    pub(crate) name: String,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) admin: AdminState,
    pub(crate) weight: u16,
    pub(crate) checked: bool,
    pub(crate) vouched: bool,
    pub(crate) serves: bool,
    pub(crate) sessions: usize,
    /// The word of its agent that counts.
    pub(crate) agent: Option<AgentWord>,
    /// Since when its address and administrative state are what they are.
    pub(crate) since: Duration,
    /// The same, or the earliest time at which that may have begun without being seen.
    pub(crate) maybe_since: Duration,
    /// Somebody else changed it, and `lb` has not put it right yet.
    pub(crate) tainted: bool,
    /// The time until which what was changed takes effect.
    pub(crate) tainted_until: Duration,
    /// `lb` was told of it since.
    pub(crate) known: bool,
    /// Since when it takes no new requests, while its address is the same.
    pub(crate) closed_since: Option<Duration>,
    /// Somebody else made it what it is, and `lb` left it so.
    pub(crate) adopted: bool,
    /// It has been ready or draining with this address.
    pub(crate) used: bool,
    /// The time at which a line of `lb` last made it ready at its address, whatever its agent did since.
    pub(crate) let_in_at: Option<Duration>,
    /// The time at which `lb`, in this life, last marked it down until its check passes.
    pub(crate) marked_down_at: Option<Duration>,
    /// It has served since it was made ready.
    pub(crate) served: bool,
    /// The time at which `lb` last read its backend, and whether it served then.
    pub(crate) told: Option<(Duration, bool)>,
}

impl Sight {
    /// Returns `true` if it was written by hand.
    pub(crate) fn is_fixed(&self) -> bool {
        !self.name.starts_with("slot") && !self.name.starts_with("dyn-")
    }

    /// Returns `true` if its agent keeps it out.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.agent, Some(AgentWord::Drain | AgentWord::Maint))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    Kill,
    Reload,
    Restart,
}

#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) client: ClientId,
    pub(crate) id: RequestId,
    pub(crate) until: Duration,
}

impl World {
    pub(crate) fn note(&mut self, now: Duration, what: fmt::Arguments<'_>) {
        self.trace.note(now, what);
    }

    /// A rule is broken. The first counts.
    pub(crate) fn broken(&mut self, now: Duration, what: fmt::Arguments<'_>) {
        self.trace.note(now, format_args!("BROKEN: {what}"));
        if self.violation.is_none() {
            self.violation = Some(format!("at {:.3} s: {what}", now.as_secs_f64()));
        }
    }

    /// The service that a backend serves now.
    pub(crate) fn service_of(&self, sim: &Simulator, place: usize) -> Option<usize> {
        if let Some(owner) = self.scene.owners.get(place)? {
            return Some(*owner);
        }
        let backend = self.scene.backends.get(place)?;
        let (service, _) = sim
            .map_entries(SERVICES)
            .find(|(_, value)| value == backend)?;
        self.scene
            .services
            .iter()
            .position(|known| known.name.as_str() == service)
    }

    /// The last desired state of an address of a service: its strongest state there and its weight.
    pub(crate) fn desired_at(
        &self,
        service: usize,
        address: SocketAddr,
    ) -> Option<(EndpointState, u16)> {
        let desired = self.desired.as_ref()?;
        desired_in(desired, &self.scene.services.get(service)?.name, address)
    }

    /// Returns `true` if a source holds an endpoint of the service at the address.
    pub(crate) fn is_true(&self, service: usize, address: SocketAddr) -> bool {
        let Some(known) = self.scene.services.get(service) else {
            return false;
        };
        self.stores.iter().any(|store| {
            store.records().iter().any(|record| {
                record.key.service == known.name
                    && record
                        .endpoint
                        .as_ref()
                        .is_some_and(|endpoint| endpoint.address == address)
            })
        })
    }

    /// A pass begins with this desired state.
    pub(crate) fn take_desired(&mut self, now: Duration, desired: &Arc<Snapshot>) {
        let scene = self.scene.clone();
        for (at, service) in scene.services.iter().enumerate() {
            let serves = |snapshot: &Snapshot, address| {
                desired_in(snapshot, &service.name, address)
                    .is_some_and(|(state, weight)| state.is_ready() && weight > 0)
            };
            for address in &scene.pool {
                if serves(desired, *address) {
                    self.unwanted.remove(&(at, *address));
                } else {
                    self.unwanted.entry((at, *address)).or_insert(now);
                }
            }
        }
        self.desired = Some(desired.clone());
    }

    /// Another process answers at an address, or none.
    pub(crate) fn set_host(
        &mut self,
        sim: &mut Simulator,
        address: SocketAddr,
        host: Option<Host>,
    ) {
        sim.set_upstream(
            address,
            host.map(|host| Upstream {
                healthy: host.healthy,
            }),
        );
        match host {
            Some(host) => self.hosts.insert(address, host),
            None => self.hosts.remove(&address),
        };
    }

    /// One request for a service, by its route where it has one.
    pub(crate) fn request(&mut self, sim: &mut Simulator, now: Duration, service: usize) {
        self.counts.requests += 1;
        let scene = self.scene.clone();
        let Some(known) = scene.services.get(service) else {
            return;
        };
        let path = match scene.tenant && self.random.chance(300) {
            true => "/api",
            false => "/",
        };
        let backend = match crate::routes::lookup(sim, &known.host, path) {
            Some(backend) => backend.to_owned(),
            None if known.housed => known.backend.clone(),
            None => return,
        };
        let Some(place) = scene.backends.iter().position(|name| *name == backend) else {
            return;
        };
        let bound = self.service_of(sim, place);
        if bound != Some(service) {
            let astray = self.is_led_astray(sim, service, &backend);
            let excused = self.is_meddled(now) || self.gave_way();
            if !excused && (astray || !self.is_tenants(sim, &backend)) {
                let to = bound.map(|at| scene.services[at].name.clone());
                self.broken(
                    now,
                    format_args!(
                        "I1: a request for {} is led to backend {backend}, which serves {to:?}",
                        known.name
                    ),
                );
            }
            return;
        }
        // A client has one request at a time: with more it could stay with a worker that was replaced.
        let mut client = ClientId(self.random.below(8) as u32);
        if scene.policy.http_reuse == HttpReuse::Never && scene.version < (3, 0) {
            // There a client that never rests can stay on a server that was re-pointed, which nobody can see or end.
            client.0 += 8 * (now.as_millis() / 2500) as u32;
        }
        if self.requests.iter().any(|running| running.client == client) {
            return;
        }
        match sim.request(client, &backend) {
            Outcome::Reached(id, address) => {
                self.counts.served += 1;
                self.reached(sim, now, place, service, address);
                let time = match self.long && self.random.chance(100) {
                    true => 1000 + self.random.below(9000),
                    false => self.random.below(900),
                };
                let until = now + Duration::from_millis(time);
                self.requests.push(Running { client, id, until });
                self.note(now, format_args!("request for {} at {address}", known.name));
            }
            Outcome::Unreachable(address) => self.reached(sim, now, place, service, address),
            Outcome::NoServer | Outcome::NoBackend => {}
        }
    }

    /// I1 of one request: it went where its service is.
    fn reached(
        &mut self,
        sim: &Simulator,
        now: Duration,
        place: usize,
        service: usize,
        address: SocketAddr,
    ) {
        if self
            .sights
            .iter()
            .any(|sight| sight.place == place && sight.tainted)
        {
            return;
        }
        if self.taken.contains(&(self.worker, place, address)) {
            return;
        }
        let name = self.scene.services[service].name.clone();
        let shown = sim.servers().any(|server| {
            server.place == place
                && server.address == Some(address)
                && server.admin != AdminState::Maint
        });
        if !shown && self.desired.is_some() && self.desired_at(service, address).is_none() {
            self.counts.stale += 1;
            self.broken(
                now,
                format_args!("I1: a request for {name} reached {address}, which has left it: a stale connection"),
            );
        }
        // Who answers there, if `lb` has let that service in already.
        if let Some(host) = self.hosts.get(&address).copied()
            && host.service != service
            && !self.is_true(service, address)
            && self.desired.is_some()
            && self.desired_at(service, address).is_none()
        {
            let left = self.unwanted.get(&(service, address)).copied();
            let admitted = self.sights.iter().any(|sight| {
                sight.address == Some(address)
                    && sight.serves
                    && !sight.adopted
                    && left.is_some_and(|left| {
                        sight.let_in_at > Some(left) && self.worker_since < left
                    })
                    && self.service_of(sim, sight.place) == Some(host.service)
            });
            let meddled = self
                .sights
                .iter()
                .any(|sight| sight.address == Some(address) && sight.tainted);
            if admitted && !meddled {
                let other = self.scene.services[host.service].name.clone();
                self.broken(
                    now,
                    format_args!("I1: a request for {name} reached {address}, which is {other}'s"),
                );
            }
        }
    }

    /// Returns `true` if another client changed maps lately, so that `lb` may not have seen it.
    pub(crate) fn is_meddled(&self, now: Duration) -> bool {
        self.meddled
            .is_some_and(|at| now < at + Duration::from_secs(60))
    }

    /// Requests end, and processes that linger.
    pub(crate) fn pass_time(&mut self, sim: &mut Simulator, now: Duration) {
        let (done, running): (Vec<Running>, Vec<Running>) = std::mem::take(&mut self.requests)
            .into_iter()
            .partition(|request| request.until <= now);
        self.requests = running;
        for request in done {
            sim.finish(request.id);
        }
        let gone: Vec<SocketAddr> = self
            .hosts
            .iter()
            .filter(|(_, host)| host.leaves.is_some_and(|at| at <= now))
            .map(|(address, _)| *address)
            .collect();
        for address in gone {
            self.set_host(sim, address, None);
        }
    }
}

pub(crate) fn desired_in(
    snapshot: &Snapshot,
    service: &Name,
    address: SocketAddr,
) -> Option<(EndpointState, u16)> {
    snapshot
        .service(service)?
        .endpoints()
        .filter(|(_, endpoint)| endpoint.address == address)
        .map(|(_, endpoint)| (endpoint.state, endpoint.weight.get()))
        .min_by_key(|(state, _)| match state {
            EndpointState::Ready => 0,
            EndpointState::Draining { .. } => 1,
            EndpointState::Pending => 2,
            EndpointState::Down => 3,
        })
}
