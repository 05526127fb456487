//! What answers at a socket that is not the stats socket of a HAProxy that can be driven. Pure.

use std::fmt;

use serde::Serialize;

use super::{BoundedText, Version};

/// Something else than the stats socket, of `level admin`, of one process of HAProxy 2.2 or later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OtherEnd {
    /// A file that is no socket.
    File(&'static str),
    /// A server of HTTP, such as a frontend of HAProxy.
    Http,
    /// A stats socket without the right to change anything.
    Level(BoundedText),
    /// The socket of a master process (`haproxy -S`).
    Master,
    /// A version of HAProxy that is too old.
    Old(BoundedText),
    /// One of several processes (`nbproc`), of which a socket reaches one.
    Processes(u32),
    /// Another program, by the beginning of its answer.
    Program(BoundedText),
}

impl OtherEnd {
    /// The oldest version that is driven.
    pub const OLDEST: (u16, u16) = (2, 2);

    /// The newest version that was tried.
    pub const NEWEST: (u16, u16) = (3, 4);

    /// Judges the version that HAProxy tells.
    #[must_use]
    pub fn of_version(version: &Version) -> Option<Self> {
        let (major, minor) = Self::OLDEST;
        let old = !version.at_least(major, minor);
        old.then(|| Self::Old(BoundedText::new(version.text())))
    }

    /// Judges the answer to a line `show info` without a prompt, and to `show proc` where that was not understood.
    /// `None` for an answer that says nothing, or that is HAProxy's own.
    #[must_use]
    pub fn of_answers(info: &str, processes: &str) -> Option<Self> {
        if info.starts_with("Name:") {
            let version = info
                .lines()
                .find_map(|line| line.strip_prefix("Version:"))?
                .trim();
            return match version.parse() {
                Ok(version) => Self::of_version(&version),
                Err(_) => Some(Self::Program(BoundedText::new(info))),
            };
        }
        let first = info.trim_start().lines().next().unwrap_or_default();
        if processes.trim_start().starts_with("#<PID>") {
            Some(Self::Master)
        } else if first.starts_with("HTTP/") {
            Some(Self::Http)
        } else if first.starts_with("Permission denied") {
            Some(Self::Level(BoundedText::new(first)))
        } else if first.is_empty() {
            None
        } else {
            Some(Self::Program(BoundedText::new(first)))
        }
    }

    /// The change that would help.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Master => {
                "set `socket` to the `stats socket` of haproxy.cfg and `master` to this one"
            }
            Self::Level(_) => "write `level admin` at this `stats socket` in haproxy.cfg",
            Self::Processes(_) => "use `nbthread` in place of `nbproc` in haproxy.cfg",
            Self::Old(_) => "upgrade HAProxy",
            Self::File(_) | Self::Http | Self::Program(_) => {
                "set `socket` to the `stats socket` of haproxy.cfg"
            }
        }
    }
}

impl fmt::Display for OtherEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(kind) => write!(f, "a {kind}"),
            Self::Http => write!(f, "an HTTP server"),
            Self::Level(level) => write!(f, "a stats socket of level {level:?}"),
            Self::Master => write!(f, "the master CLI of HAProxy"),
            Self::Old(version) => write!(f, "HAProxy {version}"),
            Self::Processes(count) => write!(f, "one of {count} processes of HAProxy (`nbproc`)"),
            Self::Program(text) => write!(f, "another program, which answers {text:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_p24_an_answer_tells_what_it_is_from() {
        let cases = [
            ("Name: HAProxy\nVersion: 2.6.12\nPid: 1\n", "", None),
            (
                "Name: HAProxy\nVersion: 2.0.33-1\n",
                "",
                Some("HAProxy 2.0.33-1"),
            ),
            (
                "Name: HAProxy\nVersion: 1.8.30\n",
                "",
                Some("HAProxy 1.8.30"),
            ),
            (
                "Unknown command: 'show', but maybe one of",
                "#<PID>          <type>\n1 master\n",
                Some("the master CLI of HAProxy"),
            ),
            (
                "HTTP/1.1 400 Bad request\r\n\r\n",
                "",
                Some("an HTTP server"),
            ),
            (
                "-ERR unknown command 'show'\r\n",
                "",
                Some("another program, which answers \"-ERR unknown command 'show'\""),
            ),
            ("", "", None),
        ];
        for (info, processes, expected) in cases {
            let found = OtherEnd::of_answers(info, processes);
            assert_eq!(found.map(|found| found.to_string()).as_deref(), expected);
        }
    }
}
