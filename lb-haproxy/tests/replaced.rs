//! A worker that was replaced and lives on takes no commands: what it serves is given to nobody else meanwhile.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and reads the clock for its deadlines"
)]

#[path = "support/echo.rs"]
mod echo;
mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use echo::echo;
use lb_core::{Driver as _, Endpoint, Mode, Name, Snapshot, model::Changes};
use lb_haproxy::{
    Client, ClientConfig, HaproxyDriver, TargetConfig,
    capability::Capabilities,
    driver::Files,
    observed::Server,
    plan::{Plan, Planner},
    policy::Policy,
    process::{Executable, Haproxy},
    proto::{AdminState, Command, ServersState},
};
use support::{Place, executables, free_port};

const LIMIT: Duration = Duration::from_secs(120);

/// The most time the driver waits for an old worker.
const BOUND: Duration = Duration::from_secs(5);

const HOUR: Duration = Duration::from_secs(3600);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The desired state for one endpoint, of service `a` or `b`.
fn desired(earlier: &Snapshot, service: &str, address: SocketAddr) -> Snapshot {
    let mut edit = earlier.edit();
    for known in ["a", "b"] {
        edit.set_service(&name(known), Mode::Tcp);
        edit.remove_endpoint(&name(known), &name("one"));
    }
    edit.set_endpoint(&name(service), &name("one"), Endpoint::new(address));
    edit.commit().unwrap()
}

/// A planner whose service `b` is to get an address that a replaced worker serves as `served`, until an hour and two
/// seconds have passed.
fn waiting(served: &str) -> (Planner, Plan) {
    let address = SocketAddr::from(([10, 0, 0, 1], 80));
    let mut planner = Planner::new(Policy::default(), Capabilities::of(3, 2));
    let desired = desired(&Snapshot::default(), "b", address);
    planner.desire(&Snapshot::default(), &desired, &Changes::Everything);
    planner.observe(&name("a"), vec![Server::slot(name("slot1"), 1)], HOUR);
    planner.observe(&name("b"), vec![Server::slot(name("slot1"), 1)], HOUR);
    planner.replaced_serves([(address, name(served))], HOUR + Duration::from_secs(2));
    let plan = planner.plan(HOUR);
    let mut filled = Server::slot(name("slot1"), 1);
    filled.address = Some(address);
    planner.observe(&name("b"), vec![filled], HOUR);
    (planner, plan)
}

fn lets_in(plan: &Plan) -> bool {
    plan.steps()
        .any(|step| matches!(step.command, Command::SetState(_, AdminState::Ready)))
}

#[test]
fn i1_an_address_of_a_replaced_worker_enters_another_service_when_that_is_gone() {
    let (mut planner, plan) = waiting("a");
    assert!(!plan.is_empty() && !lets_in(&plan), "{plan}");
    let plan = planner.plan(HOUR);
    assert!(plan.is_empty() && !plan.settled, "{plan}");
    assert_eq!(plan.again_at, Some(HOUR + Duration::from_secs(2)));
    assert!(planner.replaced_is_gone(), "somebody waited");
    assert!(lets_in(&planner.plan(HOUR)));
    assert!(!planner.replaced_is_gone(), "nobody waits any more");
}

#[test]
fn a_replaced_worker_that_lives_on_is_not_waited_for_without_end() {
    let (mut planner, _) = waiting("a");
    assert!(!lets_in(&planner.plan(HOUR + Duration::from_secs(1))));
    assert!(lets_in(&planner.plan(HOUR + Duration::from_secs(2))));
}

/// Whoever is given up says nothing of what the next one that is replaced serves, however late that is noticed.
#[test]
fn a_worker_that_was_given_up_is_no_longer_said_to_serve() {
    let (planner, _) = waiting("a");
    let still = |seconds| planner.served_by_replaced(HOUR + Duration::from_secs(seconds));
    assert_eq!(still(1).count(), 1);
    assert_eq!(still(2).count(), 0);
}

#[test]
fn an_address_stays_in_its_service_whatever_a_replaced_worker_does() {
    let (_, plan) = waiting("b");
    assert!(lets_in(&plan), "{plan}");
}

struct Subject {
    haproxy: Haproxy,
    driver: HaproxyDriver,
    place: Place,
    /// The frontend of service `a`.
    frontend: SocketAddr,
}

impl Subject {
    async fn start(executable: &Executable) -> Self {
        let port = free_port();
        let place = Place::new(&format!(
            "global\n  stats socket DIR/admin.sock mode 600 level admin expose-fd listeners\n  stats timeout 1h\n  \
             server-state-file DIR/state\n\
             defaults\n  mode tcp\n  timeout client 10m\n  timeout server 10m\n  timeout connect 2s\n  \
             load-server-state-from-file global\n\
             frontend in\n  bind 127.0.0.1:{port}\n  default_backend a\n\
             backend a\n  server-template slot 1-2 slot.invalid:1 disabled init-addr last,127.0.0.1\n\
             backend b\n  server-template slot 1-2 slot.invalid:1 disabled init-addr last,127.0.0.1\n"
        ));
        fs::write(place.dir.path().join("state"), "").unwrap();
        let haproxy = place.start(executable).await;
        let mut target = TargetConfig::new(name("edge"), place.admin.clone());
        target.files = Files::with_server_state(place.dir.path().join("state"));
        let master = place.dir.path().join("master.sock");
        target.master = Some(master.display().to_string().parse().unwrap());
        Self {
            haproxy,
            driver: HaproxyDriver::new(target),
            place,
            frontend: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    /// Passes until the desired state is in effect.
    async fn converge(&mut self, desired: &Arc<Snapshot>) {
        let began = Instant::now();
        while !self.driver.converge(desired).await.unwrap().converged {
            assert!(began.elapsed() < LIMIT, "the desired state is not met");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns `true` if the newest worker sends requests to this address as service `b`.
    async fn is_ready_in_b(&self, address: SocketAddr) -> bool {
        let mut client = Client::connect(&self.place.admin, ClientConfig::default())
            .await
            .unwrap();
        let show = Command::ShowServersState(Some(name("b")));
        let reply = client.exec(&show).await.unwrap();
        let rows = ServersState::parse(reply.text()).unwrap().rows;
        rows.into_iter()
            .map(Server::from)
            .any(|server| server.address == Some(address) && server.admin == AdminState::Ready)
    }

    async fn has_old_workers(&self) -> bool {
        let processes = self.haproxy.processes().await.unwrap();
        !processes.old_workers.is_empty()
    }
}

#[tokio::test]
async fn i1_an_address_waits_for_the_worker_that_was_replaced() {
    for executable in executables() {
        let mut subject = Subject::start(&executable).await;
        let address = echo();
        let first = Arc::new(desired(&Snapshot::default(), "a", address));
        subject.converge(&first).await;
        let mut user = TcpStream::connect(subject.frontend).unwrap();
        user.set_read_timeout(Some(LIMIT)).unwrap();
        let mut ask = move || {
            let mut byte = [0];
            user.write_all(b"x")
                .and_then(|()| user.read_exact(&mut byte))
        };
        ask().unwrap();

        let reloaded = Instant::now();
        subject.haproxy.reload().await.unwrap();
        assert!(subject.has_old_workers().await, "its user keeps it");
        let moved = Arc::new(desired(&first, "b", address));
        // For a while, as long as the driver waits at all: the new worker sends nobody there as `b`.
        while reloaded.elapsed() < BOUND / 2 {
            let report = subject.driver.converge(&moved).await.unwrap();
            let let_in = subject.is_ready_in_b(address).await;
            let soon = reloaded.elapsed() < BOUND;
            assert!(!(let_in && soon), "let in too soon: {report:?}");
            assert!(!(report.converged && soon), "{report:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ask().expect("the replaced worker serves on");
        drop(ask);
        subject.converge(&moved).await;
        assert!(subject.is_ready_in_b(address).await);
        let waited = reloaded.elapsed() >= BOUND;
        assert!(waited || !subject.has_old_workers().await);
        subject.haproxy.stop().await.unwrap();
    }
}
