//! Several owners of one HAProxy: disjoint ones do not disturb each other, of overlapping ones the second is refused.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/side_by_side.rs"]
mod side_by_side;
mod support;

use std::{
    collections::BTreeSet,
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lb_core::{
    ConditionKind, DriveError, Driver as _, Endpoint, Name, Report, Route, Snapshot, UnmetReason,
};
use lb_haproxy::{
    HaproxyDriver, Scope, SocketAddress, TargetConfig,
    driver::other_owner,
    process::{Executable, Haproxy},
    proto::{AdminState, Command, ServerRef, ServerRow, ServersState, parse_map_entries},
};
use side_by_side::side_by_side;
use support::{Place, executables};

const CONFIG: &str = "\
global
  stats socket DIR/admin.sock level admin mode 600 expose-fd listeners
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 1s
frontend main
  bind unix@DIR/front.sock
  use_backend %[req.hdr(host),lower,map(DIR/lb-routes.map,web)]
backend web
  server-template slot 1-8 127.0.0.1:1 disabled
backend db
  server-template slot 1-8 127.0.0.1:1 disabled
backend other
  server-template slot 1-2 127.0.0.1:1 disabled
";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn driver(place: &Place, target: &str, manage: &[&str]) -> HaproxyDriver {
    let mut config = TargetConfig::new(name(target), place.admin.clone())
        .managing(Scope::new(manage.iter().copied()).unwrap());
    // Every pass looks at everything, so that nothing of the other's is overlooked.
    config.policy.resync = Duration::ZERO;
    HaproxyDriver::new(config)
}

/// One service with endpoints at these ports, and a route of its own; `before` had what it has no more.
fn desired(before: &Arc<Snapshot>, service: &str, ports: &[u16]) -> Arc<Snapshot> {
    let mut edit = before.edit();
    for port in before_ports(before, service) {
        edit.remove_endpoint(&name(service), &port);
    }
    for port in ports {
        let endpoint = Endpoint::new(([127, 0, 0, 1], *port).into());
        edit.set_endpoint(&name(service), &name(&port.to_string()), endpoint);
    }
    let host = format!("{service}.example").parse().unwrap();
    edit.add_route(Route::new(host, "/".parse().unwrap(), name(service)));
    edit.commit().map_or_else(|| Arc::clone(before), Arc::new)
}

fn before_ports(before: &Snapshot, service: &str) -> Vec<Name> {
    let known = before.service(&name(service));
    let ids = known.into_iter().flat_map(|service| service.endpoints());
    ids.map(|(id, _)| id.clone()).collect()
}

fn nothing() -> Arc<Snapshot> {
    Arc::new(Snapshot::default())
}

async fn settle(driver: &mut HaproxyDriver, state: &Arc<Snapshot>) -> Report {
    for _ in 0..1000 {
        let report = driver.converge(state).await.unwrap();
        match report.again {
            None => return report,
            Some(pause) => tokio::time::sleep(pause).await,
        }
    }
    panic!("no end");
}

/// The ports that servers of a backend have and serve.
async fn serving(haproxy: &Haproxy, backend: &str) -> BTreeSet<u16> {
    let mut client = haproxy.connect().await.unwrap();
    let command = Command::ShowServersState(Some(name(backend)));
    let reply = client.exec(&command).await.unwrap();
    let rows = ServersState::parse(reply.text()).unwrap().rows;
    rows.iter()
        .filter(|row| !row.admin.is_maint() && !row.admin.is_drain())
        .filter_map(|row| Some(row.socket_addr()?.port()))
        .collect()
}

async fn routes(haproxy: &Haproxy, place: &Place) -> BTreeSet<String> {
    let mut client = haproxy.connect().await.unwrap();
    let map = place.dir.path().join("lb-routes.map");
    let command = Command::ShowMap(Some(map.to_str().unwrap().parse().unwrap()));
    let reply = client.exec(&command).await.unwrap();
    let entries = parse_map_entries(reply.text()).unwrap();
    entries
        .into_iter()
        .map(|entry| format!("{} {}", entry.key, entry.value))
        .collect()
}

async fn start(executable: &Executable) -> (Place, Haproxy) {
    let place = Place::new(CONFIG);
    std::fs::write(place.dir.path().join("lb-routes.map"), "").unwrap();
    let haproxy = place.start(executable).await;
    (place, haproxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_owners_of_different_backends_do_not_disturb_each_other() {
    side_by_side(executables(), async |executable: Executable| {
        let (place, haproxy) = start(&executable).await;
        let by_hand = [
            "set server other/slot1 addr 127.0.0.1 port 9999",
            "set server other/slot1 state ready",
        ];
        for line in by_hand {
            say(&place, line).await;
        }
        let mut web = driver(&place, "web", &["web"]);
        let mut db = driver(&place, "db", &["db*"]);
        let mut web_state = desired(&nothing(), "web", &[1001, 1002]);
        settle(&mut web, &web_state).await;
        let mut db_state = desired(&nothing(), "db", &[2001, 2002]);
        settle(&mut db, &db_state).await;
        let web_rounds = async {
            for round in 0..12 {
                let ports = [1001 + round % 3, 1005 + round % 2];
                web_state = desired(&web_state, "web", &ports);
                let report = settle(&mut web, &web_state).await;
                assert!(report.unmet.is_empty(), "{report:?}");
                assert!(
                    serving(&haproxy, "web")
                        .await
                        .is_superset(&BTreeSet::from(ports))
                );
            }
        };
        let db_rounds = async {
            for round in 0..12 {
                let ports = [2001 + round % 2, 2005 + round % 3];
                db_state = desired(&db_state, "db", &ports);
                let report = settle(&mut db, &db_state).await;
                assert!(report.unmet.is_empty(), "{report:?}");
                assert!(
                    serving(&haproxy, "db")
                        .await
                        .is_superset(&BTreeSet::from(ports))
                );
            }
        };
        tokio::join!(web_rounds, db_rounds);
        let both = BTreeSet::from(["db.example/ db".to_owned(), "web.example/ web".to_owned()]);
        assert_eq!(routes(&haproxy, &place).await, both);
        // One that begins anew finds its own as it is, and writes nothing of the other's.
        drop(web);
        let mut web = driver(&place, "web", &["web"]);
        let report = settle(&mut web, &web_state).await;
        assert_eq!(report.applied, 0, "{report:?}");
        let mut edit = web_state.edit();
        edit.remove_service(&name("web"));
        for route in web_state.routes() {
            edit.remove_route(route);
        }
        let without = Arc::new(edit.commit().unwrap());
        settle(&mut web, &without).await;
        assert_eq!(serving(&haproxy, "web").await, BTreeSet::new());
        assert_eq!(
            routes(&haproxy, &place).await,
            BTreeSet::from(["db.example/ db".to_owned()])
        );
        assert_eq!(serving(&haproxy, "db").await, BTreeSet::from([2002, 2007]));
        assert_eq!(serving(&haproxy, "other").await, BTreeSet::from([9999]));
        // The file is what both have.
        let two = settle(&mut web, &desired(&without, "web", &[1001])).await;
        assert!(two.converged);
        web.close().await;
        let file = std::fs::read_to_string(place.dir.path().join("lb-routes.map")).unwrap();
        assert_eq!(file, "db.example/ db\nweb.example/ web\n");
    })
    .await;
}

/// Says one line on the socket, as another program would.
async fn say(place: &Place, line: &str) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let path = place.dir.path().join("admin.sock");
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    stream
        .write_all(format!("{line}\n").as_bytes())
        .await
        .unwrap();
    stream.read_to_string(&mut String::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_the_second_owner_of_a_backend_is_refused_until_the_first_ends() {
    side_by_side(executables(), async |executable: Executable| {
        let (place, haproxy) = start(&executable).await;
        let mut first = driver(&place, "first", &["web", "db"]);
        settle(&mut first, &desired(&nothing(), "web", &[1001])).await;
        let mut second = driver(&place, "second", &["*"]);
        let state = desired(&nothing(), "web", &[1002]);
        let error = second.converge(&state).await.unwrap_err();
        assert!(matches!(error, DriveError::Owned { .. }), "{error:?}");
        assert_eq!(error.kind(), ConditionKind::Owned);
        let said = error.source().unwrap().to_string();
        let pid = format!(
            "process {}, target first, manage db, web",
            std::process::id()
        );
        assert!(said.contains(&pid), "{said}");
        assert_eq!(serving(&haproxy, "web").await, BTreeSet::from([1001]));
        // A dry run changes nothing, so it needs no lock.
        assert!(second.preview(&state).await.is_ok());
        drop(first);
        tokio::time::timeout(Duration::from_secs(5), second.attention())
            .await
            .unwrap();
        settle(&mut second, &state).await;
        assert_eq!(serving(&haproxy, "web").await, BTreeSet::from([1002]));
    })
    .await;
}

/// Two sockets of one HAProxy lead to one HAProxy, and so does one over TCP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_an_owner_at_another_socket_of_the_same_haproxy_is_found() {
    side_by_side(executables(), async |executable: Executable| {
        let port = support::free_port();
        let more = format!(
            "global\n  stats socket DIR/other.sock mode 600 level admin\n  \
             stats socket ipv4@127.0.0.1:{port} level admin\n"
        );
        let place = Place::new(&CONFIG.replacen("global\n", &more, 1));
        std::fs::write(place.dir.path().join("lb-routes.map"), "").unwrap();
        let haproxy = place.start(&executable).await;
        let at = |socket: String| {
            let mut config = TargetConfig::new(name("other"), socket.parse().unwrap());
            config.policy.resync = Duration::ZERO;
            config
        };
        let other = at(place.dir.path().join("other.sock").display().to_string());
        let remote = at(format!("127.0.0.1:{port}"));
        let wanted = desired(&nothing(), "web", &[1002]);
        for second in [other.clone(), remote.clone()] {
            let mut first = driver(&place, "first", &["*"]);
            settle(&mut first, &desired(&nothing(), "web", &[1001])).await;
            let through = place.dir.path().join("admin.sock").display().to_string();
            let found = other_owner(&second).await.unwrap().to_string();
            assert!(found.ends_with(&format!("through {through})")), "{found}");
            let mut second = HaproxyDriver::new(second);
            let error = second.converge(&wanted).await.unwrap_err();
            assert!(matches!(error, DriveError::Owned { .. }), "{error:?}");
            assert_eq!(serving(&haproxy, "web").await, BTreeSet::from([1001]));
            drop(first);
            tokio::time::timeout(Duration::from_secs(5), second.attention())
                .await
                .unwrap();
            settle(&mut second, &wanted).await;
            assert_eq!(serving(&haproxy, "web").await, BTreeSet::from([1002]));
            // And the other way round.
            let mut first = driver(&place, "first", &["*"]);
            let error = first.converge(&wanted).await.unwrap_err();
            assert!(matches!(error, DriveError::Owned { .. }), "{error:?}");
        }
        // Those of different backends do not mind.
        let mut web = HaproxyDriver::new(other.managing(Scope::new(["web"]).unwrap()));
        let mut db = HaproxyDriver::new(remote.managing(Scope::new(["db"]).unwrap()));
        settle(&mut web, &wanted).await;
        settle(&mut db, &desired(&nothing(), "db", &[2001])).await;
    })
    .await;
}

/// HAProxy has no room for a further connection: what cannot be asked may be the same one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_an_owner_is_found_where_haproxy_takes_no_further_connection() {
    side_by_side(executables(), async |executable: Executable| {
        let more =
            "global\n  stats maxconn 2\n  stats socket DIR/other.sock mode 600 level admin\n";
        let place = Place::new(&CONFIG.replacen("global\n", more, 1));
        std::fs::write(place.dir.path().join("lb-routes.map"), "").unwrap();
        let _haproxy = place.start(&executable).await;
        let mut first = driver(&place, "first", &["*"]);
        settle(&mut first, &desired(&nothing(), "web", &[1001])).await;
        let other = place.dir.path().join("other.sock").display().to_string();
        let mut second =
            HaproxyDriver::new(TargetConfig::new(name("second"), other.parse().unwrap()));
        let wanted = desired(&nothing(), "web", &[1002]);
        let error = second.converge(&wanted).await.unwrap_err();
        assert!(matches!(error, DriveError::Owned { .. }), "{error:?}");
    })
    .await;
}

/// The socket of another HAProxy may have the path that this one has in a file system of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_an_owner_of_another_haproxy_at_a_path_that_this_one_names_is_none() {
    side_by_side(executables(), async |executable: Executable| {
        let (place, _haproxy) = start(&executable).await;
        let more = "global\n  stats socket DIR/other.sock mode 600 level admin\n";
        let both = Place::new(&CONFIG.replacen("global\n", more, 1));
        std::fs::write(both.dir.path().join("lb-routes.map"), "").unwrap();
        let _both = both.start(&executable).await;
        // As a file that is mounted over: the path leads to the first HAProxy.
        let other = both.dir.path().join("other.sock");
        std::fs::remove_file(&other).unwrap();
        std::os::unix::fs::symlink(place.dir.path().join("admin.sock"), &other).unwrap();
        let mut first = driver(&place, "first", &["*"]);
        settle(&mut first, &desired(&nothing(), "web", &[1001])).await;
        let mut second = driver(&both, "second", &["*"]);
        settle(&mut second, &desired(&nothing(), "web", &[1001])).await;
    })
    .await;
}

/// A plan shows what a run would do, and that it would be refused.
#[tokio::test]
async fn case_p07_a_plan_tells_that_a_run_would_be_refused() {
    side_by_side(executables(), async |executable: Executable| {
        let (place, _haproxy) = start(&executable).await;
        let state = desired(&nothing(), "web", &[1]);
        let mut first = driver(&place, "first", &["web"]);
        settle(&mut first, &state).await;
        let more = desired(&state, "web", &[1, 2]);
        let mut second = driver(&place, "second", &["*"]);
        let preview = second.preview(&more).await.unwrap();
        let pid = std::process::id();
        let told = format!("(process {pid}, target first, manage web) manages these backends");
        assert!(
            preview.steps > 0 && preview.text.contains(&told),
            "{}",
            preview.text
        );
        assert!(preview.json.contains("\"owned\""), "{}", preview.json);
        // Not the owner's own plan, nor one for other backends, nor when the owner is gone.
        for mut driver in [first, driver(&place, "third", &["db"]), second] {
            let preview = driver.preview(&more).await.unwrap();
            assert!(!preview.text.contains("owned"), "{}", preview.text);
        }
    })
    .await;
}

/// A plan beside the running agent of the same configuration is that agent's: nothing is refused.
#[tokio::test]
async fn case_p07_a_plan_of_the_running_target_is_no_conflict() {
    side_by_side(executables(), async |executable: Executable| {
        let (place, _haproxy) = start(&executable).await;
        let state = desired(&nothing(), "web", &[1]);
        let mut running = driver(&place, "edge", &["web"]);
        settle(&mut running, &state).await;
        let told = format!("(process {}, target edge, manage web)", std::process::id());
        let preview = driver(&place, "edge", &["web"]).preview(&state).await;
        let preview = preview.unwrap();
        assert!(!preview.text.contains("owned"), "{}", preview.text);
        let line = format!("{told} applies this plan");
        assert!(preview.text.contains(&line), "{}", preview.text);
        let json: serde_json::Value = serde_json::from_str(&preview.json).unwrap();
        assert!(json["running"].as_str().unwrap().ends_with(&told), "{json}");
        assert_eq!(json["conditions"], serde_json::json!([]), "{json}");
        // Another target, or another choice of backends, is another owner's.
        for mut other in [
            driver(&place, "other", &["web"]),
            driver(&place, "edge", &["web", "db"]),
        ] {
            let preview = other.preview(&state).await.unwrap();
            assert!(
                preview.text.contains("a run is refused"),
                "{}",
                preview.text
            );
            assert!(!preview.json.contains("\"running\""), "{}", preview.json);
        }
        let preview = running.preview(&state).await.unwrap();
        assert!(!preview.json.contains("\"running\""), "{}", preview.json);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_a_service_outside_of_what_is_managed_is_unmet() {
    side_by_side(executables(), async |executable: Executable| {
        let (place, haproxy) = start(&executable).await;
        let mut driver = driver(&place, "web", &["web*", "nowhere"]);
        let mut edit = desired(&nothing(), "db", &[2001]).edit();
        let endpoint = Endpoint::new("127.0.0.1:1001".parse().unwrap());
        edit.set_endpoint(&name("web"), &name("1"), endpoint);
        let report = settle(&mut driver, &Arc::new(edit.commit().unwrap())).await;
        let [unmet] = report.unmet.as_slice() else {
            panic!("{report:?}");
        };
        assert_eq!(
            (unmet.service.as_str(), unmet.reason),
            ("db", UnmetReason::NotManaged)
        );
        assert!(
            !unmet.transient && unmet.detail.contains("`manage`"),
            "{unmet:?}"
        );
        assert_eq!(serving(&haproxy, "web").await, BTreeSet::from([1001]));
        assert_eq!(serving(&haproxy, "db").await, BTreeSet::new());
        assert_eq!(routes(&haproxy, &place).await, BTreeSet::new());
    })
    .await;
}

/// A TCP stats socket has no lock beside it.
async fn start_over_tcp(executable: &Executable) -> (Place, Haproxy, SocketAddress) {
    let at = format!("127.0.0.1:{}", support::free_port());
    let socket = format!("global\n  stats socket ipv4@{at} level admin\n");
    let place = Place::new(&CONFIG.replacen("global\n", &socket, 1));
    std::fs::write(place.dir.path().join("lb-routes.map"), "").unwrap();
    let haproxy = place.start(executable).await;
    (place, haproxy, at.parse().unwrap())
}

fn fought_over(report: &Report) -> bool {
    let mut conditions = report.conditions.iter();
    conditions.any(|condition| condition.kind == ConditionKind::Contention)
}

/// However soon the other client does it: before the next look of lb or long after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_a_server_that_is_taken_out_each_time_is_left_out_over_tcp() {
    side_by_side(executables(), async |executable: Executable| {
        for (out, pause) in [
            (AdminState::Maint, 0),
            (AdminState::Drain, 10),
            (AdminState::Maint, 400),
        ] {
            let (_place, haproxy, at) = start_over_tcp(&executable).await;
            let mut config = TargetConfig::new(name("edge"), at);
            config.policy.resync = Duration::from_millis(100);
            let mut driver = HaproxyDriver::new(config);
            let state = desired(&nothing(), "web", &[1001]);
            let taken_out = AtomicU64::new(0);
            let other = async {
                let mut client = haproxy.connect().await.unwrap();
                let show = Command::ShowServersState(Some(name("web")));
                loop {
                    let reply = client.exec(&show).await.unwrap();
                    let rows = ServersState::parse(reply.text()).unwrap().rows;
                    let ready = |row: &&ServerRow| !row.admin.is_maint() && !row.admin.is_drain();
                    if let Some(row) = rows.iter().find(ready) {
                        tokio::time::sleep(Duration::from_millis(pause)).await;
                        let server = ServerRef::new(name("web"), row.server.clone());
                        let out = Command::SetState(server, out);
                        client.exec(&out).await.unwrap();
                        taken_out.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let lb = async {
                let mut passes = 0;
                loop {
                    let report = driver.converge(&state).await.unwrap();
                    if fought_over(&report) {
                        return report;
                    }
                    passes += 1;
                    assert!(
                        passes < 2000,
                        "{} times: {report:#?}",
                        taken_out.load(Ordering::Relaxed)
                    );
                    let again = report.again.unwrap_or(Duration::from_millis(20));
                    tokio::time::sleep(again.min(Duration::from_millis(20))).await;
                }
            };
            let report = tokio::select! { report = lb => report, () = other => panic!("no end") };
            let times = taken_out.load(Ordering::Relaxed);
            println!("{out:?} after {pause} ms: {times} times");
            assert!(
                report.unmet.iter().any(|unmet| !unmet.transient),
                "{report:?}"
            );
        }
    })
    .await;
}

/// Two of lb that want other endpoints of one service, where nothing tells one of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_two_owners_of_a_backend_end_their_fight_over_tcp() {
    side_by_side(executables(), async |executable: Executable| {
        let (place, _haproxy, at) = start_over_tcp(&executable).await;
        // As on another machine.
        std::fs::remove_file(place.dir.path().join("admin.sock")).unwrap();
        let mut drivers = ["first", "second"].map(|target| {
            let mut config = TargetConfig::new(name(target), at.clone());
            config.policy.resync = Duration::from_millis(100);
            config.policy.drain_timeout = Duration::from_millis(200);
            HaproxyDriver::new(config)
        });
        let states = [1001, 1002].map(|port| desired(&nothing(), "web", &[port]));
        let (mut rounds, mut quiet) = (0, 0);
        let mut told = [false; 2];
        // At rest for longer than the pause before anything else would be tried again.
        while quiet < 100 || told != [true; 2] {
            let mut applied = 0;
            for ((driver, state), told) in drivers.iter_mut().zip(&states).zip(&mut told) {
                let report = driver.converge(state).await.unwrap();
                applied += report.applied;
                *told = fought_over(&report);
            }
            quiet = if applied == 0 { quiet + 1 } else { 0 };
            rounds += 1;
            assert!(rounds < 3000, "no end, {quiet} quiet rounds, {told:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!("{rounds} rounds");
    })
    .await;
}
