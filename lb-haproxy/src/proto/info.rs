//! `show info`: which process answers, and what it is.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::{BoundedText, ParseError};

/// The information of a process on itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Info {
    /// Connections now.
    pub current_connections: Option<u64>,
    /// The most connections.
    pub maxconn: Option<u64>,
    /// The process's number of processes; more than 1 cannot be driven through one socket.
    pub nbproc: u32,
    /// Its threads.
    pub nbthread: u32,
    /// The machine's name, or the `node` of the configuration.
    pub node: Option<String>,
    /// Its process number.
    pub pid: u32,
    /// The time at which it started, in seconds of Unix time (2.5+).
    pub start_time: Option<u64>,
    /// If `true`, it is on its way out, having been replaced.
    pub stopping: bool,
    /// The most files it may have open.
    pub ulimit_n: Option<u64>,
    /// For how many seconds it has been running.
    pub uptime: u64,
    /// Its version.
    pub version: Version,
}

impl Info {
    /// Reads the reply to [`Command::ShowInfo`](super::Command::ShowInfo).
    ///
    /// # Errors
    /// [`ParseError`], naming the key.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if !text.starts_with("Name:") {
            return Err(ParseError::Header {
                reply: REPLY,
                found: BoundedText::new(text),
            });
        }
        let keys = Keys(text);
        let version = keys.needed("Version")?;
        Ok(Self {
            current_connections: keys.number("CurrConns")?,
            maxconn: keys.number("Maxconn")?,
            nbproc: keys.number("Nbproc")?.unwrap_or(1),
            nbthread: keys.number("Nbthread")?.unwrap_or(1),
            node: keys.get("node").map(|(_, value)| value.to_owned()),
            pid: keys.needed_number("Pid")?,
            start_time: keys.number("Start_time_sec")?,
            stopping: keys.number::<u32>("Stopping")?.unwrap_or(0) != 0,
            ulimit_n: keys.number("Ulimit-n")?,
            uptime: keys.needed_number("Uptime_sec")?,
            version: version
                .1
                .parse()
                .map_err(|_| wrong(version, "Version", "a version"))?,
        })
    }

    /// The identity of this process, so that another one is not taken for it.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch {
            pid: self.pid,
            start_time: self.start_time,
        }
    }
}

/// One life of one HAProxy process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Epoch {
    /// Its process number.
    pub pid: u32,
    /// The time at which it started, in seconds of Unix time, where its version tells.
    pub start_time: Option<u64>,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.start_time {
            Some(time) => write!(f, "{}@{time}", self.pid),
            None => write!(f, "{}", self.pid),
        }
    }
}

/// A version of HAProxy; versions order by their numbers alone.
///
/// ```
/// use lb_haproxy::proto::Version;
///
/// let debian: Version = "2.6.12-1+deb12u4".parse().unwrap();
/// assert_eq!((debian.major(), debian.minor(), debian.patch()), (2, 6, 12));
/// assert!(debian.at_least(2, 4) && !debian.at_least(3, 0));
/// assert!("3.5-dev5-50872d".parse::<Version>().unwrap().at_least(3, 4));
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct Version {
    major: u16,
    minor: u16,
    patch: u16,
    text: BoundedText,
}

impl Version {
    /// The first number.
    #[must_use]
    pub fn major(&self) -> u16 {
        self.major
    }

    /// The second number.
    #[must_use]
    pub fn minor(&self) -> u16 {
        self.minor
    }

    /// The third number, 0 for a development version.
    #[must_use]
    pub fn patch(&self) -> u16 {
        self.patch
    }

    /// The whole text, at most 200 characters.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// Returns `true` if it belongs to this branch or a later one.
    #[must_use]
    pub fn at_least(&self, major: u16, minor: u16) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    fn numbers(&self) -> (u16, u16, u16) {
        (self.major, self.minor, self.patch)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.numbers() == other.numbers()
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.numbers().cmp(&other.numbers())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.text, f)
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion {
            text: BoundedText::new(text),
        };
        let digits = text
            .split(|c: char| c != '.' && !c.is_ascii_digit())
            .next()
            .unwrap_or_default();
        let mut numbers = digits.split('.');
        let mut number = || numbers.next().and_then(|digits| digits.parse().ok());
        let (major, minor, patch) = (number(), number(), number());
        Ok(Self {
            major: major.ok_or_else(invalid)?,
            minor: minor.ok_or_else(invalid)?,
            patch: patch.unwrap_or(0),
            text: BoundedText::new(text),
        })
    }
}

/// A text that is no [`Version`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("version is {text:?}, expected two or three numbers with dots")]
pub struct InvalidVersion {
    /// The text's beginning.
    pub text: BoundedText,
}

const REPLY: &str = "show info";

struct Keys<'a>(&'a str);

type Found<'a> = (usize, &'a str);

impl<'a> Keys<'a> {
    fn get(&self, key: &str) -> Option<Found<'a>> {
        self.0.lines().enumerate().find_map(|(index, line)| {
            let value = line.strip_prefix(key)?.strip_prefix(':')?;
            Some((index + 1, value.trim()))
        })
    }

    fn needed(&self, key: &'static str) -> Result<Found<'a>, ParseError> {
        self.get(key).ok_or(ParseError::MissingColumn {
            reply: REPLY,
            column: key,
        })
    }

    fn number<T: FromStr>(&self, key: &'static str) -> Result<Option<T>, ParseError> {
        self.get(key).map(|found| number(found, key)).transpose()
    }

    fn needed_number<T: FromStr>(&self, key: &'static str) -> Result<T, ParseError> {
        number(self.needed(key)?, key)
    }
}

fn number<T: FromStr>(found: Found<'_>, key: &'static str) -> Result<T, ParseError> {
    found.1.parse().map_err(|_| wrong(found, key, "a number"))
}

fn wrong(found: Found<'_>, column: &'static str, expected: &'static str) -> ParseError {
    ParseError::Field {
        reply: REPLY,
        line: found.0,
        column,
        value: BoundedText::new(found.1),
        expected,
    }
}
