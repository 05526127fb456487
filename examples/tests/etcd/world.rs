//! An etcd with the keys of services, a HAProxy that serves them, and a control plane between the two.

use std::{convert::Infallible, future::Future, net::SocketAddr, path::Path, time::Duration};

use lb_core::{Endpoint, Name, RecordKey};
use lb_etcd::{EtcdConfig, EtcdSource, layout::LayoutConfig};
use lb_examples::{
    testbed::{Options, Testbed},
    traffic::now,
};
use lb_haproxy::process::Executable;

use crate::{
    support::{
        api::Api,
        server::{Member, binaries},
    },
    users::{LIMIT, executables, name, until},
};

/// The prefix of the keys, as in the well-known example with confd: `/proxy/<service>/<endpoint>` = `ip:port`.
pub(crate) const PREFIX: &str = "/proxy";

/// Two services, each with one endpoint that stays.
pub(crate) struct World {
    pub(crate) bed: Testbed,
    pub(crate) etcd: Member,
    pub(crate) services: [Name; 2],
}

/// Runs a test over every etcd, with the last HAProxy, and says which.
pub(crate) async fn over_etcds<F>(test: &str, run: impl Fn(World) -> F)
where
    F: Future<Output = ()>,
{
    let haproxy = executables().pop().unwrap();
    for etcd in binaries() {
        one(test, &etcd, &haproxy, &run).await;
    }
}

/// The same, and over every other HAProxy with the last etcd.
pub(crate) async fn over_all<F>(test: &str, run: impl Fn(World) -> F)
where
    F: Future<Output = ()>,
{
    over_etcds(test, &run).await;
    let mut haproxies = executables();
    haproxies.pop();
    if let Some(etcd) = binaries().last() {
        for haproxy in haproxies {
            one(test, etcd, &haproxy, &run).await;
        }
    }
}

async fn one<F>(test: &str, etcd: &Path, haproxy: &Executable, run: impl Fn(World) -> F)
where
    F: Future<Output = ()>,
{
    let member = Member::single(etcd);
    let version = haproxy.version().await.unwrap();
    let setting = format!("{test}: {}, HAProxy {version}", member.version());
    // Shown when the test fails.
    println!("{setting}");
    let began = now();
    run(World::new(member, haproxy.clone()).await).await;
    println!("{setting}: passed in {:?}", began.elapsed());
}

impl World {
    async fn new(etcd: Member, haproxy: Executable) -> Self {
        let services = [name("frontend"), name("office")];
        let bed = Testbed::start(haproxy, Options::new(services.to_vec(), 32))
            .await
            .unwrap();
        let mut world = Self {
            bed,
            etcd,
            services,
        };
        let source = source(&world.etcd);
        world.bed.start_plane_on(source).await.unwrap();
        for service in world.services.clone() {
            let address = world.bed.add_server().await.unwrap();
            world.put(&service, "stays", address);
        }
        world.settle().await;
        world
    }

    pub(crate) fn api(&self) -> Api {
        self.etcd.api()
    }

    pub(crate) fn put(&self, service: &Name, id: &str, address: SocketAddr) {
        let write = || self.api().put(&path(service, id), &address.to_string());
        self.change(&[(service, id, Some(address))], write);
    }

    pub(crate) fn delete(&self, service: &Name, id: &str) {
        let write = || self.api().delete(&path(service, id));
        self.change(&[(service, id, None)], write);
    }

    /// Sets endpoints, or removes them, in one transaction.
    pub(crate) fn txn(&self, changes: &[(&Name, &str, Option<SocketAddr>)]) {
        let operations: Vec<(String, Option<String>)> = changes
            .iter()
            .map(|(service, id, address)| {
                let value = address.map(|address| address.to_string());
                (path(service, id), value)
            })
            .collect();
        self.change(changes, || self.api().txn(&operations));
    }

    /// Desires what `write` writes to etcd, at the revision that it gives.
    pub(crate) fn change(
        &self,
        changes: &[(&Name, &str, Option<SocketAddr>)],
        write: impl FnOnce() -> u64,
    ) {
        let of = |service: &Name, id: &str| RecordKey::new(service.clone(), name(id));
        let set = changes.iter().filter_map(|(service, id, address)| {
            let endpoint = Endpoint::new((*address)?);
            Some((of(service, id), endpoint))
        });
        let remove = changes
            .iter()
            .filter(|(.., address)| address.is_none())
            .map(|(service, id, _)| of(service, id));
        let Ok(()) =
            self.bed
                .desired
                .change_elsewhere(set, remove, || Ok::<_, Infallible>(write()));
    }

    /// Waits until a key has gone by itself, and follows that it did.
    pub(crate) async fn gone(&self, service: &Name, id: &str) {
        let (api, key) = (self.api(), path(service, id));
        until("the key to go", || api.get(&key).is_none()).await;
        self.change(&[(service, id, None)], || revision(&api));
        self.settle().await;
    }

    /// Waits until a key is there that others write, and follows it.
    pub(crate) async fn comes(&self, service: &Name, id: &str, address: SocketAddr) {
        let (api, key) = (self.api(), path(service, id));
        until("the key to come", || api.get(&key).is_some()).await;
        assert_eq!(api.get(&key).unwrap(), address.to_string());
        self.change(&[(service, id, Some(address))], || revision(&api));
        self.settle().await;
    }

    /// Everything is in effect, and nothing but that.
    pub(crate) async fn settle(&self) {
        self.bed.verified(LIMIT).await.unwrap();
        self.bed.in_step(LIMIT).await.unwrap();
    }
}

/// The key of an endpoint.
pub(crate) fn path(service: &Name, id: &str) -> String {
    format!("{PREFIX}/{service}/{id}")
}

/// The store's revision now: that of a transaction that does nothing.
fn revision(api: &Api) -> u64 {
    api.txn(&[])
}

/// A source that notices within seconds that etcd is gone.
pub(crate) fn source(etcd: &Member) -> EtcdSource {
    let confd = LayoutConfig::Confd {
        prefix: PREFIX.to_owned(),
        service: None,
    };
    let mut config = EtcdConfig::new([etcd.endpoint()]).with_layouts([confd]);
    config.liveness = Duration::from_secs(3);
    config.connection.connect_timeout = Duration::from_secs(1);
    config.connection.keepalive_interval = Duration::from_secs(1);
    config.connection.keepalive_timeout = Duration::from_secs(1);
    EtcdSource::new(name("etcd"), config).unwrap()
}
