//! What must hold while an engine restarts, freezes, loses events or cuts its links.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lb_core::Update;
use lb_docker::{ConnectionConfig, DockerConfig, DockerSource};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy},
    net::{UnixListener, UnixStream},
    task::AbortHandle,
};

use crate::{
    containers::{config, follow},
    support::{
        engine::{CHECKED_IMAGE, Engine, IMAGE, available},
        follower::{Follower, Told},
    },
};

/// Runs `count` containers of one service, several at a time.
fn run_many(engine: &Engine, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("many-{number}")).collect();
    let create = |port: usize, name: &str| {
        let port = port.to_string();
        let label = format!("lb.port={port}");
        // A network of its own takes most of the time to start one; what is counted here needs none.
        engine.docker(&[
            "create",
            "--name",
            name,
            "--network",
            "host",
            "-l",
            "lb.service=web",
            "-l",
            &label,
            IMAGE,
            &port,
        ]);
    };
    let create = &create;
    std::thread::scope(|scope| {
        for (part, names) in names.chunks(count.div_ceil(4)).enumerate() {
            scope.spawn(move || {
                for (number, name) in names.iter().enumerate() {
                    create(9000 + part * count + number, name);
                }
            });
        }
    });
    let mut arguments = vec!["start"];
    arguments.extend(names.iter().map(String::as_str));
    engine.docker(&arguments);
    names
}

fn services(told: &Told) -> BTreeSet<String> {
    told.records
        .keys()
        .map(|key| key.service.to_string())
        .collect()
}

/// Returns `true` if an update took something away.
fn removes(update: &Update, kept: &str) -> bool {
    match update {
        Update::Batch { remove, .. } => remove.iter().any(|key| key.service.as_str() == kept),
        Update::Reset { records, .. } => !records
            .iter()
            .any(|record| record.key.service.as_str() == kept),
        _ => false,
    }
}

/// An engine that restarts, on a socket file made anew, is listed again; what runs on is never taken away.
#[tokio::test(flavor = "multi_thread")]
async fn i2_an_engine_restart_removes_nothing_that_still_runs() {
    if !available() {
        return;
    }
    let mut engine = Engine::start();
    engine.live_restore();
    engine.run("stays", &["-l", "lb.service=stays"]);
    engine.run("goes", &["-l", "lb.service=goes"]);
    let told = follow(config(&engine));
    told.until("listed", |told| {
        told.ready("stays") == 1 && told.ready("goes") == 1
    })
    .await;
    engine.halt();
    told.until("known to be stale", |told| told.stale).await;
    assert_eq!(
        told.look(|told| told.ready("stays") + told.ready("goes")),
        2,
        "all is kept"
    );
    engine.boot();
    told.until("listed again", |told| told.resets == 2).await;
    engine.docker(&["rm", "-f", "goes"]);
    engine.run("comes", &["-l", "lb.service=comes"]);
    told.until("followed again", |told| {
        services(told) == ["stays".to_owned(), "comes".to_owned()].into()
            && told.ready("comes") == 1
    })
    .await;
    let lost = told.look(|told| told.log.iter().any(|said| removes(&said.update, "stays")));
    assert!(!lost, "what ran on was taken away");
}

/// A frozen engine is noticed within the liveness bound, nothing is removed meanwhile, and what changed is seen
/// after the thaw.
#[tokio::test(flavor = "multi_thread")]
async fn p11_a_frozen_engine_is_noticed_and_nothing_is_removed() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    engine.run("web", &["-l", "lb.service=web"]);
    let mut config = config(&engine);
    config.ping_interval = Duration::from_millis(300);
    let told = follow(config);
    told.until("listed", |told| told.ready("web") == 1).await;
    engine.freeze();
    told.until("known to be stale", |told| told.stale).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(told.look(|told| told.ready("web")), 1, "nothing is removed");
    engine.thaw();
    told.until("fresh again", |told| !told.stale).await;
    engine.run("more", &["-l", "lb.service=web"]);
    told.until("followed again", |told| told.ready("web") == 2)
        .await;
    let lost = told.look(|told| told.log.iter().any(|said| removes(&said.update, "web")));
    assert!(!lost, "what ran on was taken away");
}

/// Among two hundred containers, health that flaps costs one call for each flap, not one for each container. Removed
/// all at once, they roll the engine's event ring over; in the end what is told is what a fresh listing tells, and
/// the one that stays was never taken away.
#[tokio::test(flavor = "multi_thread")]
async fn i4_calls_follow_changes_and_p12_a_full_event_ring_ends_equal_to_a_fresh_listing() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    let proxy = Proxy::start(&engine);
    engine.run("stays", &["-l", "lb.service=stays"]);
    let many = 200 - FLAPPING;
    let names = run_many(&engine, many);
    for number in 0..FLAPPING {
        let name = format!("flaps-{number}");
        engine.run_image(CHECKED_IMAGE, &name, &["-l", "lb.service=flaps"]);
    }
    let mut quiet = proxy.config();
    quiet.ping_interval = Duration::from_secs(600);
    quiet.resync_interval = Duration::from_secs(600);
    let told = follow(quiet);
    told.until("listed", |told| {
        told.ready("web") == many && told.ready("flaps") == FLAPPING
    })
    .await;
    let before = proxy.calls();
    let turn = |what: &str| {
        for number in 0..FLAPPING {
            engine.docker(&["exec", &format!("flaps-{number}"), "/server", what]);
        }
    };
    let rounds = 5;
    for _ in 0..rounds {
        turn("sick");
        told.until("sick", |told| told.ready("flaps") == 0).await;
        turn("well");
        told.until("well", |told| told.ready("flaps") == FLAPPING)
            .await;
    }
    assert_eq!(
        proxy.calls() - before,
        2 * rounds * FLAPPING,
        "one inspection for each change of health"
    );

    let mut arguments = vec!["rm", "-f"];
    arguments.extend(names.iter().map(String::as_str));
    engine.docker(&arguments);
    told.until("all gone", |told| told.records.len() == 1 + FLAPPING)
        .await;
    let fresh = follow(config(&engine));
    fresh.until("listed", |told| told.resets == 1).await;
    assert_eq!(
        told.look(|told| told.records.clone()),
        fresh.look(|told| told.records.clone())
    );
    let lost = told.look(|told| told.log.iter().any(|said| removes(&said.update, "stays")));
    assert!(!lost, "what ran on was taken away");
}

/// The number of containers whose health flaps.
const FLAPPING: usize = 4;

/// A proxy before the engine's socket that counts requests and cuts links.
struct Proxy {
    path: std::path::PathBuf,
    calls: Arc<AtomicUsize>,
    open: Arc<AtomicBool>,
    links: Arc<std::sync::Mutex<Vec<AbortHandle>>>,
    task: AbortHandle,
}

impl Proxy {
    fn start(engine: &Engine) -> Self {
        let path = engine.dir().join("proxy");
        let listener = UnixListener::bind(&path).unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let open = Arc::new(AtomicBool::new(true));
        let links: Arc<std::sync::Mutex<Vec<AbortHandle>>> = Arc::default();
        let (counted, allowed, held) = (Arc::clone(&calls), Arc::clone(&open), Arc::clone(&links));
        let engine = engine.socket();
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                if !allowed.load(Ordering::SeqCst) {
                    continue;
                }
                let engine = engine.clone();
                let counted = Arc::clone(&counted);
                let link = tokio::spawn(async move {
                    let far = UnixStream::connect(engine).await.unwrap();
                    let (mut answers, requests) = far.into_split();
                    let (asks, mut answered) = near.into_split();
                    let _broken = tokio::join!(
                        pass_requests(asks, requests, &counted),
                        copy(&mut answers, &mut answered)
                    );
                });
                held.lock().unwrap().push(link.abort_handle());
            }
        });
        Self {
            path,
            calls,
            open,
            links,
            task: task.abort_handle(),
        }
    }

    fn config(&self) -> DockerConfig {
        let mut config = DockerConfig::default();
        config.connection = ConnectionConfig::at(format!("unix://{}", self.path.display()));
        config
    }

    /// Breaks every connection.
    fn cut(&self) {
        for link in self.links.lock().unwrap().drain(..) {
            link.abort();
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Passes requests on, none of which has a body, and counts them by the ends of their heads.
async fn pass_requests(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counted: &AtomicUsize,
) -> std::io::Result<()> {
    let end = b"\r\n\r\n";
    let mut matched = 0;
    let mut buffer = [0; 4096];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let (part, _) = buffer.split_at(length);
        for byte in part {
            matched = match end.get(matched) == Some(byte) {
                true => matched + 1,
                false => usize::from(end.first() == Some(byte)),
            };
            if matched == end.len() {
                counted.fetch_add(1, Ordering::SeqCst);
                matched = 0;
            }
        }
        to.write_all(part).await?;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

/// Links that are cut at any moment lead to a new listing: nothing that runs is removed, nothing is missed.
#[tokio::test(flavor = "multi_thread")]
async fn p7_links_cut_at_any_moment_lose_nothing() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    let proxy = Proxy::start(&engine);
    engine.run("stays", &["-l", "lb.service=stays"]);
    let told = Follower::new(DockerSource::new(proxy.config()));
    told.until("listed", |told| told.ready("stays") == 1).await;
    for round in 0..6u64 {
        let name = format!("web-{round}");
        engine.run(&name, &["-l", "lb.service=web"]);
        tokio::time::sleep(Duration::from_millis(round * 7)).await;
        proxy.cut();
        if round % 2 == 1 {
            proxy.open.store(false, Ordering::SeqCst);
            engine.docker(&["rm", "-f", &name]);
            proxy.open.store(true, Ordering::SeqCst);
        }
    }
    told.until("all seen", |told| {
        told.ready("web") == 3 && told.records.len() == 4
    })
    .await;
    assert!(told.look(|told| told.resets) > 1, "links were cut");
    let lost = told.look(|told| told.log.iter().any(|said| removes(&said.update, "stays")));
    assert!(!lost, "what ran on was taken away");
}
