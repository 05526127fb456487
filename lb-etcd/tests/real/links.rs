//! The source behind links that are slow, dead, or cut anywhere.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::support::{
    server::{Member, binaries},
    supervisor::Supervisor,
};
use lb_etcd::{EtcdConfig, EtcdSource};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A link to a member that can be disturbed.
struct Link {
    address: SocketAddr,
    faults: Arc<Faults>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Faults {
    /// The number of bytes a second that come through from the server; 0 stops them.
    rate: AtomicU64,
    /// After how many bytes from the server the next connection is cut.
    cut_after: AtomicU64,
    /// Ends all connections there are.
    cut_now: tokio::sync::Notify,
}

impl Link {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Arc::new(Faults {
            rate: AtomicU64::new(u64::MAX),
            cut_after: AtomicU64::new(u64::MAX),
            cut_now: tokio::sync::Notify::new(),
        });
        let shared = Arc::clone(&faults);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            faults,
            task,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, server: SocketAddr, faults: Arc<Faults>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let mut left = faults.cut_after.load(Ordering::Relaxed);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upward = async { drop(tokio::io::copy(&mut from_client, &mut to_server).await) };
    let downward = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let rate = faults.rate.load(Ordering::Relaxed);
            if rate == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            // A tenth of a second's worth at a time.
            let most = usize::try_from((rate / 10).clamp(1, 16 * 1024).min(left)).unwrap();
            let Ok(count @ 1..) = from_server.read(&mut buffer[..most]).await else {
                return;
            };
            if to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            left -= count as u64;
            if left == 0 {
                return;
            }
            if rate < 10_000_000 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    tokio::select! {
        () = upward => {}
        () = downward => {}
        () = faults.cut_now.notified() => {}
    }
}

fn source(link: &Link) -> EtcdSource {
    let mut config = EtcdConfig::new([format!("http://{}", link.address)]);
    config.liveness = Duration::from_secs(3);
    config.connection.connect_timeout = Duration::from_secs(1);
    config.connection.request_timeout = Duration::from_secs(2);
    config.connection.keepalive_interval = Duration::from_secs(1);
    config.connection.keepalive_timeout = Duration::from_secs(1);
    EtcdSource::new("etcd".parse().unwrap(), config).unwrap()
}

fn fill(member: &Member, count: usize) {
    let changes: Vec<_> = (0..count)
        .map(|n| {
            (
                format!("/lb/endpoints/web/e{n:04}"),
                Some("192.0.2.1:80".to_owned()),
            )
        })
        .collect();
    member.api().txn(&changes);
}

/// On a link so slow that the listing takes many of the usual waits, it still arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_link_is_followed() {
    for binary in binaries() {
        let member = Member::single(&binary);
        fill(&member, 2000);
        let link = Link::to(member.api().address).await;
        link.faults.rate.store(30_000, Ordering::Relaxed);
        let supervisor = Supervisor::start(source(&link));
        let seen = supervisor
            .until("the listing", |seen| seen.records.len() == 2000)
            .await;
        println!("{}: {:?}", member.version(), seen.errors);
        member.api().put("/lb/endpoints/web/new", "192.0.2.2:80");
        supervisor
            .until("the write", |seen| seen.records.len() == 2001)
            .await;
    }
}

/// A link that carries nothing any more ends the attempt; everything is kept, and told again when it carries.
#[tokio::test(flavor = "multi_thread")]
async fn i2_a_dead_link_ends_the_attempt() {
    for binary in binaries() {
        let member = Member::single(&binary);
        fill(&member, 10);
        let link = Link::to(member.api().address).await;
        let supervisor = Supervisor::start(source(&link));
        supervisor
            .until("the listing", |seen| seen.records.len() == 10)
            .await;
        link.faults.rate.store(0, Ordering::Relaxed);
        supervisor
            .until("the end of two attempts", |seen| seen.errors.len() >= 2)
            .await;
        member.api().put("/lb/endpoints/web/new", "192.0.2.2:80");
        link.faults.rate.store(u64::MAX, Ordering::Relaxed);
        let seen = supervisor
            .until("the write", |seen| seen.records.len() == 11)
            .await;
        assert_eq!(
            (seen.resets, seen.fewest),
            (1, Some(10)),
            "{:?}",
            seen.errors
        );
        println!("{}: {:?}", member.version(), seen.errors);
    }
}

/// Wherever the answers are cut, the source converges and takes nothing away.
#[tokio::test(flavor = "multi_thread")]
async fn i2_answers_are_cut_at_any_byte() {
    for binary in binaries() {
        let member = Member::single(&binary);
        fill(&member, 10);
        let link = Link::to(member.api().address).await;
        let supervisor = Supervisor::start(source(&link));
        supervisor
            .until("the listing", |seen| seen.records.len() == 10)
            .await;
        let cuts = (1..1500).step_by(41);
        let writes = cuts.clone().count();
        for cut in cuts {
            let errors = supervisor.seen().errors.len();
            link.faults.cut_after.store(cut, Ordering::Relaxed);
            link.faults.cut_now.notify_waiters();
            member.api().put(
                "/lb/endpoints/web/e0000",
                &format!("192.0.2.2:{}", 1000 + cut),
            );
            // The loss of the connection of before, and that of the one that is cut.
            supervisor
                .until("the cut", |seen| seen.errors.len() >= errors + 2)
                .await;
        }
        link.faults.cut_after.store(u64::MAX, Ordering::Relaxed);
        member.api().put("/lb/endpoints/web/new", "192.0.2.2:80");
        let seen = supervisor
            .until("the write", |seen| seen.records.len() == 11)
            .await;
        assert_eq!(
            (seen.resets, seen.fewest),
            (1, Some(10)),
            "after {writes} cuts"
        );
    }
}
