//! Listens to a conversation: what is really said on the socket, whatever the speaker believes.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
    task::{JoinHandle, JoinSet},
};

/// A socket that passes everything on to another, both ways, and counts the commands. Dropping it closes all.
#[derive(Debug)]
pub struct Tap {
    socket: PathBuf,
    heard: Arc<Mutex<Heard>>,
    listening: JoinHandle<()>,
}

/// What was said so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Commands that can change something.
    pub changes: u64,
    /// The last of them.
    pub last: VecDeque<String>,
    /// All other commands.
    pub reads: u64,
    /// Bytes of all commands.
    pub bytes: u64,
}

/// How many changing commands are kept for the report.
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
    /// Listens beside `target`, under the same name with `.tap` added.
    pub(super) fn start(target: PathBuf) -> io::Result<Self> {
        let socket = target.with_extension("tap");
        let listener = UnixListener::bind(&socket)?;
        let heard = Arc::default();
        let listening = tokio::spawn(listen(listener, target, Arc::clone(&heard)));
        Ok(Self {
            socket,
            heard,
            listening,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// What was said so far.
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
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }
}

async fn listen(listener: UnixListener, target: PathBuf, heard: Arc<Mutex<Heard>>) {
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((near, _)) = accepted else { return };
                conversations.spawn(pass_on(near, target.clone(), Arc::clone(&heard)));
            }
            Some(_) = conversations.join_next() => {}
        }
    }
}

/// Ends when either side does: both ends then see what became of the other.
async fn pass_on(near: UnixStream, target: impl AsRef<Path>, heard: Arc<Mutex<Heard>>) {
    let Ok(far) = UnixStream::connect(target).await else {
        return;
    };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        _ = copy(near_read, far_write, Some(&heard)) => {}
        _ = copy(far_read, near_write, None) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
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
