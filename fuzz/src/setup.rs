//! A configuration and the files of services that it names, as hostile as they can be. It panics where what it states
//! does not hold.

use std::time::Duration;

use lb::spec::{Format, SourceSpec, Spec, TargetSpec};
use lb_core::{
    Endpoint, Limits, Name, Route, Snapshot, Time, Update,
    engine::{Engine, EngineConfig},
    fuzzing,
    merge::SourceId,
    model::Changes,
    source::Cursor,
};
use lb_haproxy::{
    capability::Capabilities,
    observed::Server,
    plan::Planner,
    policy::Policy,
    proto::{MapName, encode},
    routes::RouteMap,
};

/// The first byte chooses how the configuration is written, and HAProxy's version; then come, parted by a byte 1, the
/// configuration and what the files of its sources say, one source after the other and from the first again.
///
/// What is in effect is what some source may ask for, in names, hosts, addresses, ports and numbers. Every target gets
/// it as commands that can be written, and as maps that read again as the same.
pub fn setup(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let format = match choice & 1 {
        0 => Format::Toml,
        _ => Format::Json,
    };
    let text = String::from_utf8_lossy(rest);
    let mut parts = text.split('\u{1}');
    let Ok(spec) = Spec::parse(parts.next().unwrap_or_default(), format) else {
        return;
    };
    let mut config = EngineConfig::default();
    config.guard = spec.guard.clone();
    config.initial_limit = spec.initial_limit;
    let mut now = Time::ZERO;
    let mut engine = Engine::new(config, now);
    let mut sources: Vec<(SourceId, Limits, String)> = Vec::new();
    for source in spec.sources.iter().take(MOST_SOURCES) {
        let SourceSpec::File(file) = source.unbounded() else {
            continue;
        };
        let Ok(built) = source.clone().build() else {
            panic!("a source of files can always be built");
        };
        let descriptor = built.describe();
        let limits = descriptor.limits.clone();
        if let Ok(id) = engine.add_source(now, descriptor) {
            sources.push((id, limits, file.path.to_string_lossy().into_owned()));
        }
    }
    if sources.is_empty() {
        return;
    }
    for (round, content) in parts.take(MOST_FILES).enumerate() {
        let (id, _, path) = &sources[round % sources.len()];
        now = now + Duration::from_secs(1);
        match fuzzing::file(path, content.as_bytes()) {
            Ok(records) => {
                let revision = u64::try_from(round).unwrap_or_default() + 1;
                let at = Cursor::new("file", revision);
                engine.source_update(now, *id, Update::Reset { at, records }, now);
            }
            Err(diagnostic) => {
                engine.source_update(now, *id, Update::Diagnostic(diagnostic), now);
            }
        }
        publish(&mut engine, now);
        check(engine.snapshot(), &sources);
    }
    // Whoever was not heard is waited for no more, and what was held back is let through.
    now = now + spec.initial_limit + Duration::from_secs(3600);
    publish(&mut engine, now);
    check(engine.snapshot(), &sources);
    for target in spec.targets.iter().take(2) {
        let TargetSpec::Haproxy(target) = target else {
            continue;
        };
        let (major, minor) = [(2, 2), (2, 6), (3, 0), (3, 4)][usize::from(choice >> 1) % 4];
        let mut planner = Planner::new(target.policy.clone(), Capabilities::of(major, minor))
            .managing(target.manage.clone());
        let policy = &target.policy;
        let maps = [&policy.route_map, &policy.sni_map, &policy.service_map];
        let maps: Vec<MapName> = maps
            .iter()
            .filter_map(|map| format!("/maps/{map}").parse().ok())
            .collect();
        drive(&mut planner, policy, engine.snapshot(), &maps);
    }
}

const MOST_SOURCES: usize = 4;
const MOST_FILES: usize = 8;

fn publish(engine: &mut Engine, now: Time) {
    while engine.poll(now).is_some() {}
    engine.flush(now);
    while engine.poll_event().is_some() {}
}

/// Everything in effect is what one of the sources may ask for.
fn check(snapshot: &Snapshot, sources: &[(SourceId, Limits, String)]) {
    let limits = || sources.iter().map(|(_, limits, _)| limits);
    for (name, service) in snapshot.services() {
        for (id, endpoint) in service.endpoints() {
            let may = limits().any(|limits| may_have(limits, name, endpoint));
            assert!(may, "{name}/{id} at {} is not allowed", endpoint.address);
            assert_ne!(endpoint.address.port(), 0, "{name}/{id}");
            assert!(!endpoint.address.ip().is_unspecified(), "{name}/{id}");
        }
    }
    for route in snapshot.routes() {
        let may = limits().any(|limits| may_route(limits, route));
        assert!(may, "{route:?} is not allowed");
    }
    let endpoints = limits().fold(0, |sum: usize, one| sum.saturating_add(one.max_endpoints));
    assert!(snapshot.endpoint_count() <= endpoints, "endpoints");
    let routes = limits().fold(0, |sum: usize, one| sum.saturating_add(one.max_routes));
    assert!(snapshot.route_count() <= routes, "routes");
}

fn may_have(limits: &Limits, service: &Name, endpoint: &Endpoint) -> bool {
    let allow = &limits.allow;
    let services = allow.services.as_ref();
    let addresses = allow.addresses.as_ref();
    let ports = allow.ports.as_ref();
    services.is_none_or(|all| all.iter().any(|one| one.matches(service.as_str())))
        && addresses.is_none_or(|all| all.iter().any(|one| one.has(endpoint.address.ip())))
        && [Some(endpoint.address.port()), endpoint.check_port]
            .into_iter()
            .flatten()
            .all(|port| ports.is_none_or(|all| all.iter().any(|one| one.has(port))))
}

fn may_route(limits: &Limits, route: &Route) -> bool {
    let (hosts, services) = (&limits.allow.hosts, &limits.allow.services);
    let nobody = lb_core::model::leads_to_none(&route.service);
    let hosts = hosts.as_ref();
    let services = services.as_ref();
    hosts.is_none_or(|all| all.iter().any(|one| one.covers(&route.host)))
        && (nobody
            || services.is_none_or(|all| all.iter().any(|one| one.matches(route.service.as_str()))))
}

/// Every plan for a HAProxy that has two slots for every service can be written.
fn drive(planner: &mut Planner, policy: &Policy, desired: &Snapshot, maps: &[MapName]) {
    let now = Duration::from_secs(1);
    let backends: Vec<Name> = desired
        .services()
        .take(64)
        .map(|(service, _)| policy.backend_of(service))
        .collect();
    for backend in backends {
        let slots =
            (1..=2).filter_map(|id| Some(Server::slot(format!("slot{id}").parse().ok()?, id)));
        planner.observe(&backend, slots.collect(), now);
    }
    planner.observe_maps(maps);
    for map in planner.maps() {
        planner.observe_map(&map, Vec::new());
    }
    planner.maps_observed();
    planner.desire(&Snapshot::default(), desired, &Changes::Everything);
    let plan = planner.plan(now);
    for step in plan.steps() {
        let mut bytes = Vec::new();
        let written = encode(&step.command, &mut bytes);
        assert!(written.is_ok(), "{step}: {written:?}");
        assert_eq!(
            bytes.iter().filter(|byte| **byte == b'\n').count(),
            1,
            "{step}"
        );
    }
    for (name, map) in planner.wanted_maps() {
        let text = map.file_text();
        match RouteMap::parse_file(&text) {
            Ok(read) => assert!(read.entries().eq(map.entries()), "{name}"),
            Err(error) => panic!("{name}: {error}\n{text}"),
        }
    }
}
