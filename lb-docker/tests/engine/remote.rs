//! Engines on other machines: TCP with TLS, a silent link, and a Swarm of two nodes.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use lb_core::EndpointState;
use lb_docker::{ConnectionConfig, ReachFrom, SwarmSource};

use crate::{
    containers::{config, follow},
    support::{
        engine::{Engine, available, exists, run},
        follower::Follower,
    },
    swarm,
};

/// Makes an authority, and a server's and a client's certificate, in `folder`.
fn certificates(folder: &Path, server: &str) {
    let at = |name: &str| folder.join(name).display().to_string();
    let openssl = |words: &[&str]| run("openssl", words);
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=lb test authority",
        "-keyout",
        &at("ca-key.pem"),
        "-out",
        &at("ca.pem"),
    ]);
    for (name, extensions) in [
        (
            "server-",
            format!("subjectAltName=IP:{server}\nextendedKeyUsage=serverAuth\n"),
        ),
        ("", "extendedKeyUsage=clientAuth\n".to_owned()),
    ] {
        let (key, request, cert) = (
            at(&format!("{name}key.pem")),
            at(&format!("{name}request.pem")),
            at(&format!("{name}cert.pem")),
        );
        fs::write(at("extensions"), extensions).unwrap();
        openssl(&[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=lb test",
            "-keyout",
            &key,
            "-out",
            &request,
        ]);
        openssl(&[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            &request,
            "-CA",
            &at("ca.pem"),
            "-CAkey",
            &at("ca-key.pem"),
            "-CAcreateserial",
            "-extfile",
            &at("extensions"),
            "-out",
            &cert,
        ]);
    }
}

fn body(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// An engine on another machine is reached over TLS, its containers at its published ports; a link that falls
/// silent is noticed, removes nothing, and is made again.
#[tokio::test(flavor = "multi_thread")]
async fn p11_an_engine_over_tls_and_its_silent_link() {
    if !available() {
        return;
    }
    if !exists("openssl") || !exists("iptables") {
        panic!("cannot run: openssl and iptables are not both in PATH");
    }
    let mut engine = Engine::start();
    let [_, address] = engine.link(None);
    certificates(engine.dir(), &address);
    let at = |name: &str| engine.dir().join(name).display().to_string();
    let options = [
        "--host".to_owned(),
        format!("tcp://{address}:2376"),
        "--tlsverify".to_owned(),
        format!("--tlscacert={}", at("ca.pem")),
        format!("--tlscert={}", at("server-cert.pem")),
        format!("--tlskey={}", at("server-key.pem")),
    ];
    engine.with_options(&options.each_ref().map(String::as_str));
    let id = engine.run("web", &["-p", "80", "-l", "lb.service=web"]);
    engine.run("hidden", &["-l", "lb.service=hidden"]);

    let mut config = config(&engine);
    config.ping_interval = Duration::from_millis(300);
    config.connection = ConnectionConfig::at(format!("tcp://{address}:2376"));
    config.connection.tls = Some(true);
    config.connection.cert_path = Some(engine.dir().to_owned());
    config.connection.timeout = Some(Duration::from_secs(2));
    let told = follow(config.clone());
    told.until("listed", |told| told.ready("web") == 1).await;
    let served = told.endpoints().into_keys().next().unwrap().1;
    assert!(served.starts_with(&address), "{served}");
    assert_eq!(
        body(&served),
        id[..12],
        "the published port leads to the container"
    );
    assert_eq!(
        told.look(|told| told.ready("hidden")),
        0,
        "its network leads nowhere from here"
    );

    engine.mute_links(true);
    told.until("known to be stale", |told| told.stale).await;
    assert_eq!(told.look(|told| told.ready("web")), 1, "nothing is removed");
    engine.mute_links(false);
    engine.run("more", &["-p", "80", "-l", "lb.service=web"]);
    told.until("followed again", |told| told.ready("web") == 2)
        .await;

    config.connection.tls = Some(false);
    let plain = follow(config);
    plain.until("refused", |told| !told.errors.is_empty()).await;
}

/// Tasks on another node are reached where that node says; a node that is drained lets its tasks go; without a
/// leader nothing is removed.
#[tokio::test(flavor = "multi_thread")]
async fn i2_a_second_node_its_drain_and_the_loss_of_the_leader() {
    if !available() {
        return;
    }
    let mut first = Engine::start();
    let second = Engine::start();
    let [first_address, second_address] = second.link(Some(&first));
    first.swarm_at(&first_address);
    let token = first.docker(&["swarm", "join-token", "-q", "manager"]);
    second.docker(&[
        "swarm",
        "join",
        "--advertise-addr",
        &second_address,
        "--token",
        &token,
        &format!("{first_address}:2377"),
    ]);
    let far = second.docker(&["info", "-f", "{{.Swarm.NodeID}}"]);
    first.service(
        "web",
        &[
            "--mode",
            "global",
            "--network",
            "mesh",
            "-p",
            "mode=host,target=80,published=8080",
            "-l",
            "lb.weight=9",
        ],
    );
    let mut config = swarm::config(&first);
    config.managers.push(ConnectionConfig::at(second.host()));
    config.reach.from = ReachFrom::Host;
    let told = Follower::new(SwarmSource::new(config));
    told.until("a task on each node", |told| told.ready("web") == 2)
        .await;
    let remote = ("web".to_owned(), format!("{second_address}:8080"));
    let local = ("web".to_owned(), "127.0.0.1:8080".to_owned());
    let endpoints = told.endpoints();
    assert!(
        endpoints.contains_key(&remote) && endpoints.contains_key(&local),
        "{endpoints:?}"
    );
    assert!(
        first.fetch(&remote.1).is_some(),
        "the other node's task answers there"
    );

    first.docker(&["node", "update", "--availability", "drain", &far]);
    told.until("the other node's task drained", |told| {
        matches!(
            told.endpoints().get(&remote),
            Some(EndpointState::Draining { .. })
        )
    })
    .await;
    told.until("the other node's task gone", |told| {
        !told.endpoints().contains_key(&remote)
    })
    .await;
    assert_eq!(told.look(|told| told.ready("web")), 1);
    first.docker(&["node", "update", "--availability", "active", &far]);
    told.until("a task on each node again", |told| told.ready("web") == 2)
        .await;

    // One of two managers is no majority: the other one answers that there is no leader.
    first.halt();
    told.until("no leader", |told| {
        told.errors.iter().any(|error| error.contains("leader"))
    })
    .await;
    assert_eq!(told.look(|told| told.records.len()), 2, "all is kept");
    first.boot();
    told.until("followed again", |told| {
        !told.stale && told.ready("web") == 2
    })
    .await;
}
