//! Fixed servers: shown, never changed, and no place for an endpoint.

use std::collections::BTreeMap;

use lb_core::{ConditionKind, EndpointState, Snapshot, UnmetReason, model::Changes};
use lb_haproxy::{
    capability::Capabilities, growth::slot_templates, observed::Server, plan::Planner,
    policy::Policy, proto::AdminState,
};

use crate::{address, model::Model, name, ready, snapshot};

/// A server written by hand: `number` is its address, `disabled` whether it is declared so.
fn fixed(title: &str, id: u32, number: u16, disabled: bool) -> Server {
    let mut server = Server::slot(name(title), id);
    server.address = Some(address(number));
    server.declared_disabled = disabled;
    if !disabled {
        server.admin = AdminState::Ready;
        server.running = true;
    }
    server
}

fn with(servers: &[Server]) -> Model {
    let mut model = Model::new(&["web"], 4, false);
    model
        .backends
        .get_mut(&name("web"))
        .unwrap()
        .extend_from_slice(servers);
    model
}

fn planner(policy: Policy) -> Planner {
    Planner::new(policy, Capabilities::of(2, 6))
}

fn kinds(planner: &mut Planner, model: &Model) -> Vec<(ConditionKind, String, String)> {
    let plan = planner.plan(model.now);
    let told = |condition: &lb_core::Condition| {
        let help = condition.help.clone().unwrap_or_default();
        let object = condition.object.clone().unwrap_or_default();
        (
            condition.kind,
            object,
            format!("{}; {help}", condition.detail),
        )
    };
    plan.conditions.iter().map(told).collect()
}

#[test]
fn case_p08_a_server_written_by_hand_is_no_slot() {
    let before = [
        fixed("legacy2", 5, 108, true),
        fixed("sorry9", 6, 109, true),
        fixed("app1", 7, 110, true),
    ];
    let mut model = with(&before);
    let mut planner = planner(Policy::default());
    let mut old = Snapshot::default();
    // More endpoints than slots, and fewer again: none of it goes to a fixed server.
    for numbers in [&[1, 2][..], &[1, 2, 3, 4, 5, 6, 7], &[], &[8]] {
        let new = snapshot(&old, &ready("web", numbers));
        planner.desire(&old, &new, &new.changes_since(old.generation()));
        model.observe(&mut planner);
        let end = model.converge(&mut planner, |_, command, _| {
            let text = lb_haproxy::proto::command_text(command);
            assert!(text.contains("web/slot"), "{text}");
        });
        assert_eq!(end.unmet.len(), numbers.len().saturating_sub(4), "{end}");
        old = new;
    }
    let servers = &model.backends[&name("web")];
    assert_eq!(servers[4..], before, "as they were");
    let told = kinds(&mut planner, &model);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told.iter()
            .all(|(kind, ..)| *kind == ConditionKind::FixedServer)
    );
    assert!(told.iter().any(|(_, object, _)| object == "web/sorry9"));
    assert_eq!(planner.slot_use().fixed, 3);
    assert_eq!(planner.slot_use().slots, 4);
}

#[test]
fn case_p09_a_fixed_server_that_serves_on_is_reported() {
    let mut model = with(&[fixed("shop3", 5, 3, false), fixed("last", 6, 9, false)]);
    let mut planner = planner(Policy::default());
    let with_it = snapshot(&Snapshot::default(), &ready("web", &[1, 3]));
    planner.desire(&Snapshot::default(), &with_it, &Changes::Everything);
    model.observe(&mut planner);
    planner.plan(model.now);
    planner.observe_backups(&name("web"), &[name("last")].into());
    let end = model.converge(&mut planner, |_, _, _| {});
    assert!(end.unmet.is_empty(), "{end}");
    // One server for one endpoint: the fixed one has it, so no slot does.
    let holders = |number: u16| {
        let servers = model.backends[&name("web")].iter();
        servers
            .filter(|server| server.address == Some(address(number)))
            .count()
    };
    assert_eq!((holders(1), holders(3)), (1, 1));
    let told = kinds(&mut planner, &model);
    assert!(
        told[0]
            .2
            .contains("the weight of its endpoint, 100, has no effect"),
        "{told:?}"
    );

    // The source drops it: it serves on, and that is said.
    let without = snapshot(&with_it, &ready("web", &[1]));
    planner.desire(
        &with_it,
        &without,
        &without.changes_since(with_it.generation()),
    );
    let end = model.converge(&mut planner, |_, _, _| {});
    assert!(
        end.to_string().contains("no source reports this address"),
        "{end}"
    );

    // The source wants it out: that is not in effect, and the endpoint's own condition says so.
    let mut desired = ready("web", &[1]);
    desired
        .get_mut("web")
        .unwrap()
        .insert(3, (100, EndpointState::Down));
    let down = snapshot(&without, &desired);
    planner.desire(&without, &down, &down.changes_since(without.generation()));
    let end = model.converge(&mut planner, |_, _, _| {});
    assert_eq!(end.unmet.len(), 1, "{end}");
    assert_eq!(end.unmet[0].reason, UnmetReason::Unsupported);
    assert_eq!(end.unmet[0].endpoint, Some(name("3")));
}

/// It waits until an operator has acted, and everything else is in effect meanwhile.
#[test]
fn a_fixed_server_in_the_way_of_an_exclusive_service_is_no_change_on_its_way() {
    let mut model = with(&[fixed("sorry", 5, 9, false)]);
    let mut planner = planner(Policy::default());
    let ready = snapshot(&Snapshot::default(), &ready("web", &[1, 2]));
    let mut edit = ready.edit();
    edit.set_exclusive(&name("web"), true);
    let desired = edit.commit().unwrap();
    planner.desire(&Snapshot::default(), &desired, &Changes::Everything);
    model.observe(&mut planner);
    planner.plan(model.now);
    planner.observe_backups(&name("web"), &[].into());
    let end = model.converge(&mut planner, |_, command, _| {
        let text = lb_haproxy::proto::command_text(command);
        assert!(!text.ends_with("state ready"), "{text}");
    });
    assert!(end.settled, "{end}");
    let waits = end.unmet.iter().find(|unmet| {
        unmet.reason == UnmetReason::Exclusive && unmet.detail.contains("web/sorry at")
    });
    assert!(waits.is_some_and(|unmet| !unmet.transient), "{end}");
}

/// The former default took any numbered server that was declared `disabled` for a slot.
#[test]
fn case_p08_a_running_system_of_the_former_default_is_told_what_to_set() {
    let mut model = Model::new(&["web"], 0, false);
    let servers = model.backends.get_mut(&name("web")).unwrap();
    for id in 1..=4 {
        let mut server = Server::slot(name(&format!("srv{id}")), id);
        if id < 3 {
            server.address = Some(address(u16::try_from(id).unwrap()));
            server.admin = AdminState::Ready;
            server.running = true;
            server.weight = 100;
        }
        servers.push(server);
    }
    let before = servers.clone();
    let desired = snapshot(&Snapshot::default(), &ready("web", &[1, 2, 3]));
    let mut unset = planner(Policy::default());
    unset.desire(&Snapshot::default(), &desired, &Changes::Everything);
    model.observe(&mut unset);
    unset.plan(model.now);
    unset.observe_backups(&name("web"), &[].into());
    let end = model.converge(&mut unset, |_, command, _| panic!("{command:?}"));
    assert_eq!(model.backends[&name("web")], before, "what serves goes on");
    assert_eq!(end.unmet.len(), 1, "{end}");
    assert_eq!(end.unmet[0].endpoint, Some(name("3")));
    let told = kinds(&mut unset, &model);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, ConditionKind::UnknownSlots);
    assert!(told[0].2.contains("`slot_prefix = \"srv\"`"), "{told:?}");

    // As it says, and as the configuration file says.
    let mut named = Policy::default();
    named.slot_prefix = "srv".to_owned();
    let mut more = Policy::default();
    more.slot_prefixes = vec!["srv".to_owned()];
    let text = "backend web\n  server-template srv 1-4 127.0.0.1:1 disabled\n";
    for (policy, file) in [(named, ""), (more, ""), (Policy::default(), text)] {
        let mut model = model.clone();
        let mut planner = planner(policy);
        planner.learn_templates(slot_templates(file));
        planner.desire(&Snapshot::default(), &desired, &Changes::Everything);
        model.observe(&mut planner);
        let end = model.converge(&mut planner, |_, _, _| {});
        assert!(end.unmet.is_empty() && end.conditions.is_empty(), "{end}");
        assert_eq!(model.serving(&name("web")).len(), 3);
    }
}

/// A template makes the servers of its range only, and they are declared `disabled`.
#[test]
fn case_p08_the_file_tells_which_numbered_servers_are_slots() {
    let text = "backend web\n  server-template app 1-2 127.0.0.1:1 disabled\n  server app3 10.0.0.1:80 disabled\n";
    let mut model = with(&[
        fixed("app1", 5, 0, true),
        fixed("app2", 6, 0, false),
        fixed("app3", 7, 0, true),
    ]);
    for server in &mut model.backends.get_mut(&name("web")).unwrap()[4..] {
        server.address = Some(lb_haproxy::observed::PARKED);
    }
    let mut planner = planner(Policy::default());
    planner.learn_templates(slot_templates(text));
    let desired = BTreeMap::from([("web", BTreeMap::from([(1, (100, EndpointState::Ready))]))]);
    let desired = snapshot(&Snapshot::default(), &desired);
    planner.desire(&Snapshot::default(), &desired, &Changes::Everything);
    model.observe(&mut planner);
    model.converge(&mut planner, |_, _, _| {});
    assert_eq!(planner.slot_use().slots, 5, "slot1 to slot4 and app1");
    assert_eq!(planner.slot_use().fixed, 2);
}

/// What keeps the servers of a template from being slots is named: `disabled` on its line.
#[test]
fn a_template_without_disabled_makes_no_slots_and_that_is_told() {
    let mut model = with(&[]);
    let servers = [1, 2].map(|number: u16| {
        let mut server = fixed(&format!("app{number}"), number.into(), number, false);
        server.address = Some(address(100 + number));
        server
    });
    model.backends.insert(name("web"), servers.to_vec());
    let wanted = snapshot(&Snapshot::default(), &ready("web", &[1]));
    for (text, lacks) in [
        ("backend web\n  server-template app 1-2 127.0.0.1:1\n", true),
        ("", false),
    ] {
        let mut planner = planner(Policy::default());
        planner.learn_templates(slot_templates(text));
        planner.desire(&Snapshot::default(), &wanted, &Changes::Everything);
        model.observe(&mut planner);
        planner.plan(model.now);
        planner.observe_backups(&name("web"), &[].into());
        let plan = planner.plan(model.now);
        let unmet = &plan.unmet[0].detail;
        let reason = "`server-template app` in the configuration file lacks `disabled`";
        assert_eq!(unmet.contains(reason), lacks, "{unmet}");
        let told = kinds(&mut planner, &model);
        assert_eq!(told.len(), 2, "{told:?}");
        for (kind, _, text) in told {
            assert_eq!(kind, ConditionKind::FixedServer);
            assert_eq!(
                text.contains("add `disabled` to its line `server-template app`"),
                lacks,
                "{text}"
            );
        }
    }
}

/// HAProxy sends a backup nothing while another server serves, and of several backups only the first gets traffic.
#[test]
fn case_p08_an_endpoint_in_a_slot_that_is_a_backup_is_not_in_effect_beside_others() {
    let slots = ["slot1", "slot2", "slot3", "slot4"].map(name);
    let cases = [(&slots[2..], 2), (&slots[..], 1)];
    for (backups, most_serving) in cases {
        let mut model = with(&[]);
        let mut planner = planner(Policy::default());
        let none = Snapshot::default();
        let all = snapshot(&none, &ready("web", &[1, 2, 3, 4]));
        planner.desire(&none, &all, &Changes::Everything);
        model.observe(&mut planner);
        planner.observe_backups(&name("web"), &backups.iter().cloned().collect());
        let end = model.converge(&mut planner, |_, _, _| {});
        assert_eq!(end.unmet.len(), 4 - most_serving, "{end}");
        for unmet in &end.unmet {
            assert_eq!(unmet.reason, UnmetReason::Unsupported);
            assert!(
                !unmet.transient && unmet.detail.contains("is a backup"),
                "{unmet:?}"
            );
        }
        assert!(end.settled, "{end}");
        // What is left serves, for no other server does.
        let alone = end.unmet[0].endpoint.clone().unwrap();
        let alone = alone.as_str().parse().unwrap();
        let one = snapshot(&all, &ready("web", &[alone]));
        planner.desire(&all, &one, &one.changes_since(all.generation()));
        let end = model.converge(&mut planner, |_, _, _| {});
        assert!(end.unmet.is_empty(), "{end}");
    }
}
