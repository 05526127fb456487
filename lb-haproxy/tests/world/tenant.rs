//! A hostile tenant: a source of a trust of its own, after all others, that asks for what is theirs. Whatever it says, the
//! services of the others are served as if it were not there.

use std::{net::SocketAddr, time::Duration};

use lb_core::{
    Endpoint, EndpointState, Limits, Mode, Name, Record, RecordKey, Route, ServiceOptions,
    Snapshot, Weight,
};
use lb_haproxy::{
    routes::UNAVAILABLE,
    simulator::{Random, Simulator},
};

use crate::{
    clock,
    play::Play,
    scene::{OTHERS, SERVICES, SHARED_HOST, Scene},
    source::{Mode as Reach, Store},
    world::{World, desired_in},
};

/// The most endpoints and routes that it may have. It asks for more.
const MOST: usize = 12;

/// Its own services, and names that mean something to lb.
const NAMES: [&str; 10] = [
    "tenant",
    "tenant-2",
    "spare-http-1",
    "spare-http-2",
    "spare-http-3",
    "given-s0",
    "lb-unavailable",
    "lb-not-found",
    "dyn-s0",
    OTHERS,
];

/// Names of endpoints: its own, and those of others.
const IDS: [&str; 6] = ["x1", "x2", "x3", "e1", "e2", "routes"];

#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) store: Store,
    random: Random,
}

impl Tenant {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x7e_4a47);
        let mut limits = Limits::default();
        limits.max_endpoints = MOST;
        limits.max_routes = MOST;
        limits.max_routes_per_object = MOST / 2;
        let store = Store::new("tenant", random.next(), false).restricted("tenant", limits);
        Self { store, random }
    }

    fn pick<'p>(&mut self, all: &[&'p str]) -> &'p str {
        self.random.pick(all).copied().unwrap()
    }

    fn service(&mut self, scene: &Scene) -> Name {
        match self.random.chance(400) {
            true => {
                let victim = self.random.pick(&scene.services).unwrap();
                victim.name.clone()
            }
            false => self.pick(&NAMES).parse().unwrap(),
        }
    }

    fn address(&mut self, scene: &Scene) -> SocketAddr {
        match self.random.below(8) {
            0..4 => home(1 + self.random.below(6) as u8),
            4..6 => self.random.pick(&scene.pool).copied().unwrap(),
            6 => SocketAddr::from(([10, 9, 9, 1], 80)),
            _ => "0.0.0.0:80".parse().unwrap(),
        }
    }

    fn endpoint(&mut self, scene: &Scene) -> Endpoint {
        let mut endpoint = Endpoint::new(self.address(scene));
        let weight = *self.random.pick(&[0, 1, 100, 256]).unwrap();
        endpoint = endpoint.with_weight(Weight::new(weight).unwrap());
        let grace = Some(Duration::from_secs(3600));
        match self.random.below(8) {
            0 => endpoint.with_state(EndpointState::Down),
            1 => endpoint.with_state(EndpointState::Draining { grace }),
            2 => endpoint.with_state(EndpointState::Pending),
            _ => endpoint,
        }
    }

    fn route(&mut self, scene: &Scene) -> Route {
        let victim = self.random.pick(&scene.services).unwrap().host.clone();
        let host = self.pick(&[&victim, &victim, "*", "*.example", SHARED_HOST, "t.example"]);
        let path = self.pick(&["/", "/", "/api", "/api/deep"]);
        let route = Route::new(
            host.parse().unwrap(),
            path.parse().unwrap(),
            self.service(scene),
        );
        match self.random.below(5) {
            0 => route.with_priority(i32::MAX),
            1 => route.with_priority(i32::MIN),
            2 => route.with_priority(1),
            _ => route,
        }
    }

    fn record(&mut self, scene: &Scene, service: Name, id: &str) -> Record {
        let key = RecordKey::new(service, id.parse().unwrap());
        let record = match self.random.chance(700) {
            true => Record::new(key, self.endpoint(scene)),
            false => Record::declare(key),
        };
        let routes = match self.random.below(6) {
            0..3 => 0,
            3 | 4 => 1 + self.random.below(3),
            _ => 30,
        };
        let routes: Vec<Route> = (0..routes).map(|_| self.route(scene)).collect();
        let mut options = ServiceOptions::default();
        if self.random.chance(200) {
            options = options.exclusive(Some(self.random.chance(500)));
        }
        let record = record.with_routes(routes).with_options(options);
        match self.random.chance(100) {
            true => record.with_mode(Mode::Tcp),
            false => record,
        }
    }
}

/// An address of its own.
fn home(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 66, 0, number], 8000))
}

/// The tenant says something else.
pub(crate) fn act(play: &mut Play) {
    let scene = play.scene.clone();
    let Some(tenant) = &mut play.tenant else {
        return;
    };
    let mut changes: Vec<(RecordKey, Option<Record>)> = Vec::new();
    match tenant.random.below(12) {
        0 => {
            // A flood of endpoints.
            let service = tenant.service(&scene);
            for number in 0..3 * MOST {
                let record = tenant.record(&scene, service.clone(), &format!("f{number}"));
                changes.push((record.key.clone(), Some(record)));
            }
        }
        1 => {
            let all = tenant.store.records();
            changes.extend(all.into_iter().map(|record| (record.key, None)));
        }
        2 => {
            let mode = *tenant
                .random
                .pick(&[Reach::Up, Reach::Up, Reach::Down, Reach::Hung])
                .unwrap();
            tenant.store.set_mode(mode);
        }
        3 | 4 => {
            let all = tenant.store.records();
            let gone = tenant.random.pick(&all).map(|record| record.key.clone());
            changes.extend(gone.map(|key| (key, None)));
        }
        _ => {
            let (service, id) = (tenant.service(&scene), tenant.pick(&IDS));
            let record = tenant.record(&scene, service, id);
            changes.push((record.key.clone(), Some(record)));
        }
    }
    for (key, record) in &changes {
        let now = clock::elapsed();
        let said = record
            .as_ref()
            .map(|record| (&record.endpoint, record.routes.len()));
        play.world
            .lock()
            .note(now, format_args!("tenant: {key} {said:?}"));
    }
    tenant.store.set(changes);
}

impl World {
    /// The service that is none of the scene's and has a spare backend.
    pub(crate) fn tenant_of(&self, sim: &Simulator, place: usize) -> Option<Name> {
        if !self.scene.tenant || self.scene.owners.get(place)?.is_some() {
            return None;
        }
        let backend = self.scene.backends.get(place)?;
        let mut assigned = sim
            .map_entries(SERVICES)
            .filter(|(_, value)| value == backend)
            .filter_map(|(service, _)| service.parse::<Name>().ok());
        assigned.find(|service| self.scene.service(service).is_none())
    }

    /// Returns `true` if a backend is the tenant's, or no service's that only the tenant leads to.
    pub(crate) fn is_tenants(&self, sim: &Simulator, backend: &str) -> bool {
        let place = self.scene.backends.iter().position(|at| at == backend);
        place.is_some_and(|place| self.tenant_of(sim, place).is_some())
    }

    /// Returns `true` if a backend is one of a service that the tenant has still.
    pub(crate) fn is_in_use_by_tenant(&self, sim: &Simulator, place: usize) -> bool {
        let service = self.tenant_of(sim, place);
        let desired = self.desired.as_ref();
        service.is_some_and(|service| desired.is_some_and(|all| all.service(&service).is_some()))
    }

    /// The last desired state of an address of the tenant's service.
    pub(crate) fn tenants_desired(
        &self,
        service: &Name,
        address: SocketAddr,
    ) -> Option<(EndpointState, u16)> {
        desired_in(self.desired.as_ref()?, service, address)
    }

    /// I1: nothing that the tenant says is desired under the name of another's service, and of what is its own no
    /// more than it may ask for.
    pub(crate) fn check_tenant(&mut self, now: Duration, desired: &Snapshot) {
        // What an empty listing takes from a service without endpoints may be asked for by others.
        if !self.scene.tenant || self.stores.iter().any(Store::ever_lied) {
            return;
        }
        let told: Vec<(RecordKey, Endpoint)> = self
            .stores
            .iter()
            .flat_map(|store| store.ever_told())
            .collect();
        // What the guard holds of it is beside that.
        let says = self.tenant.as_ref().and_then(|store| {
            let revision = store.heard(now).filter(|_| !store.is_in_doubt(now))?;
            Some(store.at(revision))
        });
        let mut own = 0;
        for (service, known) in desired.services() {
            for (id, endpoint) in known.endpoints() {
                if self.scene.service(service).is_none() {
                    let key = RecordKey::new(service.clone(), id.clone());
                    let says = says.as_ref().and_then(|says| says.get(&key));
                    own += usize::from(says.is_some_and(|record| record.endpoint.is_some()));
                    continue;
                }
                let said = told.iter().any(|(key, said)| {
                    key.service == *service && key.id == *id && said.address == endpoint.address
                });
                if !said {
                    self.broken(
                        now,
                        format_args!(
                            "I1: {service}/{id} is desired at {}, and only the tenant says so",
                            endpoint.address
                        ),
                    );
                }
            }
        }
        if own > MOST {
            self.broken(
                now,
                format_args!("I7: the tenant has {own} endpoints, {MOST} are allowed"),
            );
        }
    }

    /// I1: where a service's own route was in effect, no request for it is led to the tenant.
    pub(crate) fn is_led_astray(&self, sim: &Simulator, service: usize, backend: &str) -> bool {
        self.is_tenants(sim, backend) && self.rightly_led[service] && !self.gave_way()
    }

    /// Returns `true` if an empty listing may have left to the tenant what is another's.
    pub(crate) fn gave_way(&self) -> bool {
        self.scene.tenant && self.stores.iter().any(Store::ever_lied)
    }

    /// Returns `true` if the tenant leads a host that its service leaves to others.
    pub(crate) fn is_left_to_tenant(&self, sim: &Simulator, host: &str) -> bool {
        let led = crate::routes::lookup(sim, host, "/");
        led.is_some_and(|led| led == UNAVAILABLE || self.is_tenants(sim, led)) && self.scene.tenant
    }
}

/// Returns `true` if a line of a payload is the tenant's: a name and a backend.
pub(crate) fn is_its_payload(key: &str) -> bool {
    NAMES.contains(&key)
}
