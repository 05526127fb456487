//! The driver on a real HAProxy: what configurations can do to it, and what a reload must not.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{sync::Arc, time::Duration};

use support::Place;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use lb_core::{DriveError, Driver as _, Endpoint, Name, Report, Snapshot, UnmetReason, Weight};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    driver::Files,
    process::{Executable, Haproxy},
    proto::{Command, ServersState},
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

struct Subject {
    haproxy: Haproxy,
    place: Place,
}

impl Subject {
    async fn start(executable: &Executable, level: &str, backends: &str) -> Self {
        let place = Place::new(&format!(
            "global\n  stats socket DIR/admin.sock mode 600 level admin expose-fd listeners\n  \
             stats socket DIR/other.sock mode 600 level {level}\n  stats timeout 1h\n\
             defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 2s\n{backends}"
        ));
        let haproxy = place.start(executable).await;
        Self { haproxy, place }
    }

    fn driver(&self, socket: &str) -> HaproxyDriver {
        let path = self.place.dir.path().join(socket).display().to_string();
        HaproxyDriver::new(TargetConfig::new(name("edge"), path.parse().unwrap()))
    }

    /// Somebody else says these lines.
    async fn meddle(&self, lines: &[&str]) {
        for line in lines {
            let path = self.place.dir.path().join("admin.sock");
            let mut stream = UnixStream::connect(path).await.unwrap();
            let line = format!("{line}\n");
            stream.write_all(line.as_bytes()).await.unwrap();
            stream.read_to_string(&mut String::new()).await.unwrap();
        }
    }

    /// The number of servers HAProxy would send traffic to.
    async fn ready(&self) -> usize {
        let mut client = self.haproxy.connect().await.unwrap();
        let reply = client.exec(&Command::ShowServersState(None)).await.unwrap();
        let rows = ServersState::parse(reply.text()).unwrap().rows;
        rows.iter()
            .filter(|row| row.server.as_str().starts_with("slot"))
            .filter(|row| !row.admin.is_maint() && row.op.is_up())
            .count()
    }
}

fn desired(service: &str, count: u16) -> Arc<Snapshot> {
    let mut edit = Snapshot::default().edit();
    for port in 1..=count {
        let endpoint = Endpoint::new(([127, 0, 0, 1], 20_000 + port).into())
            .with_weight(Weight::new(10 + port).unwrap());
        edit.set_endpoint(&name(service), &name(&port.to_string()), endpoint);
    }
    Arc::new(edit.commit().unwrap())
}

async fn settle(driver: &mut HaproxyDriver, desired: &Arc<Snapshot>) -> Report {
    for _ in 0..1000 {
        let report = driver.converge(desired).await.unwrap();
        // What a check keeps out is looked at for as long as it does.
        let mut conditions = report.conditions.iter();
        let failing =
            conditions.any(|condition| condition.kind == lb_core::ConditionKind::CheckFailing);
        if failing && report.converged {
            return report;
        }
        match report.again {
            None => return report,
            Some(pause) => tokio::time::sleep(pause).await,
        }
    }
    panic!("no end");
}

async fn over_versions(run: impl AsyncFn(&Executable)) {
    for executable in support::executables() {
        println!("HAProxy {}", executable.version().await.unwrap());
        run(&executable).await;
    }
}

/// Algorithms that take only weight 0 and the configured one (trap 24) serve with the configured one.
#[tokio::test]
async fn static_algorithms_serve_with_their_configured_weight() {
    over_versions(async |executable: &Executable| {
        let backends = "backend web\n  balance static-rr\n  \
                        server-template slot 1-6 127.0.0.1:1 disabled weight 7\n";
        let subject = Subject::start(executable, "admin", backends).await;
        let mut driver = subject.driver("admin.sock");
        // Weights 11, 12 and 13: one of them counts as 7, and of the others it is told that they do not count.
        let done = settle(&mut driver, &desired("web", 3)).await;
        let told = |unmet: &lb_core::Unmet| {
            unmet.reason == UnmetReason::Unsupported && unmet.detail.contains("has no effect")
        };
        assert!(done.converged && done.unmet.iter().all(told), "{done:?}");
        assert_eq!(done.unmet.len(), 2, "{done:?}");
        assert_eq!(subject.ready().await, 3);
    })
    .await;
}

/// Weights that such an algorithm cannot give are told, and a plan holds no step that a pass cannot take.
#[tokio::test]
async fn weights_that_a_static_algorithm_cannot_give_are_told() {
    over_versions(async |executable: &Executable| {
        let backends = "backend web\n  balance static-rr\n  \
                        server-template slot 1-6 127.0.0.1:1 disabled\n";
        let subject = Subject::start(executable, "admin", backends).await;
        let mut driver = subject.driver("admin.sock");
        let mut edit = Snapshot::default().edit();
        for (id, weight) in [("a", 100), ("b", 100), ("half", 50)] {
            let at = ([127, 0, 0, 1], 20_000 + u16::from(id.as_bytes()[0])).into();
            let endpoint = Endpoint::new(at).with_weight(Weight::new(weight).unwrap());
            edit.set_endpoint(&name("web"), &name(id), endpoint);
        }
        let desired = Arc::new(edit.commit().unwrap());
        let before = driver.preview(&desired).await.unwrap();
        assert!(!before.text.contains("weight 50"), "{}", before.text);
        let done = settle(&mut driver, &desired).await;
        assert!(done.converged, "{done:?}");
        assert_eq!(subject.ready().await, 3);
        assert_eq!(done.unmet.len(), 1, "{done:?}");
        let unmet = &done.unmet[0];
        assert_eq!(unmet.reason, UnmetReason::Unsupported);
        assert_eq!(unmet.endpoint, Some(name("half")), "{unmet:?}");
        assert!(
            unmet.detail.contains("weight 50 has no effect"),
            "{unmet:?}"
        );
        // A plan of another process, which has sent no weight.
        let mut other = subject.driver("admin.sock");
        let plan = other.preview(&desired).await.unwrap();
        assert_eq!(plan.steps, 0, "{}", plan.text);
    })
    .await;
}

/// The weights of a hash: none are planned by the default type, as none are taken; a consistent one takes them.
#[tokio::test]
async fn a_plan_for_a_hash_has_the_weights_that_it_takes() {
    over_versions(async |executable: &Executable| {
        for (balance, takes) in [
            ("source", false),
            ("uri", false),
            ("url_param id", false),
            ("hdr(host)", false),
            ("rdp-cookie", false),
            ("source\n  hash-type consistent", true),
        ] {
            let backends = format!(
                "backend web\n  balance {balance}\n  server-template slot 1-6 127.0.0.1:1 disabled\n"
            );
            let subject = Subject::start(executable, "admin", &backends).await;
            let wanted = desired("web", 3);
            let mut driver = subject.driver("admin.sock");
            let done = settle(&mut driver, &wanted).await;
            assert_eq!(done.unmet.is_empty(), takes, "{balance}: {done:?}");
            // A plan of another process, which has sent no weight.
            let mut other = subject.driver("admin.sock");
            let plan = other.preview(&wanted).await.unwrap();
            assert_eq!(plan.steps, 0, "{balance}: {}", plan.text);
            let told = plan.text.contains("has no effect");
            assert_eq!(told, !takes, "{balance}: {}", plan.text);
        }
    })
    .await;
}

/// A backend that does not exist, a slot whose address cannot change, and too few slots stop nothing else.
#[tokio::test]
async fn what_cannot_be_met_is_named_and_stops_nothing_else() {
    over_versions(async |executable: &Executable| {
        let version = executable.version().await.unwrap();
        let backends = "backend web\n  server slot1 unix@/nowhere disabled\n  \
                        server slot2 127.0.0.1:1 disabled\nbackend api\n  balance static-rr\n  \
                        server-template slot 1-2 127.0.0.1:1 disabled\n";
        let subject = Subject::start(executable, "admin", backends).await;
        let mut driver = subject.driver("admin.sock");
        let mut edit = desired("api", 3).edit();
        edit.set_endpoint(
            &name("web"),
            &name("1"),
            Endpoint::new("127.0.0.1:9001".parse().unwrap()),
        );
        edit.set_endpoint(
            &name("gone"),
            &name("1"),
            Endpoint::new("127.0.0.1:9002".parse().unwrap()),
        );
        let done = settle_for(&mut driver, &Arc::new(edit.commit().unwrap()), 5).await;
        let unmet: Vec<_> = done
            .unmet
            .iter()
            .map(|unmet| (unmet.service.as_str(), unmet.reason))
            .collect();
        assert!(
            unmet.contains(&("gone", UnmetReason::NoSuchService)),
            "{version}: {unmet:?}"
        );
        assert!(
            unmet.iter().any(|(service, _)| *service == "api"),
            "{version}: {unmet:?}"
        );
        assert_eq!(
            subject.ready().await,
            3,
            "{version}: one of web, two of api"
        );
    })
    .await;
}

/// Some passes, for desired states that are tried again and again.
async fn settle_for(driver: &mut HaproxyDriver, desired: &Arc<Snapshot>, passes: usize) -> Report {
    let mut last = driver.converge(desired).await.unwrap();
    for _ in 0..passes {
        let Some(pause) = last.again else { break };
        tokio::time::sleep(pause.min(Duration::from_millis(200))).await;
        last = driver.converge(desired).await.unwrap();
    }
    last
}

/// I4: what a change costs at the socket does not depend on how many slots its backend has, where HAProxy tells of one
/// server what was changed.
#[tokio::test]
async fn i4_a_change_reads_no_more_from_a_backend_of_many_slots() {
    over_versions(async |executable: &Executable| {
        let version = executable.version().await.unwrap();
        let mut read = Vec::new();
        for slots in [20, 400] {
            let backends =
                format!("backend web\n  server-template slot 1-{slots} 127.0.0.1:1 disabled\n");
            let subject = Subject::start(executable, "admin", &backends).await;
            let mut driver = subject.driver("admin.sock");
            let three = desired("web", 3);
            settle(&mut driver, &three).await;
            let before = driver.traffic();
            let mut edit = three.edit();
            let fourth = Endpoint::new("127.0.0.1:9001".parse().unwrap());
            edit.set_endpoint(&name("web"), &name("4"), fourth);
            let done = settle(&mut driver, &Arc::new(edit.commit().unwrap())).await;
            assert!(done.converged && done.unmet.is_empty(), "{done:?}");
            let after = driver.traffic();
            read.push(after.bytes_read - before.bytes_read);
            assert!(after.commands - before.commands <= 8, "{version}");
            assert_eq!(subject.ready().await, 4, "{version}");
        }
        let [few, many] = read.as_slice() else {
            panic!("two backends were read");
        };
        let alone = (version.major(), version.minor()) >= (2, 6);
        assert_eq!(
            *many < few + 500,
            alone,
            "{version}: {few} and {many} bytes"
        );
    })
    .await;
}

/// A socket of too low a level is named, and nothing is changed.
#[tokio::test]
async fn a_socket_of_too_low_a_level_is_named() {
    over_versions(async |executable: &Executable| {
        let backends = "backend web\n  server-template slot 1-4 127.0.0.1:1 disabled\n";
        let subject = Subject::start(executable, "operator", backends).await;
        let mut driver = subject.driver("other.sock");
        let error = driver.converge(&desired("web", 1)).await.unwrap_err();
        assert!(matches!(error, DriveError::WrongTarget { .. }), "{error:?}");
        let mut text = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            text.push_str(&error.to_string());
            cause = error.source();
        }
        assert!(
            text.contains("operator") && text.contains("level admin"),
            "{text}"
        );
        assert_eq!(subject.ready().await, 0);
    })
    .await;
}

/// A reload by somebody else leaves the old worker answering on the open connection (trap 22): it is noticed without a
/// change, and the new worker gets what the old one had.
#[tokio::test]
async fn a_reload_is_noticed_and_the_new_worker_filled() {
    over_versions(async |executable: &Executable| {
        let backends = "backend web\n  server-template slot 1-6 127.0.0.1:1 disabled\n";
        let mut subject = Subject::start(executable, "admin", backends).await;
        let mut driver = subject.driver("admin.sock");
        let desired = desired("web", 3);
        settle(&mut driver, &desired).await;
        subject.haproxy.reload().await.unwrap();
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, driver.attention())
            .await
            .unwrap();
        let done = settle(&mut driver, &desired).await;
        assert!(done.converged, "{done:?}");
        assert_eq!(done.counters.get("workers_seen"), Some(&2));
        assert_eq!(subject.ready().await, 3);
    })
    .await;
}

/// Somebody who switches a check off leaves the server unwatched, also for its next tenants; and one that is switched on
/// again after a maintenance has ended stands still until another one ends.
#[tokio::test]
async fn a_check_that_was_switched_off_is_switched_on_again() {
    over_versions(async |executable: &Executable| {
        let backends = "backend web\n  server-template slot 1-2 127.0.0.1:1 check inter 100ms fall 1 disabled\n";
        let subject = Subject::start(executable, "admin", backends).await;
        let watched = async || {
            let mut client = subject.haproxy.connect().await.unwrap();
            let reply = client.exec(&Command::ShowServersState(None)).await.unwrap();
            let rows = ServersState::parse(reply.text()).unwrap().rows;
            rows.iter()
                .filter(|row| row.backend == name("web") && !row.admin.is_maint())
                .map(|row| row.check.is_enabled() && !row.check.is_paused())
                .collect::<Vec<_>>()
        };
        subject.meddle(&["disable health web/slot1", "disable health web/slot2"]).await;
        let one = desired("web", 1);
        settle(&mut subject.driver("admin.sock"), &one).await;
        assert_eq!(watched().await, [true]);

        for slot in ["web/slot1", "web/slot2"] {
            let taken = format!("set server {slot} state maint");
            let off = format!("disable health {slot}");
            let back = format!("set server {slot} state ready");
            let on = format!("enable health {slot}");
            subject.meddle(&[&taken, &off, &back, &on]).await;
        }
        // One that begins takes what it finds.
        settle(&mut subject.driver("admin.sock"), &one).await;
        assert_eq!(watched().await, [true]);
    })
    .await;
}

/// Without a check or an agent nothing else would ever bring back whom somebody has marked down.
#[tokio::test]
async fn who_was_marked_down_and_has_no_check_serves_again() {
    over_versions(async |executable: &Executable| {
        let backends = "backend web\n  server-template slot 1-2 127.0.0.1:1 disabled\n";
        let subject = Subject::start(executable, "admin", backends).await;
        let one = desired("web", 1);
        settle(&mut subject.driver("admin.sock"), &one).await;
        let down = ["web/slot1", "web/slot2"].map(|slot| format!("set server {slot} health down"));
        subject.meddle(&down.each_ref().map(String::as_str)).await;
        assert_eq!(subject.ready().await, 0);
        settle(&mut subject.driver("admin.sock"), &one).await;
        assert_eq!(subject.ready().await, 1);
    })
    .await;
}

/// A control plane that ends in order leaves the files as HAProxy is, however short the time since the last change.
#[tokio::test]
async fn a_driver_that_closes_leaves_the_files_as_haproxy_is() {
    over_versions(async |executable: &Executable| {
        let backends = "backend web\n  server-template slot 1-6 127.0.0.1:1 disabled\n";
        let subject = Subject::start(executable, "admin", backends).await;
        let dir = subject.place.dir.path();
        let socket = dir.join("admin.sock").display().to_string();
        let mut config = TargetConfig::new(name("edge"), socket.parse().unwrap());
        config.files = Files::with_server_state(dir.join("state"));
        let mut driver = HaproxyDriver::new(config);
        driver.converge(&desired("web", 2)).await.unwrap();
        driver.close().await;
        let state = std::fs::read_to_string(dir.join("state")).unwrap();
        for port in ["20001", "20002"] {
            assert!(state.contains(port), "{state}");
        }
        // Nobody is left who could write later, and nothing was left beside the file.
        assert!(!dir.join("state.new").exists());
    })
    .await;
}

/// A change that another process applied just before it was killed, without a file, is written by the next one, though
/// it has nothing to apply.
#[tokio::test]
async fn a_driver_that_begins_lets_the_files_follow_what_it_finds() {
    over_versions(async |executable: &Executable| {
        let backends = "backend web\n  server-template slot 1-6 127.0.0.1:1 disabled\n";
        let subject = Subject::start(executable, "admin", backends).await;
        let desired = desired("web", 2);
        settle(&mut subject.driver("admin.sock"), &desired).await;
        let dir = subject.place.dir.path();
        let socket = dir.join("admin.sock").display().to_string();
        let mut config = TargetConfig::new(name("edge"), socket.parse().unwrap());
        config.files = Files::with_server_state(dir.join("state"));
        let done = settle(&mut HaproxyDriver::new(config), &desired).await;
        assert_eq!(done.applied, 0);
        let state = std::fs::read_to_string(dir.join("state")).unwrap();
        assert!(
            state.contains("20001") && state.contains("20002"),
            "{state}"
        );
    })
    .await;
}

/// A preview reads what a pass would read: a fresh backend has room, and the plan is the one that is applied.
#[tokio::test]
async fn case_p23_a_preview_is_what_a_pass_does() {
    over_versions(async |executable: &Executable| {
        // An address that is none of lb's own: whether somebody is still there has to be read first.
        let slots = "server-template slot 1-100 192.0.2.1:80 disabled\n";
        let backends = format!("backend web\n  {slots}backend db\n  {slots}");
        let subject = Subject::start(executable, "admin", &backends).await;
        let wanted = desired("web", 100);
        let edge = TargetConfig::new(name("edge"), subject.place.admin.clone());
        let mut driver = HaproxyDriver::new(edge);
        let preview = driver.preview(&wanted).await.unwrap();
        let fills = preview.text.matches("goes into a free slot").count();
        assert_eq!(fills, 100, "{}", preview.text);
        for wrong in ["unmet", "only a reload", "no free slot"] {
            assert!(!preview.text.contains(wrong), "{}", preview.text);
        }
        assert_eq!(subject.ready().await, 0, "a preview writes nothing");
        // A second one, and one of a driver that has been running, say the same.
        let again = driver.preview(&wanted).await.unwrap();
        assert_eq!(again.text, preview.text);
        let report = settle(&mut driver, &wanted).await;
        assert!(report.unmet.is_empty(), "{:?}", report.unmet);
        assert_eq!(subject.ready().await, 100);
        let after = driver.preview(&wanted).await.unwrap();
        assert_eq!((after.steps, after.text.as_str()), (0, "nothing to do\n"));
        // Endpoints of a service that has them all, and of one that has none yet.
        let mut edit = wanted.edit();
        for port in 1..=100 {
            let endpoint = Endpoint::new(([127, 0, 0, 2], 20_000 + port).into());
            edit.set_endpoint(&name("db"), &name(&port.to_string()), endpoint);
        }
        let both = Arc::new(edit.commit().unwrap());
        let more = driver.preview(&both).await.unwrap();
        let fills = more.text.matches("goes into a free slot").count();
        assert_eq!(fills, 100, "{}", more.text);
    })
    .await;
}

/// Room that is taken for the first time, and slots that rest, are no shortage; slots that endpoints have taken are.
#[tokio::test]
async fn case_p20_first_scales_and_resting_slots_are_no_shortage() {
    over_versions(async |executable: &Executable| {
        let slots = "server-template slot 1-20 127.0.0.1:1 disabled\n";
        let backends = format!("backend web\n  {slots}backend db\n  {slots}");
        let subject = Subject::start(executable, "admin", &backends).await;
        let mut edge = TargetConfig::new(name("edge"), subject.place.admin.clone());
        // What has left rests until the end of the test.
        edge.policy.reuse_grace = Some(Duration::from_secs(3600));
        let mut driver = HaproxyDriver::new(edge);
        // From none to some, one by one and more, then others in their place, and all that is free.
        let (mut given, mut free) = (Arc::new(Snapshot::default()), 0);
        for (from, upto) in [
            (1, 0),
            (1, 1),
            (1, 2),
            (1, 3),
            (1, 4),
            (5, 8),
            (9, 12),
            (9, 20),
        ] {
            let mut edit = given.edit();
            edit.set_service(&name("web"), lb_core::Mode::Http);
            for port in 1..=20 {
                put(&mut edit, "web", port, (from..=upto).contains(&port));
            }
            given = Arc::new(edit.commit().unwrap());
            let (left, told) = in_effect(&mut driver, &given).await;
            assert_eq!(told, [""; 0], "{from}..={upto}, {left} free");
            free = left;
        }
        assert_eq!(free, 20, "8 of 20 rest, the others are taken");
        let mut edit = given.edit();
        for port in 1..=19 {
            put(&mut edit, "db", port, true);
        }
        let (_, told) = in_effect(&mut driver, &Arc::new(edit.commit().unwrap())).await;
        assert_eq!(told, ["slots_low"]);
    })
    .await;
}

fn put(edit: &mut lb_core::model::SnapshotEdit, service: &str, port: u16, there: bool) {
    let id = name(&port.to_string());
    match there {
        true => {
            let endpoint = Endpoint::new(([127, 0, 0, 1], 20_000 + port).into());
            edit.set_endpoint(&name(service), &id, endpoint);
        }
        false => edit.remove_endpoint(&name(service), &id),
    }
}

/// Until the desired state is in effect, however long what has left rests: how many slots are free then, and what was told.
async fn in_effect(driver: &mut HaproxyDriver, desired: &Arc<Snapshot>) -> (u64, Vec<String>) {
    let mut told = Vec::new();
    for _ in 0..1000 {
        let report = driver.converge(desired).await.unwrap();
        told.extend(report.notices.iter().map(|notice| notice.kind.to_string()));
        if report.converged {
            return (*report.gauges.get("slots_free").unwrap(), told);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no end");
}
