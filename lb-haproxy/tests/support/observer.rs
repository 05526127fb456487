//! Servers that know of each other's sessions, and users of theirs.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Servers of which never two may have sessions at a time. A session begins with its first byte: HAProxy 3.0 may leave a
/// connection open that it was making while sessions were shut down, and never sends anything over it.
pub(crate) struct Observer {
    pub(crate) addresses: Vec<SocketAddr>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The connections that are open, each with its server.
    open: Vec<(usize, TcpStream)>,
    /// The times at which servers got a session, and when the last of each was seen to end.
    begun: Vec<(Instant, usize)>,
    ended: Vec<(Instant, usize)>,
    two: Vec<String>,
}

impl Observer {
    /// So many servers, each on a port of its own. A server answers each byte with its number.
    pub(crate) fn start(count: usize) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let addresses = (0..count).map(|at| serve(at, &seen)).collect();
        Self { addresses, seen }
    }

    /// The time before a swap.
    pub(crate) fn note_swap(&self) -> Instant {
        let mut seen = lock(&self.seen);
        // What was before is of no interest, and would only grow.
        let last = seen.ended.pop();
        seen.ended = last.into_iter().collect();
        Instant::now()
    }

    /// Waits until a server has a session.
    pub(crate) async fn serves(&self, at: usize, limit: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < limit {
            if self.has_session(at) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        false
    }

    fn has_session(&self, at: usize) -> bool {
        let seen = lock(&self.seen);
        let mut open = seen.open.iter();
        open.any(|(server, stream)| *server == at && is_open(stream))
    }

    /// The time between the last session of one server and the first of the other.
    pub(crate) fn gap_since(&self, before: Instant, old: usize, new: usize) -> Duration {
        let seen = lock(&self.seen);
        let first = seen
            .begun
            .iter()
            .find(|(at, server)| *at >= before && *server == new);
        let first = first.map_or_else(Instant::now, |(at, _)| *at);
        let last = seen
            .ended
            .iter()
            .filter(|(at, server)| *at <= first && *server == old);
        let last = last.map(|(at, _)| *at).max().unwrap_or(before);
        first.saturating_duration_since(last.max(before))
    }

    pub(crate) fn accepted(&self) -> usize {
        lock(&self.seen).begun.len()
    }

    /// Fails if two servers had sessions at the same time.
    pub(crate) fn check(&self, what: &str) {
        let seen = lock(&self.seen);
        assert!(seen.two.is_empty(), "{what}: {:#?}", seen.two);
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns `true` unless the other end has closed it, whatever is still unread.
fn is_open(stream: &TcpStream) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::RDHUP)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut polled, Some(&at_once)).is_ok_and(|ready| ready == 0)
}

fn serve(at: usize, seen: &Arc<Mutex<Seen>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::clone(seen);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&seen);
            thread::spawn(move || answer(at, stream, &seen));
        }
    });
    address
}

/// A server gets a session: no other may have one.
fn begin(at: usize, stream: &TcpStream, seen: &Mutex<Seen>) {
    let mut seen = lock(seen);
    let others: Vec<usize> = seen
        .open
        .iter()
        .filter(|(server, stream)| *server != at && is_open(stream))
        .map(|(server, _)| *server)
        .collect();
    // It may have been waiting to be accepted since before those of others began.
    if !others.is_empty() && is_open(stream) {
        let told: Vec<String> = seen
            .begun
            .iter()
            .map(|(when, server)| (when.elapsed(), format!("begun at {server}")))
            .chain(
                seen.ended
                    .iter()
                    .map(|(when, server)| (when.elapsed(), format!("ended at {server}"))),
            )
            .filter(|(ago, _)| *ago < Duration::from_millis(60))
            .map(|(ago, what)| format!("{ago:?} ago {what}"))
            .collect();
        seen.two.push(format!(
            "server {at} gets a session while {others:?} have some: {told:?}"
        ));
    }
    seen.begun.push((Instant::now(), at));
    if let Ok(stream) = stream.try_clone() {
        seen.open.push((at, stream));
    }
}

fn answer(at: usize, mut stream: TcpStream, seen: &Mutex<Seen>) {
    let mut byte = [0];
    let number = [u8::try_from(at).unwrap_or(u8::MAX)];
    if stream.read_exact(&mut byte).is_err() {
        return;
    }
    begin(at, &stream, seen);
    while stream.write_all(&number).is_ok() && stream.read_exact(&mut byte).is_ok() {}
    let mut seen = lock(seen);
    let own = stream.peer_addr().ok();
    seen.open
        .retain(|(_, other)| is_open(other) && other.peer_addr().ok() != own);
    seen.ended.push((Instant::now(), at));
}

/// One session through a frontend that was answered once.
pub(crate) fn session(front: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&front, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(b"x").ok()?;
    stream.read_exact(&mut [0]).ok()?;
    Some(stream)
}

/// Users who keep their session for as long as it works, and one who never does.
pub(crate) struct Users {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Users {
    pub(crate) fn start(front: SocketAddr, count: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let threads = (0..count).map(|user| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || use_until(front, user > 0, &stop))
        });
        let threads = threads.collect();
        Self { stop, threads }
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn use_until(front: SocketAddr, keeps: bool, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut own = session(front);
        while let Some(stream) = own.as_mut().filter(|_| keeps) {
            let works = stream.write_all(b"x").is_ok() && stream.read_exact(&mut [0]).is_ok();
            if !works || stop.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(Duration::from_millis(3));
        }
        drop(own);
        thread::sleep(Duration::from_millis(2));
    }
}
