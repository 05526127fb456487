//! Checks that fail, and checks that another client changed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use lb_core::{ConditionKind, Driver as _, Endpoint, Report};
use lb_haproxy::process::Executable;
use tokio::{net::TcpListener, time::Instant, time::sleep};

use super::{
    Desired, READY, Subject, Upstream, at_rest, executables, name, side_by_side, support, until,
};

/// What is desired and does not serve is reported, also where it is HAProxy's own check that keeps it out.
#[tokio::test]
async fn case_p03_an_endpoint_whose_check_never_passes_is_reported_until_it_does() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-2 127.0.0.1:1 disabled check inter 100ms rise 1\n";
        let subject = Subject::start(&executable, slots).await;
        let mut desired = Desired::default();
        let mut driver =
            subject.driver(|policy| policy.admission_timeout = Duration::from_millis(400));
        let dead = SocketAddr::from(([127, 0, 0, 4], support::free_port()));
        let good = Upstream::start([127, 0, 0, 1]).await;
        let both = [("dead", dead, READY, 100), ("good", good.at, READY, 100)];
        let both = desired.next(&both);
        let failing = |report: &Report| {
            let mut all = report.conditions.iter();
            all.any(|found| {
                found.kind == ConditionKind::CheckFailing && found.endpoint == Some(name("dead"))
            })
        };
        let report = until(&mut driver, &both, failing).await;
        assert_eq!(
            report.conditions.len(),
            1,
            "{:?}: {report:?}",
            subject.version
        );
        let condition = &report.conditions[0];
        assert!(
            !condition.transient && condition.kind.keeps_from_effect(),
            "{condition}"
        );
        assert!(condition.detail.contains(&dead.to_string()), "{condition}");
        assert!(report.converged, "{report:?}");
        // Weight 0 asks for no traffic, so nothing is missing.
        let none = desired.next(&[("dead", dead, READY, 0), ("good", good.at, READY, 100)]);
        until(&mut driver, &none, |report| {
            report.converged && !failing(report)
        })
        .await;
        until(
            &mut driver,
            &desired.next(&[("dead", dead, READY, 100), ("good", good.at, READY, 100)]),
            failing,
        )
        .await;
        let listener = TcpListener::bind(dead).await.unwrap();
        let both = desired.0.clone();
        until(&mut driver, &both, |report| report.conditions.is_empty()).await;
        assert_eq!(
            subject.column("127.0.0.4", "srv_op_state").await.as_deref(),
            Some("2")
        );
        drop(listener);
    })
    .await;
}

/// That a check passes again is seen soon, however long the pause between two full reads is.
#[tokio::test]
async fn case_p03_a_check_that_passes_again_is_seen_within_seconds() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-2 127.0.0.1:1 disabled check inter 100ms rise 1\n";
        let subject = Subject::start(&executable, slots).await;
        let mut driver = subject.driver(|policy| {
            policy.admission_timeout = Duration::from_millis(400);
            policy.resync = Duration::from_secs(30);
        });
        let dead = SocketAddr::from(([127, 0, 0, 4], support::free_port()));
        let wanted = Desired::default().next(&[("dead", dead, READY, 100)]);
        until(&mut driver, &wanted, |report| !report.conditions.is_empty()).await;
        let listener = TcpListener::bind(dead).await.unwrap();
        let began = Instant::now();
        until(&mut driver, &wanted, |report| report.conditions.is_empty()).await;
        let lag = began.elapsed();
        println!("{:?}: seen after {lag:?}", subject.version);
        assert!(
            lag < Duration::from_secs(3),
            "{:?}: {lag:?}",
            subject.version
        );
        drop(listener);
    })
    .await;
}

#[tokio::test]
async fn case_p12_a_check_that_another_client_points_elsewhere_is_put_right() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-3 127.0.0.1:1 disabled check inter 100ms\n";
        let subject = Subject::start(&executable, slots).await;
        let version = subject.version;
        let mut desired = Desired::default();
        let mut driver = subject.driver(|_| {});
        let up = Upstream::start([127, 0, 0, 2]).await;
        let one = desired.next(&[("one", up.at, READY, 100)]);
        let up_again = at_rest;
        until(&mut driver, &one, up_again).await;
        let state = subject.say("show servers state web").await;
        let line = state
            .lines()
            .find(|line| line.contains(" 127.0.0.2 "))
            .unwrap();
        let slot = line.split(' ').nth(3).unwrap().to_owned();
        let reply = subject
            .say(&format!(
                "set server web/{slot} check-addr 127.0.0.99 port 1"
            ))
            .await;
        assert_eq!(
            reply.trim().is_empty(),
            ((2, 4)..(3, 4)).contains(&version),
            "{version:?} {reply}"
        );
        if version >= (2, 4) {
            subject
                .say(&format!("set server web/{slot} check-port 1"))
                .await;
        }
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            driver.converge(&one).await.unwrap();
            let follows = subject.column(&slot, "srv_check_addr").await;
            let follows = follows.is_none_or(|address| matches!(&*address, "-" | "0.0.0.0"));
            let port = subject.column(&slot, "srv_check_port").await;
            let port = port.is_none_or(|port| port != "1");
            if follows
                && port
                && subject.column(&slot, "srv_op_state").await.as_deref() == Some("2")
            {
                break;
            }
            assert!(
                Instant::now() < end,
                "{version:?}: {}",
                subject.line(&slot).await
            );
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(subject.request().await, 200);
        // A free slot that was changed is right before its next tenant.
        until(&mut driver, &desired.next(&[]), up_again).await;
        for slot in 1..4 {
            subject
                .say(&format!(
                    "set server web/slot{slot} check-addr 127.0.0.99 port 1"
                ))
                .await;
        }
        until(&mut driver, &one, up_again).await;
        assert_eq!(subject.request().await, 200, "{version:?}");
    })
    .await;
}

#[tokio::test]
async fn case_p12_the_check_of_a_dynamic_server_is_put_right() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-1 127.0.0.1:1 disabled check inter 100ms\n";
        let subject = Subject::start(&executable, slots).await;
        if subject.version < (3, 0) {
            return;
        }
        let mut desired = Desired::default();
        let mut driver = subject.driver(|policy| {
            policy.dynamic_servers = lb_haproxy::policy::DynamicServers::Auto;
            policy.server.check = Some(true);
            policy.server.inter = Some(Duration::from_millis(100));
        });
        let first = Upstream::start([127, 0, 0, 2]).await;
        let second = Upstream::start([127, 0, 0, 3]).await;
        let both = [
            ("one", first.at, READY, 100),
            ("two", second.at, READY, 100),
        ];
        let both = desired.next(&both);
        let up_again = at_rest;
        until(&mut driver, &both, up_again).await;
        let server = subject.column(" dyn-", "srv_name").await.unwrap();
        let edit = format!("set server web/{server} check-addr 127.0.0.99 port 1");
        let taken = subject.say(&edit).await.trim().is_empty();
        assert_eq!(taken, subject.version < (3, 4), "{:?}", subject.version);
        // Another lb, as after a restart, does not take what it finds for right.
        driver = subject.driver(|_| {});
        let follows = || async {
            let address = subject.column(&server, "srv_check_addr").await.unwrap();
            let port = subject.column(&server, "srv_check_port").await.unwrap();
            let up = subject.column(&server, "srv_op_state").await.unwrap();
            matches!(&*address, "-" | "0.0.0.0") && port != "1" && up == "2"
        };
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            driver.converge(&both).await.unwrap();
            if follows().await {
                break;
            }
            assert!(Instant::now() < end, "{}", subject.line(&server).await);
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(subject.request().await, 200);
    })
    .await;
}

/// The same of a check, on each version that takes the edit.
#[tokio::test]
async fn case_p12_an_operators_edit_of_a_check_is_named() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-1 127.0.0.1:1 disabled check inter 100ms rise 1\n";
        let subject = Subject::start(&executable, slots).await;
        let version = subject.version;
        let one = Upstream::start([127, 0, 0, 2]).await;
        let wanted = Desired::default().next(&[("one", one.at, READY, 100)]);
        // Which is seen, and since when its command is taken.
        let edits = [
            ("check-port 1", "the port of its check", (2, 4)),
            (
                "check-addr 127.0.0.99",
                "the address of its check to 127.0.0.99",
                (2, 4),
            ),
            ("health off", "its check off", (2, 2)),
        ];
        for (edit, text, since) in edits {
            let mut driver = subject.driver(|_| {});
            until(&mut driver, &wanted, |report| {
                report.converged && report.conditions.is_empty()
            })
            .await;
            let line = match edit {
                "health off" => "disable health web/slot1".to_owned(),
                _ => format!("set server web/slot1 {edit}"),
            };
            let reply = subject.say(&line).await;
            let refused =
                reply.contains("Health checks are not enabled") || !reply.trim().is_empty();
            if version < since || refused && !reply.contains("updated") {
                continue;
            }
            let named = |report: &Report| {
                let mut all = report.conditions.iter();
                all.any(|found| {
                    found.kind == ConditionKind::ForeignEdit && found.detail.contains(text)
                })
            };
            until(&mut driver, &wanted, named).await;
            let end = Instant::now() + Duration::from_secs(10);
            while subject.column("slot1", "srv_op_state").await.as_deref() != Some("2") {
                assert!(Instant::now() < end, "{version:?}: {edit}");
                driver.converge(&wanted).await.unwrap();
                sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(subject.request().await, 200, "{version:?}: {edit}");
        }
    })
    .await;
}

/// HAProxy before 2.4 does not show the port of a check: what was sent is remembered, and set again for the next tenant.
#[tokio::test]
async fn case_p13_a_check_port_that_is_not_shown_is_sent_once() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-1 127.0.0.1:1 disabled check inter 100ms\n";
        let subject = Subject::start(&executable, slots).await;
        let mut desired = Desired::default();
        let mut driver = subject.driver(|_| {});
        let (up, checked) = (
            Upstream::start([127, 0, 0, 2]).await,
            Upstream::start([127, 0, 0, 2]).await,
        );
        let mut edit = desired.next(&[]).edit();
        let endpoint = Endpoint::new(up.at).with_check_port(Some(checked.at.port()));
        edit.set_endpoint(&name("web"), &name("one"), endpoint);
        desired.0 = Arc::new(edit.commit().unwrap());
        let one = desired.0.clone();
        let quiet = |report: &Report| report.converged && report.again.is_none();
        until(&mut driver, &one, quiet).await;
        assert_eq!(subject.request().await, 200);
        // The next tenant of the slot is checked at its own port.
        until(&mut driver, &desired.next(&[]), quiet).await;
        drop(checked);
        let two = Upstream::start([127, 0, 0, 3]).await;
        until(
            &mut driver,
            &desired.next(&[("two", two.at, READY, 100)]),
            quiet,
        )
        .await;
        let end = Instant::now() + Duration::from_secs(5);
        while subject.request().await != 200 {
            assert!(Instant::now() < end, "{:?}", subject.version);
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
