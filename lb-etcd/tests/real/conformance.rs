//! The contract of sources, with real etcd.

use std::{fs, path::Path, time::Duration};

use async_trait::async_trait;
use lb_core::{
    RecordKey, Source,
    testkit::conformance::{Ability, Harness, run},
};
use lb_etcd::{EtcdConfig, EtcdSource};

use crate::support::server::{Member, binaries};

/// One etcd with an endpoint per item; the version is its weight.
struct Etcd {
    member: Member,
    interrupted: bool,
}

fn name(item: u16) -> String {
    format!("item-{item}")
}

fn key(item: u16) -> String {
    format!("/lb/endpoints/web/{}", name(item))
}

fn value(item: u16, version: u16) -> String {
    format!(
        r#"{{"address": "192.0.2.{item}:80", "weight": {version}}}"#,
        item = item + 1
    )
}

impl Etcd {
    fn start(binary: &Path) -> Self {
        Self {
            member: Member::single(binary),
            interrupted: false,
        }
    }
}

#[async_trait]
impl Harness for Etcd {
    async fn source(&mut self) -> Box<dyn Source> {
        let mut config = EtcdConfig::new([self.member.endpoint()]);
        config.liveness = Duration::from_secs(2);
        config.connection.connect_timeout = Duration::from_secs(1);
        config.connection.request_timeout = Duration::from_secs(2);
        config.connection.keepalive_interval = Duration::from_secs(1);
        config.connection.keepalive_timeout = Duration::from_secs(1);
        Box::new(EtcdSource::new("etcd".parse().unwrap(), config).unwrap())
    }

    async fn put(&mut self, item: u16, version: u16) {
        self.member.api().put(&key(item), &value(item, version));
    }

    async fn remove(&mut self, item: u16) {
        self.member.api().delete(&key(item));
    }

    fn key(&self, item: u16) -> RecordKey {
        RecordKey::new("web".parse().unwrap(), name(item).parse().unwrap())
    }

    fn patience(&self) -> Duration {
        crate::support::PATIENCE
    }

    async fn put_both(&mut self, items: [u16; 2], version: u16) -> Ability {
        let changes = items.map(|item| (key(item), Some(value(item, version))));
        self.member.api().txn(&changes);
        Ability::Done
    }

    async fn drain_and_remove(&mut self, item: u16) -> Ability {
        let api = self.member.api();
        let address = format!("192.0.2.{}:80", item + 1);
        api.put(
            &key(item),
            &format!(r#"{{"address": "{address}", "state": "draining", "grace": "5s"}}"#),
        );
        api.delete(&key(item));
        Ability::Done
    }

    async fn spoil(&mut self) -> Ability {
        self.member
            .api()
            .put("/lb/endpoints/web/spoilt", "192.0.2.1;80");
        Ability::Done
    }

    async fn unspoil(&mut self) {
        self.member.api().delete("/lb/endpoints/web/spoilt");
    }

    async fn interrupt(&mut self) -> Ability {
        self.member.kill();
        self.interrupted = true;
        Ability::Done
    }

    async fn silence(&mut self) -> Ability {
        self.member.freeze();
        Ability::Done
    }

    async fn heal(&mut self) {
        if std::mem::take(&mut self.interrupted) {
            self.member.start().unwrap();
        } else {
            self.member.thaw();
        }
    }

    async fn forget(&mut self) -> Ability {
        let api = self.member.api();
        let now = api.put("/elsewhere", "x");
        api.compact(now);
        Ability::Done
    }

    async fn noise(&mut self) -> Ability {
        let api = self.member.api();
        api.put("/elsewhere", "x");
        for _ in 0..10 {
            // The same value again is a revision, and no change.
            let same = api.get(&key(0)).unwrap();
            api.put(&key(0), &same);
        }
        api.revoke(api.grant(60));
        Ability::Done
    }

    async fn holdings(&mut self) -> Option<usize> {
        let port = format!("{:04X}", self.member.port());
        let table = fs::read_to_string("/proc/net/tcp").ok()?;
        let established = table.lines().skip(1).filter(|line| {
            let mut fields = line.split_whitespace().skip(2);
            let remote = fields.next().unwrap_or_default();
            remote.ends_with(&format!(":{port}")) && fields.next() == Some("01")
        });
        Some(established.count())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_of_sources_is_kept() {
    for binary in binaries() {
        let harness = Etcd::start(&binary);
        let report = run(harness, 42).await;
        println!("{}: {report}", binary.display());
        assert!(report.passed(), "{report}");
    }
}
