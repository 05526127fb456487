//! HAProxy's replies, as hostile as they can be. Each function panics where what it states does not hold.

use std::time::Duration;

use lb_haproxy::proto::{
    AdminState, Command, Dialect, Health, Info, MAX_COMMAND, MapKey, MapName, MapValue, MapVersion,
    Processes, Refusal, Reply, ServerOptions, ServerRef, ServersConn, ServersState, Session,
    SessionConfig, SessionError, Stat, encode as write, parse_map_entries, parse_maps,
    verdict as judge,
};

/// Whatever comes, whole or in pieces, gives the same replies and the same end, and loses count of no command.
pub fn session(data: &[u8]) {
    let Some((head, stream)) = data.split_first() else {
        return;
    };
    let dialect = if head & 1 == 0 {
        Dialect::Worker
    } else {
        Dialect::Master
    };
    let piece = usize::from(head >> 1) + 1;
    let whole = converse(dialect, stream, stream.len().max(1));
    let parts = converse(dialect, stream, piece);
    let bytes = converse(dialect, stream, 1);
    assert_eq!(whole.0, bytes.0, "replies");
    assert_eq!(whole.0, parts.0, "replies");
    assert_eq!(kind(&whole.1), kind(&bytes.1), "end");
    assert_eq!(kind(&whole.1), kind(&parts.1), "end");
}

fn converse(
    dialect: Dialect,
    stream: &[u8],
    piece: usize,
) -> (Vec<String>, Result<(), SessionError>) {
    const COMMANDS: usize = 5;
    let mut config = match dialect {
        Dialect::Master => SessionConfig::master(),
        Dialect::Worker => SessionConfig::worker(),
    };
    config.reply_limit = 1 << 20;
    let mut session = Session::new(config);
    assert!(session.poll_transmit().is_some());
    let greeting: &[&[u8]] = match dialect {
        Dialect::Master => &[b"master> "],
        Dialect::Worker => &[b"\n> ", b"\n> \n> "],
    };
    for answer in greeting {
        assert_eq!(session.receive(answer), Ok(()));
        let _sent = session.poll_transmit();
    }
    let entries = vec![(constant("k"), constant("v"))];
    let commands = [
        Command::ShowInfo,
        Command::AddMapEntries {
            map: constant("m"),
            version: None,
            entries,
        },
        Command::ShowBackend,
        Command::Reload,
        Command::ShowInfo,
    ];
    for command in &commands {
        assert!(session.submit(command).is_ok(), "{command:?}");
    }
    let _sent = session.poll_transmit();
    let mut end = Ok(());
    for piece in stream.chunks(piece) {
        end = session.receive(piece);
        if end.is_err() {
            break;
        }
    }
    if end.is_ok() {
        end = session.receive_eof();
    }
    let replies: Vec<String> = std::iter::from_fn(|| session.poll_reply())
        .map(|(_, reply)| reply.text().to_owned())
        .collect();
    let (unknown, unsent) = session.unanswered();
    assert_eq!(replies.len() + unknown + unsent, COMMANDS);
    (replies, end)
}

/// Excerpts of the stream in an error depend on the pieces, what went wrong does not.
fn kind(end: &Result<(), SessionError>) -> std::mem::Discriminant<SessionError> {
    match end {
        Ok(()) => std::mem::discriminant(&SessionError::Eof {
            unknown: 0,
            unsent: 0,
        }),
        Err(error) => std::mem::discriminant(error),
    }
}

/// There are no more servers than lines, and what is read is read alike again.
pub fn servers_state(data: &[u8]) {
    let text = text(data);
    if let Ok(state) = ServersState::parse(&text) {
        assert!(state.rows.len() + state.unnamed < text.lines().count());
        assert_eq!(ServersState::parse(&format!("{text}\n\n")), Ok(state));
    }
}

/// There are no more servers than lines, and what is read is read alike again.
pub fn conn(data: &[u8]) {
    let text = text(data);
    if let Ok(conn) = ServersConn::parse(&text) {
        assert!(conn.rows.len() + conn.unnamed < text.lines().count());
        assert_eq!(ServersConn::parse(&format!("{text}\n\n")), Ok(conn));
    }
}

/// There are no more rows than lines, and what is read is read alike again.
pub fn stat(data: &[u8]) {
    let text = text(data);
    if let Ok(stat) = Stat::parse(&text) {
        assert!(stat.rows.len() + stat.unnamed < text.lines().count());
        assert_eq!(Stat::parse(&format!("{text}\n\n")), Ok(stat));
    }
}

/// A version that is read orders as its numbers do.
pub fn info(data: &[u8]) {
    if let Ok(info) = Info::parse(&text(data)) {
        let version = info.version;
        assert!(version.at_least(version.major(), version.minor()));
        assert!(version.text().chars().count() <= 200);
    }
}

/// There are no more maps or entries than lines.
pub fn map(data: &[u8]) {
    let text = text(data);
    if let Ok(maps) = parse_maps(&text) {
        assert!(maps.len() < text.lines().count());
    }
    if let Ok(entries) = parse_map_entries(&text) {
        assert!(entries.len() <= text.lines().count());
        assert!(entries.iter().all(|entry| !entry.key.contains(' ')));
    }
}

/// There are no more processes than lines, and the one that serves is one of them.
pub fn proc(data: &[u8]) {
    let text = text(data);
    if let Ok(processes) = Processes::parse(&text) {
        assert!(processes.workers.len() + processes.old_workers.len() < text.lines().count());
        let workers = [&processes.workers, &processes.old_workers];
        let none = workers.iter().all(|workers| workers.is_empty());
        assert_eq!(processes.current().is_none(), none);
    }
}

/// Foreign text in a refusal is short and printable; silence never means that something was shown.
pub fn verdict(data: &[u8]) {
    let Some((head, rest)) = data.split_first() else {
        return;
    };
    let commands = commands();
    let command = &commands[usize::from(*head) % commands.len()];
    let reply = Reply::new(rest.to_vec());
    match judge(command, &reply) {
        Ok(_) => {}
        Err(
            Refusal::Other(text)
            | Refusal::Reload(text)
            | Refusal::UnknownCommand(text)
            | Refusal::UnknownSetting(text),
        ) => {
            assert!(text.as_str().chars().count() <= 1000);
            assert!(!text.as_str().contains(char::is_control));
        }
        Err(_) => assert!(!reply.is_empty(), "a refusal has a reason"),
    }
}

/// I6: texts that are taken as names, keys and values are written as one command.
pub fn encode(data: &[u8]) {
    let text = text(data);
    let mut parts = text.split('\u{1}');
    let mut part = || parts.next().unwrap_or_default();
    let server = match (part().parse(), part().parse()) {
        (Ok(backend), Ok(server)) => Some(ServerRef::new(backend, server)),
        _ => None,
    };
    let map: Option<MapName> = part().parse().ok();
    let key: Option<MapKey> = part().parse().ok();
    let value: Option<MapValue> = part().parse().ok();
    let mut commands = Vec::new();
    commands.extend(server.map(|server| Command::SetState(server, AdminState::Ready)));
    if let (Some(map), Some(key), Some(value)) = (map, key, value) {
        let entries = vec![(key.clone(), value.clone()); 2];
        commands.push(Command::AddMapEntries {
            map: map.clone(),
            version: None,
            entries,
        });
        commands.push(Command::DelMap {
            map: map.clone(),
            key: key.clone(),
        });
        commands.push(Command::SetMap { map, key, value });
    }
    for command in commands {
        let mut bytes = Vec::new();
        if write(&command, &mut bytes).is_err() {
            assert!(bytes.is_empty());
            continue;
        }
        assert!(bytes.len() <= MAX_COMMAND);
        let Ok(text) = String::from_utf8(bytes) else {
            panic!("{command:?} is no text");
        };
        let payload = matches!(command, Command::AddMapEntries { .. });
        assert_eq!(
            text.matches('\n').count(),
            if payload { 4 } else { 1 },
            "{text:?}"
        );
        assert_eq!(text.matches("<<").count(), usize::from(payload), "{text:?}");
        assert!(!text.contains([';', '\\', '\r', '\0', '\t']), "{text:?}");
        assert_eq!(text.ends_with("\n\n"), payload);
        assert!(!text.contains("\n\n") || payload);
    }
}

/// A text of this file that is known to be valid.
fn constant<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    match text.parse() {
        Ok(value) => value,
        Err(error) => panic!("{text:?} in the target itself: {error:?}"),
    }
}

fn commands() -> Vec<Command> {
    let server = || ServerRef::new(constant("b"), constant("s"));
    let map = || -> MapName { constant("m") };
    let version = MapVersion::new(1);
    let address = constant("127.0.0.1:1");
    vec![
        Command::SetAddr(server(), address),
        Command::SetState(server(), AdminState::Ready),
        Command::SetHealth(server(), Health::Up),
        Command::SetCheckPort(server(), 1),
        Command::AddServer {
            server: server(),
            address,
            options: ServerOptions::default(),
        },
        Command::DelServer(server()),
        Command::WaitRemovable(server(), Duration::from_secs(1)),
        Command::PrepareMap(map()),
        Command::CommitMap {
            map: map(),
            version,
        },
        Command::ShowMap(None),
        Command::ShowMap(Some(map())),
        Command::ShowMapVersion(map(), version),
        Command::ShowInfo,
        Command::ShowProc,
        Command::ShowServersState(None),
        Command::ShowServersConn(None),
        Command::ShowStatAll,
        Command::ShowBackendStats,
        Command::ShowVersion,
        Command::ShowBackend,
        Command::ShowCliLevel,
        Command::Reload,
    ]
}

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}
