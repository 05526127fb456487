//! HAProxy's tables one after the other, as hostile as they can be. It panics where what it states does not hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::{Endpoint, EndpointState, Mode, Name, Snapshot, Weight};
use lb_haproxy::{
    fuzzing::{Asked, Tables},
    plan::Plan,
    policy::{DynamicServers, Policy},
    proto::{AdminState, Command, ServerRef, encode},
};

/// The first byte chooses the policy; then come parts, parted by a byte 1, of which the first line says what they are:
///
/// | first line | the rest |
/// |---|---|
/// | `info`, `all`, `maps` | the answer to `show info`, `show servers state`, `show map` |
/// | `backend NAME`, `gauges NAME`, `backups NAME` | of one backend, its servers' states or statistics |
/// | `server BACKEND/NAME` | the statistics of one server |
/// | `entries MAP` | the entries of a map |
/// | `desire` | lines of `SERVICE ADDRESS [STATE [WEIGHT]]` |
/// | `wait SECONDS` | nothing: time goes on |
/// | `send` | nothing: what is planned is sent |
///
/// Whatever comes, a plan is about slots that were shown, and none of whose line something could not be read; its commands
/// can be written; their number is bounded by what was shown and what is desired. Nothing is re-pointed but out of
/// maintenance, and made ready only at an address that its service desires. The same answers give the same plans.
pub fn tables(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let mut policy = Policy::default();
    policy.dynamic_servers = match choice & 3 {
        0 => DynamicServers::Never,
        1 => DynamicServers::Always,
        _ => DynamicServers::Auto,
    };
    policy.cut_at_deadline = choice & 4 == 0;
    policy.persistence = choice & 8 != 0;
    let text = String::from_utf8_lossy(rest);
    let mut twins = [Tables::new(policy.clone()), Tables::new(policy.clone())];
    let mut desired = Snapshot::default();
    let mut now = Duration::from_secs(1);
    for part in text.split('\u{1}').take(MOST_PARTS) {
        let (line, rest) = part.split_once('\n').unwrap_or((part, ""));
        let (word, about) = line.split_once(' ').unwrap_or((line, ""));
        let mut unreadable = Vec::new();
        match word {
            "desire" => {
                desired = next_desired(&desired, rest);
                for tables in &mut twins {
                    tables.desire(desired.clone());
                }
            }
            "wait" => {
                let seconds = about.parse().unwrap_or(1_u32);
                now += Duration::from_secs(u64::from(seconds % 3600));
            }
            "send" => {
                let plans = twins.each_mut().map(|tables| {
                    let plan = tables.plan(now);
                    tables.sent(&plan, now);
                    plan
                });
                assert_eq!(plans[0], plans[1], "the same plans");
            }
            _ => {
                let Some(asked) = asked(word, about) else {
                    continue;
                };
                let heard = twins
                    .each_mut()
                    .map(|tables| tables.hear(&asked, rest, now));
                assert_eq!(heard[0], heard[1]);
                unreadable.extend(heard.into_iter().flatten().flatten());
            }
        }
        let plans = twins.each_mut().map(|tables| tables.plan(now));
        assert_eq!(plans[0], plans[1], "the same plans");
        let [tables, _] = &twins;
        check(&plans[0], tables, &policy, &desired, &unreadable);
        now += Duration::from_millis(10);
    }
}

const MOST_PARTS: usize = 24;

fn asked(word: &str, about: &str) -> Option<Asked> {
    Some(match word {
        "info" => Asked::Info,
        "all" => Asked::All,
        "maps" => Asked::Maps,
        "backend" => Asked::Backend(about.parse().ok()?),
        "gauges" => Asked::Gauges(about.parse().ok()?),
        "backups" => Asked::Backups(about.parse().ok()?),
        "entries" => Asked::Entries(about.parse().ok()?),
        "server" => {
            let (backend, server) = about.split_once('/')?;
            Asked::Server(ServerRef::new(backend.parse().ok()?, server.parse().ok()?))
        }
        _ => return None,
    })
}

/// The next generation: what these lines say, and nothing else.
fn next_desired(before: &Snapshot, lines: &str) -> Snapshot {
    let mut edit = before.edit();
    let services: Vec<Name> = before.services().map(|(name, _)| name.clone()).collect();
    for service in &services {
        edit.remove_service(service);
    }
    for line in lines.lines().take(32) {
        let mut words = line.split_ascii_whitespace();
        let mut word = || words.next().unwrap_or_default();
        let (Ok(service), Ok(address)) = (word().parse::<Name>(), word().parse::<SocketAddr>())
        else {
            continue;
        };
        // Sources report no others.
        if address.port() == 0 || address.ip().is_unspecified() {
            continue;
        }
        let state = match word() {
            "drain" => EndpointState::Draining { grace: None },
            "down" => EndpointState::Down,
            "pending" => EndpointState::Pending,
            _ => EndpointState::Ready,
        };
        let weight = word()
            .parse()
            .ok()
            .and_then(|weight| Weight::new(weight).ok());
        let endpoint = Endpoint::new(address)
            .with_state(state)
            .with_weight(weight.unwrap_or_default());
        edit.set_service(&service, Mode::Http);
        edit.set_endpoint(&service, &Name::from_text(line), endpoint);
    }
    edit.commit().unwrap_or_else(|| before.clone())
}

fn check(
    plan: &Plan,
    tables: &Tables,
    policy: &Policy,
    desired: &Snapshot,
    unreadable: &[ServerRef],
) {
    let planner = tables.planner();
    let shown: usize = planner
        .backends()
        .map(|backend| planner.server_count(backend))
        .sum();
    let steps = plan.steps().count();
    assert!(
        steps <= 8 * (shown + desired.endpoint_count()),
        "{steps} steps for {shown} servers: {plan}"
    );
    let mut in_maintenance = BTreeSet::new();
    let mut sent = BTreeMap::new();
    for step in plan.steps() {
        let mut bytes = Vec::new();
        let written = encode(&step.command, &mut bytes);
        assert!(written.is_ok(), "{step}: {written:?}");
        let at = &step.server;
        let known = planner.server(at);
        if let Command::AddServer { address, .. } = &step.command {
            assert!(known.is_none(), "{step}: {known:?}");
            sent.insert(at, *address);
        }
        assert!(known.is_some() || sent.contains_key(at), "{step}");
        assert!(!unreadable.contains(at), "{step}, which cannot be read");
        let slot = policy.is_slot_name(&at.server) || policy.is_dynamic_name(&at.server);
        assert!(slot, "{step}: no slot");
        match &step.command {
            Command::SetState(_, AdminState::Maint) => {
                in_maintenance.insert(at);
            }
            Command::SetAddr(_, address) => {
                let maint = known.is_some_and(|server| server.admin == AdminState::Maint);
                assert!(maint || in_maintenance.contains(at), "{step}: {known:?}");
                sent.insert(at, *address);
            }
            Command::SetState(_, AdminState::Ready) => {
                let shown = known.and_then(|server| server.address);
                let address = sent.get(at).copied().or(shown);
                assert!(
                    address.is_some_and(|address| is_desired(desired, address)),
                    "{step}: nobody desires {address:?}"
                );
            }
            _ => {}
        }
    }
}

/// Returns `true` if a service is to serve at an address.
fn is_desired(desired: &Snapshot, address: SocketAddr) -> bool {
    let mut endpoints = desired.services().flat_map(|(_, known)| known.endpoints());
    endpoints.any(|(_, endpoint)| endpoint.address == address && endpoint.state.is_ready())
}
