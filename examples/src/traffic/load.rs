//! Many users at once, and what became of their requests.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::{self, Write as _},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use lb_core::Name;
use tokio::task::JoinSet;

use super::{
    client::{Client, Loss, Protocol},
    clock::now,
    content::Ask,
    dropped::Dropped,
    latency::Latencies,
    oracle::{Misroute, Oracle},
};

/// Users that ask services over and over, each waiting for its answer before it asks again.
///
/// The load ends when it has made [`requests`](Self::requests) and lasted [`at_least`](Self::at_least), when it is
/// [stopped](Running::stop), or at its [`deadline`](Self::deadline).
#[derive(Debug, Clone)]
pub struct Load {
    /// Each service and its frontend; the users take turns over them.
    pub services: Vec<(Name, SocketAddr)>,
    /// The number of users.
    pub users: usize,
    /// The least number of requests to make.
    pub requests: u64,
    /// The least time to go on.
    pub at_least: Duration,
    /// The most time to go on.
    pub deadline: Duration,
    /// The time one request may take; past it, it is lost.
    pub request_limit: Duration,
    /// The time a user waits between an answer and its next request.
    pub pause: Duration,
    /// The way connections are treated between requests.
    pub connections: Connections,
    /// The protocol of the users.
    pub protocol: Protocol,
    /// The content they ask for.
    pub ask: Ask,
}

/// The way users treat their connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// All keep them.
    Kept,
    /// A new one for every request.
    PerRequest,
    /// Every second user keeps its connection.
    Mixed,
}

/// A load that is under way.
#[derive(Debug)]
pub struct Running {
    control: Arc<Control>,
    users: JoinSet<Share>,
}

/// Counts that can be read while a load is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Requests begun.
    pub begun: u64,
    /// Requests answered rightly.
    pub answered: u64,
    /// Requests lost.
    pub lost: u64,
    /// Requests that failed while failing was excused.
    pub excused: u64,
}

/// The outcome of all requests.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Requests made, however they ended.
    pub requests: u64,
    /// Requests without a whole and right answer.
    pub lost: u64,
    /// The first lost requests.
    pub losses: Vec<Lost>,
    /// Requests that failed while failing was excused: not among the lost.
    pub excused: u64,
    /// The ways in which they failed, and how often.
    pub excuses: BTreeMap<String, u64>,
    /// The most of them that one user had with one service.
    pub most_excused: u64,
    /// Misroutes of all the oracle has seen.
    pub misrouted: u64,
    /// The first misroutes.
    pub misroutes: Vec<Misroute>,
    /// The time the answered requests took.
    pub latencies: Latencies,
    /// Answered requests by endpoint.
    pub by_endpoint: BTreeMap<SocketAddr, u64>,
    /// The time the load lasted.
    pub took: Duration,
    /// If `true`, all requests asked for were made before the deadline.
    pub complete: bool,
    /// The kernel's part in it, if it dropped packets meanwhile.
    pub dropped: Option<String>,
}

/// One lost request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The service it was for.
    pub service: Name,
    /// Why, with the causes below.
    pub reason: String,
    /// The time at which it was found lost, since the load began.
    pub at: Duration,
    /// The time it had taken.
    pub took: Duration,
    /// If `true`, its connection had served before.
    pub kept: bool,
}

/// The number of lost requests that are kept for the report; all are counted.
const KEPT: usize = 20;

#[derive(Debug)]
struct Control {
    load: Load,
    oracle: Arc<Oracle>,
    began: Instant,
    dropped: Dropped,
    stopped: AtomicBool,
    begun: AtomicU64,
    answered: AtomicU64,
    lost: AtomicU64,
    excused: AtomicU64,
    /// Odd while failures are excused; grows with every change.
    excuse: AtomicU64,
}

/// One user's part of the outcome.
#[derive(Debug, Default)]
struct Share {
    latencies: Latencies,
    losses: Vec<Lost>,
    excuses: BTreeMap<String, u64>,
    /// By service, of this user; then the most of any user.
    excused: BTreeMap<Name, u64>,
    by_endpoint: BTreeMap<SocketAddr, u64>,
}

impl Load {
    /// A load of `users` who make `requests` at least to `services`, over both kinds of connections.
    #[must_use]
    pub fn new(services: Vec<(Name, SocketAddr)>, users: usize, requests: u64) -> Self {
        Self {
            services,
            users,
            requests,
            at_least: Duration::ZERO,
            deadline: Duration::from_secs(60),
            request_limit: Duration::from_secs(10),
            pause: Duration::ZERO,
            connections: Connections::Mixed,
            protocol: Protocol::Http1,
            ask: Ask::Identity,
        }
    }

    /// Lets the users begin.
    #[must_use]
    pub fn start(self, oracle: Arc<Oracle>) -> Running {
        let mut users = JoinSet::new();
        let count = if self.services.is_empty() {
            0
        } else {
            self.users
        };
        let control = Arc::new(Control {
            load: self,
            oracle,
            began: now(),
            dropped: Dropped::begin(),
            stopped: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            excused: AtomicU64::new(0),
            excuse: AtomicU64::new(0),
        });
        for user in 0..count {
            users.spawn(use_services(user, Arc::clone(&control)));
        }
        Running { control, users }
    }
}

impl Running {
    /// Its progress so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            begun: self.control.begun.load(Ordering::Relaxed),
            answered: self.control.answered.load(Ordering::Relaxed),
            lost: self.control.lost.load(Ordering::Relaxed),
            excused: self.control.excused.load(Ordering::Relaxed),
        }
    }

    /// Returns `true` if every user has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.control.over()
    }

    /// From now on a request that fails is excused (`true`) or lost (`false`). One that was under way at any time
    /// while failing was excused is excused.
    pub fn excuse_failures(&self, excused: bool) {
        let odd = self.control.excuse.load(Ordering::SeqCst) % 2 == 1;
        if odd != excused {
            self.control.excuse.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Lets every user end after the request it is at.
    pub fn stop(&self) {
        self.control.stopped.store(true, Ordering::Relaxed);
    }

    /// Waits for the end, bounded by the load's deadline and one request's limit.
    pub async fn finish(mut self) -> Outcome {
        let mut all = Share::default();
        while let Some(ended) = self.users.join_next().await {
            match ended {
                Ok(share) => all.merge(share),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
        }
        let control = &self.control;
        let requests = control.begun.load(Ordering::Relaxed);
        all.losses.sort_by_key(|lost| lost.at);
        all.losses.truncate(KEPT);
        Outcome {
            requests,
            lost: control.lost.load(Ordering::Relaxed),
            losses: all.losses,
            excused: control.excused.load(Ordering::Relaxed),
            excuses: all.excuses,
            most_excused: all.excused.into_values().max().unwrap_or_default(),
            misrouted: control.oracle.misrouted(),
            misroutes: control.oracle.misroutes(),
            latencies: all.latencies,
            by_endpoint: all.by_endpoint,
            took: now().saturating_duration_since(control.began),
            complete: requests >= control.load.requests,
            dropped: control.dropped.since(),
        }
    }
}

impl Outcome {
    /// The faults, a line each; `None` when there is none.
    #[must_use]
    pub fn faults(&self) -> Option<String> {
        let mut text = String::new();
        if self.lost > 0 {
            let _ = writeln!(text, "{} of {} requests lost:", self.lost, self.requests);
        }
        for lost in &self.losses {
            let _ = writeln!(text, "  {lost}");
        }
        if self.misrouted > 0 {
            let _ = writeln!(text, "{} misrouted:", self.misrouted);
        }
        for misroute in &self.misroutes {
            let _ = writeln!(text, "  {misroute}");
        }
        if let (false, Some(dropped)) = (text.is_empty(), &self.dropped) {
            let _ = writeln!(text, "{dropped}");
        }
        (!text.is_empty()).then_some(text)
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at {:.3} s, {}, {} connection, after {:?}: {}",
            self.at.as_secs_f64(),
            self.service,
            if self.kept { "kept" } else { "new" },
            self.took,
            self.reason
        )
    }
}

impl Control {
    fn over(&self) -> bool {
        let elapsed = now().saturating_duration_since(self.began);
        let enough = self.begun.load(Ordering::Relaxed) >= self.load.requests
            && elapsed >= self.load.at_least;
        enough || elapsed >= self.load.deadline || self.stopped.load(Ordering::Relaxed)
    }
}

impl Share {
    fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        self.losses.extend(other.losses);
        for (excuse, count) in other.excuses {
            *self.excuses.entry(excuse).or_default() += count;
        }
        for (service, count) in other.excused {
            let most = self.excused.entry(service).or_default();
            *most = count.max(*most);
        }
        for (endpoint, count) in other.by_endpoint {
            *self.by_endpoint.entry(endpoint).or_default() += count;
        }
    }
}

/// One user: takes turns over the services, beginning with another than its neighbour.
async fn use_services(user: usize, control: Arc<Control>) -> Share {
    let load = &control.load;
    let mut share = Share::default();
    let mut clients: Vec<Client> = load
        .services
        .iter()
        .map(|(service, frontend)| Client::new(service.clone(), *frontend, load.protocol))
        .collect();
    let count = clients.len().max(1);
    clients.rotate_left(user / 2 % count);
    let keeps = match load.connections {
        Connections::Kept => true,
        Connections::PerRequest => false,
        Connections::Mixed => user.is_multiple_of(2),
    };
    let mut first_round = true;
    while !control.over() {
        for client in &mut clients {
            if control.over() {
                break;
            }
            if !keeps {
                client.disconnect();
            }
            one_request(client, &control, &mut share, keeps && !first_round).await;
            if load.pause.is_zero() {
                // Loopback answers can be ready at once; the control plane must get its turn as well.
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(load.pause).await;
            }
        }
        first_round = false;
    }
    share
}

async fn one_request(client: &mut Client, control: &Control, share: &mut Share, kept: bool) {
    control.begun.fetch_add(1, Ordering::Relaxed);
    let excuse = control.excuse.load(Ordering::SeqCst);
    let started = now();
    let result = client
        .get(control.load.ask, control.load.request_limit)
        .await;
    let ended = now();
    let took = ended.saturating_duration_since(started);
    match result {
        Ok(answer) => {
            control.answered.fetch_add(1, Ordering::Relaxed);
            control
                .oracle
                .answered(answer.endpoint, client.service(), started);
            share.latencies.add(took);
            *share.by_endpoint.entry(answer.endpoint).or_default() += 1;
        }
        Err(loss) if excuse % 2 == 1 || control.excuse.load(Ordering::SeqCst) != excuse => {
            control.excused.fetch_add(1, Ordering::Relaxed);
            *share.excuses.entry(with_causes(&loss)).or_default() += 1;
            *share.excused.entry(client.service().clone()).or_default() += 1;
            // Whoever refuses now will refuse at once again.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(loss) => {
            control.lost.fetch_add(1, Ordering::Relaxed);
            if share.losses.len() < KEPT {
                share.losses.push(Lost {
                    service: client.service().clone(),
                    reason: with_causes(&loss),
                    at: ended.saturating_duration_since(control.began),
                    took,
                    kept,
                });
            }
        }
    }
}

fn with_causes(loss: &Loss) -> String {
    let mut text = loss.to_string();
    let mut cause = loss.source();
    while let Some(below) = cause {
        let _ = write!(text, ": {below}");
        cause = below.source();
    }
    text
}
