//! Two services under load, whose endpoints come and go as a source tells it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use lb_core::{Endpoint, EndpointState, Name, RecordKey, Weight};
use lb_examples::{
    testbed::{Options, Testbed, endpoint_at},
    traffic::{Connections, Progress, Running, Seed},
};
use lb_haproxy::process::Executable;
use tokio::time::sleep;

use crate::{
    containers,
    disk::Disk,
    engine::Host,
    faults::Fault,
    source::{Kind, Source},
    table::Row,
    users::{self, LIMIT, name},
};

/// The number of users that ask all the time: fewer where the engine needs the processors too.
const USERS: usize = 60;
const USERS_OF_CONTAINERS: usize = 20;
/// The number of addresses the services share.
const POOL: usize = 16;
/// The number of slots each service has.
pub(crate) const SLOTS: u32 = 32;
/// Longer than HAProxy lets a request wait for anything.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// The most time a load may last.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// For so long at most HAProxy's files are behind, on a machine that is busy: by the README it is about a second.
const FOLLOWS: Duration = Duration::from_secs(15);

/// Two services that share a pool of addresses, each with one endpoint that stays.
pub(crate) struct World {
    pub(crate) bed: Testbed,
    pub(crate) source: Source,
    pub(crate) services: [Name; 2],
    /// The endpoint of each that stays.
    pub(crate) anchors: Vec<SocketAddr>,
    pub(crate) pool: Vec<SocketAddr>,
    /// Whose each address of the pool is, and in what state.
    pub(crate) owners: BTreeMap<SocketAddr, (usize, EndpointState)>,
    pub(crate) random: Seed,
    /// The disk of the files that the driver keeps; ends after HAProxy.
    pub(crate) disk: Option<Disk>,
    /// The faults other than those of requests.
    pub(crate) wrong: Vec<String>,
    /// The faults after which requests were found lost.
    pub(crate) suspects: Vec<Fault>,
    users: Option<Running>,
}

impl World {
    pub(crate) async fn start(
        executable: Executable,
        kind: Kind,
        host: Option<Arc<Host>>,
        random: Seed,
    ) -> Self {
        let services = [name("a"), name("b")];
        let mut options = Options::new(services.to_vec(), SLOTS);
        options.restored = true;
        options.timeout = Duration::from_secs(1);
        // What others edit is seen at the next look.
        options.policy.resync = Duration::from_secs(2);
        let disk = Disk::new();
        options.files = disk.as_ref().map(|disk| disk.folder().to_owned());
        let version = executable.version().await.unwrap();
        let bed = Testbed::start(executable, options).await.unwrap();
        let source = Source::start(kind, &bed, host);
        let mut world = Self {
            bed,
            source,
            services,
            anchors: Vec::new(),
            pool: Vec::new(),
            owners: BTreeMap::new(),
            random,
            disk,
            wrong: Vec::new(),
            suspects: Vec::new(),
            users: None,
        };
        world.start_plane().await;
        world.fill().await;
        world.settle().await;
        let (count, pause) = match kind {
            Kind::Docker => (USERS_OF_CONTAINERS, Duration::from_millis(5)),
            _ => (USERS, Duration::ZERO),
        };
        let mut load = world.bed.load(count, 0);
        load.at_least = LONGEST;
        load.deadline = LONGEST;
        load.request_limit = REQUEST_LIMIT;
        load.pause = pause;
        // Before 2.6 HAProxy closes kept connections when it reloads, under a request that is on its way as well.
        if !version.at_least(2, 6) {
            load.connections = Connections::PerRequest;
        }
        world.users = Some(load.start(Arc::clone(&world.bed.oracle)));
        world
    }

    /// The endpoints that there are when the users begin.
    async fn fill(&mut self) {
        if let Source::Docker(containers) = &self.source {
            self.pool = containers.addresses();
            return containers::fill(self).await;
        }
        for service in self.services.clone() {
            let anchor = self.bed.add_server().await.unwrap();
            self.anchors.push(anchor);
            self.desire(vec![endpoint_at(&service, anchor)], Vec::new())
                .await;
        }
        for _ in 0..POOL {
            self.pool.push(self.bed.add_server().await.unwrap());
        }
        for _ in 0..10 {
            self.change().await;
        }
    }

    /// Changes, one after the other.
    pub(crate) async fn changes(&mut self, count: usize) {
        if let Source::Docker(_) = &self.source {
            return containers::changes(self, count.min(3)).await;
        }
        let mut tick = tokio::time::interval(Duration::from_millis(2));
        for _ in 0..count {
            tick.tick().await;
            self.change().await;
        }
    }

    /// One change: an address of the pool comes, goes, changes its service, its weight or its state.
    async fn change(&mut self) {
        let at = self.random.below(self.pool.len());
        let address = *self.pool.get(at).unwrap();
        let before = self.owners.remove(&address);
        let (set, remove) = match (before, self.random.below(10)) {
            (Some((owner, state)), 0) => {
                let weight = u16::try_from(1 + self.random.below(256)).unwrap();
                (Some((owner, state, weight)), None)
            }
            (Some((owner, _)), 1) => (Some((owner, EndpointState::Down, 100)), None),
            (Some((owner, _)), 2) => {
                let state = EndpointState::Draining { grace: None };
                (Some((owner, state, 100)), None)
            }
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
            let state = self.source.tells(state);
            self.owners.insert(address, (owner, state));
            let (key, endpoint) = self.endpoint(owner, address);
            let weight = Weight::new(weight).unwrap();
            (key, endpoint.with_state(state).with_weight(weight))
        });
        let remove = remove.map(|owner| self.endpoint(owner, address).0);
        self.desire(set.into_iter().collect(), remove.into_iter().collect())
            .await;
    }

    pub(crate) fn endpoint(&self, owner: usize, address: SocketAddr) -> (RecordKey, Endpoint) {
        endpoint_at(self.services.get(owner).unwrap(), address)
    }

    /// Everything is in effect, and nothing but that.
    pub(crate) async fn settle(&mut self) {
        if self.source.tells_revisions() {
            self.bed.verified(LIMIT).await.unwrap();
            self.bed.in_step(LIMIT).await.unwrap();
        } else {
            self.bed.in_step(LIMIT).await.unwrap();
            self.bed.desired.all_verified();
        }
        if let Source::Docker(containers) = &mut self.source {
            containers.settled();
        }
    }

    /// Waits until the files say what HAProxy does, for a HAProxy that starts knows nothing else. They must follow.
    pub(crate) async fn files_follow(&mut self, when: &str) {
        if let Err(error) = self.bed.saved(FOLLOWS).await {
            self.wrong.push(format!("{when}: {error}"));
        }
    }

    /// Lets the users make so many more requests.
    pub(crate) async fn answers(&self, more: u64) {
        if let Some(users) = &self.users {
            users::answers(users, more).await;
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.users
            .as_ref()
            .map(Running::progress)
            .unwrap_or_default()
    }

    /// Requests that are under way at any time from `true` to `false` may fail: what serves them is killed.
    pub(crate) fn excuse(&self, excused: bool) {
        if let Some(users) = &self.users {
            users.excuse_failures(excused);
        }
    }

    /// Ends that when HAProxy has seen that its idle connections to an endpoint are gone.
    pub(crate) async fn excuse_until_seen(&self, address: SocketAddr) {
        while self.bed.haproxy.idle(address).await.unwrap() > 0 {
            sleep(Duration::from_millis(2)).await;
        }
        self.excuse(false);
    }

    /// Ends the load and counts.
    pub(crate) async fn end(&mut self, row: &mut Row) {
        if let Some(users) = self.users.take() {
            users.stop();
            let outcome = users.finish().await;
            row.requests = outcome.requests;
            row.lost = outcome.lost;
            row.excused = outcome.excused;
            row.misrouted = outcome.misrouted;
            row.excuses = outcome.excuses.clone();
            self.wrong.extend(outcome.faults());
            if outcome.lost > 0 {
                let first = self.suspects.first();
                self.wrong.push(format!("the first were lost in {first:?}"));
            }
        }
        row.changes = self.bed.desired.followed().changes;
        if let Source::Docker(containers) = &self.source {
            let misrouted = containers.misrouted();
            row.misrouted += misrouted;
            if misrouted > 0 {
                self.wrong
                    .push(format!("containers got {misrouted} requests of others"));
            }
        }
        self.files_follow("at the end").await;
        self.kill_plane().await;
    }
}
