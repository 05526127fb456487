//! Services that the configuration does not know, on backends made at run time (3.4 and later) or spare ones.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and reads the clock for its deadlines"
)]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use lb_core::{Driver as _, Endpoint, Name, Report, Route, Snapshot, model::SnapshotEdit};
use lb_haproxy::{
    HaproxyDriver, Policy, TargetConfig,
    policy::DynamicBackends,
    process::{Executable, Haproxy},
    proto::{Command, ServerRow, ServersState},
    routes::{fallback_backends, http_route_lines},
};
use support::{Place, free_port};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

struct Subject {
    haproxy: Haproxy,
    place: Place,
    frontend: SocketAddr,
    /// If `true`, this version makes backends at run time.
    makes: bool,
}

impl Subject {
    /// One frontend that looks into a map, and one spare backend.
    async fn start(executable: &Executable) -> Self {
        let port = free_port();
        let version = executable.version().await.unwrap();
        let routes = http_route_lines(&"DIR/lb-routes.map".parse().unwrap()).unwrap();
        let services = "DIR/lb-services.map".parse().unwrap();
        let fallbacks = fallback_backends(Some(&services)).unwrap();
        // Before 2.4 a defaults section has a name for people only.
        let place = Place::new(&format!(
            "global\n  stats socket DIR/admin.sock mode 600 level admin expose-fd listeners\n  stats timeout 1h\n\
             defaults lb\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 2s\n\
             frontend in\n  bind 127.0.0.1:{port}\n{}\n\
             backend spare-http-1\n  server-template slot 1-2 127.0.0.1:1 disabled\n{}\n",
            routes.join("\n"),
            fallbacks.join("\n"),
        ));
        for map in ["lb-routes.map", "lb-services.map"] {
            fs::write(place.dir.path().join(map), "").unwrap();
        }
        let haproxy = place.start(executable).await;
        Self {
            haproxy,
            frontend: SocketAddr::from(([127, 0, 0, 1], port)),
            place,
            makes: version.at_least(3, 4),
        }
    }

    fn driver(&self, dynamic: DynamicBackends) -> HaproxyDriver {
        let mut policy = Policy::default();
        policy.dynamic_backends = dynamic;
        policy.backend_defaults = Some(name("lb"));
        let target = TargetConfig::new(name("edge"), self.place.admin.clone());
        HaproxyDriver::new(target.with_policy(policy))
    }

    /// Who answered, or HAProxy's own status.
    fn get(&self, host: &str) -> Result<SocketAddr, u16> {
        let mut stream = TcpStream::connect(self.frontend).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.lines().last().unwrap_or_default();
        body.parse().map_err(|_| status)
    }

    async fn backends(&self) -> Vec<String> {
        let mut client = self.haproxy.connect().await.unwrap();
        let reply = client.exec(&Command::ShowBackend).await.unwrap();
        reply.text().lines().skip(1).map(str::to_owned).collect()
    }
}

/// A server that answers every request with its address, until the test ends.
fn identity() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut head = [0; 4096];
                let _whole = stream.read(&mut head);
                let body = address.to_string();
                let _gone = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            });
        }
    });
    address
}

fn edited(desired: &Arc<Snapshot>, change: impl FnOnce(&mut SnapshotEdit)) -> Arc<Snapshot> {
    let mut edit = desired.edit();
    change(&mut edit);
    Arc::new(edit.commit().unwrap())
}

fn add(edit: &mut SnapshotEdit, service: &str, address: SocketAddr) {
    edit.set_endpoint(&name(service), &name("1"), Endpoint::new(address));
    let host = format!("{service}.example").parse().unwrap();
    edit.add_route(Route::new(host, "/".parse().unwrap(), name(service)));
}

fn remove(edit: &mut SnapshotEdit, service: &str) {
    edit.remove_service(&name(service));
    let host = format!("{service}.example").parse().unwrap();
    edit.remove_route(&Route::new(host, "/".parse().unwrap(), name(service)));
}

async fn settle(driver: &mut HaproxyDriver, desired: &Arc<Snapshot>) -> Report {
    let began = Instant::now();
    loop {
        let report = driver.converge(desired).await.unwrap();
        match report.again {
            None => return report,
            Some(pause) => tokio::time::sleep(pause).await,
        }
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "no end: {report:?}"
        );
    }
}

fn count(report: &Report, what: &str) -> u64 {
    report.counters.get(what).copied().unwrap_or(0)
}

/// The first new service gets the spare backend, the second a backend of its own where HAProxy makes them.
#[tokio::test(flavor = "multi_thread")]
async fn services_without_a_backend_get_a_spare_one_and_then_one_made_at_run_time() {
    for executable in support::executables() {
        println!("HAProxy {}", executable.version().await.unwrap());
        let subject = Subject::start(&executable).await;
        let mut driver = subject.driver(DynamicBackends::Auto);
        let (shop, blog) = (identity(), identity());
        let one = edited(&Arc::default(), |edit| add(edit, "shop", shop));
        let first = driver.converge(&one).await.unwrap();
        assert!(first.converged && first.unmet.is_empty(), "{first:?}");
        assert_eq!(subject.get("shop.example"), Ok(shop));
        let preview = driver
            .preview(&edited(&one, |edit| add(edit, "blog", blog)))
            .await
            .unwrap();
        assert_eq!(
            preview
                .text
                .contains("add backend dyn-blog from lb mode http  # "),
            subject.makes,
            "{}",
            preview.text
        );

        let two = edited(&one, |edit| add(edit, "blog", blog));
        let second = driver.converge(&two).await.unwrap();
        assert!(second.converged, "in one pass: {second:?}");
        assert_eq!(second.unmet.is_empty(), subject.makes, "{second:?}");
        assert_eq!(count(&second, "rung_spare_backend"), 1);
        assert_eq!(
            count(&second, "rung_dynamic_backend"),
            u64::from(subject.makes)
        );
        assert_eq!(
            count(&second, "rung_dynamic_server"),
            u64::from(subject.makes)
        );
        assert_eq!(count(&second, "reloads"), 0);
        if !subject.makes {
            continue;
        }
        assert_eq!(subject.get("blog.example"), Ok(blog));

        // I3: one more pass writes nothing, and a restarted lb adopts what it finds.
        settle(&mut driver, &two).await;
        let written = driver.traffic().changes;
        driver.converge(&two).await.unwrap();
        assert_eq!(driver.traffic().changes, written);
        drop(driver);
        let mut driver = subject.driver(DynamicBackends::Auto);
        let adopted = settle(&mut driver, &two).await;
        assert_eq!(
            (adopted.applied, driver.traffic().changes),
            (0, 0),
            "{adopted:?}"
        );

        // Its last endpoint goes and comes back: known, but nobody there, and then somebody is.
        let empty = edited(&two, |edit| edit.remove_endpoint(&name("blog"), &name("1")));
        settle(&mut driver, &empty).await;
        assert_eq!(subject.get("blog.example"), Err(503));
        let back = edited(&empty, |edit| add(edit, "blog", blog));
        let again = driver.converge(&back).await.unwrap();
        assert!(again.converged && again.unmet.is_empty(), "{again:?}");
        assert_eq!(subject.get("blog.example"), Ok(blog));

        // Its service goes: the backend made for it is removed, the spare one stays.
        let gone = edited(&back, |edit| remove(edit, "blog"));
        let end = settle(&mut driver, &gone).await;
        let left = subject.backends().await;
        assert!(!left.contains(&"dyn-blog".to_owned()), "{left:?} {end:?}");
        assert!(left.contains(&"spare-http-1".to_owned()), "{left:?}");
        assert_eq!(subject.get("shop.example"), Ok(shop));
    }
}

/// HAProxy forgets such a backend when it is reloaded: it is made anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_made_at_run_time_is_made_anew_after_a_reload() {
    for executable in support::executables() {
        println!("HAProxy {}", executable.version().await.unwrap());
        let mut subject = Subject::start(&executable).await;
        if !subject.makes {
            continue;
        }
        let mut driver = subject.driver(DynamicBackends::Always);
        let blog = identity();
        let desired = edited(&Arc::default(), |edit| add(edit, "blog", blog));
        let report = settle(&mut driver, &desired).await;
        assert_eq!(
            (
                count(&report, "rung_dynamic_backend"),
                count(&report, "rung_spare_backend")
            ),
            (1, 0)
        );
        subject.haproxy.reload().await.unwrap();
        tokio::time::timeout(Duration::from_secs(60), driver.attention())
            .await
            .unwrap();
        let report = settle(&mut driver, &desired).await;
        assert_eq!(count(&report, "rung_dynamic_backend"), 2);
        assert_eq!(subject.get("blog.example"), Ok(blog));
    }
}

/// A defaults section that is not there is a refusal, told with its reason, and nobody else suffers.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_haproxy_refuses_to_make_is_an_unmet_condition() {
    for executable in support::executables() {
        let subject = Subject::start(&executable).await;
        if !subject.makes {
            continue;
        }
        let mut policy = Policy::default();
        policy.dynamic_backends = DynamicBackends::Always;
        policy.backend_defaults = Some(name("elsewhere"));
        let target = TargetConfig::new(name("edge"), subject.place.admin.clone());
        let mut driver = HaproxyDriver::new(target.with_policy(policy));
        let desired = edited(&Arc::default(), |edit| add(edit, "blog", identity()));
        let report = driver.converge(&desired).await.unwrap();
        let unmet = report.unmet.first().unwrap();
        assert!(
            unmet.detail.contains("no such defaults section"),
            "{}",
            unmet.detail
        );
        assert_ne!(subject.get("blog.example").ok(), Some(subject.frontend));
    }
}

/// No free slot, and HAProxy makes servers: one is made with a check, let in by it, and removed with its tenant.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_made_at_run_time_is_checked_and_removed_when_its_tenant_is_gone() {
    for executable in support::executables() {
        let version = executable.version().await.unwrap();
        println!("HAProxy {version}");
        let place = Place::new(&format!(
            "global\n  stats socket DIR/admin.sock mode 600 level admin\n  stats timeout 1h\n\
             defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 2s\n\
             frontend in\n  bind 127.0.0.1:{}\n  default_backend web\n\
             backend web\n  server-template slot 1-1 127.0.0.1:1 disabled check inter 100ms rise 1\n",
            free_port()
        ));
        let haproxy = place.start(&executable).await;
        let mut policy = Policy::default();
        policy.server.inter = Some(Duration::from_millis(100));
        policy.server.rise = Some(1);
        let target = TargetConfig::new(name("edge"), place.admin.clone());
        let mut driver = HaproxyDriver::new(target.with_policy(policy));
        let addresses = [identity(), identity()];
        let both = edited(&Arc::default(), |edit| {
            for address in addresses {
                let id = name(&format!("e-{}", address.port()));
                edit.set_endpoint(&name("web"), &id, Endpoint::new(address));
            }
        });
        let report = settle(&mut driver, &both).await;
        let makes = version.at_least(3, 0);
        assert_eq!(report.unmet.is_empty(), makes, "{report:?}");
        assert_eq!(count(&report, "rung_dynamic_server"), u64::from(makes));
        assert_eq!(count(&report, "rung_slot"), 1);
        assert_eq!(
            report.gauges.get("dynamic_servers"),
            Some(&u64::from(makes))
        );
        assert_eq!(report.gauges.get("slots_free"), Some(&0));
        assert!(
            report
                .notices
                .iter()
                .all(|notice| notice.kind == "slots_low"),
            "{report:?}"
        );
        if !makes {
            continue;
        }
        let made = async || {
            let mut client = haproxy.connect().await.unwrap();
            let reply = client.exec(&Command::ShowServersState(None)).await.unwrap();
            let rows = ServersState::parse(reply.text()).unwrap().rows;
            let dynamic = |row: &&ServerRow| row.server.as_str().starts_with("dyn-");
            rows.iter()
                .find(dynamic)
                .map(|row| (row.check.is_configured(), row.op.is_up()))
        };
        assert_eq!(made().await, Some((true, true)));
        let none = edited(&both, |edit| {
            for address in addresses {
                edit.remove_endpoint(&name("web"), &name(&format!("e-{}", address.port())));
            }
        });
        let end = settle(&mut driver, &none).await;
        assert_eq!(made().await, None, "{end:?}");
        assert_eq!(count(&end, "steps_delete"), 1);
        assert_eq!(end.gauges.get("slots_free"), Some(&1));
    }
}
