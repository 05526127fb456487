//! Maps, and the spare backends that they lead to.

use lb_core::{ConditionKind, Route, Snapshot};
use lb_haproxy::{
    observed::Server,
    plan::Planner,
    proto::{MapName, parse_map_entries},
    routes::UNAVAILABLE,
};

use crate::{HOUR, commands, desired, name, planner};

#[test]
fn i1_a_spare_backend_to_which_requests_are_led_is_given_to_nobody() {
    let mut planner = planner((3, 2), &desired(&[("new", &[(1, 100)])]));
    let maps: Vec<MapName> = ["lb-routes.map", "lb-services.map"]
        .iter()
        .map(|file| file.parse().unwrap())
        .collect();
    planner.observe_maps(&maps);
    let entries = parse_map_entries("0x1 old.example/ spare-http-1\n").unwrap();
    planner.observe_map(&maps[0], entries);
    planner.observe_map(&maps[1], Vec::new());
    planner.maps_observed();
    planner.observe(
        &name("spare-http-1"),
        vec![Server::slot(name("slot1"), 1)],
        HOUR,
    );
    let plan = planner.plan(HOUR);
    assert!(commands(&plan).is_empty(), "{plan}");
    planner.observe_map(&maps[0], Vec::new());
    let plan = planner.plan(HOUR);
    assert!(!commands(&plan).is_empty(), "{plan}");
}

/// What is known of spare backends is lost with the next worker or the next start where no map remembers it.
#[test]
fn a_spare_backend_that_no_map_remembers_is_a_condition_until_there_is_one() {
    let mut planner = planner((3, 2), &desired(&[("new", &[(1, 100)])]));
    let maps: Vec<MapName> = ["lb-routes.map", "lb-services.map"]
        .iter()
        .map(|file| file.parse().unwrap())
        .collect();
    planner.observe_maps(&maps[..1]);
    planner.observe_map(&maps[0], Vec::new());
    planner.maps_observed();
    let plan = planner.plan(HOUR);
    assert!(plan.conditions.is_empty(), "{plan}");
    let slots = vec![Server::slot(name("slot1"), 1)];
    planner.observe(&name("spare-http-1"), slots, HOUR);
    let plan = planner.plan(HOUR);
    assert_eq!(plan.conditions.len(), 1, "{plan}");
    let condition = &plan.conditions[0];
    assert_eq!(condition.kind, ConditionKind::Diagnostic);
    assert!(!condition.kind.keeps_from_effect() && !condition.transient);
    assert_eq!(condition.object.as_deref(), Some("lb-services.map"));
    for part in ["service new", "spare-http-1", "no map lb-services.map"] {
        assert!(condition.detail.contains(part), "{condition}");
    }
    assert!(condition.help.as_deref().unwrap().contains("map_str("));
    planner.observe_maps(&maps);
    planner.observe_map(&maps[1], Vec::new());
    let plan = planner.plan(HOUR);
    assert!(plan.conditions.is_empty(), "{plan}");
}

/// The desired state for a service with a route and without endpoints.
fn routed(service: &str) -> Snapshot {
    let (host, path) = ("new.example".parse().unwrap(), "/".parse().unwrap());
    let mut edit = desired(&[(service, &[])]).edit();
    edit.add_route(Route::new(host, path, name(service)));
    edit.commit().unwrap()
}

/// A planner that knows HAProxy's maps of routes and of services, both empty, and a spare backend with one free slot.
fn planner_with_maps(desired: &Snapshot) -> (Planner, [MapName; 2]) {
    let mut planner = planner((3, 2), desired);
    let maps = ["lb-routes.map", "lb-services.map"].map(|file| file.parse().unwrap());
    planner.observe_maps(&maps);
    for map in &maps {
        planner.observe_map(map, Vec::new());
    }
    planner.maps_observed();
    let slots = vec![Server::slot(name("slot1"), 1)];
    planner.observe(&name("spare-http-1"), slots, HOUR);
    (planner, maps)
}

#[test]
fn i9_a_spare_backend_is_filled_when_it_is_noted_whose_it_is() {
    let (mut planner, [_, services]) = planner_with_maps(&desired(&[("new", &[(1, 100)])]));
    planner.map_refused(&services, "not now".to_owned(), HOUR);
    let plan = planner.plan(HOUR);
    assert!(commands(&plan).is_empty() && !plan.settled, "{plan}");
    assert_eq!(plan.unmet.len(), 1, "{plan}");
    let again = plan.again_at.unwrap();
    let plan = planner.plan(again);
    let stages: Vec<(usize, usize)> = plan
        .stages
        .iter()
        .map(|stage| (stage.maps.len(), stage.steps.len()))
        .collect();
    assert_eq!(stages.first(), Some(&(1, 1)), "{plan}");
}

#[test]
fn i12_no_route_leads_to_a_spare_backend_before_it_is_noted_whose_it_is() {
    let (mut planner, [routes, services]) = planner_with_maps(&routed("new"));
    let led_to = |planner: &Planner| -> Option<String> {
        let mut maps = planner.wanted_maps();
        let (_, map) = maps.find(|(name, _)| **name == routes)?;
        Some(map.lookup("new.example", "/")?.as_str().to_owned())
    };
    planner.map_refused(&services, "not now".to_owned(), HOUR);
    let plan = planner.plan(HOUR);
    assert_eq!(led_to(&planner).as_deref(), Some(UNAVAILABLE), "{plan}");
    assert!(!plan.settled, "{plan}");
    let plan = planner.plan(plan.again_at.unwrap());
    assert_eq!(led_to(&planner).as_deref(), Some("spare-http-1"), "{plan}");
}

#[test]
fn i3_a_route_is_not_in_effect_while_its_map_refuses_to_be_changed() {
    let (mut planner, [routes, services]) = planner_with_maps(&routed("new"));
    let recorded = "0x1 new spare-http-1\n";
    planner.plan(HOUR);
    planner.observe_map(&services, parse_map_entries(recorded).unwrap());
    planner.map_refused(&routes, "not now".to_owned(), HOUR);
    let plan = planner.plan(HOUR);
    assert!(plan.is_empty() && !plan.settled, "{plan}");
    assert_eq!(plan.unmet.len(), 1, "{plan}");
    assert!(plan.unmet[0].detail.contains("not now"), "{plan}");
    assert!(!planner.plan(plan.again_at.unwrap()).is_empty());
}
