//! The desired state in a real etcd, which is killed and stopped.

use std::time::Duration;

use lb_core::{Endpoint, RecordKey};
use lb_etcd::{EtcdConfig, EtcdSource, layout::LayoutConfig};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    etcd_support::{
        api::{Api, encode},
        server::{Member, binaries},
    },
    users::name,
};

/// The prefix of the keys: `/proxy/<service>/<endpoint>` = `ip:port`.
const PREFIX: &str = "/proxy";
/// The time a writer waits before it tries again.
const AGAIN: Duration = Duration::from_millis(20);

/// An etcd of one member. It ends with its value.
pub(crate) struct Etcd {
    /// `None` while it is being killed or stopped.
    member: Option<Member>,
    api: Api,
    endpoint: String,
}

impl Etcd {
    /// Starts the last etcd of those to test with.
    pub(crate) fn start() -> Self {
        let member = Member::single(binaries().last().unwrap());
        Self {
            api: member.api(),
            endpoint: member.endpoint(),
            member: Some(member),
        }
    }

    /// A source that notices within seconds that etcd is gone.
    pub(crate) fn source(&self) -> EtcdSource {
        let confd = LayoutConfig::Confd {
            prefix: PREFIX.to_owned(),
            service: None,
        };
        let mut config = EtcdConfig::new([self.endpoint.clone()]).with_layouts([confd]);
        config.liveness = Duration::from_secs(3);
        config.connection.connect_timeout = Duration::from_secs(1);
        config.connection.keepalive_interval = Duration::from_secs(1);
        config.connection.keepalive_timeout = Duration::from_secs(1);
        EtcdSource::new(name("etcd"), config).unwrap()
    }

    /// Writes in one transaction, again and again until etcd takes it, and gives its revision.
    pub(crate) async fn write(&self, set: &[(RecordKey, Endpoint)], remove: &[RecordKey]) -> u64 {
        let puts = set.iter().filter(|(_, endpoint)| endpoint.state.is_ready());
        let puts = puts.map(|(key, endpoint)| {
            let value = encode(&endpoint.address.to_string());
            json!({ "requestPut": { "key": encode(&path(key)), "value": value } })
        });
        let gone = set
            .iter()
            .filter(|(_, endpoint)| !endpoint.state.is_ready());
        let deletes = remove.iter().chain(gone.map(|(key, _)| key));
        let deletes =
            deletes.map(|key| json!({ "requestDeleteRange": { "key": encode(&path(key)) } }));
        let operations: Vec<Value> = puts.chain(deletes).collect();
        let body = json!({ "success": operations });
        loop {
            let (api, body) = (self.api, body.clone());
            let call = move || api.call("/v3/kv/txn", &body);
            if let Ok(answer) = tokio::task::spawn_blocking(call).await.unwrap()
                && let Some(revision) = answer["header"]["revision"].as_str()
            {
                return revision.parse().unwrap();
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Kills it (or stops it in its tracks) after a while, and lets it go on with the same data after another one;
    /// to be given back by [`is_back`](Self::is_back).
    pub(crate) fn away(
        &mut self,
        killed: bool,
        after: Duration,
        lasting: Duration,
    ) -> JoinHandle<Member> {
        let mut member = self.member.take().unwrap();
        tokio::task::spawn_blocking(move || {
            std::thread::sleep(after);
            if killed {
                member.kill();
                std::thread::sleep(lasting);
                member.start().unwrap();
            } else {
                member.freeze();
                std::thread::sleep(lasting);
                member.thaw();
            }
            member
        })
    }

    pub(crate) fn is_back(&mut self, member: Member) {
        self.member = Some(member);
    }
}

fn path(key: &RecordKey) -> String {
    format!("{PREFIX}/{}/{}", key.service, key.id)
}
