//! Listens to a conversation: what is really said on the socket, whatever the speaker believes.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::{JoinHandle, JoinSet},
};

/// A socket that passes everything on to another, both ways, and counts the commands. Dropping it closes all.
#[derive(Debug)]
pub struct Tap {
    heard: Arc<Mutex<Heard>>,
    listening: JoinHandle<()>,
}

/// The bytes that were sent so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Commands that can change something.
    pub changes: u64,
    /// Those of them that concern a server, by its backend.
    pub backends: BTreeMap<String, u64>,
    /// The last of them.
    pub last: VecDeque<String>,
    /// All other commands.
    pub reads: u64,
    /// Bytes of all commands.
    pub bytes: u64,
}

/// The number of changing commands that are kept for the report.
const KEPT: usize = 20;
/// Words that begin a command which changes nothing outside its own conversation.
const READS: [&str; 6] = [
    "show ",
    "prompt",
    "set severity-output ",
    "set timeout cli ",
    "get ",
    "echo ",
];

impl Tap {
    /// Listens at a Unix socket, and passes on to another.
    ///
    /// # Errors
    /// Fails if it cannot listen there.
    pub fn unix(at: PathBuf, target: PathBuf) -> io::Result<Self> {
        let listener = UnixListener::bind(at)?;
        Ok(Self::start(Near::Unix(listener), Far::Unix(target)))
    }

    /// Listens at an address, and passes on to another.
    ///
    /// # Errors
    /// Fails if it cannot listen there.
    pub async fn tcp(at: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        Ok(Self::start(Near::Tcp(listener), Far::Tcp(target)))
    }

    fn start(near: Near, far: Far) -> Self {
        let heard = Arc::default();
        let listening = tokio::spawn(listen(near, far, Arc::clone(&heard)));
        Self { heard, listening }
    }

    /// The bytes that were sent so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Heard {
    fn line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        if line.is_empty() || READS.iter().any(|read| line.starts_with(read.trim_end())) {
            self.reads += u64::from(!line.is_empty());
            return;
        }
        self.changes += 1;
        let mut words = line.split_whitespace();
        let server = words.find_map(|word| word.split_once('/'));
        if let Some((backend, _)) = server.filter(|(backend, _)| !backend.is_empty()) {
            *self.backends.entry(backend.to_owned()).or_default() += 1;
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }
}

/// The side of a tap on which clients connect.
enum Near {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// The side of a tap to which it passes on.
#[derive(Clone)]
enum Far {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// One side of a conversation.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Near {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

impl Far {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        })
    }
}

async fn listen(near: Near, far: Far, heard: Arc<Mutex<Heard>>) {
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            accepted = near.accept() => {
                let Ok(near) = accepted else { return };
                conversations.spawn(pass_on(near, far.clone(), Arc::clone(&heard)));
            }
            Some(_) = conversations.join_next() => {}
        }
    }
}

/// Ends when either side does: both ends then see what became of the other.
async fn pass_on(near: Box<dyn Stream>, far: Far, heard: Arc<Mutex<Heard>>) {
    let Ok(far) = far.connect().await else {
        return;
    };
    let (near_read, near_write) = split(near);
    let (far_read, far_write) = split(far);
    tokio::select! {
        _ = copy(near_read, far_write, Some(&heard)) => {}
        _ = copy(far_read, near_write, None) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    heard: Option<&Mutex<Heard>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut line = Vec::new();
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        if let Some(heard) = heard {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.bytes += count as u64;
            for byte in bytes {
                match byte {
                    b'\n' | b';' => heard.line(&std::mem::take(&mut line)),
                    _ => line.push(*byte),
                }
            }
        }
        to.write_all(bytes).await?;
    }
}
