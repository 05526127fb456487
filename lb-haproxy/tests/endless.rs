//! A HAProxy that contradicts itself in each of its answers: a relay that changes what a real one says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/side_by_side.rs"]
mod side_by_side;
mod support;

use std::{
    error::Error as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lb_core::{DriveError, Driver as _, Endpoint, Snapshot};
use lb_haproxy::{HaproxyDriver, TargetConfig, driver::DriverError, process::Executable};
use side_by_side::side_by_side;
use support::{Place, executables};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

const CONFIG: &str = "\
global
  stats socket DIR/admin.sock level admin mode 600 expose-fd listeners
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 1s
frontend main
  bind unix@DIR/front.sock
backend web
  server-template slot 1-4 127.0.0.1:1 disabled
";

/// The most passes until one finds no end.
const PASSES: u16 = 3000;

/// The most lines of one pass.
const MOST: usize = 2000;

/// The relay between the driver and HAProxy.
#[derive(Default)]
struct Relay {
    /// If `true`, each reading shows every server in another state than the reading before.
    lies: AtomicBool,
    /// The number of lines that were sent.
    asked: AtomicUsize,
}

impl Relay {
    fn start(place: &Path) -> (Arc<Self>, PathBuf) {
        let relay = Arc::new(Self::default());
        let (socket, real) = (place.join("relay.sock"), place.join("admin.sock"));
        let listener = UnixListener::bind(&socket).unwrap();
        let listening = Arc::clone(&relay);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (relay, real) = (Arc::clone(&listening), real.clone());
                tokio::spawn(async move { relay.converse(client, &real).await });
            }
        });
        (relay, socket)
    }

    async fn converse(&self, client: UnixStream, real: &Path) -> Option<()> {
        let mut client = BufReader::new(client);
        let mut server = UnixStream::connect(real).await.ok()?;
        let mut line = String::new();
        while client.read_line(&mut line).await.ok()? > 0 {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            server.write_all(line.as_bytes()).await.ok()?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\n> ") {
                answer.push(server.read_u8().await.ok()?);
            }
            if line.starts_with("show servers state") && self.lies.load(Ordering::Relaxed) {
                let text = String::from_utf8(answer).ok()?;
                answer = other_states(&text, number).into_bytes();
            }
            client.write_all(&answer).await.ok()?;
            line.clear();
        }
        None
    }
}

/// The table with every server in maintenance or ready, in turn.
fn other_states(text: &str, number: usize) -> String {
    let row = |(at, row): (usize, &str)| {
        let state = match (number + at).is_multiple_of(2) {
            true => "0",
            false => "1",
        };
        let is_slot = row.contains(" slot");
        let fields = row.split(' ').enumerate();
        let fields: Vec<&str> = fields
            .map(|(at, field)| if is_slot && at == 6 { state } else { field })
            .collect();
        fields.join(" ")
    };
    let rows: Vec<String> = text.split('\n').enumerate().map(row).collect();
    rows.join("\n")
}

fn desired(before: &Snapshot, address: &str) -> Arc<Snapshot> {
    let mut edit = before.edit();
    let endpoint = Endpoint::new(address.parse().unwrap());
    edit.set_endpoint(&"web".parse().unwrap(), &"web-1".parse().unwrap(), endpoint);
    Arc::new(edit.commit().unwrap())
}

/// Lets the driver go on until it is done with everything.
async fn settle(driver: &mut HaproxyDriver, desired: &Arc<Snapshot>) -> Result<(), DriveError> {
    for _ in 0..100 {
        let report = driver.converge(desired).await?;
        match report.again {
            Some(pause) if pause < Duration::from_secs(20) => tokio::time::sleep(pause).await,
            _ => return Ok(()),
        }
    }
    unreachable!("there is always more to do");
}

/// A pass over a peer whose answers contradict each other ends after a bounded number of questions, at worst as an error that
/// says so. When the peer has become honest, the next one does what was to be done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_h13_a_pass_that_finds_no_end_is_an_error_and_the_next_begins_anew() {
    side_by_side(executables(), async |executable: Executable| {
        let place = Place::new(CONFIG);
        let _haproxy = place.start(&executable).await;
        let (relay, socket) = Relay::start(place.dir.path());
        let socket = format!("unix@{}", socket.display()).parse().unwrap();
        let mut driver = HaproxyDriver::new(TargetConfig::new("edge".parse().unwrap(), socket));
        let mut wanted = desired(&Snapshot::default(), "127.0.0.1:9001");
        settle(&mut driver, &wanted).await.unwrap();

        relay.lies.store(true, Ordering::Relaxed);
        let mut endless = None;
        for number in 0..PASSES {
            if number % 5 == 0 {
                wanted = desired(&wanted, &format!("127.0.0.1:{}", 9002 + number));
            }
            let before = relay.asked.load(Ordering::Relaxed);
            let pass = driver.converge(&wanted).await;
            let asked = relay.asked.load(Ordering::Relaxed) - before;
            assert!(asked < MOST, "{asked} lines");
            if let Err(error) = pass {
                endless = Some(error);
                break;
            }
        }
        let error = endless.unwrap();
        let cause = error.source().unwrap().downcast_ref::<DriverError>();
        assert!(
            matches!(cause, Some(DriverError::Endless { rounds: 64 })),
            "{error:?}"
        );

        relay.lies.store(false, Ordering::Relaxed);
        wanted = desired(&wanted, "127.0.0.1:9001");
        settle(&mut driver, &wanted).await.unwrap();
        let report = driver.converge(&wanted).await.unwrap();
        assert!(report.converged && report.unmet.is_empty(), "{report:?}");
    })
    .await;
}
