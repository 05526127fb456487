//! The last rung on a real HAProxy: a larger configuration and the one reload that brings it.

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
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use echo::echo;
use lb_core::{Driver as _, Endpoint, Mode, Name, Notice, Report, Snapshot, UnmetReason};
use lb_haproxy::{
    HaproxyDriver, Policy, TargetConfig,
    client::{ReloadError, reload},
    driver::Files,
    growth::GrowthConfig,
    policy::DynamicServers,
    process::{Executable, Haproxy},
};
use support::{Place, free_port};

const LIMIT: Duration = Duration::from_secs(120);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A HAProxy whose TCP service `echo` has two slots, driven with leave to grow.
struct Subject {
    /// Dropped first.
    haproxy: Haproxy,
    place: Place,
    frontend: SocketAddr,
    driver: HaproxyDriver,
    notices: Vec<Notice>,
}

impl Subject {
    async fn start(executable: &Executable, adjust: impl FnOnce(&mut TargetConfig)) -> Self {
        let port = free_port();
        let place = Place::new(&format!(
            "global\n  stats socket DIR/admin.sock mode 600 level admin expose-fd listeners\n  stats timeout 1h\n  \
             server-state-file DIR/state\n\
             defaults\n  mode tcp\n  timeout client 10m\n  timeout server 10m\n  timeout connect 2s\n  \
             load-server-state-from-file global\n\
             frontend in\n  bind 127.0.0.1:{port}\n  default_backend echo\n\
             backend echo\n  server-template slot 1-2 slot.invalid:1 disabled init-addr last,127.0.0.1\n"
        ));
        fs::write(place.dir.path().join("state"), "").unwrap();
        let haproxy = place.start(executable).await;
        let mut target = TargetConfig::new(name("edge"), place.admin.clone());
        target.files = Files::with_server_state(place.dir.path().join("state"));
        let mut policy = Policy::default();
        policy.dynamic_servers = DynamicServers::Never;
        target.policy = policy;
        let mut growth = GrowthConfig::new(&place.config);
        growth.executable = executable.path().to_owned();
        growth.wait = Duration::from_millis(50);
        growth.jitter = Duration::ZERO;
        growth.pause = Duration::from_millis(200);
        growth.limit = LIMIT;
        target = target.with_growth(master(&place), growth);
        adjust(&mut target);
        Self {
            haproxy,
            frontend: SocketAddr::from(([127, 0, 0, 1], port)),
            place,
            driver: HaproxyDriver::new(target),
            notices: Vec::new(),
        }
    }

    /// Passes until the report is as wanted.
    async fn until(
        &mut self,
        desired: &Arc<Snapshot>,
        what: &str,
        so: impl Fn(&Report) -> bool,
    ) -> Report {
        let began = Instant::now();
        loop {
            let mut report = self.driver.converge(desired).await.unwrap();
            self.notices.append(&mut report.notices);
            if so(&report) {
                return report;
            }
            assert!(
                began.elapsed() < LIMIT,
                "waited for {what}: {report:?}, {:?}",
                self.notices
            );
            tokio::time::sleep(
                report
                    .again
                    .unwrap_or(Duration::from_millis(20))
                    .min(Duration::from_millis(50)),
            )
            .await;
        }
    }

    fn config(&self) -> String {
        fs::read_to_string(&self.place.config).unwrap()
    }

    fn told(&self, kind: &str) -> usize {
        self.notices
            .iter()
            .filter(|notice| notice.kind == kind)
            .count()
    }
}

fn master(place: &Place) -> lb_haproxy::SocketAddress {
    let path: PathBuf = place.dir.path().join("master.sock");
    path.display().to_string().parse().unwrap()
}

fn echoes(count: usize) -> Vec<SocketAddr> {
    (0..count).map(|_| echo()).collect()
}

fn desired(addresses: &[SocketAddr]) -> Arc<Snapshot> {
    more(&Arc::default(), addresses)
}

/// The desired state and these endpoints.
fn more(desired: &Arc<Snapshot>, addresses: &[SocketAddr]) -> Arc<Snapshot> {
    let mut edit = desired.edit();
    for address in addresses {
        let id = name(&format!("e-{}", address.port()));
        edit.set_endpoint(&name("echo"), &id, Endpoint::new(*address));
    }
    edit.set_service(&name("echo"), Mode::Tcp);
    Arc::new(edit.commit().unwrap())
}

fn is_echoed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").is_ok() && stream.read_exact(&mut byte).is_ok() && byte == *b"x"
}

fn connect(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    assert!(is_echoed(&mut stream), "a new connection is not served");
    stream
}

async fn over_versions(run: impl AsyncFn(&Executable)) {
    for executable in support::executables() {
        println!("HAProxy {}", executable.version().await.unwrap());
        run(&executable).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lived_connections_outlive_growth_and_the_old_worker_is_reported_until_it_ends() {
    over_versions(async |executable: &Executable| {
        let mut subject = Subject::start(executable, |_| {}).await;
        let addresses = echoes(5);
        let two = desired(&addresses[..2]);
        subject
            .until(&two, "two endpoints", |report| report.converged)
            .await;
        let mut idle: Vec<TcpStream> = (0..200).map(|_| connect(subject.frontend)).collect();

        let five = more(&two, &addresses);
        let grown = subject
            .until(&five, "growth", |report| {
                report.converged && report.unmet.is_empty()
            })
            .await;
        assert_eq!(grown.counters.get("reloads"), Some(&1), "{grown:?}");
        assert!(
            subject.config().contains("slot 1-5 "),
            "{}",
            subject.config()
        );
        let gauge = |report: &Report| report.gauges.get("old_workers").copied();
        subject
            .until(&five, "the old worker to be seen", |report| {
                gauge(report) == Some(1)
            })
            .await;

        // They are where they were, and new ones come in.
        assert!(idle.iter_mut().all(is_echoed));
        drop(connect(subject.frontend));
        subject
            .until(&five, "another look", |report| {
                report.gauges.get("oldest_old_worker_seconds") > Some(&0)
            })
            .await;
        assert_eq!(
            gauge(&subject.driver.converge(&five).await.unwrap()),
            Some(1)
        );

        drop(idle);
        let end = subject
            .until(&five, "the old worker to end", |report| {
                gauge(report) == Some(0)
            })
            .await;
        assert_eq!(end.counters.get("reloads"), Some(&1));
        for kind in ["reload_wanted", "reloaded", "old_worker", "old_worker_gone"] {
            assert_eq!(subject.told(kind), 1, "{kind}: {:?}", subject.notices);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i2_the_new_worker_serves_from_its_first_request_on() {
    over_versions(async |executable: &Executable| {
        let mut subject = Subject::start(executable, |_| {}).await;
        let addresses = echoes(3);
        let two = desired(&addresses[..2]);
        subject
            .until(&two, "two endpoints", |report| report.converged)
            .await;
        let frontend = subject.frontend;
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let users: Vec<_> = (0..4)
            .map(|_| {
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    let mut count = 0_u64;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        drop(connect(frontend));
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let three = more(&two, &addresses);
        let report = subject
            .until(&three, "growth", |report| {
                report.converged && report.unmet.is_empty()
            })
            .await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let connections: u64 = users.into_iter().map(|user| user.join().unwrap()).sum();
        assert!(connections > 0);
        assert_eq!(report.counters.get("reloads"), Some(&1));
        // Only the third endpoint was new to the new worker.
        assert_eq!(report.counters.get("rung_slot"), Some(&3), "{report:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_haproxy_refuses_is_not_kept_and_the_reason_is_told() {
    over_versions(async |executable: &Executable| {
        let mut subject = Subject::start(executable, |target| {
            target.growth.as_mut().unwrap().pause = Duration::from_secs(600);
        })
        .await;
        let addresses = echoes(3);
        let two = desired(&addresses[..2]);
        subject
            .until(&two, "two endpoints", |report| report.converged)
            .await;
        let broken = subject.config() + "backend broken\n  nonsense setting\n";
        fs::write(&subject.place.config, &broken).unwrap();
        let three = more(&two, &addresses);
        let refused = subject
            .until(&three, "a failed growth", |report| {
                report.counters.contains_key("reloads_failed")
            })
            .await;
        assert_eq!(subject.config(), broken, "the file is as it was");
        let unmet = refused.unmet.first().unwrap();
        assert_eq!(unmet.reason, UnmetReason::NoCapacity);
        assert!(unmet.detail.contains("not reloaded: "), "{}", unmet.detail);
        assert!(unmet.detail.contains("'nonsense'"), "{}", unmet.detail);
        assert_eq!(refused.counters.get("reloads"), Some(&0));
        assert_eq!(subject.told("reload_failed"), 1);
        drop(connect(subject.frontend));
        // It is not tried again at once.
        let later = subject.driver.converge(&three).await.unwrap();
        assert_eq!(later.counters.get("reloads_failed"), Some(&1));
    })
    .await;
}

/// A master that refuses what `haproxy -c` took (here: it cannot read the file) leaves the former worker in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_fails_is_noticed_on_every_version() {
    over_versions(async |executable: &Executable| {
        let subject = Subject::start(executable, |_| {}).await;
        let before = subject
            .haproxy
            .processes()
            .await
            .unwrap()
            .current()
            .unwrap()
            .pid;
        fs::write(
            &subject.place.config,
            "backend broken\n  nonsense setting\n",
        )
        .unwrap();
        let failed = reload(&master(&subject.place), LIMIT).await;
        assert!(
            matches!(failed, Err(ReloadError::Failed { .. })),
            "{failed:?}"
        );
        let after = subject.haproxy.processes().await.unwrap();
        assert_eq!(after.current().map(|worker| worker.pid), Some(before));
        assert_eq!(subject.haproxy.connect().await.unwrap().info().pid, before);
    })
    .await;
}

/// Without leave to change the configuration, what is needed is visible with its reason, and nothing is reloaded.
#[tokio::test(flavor = "multi_thread")]
async fn who_reloads_by_themselves_sees_what_is_needed() {
    over_versions(async |executable: &Executable| {
        let mut subject = Subject::start(executable, |target| target.growth = None).await;
        let addresses = echoes(3);
        let config = subject.config();
        let three = desired(&addresses);
        let report = subject
            .until(&three, "an unmet condition", |report| {
                report.converged && !report.unmet.is_empty()
            })
            .await;
        let unmet = report.unmet.first().unwrap();
        assert_eq!(unmet.reason, UnmetReason::NoCapacity);
        assert!(
            unmet.detail.contains("no free slot: 2 in all"),
            "{}",
            unmet.detail
        );
        let preview = subject.driver.preview(&three).await.unwrap();
        assert!(
            preview
                .text
                .contains("only a reload gives more: backend echo has 2 slots and needs 1 more"),
            "{}",
            preview.text
        );
        assert_eq!(subject.config(), config);

        // Their own reload is all it takes.
        fs::write(
            &subject.place.config,
            config.replace("slot 1-2", "slot 1-3"),
        )
        .unwrap();
        // What lb applied is in the state file before long.
        let began = Instant::now();
        while !fs::read_to_string(subject.place.dir.path().join("state"))
            .unwrap()
            .contains(" slot.invalid ")
        {
            assert!(began.elapsed() < LIMIT);
            subject.until(&three, "the file", |_| true).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        subject.haproxy.reload().await.unwrap();
        // The control plane waits like this between passes.
        tokio::time::timeout(LIMIT, subject.driver.attention())
            .await
            .unwrap();
        let met = subject
            .until(&three, "the new slot", |report| {
                report.converged && report.unmet.is_empty()
            })
            .await;
        assert_eq!(met.counters.get("reloads"), Some(&0), "lb made none");
        subject
            .until(&three, "old workers to be counted", |report| {
                report.gauges.contains_key("old_workers")
            })
            .await;
    })
    .await;
}
