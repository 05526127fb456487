//! The runtime socket of a simulated HAProxy, for a real client in virtual time, with faults.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{Interest, Ready},
    time::Instant,
};

use super::{ConnectionId, Random, Simulator};

/// The rate of each fault, in thousandths of all writes (or of all connections).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// A connection is refused.
    pub refuse: u64,
    /// A write arrives in part, then the connection ends.
    pub cut_write: u64,
    /// A reply arrives in part, then the connection ends.
    pub cut_reply: u64,
    /// A reply and all later ones never arrive; the connection stays open.
    pub hang: u64,
    /// A reply arrives late.
    pub delay: u64,
    /// Something else arrives in place of a reply.
    pub garbage: u64,
}

/// A simulated HAProxy at the path of a socket, on the time of the tokio runtime.
///
/// While it is [installed](Self::install), every client of the same thread that connects to a Unix socket, whatever
/// its path, speaks to it. Clones are the same HAProxy.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

struct State {
    simulator: Simulator,
    began: Instant,
    faults: Faults,
    random: Random,
    lines: BTreeMap<ConnectionId, Line>,
    identity: u64,
    /// Connections of an earlier life of the client are dead.
    life: u64,
    dead: bool,
    observer: Option<Observer>,
    changes: u64,
    log: Option<Vec<String>>,
}

/// After what an [`Observer`] is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment<'a> {
    /// A line from the socket ran that may have changed something.
    Line(&'a str),
    /// Such a line went to a worker that has been replaced.
    Stale(&'a str),
    /// The newest worker told its servers: those of this backend, or all.
    Read(Option<&'a str>),
    /// Time passed, and something changed by that.
    Time,
}

/// The function that is called after everything that may have changed the simulated HAProxy. It may do more to it;
/// whether it answers `true` or not decides whether all conversations go on, or end for the client as they do when its
/// process is killed.
pub type Observer = Box<dyn FnMut(&mut Simulator, Duration, Moment<'_>) -> bool + Send>;

#[derive(Debug, Default)]
struct Line {
    arrived: VecDeque<u8>,
    /// Bytes on their way, and when they arrive.
    late: VecDeque<(Duration, Vec<u8>)>,
    mute: bool,
    ended: bool,
}

thread_local! {
    static INSTALLED: RefCell<Option<Network>> = const { RefCell::new(None) };
}

/// Ends the installation of a [`Network`] when it is dropped.
#[derive(Debug)]
#[must_use = "the network is installed for as long as this lives"]
pub struct Installed(());

impl Drop for Installed {
    fn drop(&mut self) {
        INSTALLED.with(|installed| installed.replace(None));
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    /// A network whose time begins now.
    #[must_use]
    pub fn new(simulator: Simulator, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            simulator,
            began: now(),
            faults: Faults::default(),
            random: Random::new(seed),
            lines: BTreeMap::new(),
            identity: 1,
            life: 0,
            dead: false,
            observer: None,
            changes: 0,
            log: None,
        })))
    }

    /// Leads this thread's clients of Unix sockets here.
    pub fn install(&self) -> Installed {
        INSTALLED.with(|installed| installed.replace(Some(self.clone())));
        Installed(())
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Sets who is told of every change.
    pub fn set_observer(&self, observer: Observer) {
        self.state().observer = Some(observer);
    }

    /// Notes every line that is written, from now on.
    pub fn keep_log(&self) {
        self.state().log = Some(Vec::new());
    }

    /// Takes the lines that were written.
    #[must_use]
    pub fn take_log(&self) -> Vec<String> {
        self.state()
            .log
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// The number of commands that were written that may change something.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// The time since the network was made.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.state().elapsed()
    }

    /// Does something to the simulated HAProxy, as of now.
    pub fn with<R>(&self, act: impl FnOnce(&mut Simulator) -> R) -> R {
        let mut state = self.state();
        state.advance();
        let result = act(&mut state.simulator);
        state.pull_all();
        result
    }

    /// Ends all conversations as they end when the client's process is killed: nothing more is sent or read.
    pub fn kill(&self) {
        self.state().dead = true;
    }

    /// Lets a new life of the client connect, after it was killed.
    pub fn revive(&self) {
        let mut state = self.state();
        state.life += 1;
        state.dead = false;
    }

    /// Makes the socket's path lead to another socket, as a restart does.
    pub fn replace_socket(&self) {
        self.state().identity += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The installed network's side of a connection to a path; `None` where none is installed.
pub(crate) fn connect(_path: &Path) -> Option<io::Result<Wire>> {
    let network = INSTALLED.with(|installed| installed.borrow().clone())?;
    let mut state = network.state();
    state.advance();
    if state.dead {
        return Some(Err(io::ErrorKind::ConnectionRefused.into()));
    }
    let refuse = state.faults.refuse;
    let refused = state.random.chance(refuse);
    let id = match refused {
        true => None,
        false => state.simulator.connect(),
    };
    let Some(id) = id else {
        return Some(Err(io::ErrorKind::ConnectionRefused.into()));
    };
    state.lines.insert(id, Line::default());
    let life = state.life;
    drop(state);
    Some(Ok(Wire { network, id, life }))
}

/// A number for the socket behind a path; `None` where no network is installed.
pub(crate) fn identity() -> Option<u64> {
    INSTALLED.with(|installed| {
        installed
            .borrow()
            .as_ref()
            .map(|network| network.state().identity)
    })
}

/// The client's end of a connection.
#[derive(Debug)]
pub(crate) struct Wire {
    network: Network,
    id: ConnectionId,
    life: u64,
}

impl Wire {
    pub(crate) async fn ready(&self, interest: Interest) -> Ready {
        if interest.is_writable() {
            // Asynchronous all the same: whoever waits for this may be dropped here.
            tokio::task::yield_now().await;
            if self.network.state().is_over(self.life) {
                std::future::pending::<()>().await;
            }
            return Ready::WRITABLE;
        }
        loop {
            let wait = {
                let mut state = self.network.state();
                state.advance();
                if !state.is_over(self.life) && state.is_readable(self.id) {
                    return Ready::READABLE;
                }
                state.next_arrival(self.id)
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// `None` when it would block.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> Option<usize> {
        let mut state = self.network.state();
        state.advance();
        if state.is_over(self.life) {
            return None;
        }
        let whole = state.random.chance(700);
        let most = match whole {
            true => buffer.len(),
            false => usize::try_from(1 + state.random.below(40)).unwrap_or(1),
        };
        let line = state.lines.get_mut(&self.id)?;
        if line.arrived.is_empty() {
            return line.ended.then_some(0);
        }
        let count = most.min(buffer.len()).min(line.arrived.len());
        for (place, byte) in buffer.iter_mut().zip(line.arrived.drain(..count)) {
            *place = byte;
        }
        Some(count)
    }

    /// `None` when it would block.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.network.state();
        state.advance();
        if state.is_over(self.life) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.write(self.id, bytes)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut state = self.network.state();
        state.lines.remove(&self.id);
        state.simulator.disconnect(self.id);
    }
}

impl State {
    fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.began)
    }

    fn advance(&mut self) {
        let now = self.elapsed();
        if self.simulator.advance(now) {
            self.observe(Moment::Time);
        }
        self.pull_all();
    }

    fn observe(&mut self, moment: Moment<'_>) {
        let now = self.elapsed();
        if let Some(observer) = &mut self.observer {
            self.dead |= !observer(&mut self.simulator, now, moment);
        }
    }

    fn is_over(&self, life: u64) -> bool {
        self.dead || self.life != life
    }

    /// Takes what the simulated HAProxy says by itself, and what is late, to where it is read.
    fn pull_all(&mut self) {
        let now = self.elapsed();
        for (id, line) in &mut self.lines {
            let bytes = self.simulator.receive(*id);
            if !line.mute && !line.ended {
                if line.late.is_empty() {
                    line.arrived.extend(bytes);
                } else {
                    line.late.push_back((now, bytes));
                }
                while line.late.front().is_some_and(|(at, _)| *at <= now) {
                    let bytes = line.late.pop_front().map(|(_, bytes)| bytes);
                    line.arrived.extend(bytes.unwrap_or_default());
                }
            }
            line.ended |= !line.mute && line.late.is_empty() && self.simulator.is_closed(*id);
        }
    }

    fn write(&mut self, id: ConnectionId, bytes: &[u8]) -> io::Result<usize> {
        let now = self.elapsed();
        let Some(line) = self.lines.get_mut(&id) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        if line.ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let faults = self.faults;
        let mut number = self.random.below(1000);
        let mut is = |share: u64| {
            let hit = number < share;
            number = number.saturating_sub(share);
            if hit {
                number = u64::MAX;
            }
            hit
        };
        let cut_write = is(faults.cut_write);
        let cut_reply = is(faults.cut_reply);
        let hang = is(faults.hang);
        let delay = is(faults.delay);
        let garbage = is(faults.garbage);
        let amount = |random: &mut Random, most: usize| {
            usize::try_from(random.below(most as u64 + 1)).unwrap_or(0)
        };
        let taken = match cut_write {
            true => bytes
                .get(..amount(&mut self.random, bytes.len()))
                .unwrap_or_default(),
            false => bytes,
        };
        // Line by line, as between any two of them something else may happen.
        for line in taken.split_inclusive(|byte| *byte == b'\n') {
            if self.dead {
                return Ok(bytes.len());
            }
            let current = self.simulator.is_newest(id);
            self.simulator.send(id, line);
            let line = String::from_utf8_lossy(line);
            if self.note(&line) && line.ends_with('\n') {
                let line = line.trim_end();
                self.observe(match current {
                    true => Moment::Line(line),
                    false => Moment::Stale(line),
                });
            } else if current && let Some(rest) = line.strip_prefix("show servers state") {
                let backend = Some(rest.trim()).filter(|backend| !backend.is_empty());
                self.observe(Moment::Read(backend));
            }
        }
        let mut reply = self.simulator.receive(id);
        let late = Duration::from_millis(match self.random.chance(200) {
            true => self.random.below(4000),
            false => self.random.below(60),
        });
        if cut_write {
            reply.clear();
        }
        if cut_reply {
            let kept = amount(&mut self.random, reply.len());
            reply.truncate(kept);
        }
        if garbage {
            reply = b"\0\xff [9]: what?\n\n> x\n> ".to_vec();
        }
        let Some(line) = self.lines.get_mut(&id) else {
            return Ok(bytes.len());
        };
        if hang || line.mute {
            line.mute = true;
        } else if delay || !line.late.is_empty() {
            let after = line.late.back().map_or(now, |(at, _)| *at);
            line.late.push_back((after.max(now + late), reply));
        } else {
            line.arrived.extend(reply);
            line.ended |= cut_write || cut_reply || self.simulator.is_closed(id);
        }
        if (cut_write || cut_reply) && !hang {
            line.ended = true;
        }
        Ok(bytes.len())
    }

    /// Keeps a line in mind; tells whether it may have changed something.
    fn note(&mut self, line: &str) -> bool {
        let harmless = ["show ", "prompt", "set severity", "set timeout", "wait "]
            .iter()
            .any(|start| line.starts_with(start));
        let change = !harmless && !line.trim_end().is_empty();
        self.changes += u64::from(change);
        let now = self.elapsed();
        if let Some(log) = &mut self.log {
            log.push(format!("{:>9.3} > {}", now.as_secs_f64(), line.trim_end()));
        }
        change
    }

    fn is_readable(&self, id: ConnectionId) -> bool {
        self.lines
            .get(&id)
            .is_none_or(|line| line.ended || !line.arrived.is_empty())
    }

    /// The time to wait before looking again.
    fn next_arrival(&self, id: ConnectionId) -> Duration {
        let now = self.elapsed();
        let late = self
            .lines
            .get(&id)
            .and_then(|line| line.late.front())
            .map(|(at, _)| *at);
        let next = [late, self.simulator.next_event()]
            .into_iter()
            .flatten()
            .min();
        next.map_or(LOOK, |at| at.saturating_sub(now))
            .clamp(Duration::from_millis(1), LOOK)
    }
}

/// Things that nobody announced, such as the end of the simulated HAProxy, are noticed as late as this.
const LOOK: Duration = Duration::from_millis(100);

#[expect(
    clippy::disallowed_methods,
    reason = "the socket's side is an edge: it has the clock of the runtime"
)]
fn now() -> Instant {
    Instant::now()
}
