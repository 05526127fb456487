//! The rungs of the ladder side by side: routes in a transaction, a server made at run time against a slot, two
//! phases on each version, and a fleet.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_core::{
    ControlPlane, Endpoint, Event, Record, RecordKey, Route, Snapshot, feed, testkit::free_port,
};
use lb_haproxy::{
    HaproxyDriver, Policy, TargetConfig,
    policy::DynamicServers,
    process::{Executable, Haproxy, HaproxyOptions},
    routes::{fallback_backends, http_route_lines},
};
use tempfile::TempDir;

use crate::{
    planner::name,
    raw,
    report::{Report, median},
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 21;
const FLEET: usize = 20;

pub async fn measure(report: &mut Report) -> Result<()> {
    let newest = Executable::find(None)?;
    routes(report, &newest).await?;
    dynamic_against_slot(report, &newest).await?;
    for executable in versions()? {
        two_phases(report, &executable).await?;
        swaps(report, &executable).await?;
    }
    fleet(report, &newest).await
}

/// Those of `LB_HAPROXY_MATRIX`, else the one in `PATH`.
fn versions() -> Result<Vec<Executable>> {
    let listed = std::env::var("LB_HAPROXY_MATRIX").unwrap_or_default();
    let found: std::result::Result<Vec<Executable>, _> = listed
        .split_whitespace()
        .map(|path| Executable::find(Some(Path::new(path))))
        .collect();
    let found = found?;
    if found.is_empty() {
        return Ok(vec![Executable::find(None)?]);
    }
    Ok(found)
}

/// A HAProxy with one backend of slots, and a map of routes.
struct Subject {
    haproxy: Haproxy,
    _folder: TempDir,
}

impl Subject {
    async fn start(executable: &Executable, slots: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |file: &str| folder.path().join(file).display().to_string();
        let map = at("lb-routes.map");
        std::fs::write(&map, "")?;
        let frontend: SocketAddr = free_port()?;
        let config = format!(
            "global\n  stats socket {} mode 600 level admin expose-fd listeners\n  stats timeout 1h\n\
             defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 2s\n\
             frontend users\n  bind {frontend}\n{}\n{}\n\
             backend web\n  server-template slot 1-{slots} 127.0.0.1:1 disabled\n",
            at("admin.sock"),
            http_route_lines(&map.parse()?)?.join("\n"),
            fallback_backends(None)?.join("\n"),
        );
        std::fs::write(at("haproxy.cfg"), config)?;
        let options = HaproxyOptions::new(
            executable.clone(),
            at("haproxy.cfg"),
            at("admin.sock").parse()?,
            at("master.sock"),
        );
        Ok(Self {
            haproxy: Haproxy::start(options).await?,
            _folder: folder,
        })
    }

    fn target(&self) -> TargetConfig {
        let mut target = TargetConfig::new(name("bench"), self.haproxy.admin().clone());
        target.files.maps = false;
        target
    }

    fn driver(&self) -> HaproxyDriver {
        HaproxyDriver::new(self.target())
    }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// One pass that must do all there is to do.
async fn whole(driver: &mut HaproxyDriver, desired: &Arc<Snapshot>) -> Result<()> {
    use lb_core::Driver as _;
    let done = driver.converge(desired).await?;
    assert!(done.converged && done.unmet.is_empty(), "{done:?}");
    Ok(())
}

/// Passes until nothing is left to do, now or later.
async fn settle(driver: &mut HaproxyDriver, desired: &Arc<Snapshot>) -> Result<()> {
    use lb_core::Driver as _;
    loop {
        match driver.converge(desired).await?.again {
            None => return Ok(()),
            Some(pause) => tokio::time::sleep(pause).await,
        }
    }
}

/// From the desired state for routes to the map that was read back.
async fn routes(report: &mut Report, executable: &Executable) -> Result<()> {
    for count in [1, 10_000] {
        let subject = Subject::start(executable, 4).await?;
        let mut driver = subject.driver();
        let mut edit = Snapshot::default().edit();
        edit.set_endpoint(&name("web"), &name("1"), Endpoint::new(raw::address(1)));
        let mut desired = Arc::new(edit.commit().unwrap_or_default());
        settle(&mut driver, &desired).await?;
        let mut times = Vec::new();
        let rounds = if count == 1 { ROUNDS } else { 5 };
        let mut before: Vec<Route> = Vec::new();
        for round in 0..rounds {
            let fresh: Vec<Route> = (0..count)
                .map(|number| {
                    let host = format!("h{number}.r{round}.example");
                    Ok(Route::new(host.parse()?, "/".parse()?, name("web")))
                })
                .collect::<Result<_>>()?;
            let mut edit = desired.edit();
            for route in &before {
                edit.remove_route(route);
            }
            for route in &fresh {
                edit.add_route(route.clone());
            }
            desired = Arc::new(edit.commit().unwrap_or_default());
            let began = Instant::now();
            whole(&mut driver, &desired).await?;
            times.push(millis(began));
            settle(&mut driver, &desired).await?;
            before = fresh;
        }
        report.add(
            format!("all of {count} routes replaced, verified"),
            median(times),
            "ms",
            "one transaction, read back",
        );
        subject.haproxy.stop().await?;
    }
    Ok(())
}

/// One new endpoint on a server made for it, against one in a slot.
async fn dynamic_against_slot(report: &mut Report, executable: &Executable) -> Result<()> {
    let mut both = Vec::new();
    for (what, slots, servers) in [
        ("into a slot", 2 * ROUNDS, DynamicServers::Never),
        ("on a server made at run time", 1, DynamicServers::Always),
    ] {
        let subject = Subject::start(executable, slots).await?;
        let mut policy = Policy::default();
        policy.dynamic_servers = servers;
        let mut driver = HaproxyDriver::new(subject.target().with_policy(policy));
        let mut edit = Snapshot::default().edit();
        edit.set_endpoint(&name("web"), &name("0"), Endpoint::new(raw::address(0)));
        let mut desired = Arc::new(edit.commit().unwrap_or_default());
        settle(&mut driver, &desired).await?;
        let mut times = Vec::new();
        for number in 1..=ROUNDS {
            let mut edit = desired.edit();
            let endpoint = Endpoint::new(raw::address(number));
            edit.set_endpoint(&name("web"), &name(&number.to_string()), endpoint);
            desired = Arc::new(edit.commit().unwrap_or_default());
            let began = Instant::now();
            whole(&mut driver, &desired).await?;
            times.push(millis(began));
        }
        let time = median(times);
        report.add(format!("one new endpoint {what}, verified"), time, "ms", "");
        both.push(time);
        subject.haproxy.stop().await?;
    }
    if let [slot, dynamic] = both[..] {
        report.add(
            "a server made at run time against a slot",
            dynamic / slot,
            "ratio",
            "",
        );
    }
    Ok(())
}

/// A hundred endpoints in one desired state: addresses, read back, then ready.
async fn two_phases(report: &mut Report, executable: &Executable) -> Result<()> {
    const COUNT: usize = 100;
    let version = executable.version().await?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let subject = Subject::start(executable, COUNT).await?;
        let mut driver = subject.driver();
        settle(&mut driver, &Arc::default()).await?;
        let mut edit = Snapshot::default().edit();
        for number in 0..COUNT {
            let endpoint = Endpoint::new(raw::address(number));
            edit.set_endpoint(&name("web"), &name(&number.to_string()), endpoint);
        }
        let desired = Arc::new(edit.commit().unwrap_or_default());
        let began = Instant::now();
        whole(&mut driver, &desired).await?;
        times.push(millis(began));
        subject.haproxy.stop().await?;
    }
    report.add(
        format!(
            "100 slots in two phases, HAProxy {}.{}",
            version.major(),
            version.minor()
        ),
        median(times),
        "ms",
        "addresses, read back, ready, read back",
    );
    Ok(())
}

/// The primary of an exclusive service changes: nobody serves from the first command to the last.
async fn swaps(report: &mut Report, executable: &Executable) -> Result<()> {
    use lb_core::Driver as _;
    const SWAPS: usize = 200;
    let version = executable.version().await?;
    let subject = Subject::start(executable, 4).await?;
    let mut driver = subject.driver();
    settle(&mut driver, &Arc::default()).await?;
    let (mut known, mut times) = (Snapshot::default(), Vec::new());
    for swap in 0..=SWAPS {
        let mut edit = known.edit();
        edit.set_exclusive(&name("web"), true);
        let endpoint = Endpoint::new(raw::address(swap % 2));
        edit.set_endpoint(&name("web"), &name("primary"), endpoint);
        known = edit.commit().unwrap_or_default();
        let began = Instant::now();
        let desired = Arc::new(known.clone());
        while !driver.converge(&desired).await?.converged {}
        // The first one has nobody to take out.
        times.extend((swap > 0).then(|| millis(began)));
    }
    subject.haproxy.stop().await?;
    times.sort_unstable_by(f64::total_cmp);
    let title = format!(
        "swap of an exclusive service: gap, HAProxy {}.{}",
        version.major(),
        version.minor()
    );
    let p99 = times.get(SWAPS * 99 / 100).copied().unwrap_or_default();
    report.add(format!("{title}, p99"), p99, "ms", "the same");
    let note = "maint, sessions shut down, read back, threads waited for, ready";
    report.add(title, median(times), "ms", note);
    Ok(())
}

/// One change, from the feed until the last of twenty targets has verified it.
async fn fleet(report: &mut Report, executable: &Executable) -> Result<()> {
    let (publisher, source) = feed(name("program"));
    publisher.reset(Vec::new())?;
    let mut subjects = Vec::new();
    let mut builder = ControlPlane::builder().source(source);
    for number in 0..FLEET {
        let subject = Subject::start(executable, 2 * ROUNDS).await?;
        let mut target = subject.target();
        target.name = name(&format!("edge{number}"));
        builder = builder.target(HaproxyDriver::new(target));
        subjects.push(subject);
    }
    let plane = builder.build()?;
    let handle = plane.handle();
    let mut events = handle.subscribe();
    let running = plane.spawn();
    let mut times = Vec::new();
    for number in 0..=ROUNDS {
        let key = RecordKey::new(name("web"), name(&number.to_string()));
        let began = Instant::now();
        let endpoint = Endpoint::new(raw::address(number));
        let cursor = publisher.batch(vec![Record::new(key, endpoint)], Vec::new())?;
        let mut left = FLEET;
        while left > 0 {
            let next = tokio::time::timeout(Duration::from_secs(60), events.next()).await?;
            let Some(stamped) = next else {
                return Err("the control plane has ended".into());
            };
            if let Event::Verified { causes, .. } | Event::Pass { causes, .. } = &stamped.event
                && causes
                    .iter()
                    .any(|cause| cause.cursor.revision >= cursor.revision)
            {
                left -= 1;
            }
        }
        // The first one also connects everybody.
        if number > 0 {
            times.push(millis(began));
        }
    }
    report.add(
        format!("one new endpoint on all of {FLEET} targets, verified"),
        median(times),
        "ms",
        "from the program's call to the last target's read-back",
    );
    running.shutdown().await;
    for subject in subjects {
        subject.haproxy.stop().await?;
    }
    Ok(())
}
