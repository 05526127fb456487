//! The whole path on a real HAProxy.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lb_core::{Driver, Endpoint, Snapshot};
use lb_examples::traffic::{IdentityServer, Load, Oracle};
use lb_haproxy::{HaproxyDriver, TargetConfig};

use crate::{
    haproxy::Subject,
    planner::name,
    raw,
    report::{Report, median},
};

const BACKENDS: usize = 100;
const SLOTS: usize = 100;
const ROUNDS: usize = 3;

pub async fn measure(report: &mut Report) -> Result<(), Box<dyn std::error::Error>> {
    let version = lb_haproxy::process::Executable::find(None)?
        .version()
        .await?;
    report.add(
        "HAProxy",
        f64::from(version.major()) + f64::from(version.minor()) / 10.0,
        "version",
        version.text(),
    );
    bulk(report).await?;
    one_by_one(report).await?;
    change_cost(report).await?;
    repoint(report).await
}

/// All slots filled at once, each side on a HAProxy of its own.
async fn bulk(report: &mut Report) -> Result<(), Box<dyn std::error::Error>> {
    let total = (BACKENDS * SLOTS) as f64;
    let (mut single, mut batched, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (per_line, times) in [(1, &mut single), (128, &mut batched)] {
            let subject = Subject::start(BACKENDS, SLOTS).await?;
            let socket = subject
                .haproxy
                .admin()
                .path()
                .map(|path| path.display().to_string());
            let took = raw::fill(&socket.unwrap_or_default(), BACKENDS, SLOTS, per_line)?;
            times.push(total / took.as_secs_f64());
            subject.haproxy.stop().await?;
        }
        let subject = Subject::start(BACKENDS, SLOTS).await?;
        let mut driver = driver(&subject)?;
        driver.converge(&Arc::default()).await?;
        let mut edit = Snapshot::default().edit();
        for backend in 0..BACKENDS {
            for slot in 1..=SLOTS {
                let endpoint = Endpoint::new(raw::address(backend * SLOTS + slot));
                edit.set_endpoint(
                    &name(&format!("be{backend}")),
                    &name(&slot.to_string()),
                    endpoint,
                );
            }
        }
        let desired = Arc::new(edit.commit().unwrap_or_default());
        let began = Instant::now();
        let done = driver.converge(&desired).await?;
        assert!(done.converged && done.unmet.is_empty());
        ours.push(total / began.elapsed().as_secs_f64());
        subject.haproxy.stop().await?;
    }
    let (single, batched, ours) = (median(single), median(batched), median(ours));
    report.add(
        "raw socket, a command a round trip",
        single,
        "slots/s",
        "addr and ready, not verified",
    );
    report.add(
        "raw socket, 128 commands a line",
        batched,
        "slots/s",
        "addr and ready, not verified",
    );
    report.add(
        "lb, 10,000 slots, verified",
        ours,
        "slots/s",
        "planned, applied and read back twice",
    );
    report.add(
        "lb against the batched socket",
        ours / batched,
        "ratio",
        "budget ≥ 0.8",
    );
    Ok(())
}

/// One endpoint at a time, from the desired state to its verification.
async fn one_by_one(report: &mut Report) -> Result<(), Box<dyn std::error::Error>> {
    let subject = Subject::start(1, SLOTS).await?;
    let mut driver = driver(&subject)?;
    let mut desired = Arc::new(Snapshot::default());
    driver.converge(&desired).await?;
    let mut times = Vec::new();
    for number in 0..SLOTS - 10 {
        let mut edit = desired.edit();
        edit.set_endpoint(
            &name("be0"),
            &name(&number.to_string()),
            Endpoint::new(raw::address(number)),
        );
        desired = Arc::new(edit.commit().unwrap_or_default());
        let began = Instant::now();
        let done = driver.converge(&desired).await?;
        assert!(done.converged);
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    report.add(
        "one new endpoint, verified",
        median(times),
        "ms",
        "from the desired state to the second read-back",
    );
    subject.haproxy.stop().await?;
    Ok(())
}

/// The processor time that `lb` needs for a whole change, in a small fleet and in a large one.
async fn change_cost(report: &mut Report) -> Result<(), Box<dyn std::error::Error>> {
    const CHANGES: usize = 400;
    let mut costs = Vec::new();
    for backends in [1, 1000] {
        let subject = Subject::start(backends, SLOTS + 8).await?;
        let mut driver = driver(&subject)?;
        let mut edit = Snapshot::default().edit();
        for number in 0..backends * SLOTS {
            let service = name(&format!("be{}", number / SLOTS));
            edit.set_endpoint(
                &service,
                &name(&number.to_string()),
                Endpoint::new(raw::address(number)),
            );
        }
        let mut desired = Arc::new(edit.commit().unwrap_or_default());
        settle(&mut driver, &desired).await?;
        let (before, written) = (processor_time()?, driver.traffic().commands);
        for change in 0..CHANGES {
            let mut edit = desired.edit();
            let service = name(&format!("be{}", change / 2 % backends));
            let extra = name("extra");
            if change % 2 == 0 {
                edit.set_endpoint(&service, &extra, Endpoint::new(raw::address(90_000_000)));
            } else {
                edit.remove_endpoint(&service, &extra);
            }
            desired = Arc::new(edit.commit().unwrap_or_default());
            settle(&mut driver, &desired).await?;
        }
        let cost = (processor_time()? - before) / CHANGES as f64 * 1e6;
        costs.push(cost);
        report.add(
            format!(
                "one change among {} endpoints, whole path",
                backends * SLOTS
            ),
            cost,
            "µs CPU",
            format!(
                "{:.1} commands, all included",
                (driver.traffic().commands - written) as f64 / CHANGES as f64
            ),
        );
        subject.haproxy.stop().await?;
    }
    if let [small, large] = costs[..] {
        report.add(
            "one change: 100,000 endpoints against 100",
            large / small,
            "ratio",
            "budget ≤ 1.5",
        );
    }
    Ok(())
}

/// Passes until nothing is left to do, now or later.
async fn settle(
    driver: &mut HaproxyDriver,
    desired: &Arc<Snapshot>,
) -> Result<(), Box<dyn std::error::Error>> {
    loop {
        match driver.converge(desired).await?.again {
            None => return Ok(()),
            Some(pause) => tokio::time::sleep(pause).await,
        }
    }
}

/// Seconds of processor time that this process has used.
fn processor_time() -> std::io::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    Ok(ticks / 100.0)
}

/// A hundred endpoints replaced by a hundred others in one desired state, while users go on.
async fn repoint(report: &mut Report) -> Result<(), Box<dyn std::error::Error>> {
    const FLIPS: usize = 21;
    let subject = Subject::start(1, 2 * SLOTS + 20).await?;
    let mut driver = driver(&subject)?;
    let (service, oracle) = (name("be0"), Arc::new(Oracle::new()));
    let mut servers = Vec::new();
    for number in 0..2 * SLOTS {
        let address = ([127, 77, 0, 1 + u8::try_from(number)?], 7077).into();
        servers.push(IdentityServer::start(address, Arc::clone(&oracle)).await?);
    }
    let mut desired = Arc::new(Snapshot::default());
    let mut times = Vec::new();
    let mut users = None;
    for flip in 0..FLIPS {
        let mut edit = desired.edit();
        for slot in 0..SLOTS {
            let address = servers[(flip % 2) * SLOTS + slot].address();
            oracle.publish(address, &service);
            edit.set_endpoint(&service, &name(&slot.to_string()), Endpoint::new(address));
        }
        desired = Arc::new(edit.commit().unwrap_or_default());
        let began = Instant::now();
        let mut done = driver.converge(&desired).await?;
        while !done.converged {
            done = driver.converge(&desired).await?;
        }
        let took = began.elapsed();
        if flip == 0 {
            let mut load = Load::new(vec![(service.clone(), subject.frontend)], 20, 0);
            load.at_least = Duration::from_secs(120);
            load.deadline = load.at_least;
            load.pause = Duration::from_millis(5);
            users = Some(load.start(Arc::clone(&oracle)));
        } else {
            times.push(took.as_secs_f64() * 1e3);
            for slot in 0..SLOTS {
                let left = servers[((flip + 1) % 2) * SLOTS + slot].address();
                oracle.released(left, &service);
            }
        }
        // The slots that were left rest before the next flip needs them.
        while let Some(pause) = done.again {
            tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
            done = driver.converge(&desired).await?;
        }
    }
    let Some(users) = users else {
        return Ok(());
    };
    users.stop();
    let outcome = users.finish().await;
    let note = format!(
        "new ones in and verified, old ones out, under load; budget ≤ 15 ms; {} requests, {} lost, {} misrouted",
        outcome.requests, outcome.lost, outcome.misrouted
    );
    report.add("re-point 100 slots, two-phase", median(times), "ms", note);
    subject.haproxy.stop().await?;
    Ok(())
}

fn driver(subject: &Subject) -> Result<HaproxyDriver, Box<dyn std::error::Error>> {
    let config = TargetConfig::new(name("bench"), subject.haproxy.admin().clone());
    Ok(HaproxyDriver::new(config))
}
