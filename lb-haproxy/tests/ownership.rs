//! One backend, one service (I1): a service whose name is that of another's backend gets none of its requests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::{Endpoint, Name, Snapshot, UnmetReason, model::Changes};
use lb_haproxy::{
    capability::Capabilities,
    observed::Server,
    plan::{Plan, Planner},
    policy::Policy,
    proto::{Command, MapName, parse_map_entries},
};
use proptest::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn address(service: &str) -> SocketAddr {
    let number = service
        .bytes()
        .fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    SocketAddr::from(([10, 0, service.len() as u8, number], 80))
}

fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    change(&mut policy);
    policy
}

/// A planner with its desired state, on an HAProxy that has these backends.
struct World {
    planner: Planner,
    desired: Snapshot,
}

impl World {
    fn new(policy: &Policy, version: (u32, u32), backends: &[&str], map: &str) -> Self {
        let mut planner = Planner::new(policy.clone(), Capabilities::of(version.0, version.1));
        let services: MapName = "lb-services.map".parse().unwrap();
        planner.observe_maps(std::slice::from_ref(&services));
        planner.observe_map(&services, parse_map_entries(map).unwrap());
        planner.maps_observed();
        for backend in backends {
            let slots = (1..=2).map(|id| Server::slot(name(&format!("slot{id}")), id));
            planner.observe(&name(backend), slots.collect(), HOUR);
        }
        Self {
            planner,
            desired: Snapshot::default(),
        }
    }

    /// Adds services with one endpoint each, by one change.
    fn add(&mut self, services: &[&str]) -> Plan {
        let mut edit = self.desired.edit();
        for service in services {
            let endpoint = Endpoint::new(address(service));
            edit.set_endpoint(&name(service), &name("1"), endpoint);
        }
        self.desire(edit.commit().unwrap())
    }

    fn remove(&mut self, service: &str) -> Plan {
        let mut edit = self.desired.edit();
        edit.remove_service(&name(service));
        self.desire(edit.commit().unwrap())
    }

    fn desire(&mut self, new: Snapshot) -> Plan {
        let changes = new.changes_since(self.desired.generation());
        self.planner.desire(&self.desired, &new, &changes);
        self.desired = new;
        self.planner.plan(HOUR)
    }

    fn bindings(&self) -> BTreeMap<String, String> {
        let bindings = self.planner.bindings();
        bindings
            .map(|(service, backend)| (service.to_string(), backend.to_string()))
            .collect()
    }
}

/// The addresses that a plan sends to a backend.
fn sent(plan: &Plan, backend: &str) -> BTreeSet<SocketAddr> {
    plan.steps()
        .filter(|step| step.server.backend.as_str() == backend)
        .filter_map(|step| match &step.command {
            Command::SetAddr(_, address) => Some(*address),
            Command::AddServer { address, .. } => Some(*address),
            _ => None,
        })
        .collect()
}

/// A policy, HAProxy's version and backends, the honest service with its backend, and the other service.
type Case<'a> = (Policy, (u32, u32), &'a [&'a str], &'a str, &'a str, &'a str);

fn cases() -> Vec<Case<'static>> {
    let mapped = |service: &str, backend: &str| {
        let pair = (name(service), name(backend));
        policy(|policy| policy.backends.extend([pair]))
    };
    let dynamic = || policy(|policy| policy.backend_defaults = Some(name("lb")));
    let prefixed = |prefix: &str| {
        let mut policy = dynamic();
        policy.backend_prefix = prefix.to_owned();
        policy
    };
    vec![
        (
            Policy::default(),
            (2, 6),
            &["spare-http-2"],
            "pay",
            "spare-http-2",
            "spare-http-2",
        ),
        (
            mapped("pay", "payments"),
            (2, 6),
            &["payments"],
            "pay",
            "payments",
            "payments",
        ),
        (dynamic(), (3, 4), &[], "pay", "dyn-pay", "dyn-pay"),
        (dynamic(), (3, 4), &["dyn-pay"], "pay", "dyn-pay", "dyn-pay"),
        (
            prefixed("spare-"),
            (3, 4),
            &["spare-http-2"],
            "pay",
            "spare-http-2",
            "http-2",
        ),
        (prefixed("d"), (3, 4), &[], "pay", "dyn-pay", "yn-pay"),
    ]
}

#[test]
fn case_h01_a_service_named_like_anothers_backend_does_not_join_it() {
    for (policy, version, backends, service, backend, other) in cases() {
        // In this order, in the other, and at once as after a restart of lb.
        for order in [&[service, other][..], &[other, service]] {
            for at_once in [true, false] {
                let mut world = World::new(&policy, version, backends, "");
                let mut plans = Vec::new();
                match at_once {
                    true => plans.push(world.add(order)),
                    false => plans.extend(order.iter().map(|service| world.add(&[*service]))),
                }
                let bound = world.bindings();
                assert_eq!(bound.get(service).map(String::as_str), Some(backend));
                assert_eq!(bound.get(other), None, "{other} beside {service}");
                for plan in &plans {
                    assert!(!sent(plan, backend).contains(&address(other)), "{plan}");
                }
                let unmet = &plans.last().unwrap().unmet;
                let told = unmet
                    .iter()
                    .find(|unmet| unmet.service.as_str() == other)
                    .unwrap_or_else(|| panic!("{other} beside {service}: {unmet:?}"));
                assert_eq!(told.reason, UnmetReason::Conflict);
                assert!(!told.transient && told.detail.contains(backend), "{told:?}");
            }
        }
    }
}

#[test]
fn case_h01_a_name_that_the_configuration_maps_is_not_reserved() {
    let policy = policy(|policy| {
        policy.backends.extend([
            (name("spare-http-2"), name("spare-http-2")),
            (name("odd"), name("spare-http-1")),
        ]);
    });
    let mut world = World::new(&policy, (2, 6), &["spare-http-1", "spare-http-2"], "");
    let plan = world.add(&["pay", "spare-http-2", "odd"]);
    let bound = world.bindings();
    assert_eq!(bound["spare-http-2"], "spare-http-2", "{plan}");
    assert_eq!(bound["odd"], "spare-http-1", "{plan}");
    assert_eq!(bound["pay"], "pay", "no spare backend is left for it");
}

#[test]
fn case_h01_of_two_services_mapped_to_one_backend_the_first_keeps_it_until_it_goes() {
    let policy = policy(|policy| {
        let pairs = ["a", "b"].map(|service| (name(service), name("web")));
        policy.backends.extend(pairs);
    });
    let mut world = World::new(&policy, (2, 6), &["web"], "");
    world.add(&["b"]);
    let plan = world.add(&["a"]);
    assert_eq!(world.bindings().get("a"), None);
    let told = &plan
        .unmet
        .iter()
        .find(|unmet| unmet.service.as_str() == "a");
    assert!(told.unwrap().detail.contains("service b"), "{plan}");
    // Nothing of `b` was applied, so its backend is vacant at once.
    let plan = world.remove("b");
    assert_eq!(world.bindings()["a"], "web", "{plan}");
    assert_eq!(sent(&plan, "web"), BTreeSet::from([address("a")]), "{plan}");
    assert!(plan.unmet.is_empty(), "{plan}");
}

#[test]
fn case_h01_what_an_earlier_life_gave_a_service_stays_its_own() {
    // The spare prefix was another one then, so nothing but the map of services says that `pool-1` is taken.
    let mut world = World::new(&Policy::default(), (2, 6), &["pool-1"], "0x1 zed pool-1\n");
    let plan = world.add(&["pool-1", "zed"]);
    assert_eq!(world.bindings()["zed"], "pool-1", "{plan}");
    assert_eq!(world.bindings().get("pool-1"), None, "{plan}");
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let text = |all: &'static [&'static str]| prop::sample::select(all);
    let pair = (
        any_service(),
        text(&["pay", "spare-http-1", "dyn-pay", "web", "p-web"]),
    );
    (
        text(&["", "p-", "spare-", "d", "dyn-"]),
        prop::collection::vec(pair, 0..3),
        any::<bool>(),
    )
        .prop_map(|(prefix, pairs, makes)| {
            policy(|policy| {
                policy.backend_prefix = prefix.to_owned();
                policy.backend_defaults = makes.then(|| name("lb"));
                let pairs = pairs.into_iter();
                policy.backends = pairs.map(|(a, b)| (name(a), name(b))).collect();
            })
        })
}

fn any_service() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "pay",
        "web",
        "spare-http-1",
        "spare-http-2",
        "dyn-pay",
        "dyn-web",
        "http-1",
        "yn-pay",
        "p-web",
        "dyn-dyn-pay",
    ])
}

proptest! {
    #[test]
    fn case_h01_i1_no_two_services_have_one_backend(
        policy in any_policy(),
        new in any::<bool>(),
        backends in prop::sample::subsequence(
            vec!["pay", "web", "spare-http-1", "spare-http-2", "dyn-pay", "p-web"], 0..6),
        changes in prop::collection::vec((any_service(), any::<bool>()), 1..20),
    ) {
        let version = if new { (3, 4) } else { (2, 6) };
        let mut world = World::new(&policy, version, &backends, "");
        for (service, there) in changes {
            let known = world.desired.service(&name(service)).is_some();
            if there == known {
                continue;
            }
            let plan = if there { world.add(&[service]) } else { world.remove(service) };
            let bound = world.bindings();
            let distinct: BTreeSet<&String> = bound.values().collect();
            prop_assert_eq!(distinct.len(), bound.len(), "{:?}\n{}", bound, plan);
            for (service, _) in world.desired.services() {
                let waits = plan.unmet.iter().any(|unmet| unmet.service == *service);
                prop_assert!(waits || bound.contains_key(service.as_str()), "{} is lost", service);
            }
            let restarted = {
                let mut again = World::new(&policy, version, &backends, "");
                again.planner.desire(&Snapshot::default(), &world.desired, &Changes::Everything);
                again.bindings()
            };
            let distinct: BTreeSet<&String> = restarted.values().collect();
            prop_assert_eq!(distinct.len(), restarted.len(), "{:?}", restarted);
        }
    }
}
