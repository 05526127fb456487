//! `show servers conn`: which connections HAProxy has to its servers.

use lb_core::Name;
use serde::Serialize;

use super::{
    ParseError, ServerRef,
    columns::{Header, Line},
};

/// The connections of all servers of one backend or of all, in HAProxy's order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct ServersConn {
    /// One per server.
    pub rows: Vec<ConnRow>,
    /// The number of servers that were left out because their backend's name or their own is no [`Name`].
    pub unnamed: usize,
}

/// One server's connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConnRow {
    /// The server.
    pub server: ServerRef,
    /// Connections that carry streams. On 2.2 also idle ones that belong to a client.
    pub used: u32,
    /// Idle connections in the pool.
    pub idle: u32,
    /// Streams being served or queued for it (3.4+).
    pub served: Option<u32>,
    /// Idle connections that still belong to a client (3.4+).
    pub idle_of_sessions: Option<u32>,
    /// Idle connections whose reuse was not proved safe.
    pub unsafe_idle: u32,
    /// Idle connections whose reuse was proved safe.
    pub safe_idle: u32,
    /// After how many milliseconds half of the idle ones are closed.
    pub purge_delay: u32,
}

impl ConnRow {
    /// Returns `true` if nothing of this server is in use or pooled, as far as its version tells.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.used == 0
            && self.idle == 0
            && self.served.is_none_or(|count| count == 0)
            && self.idle_of_sessions.is_none_or(|count| count == 0)
    }
}

impl ServersConn {
    /// Reads the reply to [`Command::ShowServersConn`](super::Command::ShowServersConn).
    ///
    /// # Errors
    /// [`ParseError`], naming the column.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let header = Header::read(REPLY, text, "# ", str::split_ascii_whitespace)?;
        let server = header.column("bkname/svname")?;
        let used = header.column("used_cur")?;
        let idle = header.column("idle_cur")?;
        let unsafe_idle = header.column("unsafe_nb")?;
        let safe_idle = header.column("safe_nb")?;
        let purge_delay = header.column("purge_delay")?;
        let served = header.optional("served");
        let idle_of_sessions = header.optional("idle_sess");
        let mut conn = Self {
            rows: Vec::with_capacity(text.len() / 64),
            unnamed: 0,
        };
        let mut last: Option<Name> = None;
        let mut fields = Vec::with_capacity(32);
        for (index, line) in text.lines().enumerate().skip(1) {
            fields.clear();
            fields.extend(line.split_ascii_whitespace());
            if fields.is_empty() {
                continue;
            }
            let line = Line {
                reply: REPLY,
                number: index + 1,
                fields: &fields,
            };
            let both = line.text(server)?;
            let Some((pool, name)) = both.split_once('/') else {
                return Err(line.wrong(server, both, "backend/server"));
            };
            let known = match &last {
                Some(known) if known.as_str() == pool => Some(known.clone()),
                _ => pool.parse().ok(),
            };
            let (Some(pool), Ok(name)) = (known, name.parse()) else {
                conn.unnamed += 1;
                continue;
            };
            last = Some(pool.clone());
            conn.rows.push(ConnRow {
                server: ServerRef::new(pool, name),
                used: line.number(used)?,
                idle: line.number(idle)?,
                served: line.maybe(served)?,
                idle_of_sessions: line.maybe(idle_of_sessions)?,
                unsafe_idle: line.number(unsafe_idle)?,
                safe_idle: line.number(safe_idle)?,
                purge_delay: line.number(purge_delay)?,
            });
        }
        Ok(conn)
    }
}

const REPLY: &str = "show servers conn";
