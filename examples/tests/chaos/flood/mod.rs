//! One source of first precedence and a few honest services, beside sources that flood: `make chaos FLOOD=10`.
//!
//! The agent runs as a process of its own. The honest services are in a file; tenants flood it with keys of etcd, with
//! containers and with clients that say nothing, and claim the honest services for themselves. No request of the honest
//! services may be lost or answered by a tenant, and a change of theirs may take three times as long as without the
//! flood, no more. What floods would be other machines; here it gives way to what is measured, and must come to its
//! full rate all the same.
//!
//! `LB_FLOOD_MINUTES` is how long the flood lasts; without it the test says so and does nothing.

mod aside;
mod clients;
mod junk;
mod report;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lb_core::Name;
use lb_examples::{
    testbed::{Options, Testbed, endpoint_at},
    traffic::{Running, now},
};
use serde_json::{Value, json};
use tokio::{runtime::Handle, task::JoinHandle, time::sleep};

use crate::{
    agent::Agent,
    crowd::{self, Crowd},
    engine::Host,
    users::{self, LIMIT, name},
};
use aside::Aside;
use clients::Clients;
use junk::Junk;
pub(crate) use report::Memory;
use report::{Report, median};

/// The number of users that ask all the time.
const USERS: usize = 20;
/// The time each of them waits after an answer.
const THINKS: Duration = Duration::from_millis(5);
/// The time a change waits for the one before to have been in effect.
const BETWEEN: Duration = Duration::from_millis(100);
/// The number of changes that are timed without a flood.
const QUIET_CHANGES: usize = 60;
/// The most memory that the agent may take, in MiB.
const MOST_MEMORY: u64 = 200;
/// The number of times longer that a change may take in a flood.
const MOST_DELAY: f64 = 3.0;
/// The fewest changes a second, of the 5,000 that are asked for, that count as a flood of etcd.
const LEAST_FLOOD: f64 = 4500.0;
/// The number of containers of a real engine among the crowd.
const REAL: usize = 10;

/// Ends everything that floods when it is dropped.
#[derive(Clone, Default)]
pub(crate) struct Going(Arc<AtomicBool>);

impl Going {
    pub(crate) fn on(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }

    /// Becomes true when it ends.
    fn over(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The honest services: one endpoint that stays, and one that comes and goes.
struct Honest {
    bed: Testbed,
    agent: Agent,
    service: Name,
    guest: SocketAddr,
    there: bool,
}

impl Honest {
    /// Makes the next change; returns how long it took until HAProxy served accordingly.
    async fn change(&mut self) -> Duration {
        let (key, endpoint) = endpoint_at(&self.service, self.guest);
        let desired = &self.bed.desired;
        let announced = match self.there {
            true => desired.announce([], [key]),
            false => desired.announce([(key, endpoint)], []),
        };
        self.there = !self.there;
        let began = now();
        self.agent.write(&desired.endpoints());
        desired.written(announced, None);
        self.bed.in_step(LIMIT).await.unwrap();
        let took = began.elapsed();
        self.bed.desired.all_verified();
        took
    }

    async fn changes(&mut self, going: impl Fn(usize) -> bool) -> Vec<Duration> {
        let mut times = Vec::new();
        while going(times.len()) {
            times.push(self.change().await);
            assert!(self.agent.is_alive(), "the agent ended by itself");
            sleep(BETWEEN).await;
        }
        times
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_flood_of_one_source_delays_and_misroutes_nothing_of_another() {
    let minutes = std::env::var("LB_FLOOD_MINUTES").ok();
    let minutes = minutes.and_then(|text| text.parse::<f64>().ok());
    let Some(minutes) = minutes.filter(|minutes| *minutes > 0.0) else {
        println!("flood: LB_FLOOD_MINUTES is not set: nothing to do");
        return;
    };
    let executable = users::executables().pop().unwrap();
    let version = executable.version().await.unwrap().to_string();
    let services = vec![name("a"), name("b")];
    let mut options = Options::new(services.clone(), 8);
    options.timeout = Duration::from_secs(1);
    let mut bed = Testbed::start(executable, options).await.unwrap();
    // What a tenant has at its own address: a request for an honest service that comes here is misrouted.
    let tenant = bed.add_server().await.unwrap();
    bed.oracle.publish(tenant, &name("tenant"));

    let going = Going::default();
    let aside = Aside::start();
    let on = aside.handle();
    let host = on.spawn_blocking(Host::start).await.unwrap();
    let host = Arc::new(host);
    let junk = on
        .spawn_blocking(move || Junk::start(tenant))
        .await
        .unwrap();
    let crowd = on
        .spawn(Crowd::start(tenant, crowd::CONTAINERS, going.over()))
        .await
        .unwrap();
    let sources = sources(&junk, &crowd, &host);
    let port = free_port();
    let agent = Agent::with(&bed.haproxy, sources, Some(port));
    let guest = bed.add_server().await.unwrap();
    let mut honest = Honest {
        bed,
        agent,
        service: services[0].clone(),
        guest,
        there: false,
    };
    for service in &services {
        let stays = honest.bed.add_server().await.unwrap();
        let announced = honest
            .bed
            .desired
            .announce([endpoint_at(service, stays)], []);
        honest.bed.desired.written(announced, None);
    }
    honest.agent.write(&honest.bed.desired.endpoints());
    honest.agent.start();
    honest.bed.in_step(LIMIT).await.unwrap();
    honest.bed.desired.all_verified();
    let users = load(&honest.bed);
    let without = honest.changes(|made| made < QUIET_CHANGES).await;
    let quiet = honest.agent.memory();

    let clients = Clients::start(on, port, honest.agent.socket(), going.clone());
    let keys = junk.flood(on, going.clone());
    crowd.open();
    let containers = real_containers(on, Arc::clone(&host), going.clone());
    let began = now();
    let lasting = Duration::from_secs_f64(minutes * 60.0);
    let with = honest.changes(|_| began.elapsed() < lasting).await;
    let (status, waited) = honest.agent.status().await;
    let (memory, took) = (honest.agent.memory(), began.elapsed());
    going.end();
    let (keys, clients) = (keys.await.unwrap(), clients.end().await);
    containers.await.unwrap();

    users.stop();
    let outcome = users.finish().await;
    let report = Report {
        version,
        took,
        changes: keys.changes,
        revisions: keys.revisions,
        junk: keys.junk,
        containers: (crowd::CONTAINERS, REAL),
        container_events: crowd.events(),
        listings: crowd.listings(),
        clients,
        requests: outcome.requests,
        lost: outcome.lost,
        misrouted: outcome.misrouted,
        without: (without.len(), median(&without)),
        with: (with.len(), median(&with), with.iter().max().copied()),
        quiet,
        memory,
        status: status.map(|status| status.len()),
        waited,
        log: honest.agent.log_size(),
    };
    println!("\n{report}");
    let mut bad: Vec<String> = outcome.faults().into_iter().collect();
    bad.extend(report.faults());
    honest.agent.kill();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// An address that nothing listens at.
fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The tenants' sources, after the honest file.
fn sources(junk: &Junk, crowd: &Crowd, host: &Host) -> Vec<Value> {
    let docker = |name: &str, host: String| {
        json!({
            "kind": "docker",
            "name": name,
            "connection": { "host": host },
            "reach": { "from": "host" },
        })
    };
    vec![
        json!({ "kind": "etcd", "name": "keys", "connection": { "endpoints": [junk.endpoint()] } }),
        docker("crowd", crowd.host()),
        docker("engine", host.address()),
    ]
}

fn load(bed: &Testbed) -> Running {
    let mut load = bed.load(USERS, 0);
    load.at_least = Duration::from_secs(24 * 3600);
    load.deadline = load.at_least;
    load.request_limit = Duration::from_secs(60);
    load.pause = THINKS;
    load.start(Arc::clone(&bed.oracle))
}

/// Containers of a real engine, each with as many labels as those of the crowd; one after the other is restarted.
fn real_containers(on: &Handle, host: Arc<Host>, going: Going) -> JoinHandle<()> {
    on.spawn_blocking(move || {
        let names: Vec<String> = (0..REAL).map(|at| format!("flood-{at}")).collect();
        for (at, name) in names.iter().enumerate() {
            host.run_labelled(name, &crowd::labels(at));
        }
        let mut turns = names.iter().cycle();
        while going.on() {
            host.restart(turns.next().unwrap());
        }
        for name in &names {
            host.remove(name);
        }
    })
}
