//! State, weight and TLS that another client changed.

use std::time::Duration;

use lb_core::{ConditionKind, Report};
use lb_haproxy::process::Executable;
use tokio::time::sleep;

use super::{Desired, READY, Subject, Upstream, at_rest, executables, side_by_side, until};

/// What an operator does to a slot by hand is named, undone, and no news after a while.
#[tokio::test]
async fn case_p13_an_operators_edit_of_a_slot_is_named() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-1 127.0.0.1:1 disabled weight 100\n";
        let subject = Subject::start(&executable, slots).await;
        let one = Upstream::start([127, 0, 0, 2]).await;
        let wanted = Desired::default().next(&[("one", one.at, READY, 100)]);
        let edits = [
            ("state maint", "from ready to maint"),
            ("state drain", "from ready to drain"),
            ("weight 7", "its weight from 100 to 7"),
        ];
        for (edit, text) in edits {
            let mut driver = subject.driver(|_| {});
            until(&mut driver, &wanted, |report| {
                report.converged && report.conditions.is_empty()
            })
            .await;
            subject.say(&format!("set server web/slot1 {edit}")).await;
            let named = |report: &Report| {
                let mut all = report.conditions.iter();
                all.any(|found| {
                    found.kind == ConditionKind::ForeignEdit && found.detail.contains(text)
                })
            };
            let report = until(&mut driver, &wanted, named).await;
            assert_eq!(report.conditions.len(), 1, "{report:?}");
            assert_eq!(report.conditions[0].object.as_deref(), Some("web/slot1"));
            until(&mut driver, &wanted, |report| report.converged).await;
            assert_eq!(
                subject.request().await,
                200,
                "{:?}: {edit}",
                subject.version
            );
        }
    })
    .await;
}

#[tokio::test]
async fn case_p13_tls_that_another_client_switches_on_is_switched_off() {
    side_by_side(executables(), async |executable: Executable| {
        // Settings of TLS that are there and not in use.
        let slots = "  default-server ssl verify none\n  server-template slot 1-3 127.0.0.1:1 disabled no-ssl\n";
        let subject = Subject::start(&executable, slots).await;
        if subject.version < (2, 4) {
            return;
        }
        let mut desired = Desired::default();
        let mut driver = subject.driver(|_| {});
        let up = Upstream::start([127, 0, 0, 2]).await;
        let one = desired.next(&[("one", up.at, READY, 100)]);
        until(&mut driver, &one, at_rest).await;
        for slot in 1..4 {
            let reply = subject.say(&format!("set server web/slot{slot} ssl on")).await;
            assert!(reply.contains("updated"), "{reply}");
        }
        assert_eq!(subject.request().await, 503, "the upstream speaks no TLS");
        sleep(Duration::from_millis(300)).await;
        until(&mut driver, &one, at_rest).await;
        assert_eq!(subject.request().await, 200, "{:?}", subject.version);
        let other = desired.next(&[("one", up.at, READY, 100), ("two", ([127, 0, 0, 2], 9).into(), READY, 0)]);
        until(&mut driver, &other, at_rest).await;
        for slot in 1..4 {
            let server = format!("slot{slot}");
            let address = subject.column(&server, "srv_addr").await;
            let ssl = subject.column(&server, "srv_use_ssl").await;
            let used = address.as_deref() != Some("127.0.0.1");
            assert!(!used || ssl.as_deref() != Some("1"), "{server}: {address:?} {ssl:?}");
        }
    })
    .await;
}
