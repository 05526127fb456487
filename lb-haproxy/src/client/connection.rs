//! One connection and the session on it: bytes in both directions at once, with deadlines.

use std::{sync::Arc, time::Duration};

use tokio::{io::Interest, time::timeout_at};

use super::{ClientError, Deadline, Interruption, SocketAddress, stream::Stream};
use crate::proto::{Command, Reply, Session, SessionConfig, SessionError};

/// The times a client waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientConfig {
    /// For a connection and its greeting.
    pub connect: Duration,
    /// From one reply to the next.
    pub reply: Duration,
    /// For a whole batch.
    pub batch: Duration,
    /// Limits of the conversation; its dialect is set by the client. All replies to one batch together are no longer than
    /// one listing may be.
    pub session: SessionConfig,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            reply: Duration::from_secs(5),
            batch: Duration::from_secs(30),
            session: SessionConfig::worker(),
        }
    }
}

/// The numbers of bytes and commands that went over a connection, its greeting included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Commands of the caller that were sent.
    pub commands: u64,
    /// Those of them that may change something.
    pub changes: u64,
}

impl Counters {
    /// Adds what went over another connection.
    pub fn add(&mut self, other: Self) {
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
        self.commands += other.commands;
        self.changes += other.changes;
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddress,
    /// Gone as soon as nothing more can be said or heard.
    stream: Option<Stream>,
    session: Session,
    config: ClientConfig,
    counters: Counters,
    /// Bytes of the session that the socket has not taken yet.
    out: Vec<u8>,
    written: usize,
    /// The other side takes no more; what it said before may still be read.
    deaf: bool,
    buffer: Box<[u8]>,
    usable: bool,
}

impl Connection {
    pub(super) async fn open(
        address: &SocketAddress,
        config: ClientConfig,
    ) -> Result<Self, ClientError> {
        let timeout = || ClientError::ConnectTimeout {
            address: address.clone(),
            limit: config.connect,
        };
        let stream = timeout_at(Deadline::after(config.connect).at, Stream::connect(address))
            .await
            .map_err(|_| timeout())?
            .map_err(|error| ClientError::Connect {
                address: address.clone(),
                source: Arc::new(error),
            })?;
        Ok(Self {
            address: address.clone(),
            stream: Some(stream),
            session: Session::new(config.session),
            config,
            counters: Counters::default(),
            out: Vec::new(),
            written: 0,
            deaf: false,
            buffer: vec![0; READ].into(),
            usable: true,
        })
    }

    pub(super) fn address(&self) -> &SocketAddress {
        &self.address
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    pub(super) fn is_usable(&self) -> bool {
        self.usable
    }

    /// The first commands of a connection, within the time for connecting.
    pub(super) async fn introduce(
        &mut self,
        commands: &[Command],
    ) -> Result<Vec<Reply>, ClientError> {
        let limit = self.config.connect;
        let (reply, batch) = (self.config.reply, self.config.batch);
        (self.config.reply, self.config.batch) = (limit, limit);
        let (results, ended) = self.run(commands).await;
        (self.config.reply, self.config.batch) = (reply, batch);
        let address = || self.address.clone();
        match ended {
            None => results.into_iter().collect(),
            Some(Interruption::Timeout { limit }) => Err(ClientError::ConnectTimeout {
                address: address(),
                limit,
            }),
            Some(source) => Err(ClientError::NotHaproxy {
                address: address(),
                source,
            }),
        }
    }

    pub(super) async fn exec_all(
        &mut self,
        commands: &[Command],
    ) -> Vec<Result<Reply, ClientError>> {
        self.run(commands).await.0
    }

    async fn run(
        &mut self,
        commands: &[Command],
    ) -> (Vec<Result<Reply, ClientError>>, Option<Interruption>) {
        let all = |error: &ClientError| vec![Err(error.clone()); commands.len()];
        if !self.usable {
            return (all(&ClientError::Ended), None);
        }
        if let Err(refused) = self.check(commands) {
            return (refused, None);
        }
        // Until the last reply is in: a dropped future leaves replies behind that nobody could tell apart.
        self.usable = false;
        for command in commands {
            if let Err(error) = self.session.submit(command) {
                return (all(&ClientError::Refused(error)), None);
            }
            self.counters.commands += 1;
            self.counters.changes += u64::from(!command.is_read());
        }
        let mut results: Vec<Result<Reply, ClientError>> = Vec::with_capacity(commands.len());
        let wait = commands.iter().filter_map(waiting_time).sum();
        let ended = self
            .converse(commands.len(), wait, &mut results)
            .await
            .err();
        match ended.clone() {
            // The master ends the conversation with its last reply, which is none of the caller's concern.
            None => self.usable = self.session.ended().is_none(),
            Some(source) => {
                results.extend(self.replies());
                let first = results.len();
                let (unknown, _) = self.session.unanswered();
                results.resize(first + unknown, Err(ClientError::Unknown { first, source }));
                results.resize(commands.len(), Err(ClientError::NotSent));
            }
        }
        if !self.usable {
            self.stream = None;
        }
        (results, ended)
    }

    /// Resolves when the other side ends the idle connection, or says what nobody asked for.
    pub(super) async fn closed(&mut self) {
        while self.usable {
            // Readiness is kept, so that dropping this future loses nothing.
            let Some(stream) = &self.stream else { return };
            let ready = stream.ready(Interest::READABLE).await;
            if ready.is_err() || self.read().is_err() || self.session.ended().is_some() {
                self.usable = false;
                self.stream = None;
            }
        }
    }

    /// Checks that every command can be written; otherwise none may be sent.
    fn check(&self, commands: &[Command]) -> Result<(), Vec<Result<Reply, ClientError>>> {
        let mut scratch = Vec::new();
        let mut refused = false;
        let results = commands
            .iter()
            .map(|command| {
                scratch.clear();
                Err(match Session::check(command, &mut scratch) {
                    Ok(()) => ClientError::NotSent,
                    Err(error) => {
                        refused = true;
                        ClientError::Refused(error)
                    }
                })
            })
            .collect();
        match refused {
            true => Err(results),
            false => Ok(()),
        }
    }

    async fn converse(
        &mut self,
        count: usize,
        wait: Duration,
        results: &mut Vec<Result<Reply, ClientError>>,
    ) -> Result<(), Interruption> {
        let batch = Deadline::after(self.config.batch.saturating_add(wait));
        let mut reply = Deadline::after(self.config.reply.saturating_add(wait));
        let limit = self.config.session.reply_limit;
        let mut bytes = 0_usize;
        loop {
            let before = results.len();
            results.extend(self.replies());
            let fresh = results.get(before..).unwrap_or_default().iter().flatten();
            bytes = fresh.fold(bytes, |sum, reply| sum.saturating_add(reply.text().len()));
            if bytes > limit {
                let (unknown, unsent) = self.session.unanswered();
                return Err(Interruption::Session(SessionError::ReplyTooLong {
                    limit,
                    unknown,
                    unsent,
                }));
            }
            if results.len() >= count {
                return Ok(());
            }
            if let Some(ended) = self.session.ended() {
                return Err(Interruption::Session(ended.clone()));
            }
            if results.len() > before {
                reply = Deadline::after(self.config.reply.saturating_add(wait));
            }
            if self.written == self.out.len() && !self.deaf {
                self.out = self.session.poll_transmit().unwrap_or_default();
                self.written = 0;
            }
            let interest = match self.written < self.out.len() {
                true => Interest::READABLE | Interest::WRITABLE,
                false => Interest::READABLE,
            };
            let deadline = if reply.at < batch.at { reply } else { batch };
            let Some(stream) = &self.stream else {
                return Err(Interruption::Timeout {
                    limit: Duration::ZERO,
                });
            };
            let ready = timeout_at(deadline.at, stream.ready(interest))
                .await
                .map_err(|_| Interruption::Timeout {
                    limit: deadline.limit,
                })?
                .map_err(io)?;
            if ready.is_readable() || ready.is_read_closed() {
                self.read()?;
            }
            if ready.is_writable() {
                self.write();
            }
        }
    }

    fn replies(&mut self) -> impl Iterator<Item = Result<Reply, ClientError>> {
        std::iter::from_fn(|| self.session.poll_reply()).map(|(_, reply)| Ok(reply))
    }

    /// Reads what is there. The end of the connection ends the session, which the caller sees there.
    fn read(&mut self) -> Result<(), Interruption> {
        let Some(stream) = &self.stream else {
            return Ok(());
        };
        // Few enough that a stream without end lets the deadlines be looked at.
        for _ in 0..64 {
            let Some(count) = stream.try_read(&mut self.buffer).map_err(io)? else {
                return Ok(());
            };
            self.counters.bytes_read += count as u64;
            if count == 0 {
                return self.session.receive_eof().map_err(Interruption::Session);
            }
            let bytes = self.buffer.get(..count).unwrap_or_default();
            self.session.receive(bytes).map_err(Interruption::Session)?;
            if count < self.buffer.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn write(&mut self) {
        let Some(stream) = &self.stream else { return };
        let bytes = self.out.get(self.written..).unwrap_or_default();
        match stream.try_write(bytes) {
            Ok(Some(count)) => {
                self.written += count;
                self.counters.bytes_written += count as u64;
            }
            Ok(None) => {}
            Err(_) => {
                self.deaf = true;
                self.written = self.out.len();
            }
        }
    }
}

/// The most bytes read at once.
const READ: usize = 64 << 10;

fn waiting_time(command: &Command) -> Option<Duration> {
    match command {
        Command::WaitRemovable(_, time) => Some(*time),
        _ => None,
    }
}

fn io(error: std::io::Error) -> Interruption {
    Interruption::Io(Arc::new(error))
}
