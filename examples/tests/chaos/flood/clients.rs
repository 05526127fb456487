//! Clients that connect to the agent and say nothing.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::AsyncReadExt as _,
    net::{TcpStream, UnixStream},
    runtime::Handle,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Going;

/// The number of clients, half of them at each of the agent's sockets.
const CLIENTS: usize = 1000;
/// The time one that was closed waits before it connects again.
const AGAIN: Duration = Duration::from_secs(1);

/// All of them.
pub(super) struct Clients {
    tasks: JoinSet<()>,
    connected: Arc<AtomicU64>,
}

impl Clients {
    pub(super) fn start(on: &Handle, port: SocketAddr, socket: PathBuf, going: Going) -> Self {
        let connected = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for at in 0..CLIENTS {
            let (socket, going) = (socket.clone(), going.clone());
            let connected = Arc::clone(&connected);
            let client = async move {
                while going.on() {
                    let closed = async {
                        match at % 2 {
                            0 => {
                                let mut stream = TcpStream::connect(port).await?;
                                connected.fetch_add(1, Ordering::Relaxed);
                                stream.read(&mut [0]).await
                            }
                            _ => {
                                let mut stream = UnixStream::connect(&socket).await?;
                                connected.fetch_add(1, Ordering::Relaxed);
                                stream.read(&mut [0]).await
                            }
                        }
                    };
                    // However it ends, the next one follows.
                    let _ = timeout(Duration::from_secs(30), closed).await;
                    sleep(AGAIN).await;
                }
            };
            tasks.spawn_on(client, on);
        }
        Self { tasks, connected }
    }

    /// The number of clients, and the number of their connections.
    pub(super) async fn end(mut self) -> (usize, u64) {
        self.tasks.shutdown().await;
        (CLIENTS, self.connected.load(Ordering::Relaxed))
    }
}
