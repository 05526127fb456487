//! What a seed begins with: a version, services, backends, a policy.

use std::{net::SocketAddr, time::Duration};

use lb_core::{Name, OnDown, ServiceOptions};
use lb_haproxy::{
    Policy, Scope,
    policy::{DynamicServers, HttpReuse},
    simulator::{BackendModel, CheckModel, ConfigModel, MapModel, Profile, Random},
};

use crate::seed::{Kind, Options};

pub(crate) const ROUTES: &str = "lb-routes.map";
pub(crate) const SERVICES: &str = "lb-services.map";
/// The backend that the configuration gives to the first service where a tenant may ask for it.
pub(crate) const GIVEN: &str = "given-s0";
/// The backend that another control plane manages.
pub(crate) const OTHERS: &str = "others-1";
pub(crate) const SHARED_HOST: &str = "shared.example";
pub(crate) const ADMISSION: Duration = Duration::from_secs(3);
pub(crate) const DRAIN: Duration = Duration::from_secs(2);
pub(crate) const HOLD: Duration = Duration::from_secs(3);
pub(crate) const RESYNC: Duration = Duration::from_secs(10);
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) version: (u32, u32),
    pub(crate) services: Vec<Service>,
    /// The backends, in HAProxy's order.
    pub(crate) backends: Vec<String>,
    /// The service of each backend that has one of its own.
    pub(crate) owners: Vec<Option<usize>>,
    pub(crate) pool: Vec<SocketAddr>,
    pub(crate) policy: Policy,
    /// If `true`, a new HAProxy comes with the servers and maps of the one before.
    pub(crate) restores: bool,
    pub(crate) sources: usize,
    pub(crate) settle: Duration,
    /// If `true`, slots have agent checks.
    pub(crate) agents: bool,
    /// If `true`, another client changes where checks go.
    pub(crate) check_edits: bool,
    /// Services of which a source reports an endpoint that no server can serve.
    pub(crate) poisoned: Vec<(usize, SocketAddr)>,
    /// If `true`, a source that shares nothing with the others asks for what is theirs.
    pub(crate) tenant: bool,
    /// The place of the backend that another control plane manages.
    pub(crate) others: Option<usize>,
    /// If `true`, another client fights over a server in the end.
    pub(crate) fight: bool,
}

/// The strangers there are: of a seed of its own, as for exclusive services.
struct Strangers {
    random: Random,
    tenant: bool,
    owner: bool,
    fight: bool,
}

impl Strangers {
    fn new(options: &Options) -> Self {
        let mut random = Random::new(options.seed ^ 0x57_4a6e);
        let tenant = random.chance(300) && options.has(Kind::Tenant);
        let owner = random.chance(250) && options.has(Kind::Owners);
        let fight = random.chance(60) && options.has(Kind::Fights);
        Self {
            random,
            tenant,
            owner,
            fight,
        }
    }
}

/// The servers that are no slots.
pub(crate) const BY_HAND: [&str; 3] = ["legacy2", "app1", "sorry"];

/// The servers beside the slots, those of the slots that have agents, and the records that are poison: of a seed of its
/// own, as for exclusive services.
struct Oddities {
    random: Random,
    agents: bool,
    fixed: bool,
    poison: bool,
    check_edits: bool,
}

impl Oddities {
    fn new(options: &Options, exclusive: bool) -> Self {
        let mut random = Random::new(options.seed ^ 0x0dd_171e5);
        let agents = random.chance(250) && options.has(Kind::Agents) && !exclusive;
        let fixed = random.chance(300) && options.has(Kind::Fixed);
        let poison = random.chance(250) && options.has(Kind::Poison);
        let check_edits = random.chance(300) && options.has(Kind::CheckEdits);
        Self {
            random,
            agents,
            fixed,
            poison,
            check_edits,
        }
    }

    /// Gives a backend what is odd about it.
    fn apply(&mut self, model: &mut BackendModel, exclusive: bool) {
        for server in &mut model.servers {
            server.agent = self.agents;
        }
        if !self.fixed {
            return;
        }
        for (number, name) in (1..).zip(BY_HAND) {
            if !self.random.chance(500) {
                continue;
            }
            let mut server = model.servers[0].clone();
            server.name = name.to_owned();
            server.address = Some(SocketAddr::from(([10, 9, 9, number], 80)));
            server.check = None;
            server.agent = false;
            server.disabled = exclusive || self.random.chance(600);
            model.servers.push(server);
        }
    }

    fn poison(&mut self, services: usize) -> Vec<(usize, SocketAddr)> {
        let bad = ["0.0.0.0:80", "[::]:80", "10.0.0.1:0", "127.0.0.1:1"];
        let one_each = (0..services).filter_map(|service| {
            let address = self.random.pick(&bad)?.parse().ok()?;
            (self.random.chance(500) && self.poison).then_some((service, address))
        });
        one_each.collect()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: Name,
    pub(crate) host: String,
    /// The backend that is its own, where it has one.
    pub(crate) backend: String,
    /// If `true`, it has a backend of its own.
    pub(crate) housed: bool,
    /// The options of the service: whether at most one endpoint may get traffic, and the fate of sessions to those that
    /// are down.
    pub(crate) options: ServiceOptions,
}

impl Service {
    pub(crate) fn is_exclusive(&self) -> bool {
        self.options.exclusive == Some(true)
    }
}

/// Draws which services are exclusive, of a seed of its own: worlds without any are as they were.
struct Fences {
    random: Random,
    any: bool,
}

impl Fences {
    fn new(options: &Options) -> Self {
        let mut random = Random::new(options.seed ^ 0xfe_9ce5);
        let any = random.chance(350) && options.has(Kind::Exclusive);
        Self { random, any }
    }

    fn options(&mut self) -> ServiceOptions {
        let exclusive = self.random.chance(600) && self.any;
        let closes = self.random.chance(500) && self.any;
        ServiceOptions::default()
            .exclusive(exclusive.then_some(true))
            .on_down(closes.then_some(OnDown::ShutdownSessions))
    }
}

impl Scene {
    pub(crate) fn new(random: &mut Random, options: &Options) -> (Self, ConfigModel) {
        let version = *random.pick(&Profile::ALL).unwrap();
        let count = 2 + random.below(3) as usize;
        let spares = random.below(3) as usize;
        let homeless = match options.has(Kind::Spares) {
            true => spares.min(count - 1),
            false => 0,
        };
        let mut fences = Fences::new(options);
        let mut strangers = Strangers::new(options);
        let services: Vec<Service> = (0..count)
            .map(|at| Service {
                name: format!("s{at}").parse().unwrap(),
                host: format!("s{at}.example"),
                backend: match at {
                    // The configuration gives the first one another name.
                    0 if strangers.tenant => GIVEN.to_owned(),
                    _ => format!("s{at}"),
                },
                housed: at + homeless < count,
                options: fences.options(),
            })
            .collect();
        let reuse = *random
            .pick(&[
                HttpReuse::Safe,
                HttpReuse::Safe,
                HttpReuse::Always,
                HttpReuse::Never,
            ])
            .unwrap();
        let exclusive = services.iter().any(Service::is_exclusive);
        let mut oddities = Oddities::new(options, exclusive);
        let checking = options.has(Kind::Checks);
        let restores = random.chance(600);
        let mut backends = Vec::new();
        let mut backend = |name: &str, random: &mut Random| {
            // In many slots one server is read back alone, in few all are.
            let many = 12 * u32::from(random.chance(80));
            let slots = 2 + many + random.below(4) as u32;
            let check = (random.chance(400) && checking).then(|| CheckModel {
                inter: Duration::from_millis(200 + random.below(600)),
                rise: 1 + random.below(2) as u16,
                fall: 2,
                port: 0,
            });
            let mut model = BackendModel::slots(name, slots, check).with_reuse(reuse);
            for server in &mut model.servers {
                server.restorable = restores;
            }
            oddities.apply(&mut model, exclusive);
            backends.push(model);
        };
        let mut owners = Vec::new();
        for (at, service) in services
            .iter()
            .enumerate()
            .filter(|(_, known)| known.housed)
        {
            backend(&service.backend, random);
            owners.push(Some(at));
        }
        for number in 1..=spares {
            backend(&format!("spare-http-{number}"), random);
            owners.push(None);
        }
        if strangers.tenant {
            backend(&format!("spare-http-{}", spares + 1), &mut strangers.random);
            owners.push(None);
        }
        let others = strangers.owner.then_some(backends.len());
        if strangers.owner {
            backends.push(BackendModel::slots(OTHERS, 4, None).with_reuse(reuse));
            owners.push(None);
        }
        let pool = (0..5 + random.below(6))
            .map(|at| SocketAddr::from(([10, 0, 0, at as u8 + 1], 8000)))
            .collect();
        let dynamic = match random.below(3) {
            0 => DynamicServers::Auto,
            _ => DynamicServers::Never,
        };
        let mut policy = Policy::default();
        policy.drain_timeout = DRAIN;
        policy.admission_timeout = ADMISSION;
        policy.adoption_hold = HOLD;
        policy.http_reuse = reuse;
        policy.keep_alive_timeout = KEEP_ALIVE;
        policy.dynamic_servers = dynamic;
        policy.resync = RESYNC;
        if strangers.tenant {
            let first = services[0].name.clone();
            policy.backends.insert(first, GIVEN.parse().unwrap());
        }
        let map = |id: u32, file: &str| MapModel {
            id,
            file: file.to_owned(),
            entries: Vec::new(),
            description: format!(
                "pattern loaded from file '{file}' used by map at file 'haproxy.cfg' line {id}"
            ),
        };
        let poisoned = oddities.poison(services.len());
        let (agents, check_edits) = (oddities.agents, oddities.check_edits);
        let names = backends.iter().map(|model| model.name.clone()).collect();
        let config = ConfigModel {
            backends,
            maps: vec![map(1, ROUTES), map(2, SERVICES)],
            keep_alive: KEEP_ALIVE,
            ..ConfigModel::default()
        };
        let scene = Self {
            version,
            services,
            backends: names,
            owners,
            pool,
            policy,
            restores,
            agents,
            check_edits,
            poisoned,
            tenant: strangers.tenant,
            others,
            fight: strangers.fight,
            sources: 1 + random.below(3) as usize,
            settle: Duration::from_millis(match random.chance(700) {
                true => 0,
                false => random.below(200),
            }),
        };
        (scene, config)
    }

    /// The backends that are managed, where another control plane manages the rest.
    pub(crate) fn manage(&self) -> Option<Scope> {
        let others = self.others?;
        let own = self.backends.iter().enumerate();
        let own = own.filter(|(place, _)| *place != others);
        Some(Scope::only(own.map(|(_, name)| name.parse().unwrap())))
    }

    pub(crate) fn service(&self, name: &Name) -> Option<usize> {
        self.services.iter().position(|known| known.name == *name)
    }
}
