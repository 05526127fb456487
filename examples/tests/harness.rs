//! The harness itself: it must see what goes wrong, and nothing else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use lb_core::Name;
use lb_examples::traffic::{
    Ask, Client, Connections, IdentityServer, Load, Loss, Oracle, Protocol, Speaks, Witness,
};

const LIMIT: Duration = Duration::from_secs(60);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

async fn server_of(service: &str, oracle: &Arc<Oracle>) -> IdentityServer {
    let server = IdentityServer::start(any(), Arc::clone(oracle))
        .await
        .unwrap();
    oracle.publish(server.address(), &name(service));
    server
}

async fn until(reached: impl Fn() -> bool) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_traffic_has_no_fault_over_every_protocol_and_connection() {
    for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Raw] {
        let oracle = Arc::new(Oracle::new());
        let speaks = match protocol {
            Protocol::Raw => Speaks::Raw,
            Protocol::Http1 | Protocol::Http2 => Speaks::Http,
        };
        let mut servers = Vec::new();
        for service in ["a", "b"] {
            let server = IdentityServer::start_speaking(speaks, any(), Arc::clone(&oracle));
            let server = server.await.unwrap();
            oracle.publish(server.address(), &name(service));
            servers.push((name(service), server));
        }
        let frontends = servers
            .iter()
            .map(|(service, server)| (service.clone(), server.address()))
            .collect();
        let mut load = Load::new(frontends, 20, 600);
        load.protocol = protocol;
        load.connections = Connections::Mixed;
        load.request_limit = LIMIT;
        let outcome = load.start(Arc::clone(&oracle)).finish().await;
        assert_eq!(outcome.faults(), None, "{protocol:?}");
        assert!(outcome.complete && outcome.requests >= 600);
        assert_eq!(outcome.latencies.count(), outcome.requests);
        assert_eq!(outcome.by_endpoint.values().sum::<u64>(), outcome.requests);
        let arrived: u64 = servers.iter().map(|(_, server)| server.requests()).sum();
        assert_eq!(arrived, outcome.requests);
    }
}

#[tokio::test]
async fn a_planted_misroute_is_seen_at_arrival_and_after_release() {
    let oracle = Arc::new(Oracle::new());
    let a = server_of("a", &oracle).await;
    let b = server_of("b", &oracle).await;

    // A request for b that ends at a's address.
    let load = Load::new(vec![(name("b"), a.address())], 1, 1);
    let outcome = load.start(Arc::clone(&oracle)).finish().await;
    assert_eq!((outcome.lost, outcome.misrouted), (0, 1));
    assert_eq!(outcome.misroutes[0].witness, Witness::Arrival);
    assert_eq!(outcome.misroutes[0].owners, [name("a")]);
    assert!(outcome.faults().is_some());

    // A request for b that begins after b's address was reported to have left.
    oracle.released(b.address(), &name("b"));
    let load = Load::new(vec![(name("b"), b.address())], 1, 1);
    let outcome = load.start(Arc::clone(&oracle)).finish().await;
    assert_eq!((outcome.lost, outcome.misrouted), (0, 2));
    assert_eq!(outcome.misroutes[1].witness, Witness::Release);

    // The address goes from b to a: b's request after a's first is one too late, without any report.
    let oracle = Arc::new(Oracle::new());
    let shared = server_of("b", &oracle).await;
    oracle.publish(shared.address(), &name("a"));
    for (service, misrouted) in [("b", 0), ("a", 0), ("b", 1), ("a", 1)] {
        let mut client = Client::new(name(service), shared.address(), Protocol::Http1);
        client.get(Ask::Identity, LIMIT).await.unwrap();
        assert_eq!(oracle.misrouted(), misrouted, "{service}");
    }
}

#[tokio::test]
async fn planted_losses_are_seen() {
    let oracle = Arc::new(Oracle::new());
    let mut server = server_of("a", &oracle).await;
    let address = server.address();
    let client = || Client::new(name("a"), address, Protocol::Http1);

    // A download that is cut.
    let download = tokio::spawn({
        let mut client = client();
        async move {
            let ask = Ask::Download(LIMIT);
            client.get(ask, LIMIT).await
        }
    });
    until(|| server.requests() > 0).await;
    server.kill().await;
    let cut = download.await.unwrap();
    assert!(matches!(cut, Err(Loss::Http(_))), "{cut:?}");

    // A port that refuses, once a request, with no retry.
    let load = Load::new(vec![(name("a"), address)], 2, 30);
    let outcome = load.start(Arc::clone(&oracle)).finish().await;
    assert_eq!(outcome.lost, outcome.requests);
    assert_eq!(outcome.losses.len(), 20);
    assert!(outcome.faults().unwrap().contains("refused"));

    // An answer that comes too late.
    server.restart().await.unwrap();
    let limit = Duration::from_millis(20);
    let late = client().get(Ask::Slow(LIMIT), limit).await;
    assert!(matches!(late, Err(Loss::Timeout { .. })), "{late:?}");

    // An answer that is none.
    let missing = client()
        .get(Ask::Slow(Duration::from_secs(999)), LIMIT)
        .await;
    assert!(matches!(missing, Err(Loss::Status { .. })), "{missing:?}");
    assert_eq!(oracle.misrouted(), 0);
}

#[tokio::test]
async fn failures_are_excused_only_while_they_are_expected() {
    let oracle = Arc::new(Oracle::new());
    let mut server = server_of("a", &oracle).await;
    let mut load = Load::new(vec![(name("a"), server.address())], 4, u64::MAX);
    load.pause = Duration::from_millis(1);
    let running = load.start(Arc::clone(&oracle));
    until(|| running.progress().answered > 20).await;
    running.excuse_failures(true);
    server.kill().await;
    until(|| running.progress().excused > 20).await;
    server.restart().await.unwrap();
    running.excuse_failures(false);
    let answered = running.progress().answered;
    until(|| running.progress().answered > answered + 20).await;
    assert_eq!(running.progress().lost, 0);
    server.kill().await;
    until(|| running.progress().lost > 5).await;
    running.stop();
    let outcome = running.finish().await;
    assert!(!outcome.complete);
    assert_eq!(outcome.misrouted, 0);
}

#[tokio::test]
async fn a_leaving_server_ends_what_it_began_and_refuses_what_is_new() {
    for speaks in [Speaks::Http, Speaks::Raw] {
        let protocol = match speaks {
            Speaks::Http => Protocol::Http1,
            Speaks::Raw => Protocol::Raw,
        };
        let oracle = Arc::new(Oracle::new());
        let mut server = IdentityServer::start_speaking(speaks, any(), Arc::clone(&oracle))
            .await
            .unwrap();
        let address = server.address();
        oracle.publish(address, &name("a"));
        let download = tokio::spawn(async move {
            let mut client = Client::new(name("a"), address, protocol);
            let ask = Ask::Download(Duration::from_millis(300));
            client.get(ask, LIMIT).await
        });
        until(|| server.requests() > 0).await;
        assert!(server.leave(LIMIT).await);
        let whole = download.await.unwrap().unwrap();
        assert_eq!((whole.endpoint, whole.length), (address, 13 * 1024));
        let mut client = Client::new(name("a"), address, protocol);
        assert!(client.get(Ask::Identity, LIMIT).await.is_err());
    }
}

/// Runs that overlap share the room: one that ends does not take it from one that goes on.
#[test]
fn room_for_connections_stays_until_the_last_run_ends() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let read = |name: &str| fs::read_to_string(file(name)).unwrap();
    fs::write(file("max"), "1000\n").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../.ci/with-connections");
    let run = |command: &str| {
        Command::new("bash")
            .args([script, "sh", "-c", command])
            .current_dir(&folder)
            .env("TRACKED_CONNECTIONS", file("max"))
            .env("TRACKED_CONNECTIONS_HELD", file("held"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    // Each goes on until its standing file is taken away.
    let waits =
        |name: &str| format!("touch {name}; while [ -e {name} ]; do sleep 0.01; done; exit 7");
    let begun = |name: &str| {
        while !file(name).exists() {
            thread::sleep(Duration::from_millis(1));
        }
    };
    let mut first = run(&waits("first"));
    begun("first");
    let mut second = run(&waits("second"));
    begun("second");
    assert_eq!(read("max"), "2097152\n");
    fs::remove_file(file("first")).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(7));
    assert_eq!(read("max"), "2097152\n");
    fs::remove_file(file("second")).unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(7));
    assert_eq!(read("max"), "1000\n");
}
