//! One conversation on the runtime socket: bytes to commands, answers to bytes.

use std::{collections::VecDeque, time::Duration};

use super::{
    command::{Answer, error},
    config::Level,
    set_server::long,
    words::{commands, words},
    worker::Worker,
};

/// A connection to the runtime socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

/// The settings that a connection asked for itself.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) level: Level,
    pub(super) prompt: bool,
    severity: Severity,
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Hidden,
    Number,
    Word,
}

impl Terms {
    pub(super) fn level_name(&self) -> &'static str {
        match self.level {
            Level::Admin => "admin",
            Level::Operator => "operator",
            Level::User => "user",
        }
    }

    pub(super) fn lower(&mut self, level: Level) -> Answer {
        if self.level < level {
            return error("Permission denied");
        }
        self.level = level;
        Answer::Done
    }

    pub(super) fn set_severity(&mut self, kind: &str) -> Answer {
        self.severity = match kind {
            "none" => Severity::Hidden,
            "number" => Severity::Number,
            "string" => Severity::Word,
            _ => return error("one of 'none', 'number', 'string' is a required argument"),
        };
        Answer::Done
    }

    pub(super) fn set_timeout(&mut self, kind: &str, time: &str) -> Answer {
        if kind != "cli" {
            return error("'set timeout' only supports 'cli'.");
        }
        if time.is_empty() {
            return error("Expects an integer value.");
        }
        let number = |count: i64| u64::try_from(count).ok().filter(|count| *count > 0);
        let timeout = match long(time) {
            (Some(count), "h") => number(count).map(|count| Duration::from_secs(3600 * count)),
            (Some(count), "m") => number(count).map(|count| Duration::from_secs(60 * count)),
            (Some(count), "" | "s") => number(count).map(Duration::from_secs),
            (Some(count), "ms") => number(count).map(Duration::from_millis),
            _ => None,
        };
        match timeout {
            Some(timeout) => {
                self.timeout = timeout;
                Answer::Done
            }
            None => error("Invalid timeout value."),
        }
    }

    fn prefix(&self, severity: u8) -> String {
        match (self.severity, severity) {
            (Severity::Hidden, _) => String::new(),
            (Severity::Number, number) => format!("[{number}]: "),
            (Severity::Word, 3) => "[err]: ".to_owned(),
            (Severity::Word, 4) => "[warning]: ".to_owned(),
            (Severity::Word, 5) => "[notice]: ".to_owned(),
            (Severity::Word, _) => "[info]: ".to_owned(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) pid: u32,
    pub(super) terms: Terms,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Commands of the present line that have not run yet.
    line: VecDeque<Vec<u8>>,
    payload: Option<Payload>,
    /// `wait`: until when, and for which server.
    waiting: Option<(Duration, Option<String>)>,
    lines: u64,
    pub(super) closed: bool,
    active_at: Duration,
}

#[derive(Debug)]
struct Payload {
    command: Vec<u8>,
    end: Vec<u8>,
    text: Vec<u8>,
}

impl Connection {
    pub(super) fn new(pid: u32, level: Level, timeout: Duration, now: Duration) -> Self {
        Self {
            pid,
            terms: Terms {
                level,
                prompt: false,
                severity: Severity::Hidden,
                timeout,
            },
            input: Vec::new(),
            output: Vec::new(),
            line: VecDeque::new(),
            payload: None,
            waiting: None,
            lines: 0,
            closed: false,
            active_at: now,
        }
    }

    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Takes in what was written to it.
    pub(super) fn receive(&mut self, bytes: &[u8], worker: &mut Worker, bufsize: usize) {
        if self.closed {
            return;
        }
        self.active_at = worker.now;
        self.input.extend_from_slice(bytes);
        self.work(worker, bufsize);
        if self.payload.is_some() && self.terms.prompt && worker.profile.prompts_by_line() {
            self.output.extend_from_slice(b"+ ");
        }
    }

    /// Lets time pass: a wait or the whole conversation may be over.
    pub(super) fn advance(&mut self, worker: &mut Worker, bufsize: usize) {
        if let Some((deadline, server)) = self.waiting.take() {
            let over = worker.now >= deadline;
            let answer = match &server {
                Some(server) => worker.removable(server, over),
                None => over.then(|| super::command::info("Done.")),
            };
            match answer {
                Some(answer) => {
                    self.answer(answer, worker);
                    self.work(worker, bufsize);
                }
                None => self.waiting = Some((deadline, server)),
            }
        } else if worker.now >= self.active_at + self.terms.timeout {
            self.closed = true;
        }
    }

    pub(super) fn waits_until(&self) -> Option<Duration> {
        self.waiting.as_ref().map(|(deadline, _)| *deadline)
    }

    fn work(&mut self, worker: &mut Worker, bufsize: usize) {
        while !self.closed && self.waiting.is_none() {
            if let Some(command) = self.line.pop_front() {
                self.run(&command, None, worker);
            } else if !self.next_line(worker, bufsize) {
                break;
            }
        }
    }

    fn next_line(&mut self, worker: &mut Worker, bufsize: usize) -> bool {
        let Some(end) = self.line_end(worker.profile.from(2, 4)) else {
            if self.input.len() >= bufsize {
                self.too_big(worker);
            }
            return false;
        };
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        line.pop();
        if self.payload.is_some() {
            self.payload_line(&line, worker);
            return true;
        }
        self.lines += 1;
        if !self.terms.prompt && self.lines > 1 && worker.profile.one_line_only() {
            return true;
        }
        let longest = match worker.profile.from(3, 2) {
            true => line.len(),
            false => commands(&line)
                .iter()
                .map(|part| part.len() + 1)
                .max()
                .unwrap_or(0),
        };
        if longest >= bufsize {
            self.too_big(worker);
            return false;
        }
        let end = payload_end(&line, worker.profile.names_payload_ends());
        let mut parts: VecDeque<Vec<u8>> =
            commands(&line).into_iter().map(<[u8]>::to_vec).collect();
        if let Some(end) = end {
            self.payload = Some(Payload {
                command: parts.pop_back().unwrap_or_default(),
                end,
                text: Vec::new(),
            });
        }
        self.line = parts;
        while self.payload.is_some() && self.waiting.is_none() {
            let Some(command) = self.line.pop_front() else {
                break;
            };
            self.run(&command, None, worker);
        }
        self.sign(worker);
        true
    }

    /// The end of the next line: a line feed that is not escaped, where escapes reach that far.
    fn line_end(&self, escapes: bool) -> Option<usize> {
        let mut escaped = false;
        let in_payload = self.payload.is_some();
        for (at, byte) in self.input.iter().enumerate() {
            if *byte == b'\n' && (in_payload || !escapes || !escaped) {
                return Some(at);
            }
            escaped = *byte == b'\\' && !escaped;
        }
        None
    }

    fn payload_line(&mut self, line: &[u8], worker: &mut Worker) {
        let Some(mut payload) = self.payload.take() else {
            return;
        };
        if line == payload.end {
            let text = String::from_utf8_lossy(&payload.text).into_owned();
            self.run(&payload.command, Some(&text), worker);
            return;
        }
        payload.text.extend_from_slice(line);
        payload.text.push(b'\n');
        self.payload = Some(payload);
        self.sign(worker);
    }

    /// Older versions ask for every line of a payload.
    fn sign(&mut self, worker: &Worker) {
        if self.payload.is_some() && self.terms.prompt && !worker.profile.prompts_by_line() {
            self.output.extend_from_slice(b"+ ");
        }
    }

    fn run(&mut self, command: &[u8], payload: Option<&str>, worker: &mut Worker) {
        let mut words = words(command);
        if payload.is_some() {
            // The sign of the payload is no argument.
            words.pop_if(|last| last.starts_with("<<"));
        }
        if !worker.profile.limits_words() {
            words.truncate(64);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match worker.run(&mut self.terms, &words, payload) {
            Answer::Wait(time, server) => self.waiting = Some((worker.now + time, server)),
            Answer::Quit => self.closed = true,
            answer => self.answer(answer, worker),
        }
    }

    fn answer(&mut self, answer: Answer, worker: &Worker) {
        match answer {
            Answer::Message {
                severity,
                text,
                line_feed,
            } => {
                let prefix = self.terms.prefix(severity);
                self.output.extend_from_slice(prefix.as_bytes());
                self.output.extend_from_slice(text.as_bytes());
                if line_feed {
                    self.output.push(b'\n');
                }
            }
            Answer::Dump(text) => self.output.extend_from_slice(text.as_bytes()),
            Answer::Done | Answer::Quit | Answer::Wait(..) => {}
        }
        let more = !self.line.is_empty() || self.payload.is_some();
        let prompted = self.terms.prompt && !(more && worker.profile.prompts_by_line());
        self.output
            .extend_from_slice(if prompted { b"\n> " } else { b"\n" });
        let another = !worker.profile.one_line_only() && self.input.contains(&b'\n');
        if !self.terms.prompt && !more && !another {
            self.closed = true;
        }
    }

    fn too_big(&mut self, worker: &Worker) {
        let text: &[u8] = match worker.profile.version() {
            (3, 4..) => b"The command line is too big for the buffer size. Please change 'tune.bufsize' in the configuration to use a bigger command.\n",
            (3, 2..) => b"The command line is too big for the buffer size. Please change tune.bufsize in the configuration to use a bigger command.\n",
            (3, _) => b"The command is too big for the buffer size. Please change tune.bufsize in the configuration to use a bigger command.\n",
            _ => b"",
        };
        self.output.extend_from_slice(text);
        self.closed = true;
    }
}

/// The line that ends the payload which this line begins, if it does.
fn payload_end(line: &[u8], named: bool) -> Option<Vec<u8>> {
    if !named {
        return line.ends_with(b"<<").then(Vec::new);
    }
    let last = line.rsplit(|byte| matches!(byte, b' ' | b'\t')).next()?;
    let end = last.strip_prefix(b"<<")?;
    (end.len() <= 7).then(|| end.to_vec())
}
