//! `show servers state`: what HAProxy's servers are, the only evidence of what was applied.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_core::Name;
use serde::Serialize;

use super::{
    BoundedText, ParseError, ServerRef,
    columns::{Column, Header, Line},
};

/// All servers of one backend or of all, in HAProxy's order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct ServersState {
    /// One per server.
    pub rows: Vec<ServerRow>,
    /// The number of servers that were left out because their backend's name or their own is no [`Name`].
    ///
    /// HAProxy has the same alphabet but no limit of length; such servers are not ours and cannot be addressed.
    pub unnamed: usize,
    /// Servers of whose line a field cannot be read. Nothing is known of them now.
    pub unreadable: Vec<Unreadable>,
}

/// A server of whose line a field cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Unreadable {
    /// The server.
    pub server: ServerRef,
    /// The number of readable servers before it.
    pub at: usize,
    /// The problem, as a lower-case fragment.
    pub problem: String,
}

/// One server as `show servers state` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServerRow {
    /// The server's backend.
    pub backend: Name,
    /// The backend's number.
    pub backend_id: u32,
    /// The server's name.
    pub server: Name,
    /// The server's number in its backend.
    pub id: u32,
    /// Its address; `None` for a unix socket or an unresolved name.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// The operational state.
    pub op: OpState,
    /// The reasons that keep it from serving.
    pub admin: AdminBits,
    /// Its weight now.
    pub weight: u16,
    /// Its weight in the configuration.
    pub initial_weight: u16,
    /// The time since it went up or down, in whole seconds.
    pub since_change: Duration,
    /// The state of its checks.
    pub check: CheckBits,
    /// The result of its last check.
    pub check_result: CheckResult,
    /// The health counter of its check: from the configuration's `rise` on it is up.
    pub check_health: u16,
    /// The port of its checks, if it is not the server's (2.4+).
    pub check_port: Option<u16>,
    /// The address of its checks, if it is not the server's (2.4+).
    pub check_address: Option<IpAddr>,
    /// If `true`, it is spoken to by TLS (2.4+).
    pub ssl: Option<bool>,
    /// The state of its agent.
    pub agent: CheckBits,
    /// The name its address comes from.
    pub fqdn: Option<Box<str>>,
}

impl ServerRow {
    /// The server.
    #[must_use]
    pub fn server_ref(&self) -> ServerRef {
        ServerRef::new(self.backend.clone(), self.server.clone())
    }

    /// Its address and port, where it has an address.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address?, self.port))
    }
}

impl ServersState {
    /// Reads the reply to [`Command::ShowServersState`](super::Command::ShowServersState), or a server-state file.
    ///
    /// # Errors
    /// [`ParseError`], naming the column. A line that is cut short and a server that is listed twice fail the whole, as
    /// what is read half or contradicts itself is no evidence; a field that is wrong concerns its own server only.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut state = Self::default();
        for line in Self::lines(text)? {
            match line? {
                StateLine::Server(row) => state.rows.push(*row),
                StateLine::Unnamed => state.unnamed += 1,
                StateLine::Unreadable(server, problem) => state.unreadable.push(Unreadable {
                    server,
                    at: state.rows.len(),
                    problem,
                }),
            }
        }
        Ok(state)
    }

    /// Reads the same reply line by line, so that a caller keeps no more of it than it needs.
    ///
    /// # Errors
    /// [`ParseError`] for a header that is not as expected, and of each line that would fail the whole.
    pub fn lines(
        text: &str,
    ) -> Result<impl Iterator<Item = Result<StateLine, ParseError>> + use<'_>, ParseError> {
        let mut lines = text.lines().enumerate();
        let names = lines
            .by_ref()
            .take(2)
            .find_map(|(_, line)| line.strip_prefix("# "))
            .ok_or_else(|| ParseError::Header {
                reply: REPLY,
                found: BoundedText::new(text),
            })?;
        let columns = Columns::find(&Header {
            reply: REPLY,
            names: names.split_ascii_whitespace().collect(),
        })?;
        let mut backend: Option<Name> = None;
        // No backend has two servers of one name: which of two would be evidence of it?
        let mut named: HashSet<(&str, &str)> = HashSet::new();
        let mut fields = Vec::with_capacity(32);
        Ok(lines.filter_map(move |(index, line)| {
            fields.clear();
            fields.extend(line.split_ascii_whitespace());
            if fields.is_empty() {
                return None;
            }
            let line = Line {
                reply: REPLY,
                number: index + 1,
                fields: &fields,
            };
            Some(
                columns
                    .unlisted(&line, &mut named)
                    .and_then(|()| columns.line(&line, &mut backend)),
            )
        }))
    }
}

/// One line of `show servers state`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateLine {
    /// A server.
    Server(Box<ServerRow>),
    /// A server whose backend's name or its own is no [`Name`].
    Unnamed,
    /// A server of whose line a field cannot be read, and what is wrong, as a lower-case fragment.
    Unreadable(ServerRef, String),
}

const REPLY: &str = "show servers state";

struct Columns {
    backend: Column,
    backend_id: Column,
    server: Column,
    id: Column,
    address: Column,
    port: Column,
    op: Column,
    admin: Column,
    weight: Column,
    initial_weight: Column,
    since_change: Column,
    check: Column,
    check_result: Column,
    check_health: Column,
    check_port: Option<Column>,
    check_address: Option<Column>,
    ssl: Option<Column>,
    agent: Column,
    fqdn: Column,
}

impl Columns {
    fn find(header: &Header<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            backend: header.column("be_name")?,
            backend_id: header.column("be_id")?,
            server: header.column("srv_name")?,
            id: header.column("srv_id")?,
            address: header.column("srv_addr")?,
            port: header.column("srv_port")?,
            op: header.column("srv_op_state")?,
            admin: header.column("srv_admin_state")?,
            weight: header.column("srv_uweight")?,
            initial_weight: header.column("srv_iweight")?,
            since_change: header.column("srv_time_since_last_change")?,
            check: header.column("srv_check_state")?,
            check_result: header.column("srv_check_result")?,
            check_health: header.column("srv_check_health")?,
            check_port: header.optional("srv_check_port"),
            check_address: header.optional("srv_check_addr"),
            ssl: header.optional("srv_use_ssl"),
            agent: header.column("srv_agent_state")?,
            fqdn: header.column("srv_fqdn")?,
        })
    }

    fn unlisted<'t>(
        &self,
        line: &Line<'t, '_>,
        named: &mut HashSet<(&'t str, &'t str)>,
    ) -> Result<(), ParseError> {
        let server = line.text(self.server)?;
        match named.insert((line.text(self.backend)?, server)) {
            true => Ok(()),
            false => Err(line.wrong(self.server, server, "a server that was not listed yet")),
        }
    }

    /// `backend` is the one of the line before, whose name is shared.
    fn line(
        &self,
        line: &Line<'_, '_>,
        backend: &mut Option<Name>,
    ) -> Result<StateLine, ParseError> {
        let (pool, server) = (line.text(self.backend)?, line.text(self.server)?);
        let known = match &backend {
            Some(known) if known.as_str() == pool => Some(known.clone()),
            _ => pool.parse().ok(),
        };
        let (Some(pool), Ok(server)) = (known, server.parse::<Name>()) else {
            return Ok(StateLine::Unnamed);
        };
        *backend = Some(pool.clone());
        match self.row(line, pool.clone(), server.clone()) {
            Ok(row) => Ok(StateLine::Server(Box::new(row))),
            Err(error @ ParseError::Field { .. }) => Ok(StateLine::Unreadable(
                ServerRef::new(pool, server),
                error.to_string(),
            )),
            Err(error) => Err(error),
        }
    }

    fn row(
        &self,
        line: &Line<'_, '_>,
        backend: Name,
        server: Name,
    ) -> Result<ServerRow, ParseError> {
        let address = line.text(self.address)?;
        Ok(ServerRow {
            backend,
            backend_id: line.number(self.backend_id)?,
            server,
            id: line.number(self.id)?,
            // Unresolved, unix, or something a later version brings: in each case none that we set.
            address: address.parse().ok(),
            port: line.number(self.port)?,
            op: OpState::of(line.number(self.op)?),
            admin: AdminBits(line.number(self.admin)?),
            weight: line.number(self.weight)?,
            initial_weight: line.number(self.initial_weight)?,
            // The clock of the machine may have been set back.
            since_change: Duration::from_secs(
                u64::try_from(line.number::<i64>(self.since_change)?).unwrap_or(0),
            ),
            check: CheckBits(line.number(self.check)?),
            check_result: CheckResult::of(line.number(self.check_result)?),
            check_health: line.number(self.check_health)?,
            check_port: line.maybe(self.check_port)?.filter(|port| *port != 0),
            check_address: line
                .maybe_text(self.check_address)
                .and_then(|text| text.parse().ok())
                .filter(|address: &IpAddr| !address.is_unspecified()),
            ssl: line.maybe::<i8>(self.ssl)?.map(|value| value > 0),
            agent: CheckBits(line.number(self.agent)?),
            fqdn: line.maybe_text(Some(self.fqdn)).map(Into::into),
        })
    }
}

/// The operational state of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OpState {
    /// It does not: it is in maintenance, or its checks fail.
    Stopped,
    /// It serves, on its way to its full weight.
    Starting,
    /// It serves.
    Running,
    /// It serves what it has and takes no more.
    Stopping,
    /// A number no known version prints.
    Unknown(u8),
}

impl OpState {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Stopped,
            1 => Self::Starting,
            2 => Self::Running,
            3 => Self::Stopping,
            number => Self::Unknown(number),
        }
    }

    /// Returns `true` if it takes new traffic, as far as its administrative state lets it.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Starting)
    }
}

/// The reasons that keep a server from taking traffic, as HAProxy's bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct AdminBits(u32);

impl AdminBits {
    /// These bits.
    #[must_use]
    pub fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits as HAProxy prints them.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }

    /// In maintenance: by command, by the server it tracks, or for want of an address.
    #[must_use]
    pub fn is_maint(self) -> bool {
        self.0 & 0x23 != 0
    }

    /// Draining: by command, or by the server it tracks.
    #[must_use]
    pub fn is_drain(self) -> bool {
        self.0 & 0x18 != 0
    }

    /// Declared `disabled` in the configuration, which stays set when the server is made ready.
    #[must_use]
    pub fn is_declared_disabled(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// In maintenance because its name did not resolve, which no command of ours ends.
    #[must_use]
    pub fn is_unresolved(self) -> bool {
        self.0 & 0x20 != 0
    }
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CheckResult {
    /// None has ended yet.
    Unknown,
    /// It says nothing.
    Neutral,
    /// It failed.
    Failed,
    /// It passed.
    Passed,
    /// It passed, for what is under way only.
    PassedConditionally,
    /// A number no known version prints.
    Other(u8),
}

impl CheckResult {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Unknown,
            1 => Self::Neutral,
            2 => Self::Failed,
            3 => Self::Passed,
            4 => Self::PassedConditionally,
            number => Self::Other(number),
        }
    }
}

/// The state of a server's checks or its agent, as HAProxy's bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct CheckBits(u32);

impl CheckBits {
    /// These bits.
    #[must_use]
    pub fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits as HAProxy prints them.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }

    /// A check is under way.
    #[must_use]
    pub fn is_running(self) -> bool {
        self.0 & 0x01 != 0
    }

    /// The configuration has a check.
    #[must_use]
    pub fn is_configured(self) -> bool {
        self.0 & 0x02 != 0
    }

    /// The check is switched on.
    #[must_use]
    pub fn is_enabled(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// The check waits for the end of a maintenance.
    #[must_use]
    pub fn is_paused(self) -> bool {
        self.0 & 0x08 != 0
    }
}
