//! Conditions of a control plane over a real etcd: each lasts as long as its cause.

use lb_core::{ConditionKind, ControlPlane, Handle};
use lb_etcd::{EtcdConfig, EtcdSource};

use crate::support::{
    eventually,
    server::{Member, binaries},
};

/// The objects that the diagnostics of now concern.
fn concerned(handle: &Handle) -> Vec<String> {
    let conditions = handle.status().conditions;
    let of_kind = conditions
        .into_iter()
        .filter(|found| found.kind == ConditionKind::Diagnostic);
    of_kind.filter_map(|found| found.object).collect()
}

async fn until(handle: &Handle, key: Option<&str>) {
    let right = || {
        let found = concerned(handle);
        let right = match key {
            Some(key) => found.len() == 1 && found.iter().all(|found| found.contains(key)),
            None => found.is_empty(),
        };
        right.then_some(())
    };
    eventually(&format!("a diagnostic of {key:?} alone"), right).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_p19_a_diagnostic_of_a_key_ends_when_it_is_fixed_or_removed() {
    for binary in binaries() {
        let mut member = Member::single(&binary);
        let api = member.api();
        let (key, other) = ("/lb/endpoints/web/e1", "/lb/endpoints/web/e2");
        api.put(key, "no address");
        let config = EtcdConfig::new([member.endpoint()]);
        let source = EtcdSource::new("etcd".parse().unwrap(), config).unwrap();
        let plane = ControlPlane::builder().source(source).build().unwrap();
        let running = plane.spawn();
        let handle = running.handle();
        // One that was there before, then fixed.
        until(&handle, Some(key)).await;
        api.put(key, "192.0.2.1:80");
        until(&handle, None).await;
        // Spoiled, spoiled in another way, and removed.
        api.put(key, "192.0.2.1:none");
        until(&handle, Some(key)).await;
        api.put(key, r#"{"address": 7}"#);
        api.put(other, "192.0.2.2:80");
        until(&handle, Some(key)).await;
        api.delete(key);
        until(&handle, None).await;
        // Removed by the end of its lease, beside one that stays.
        let lease = api.grant(60);
        api.put_leased(key, "no address", lease);
        until(&handle, Some(key)).await;
        api.revoke(lease);
        until(&handle, None).await;
        // Fixed in the transaction that spoils another.
        api.put(key, "no address");
        until(&handle, Some(key)).await;
        let change = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        api.txn(&[change(key, "192.0.2.1:80"), change(other, "no address")]);
        until(&handle, Some(other)).await;
        // Fixed while it is not followed.
        member.kill();
        let stale = || {
            handle
                .status()
                .condition_counts
                .contains_key(&ConditionKind::Stale)
        };
        eventually("the source is stale", || stale().then_some(())).await;
        assert_eq!(concerned(&handle).len(), 1, "what was told last stays");
        member.start().unwrap();
        api.put(other, "192.0.2.2:80");
        until(&handle, None).await;
        eventually("it is followed again", || (!stale()).then_some(())).await;
        assert_eq!(handle.status().condition_count, 0);
        running.shutdown().await;
    }
}
