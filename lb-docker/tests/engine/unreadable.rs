//! An engine whose description of single containers cannot be read for a while.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lb_core::Update;
use lb_docker::ConnectionConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::AbortHandle,
};

use crate::{
    containers::{config, follow},
    support::{
        engine::{Engine, available},
        follower::Told,
    },
};

/// An answer that is no description of a container.
const NOTHING: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]";

/// Stands before an engine and answers in its place what is asked of single containers, until told not to.
struct Liar {
    lies: Arc<AtomicBool>,
    host: String,
    task: AbortHandle,
}

impl Liar {
    fn new(engine: &Engine) -> Self {
        let path = engine.dir().join("liar.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let lies = Arc::<AtomicBool>::default();
        let (socket, told) = (engine.socket(), Arc::clone(&lies));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (socket, lies) = (socket.clone(), Arc::clone(&told));
                tokio::spawn(async move { carry(client, &socket, &lies).await });
            }
        });
        Self {
            lies,
            host: format!("unix://{}", path.display()),
            task: task.abort_handle(),
        }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: UnixStream, socket: &Path, lies: &AtomicBool) -> io::Result<()> {
    let mut engine = UnixStream::connect(socket).await?;
    let (mut asked, mut told) = (vec![0; 16 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            count = client.read(&mut asked) => {
                let said = asked.get(..count?).unwrap_or_default();
                if said.is_empty() {
                    return Ok(());
                }
                let line = String::from_utf8_lossy(said);
                let line = line.lines().next().unwrap_or_default();
                let is_single = line.contains("/containers/") && !line.contains("/containers/json");
                match is_single && lies.load(Ordering::SeqCst) {
                    true => client.write_all(NOTHING).await?,
                    false => engine.write_all(said).await?,
                }
            }
            count = engine.read(&mut told) => {
                let said = told.get(..count?).unwrap_or_default();
                if said.is_empty() {
                    return Ok(());
                }
                client.write_all(said).await?;
            }
        }
    }
}

/// The objects of which something is wrong now.
fn unread(told: &Told) -> BTreeSet<&str> {
    let mut objects = BTreeSet::new();
    for said in &told.log {
        match &said.update {
            Update::Diagnostic(diagnostic) => objects.insert(diagnostic.object.as_str()),
            Update::Resolved { object } => objects.remove(object.as_str()),
            _ => continue,
        };
    }
    objects
}

/// A diagnostic of a container that cannot be read is over when it is read, or gone, without a listing of all.
#[tokio::test(flavor = "multi_thread")]
async fn case_p23_what_is_said_of_an_unreadable_container_ends_with_it() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    let liar = Liar::new(&engine);
    engine.run("stays", &["-l", "lb.service=stays"]);
    let mut config = config(&engine);
    config.connection = ConnectionConfig::at(liar.host.clone());
    let told = follow(config);
    told.until("listed", |told| told.ready("stays") == 1).await;

    liar.lies.store(true, Ordering::SeqCst);
    engine.docker(&["pause", "stays"]);
    let never_read = engine.run("goes", &["-l", "lb.service=goes"]);
    told.until("both are told of", |told| unread(told).len() == 2)
        .await;
    engine.docker(&["rm", "-f", never_read.trim()]);
    told.until("one is gone", |told| unread(told).len() == 1)
        .await;
    liar.lies.store(false, Ordering::SeqCst);
    engine.docker(&["unpause", "stays"]);
    told.until("the other one is read", |told| {
        unread(told).is_empty() && told.ready("stays") == 1
    })
    .await;
    assert_eq!(told.look(|told| told.resets), 1, "nothing was listed again");
}
