//! Registrations in real etcd: there while the endpoint lives, gone within milliseconds when it leaves.

use std::time::Duration;

use lb_core::EndpointState;
use lb_etcd::{
    AuthConfig, ConnectionConfig, EtcdConfig, EtcdSource,
    registration::{
        Advert, Entry, Health, Phase, Probe, Registration, RegistrationConfig, SerfEvent,
        SerfHandler,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{
    eventually,
    server::{Member, Options, binaries, free_port, leader},
    supervisor::{Seen, Supervisor},
};

fn advert() -> Advert {
    Advert::new(
        "web".parse().unwrap(),
        "web-1".parse().unwrap(),
        "192.0.2.7:80".parse().unwrap(),
    )
}

fn config(members: &[Member], entry: Entry) -> RegistrationConfig {
    let mut connection = ConnectionConfig::new(members.iter().map(Member::endpoint));
    connection.connect_timeout = Duration::from_secs(1);
    connection.request_timeout = Duration::from_secs(2);
    let mut config = RegistrationConfig::new(connection, [entry]);
    config.ttl = Duration::from_secs(2);
    config.max_backoff = Duration::from_millis(200);
    config
}

fn follow(members: &[Member]) -> Supervisor {
    let mut config = EtcdConfig::new(members.iter().map(Member::endpoint));
    config.liveness = Duration::from_secs(3);
    Supervisor::start(EtcdSource::new("etcd".parse().unwrap(), config).unwrap())
}

fn state(seen: &Seen) -> Option<EndpointState> {
    let record = seen.records.values().next()?;
    Some(record.endpoint.as_ref()?.state)
}

const KEY: &str = "/lb/endpoints/web/web-1";

/// An endpoint that leaves drains first; then it is gone at once, with its lease.
#[tokio::test(flavor = "multi_thread")]
async fn i8_a_leaving_endpoint_drains_and_is_gone() {
    for binary in binaries() {
        let members = [Member::single(&binary)];
        let supervisor = follow(&members);
        let mut advert = advert();
        advert.drain = Duration::from_millis(700);
        let mut config = config(&members, advert.entry());
        config.drain = advert.drain;
        let registration = Registration::start(config).unwrap();
        supervisor
            .until("the endpoint", |seen| {
                state(seen) == Some(EndpointState::Ready)
            })
            .await;

        let leaving = tokio::spawn(registration.leave());
        let drains = Some(EndpointState::Draining {
            grace: Some(advert.drain),
        });
        supervisor
            .until("the drain", |seen| state(seen) == drains)
            .await;
        leaving.await.unwrap().unwrap();
        // Revoked before we are told that it left, so the store has it no more.
        assert_eq!(members[0].api().get(KEY), None);
        assert_eq!(members[0].api().leases(), Vec::<i64>::new());
        supervisor
            .until("the removal", |seen| seen.records.is_empty())
            .await;
    }
}

/// An endpoint that dies without a word is gone when its lease has ended; no lease is left over.
#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_endpoint_ends_with_its_lease() {
    for binary in binaries() {
        let members = [Member::single(&binary)];
        let api = members[0].api();
        let registration = Registration::start(config(&members, advert().entry())).unwrap();
        eventually("the key", || api.get(KEY)).await;
        drop(registration);
        eventually("the end of the lease", || {
            api.get(KEY).is_none().then_some(())
        })
        .await;
        assert_eq!(api.leases(), Vec::<i64>::new());
    }
}

/// Whatever loses the registration, it comes back: the lease revoked, the key deleted by another, etcd restarted,
/// another etcd in its place, the member in use killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_registration_comes_back() {
    for binary in binaries() {
        let mut members = vec![Member::single(&binary)];
        let api = members[0].api();
        let registration = Registration::start(config(&members, advert().entry())).unwrap();
        let value = eventually("the key", || api.get(KEY)).await;
        let status = registration.status();

        let first = eventually("the lease", || status.borrow().lease).await;
        api.revoke(first);
        eventually("another lease", || {
            let lease = status.borrow().lease;
            (lease != Some(first) && api.get(KEY).is_some()).then_some(())
        })
        .await;

        api.delete(KEY);
        eventually("the key after its deletion", || api.get(KEY)).await;
        api.put(KEY, "stolen");
        eventually("the key after it was overwritten", || {
            (api.get(KEY)? == value).then_some(())
        })
        .await;

        members[0].kill();
        members[0].start().unwrap();
        eventually("the key after the restart", || api.get(KEY)).await;

        members[0].kill();
        members[0].become_another_cluster();
        members[0].start().unwrap();
        eventually("the key in another cluster", || api.get(KEY)).await;
        registration.leave().await.unwrap();
        assert_eq!(api.get(KEY), None);
    }

    for binary in binaries() {
        let mut members = Member::three(&binary);
        let lost = leader(&members, 0);
        members.swap(0, lost);
        let registration = Registration::start(config(&members, advert().entry())).unwrap();
        let supervisor = follow(&members[1..]);
        supervisor
            .until("the endpoint", |seen| seen.records.len() == 1)
            .await;
        members[0].kill();
        leader(&members, 1);
        let mut status = registration.status();
        let endpoint_stays = tokio::time::timeout(
            crate::support::PATIENCE,
            status.wait_for(|status| status.written == Some(Phase::Ready)),
        );
        endpoint_stays.await.unwrap().unwrap();
        registration.leave().await.unwrap();
        supervisor
            .until("the removal", |seen| seen.records.is_empty())
            .await;
    }
}

/// A server that answers HTTP with one status after the other.
async fn answer(listener: TcpListener, mut status: tokio::sync::watch::Receiver<u16>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 256];
        let _ = stream.read(&mut request).await;
        let status = *status.borrow_and_update();
        let _ = stream
            .write_all(format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").as_bytes())
            .await;
    }
}

/// The health check admits the endpoint, takes it down and admits it again; until it passes, nothing is written.
#[tokio::test(flavor = "multi_thread")]
async fn i9_health_admits() {
    for binary in binaries() {
        let members = [Member::single(&binary)];
        let api = members[0].api();
        let supervisor = follow(&members);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut probe = Probe::new(listener.local_addr().unwrap());
        probe.interval = Duration::from_millis(50);
        let (status, seen_status) = tokio::sync::watch::channel(503);
        let server = tokio::spawn(answer(listener, seen_status));

        let mut config = config(&members, advert().entry());
        config.health = Health::Http {
            probe,
            path: "/healthz".to_owned(),
        };
        let registration = Registration::start(config).unwrap();
        supervisor
            .until("down", |seen| state(seen) == Some(EndpointState::Down))
            .await;
        status.send_replace(204);
        supervisor
            .until("ready", |seen| state(seen) == Some(EndpointState::Ready))
            .await;
        status.send_replace(500);
        supervisor
            .until("down again", |seen| {
                state(seen) == Some(EndpointState::Down)
            })
            .await;
        server.abort();
        registration.leave().await.unwrap();
        assert_eq!(api.get(KEY), None);
    }
}

/// A port that nobody listens on is never admitted; the program's own word is believed.
#[tokio::test(flavor = "multi_thread")]
async fn i9_ports_and_programs_admit() {
    for binary in binaries() {
        let members = [Member::single(&binary)];
        let api = members[0].api();
        let mut probe = Probe::new(free_port());
        probe.interval = Duration::from_millis(50);
        let plain = Entry::plain("/proxy/frontend/web1", "192.0.2.7:80");
        let mut closed = config(&members, plain.clone());
        closed.health = Health::Tcp(probe);
        let registration = Registration::start(closed).unwrap();
        let mut status = registration.status();
        status
            .wait_for(|status| status.written == Some(Phase::Down))
            .await
            .unwrap();
        assert_eq!(api.get("/proxy/frontend/web1"), None);
        registration.leave().await.unwrap();

        let mut told = config(&members, plain);
        told.health = Health::Reported;
        let registration = Registration::start(told).unwrap();
        let mut status = registration.status();
        status
            .wait_for(|status| status.written == Some(Phase::Unknown))
            .await
            .unwrap();
        assert_eq!(api.get("/proxy/frontend/web1"), None);
        registration.report(true);
        eventually("the key", || api.get("/proxy/frontend/web1")).await;
        registration.report(false);
        eventually("no key", || {
            api.get("/proxy/frontend/web1").is_none().then_some(())
        })
        .await;
        registration.leave().await.unwrap();
    }
}

/// With no etcd at all, leaving ends within its bound and says so.
#[tokio::test(flavor = "multi_thread")]
async fn leaving_is_bounded() {
    for binary in binaries() {
        let mut members = [Member::single(&binary)];
        let registration = Registration::start(config(&members, advert().entry())).unwrap();
        eventually("the key", || members[0].api().get(KEY)).await;
        members[0].kill();
        let error = registration.leave().await.unwrap_err();
        println!("{error}");
    }
}

/// The events of serf write and remove what the example with confd has keys for.
#[tokio::test(flavor = "multi_thread")]
async fn serf_events_are_written() {
    for binary in binaries() {
        let members = [Member::single(&binary)];
        let api = members[0].api();
        let handler = SerfHandler::new([
            (
                "/proxy/frontend/{name}".to_owned(),
                "{tag.ip}:{tag.port}".to_owned(),
            ),
            ("/proxy/serf/{name}".to_owned(), "{address}".to_owned()),
        ]);
        let input = "web1\t172.17.0.20\t\tip=192.0.2.7,port=9001\nweb2\t172.17.0.35\t\tip=192.0.2.7,port=9002\n";
        let connection = || ConnectionConfig::new(members.iter().map(Member::endpoint));
        for (event, expected) in [
            (SerfEvent::Join, Some("192.0.2.7:9002")),
            (SerfEvent::Join, Some("192.0.2.7:9002")),
            (SerfEvent::Failed, None),
            (SerfEvent::Failed, None),
        ] {
            let (puts, deletes) = handler.plan(event, input).unwrap();
            SerfHandler::write(connection(), &puts, &deletes)
                .await
                .unwrap();
            assert_eq!(api.get("/proxy/frontend/web2").as_deref(), expected);
        }
        assert_eq!(api.keys("/proxy/"), Vec::<String>::new());
    }
}

/// Tokens that expire under a registration are renewed: it stays, under the same lease or another.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed() {
    for binary in binaries() {
        let options = Options {
            extra: vec!["--auth-token-ttl".to_owned(), "1".to_owned()],
            ..Options::default()
        };
        let members = [Member::single_with(&binary, options)];
        let api = members[0].api();
        api.enable_auth();
        let mut config = config(&members, advert().entry());
        config.connection.auth = Some(AuthConfig::new("root", "root"));
        // Signs of life are further apart than a token lives without use.
        config.ttl = Duration::from_secs(9);
        let registration = Registration::start(config).unwrap();
        let mut status = registration.status();
        status
            .wait_for(|status| status.written.is_some())
            .await
            .unwrap();
        let told = tokio::time::timeout(
            Duration::from_secs(8),
            status.wait_for(|status| status.error.is_some()),
        )
        .await;
        let error = told.ok().and_then(|status| status.ok()?.error.clone());
        println!("{}: {error:?}", members[0].version());
        status
            .wait_for(|status| status.error.is_none() && status.written.is_some())
            .await
            .unwrap();
        registration.leave().await.unwrap();
        let token = api.authenticate();
        let range = serde_json::json!({ "key": crate::support::api::encode(KEY) });
        let answer = api.call_as(Some(&token), "/v3/kv/range", &range).unwrap();
        assert_eq!(answer.get("count"), None);
    }
}
