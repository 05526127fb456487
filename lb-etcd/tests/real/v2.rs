//! The keys API of etcd 2, as etcd 3.4 and 3.5 still serve it.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use lb_core::{
    RecordKey, Source,
    testkit::conformance::{Ability, Harness, run},
};
use lb_etcd::{
    layout::LayoutConfig,
    v2::{EtcdV2Config, EtcdV2Source},
};

use crate::support::{
    api::Api,
    server::{Member, Options, binaries},
    supervisor::Supervisor,
};

fn member(binary: &Path) -> Member {
    let options = Options {
        extra: vec!["--enable-v2".to_owned()],
        ..Options::default()
    };
    Member::single_with(binary, options)
}

fn source(member: &Member) -> EtcdV2Source {
    let confd = LayoutConfig::Confd {
        prefix: "/proxy".to_owned(),
        service: None,
    };
    let mut config = EtcdV2Config::new([member.endpoint()], [confd]);
    config.liveness = Duration::from_secs(2);
    EtcdV2Source::new("old".parse().unwrap(), config).unwrap()
}

fn ask(api: &Api, method: &str, target: &str, body: &str) {
    let request = format!(
        "{method} /v2/keys{target} HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    api.http(&request).unwrap();
}

fn put(api: &Api, key: &str, value: &str) {
    let escape = |c: char| match c {
        'a'..='z' | '0'..='9' | '.' => c.to_string(),
        other => format!("%{:02X}", u32::from(other)),
    };
    let value: String = value.chars().map(escape).collect();
    ask(api, "PUT", key, &format!("value={value}"));
}

/// The keys of the example with confd are followed: put, delete, expiry, and a directory gone with all in it.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_old_api_are_followed() {
    for binary in binaries() {
        let member = member(&binary);
        let api = member.api();
        put(&api, "/proxy/frontend/web1", "192.0.2.7:9001");
        let supervisor = Supervisor::start_other(source(&member));
        supervisor
            .until("the listing", |seen| seen.records.len() == 1)
            .await;
        put(&api, "/proxy/frontend/web2", "192.0.2.7:9002");
        put(&api, "/proxy/frontend/web1", "192.0.2.8:9001");
        ask(
            &api,
            "PUT",
            "/proxy/frontend/web3",
            "value=192.0.2.7:9003&ttl=1",
        );
        supervisor
            .until("three", |seen| seen.records.len() == 3)
            .await;
        assert_eq!(
            supervisor.address("frontend/web1").unwrap(),
            "192.0.2.8:9001"
        );
        supervisor
            .until("the expiry", |seen| seen.records.len() == 2)
            .await;
        put(&api, "/elsewhere", "x");
        let progress = supervisor.seen().progress;
        supervisor
            .until("progress", |seen| seen.progress > progress + 2)
            .await;
        ask(&api, "DELETE", "/proxy/frontend?recursive=true", "");
        let seen = supervisor
            .until("the directory's end", |seen| seen.records.is_empty())
            .await;
        assert_eq!(
            (seen.resets, seen.errors.len()),
            (1, 0),
            "{:?}",
            seen.errors
        );
    }
}

struct Etcd {
    member: Member,
    interrupted: bool,
}

fn key(item: u16) -> String {
    format!("/proxy/web/item-{item}")
}

#[async_trait]
impl Harness for Etcd {
    async fn source(&mut self) -> Box<dyn Source> {
        Box::new(source(&self.member))
    }

    async fn put(&mut self, item: u16, version: u16) {
        let value = format!(
            r#"{{"address": "192.0.2.{}:80", "weight": {version}}}"#,
            item + 1
        );
        put(&self.member.api(), &key(item), &value);
    }

    async fn remove(&mut self, item: u16) {
        ask(&self.member.api(), "DELETE", &key(item), "");
    }

    fn key(&self, item: u16) -> RecordKey {
        RecordKey::new(
            "web".parse().unwrap(),
            format!("item-{item}").parse().unwrap(),
        )
    }

    fn patience(&self) -> Duration {
        crate::support::PATIENCE
    }

    async fn spoil(&mut self) -> Ability {
        put(&self.member.api(), "/proxy/web/spoilt", "192.0.2.1;80");
        Ability::Done
    }

    async fn unspoil(&mut self) {
        ask(&self.member.api(), "DELETE", "/proxy/web/spoilt", "");
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
        // The history has the last 1000 events of the whole store.
        for _ in 0..1100 {
            put(&api, "/elsewhere", "x");
        }
        Ability::Done
    }

    async fn noise(&mut self) -> Ability {
        put(&self.member.api(), "/elsewhere", "x");
        ask(
            &self.member.api(),
            "PUT",
            "/proxy/web/directory?dir=true",
            "",
        );
        Ability::Done
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_of_sources_is_kept_by_the_old_api() {
    for binary in binaries() {
        let harness = Etcd {
            member: member(&binary),
            interrupted: false,
        };
        let report = run(harness, 42).await;
        println!("{}: {report}", binary.display());
        assert!(report.passed(), "{report}");
    }
}
