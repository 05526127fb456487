//! One conversation with an admin socket, as a state machine over bytes.

use std::{collections::VecDeque, time::Duration};

use super::{Command, Dialect, EncodeError, Reply, encode::encode, framing::Frames};

/// The settings of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionConfig {
    /// Whose socket it is.
    pub dialect: Dialect,
    /// The time for which HAProxy is asked to keep the connection while nothing is sent (workers only).
    pub idle: Duration,
    /// The most bytes of one listing. Every other reply has 1 MiB at most.
    pub reply_limit: usize,
    /// The most commands sent and not answered yet.
    pub window: usize,
}

impl SessionConfig {
    /// A session with a worker: an hour of idling, replies up to 64 MiB, 400 commands under way.
    #[must_use]
    pub fn worker() -> Self {
        Self {
            dialect: Dialect::Worker,
            idle: Duration::from_secs(3600),
            reply_limit: 64 << 20,
            window: 400,
        }
    }

    /// A session with the master.
    #[must_use]
    pub fn master() -> Self {
        Self {
            dialect: Dialect::Master,
            ..Self::worker()
        }
    }
}

/// Names one submitted command; a session's first ticket is 0, and each next one is one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

impl Ticket {
    /// The number of commands that were submitted before this one.
    #[must_use]
    pub fn index(self) -> u64 {
        self.0
    }
}

/// One conversation: commands go in, bytes come out; bytes go in, replies come out, in the order of the commands.
///
/// It begins by switching the connection to prompt mode, so that the n-th prompt ends the n-th reply, and knows
/// no socket and no clock. Ask [`poll_transmit`](Self::poll_transmit) after every [`submit`](Self::submit) and
/// [`receive`](Self::receive), and [`poll_reply`](Self::poll_reply) after every `receive`.
///
/// ```
/// use lb_haproxy::proto::{Command, Session, SessionConfig};
///
/// let mut session = Session::new(SessionConfig::worker());
/// let ticket = session.submit(&Command::ShowVersion).unwrap();
/// assert_eq!(session.poll_transmit().unwrap(), b"prompt\n");
/// session.receive(b"\n> ").unwrap();
/// assert_eq!(
///     session.poll_transmit().unwrap(),
///     b"set severity-output number\nset timeout cli 3600000ms\nshow version\n",
/// );
/// session.receive(b"\n> \n> [6]: 3.0.11\n\n> ").unwrap();
/// let (answered, reply) = session.poll_reply().unwrap();
/// assert_eq!((answered, reply.text()), (ticket, "3.0.11"));
/// ```
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    frames: Frames,
    next_ticket: u64,
    /// Encoded and not given to the transport yet.
    outbox: Vec<u8>,
    taken: usize,
    waiting: VecDeque<Sent>,
    /// Given to the transport and not answered yet.
    in_flight: VecDeque<Sent>,
    prompted: bool,
    replies: VecDeque<(Ticket, Reply)>,
    ended: Option<SessionError>,
}

#[derive(Debug)]
struct Sent {
    /// The ticket of the command; `None` for what the session sends by itself.
    ticket: Option<Ticket>,
    greeting: &'static str,
    len: usize,
    payload: bool,
    /// Its reply grows with what HAProxy has.
    listing: bool,
    /// Its reply ends with the connection, not with a prompt.
    last: bool,
}

impl Session {
    /// A session at its beginning, with its greeting waiting to be sent.
    #[must_use]
    pub fn new(config: SessionConfig) -> Self {
        let mut session = Self {
            config,
            frames: Frames::new(config.dialect),
            next_ticket: 0,
            outbox: Vec::new(),
            taken: 0,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            prompted: false,
            replies: VecDeque::new(),
            ended: None,
        };
        session.greet(&Command::Prompt, "prompt");
        if config.dialect == Dialect::Worker {
            session.greet(&Command::SetSeverity, "set severity-output");
            session.greet(&Command::SetTimeout(config.idle), "set timeout cli");
        }
        session
    }

    /// Checks that a session would take the command; its bytes are left in `scratch`.
    ///
    /// # Errors
    /// [`SubmitError`], as of [`submit`](Self::submit).
    pub fn check(command: &Command, scratch: &mut Vec<u8>) -> Result<(), SubmitError> {
        if matches!(command, Command::Prompt) {
            return Err(SubmitError::Prompt);
        }
        encode(command, scratch).map_err(|source| SubmitError::Encode {
            command: describe(command),
            source,
        })
    }

    /// Takes a command to be sent after all before it.
    ///
    /// # Errors
    /// [`SubmitError`], which leaves the session as it was.
    pub fn submit(&mut self, command: &Command) -> Result<Ticket, SubmitError> {
        if let Some(ended) = &self.ended {
            return Err(SubmitError::Ended(ended.clone()));
        }
        let start = self.outbox.len();
        Self::check(command, &mut self.outbox)?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.push_back(Sent {
            ticket: Some(ticket),
            greeting: "",
            len: self.outbox.len() - start,
            payload: command.has_payload(),
            listing: command.is_listing(),
            last: matches!(command, Command::Reload),
        });
        Ok(ticket)
    }

    /// Bytes to write to the socket now, if any.
    ///
    /// As soon as they are returned, their commands count as sent.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        if self.ended.is_some() || self.waiting.is_empty() {
            return None;
        }
        // Some versions throw away what follows `prompt` in the same piece, so it goes alone.
        let window = match (self.prompted, self.in_flight.is_empty()) {
            (true, _) => self.config.window.max(1),
            (false, true) => 1,
            (false, false) => return None,
        };
        let free = window.saturating_sub(self.in_flight.len());
        // Sending line by line as single replies come in would cost a system call each.
        if free < self.waiting.len().min(window.div_ceil(2)) {
            return None;
        }
        let now: VecDeque<Sent> = self.waiting.drain(..free.min(self.waiting.len())).collect();
        let end = self.taken + now.iter().map(|sent| sent.len).sum::<usize>();
        let bytes = self.outbox.get(self.taken..end)?.to_vec();
        self.in_flight.extend(now);
        self.taken = end;
        if self.waiting.is_empty() {
            self.outbox.clear();
            self.taken = 0;
        }
        Some(bytes)
    }

    /// Takes what the socket gave; pieces of any size.
    ///
    /// # Errors
    /// [`SessionError`]; the session has ended and every later call gives the same error. Replies that were
    /// complete before are still there.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        self.frames.push(bytes);
        loop {
            if self.in_flight.is_empty() {
                return match self.frames.rest() {
                    [] => Ok(()),
                    rest => {
                        let text = excerpt(rest);
                        Err(self.end(SessionError::Unsolicited { text }))
                    }
                };
            }
            let Some(frame) = self.frames.next() else {
                let so_far = self.frames.rest().len();
                return self.bound(so_far);
            };
            self.bound(frame.len())?;
            let Some(sent) = self.in_flight.pop_front() else {
                return Ok(());
            };
            self.answer(&sent, frame)?;
        }
    }

    /// Takes the end of the connection.
    ///
    /// # Errors
    /// [`SessionError::Eof`] where commands are unanswered. The end of an idle connection is none.
    pub fn receive_eof(&mut self) -> Result<(), SessionError> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        // The master ends every conversation when it reloads; what it said before is the reply.
        if self.prompted && self.in_flight.front().is_some_and(|sent| sent.last) {
            let frame = self.frames.rest().to_vec();
            if let Some(sent) = self.in_flight.pop_front() {
                self.answer(&sent, frame)?;
            }
        }
        let (unknown, unsent) = self.unanswered();
        let error = self.end(SessionError::Eof { unknown, unsent });
        match self.in_flight.is_empty() && self.waiting.is_empty() {
            true => Ok(()),
            false => Err(error),
        }
    }

    /// The next reply and the command it answers, in the order of the commands.
    #[must_use]
    pub fn poll_reply(&mut self) -> Option<(Ticket, Reply)> {
        self.replies.pop_front()
    }

    /// The number of commands that may have been executed without our knowing, and of those that were never sent.
    #[must_use]
    pub fn unanswered(&self) -> (usize, usize) {
        let own =
            |queue: &VecDeque<Sent>| queue.iter().filter(|sent| sent.ticket.is_some()).count();
        (own(&self.in_flight), own(&self.waiting))
    }

    /// Returns `true` if nothing is to be sent, answered or fetched.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty() && self.replies.is_empty()
    }

    /// Why the session ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<&SessionError> {
        self.ended.as_ref()
    }

    /// Ends the session if this many bytes are more than the next reply may have.
    fn bound(&mut self, len: usize) -> Result<(), SessionError> {
        let most = self.config.reply_limit;
        let limit = match (self.prompted, self.in_flight.front()) {
            (false, _) => most.min(GREETING_LIMIT),
            (true, Some(sent)) if !sent.listing => most.min(ANSWER_LIMIT),
            (true, _) => most,
        };
        if len <= limit {
            return Ok(());
        }
        let (unknown, unsent) = self.unanswered();
        Err(self.end(SessionError::ReplyTooLong {
            limit,
            unknown,
            unsent,
        }))
    }

    fn greet(&mut self, command: &Command, greeting: &'static str) {
        let start = self.outbox.len();
        // A time HAProxy cannot have leaves its own in place.
        if encode(command, &mut self.outbox).is_ok() {
            self.waiting.push_back(Sent {
                ticket: None,
                greeting,
                len: self.outbox.len() - start,
                payload: false,
                listing: false,
                last: false,
            });
        }
    }

    fn answer(&mut self, sent: &Sent, mut frame: Vec<u8>) -> Result<(), SessionError> {
        if sent.payload {
            let signs = frame
                .chunks_exact(2)
                .take_while(|pair| *pair == b"+ ")
                .count();
            frame.drain(..2 * signs);
        }
        let reply = Reply::new(frame);
        match sent.ticket {
            Some(ticket) => self.replies.push_back((ticket, reply)),
            None if reply.is_empty() => self.prompted = true,
            None => {
                return Err(self.end(SessionError::Greeting {
                    command: sent.greeting,
                    text: excerpt(reply.text().as_bytes()),
                }));
            }
        }
        Ok(())
    }

    fn end(&mut self, error: SessionError) -> SessionError {
        self.ended = Some(error.clone());
        error
    }
}

/// Why a command was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// It cannot be written.
    #[error("cannot write command `{command}`")]
    Encode {
        /// The command, as far as it can be shown.
        command: String,
        /// Why not.
        #[source]
        source: EncodeError,
    },
    /// The session has ended.
    #[error("session has ended")]
    Ended(#[source] SessionError),
    /// `prompt` is a toggle, which would switch prompts off.
    #[error("`prompt` is the session's own command")]
    Prompt,
}

/// Why a session ended.
///
/// `unknown` counts the commands that were sent and not answered: each may have been executed or not, in order,
/// up to an unknown one. `unsent` counts those that were not executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The connection ended: HAProxy stopped, was reloaded, timed out, or refused a command's size.
    #[error("connection ended: {unknown} commands with unknown outcome, {unsent} not sent")]
    Eof {
        /// Sent and unanswered.
        unknown: usize,
        /// Never sent.
        unsent: usize,
    },
    /// The peer did not answer the greeting as HAProxy does; likely it is something else.
    #[error("`{command}` was answered with {text:?}, expected nothing")]
    Greeting {
        /// The command.
        command: &'static str,
        /// The beginning of the answer.
        text: String,
    },
    /// A reply went on beyond the limit.
    #[error(
        "reply of more than {limit} bytes: {unknown} commands with unknown outcome, {unsent} not sent"
    )]
    ReplyTooLong {
        /// The limit.
        limit: usize,
        /// Sent and unanswered.
        unknown: usize,
        /// Never sent.
        unsent: usize,
    },
    /// Bytes came that answer nothing.
    #[error("unsolicited bytes: {text:?}")]
    Unsolicited {
        /// Their beginning.
        text: String,
    },
}

/// The most bytes of an answer to the greeting.
const GREETING_LIMIT: usize = 64 << 10;

/// The most bytes of an answer that is no listing.
const ANSWER_LIMIT: usize = 1 << 20;

/// The most bytes of foreign text in an error.
const EXCERPT: usize = 200;

/// A command that cannot be written has no text; what it is about has.
fn describe(command: &Command) -> String {
    let whole = format!("{command:?}");
    excerpt(whole.as_bytes())
}

fn excerpt(bytes: &[u8]) -> String {
    let (shown, more) = match bytes.split_at_checked(EXCERPT) {
        Some((shown, rest)) if !rest.is_empty() => (shown, "…"),
        _ => (bytes, ""),
    };
    format!("{}{more}", String::from_utf8_lossy(shown))
}
