//! An engine that takes its time to tell of one container.

use std::{path::Path, time::Duration};

use lb_docker::ConnectionConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::AbortHandle,
};

use crate::{
    containers::{config, follow},
    support::engine::{Engine, available},
};

/// Stands before an engine and holds back what is asked of single containers, until told not to.
struct Brake {
    held: watch::Sender<bool>,
    host: String,
    task: AbortHandle,
}

impl Brake {
    fn new(engine: &Engine) -> Self {
        let path = engine.dir().join("brake.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (held, holds) = watch::channel(false);
        let socket = engine.socket();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (socket, holds) = (socket.clone(), holds.clone());
                tokio::spawn(async move { carry(client, &socket, holds).await });
            }
        });
        Self {
            held,
            host: format!("unix://{}", path.display()),
            task: task.abort_handle(),
        }
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: UnixStream, socket: &Path, mut holds: watch::Receiver<bool>) {
    let engine = UnixStream::connect(socket).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let answers = tokio::spawn(async move { copy(&mut from_engine, &mut to_client).await });
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
        let said = buffer.get(..count).unwrap();
        let line = String::from_utf8_lossy(said);
        let line = line.lines().next().unwrap_or_default();
        if line.contains("/containers/") && !line.contains("/containers/json") {
            // Nobody is left to let it go when the test is over.
            let _ended = holds.wait_for(|held| !held).await;
        }
        if to_engine.write_all(said).await.is_err() {
            break;
        }
    }
    answers.abort();
}

/// I8 and I1: whoever dies is out at once, whatever else the engine is still being asked. Its address may have another
/// owner soon.
#[tokio::test(flavor = "multi_thread")]
async fn i8_a_dead_container_is_out_though_the_engine_is_slow_to_tell_of_others() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    let brake = Brake::new(&engine);
    engine.run("dies", &["-l", "lb.service=dies"]);
    engine.run("stays", &["-l", "lb.service=stays"]);
    let mut config = config(&engine);
    config.connection = ConnectionConfig::at(brake.host.clone());
    let told = follow(config);
    told.until("listed", |told| {
        told.ready("dies") == 1 && told.ready("stays") == 1
    })
    .await;

    brake.held.send(true).unwrap();
    engine.run("late", &["-l", "lb.service=late"]);
    engine.run("ghost", &["-l", "lb.service=ghost"]);
    // Their starts are told before what follows: by now they are being asked about.
    tokio::time::sleep(Duration::from_millis(200)).await;
    engine.docker(&["rm", "-f", "dies", "ghost"]);
    told.until("the dead one is out", |told| told.ready("dies") == 0)
        .await;
    assert_eq!(told.look(|told| told.ready("late")), 0, "it is held back");
    brake.held.send(false).unwrap();
    told.until("the late one is in", |told| told.ready("late") == 1)
        .await;
    told.until("only those that run are there", |told| {
        told.ready("stays") == 1 && told.ready("ghost") == 0 && told.records.len() == 2
    })
    .await;
}
