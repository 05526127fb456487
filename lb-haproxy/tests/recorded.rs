//! Replies recorded from HAProxy 2.2.9, 2.6.12, 3.0.11, 3.2.26 and 3.4.7: each is judged and read as it was meant.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may end in a panic"
)]

use std::{net::SocketAddr, path::Path, time::Duration};

use lb_core::{Name, Weight};
use lb_haproxy::proto::{
    Accepted, AdminState, Command, Health, Info, MapName, MapVersion, OpState, Processes, Refusal,
    Reply, ServerOptions, ServerRef, ServersConn, ServersState, Stat, StatKind, Status,
    parse_map_entries, parse_maps, verdict,
};

const VERSIONS: [&str; 5] = ["2.2", "2.6", "3.0", "3.2", "3.4"];

/// Every recorded reply, by the name of its case.
fn recorded(version: &str) -> Vec<(String, Reply)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(version)
        .join("replies.txt");
    let text = std::fs::read_to_string(&path).unwrap();
    text.split("@ ")
        .skip(1)
        .map(|part| {
            let (name, reply) = part.split_once('\n').unwrap();
            // What the session strips.
            let signs = reply.len() - reply.trim_start_matches("+ ").len();
            (name.to_owned(), Reply::from(&reply[signs..]))
        })
        .collect()
}

fn reply(version: &str, name: &str) -> Reply {
    recorded(version)
        .into_iter()
        .find(|(found, _)| found == name)
        .unwrap_or_else(|| panic!("no {name} recorded from {version}"))
        .1
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn slot() -> ServerRef {
    ServerRef::new(name("be"), name("slot1"))
}

fn address() -> SocketAddr {
    "127.0.0.9:9009".parse().unwrap()
}

fn map() -> MapName {
    "/tmp/lbrec/routes.map".parse().unwrap()
}

/// The kind of command a case was recorded with; names and addresses play no part in a verdict.
fn command(case: &str) -> Command {
    let (key, value) = ("/x".parse().unwrap(), "be".parse().unwrap());
    let case = case.strip_prefix("denied-").unwrap_or(case);
    match case {
        _ if case.starts_with("set-addr") => Command::SetAddr(slot(), address()),
        _ if case.starts_with("set-state") => Command::SetState(slot(), AdminState::Ready),
        _ if case.starts_with("set-weight") => Command::SetWeight(slot(), Weight::default()),
        _ if case.starts_with("set-health") => Command::SetHealth(slot(), Health::Down),
        _ if case.starts_with("set-check-port") => Command::SetCheckPort(slot(), 99),
        "set-check-addr" => Command::SetCheckAddr {
            server: slot(),
            address: address().ip(),
            port: Some(99),
        },
        _ if case.starts_with("enable-health") => Command::EnableHealth(slot()),
        "shutdown-sessions" => Command::ShutdownSessions(slot()),
        _ if case.starts_with("add-server") => Command::AddServer {
            server: slot(),
            address: address(),
            options: ServerOptions::default(),
        },
        _ if case.starts_with("wait-") => {
            Command::WaitRemovable(slot(), Duration::from_millis(100))
        }
        _ if case.starts_with("del-server") => Command::DelServer(slot()),
        "add-map-entries" => Command::AddMapEntries {
            map: map(),
            version: None,
            entries: vec![(key, value)],
        },
        _ if case.starts_with("add-map") => Command::AddMap {
            map: map(),
            version: None,
            key,
            value,
        },
        _ if case.starts_with("set-map") => Command::SetMap {
            map: map(),
            key,
            value,
        },
        _ if case.starts_with("del-map") => Command::DelMap { map: map(), key },
        "prepare-map" => Command::PrepareMap(map()),
        _ if case.starts_with("commit-map") => Command::CommitMap {
            map: map(),
            version: MapVersion::new(1),
        },
        "clear-map" => Command::ClearMap {
            map: map(),
            version: None,
        },
        "show-map-version" => Command::ShowMapVersion(map(), MapVersion::new(1)),
        "show-maps" => Command::ShowMap(None),
        _ if case.starts_with("show-map") => Command::ShowMap(Some(map())),
        "show-info" => Command::ShowInfo,
        "show-version" => Command::ShowVersion,
        "show-cli-level" => Command::ShowCliLevel,
        "show-backend" => Command::ShowBackend,
        _ if case.starts_with("show-servers-state") => Command::ShowServersState(None),
        _ if case.starts_with("show-servers-conn") => Command::ShowServersConn(None),
        _ if case.starts_with("show-stat") => Command::ShowStatAll,
        _ if case.starts_with("show-proc") => Command::ShowProc,
        "unknown" => Command::SetSeverity,
        "timeout-bad" => Command::SetTimeout(Duration::from_secs(1)),
        _ if case.starts_with("reload") => Command::Reload,
        other => panic!("no command for {other}"),
    }
}

/// The meaning of each case, and the versions on which it is `UnknownCommand` instead.
fn meaning(case: &str, version: &str) -> Result<Accepted, &'static str> {
    let at = VERSIONS.iter().position(|v| *v == version).unwrap();
    let [since_26, since_30, since_34] = [at >= 1, at >= 2, at >= 4];
    let done = Ok(Accepted::Done);
    let absent = Err("UnknownCommand");
    match case {
        "set-addr-both" | "set-addr-port-only" | "set-addr-ip-only" | "set-addr-six" => done,
        "set-addr-same" => Ok(Accepted::Unchanged),
        "set-addr-unix" | "set-addr-unresolved" => Err("AddressFamily"),
        "set-addr-no-backend" => Err("NoSuchBackend"),
        "set-addr-no-server" | "set-state-no-server" => Err("NoSuchServer"),
        "set-addr-bad" => Err("InvalidAddress"),
        "set-addr-bad-port" => Err("InvalidPort"),
        "set-addr-no-word" => Err("Other"),
        "set-addr-disabled" | "set-state-disabled" => Err("ProxyDisabled"),
        "set-state-ready" | "set-state-maint" | "set-weight" | "set-health" => done,
        "set-weight-static" => Err("FixedWeight"),
        "set-weight-bad" | "set-weight-garbage" => Err("InvalidWeight"),
        "set-health-tracking" => Err("Tracking"),
        "set-check-port" => done,
        "set-check-port-none" if since_26 => Err("ChecksNotEnabled"),
        "set-check-port-none" => done,
        "set-check-addr" if !since_26 => absent,
        "set-check-addr" if since_34 => Err("InvalidAddress"),
        "set-check-addr" => done,
        "enable-health-none" if since_26 => Err("ChecksNotEnabled"),
        "enable-health" | "enable-health-none" | "shutdown-sessions" => done,
        "denied-set-state" => Err("PermissionDenied"),
        "denied-add-server" if since_26 => Err("PermissionDenied"),
        _ if !since_26
            && (case.contains("add-server")
                || case.starts_with("del-server")
                || case.starts_with("wait-")
                || case.starts_with("prepare-")
                || case.starts_with("commit-")
                || case == "show-version") =>
        {
            absent
        }
        "add-map-entries" | "show-map-version" if !since_26 => Err("NoSuchMap"),
        _ if !since_30 && case.starts_with("wait-") => absent,
        "add-server" | "add-server-six" | "del-server" | "wait-removable" => done,
        "add-server-twice" => Err("AlreadyExists"),
        "add-server-static" => Err("FixedServers"),
        "add-server-setting" | "add-server-keyword" => Err("UnknownSetting"),
        "wait-removable-ready" | "wait-removable-none" if !since_34 => Err("Other"),
        "del-server-not-maint" | "del-server-referenced" | "wait-removable-ready" => {
            Err("Referenced")
        }
        "del-server-none" | "wait-removable-none" => Err("NoSuchServer"),
        "add-map" | "set-map" | "del-map" | "add-map-entries" | "commit-map" | "clear-map" => done,
        "add-map-unknown" | "show-map-unknown" => Err("NoSuchMap"),
        "set-map-none" | "del-map-none" => Err("NoSuchEntry"),
        "prepare-map" => Ok(Accepted::Version(MapVersion::new(1))),
        "commit-map-again" | "commit-map-future" => Err("MapVersion"),
        "show-servers-state-none" | "show-servers-conn-none" | "show-stat-none" => {
            Err("NoSuchBackend")
        }
        "unknown" => absent,
        "timeout-bad" => Err("Other"),
        "reload" | "reload-bad" if !since_30 => Ok(Accepted::Unconfirmed),
        "reload" => done,
        "reload-bad" => Err("Reload"),
        _ if case.starts_with("show-") => Ok(Accepted::Text),
        other => panic!("no meaning for {other}"),
    }
}

#[test]
fn every_recorded_reply_gets_the_verdict_it_means() {
    for version in VERSIONS {
        let cases = recorded(version);
        assert!(cases.len() > 70, "{version}: {} cases", cases.len());
        for (case, reply) in cases {
            let found = verdict(&command(&case), &reply);
            let kind = found.as_ref().map_err(|refusal| {
                let text = format!("{refusal:?}");
                text.split('(').next().unwrap().to_owned()
            });
            let expected = meaning(&case, version);
            assert_eq!(
                kind,
                expected.as_ref().map_err(|kind| (*kind).to_owned()),
                "{version} {case}: {:?}",
                reply.text()
            );
        }
    }
}

#[test]
fn a_failed_reload_says_what_is_wrong() {
    let found = verdict(&Command::Reload, &reply("3.4", "reload-bad")).unwrap_err();
    let Refusal::Reload(text) = found else {
        panic!("{found:?}");
    };
    assert!(
        text.as_str().contains("unknown keyword 'nonsense'"),
        "{text}"
    );
}

#[test]
fn every_version_tells_its_servers_alike() {
    for version in VERSIONS {
        let state = ServersState::parse(reply(version, "show-servers-state").text()).unwrap();
        let find = |backend: &str, server: &str| {
            state
                .rows
                .iter()
                .find(|row| row.backend == name(backend) && row.server == name(server))
                .unwrap_or_else(|| panic!("{version}: no {backend}/{server}"))
        };
        let slot1 = find("be", "slot1");
        assert_eq!(slot1.socket_addr(), Some("[fd00::7]:9010".parse().unwrap()));
        assert!(slot1.admin.is_maint() && slot1.admin.is_declared_disabled());
        assert!(!slot1.admin.is_drain() && !slot1.check.is_configured());
        assert_eq!(
            (slot1.op, slot1.weight, slot1.initial_weight),
            (OpState::Stopped, 7, 1)
        );
        let six = find("be", "six");
        assert!(
            six.check.is_configured() && six.check.is_enabled(),
            "{version}"
        );
        assert_eq!(six.address, Some("::1".parse().unwrap()));
        assert!(!six.op.is_up() && !six.admin.is_maint());
        let unix = find("be", "unix");
        assert_eq!((unix.address, unix.op), (None, OpState::Running));
        let host = find("be", "host");
        assert_eq!(host.fqdn.as_deref(), Some("nosuch.invalid"));
        // Before 2.9 the refused address had taken the server out of its maintenance all the same.
        let unresolved = !matches!(version, "2.2" | "2.6");
        assert_eq!(host.admin.is_unresolved(), unresolved, "{version}");
        assert_eq!(host.admin.is_maint(), unresolved, "{version}");
        assert_eq!(host.socket_addr(), None);
    }
}

#[test]
fn every_version_tells_its_connections_alike() {
    for version in VERSIONS {
        let conn = ServersConn::parse(reply(version, "show-servers-conn").text()).unwrap();
        let slot1 = conn.rows.iter().find(|row| row.server == slot()).unwrap();
        assert!(slot1.is_unused(), "{version}: {slot1:?}");
        assert_eq!(slot1.purge_delay, 5000);
        assert_eq!(slot1.served.is_some(), version == "3.4");
        assert!(conn.rows.len() >= 9, "{version}");
    }
}

#[test]
fn every_version_tells_its_statistics_alike() {
    for version in VERSIONS {
        let stat = Stat::parse(reply(version, "show-stat").text()).unwrap();
        let find = |proxy: &str, row: &str| {
            stat.rows
                .iter()
                .find(|found| found.proxy == name(proxy) && found.name == name(row))
                .unwrap_or_else(|| panic!("{version}: no {proxy}/{row}"))
        };
        assert_eq!(find("f", "FRONTEND").kind, StatKind::Frontend);
        assert_eq!(find("f", "FRONTEND").status, Status::Open);
        assert_eq!(find("be", "BACKEND").kind, StatKind::Backend);
        let slot1 = find("be", "slot1");
        assert_eq!(
            (slot1.kind, &slot1.status),
            (StatKind::Server, &Status::Maint)
        );
        assert_eq!(slot1.address, Some("[fd00::7]:9010".parse().unwrap()));
        assert_eq!(
            (slot1.sessions, slot1.queued, slot1.id),
            (0, Some(0), Some(1))
        );
        assert_eq!(slot1.mode.as_deref(), Some("http"));
        assert_eq!(
            (slot1.used_connections, slot1.idle_connections),
            (Some(0), Some(0))
        );
        assert_eq!(find("be", "six").status, Status::Down);
        assert!(find("be", "six").check_status.is_some());
        assert_eq!(find("be", "unix").status, Status::NoCheck);
    }
}

#[test]
fn every_version_tells_itself_alike() {
    for version in VERSIONS {
        let info = Info::parse(reply(version, "show-info").text()).unwrap();
        assert!(info.version.text().starts_with(version));
        assert_eq!(
            format!("{}.{}", info.version.major(), info.version.minor()),
            version
        );
        assert_eq!((info.nbproc, info.nbthread, info.stopping), (1, 2, false));
        assert_eq!(info.epoch().start_time.is_some(), version != "2.2");
        assert!(info.pid > 1 && info.maxconn.is_some() && info.ulimit_n.is_some());
    }
}

#[test]
fn every_version_tells_its_maps_alike() {
    for version in VERSIONS {
        let maps = parse_maps(reply(version, "show-maps").text()).unwrap();
        let [map] = &maps[..] else {
            panic!("{version}: {maps:?}");
        };
        assert_eq!(map.file, "/tmp/lbrec/routes.map");
        let counted = (map.entries, map.current_version);
        match version {
            "2.2" => assert_eq!(counted, (None, None)),
            _ => assert_eq!(counted, (Some(2), Some(MapVersion::new(1)))),
        }
        let entries = parse_map_entries(reply(version, "show-map").text()).unwrap();
        let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        match version {
            "2.2" => assert_eq!(keys, ["/a", "/b"]),
            _ => assert_eq!(keys, ["/p", "/q"]),
        }
        assert!(entries.iter().all(|entry| entry.value == "be"));
        assert_eq!(
            parse_map_entries(reply(version, "show-map-empty").text()),
            Ok(vec![])
        );
    }
}

#[test]
fn every_version_tells_its_processes_alike() {
    for version in VERSIONS {
        let before = Processes::parse(reply(version, "show-proc").text()).unwrap();
        assert_eq!(
            (before.workers.len(), before.old_workers.len()),
            (1, 0),
            "{version}"
        );
        assert_eq!(before.workers[0].reloads, 0);
        assert_eq!(before.failed_reloads.is_some(), version != "2.2");
        let after = Processes::parse(reply(version, "show-proc-reloaded").text()).unwrap();
        assert_eq!(after.workers.len(), 1, "{version}");
        assert_ne!(after.workers[0].pid, before.workers[0].pid, "{version}");
        let failed = Processes::parse(reply(version, "show-proc-failed").text()).unwrap();
        assert_eq!(
            failed.current().unwrap().pid,
            after.workers[0].pid,
            "{version}: the worker of before the failed reload serves on"
        );
    }
}
