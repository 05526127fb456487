//! What one change costs the planner, whatever the size of the fleet.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use lb_core::{Endpoint, Name, Snapshot, model::Changes};
use lb_haproxy::{
    capability::Capabilities, observed::Server, plan::Planner, policy::Policy, proto::AdminState,
};

use crate::{
    raw::address,
    report::{Report, median},
};

const PER_SERVICE: usize = 100;

/// A fleet of so many endpoints, all serving, and the planner that knows it.
pub fn fleet(endpoints: usize) -> (Snapshot, Planner) {
    let services = endpoints.div_ceil(PER_SERVICE);
    let mut planner = Planner::new(Policy::default(), Capabilities::of(3, 2));
    let mut edit = Snapshot::default().edit();
    for service in 0..services {
        let backend: Name = name(&format!("be{service}"));
        let servers = (1..=PER_SERVICE + 8)
            .map(|slot| {
                let number = service * PER_SERVICE + slot;
                let mut server = Server::slot(
                    name(&format!("slot{slot}")),
                    u32::try_from(slot).unwrap_or(0),
                );
                server.weight = 100;
                if slot <= PER_SERVICE {
                    server.address = Some(address(number));
                    server.admin = AdminState::Ready;
                    server.running = true;
                    edit.set_endpoint(
                        &backend,
                        &name(&slot.to_string()),
                        Endpoint::new(address(number)),
                    );
                }
                server
            })
            .collect();
        planner.observe(&backend, servers, Duration::ZERO);
    }
    let snapshot = edit.commit().unwrap_or_default();
    planner.desire(&Snapshot::default(), &snapshot, &Changes::Everything);
    let plan = planner.plan(Duration::ZERO);
    assert!(plan.is_empty() && plan.settled, "the fleet is in step");
    (snapshot, planner)
}

pub fn measure(report: &mut Report) {
    let mut costs = Vec::new();
    for endpoints in [100, 100_000] {
        let (snapshot, mut planner) = fleet(endpoints);
        let mut commands = 0;
        let times = (0..201)
            .map(|round| {
                let service = name(&format!("be{}", round % endpoints.div_ceil(PER_SERVICE)));
                let began = Instant::now();
                let mut edit = snapshot.edit();
                edit.set_endpoint(&service, &name("new"), Endpoint::new(address(90_000_000)));
                let next = edit.commit().unwrap_or_default();
                planner.desire(&snapshot, &next, &next.changes_since(snapshot.generation()));
                let plan = black_box(planner.plan(Duration::from_secs(1)));
                let took = began.elapsed();
                commands = plan.steps().count();
                // Back to where it was, for the next round.
                planner.desire(&next, &snapshot, &Changes::Everything);
                planner.plan(Duration::from_secs(1));
                took.as_secs_f64() * 1e6
            })
            .collect();
        let time = median(times);
        costs.push(time);
        report.add(
            format!("plan one change among {endpoints} endpoints"),
            time,
            "µs",
            format!("{commands} commands, services of {PER_SERVICE}"),
        );
    }
    if let [small, large] = costs[..] {
        report.add(
            "plan: 100,000 endpoints against 100",
            large / small,
            "ratio",
            "budget ≤ 1.5",
        );
    }
}

pub fn name(text: &str) -> Name {
    Name::from_text(text)
}
