//! Many keys of one revision.

use std::collections::BTreeSet;

use lb_core::{Event, Events, Handle};
use lb_examples::testbed::{Options, Testbed};

use crate::{
    support::server::{Member, binaries},
    users::{LIMIT, executables, name},
    world::{path, source},
};

const KEYS: usize = 500;

/// Follows a control plane until HAProxy has been verified at `revision`. Every generation on the way has all
/// endpoints of one transaction or none: the same weight, and so the same transaction, for all.
async fn whole_until(revision: u64, handle: &Handle, events: &mut Events) {
    let service = name("frontend");
    let follow = async {
        loop {
            let event = events.next().await.unwrap();
            let snapshot = handle.snapshot();
            let weights: Vec<u16> = snapshot
                .service(&service)
                .into_iter()
                .flat_map(|service| service.endpoints())
                .map(|(_, endpoint)| endpoint.weight.get())
                .collect();
            let kinds: BTreeSet<&u16> = weights.iter().collect();
            assert!(
                weights.is_empty() || (weights.len() == KEYS && kinds.len() == 1),
                "{} endpoints of weights {kinds:?}",
                weights.len()
            );
            match &event.event {
                Event::Published {
                    changes, causes, ..
                } => {
                    // The first snapshot is published with whatever is there.
                    assert!(
                        causes.is_empty() || changes % KEYS == 0,
                        "{changes} changes"
                    );
                }
                Event::Pass { unmet, .. } => assert_eq!(*unmet, 0),
                Event::Verified { causes, .. }
                    if causes.iter().any(|cause| cause.cursor.revision >= revision) =>
                {
                    return;
                }
                Event::Lost { count } => panic!("{count} events were lost"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, follow).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i12_a_transaction_of_500_keys_is_never_seen_half() {
    let executable = executables().pop().unwrap();
    for binary in binaries() {
        let etcd = Member::single(&binary);
        let api = etcd.api();
        let service = name("frontend");
        let slots = u32::try_from(KEYS).unwrap() + 20;
        let options = Options::new(vec![service.clone()], slots);
        let mut bed = Testbed::start(executable.clone(), options).await.unwrap();
        let handle = bed.start_plane_on(source(&etcd)).await.unwrap();
        let mut events = handle.subscribe();
        let write = |weight: Option<usize>| {
            let changes: Vec<_> = (0..KEYS)
                .map(|number| {
                    let value = |weight| {
                        format!(
                            r#"{{"address":"127.0.0.1:{}","weight":{weight}}}"#,
                            10_000 + number
                        )
                    };
                    (path(&service, &format!("web{number}")), weight.map(value))
                })
                .collect();
            api.txn(&changes)
        };
        let serving = async || {
            let slots = bed.haproxy.slots().await.unwrap();
            slots.iter().filter(|slot| slot.serves()).count()
        };

        whole_until(write(Some(1)), &handle, &mut events).await;
        assert_eq!(serving().await, KEYS);
        // Some in a row, which may become one generation, but no half of any.
        for weight in 2..5 {
            write(Some(weight));
        }
        let last = write(Some(5));
        whole_until(last, &handle, &mut events).await;
        assert_eq!(serving().await, KEYS);
        whole_until(write(None), &handle, &mut events).await;
        assert_eq!(serving().await, 0);
        println!("500 keys in a transaction: {} passed", etcd.version());
    }
}
