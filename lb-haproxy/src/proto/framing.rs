//! Where a reply ends: at the prompt that follows it.

/// Whose prompt it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The master's socket: `master> `, `master[ReloadFailed]> ` or, after `@1`, the process's number and `> `.
    Master,
    /// The stats socket of a worker: an empty line's end, then `> `.
    Worker,
}

/// Bytes received and not yet given out, and how far they were searched for a prompt.
#[derive(Debug)]
pub(super) struct Frames {
    dialect: Dialect,
    buffer: Vec<u8>,
    /// The start of the current reply.
    start: usize,
    /// The place to look next.
    scan: Scan,
}

#[derive(Debug, Clone, Copy)]
enum Scan {
    /// For a prompt, at the start of a line.
    Line(usize),
    /// For the end of a line that is no prompt.
    LineEnd(usize),
}

impl Frames {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            buffer: Vec::new(),
            start: 0,
            scan: Self::first(dialect, 0),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            // What was given out goes when it outweighs what is kept, so that moving bytes stays linear.
            if self.start >= self.buffer.len() - self.start {
                self.buffer.drain(..self.start);
                self.scan = match self.scan {
                    Scan::Line(at) => Scan::Line(at - self.start),
                    Scan::LineEnd(at) => Scan::LineEnd(at - self.start),
                };
                self.start = 0;
            }
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The bytes of an incomplete reply.
    pub(super) fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// The next reply's bytes, without the prompt.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.scan {
                Scan::Line(at) => match prompt(self.dialect, self.buffer.get(at..)?) {
                    Prompt::Complete(len) => {
                        return self.take(at, at + len);
                    }
                    Prompt::Partial => return None,
                    Prompt::Absent => self.scan = Scan::LineEnd(at),
                },
                Scan::LineEnd(at) => {
                    let rest = self.buffer.get(at..)?;
                    match rest.iter().position(|byte| *byte == b'\n') {
                        Some(end) => self.scan = Scan::Line(at + end + 1),
                        None => {
                            self.scan = Scan::LineEnd(self.buffer.len());
                            return None;
                        }
                    }
                }
            }
        }
    }

    /// Gives out the reply that ends at `end`, before a prompt that ends at `next`.
    fn take(&mut self, end: usize, next: usize) -> Option<Vec<u8>> {
        // A long one is given out as it is: a copy would need as much memory again, and its place be kept for ever.
        let reply = match end - self.start >= LONG && self.buffer.len() == next {
            true => {
                let mut reply = std::mem::take(&mut self.buffer);
                reply.truncate(end);
                reply.drain(..self.start);
                reply.shrink_to_fit();
                self.start = 0;
                reply
            }
            false => {
                let reply = self.buffer.get(self.start..end)?.to_vec();
                self.start = next;
                reply
            }
        };
        self.scan = Self::first(self.dialect, self.start);
        Some(reply)
    }

    /// A worker's prompt brings its own line feed; the master's first one stands alone.
    fn first(dialect: Dialect, at: usize) -> Scan {
        match dialect {
            Dialect::Master => Scan::Line(at),
            Dialect::Worker => Scan::LineEnd(at),
        }
    }
}

/// From so many bytes on a reply is long.
const LONG: usize = 256 << 10;

enum Prompt {
    Absent,
    Complete(usize),
    Partial,
}

fn prompt(dialect: Dialect, line: &[u8]) -> Prompt {
    match dialect {
        Dialect::Worker => fixed(b"> ", line),
        Dialect::Master => {
            for text in [&b"master> "[..], b"master[ReloadFailed]> "] {
                match fixed(text, line) {
                    Prompt::Absent => {}
                    found => return found,
                }
            }
            match line.iter().position(|byte| !byte.is_ascii_digit()) {
                // No process number has more digits than that.
                Some(0) => Prompt::Absent,
                Some(digits) if digits <= 10 => {
                    match fixed(b"> ", line.get(digits..).unwrap_or_default()) {
                        Prompt::Complete(len) => Prompt::Complete(digits + len),
                        found => found,
                    }
                }
                Some(_) => Prompt::Absent,
                None if line.len() <= 10 => Prompt::Partial,
                None => Prompt::Absent,
            }
        }
    }
}

fn fixed(text: &[u8], line: &[u8]) -> Prompt {
    if line.starts_with(text) {
        Prompt::Complete(text.len())
    } else if text.starts_with(line) {
        Prompt::Partial
    } else {
        Prompt::Absent
    }
}
