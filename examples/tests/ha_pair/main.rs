//! Two HAProxys with one address, each driven by a control plane of its own, as the example shows: whichever has the
//! address chooses the same endpoints.
//!
//! Each HAProxy is in a network namespace. The address is moved by ucarp where that is installed, and else by hand.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too, and measures real time"
)]

mod machine;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use lb_core::{ControlPlane, Endpoint, Name, Publisher, Record, RecordKey, feed, plane::Running};
use lb_examples::traffic::{IdentityServer, Oracle};
use lb_haproxy::{HaproxyDriver, TargetConfig};

use crate::machine::{Bridge, Machine, exists, is_root};

const LIMIT: Duration = Duration::from_secs(60);
const SERVERS: usize = 12;
const USERS: usize = 60;

/// A control plane for one machine, and the way to push endpoints into it.
async fn drive(machine: &Machine) -> (Running, Publisher) {
    let (publisher, source) = feed(Name::from_text("program"));
    let target = TargetConfig::new(Name::from_text("edge"), machine.socket());
    let plane = ControlPlane::builder()
        .source(source)
        .target(HaproxyDriver::new(target))
        .build()
        .unwrap();
    publisher.reset([]).unwrap();
    (plane.spawn(), publisher)
}

fn record(address: SocketAddr) -> Record {
    let id = Name::from_text(&format!("web-{address}"));
    let key = RecordKey::new(Name::from_text("web"), id);
    Record::new(key, Endpoint::new(address))
}

/// The endpoint that answers a user; nothing where none does.
fn ask(address: SocketAddr, user: usize) -> Option<String> {
    let limit = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: web\r\nx-user: {user}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let mut lines = answer.lines();
    let endpoint = lines.find_map(|line| line.strip_prefix("x-endpoint: "));
    endpoint.map(str::to_owned)
}

/// Who answers which user.
fn choices(address: SocketAddr) -> BTreeMap<usize, String> {
    let began = Instant::now();
    let mut choices = BTreeMap::new();
    for user in 0..USERS {
        let endpoint = loop {
            if let Some(endpoint) = ask(address, user) {
                break endpoint;
            }
            assert!(began.elapsed() < LIMIT, "nobody answers at {address}");
            std::thread::sleep(Duration::from_millis(20));
        };
        choices.insert(user, endpoint);
    }
    choices
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i5_the_one_that_takes_over_chooses_the_same_endpoints() {
    if !is_root() || !exists("ip") || !exists("nsenter") {
        panic!("cannot run: network namespaces need root, ip and nsenter");
    }
    let bridge = Bridge::new();
    let oracle = Arc::new(Oracle::new());
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        let any = SocketAddr::new(Bridge::ADDRESS.into(), 0);
        let server = IdentityServer::start(any, Arc::clone(&oracle)).await;
        servers.push(server.unwrap());
    }
    let (mut first, mut second) = (
        Machine::start(&bridge, 1).await,
        Machine::start(&bridge, 2).await,
    );
    let records: Vec<Record> = servers.iter().map(|s| record(s.address())).collect();
    let (gone, kept) = records.split_at(4);
    let (plane, publisher) = drive(&first).await;
    let settled = async |plane: &Running| {
        let done = plane.handle().reconcile_now(LIMIT).await.unwrap();
        assert!(done.is_complete(), "{done:?}");
    };
    // Where slots do not matter, two histories that end in the same: the second side was away for most of it.
    if first.hashes_by_address().await {
        publisher.batch(gone.to_vec(), []).unwrap();
        settled(&plane).await;
        publisher.batch(kept.to_vec(), []).unwrap();
        settled(&plane).await;
        let keys = gone.iter().map(|record| record.key.clone());
        publisher.batch([], keys).unwrap();
    } else {
        publisher.batch(kept.to_vec(), []).unwrap();
    }
    settled(&plane).await;
    let (other, other_publisher) = drive(&second).await;
    other_publisher.batch(kept.to_vec(), []).unwrap();
    settled(&other).await;

    let shared = SocketAddr::new(Bridge::SHARED.into(), 80);
    let moved_by = tokio::task::block_in_place(|| {
        let ucarp = exists("ucarp");
        if ucarp {
            first.ucarp();
            until_master(&first);
        }
        match ucarp {
            // It hears the first one and waits.
            true => second.ucarp(),
            false => first.take_address(),
        }
        let before = choices(shared);
        assert!(
            before
                .values()
                .any(|endpoint| Some(endpoint) != before.get(&0))
        );
        let failed = Instant::now();
        first.fail();
        if !ucarp {
            second.take_address();
        }
        until_master(&second);
        let after = choices(shared);
        assert_eq!(after, before);
        println!(
            "answered by the other one {:?} after the first failed",
            failed.elapsed()
        );
        if ucarp { "ucarp" } else { "hand" }
    });
    println!("the address was moved by {moved_by}");
}

/// Waits until a machine has the shared address.
fn until_master(machine: &Machine) {
    let began = Instant::now();
    while !machine.has_address() {
        assert!(
            began.elapsed() < LIMIT,
            "{} is no master",
            machine.namespace
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The script beside the example.
fn script(name: &str) -> String {
    let path = format!("{}/ha-pair/{name}", env!("CARGO_MANIFEST_DIR"));
    assert!(fs::exists(&path).unwrap(), "{path}");
    path
}

/// An address on the machines' link.
fn address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, host)
}
