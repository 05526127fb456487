//! `show stat`: traffic and health, as CSV.

use std::net::SocketAddr;

use lb_core::Name;
use serde::Serialize;

use super::{
    BoundedText, ParseError,
    columns::{Column, Header, Line},
};

/// The lines of `show stat`, in HAProxy's order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Stat {
    /// One per frontend, backend, server and listener asked for.
    pub rows: Vec<StatRow>,
    /// The number of lines that were left out because a name in them is no [`Name`].
    pub unnamed: usize,
}

/// One frontend, backend, server or listener.
///
/// `None` is a column this HAProxy does not have or leaves empty for this kind of line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatRow {
    /// The kind of thing the line is about.
    pub kind: StatKind,
    /// The frontend or backend.
    pub proxy: Name,
    /// Its number.
    pub proxy_id: Option<u32>,
    /// The server or listener; `FRONTEND` or `BACKEND` for the proxy itself.
    pub name: Name,
    /// The server's number in its backend.
    pub id: Option<u32>,
    /// Sessions now.
    pub sessions: u64,
    /// The most sessions there were at a time.
    pub max_sessions: Option<u64>,
    /// Sessions since the start.
    pub total_sessions: Option<u64>,
    /// If `true`, it is a backup server.
    pub backup: bool,
    /// Requests waiting for a connection to it.
    pub queued: Option<u64>,
    /// Its status.
    pub status: Status,
    /// Its effective weight.
    pub weight: Option<u32>,
    /// Its weight as set (2.4 and later).
    pub user_weight: Option<u32>,
    /// The text of its last check, without the mark of a running one.
    pub check_status: Option<Box<str>>,
    /// If `true`, a check is running now.
    pub checking: bool,
    /// Its address and port; `None` for a unix socket or an unresolved name.
    pub address: Option<SocketAddr>,
    /// `http`, `tcp`, …
    pub mode: Option<Box<str>>,
    /// Connections that carry streams.
    pub used_connections: Option<u64>,
    /// Idle connections in the pool.
    pub idle_connections: Option<u64>,
    /// Seconds since it went up or down.
    pub since_change: Option<u64>,
    /// Requests that found no connection to it.
    pub connection_errors: Option<u64>,
    /// Requests whose response failed.
    pub response_errors: Option<u64>,
    /// Connection attempts that were repeated.
    pub retries: Option<u64>,
    /// Requests sent to another server instead.
    pub redispatches: Option<u64>,
    /// Responses of 500 to 599.
    pub responses_5xx: Option<u64>,
    /// The `balance` of a backend, without its parameters.
    pub algorithm: Option<Box<str>>,
}

/// The kind of thing a line of `show stat` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StatKind {
    /// A backend as a whole.
    Backend,
    /// A frontend as a whole.
    Frontend,
    /// One listening socket.
    Listener,
    /// One server.
    Server,
    /// A number no known version prints.
    Unknown(u8),
}

/// The status of a frontend, backend or server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Its checks fail, or none of its servers is up.
    Down,
    /// Up and draining.
    Drain,
    /// Down, with some checks passed already (`DOWN 1/2`).
    GoingUp,
    /// Up, with some checks failed already (`UP 1/3`).
    GoingDown,
    /// In maintenance, for whatever reason.
    Maint,
    /// Up, without a check.
    NoCheck,
    /// Up, and given no new traffic for its weight.
    NoLoadBalancing,
    /// A frontend that accepts.
    Open,
    /// A frontend or backend that is stopping.
    Stop,
    /// Up.
    Up,
    /// A text no known version prints.
    Other(BoundedText),
}

impl Status {
    fn of(text: &str) -> Self {
        let (word, counted) = match text.split_once(' ') {
            Some((word, rest)) => (word, rest.starts_with(|c: char| c.is_ascii_digit())),
            None => (text, false),
        };
        match (word, counted) {
            ("UP", false) => Self::Up,
            ("UP", true) => Self::GoingDown,
            ("DOWN", true) => Self::GoingUp,
            ("DOWN", false) => Self::Down,
            ("DRAIN", _) => Self::Drain,
            ("NOLB", _) => Self::NoLoadBalancing,
            ("OPEN", _) => Self::Open,
            ("STOP", _) => Self::Stop,
            ("no", _) => Self::NoCheck,
            // `MAINT (via be/s)`, `MAINT (resolution)`, `MAINT(resolution)`
            (word, _) if word.starts_with("MAINT") => Self::Maint,
            _ => Self::Other(BoundedText::new(text)),
        }
    }
}

impl Stat {
    /// Reads the reply to [`Command::ShowStat`](super::Command::ShowStat).
    ///
    /// # Errors
    /// [`ParseError`], naming the column.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let header = Header::read(REPLY, text, "# ", |names| names.split(','))?;
        let columns = Columns::find(&header)?;
        let mut stat = Self::default();
        let mut fields = Vec::with_capacity(128);
        for (index, line) in text.lines().enumerate().skip(1) {
            if line.is_empty() {
                continue;
            }
            fields.clear();
            split(line, &mut fields);
            let line = Line {
                reply: REPLY,
                number: index + 1,
                fields: &fields,
            };
            let (Ok(proxy), Ok(name)) = (
                line.text(columns.proxy)?.parse(),
                line.text(columns.name)?.parse(),
            ) else {
                stat.unnamed += 1;
                continue;
            };
            stat.rows.push(columns.row(&line, proxy, name)?);
        }
        Ok(stat)
    }
}

const REPLY: &str = "show stat";

/// Splits at commas outside double quotes. Quotes doubled inside a quoted field stay doubled: such fields are
/// free texts, none of which is read.
fn split<'a>(line: &'a str, fields: &mut Vec<&'a str>) {
    let mut rest = line;
    loop {
        let end = match rest.strip_prefix('"') {
            None => rest.find(','),
            Some(quoted) => {
                let mut inside = true;
                quoted
                    .bytes()
                    .position(|byte| {
                        inside ^= byte == b'"';
                        byte == b',' && !inside
                    })
                    .map(|at| at + 1)
            }
        };
        let Some((field, after)) = end.and_then(|end| rest.split_at_checked(end)) else {
            fields.push(unquoted(rest));
            return;
        };
        fields.push(unquoted(field));
        rest = after.get(1..).unwrap_or_default();
    }
}

fn unquoted(field: &str) -> &str {
    field
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(field)
}

struct Columns {
    kind: Column,
    proxy: Column,
    proxy_id: Option<Column>,
    name: Column,
    id: Option<Column>,
    sessions: Column,
    max_sessions: Option<Column>,
    total_sessions: Option<Column>,
    backup: Option<Column>,
    queued: Option<Column>,
    status: Column,
    weight: Option<Column>,
    user_weight: Option<Column>,
    check_status: Option<Column>,
    address: Option<Column>,
    mode: Option<Column>,
    used_connections: Option<Column>,
    idle_connections: Option<Column>,
    since_change: Option<Column>,
    connection_errors: Option<Column>,
    response_errors: Option<Column>,
    retries: Option<Column>,
    redispatches: Option<Column>,
    responses_5xx: Option<Column>,
    algorithm: Option<Column>,
}

impl Columns {
    fn find(header: &Header<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            kind: header.column("type")?,
            proxy: header.column("pxname")?,
            proxy_id: header.optional("iid"),
            name: header.column("svname")?,
            id: header.optional("sid"),
            sessions: header.column("scur")?,
            max_sessions: header.optional("smax"),
            total_sessions: header.optional("stot"),
            backup: header.optional("bck"),
            queued: header.optional("qcur"),
            status: header.column("status")?,
            weight: header.optional("weight"),
            user_weight: header.optional("uweight"),
            check_status: header.optional("check_status"),
            address: header.optional("addr"),
            mode: header.optional("mode"),
            used_connections: header.optional("used_conn_cur"),
            idle_connections: header.optional("idle_conn_cur"),
            since_change: header.optional("lastchg"),
            connection_errors: header.optional("econ"),
            response_errors: header.optional("eresp"),
            retries: header.optional("wretr"),
            redispatches: header.optional("wredis"),
            responses_5xx: header.optional("hrsp_5xx"),
            algorithm: header.optional("algo"),
        })
    }

    fn row(&self, line: &Line<'_, '_>, proxy: Name, name: Name) -> Result<StatRow, ParseError> {
        let check = line.maybe_text(self.check_status);
        let running = check.and_then(|text| text.strip_prefix("* "));
        Ok(StatRow {
            kind: match line.number(self.kind)? {
                0 => StatKind::Frontend,
                1 => StatKind::Backend,
                2 => StatKind::Server,
                3 => StatKind::Listener,
                number => StatKind::Unknown(number),
            },
            proxy,
            proxy_id: line.maybe(self.proxy_id)?,
            name,
            id: line.maybe(self.id)?,
            sessions: line.maybe(Some(self.sessions))?.unwrap_or(0),
            max_sessions: line.maybe(self.max_sessions)?,
            total_sessions: line.maybe(self.total_sessions)?,
            backup: line.maybe_text(self.backup) == Some("1"),
            queued: line.maybe(self.queued)?,
            status: Status::of(line.text(self.status)?),
            weight: line.maybe(self.weight)?,
            user_weight: line.maybe(self.user_weight)?,
            check_status: running.or(check).map(Into::into),
            checking: running.is_some(),
            address: line
                .maybe_text(self.address)
                .and_then(|text| text.parse().ok()),
            mode: line.maybe_text(self.mode).map(Into::into),
            used_connections: line.maybe(self.used_connections)?,
            idle_connections: line.maybe(self.idle_connections)?,
            since_change: line.maybe(self.since_change)?,
            connection_errors: line.maybe(self.connection_errors)?,
            response_errors: line.maybe(self.response_errors)?,
            retries: line.maybe(self.retries)?,
            redispatches: line.maybe(self.redispatches)?,
            responses_5xx: line.maybe(self.responses_5xx)?,
            algorithm: line.maybe_text(self.algorithm).map(Into::into),
        })
    }
}
