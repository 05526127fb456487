//! Servers that are no slots, and endpoints that no slot can serve.

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use lb_core::{ConditionKind, Driver as _, UnmetReason};
use lb_haproxy::process::Executable;
use tokio::time::Instant;

use super::{Desired, READY, Subject, Upstream, executables, name, side_by_side, until};

#[tokio::test]
async fn case_p01_an_endpoint_that_no_server_can_serve_disturbs_no_other() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-4 127.0.0.1:1 disabled\n";
        let subject = Subject::start(&executable, slots).await;
        let mut desired = Desired::default();
        let mut driver = subject.driver(|_| {});
        let good = Upstream::start([127, 0, 0, 1]).await;
        let poison = [
            "0.0.0.0:80",
            "[::]:80",
            "10.0.0.1:0",
            "127.0.0.1:1",
            "[fe80::1%3]:80",
        ];
        let mut endpoints = vec![("good", good.at, READY, 100)];
        let ids = ["p0", "p1", "p2", "p3", "p4"];
        for (id, address) in ids.iter().zip(poison) {
            endpoints.push((id, address.parse().unwrap(), READY, 100));
        }
        let report = until(&mut driver, &desired.next(&endpoints), |report| {
            report.converged
        })
        .await;
        let unmet: Vec<&str> = report
            .unmet
            .iter()
            .map(|unmet| unmet.endpoint.as_ref().unwrap().as_str())
            .collect();
        assert_eq!(unmet, ids, "{report:?}");
        assert!(
            report
                .unmet
                .iter()
                .all(|unmet| { unmet.reason == UnmetReason::Unsupported && !unmet.transient })
        );
        assert_eq!(subject.request().await, 200);
        // And each ends with its cause.
        let report = until(&mut driver, &desired.next(&endpoints[..1]), |report| {
            report.converged
        })
        .await;
        assert_eq!(report.unmet, []);
    })
    .await;
}

/// The time for which servers written by hand are watched: 5 seconds, or as `LB_FIXED_SECONDS` says.
fn fixed_seconds() -> Duration {
    let given = std::env::var("LB_FIXED_SECONDS").ok();
    Duration::from_secs(given.map_or(5, |seconds| seconds.parse().unwrap()))
}

#[tokio::test]
async fn case_p08_a_server_written_by_hand_stays_as_it_is() {
    side_by_side(executables(), async |executable: Executable| {
        let servers = "  server-template slot 1-2 127.0.0.1:1 disabled\n  \
                       server legacy2 127.0.0.9:8080 disabled\n  \
                       server sorry9 127.0.0.9:8081 backup disabled\n  \
                       server app1 127.0.0.1:1 disabled weight 7\n";
        let subject = Subject::start(&executable, servers).await;
        let fixed = ["legacy2", "sorry9", "app1"];
        let mut before = Vec::new();
        for server in fixed {
            before.push(subject.line(server).await);
        }
        let mut desired = Desired::default();
        let mut driver = subject.driver(|policy| policy.resync = Duration::from_millis(20));
        let upstream = Upstream::start([127, 0, 0, 1]).await;
        let end = Instant::now() + fixed_seconds();
        let mut rounds = 0..;
        while Instant::now() < end {
            let round: u16 = rounds.next().unwrap() % 5000;
            let mut endpoints = vec![("good", upstream.at, READY, 100)];
            let more: Vec<String> = (0..4).map(|at| format!("{at}")).collect();
            for (at, id) in (0..).zip(&more) {
                let address = SocketAddr::from(([127, 0, 0, 2], 2000 + round * 10 + at));
                endpoints.push((id, address, READY, 1 + at));
            }
            let endpoints = &endpoints[..usize::from(1 + round % 5)];
            let report = until(&mut driver, &desired.next(endpoints), |report| {
                report.again.is_none()
            })
            .await;
            let told = report.conditions.iter();
            let kinds: Vec<ConditionKind> = told.map(|condition| condition.kind).collect();
            // One is parked, as slots are: it may be one of another prefix.
            let [ConditionKind::UnknownSlots, rest @ ..] = &kinds[..] else {
                panic!("{report:?}");
            };
            assert_eq!(rest, [ConditionKind::FixedServer; 2]);
            assert!(
                report
                    .conditions
                    .iter()
                    .any(|condition| condition.detail.contains("is a backup"))
            );
            assert_eq!(report.gauges.get("fixed_servers"), Some(&3));
            for (server, before) in fixed.iter().zip(&before) {
                assert_eq!(subject.line(server).await, *before, "{:?}", subject.version);
            }
        }
        assert!(rounds.next() > Some(5), "{:?}", subject.version);
    })
    .await;
}

#[tokio::test]
async fn case_p09_a_fixed_server_that_serves_beside_slots_is_named() {
    side_by_side(executables(), async |executable: Executable| {
        let upstream = Upstream::start([127, 0, 0, 1]).await;
        let servers = format!(
            "  server-template slot 1-2 127.0.0.1:1 disabled\n  server shop3 {}\n",
            upstream.at
        );
        let subject = Subject::start(&executable, &servers).await;
        let mut desired = Desired::default();
        let mut driver = subject.driver(|_| {});
        let both = [
            ("a", SocketAddr::from(([127, 0, 0, 1], 9)), READY, 1),
            ("b", upstream.at, READY, 1),
        ];
        let report = until(&mut driver, &desired.next(&both), |report| report.converged).await;
        assert_eq!(report.unmet, []);
        let [condition] = &report.conditions[..] else {
            panic!("{report:?}");
        };
        assert_eq!(condition.endpoint, Some(name("b")));
        // Dropped by its source, it serves on: plan and report say so.
        let one = desired.next(&both[..1]);
        let report = until(&mut driver, &one, |report| report.converged).await;
        assert!(
            report.conditions[0].detail.contains("no source reports"),
            "{report:?}"
        );
        let plan = driver.preview(&one).await.unwrap();
        assert!(plan.text.contains("web/shop3"), "{}", plan.text);
        assert_eq!(
            subject.column("shop3", "srv_uweight").await.as_deref(),
            Some("1")
        );
    })
    .await;
}

/// HAProxy sends a backup nothing while another server serves: an endpoint in such a slot is not in effect.
#[tokio::test]
async fn case_p08_an_endpoint_in_a_backup_slot_is_named() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-1 127.0.0.1:1 disabled\n  server slot2 127.0.0.1:1 disabled backup\n";
        let subject = Subject::start(&executable, slots).await;
        let one = Upstream::start([127, 0, 0, 2]).await;
        let two = Upstream::start([127, 0, 0, 3]).await;
        let mut desired = Desired::default();
        let mut driver = subject.driver(|_| {});
        let both = desired.next(&[("one", one.at, READY, 100), ("two", two.at, READY, 100)]);
        let report = until(&mut driver, &both, |report| report.converged).await;
        assert_eq!(report.unmet.len(), 1, "{report:?}");
        assert_eq!(report.unmet[0].reason, UnmetReason::Unsupported);
        let backup = report.unmet[0].endpoint.clone().unwrap();
        let (count, at) = match backup.as_str() {
            "one" => (&one.requests, one.at),
            _ => (&two.requests, two.at),
        };
        for _ in 0..20 {
            assert_eq!(subject.request().await, 200);
        }
        assert_eq!(count.load(Ordering::SeqCst), 0, "{backup} gets traffic");
        let alone = desired.next(&[(backup.as_str(), at, READY, 100)]);
        until(&mut driver, &alone, |report| report.converged && report.unmet.is_empty()).await;
        assert_eq!(subject.request().await, 200);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    })
    .await;
}
