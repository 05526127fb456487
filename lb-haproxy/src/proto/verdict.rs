//! Whether HAProxy did what it was told.

use std::fmt;

use serde::Serialize;

use super::{Command, MapVersion, Reply, Severity};

/// The result of an accepted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Accepted {
    /// It was taken. Since 2.9 an address is only queued by then: read it back.
    Done,
    /// The reply is what was asked for.
    Text,
    /// The transaction that `prepare map` began.
    Version(MapVersion),
    /// It was sent, and this version says nothing of what came of it: ask `show proc`.
    Unconfirmed,
    /// HAProxy says there was nothing to change; it may compare with what it has not applied yet: read back.
    Unchanged,
}

/// Why HAProxy did not take a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The server has a unix or unresolved address, which cannot be changed at run time.
    #[error("server has no IP address, which only its configuration can change")]
    AddressFamily,
    /// A server of this name exists.
    #[error("server exists")]
    AlreadyExists,
    /// A backend of this name exists.
    #[error("backend exists")]
    BackendExists,
    /// The backend is published, has servers, or is used by the configuration.
    #[error("backend is in use")]
    BackendUsed,
    /// A certificate or its key that HAProxy does not take.
    #[error("certificate not taken: {0}")]
    Certificate(BoundedText),
    /// The server has no health check.
    #[error("server has no health check")]
    ChecksNotEnabled,
    /// Its load-balancing algorithm has a fixed set of servers.
    #[error("backend's balance algorithm takes no dynamic servers")]
    FixedServers,
    /// Its load-balancing algorithm has no weights but none and all.
    #[error("backend's balance algorithm takes only weights of 0 and the initial one")]
    FixedWeight,
    /// The address is none.
    #[error("address is invalid")]
    InvalidAddress,
    /// The port is none, or none that the server's checks can live with.
    #[error("port is invalid")]
    InvalidPort,
    /// The weight is none.
    #[error("weight is invalid")]
    InvalidWeight,
    /// The transaction was overtaken by another, given up, or never begun.
    #[error("map transaction is not open")]
    MapVersion,
    /// No `defaults` section of this name.
    #[error("no such defaults section")]
    NoSuchDefaults,
    /// No such backend.
    #[error("no such backend")]
    NoSuchBackend,
    /// No such entry in the map.
    #[error("no such map entry")]
    NoSuchEntry,
    /// No such map, or none that the configuration uses.
    #[error("no such map")]
    NoSuchMap,
    /// No such server.
    #[error("no such server")]
    NoSuchServer,
    /// The server must be in maintenance first.
    #[error("server is not in maintenance")]
    NotInMaintenance,
    /// An empty answer, or one of another shape than was asked for.
    #[error("answer of unexpected form: {0:?}")]
    Other(BoundedText),
    /// The socket's level is too low.
    #[error("permission denied, expected a socket of `level admin`")]
    PermissionDenied,
    /// The process is stopping, or the backend is disabled.
    #[error("backend is disabled or its process is stopping")]
    ProxyDisabled,
    /// Something in the configuration points to the server.
    #[error("server is pointed to by the configuration")]
    Referenced,
    /// The new configuration did not load; the old one is still in use.
    #[error("reload failed: {0:?}")]
    Reload(BoundedText),
    /// Sessions or connections hold the server.
    #[error("server still has connections")]
    StillUsed,
    /// The wait's time is over.
    #[error("wait is over without the server becoming removable")]
    TimedOut,
    /// The command is longer than HAProxy takes.
    #[error("command is too big for HAProxy's buffer")]
    TooBig,
    /// The server tracks another one.
    #[error("server tracks another one")]
    Tracking,
    /// This HAProxy has no such command, or not with these arguments.
    #[error("unknown command: {0:?}")]
    UnknownCommand(BoundedText),
    /// A setting that this HAProxy does not take for a server made at run time.
    #[error("setting not accepted: {0:?}")]
    UnknownSetting(BoundedText),
}

/// The beginning of a foreign text: its first line, at most 200 characters, no control characters.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub struct BoundedText(String);

impl BoundedText {
    /// The beginning of `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let line = text.trim_start().lines().next().unwrap_or_default();
        Self(Self::clean(line, 200))
    }

    fn paragraph(text: &str) -> Self {
        Self(Self::clean(text.trim(), 1000))
    }

    fn clean(text: &str, most: usize) -> String {
        text.chars()
            .take(most)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BoundedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for BoundedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Judges whether `reply` says that `command` was done, and if not, why.
///
/// Decided by the text each command has for success, on every version; whatever is not one of those is a refusal.
///
/// ```
/// use lb_haproxy::proto::{Accepted, Command, Refusal, Reply, ServerRef, verdict};
///
/// let server = ServerRef::new("web".parse().unwrap(), "slot1".parse().unwrap());
/// let command = Command::SetAddr(server, "10.0.0.7:80".parse().unwrap());
/// assert_eq!(verdict(&command, &Reply::from("nothing changed")), Ok(Accepted::Unchanged));
/// assert_eq!(verdict(&command, &Reply::from("No such server.")), Err(Refusal::NoSuchServer));
/// ```
///
/// # Errors
/// The [`Refusal`].
pub fn verdict(command: &Command, reply: &Reply) -> Result<Accepted, Refusal> {
    use Command as C;
    let text = reply.text().trim();
    let done = |yes: bool| match yes {
        true => Ok(Accepted::Done),
        false => Err(refusal(text)),
    };
    let shown = |yes: bool| match yes && reply.severity().is_none_or(|s| s > Severity::ERROR) {
        true => Ok(Accepted::Text),
        false => Err(refusal(text)),
    };
    match command {
        C::SetAddr(..) => address_verdict(text),
        C::SetCheckAddr { .. } | C::SetCheckPort(..) => {
            done(text.is_empty() || text == "health check port updated.")
        }
        C::SetSsl(..) => done(text == "server ssl setting updated."),
        C::AddBackend { .. } => done(text == "New backend registered."),
        C::PublishBackend(_) => done(text == "Backend published."),
        C::UnpublishBackend(_) => done(text == "Backend unpublished."),
        // Before it comes what this connection's earlier commands had logged.
        C::DelBackend(_) => done(text.lines().last() == Some("Backend deleted.")),
        C::AddServer { .. } => done(text == "New server registered."),
        C::DelServer(_) => done(text == "Server deleted."),
        C::WaitRemovable(..) => done(text == "Done."),
        C::PrepareMap(_) => text
            .strip_prefix("New version created:")
            .and_then(|number| number.trim().parse().ok())
            .map(|number| Accepted::Version(MapVersion::new(number)))
            .ok_or_else(|| refusal(text)),
        C::Reload => reload_verdict(text),
        C::AddMap { .. }
        | C::AddMapEntries { .. }
        | C::ClearMap { .. }
        | C::CommitMap { .. }
        | C::DelMap { .. }
        | C::DisableAgent(_)
        | C::EnableAgent(_)
        | C::DisableHealth(_)
        | C::EnableHealth(_)
        | C::Prompt
        | C::SetHealth(..)
        | C::SetMap { .. }
        | C::SetSeverity
        | C::SetState(..)
        | C::SetTimeout(_)
        | C::SetWeight(..)
        | C::ShutdownSessions(_) => done(text.is_empty()),
        C::Ssl(command) => command.verdict(text),
        // A session may have that address, if hardly.
        C::AwaitThreads => shown(text.contains("ession not found") || text.starts_with("0x")),
        C::ShowBackend => shown(text.starts_with("# name")),
        C::ShowCliLevel => shown(matches!(text, "admin" | "operator" | "user")),
        C::ShowCliSockets => shown(text.starts_with("# socket lvl")),
        C::ShowInfo => shown(text.starts_with("Name:")),
        C::ShowMap(None) => shown(text.starts_with("# id")),
        C::ShowMap(Some(_)) | C::ShowMapVersion(..) => {
            shown(text.is_empty() || text.starts_with("0x"))
        }
        C::ShowProc => shown(text.starts_with("#<PID>")),
        C::ShowServersConn(_) => shown(text.starts_with("# bkname/svname")),
        C::ShowServersState(_) => shown(
            text.split_once('\n')
                .is_some_and(|(_, rest)| rest.starts_with("# ")),
        ),
        C::ShowStat(..) | C::ShowStatAll | C::ShowBackendStats => {
            shown(text.starts_with("# pxname"))
        }
        C::ShowVersion => shown(text.starts_with(|c: char| c.is_ascii_digit())),
    }
}

fn address_verdict(text: &str) -> Result<Accepted, Refusal> {
    const UNCHANGED: &str = "no need to change the addr, no need to change the port";
    // Up to 2.8 a good address with a bad port is one reply that begins as a success does.
    if [
        "Invalid addr",
        "problem converting",
        "can't change",
        "Update for",
    ]
    .iter()
    .any(|bad| text.contains(bad))
    {
        return Err(refusal(text));
    }
    if text == "nothing changed" || text.starts_with(UNCHANGED) {
        return Ok(Accepted::Unchanged);
    }
    match [
        "IP changed from",
        "no need to change the addr",
        "port changed from",
    ]
    .iter()
    .any(|good| text.starts_with(good))
    {
        true => Ok(Accepted::Done),
        false => Err(refusal(text)),
    }
}

fn reload_verdict(text: &str) -> Result<Accepted, Refusal> {
    match text.strip_prefix("Success=") {
        Some(rest) if rest.starts_with('1') => Ok(Accepted::Done),
        Some(rest) => Err(Refusal::Reload(BoundedText::paragraph(
            rest.trim_start_matches(['0', '\n', '-']),
        ))),
        // Up to 2.6.
        None if text.is_empty() => Ok(Accepted::Unconfirmed),
        None => Err(refusal(text)),
    }
}

fn refusal(text: &str) -> Refusal {
    let bounded = || BoundedText::new(text);
    match REFUSALS
        .iter()
        .find(|(part, _)| text.contains(part))
        .map(|(_, kind)| kind)
    {
        Some(Kind::Plain(refusal)) => refusal.clone(),
        Some(Kind::Command) => Refusal::UnknownCommand(bounded()),
        Some(Kind::Setting) => Refusal::UnknownSetting(bounded()),
        None => Refusal::Other(bounded()),
    }
}

enum Kind {
    Plain(Refusal),
    Command,
    Setting,
}

/// A part of each refusal's text, the more telling before the more general, over versions 2.2 to 3.5.
const REFUSALS: &[(&str, Kind)] = &[
    ("Permission denied", Kind::Plain(Refusal::PermissionDenied)),
    ("Wait delay expired", Kind::Plain(Refusal::TimedOut)),
    ("Unknown command", Kind::Command),
    ("' only supports ", Kind::Command),
    ("usage: set server", Kind::Command),
    ("Too many arguments", Kind::Command),
    ("too big for the buffer", Kind::Plain(Refusal::TooBig)),
    ("command line is too big", Kind::Plain(Refusal::TooBig)),
    ("Proxy is disabled", Kind::Plain(Refusal::ProxyDisabled)),
    (
        "name is already used by other proxy",
        Kind::Plain(Refusal::BackendExists),
    ),
    (
        "Cannot find default proxy",
        Kind::Plain(Refusal::NoSuchDefaults),
    ),
    (
        "must be unpublished prior",
        Kind::Plain(Refusal::BackendUsed),
    ),
    (
        "Only a backend without server",
        Kind::Plain(Refusal::BackendUsed),
    ),
    ("No such backend", Kind::Plain(Refusal::NoSuchBackend)),
    ("Can't find backend", Kind::Plain(Refusal::NoSuchBackend)),
    ("No such proxy", Kind::Plain(Refusal::NoSuchBackend)),
    ("No such server", Kind::Plain(Refusal::NoSuchServer)),
    (
        "Require 'backend/server'",
        Kind::Plain(Refusal::NoSuchServer),
    ),
    (
        "Update for the current server address family",
        Kind::Plain(Refusal::AddressFamily),
    ),
    ("Invalid addr", Kind::Plain(Refusal::InvalidAddress)),
    ("invalid addr", Kind::Plain(Refusal::InvalidAddress)),
    ("problem converting port", Kind::Plain(Refusal::InvalidPort)),
    (
        "can't change <port> to port map",
        Kind::Plain(Refusal::InvalidPort),
    ),
    ("provided port is", Kind::Plain(Refusal::InvalidPort)),
    (
        "using a static LB algorithm",
        Kind::Plain(Refusal::FixedWeight),
    ),
    ("Require <weight>", Kind::Plain(Refusal::InvalidWeight)),
    ("Absolute weight", Kind::Plain(Refusal::InvalidWeight)),
    ("weight string", Kind::Plain(Refusal::InvalidWeight)),
    (
        "must use a dynamic load balancing",
        Kind::Plain(Refusal::FixedServers),
    ),
    (
        "does not support dynamic servers",
        Kind::Plain(Refusal::FixedServers),
    ),
    (
        "Already exists a server",
        Kind::Plain(Refusal::AlreadyExists),
    ),
    (
        "in maintenance mode can be deleted",
        Kind::Plain(Refusal::NotInMaintenance),
    ),
    ("connections attached", Kind::Plain(Refusal::StillUsed)),
    (
        "configuration elements pointing to it",
        Kind::Plain(Refusal::Referenced),
    ),
    (
        "ealth checks are not enabled",
        Kind::Plain(Refusal::ChecksNotEnabled),
    ),
    (
        "check was not configured",
        Kind::Plain(Refusal::ChecksNotEnabled),
    ),
    ("on a tracking server", Kind::Plain(Refusal::Tracking)),
    ("Unknown map identifier", Kind::Plain(Refusal::NoSuchMap)),
    ("entry not found", Kind::Plain(Refusal::NoSuchEntry)),
    (
        "key or pattern not found",
        Kind::Plain(Refusal::NoSuchEntry),
    ),
    ("Key not found", Kind::Plain(Refusal::NoSuchEntry)),
    ("ersion number", Kind::Plain(Refusal::MapVersion)),
    ("option is not accepted for dynamic server", Kind::Setting),
    ("unknown keyword", Kind::Setting),
];
