//! Commands to bytes.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_core::Mode;

use super::{
    AdminState, Command, Health, MAX_CERTIFICATE, MapKey, MapName, MapValue, MapVersion,
    ServerOptions, ServerRef,
};

/// The most bytes of one command, its payload and line feeds included.
///
/// HAProxy takes as much as its `tune.bufsize`, 16384 by default, and what it does with more goes by version
/// from a silent close to a reply without end. Half of it leaves room for an administrator who lowered it.
pub const MAX_COMMAND: usize = 8192;

/// Why a command cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A wait or time-out of zero, below a millisecond, or beyond HAProxy's 24 days.
    #[error("time of {given:?} expected to be 1 ms to 24 days")]
    Duration {
        /// The time given.
        given: Duration,
    },
    /// A payload without entries, which HAProxy would not see the end of.
    #[error("no map entries, expected at least one")]
    NoEntries,
    /// Port 0, or an address that makes HAProxy connect where the client wanted to.
    #[error("address {address} expected to have a port, and not to be the unspecified address")]
    Unspecified {
        /// The address given.
        address: SocketAddr,
    },
    /// An IPv6 address that only means something on one link.
    #[error("address {address} has a scope, which HAProxy cannot be told")]
    Scoped {
        /// The address given.
        address: SocketAddr,
    },
    /// A certificate of more bytes than HAProxy takes at run time.
    #[error("certificate has {len} bytes, expected at most {MAX_CERTIFICATE}; a reload takes any")]
    CertificateTooLong {
        /// The number it has.
        len: usize,
    },
    /// More bytes than HAProxy safely takes.
    #[error("command has {len} bytes, expected at most {MAX_COMMAND}")]
    TooLong {
        /// The number of bytes it would have.
        len: usize,
    },
}

/// Appends the command's bytes: one line and, for [`Command::AddMapEntries`], its payload.
///
/// On an error nothing is appended.
///
/// ```
/// use lb_haproxy::proto::{Command, ServerRef, encode};
///
/// let server = ServerRef::new("web".parse().unwrap(), "slot1".parse().unwrap());
/// let mut line = Vec::new();
/// encode(&Command::SetAddr(server, "[fd00::7]:8080".parse().unwrap()), &mut line).unwrap();
/// assert_eq!(line, b"set server web/slot1 addr fd00::7 port 8080\n");
/// ```
///
/// # Errors
/// [`EncodeError`] for what is typed well but means nothing to HAProxy, and for too many bytes.
pub fn encode(command: &Command, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let result = write_command(command, out).and_then(|()| {
        out.push(b'\n');
        match (command, out.len() - start) {
            (Command::Ssl(command), len) => command.check_length(len),
            (_, len) if len > MAX_COMMAND => Err(EncodeError::TooLong { len }),
            _ => Ok(()),
        }
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// The command's first line, for logs and dry runs; a payload is only counted.
#[must_use]
pub fn command_text(command: &Command) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = encode(command, &mut bytes) {
        return format!("({error})");
    }
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default();
    match command {
        Command::AddMapEntries { entries, .. } => format!("{line} ({} entries)", entries.len()),
        _ => line.to_owned(),
    }
}

/// Cuts entries into as few commands as the size of a command allows, in order.
#[must_use]
pub fn map_batches(
    map: &MapName,
    version: Option<MapVersion>,
    entries: impl IntoIterator<Item = (MapKey, MapValue)>,
) -> Vec<Command> {
    // `add map @4294967295 M <<`, its line feed, and the empty line at the end.
    let head = map.as_str().len() + 32;
    let mut commands = Vec::new();
    let mut batch = Vec::new();
    let mut size = head;
    let mut flush = |batch: &mut Vec<(MapKey, MapValue)>| {
        if !batch.is_empty() {
            commands.push(Command::AddMapEntries {
                map: map.clone(),
                version,
                entries: std::mem::take(batch),
            });
        }
    };
    for (key, value) in entries {
        let line = key.as_str().len() + value.as_str().len() + 2;
        if size + line > MAX_COMMAND {
            flush(&mut batch);
            size = head;
        }
        size += line;
        batch.push((key, value));
    }
    flush(&mut batch);
    commands
}

fn write_command(command: &Command, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    use Command as C;
    match command {
        C::AddBackend {
            backend,
            defaults,
            mode,
        } => {
            let mode = match mode {
                Mode::Http => "http",
                _ => "tcp",
            };
            put(
                out,
                format_args!("add backend {backend} from {defaults} mode {mode}"),
            );
        }
        C::PublishBackend(backend) => put(out, format_args!("publish backend {backend}")),
        C::UnpublishBackend(backend) => put(out, format_args!("unpublish backend {backend}")),
        C::DelBackend(backend) => put(out, format_args!("del backend {backend}")),
        C::AddMap {
            map,
            version,
            key,
            value,
        } => put(
            out,
            format_args!("add map {}{map} {key} {value}", At(*version)),
        ),
        C::AddMapEntries {
            map,
            version,
            entries,
        } => {
            if entries.is_empty() {
                return Err(EncodeError::NoEntries);
            }
            put(out, format_args!("add map {}{map} <<\n", At(*version)));
            for (key, value) in entries {
                put(out, format_args!("{key} {value}\n"));
            }
        }
        C::AddServer {
            server,
            address,
            options,
        } => {
            let address = check_address(*address)?;
            put(out, format_args!("add server {server} {address}"));
            write_options(options, out)?;
        }
        C::ClearMap { map, version } => put(out, format_args!("clear map {}{map}", At(*version))),
        C::CommitMap { map, version } => {
            put(out, format_args!("commit map {}{map}", At(Some(*version))));
        }
        C::DelMap { map, key } => put(out, format_args!("del map {map} {key}")),
        C::DelServer(server) => put(out, format_args!("del server {server}")),
        C::DisableAgent(server) => put(out, format_args!("disable agent {server}")),
        C::EnableAgent(server) => put(out, format_args!("enable agent {server}")),
        C::DisableHealth(server) => put(out, format_args!("disable health {server}")),
        C::EnableHealth(server) => put(out, format_args!("enable health {server}")),
        C::PrepareMap(map) => put(out, format_args!("prepare map {map}")),
        C::Prompt => put(out, format_args!("prompt")),
        C::Reload => put(out, format_args!("reload")),
        C::SetAddr(server, address) => {
            let address = check_address(*address)?;
            let (ip, port) = (address.ip(), address.port());
            put(
                out,
                format_args!("set server {server} addr {ip} port {port}"),
            );
        }
        C::SetCheckAddr {
            server,
            address,
            port,
        } => write_check_addr(server, *address, *port, out)?,
        C::SetCheckPort(server, port) => {
            put(out, format_args!("set server {server} check-port {port}"));
        }
        C::SetHealth(server, health) => {
            let health = match health {
                Health::Down => "down",
                Health::Up => "up",
            };
            put(out, format_args!("set server {server} health {health}"));
        }
        C::SetMap { map, key, value } => put(out, format_args!("set map {map} {key} {value}")),
        C::SetSeverity => put(out, format_args!("set severity-output number")),
        C::SetSsl(server, on) => {
            let word = if *on { "on" } else { "off" };
            put(out, format_args!("set server {server} ssl {word}"));
        }
        C::SetState(server, state) => {
            let state = match state {
                AdminState::Drain => "drain",
                AdminState::Maint => "maint",
                AdminState::Ready => "ready",
            };
            put(out, format_args!("set server {server} state {state}"));
        }
        C::SetTimeout(time) => put(out, format_args!("set timeout cli {}ms", millis(*time)?)),
        C::SetWeight(server, weight) => {
            put(out, format_args!("set server {server} weight {weight}"));
        }
        C::AwaitThreads => put(out, format_args!("show sess 1")),
        C::ShowBackend => put(out, format_args!("show backend")),
        C::ShowCliLevel => put(out, format_args!("show cli level")),
        C::ShowCliSockets => put(out, format_args!("show cli sockets")),
        C::ShowInfo => put(out, format_args!("show info")),
        C::ShowMap(None) => put(out, format_args!("show map")),
        C::ShowMap(Some(map)) => put(out, format_args!("show map {map}")),
        C::ShowMapVersion(map, version) => {
            put(out, format_args!("show map {}{map}", At(Some(*version))));
        }
        C::ShowProc => put(out, format_args!("show proc")),
        C::ShowServersConn(None) => put(out, format_args!("show servers conn")),
        C::ShowServersConn(Some(backend)) => {
            put(out, format_args!("show servers conn {backend}"));
        }
        C::ShowServersState(None) => put(out, format_args!("show servers state")),
        C::ShowServersState(Some(backend)) => {
            put(out, format_args!("show servers state {backend}"));
        }
        C::ShowStat(backend, None) => put(out, format_args!("show stat {backend} 4 -1")),
        C::ShowStat(backend, Some(id)) => put(out, format_args!("show stat {backend} 4 {id}")),
        C::ShowBackendStats => put(out, format_args!("show stat -1 2 -1")),
        C::ShowStatAll => put(out, format_args!("show stat -1 7 -1")),
        C::ShowVersion => put(out, format_args!("show version")),
        C::ShutdownSessions(server) => {
            put(out, format_args!("shutdown sessions server {server}"));
        }
        C::Ssl(command) => command.write(out),
        C::WaitRemovable(server, time) => {
            let time = millis(*time)?;
            put(out, format_args!("wait {time}ms srv-removable {server}"));
        }
    }
    Ok(())
}

fn write_check_addr(
    server: &ServerRef,
    address: IpAddr,
    port: Option<u16>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    // The unspecified address is none: the check follows the server's.
    if !address.is_unspecified() {
        check_address(SocketAddr::new(address, port.unwrap_or(1)))?;
    }
    put(
        out,
        format_args!("set server {server} check-addr {address}"),
    );
    if let Some(port) = port {
        put(out, format_args!(" port {port}"));
    }
    Ok(())
}

fn write_options(options: &ServerOptions, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if options.check {
        put(out, format_args!(" check"));
    }
    if let Some(port) = options.check_port {
        put(out, format_args!(" port {port}"));
    }
    if let Some(fall) = options.fall {
        put(out, format_args!(" fall {fall}"));
    }
    if let Some(inter) = options.inter {
        put(out, format_args!(" inter {}ms", millis(inter)?));
    }
    if let Some(maxconn) = options.maxconn {
        put(out, format_args!(" maxconn {maxconn}"));
    }
    if let Some(most) = options.pool_max_conn {
        put(out, format_args!(" pool-max-conn {most}"));
    }
    if let Some(rise) = options.rise {
        put(out, format_args!(" rise {rise}"));
    }
    if let Some(slowstart) = options.slowstart {
        put(out, format_args!(" slowstart {}ms", millis(slowstart)?));
    }
    if let Some(weight) = options.weight {
        put(out, format_args!(" weight {weight}"));
    }
    Ok(())
}

/// A version as it stands before a map's name.
struct At(Option<MapVersion>);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(version) => write!(f, "@{version} "),
            None => Ok(()),
        }
    }
}

/// HAProxy reads port 0 as the client's port and the unspecified address as the client's destination.
pub(crate) fn check_address(address: SocketAddr) -> Result<SocketAddr, EncodeError> {
    if address.port() == 0 || address.ip().is_unspecified() {
        return Err(EncodeError::Unspecified { address });
    }
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => Err(EncodeError::Scoped { address }),
        _ => Ok(address),
    }
}

fn millis(given: Duration) -> Result<u64, EncodeError> {
    const MOST: u128 = 24 * 86_400 * 1000;
    match given.as_millis() {
        millis @ 1..=MOST => u64::try_from(millis).map_err(|_| EncodeError::Duration { given }),
        _ => Err(EncodeError::Duration { given }),
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    let _infallible = out.write_fmt(text);
}
