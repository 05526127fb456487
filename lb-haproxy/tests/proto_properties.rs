//! What holds for every command, every reply and every way the bytes may arrive.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_core::{Name, Weight};
use lb_haproxy::proto::{
    AdminState, Command, Dialect, EncodeError, Health, Info, MAX_COMMAND, MapKey, MapName,
    MapValue, MapVersion, Processes, Reply, ServerOptions, ServerRef, ServersConn, ServersState,
    Session, SessionConfig, SessionError, Stat, SubmitError, encode, map_batches,
    parse_map_entries, parse_maps, verdict,
};
use proptest::prelude::*;

/// Hostile text: whatever bytes, with what HAProxy's command line treats specially made likely.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-z0-9/._:-]{1,8}".prop_map(String::from),
        1 => prop::sample::select(vec![
            ";", "\n", "\r", "\\", "<<", "<", " ", "\t", "#", "@", "\0", "'", "\"", "é", "\u{85}",
            "\u{a0}", "\u{2028}", "> ", "\n> ", "add map",
        ]).prop_map(String::from),
        1 => ".{0,4}".prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn parsed<T: std::str::FromStr + std::fmt::Debug>() -> impl Strategy<Value = T> {
    text().prop_filter_map("refused", |text| text.parse().ok())
}

fn server() -> impl Strategy<Value = ServerRef> {
    (parsed::<Name>(), parsed::<Name>())
        .prop_map(|(backend, server)| ServerRef::new(backend, server))
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn version() -> impl Strategy<Value = Option<MapVersion>> {
    any::<Option<u32>>().prop_map(|number| number.map(MapVersion::new))
}

fn options() -> impl Strategy<Value = ServerOptions> {
    (
        any::<(bool, Option<u16>, Option<u16>, Option<u32>, Option<u32>)>(),
        any::<Option<Duration>>(),
        any::<Option<Duration>>(),
        prop::option::of(0_u16..=256),
    )
        .prop_map(
            |((check, port, count, maxconn, pool), inter, slowstart, weight)| {
                let mut options = ServerOptions::default();
                options.check = check;
                options.check_port = port;
                options.fall = count;
                options.rise = count;
                options.maxconn = maxconn;
                options.pool_max_conn = pool;
                options.inter = inter;
                options.slowstart = slowstart;
                options.weight = weight.map(|weight| Weight::new(weight).unwrap());
                options
            },
        )
}

fn command() -> impl Strategy<Value = Command> {
    let map = || parsed::<MapName>();
    let key = || parsed::<MapKey>();
    let value = || parsed::<MapValue>();
    let about_servers = prop_oneof![
        (server(), address()).prop_map(|(server, address)| Command::SetAddr(server, address)),
        (server(), address(), options()).prop_map(|(server, address, options)| {
            Command::AddServer {
                server,
                address,
                options,
            }
        }),
        (server(), any::<IpAddr>(), any::<Option<u16>>()).prop_map(|(server, address, port)| {
            Command::SetCheckAddr {
                server,
                address,
                port,
            }
        }),
        (server(), any::<u16>()).prop_map(|(server, port)| Command::SetCheckPort(server, port)),
        (server(), 0_u16..=256).prop_map(|(server, weight)| {
            Command::SetWeight(server, Weight::new(weight).unwrap())
        }),
        server().prop_map(|server| Command::SetState(server, AdminState::Drain)),
        server().prop_map(|server| Command::SetHealth(server, Health::Down)),
        server().prop_map(Command::DelServer),
        server().prop_map(Command::EnableHealth),
        server().prop_map(Command::DisableHealth),
        server().prop_map(Command::ShutdownSessions),
        (server(), any::<Duration>())
            .prop_map(|(server, time)| Command::WaitRemovable(server, time)),
    ];
    let about_maps = prop_oneof![
        (map(), version(), key(), value()).prop_map(|(map, version, key, value)| {
            Command::AddMap {
                map,
                version,
                key,
                value,
            }
        }),
        (
            map(),
            version(),
            prop::collection::vec((key(), value()), 0..5)
        )
            .prop_map(|(map, version, entries)| Command::AddMapEntries {
                map,
                version,
                entries
            }),
        (map(), key(), value()).prop_map(|(map, key, value)| Command::SetMap { map, key, value }),
        (map(), key()).prop_map(|(map, key)| Command::DelMap { map, key }),
        (map(), version()).prop_map(|(map, version)| Command::ClearMap { map, version }),
        map().prop_map(Command::PrepareMap),
        map().prop_map(|map| Command::ShowMap(Some(map))),
        (map(), any::<u32>()).prop_map(|(map, number)| Command::CommitMap {
            map,
            version: MapVersion::new(number)
        }),
        (map(), any::<u32>())
            .prop_map(|(map, number)| Command::ShowMapVersion(map, MapVersion::new(number))),
    ];
    let others = prop_oneof![
        any::<Duration>().prop_map(Command::SetTimeout),
        prop::option::of(parsed::<Name>()).prop_map(Command::ShowServersState),
        prop::option::of(parsed::<Name>()).prop_map(Command::ShowServersConn),
        (parsed::<Name>(), any::<Option<u32>>()).prop_map(|(name, id)| Command::ShowStat(name, id)),
        prop::sample::select(vec![
            Command::Prompt,
            Command::Reload,
            Command::SetSeverity,
            Command::AwaitThreads,
            Command::ShowBackend,
            Command::ShowCliLevel,
            Command::ShowInfo,
            Command::ShowProc,
            Command::ShowStatAll,
            Command::ShowBackendStats,
            Command::ShowVersion,
        ]),
    ];
    prop_oneof![about_servers, about_maps, others]
}

/// The number of commands that HAProxy would see in these bytes, read as the strictest and laxest of its versions do.
fn commands_in(bytes: &[u8]) -> usize {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(
        text.ends_with('\n') && !text.contains(['\r', '\0', '\\', ';', '\t']),
        "{text:?}"
    );
    let mut lines = text.lines();
    let mut commands = 0;
    while let Some(line) = lines.next() {
        commands += 1;
        assert!(
            !line.is_empty() && !line.starts_with(' ') && !line.ends_with(' '),
            "{text:?}"
        );
        assert!(line.split(' ').count() <= 64, "{text:?}");
        let payload = line.ends_with("<<") || line.split(' ').any(|word| word.starts_with("<<"));
        if payload {
            assert!(line.ends_with(" <<"), "no other end mark: {text:?}");
            let entries: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            assert!(!entries.is_empty(), "{text:?}");
            for entry in entries {
                assert_eq!(entry.split_whitespace().count(), 2, "{text:?}");
                assert_eq!(entry.split(' ').count(), 2, "{text:?}");
            }
        }
    }
    commands
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn i6_no_command_is_written_as_two(command in command()) {
        let mut bytes = b"show info\n".to_vec();
        match encode(&command, &mut bytes) {
            Ok(()) => {
                let own = &bytes[b"show info\n".len()..];
                prop_assert!(own.len() <= MAX_COMMAND);
                prop_assert_eq!(commands_in(own), 1);
            }
            Err(_) => prop_assert_eq!(bytes, b"show info\n"),
        }
    }

    #[test]
    fn i6_a_written_address_is_the_address(server in server(), address in address()) {
        let mut bytes = Vec::new();
        prop_assume!(encode(&Command::SetAddr(server, address), &mut bytes).is_ok());
        let text = String::from_utf8(bytes).unwrap();
        let (_, rest) = text.split_once(" addr ").unwrap();
        let (ip, port) = rest.trim_end().split_once(" port ").unwrap();
        prop_assert_eq!(ip.parse::<IpAddr>().unwrap(), address.ip());
        prop_assert_eq!(port.parse::<u16>().unwrap(), address.port());
        prop_assert_ne!(address.port(), 0);
    }

    #[test]
    fn any_split_of_the_bytes_gives_the_same_replies(
        cuts in prop::collection::vec(1_usize..9, 0..200),
        master in any::<bool>(),
    ) {
        let dialect = if master { Dialect::Master } else { Dialect::Worker };
        let (stream, texts) = conversation(dialect);
        let mut session = started(dialect);
        for _ in &texts {
            session.submit(&Command::ShowInfo).unwrap();
        }
        prop_assert!(session.poll_transmit().is_some());
        let mut rest = &stream[..];
        let mut cuts = cuts.into_iter();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
            session.receive(piece).unwrap();
            rest = after;
        }
        let replies: Vec<String> = std::iter::from_fn(|| session.poll_reply())
            .map(|(_, reply)| reply.text().to_owned())
            .collect();
        prop_assert_eq!(replies, texts);
        prop_assert!(session.is_idle());
        prop_assert_eq!(session.receive_eof(), Ok(()));
    }

    #[test]
    fn no_bytes_make_a_session_panic_or_hold_more_than_its_limit(
        master in any::<bool>(),
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
    ) {
        let mut config = if master { SessionConfig::master() } else { SessionConfig::worker() };
        config.reply_limit = 1000;
        let mut session = Session::new(config);
        for _ in 0..3 {
            session.submit(&Command::ShowInfo).unwrap();
        }
        let mut failed = false;
        for piece in pieces {
            let _bytes = session.poll_transmit();
            match session.receive(&piece) {
                Ok(()) => prop_assert!(!failed, "an ended session stays ended"),
                Err(_) => failed = true,
            }
        }
        let (unknown, unsent) = session.unanswered();
        let answered = std::iter::from_fn(|| session.poll_reply()).count();
        prop_assert_eq!(unknown + unsent + answered, 3);
    }

    #[test]
    fn no_text_makes_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), head in 0_usize..8) {
        let heads = [
            "", "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord\n",
            "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb idle_lim idle_cur\n",
            "# pxname,svname,scur,status,type,addr\n", "# id (file) description\n", "0x1 ",
            "#<PID> <type> <reloads> <uptime> <version>\n", "Name: HAProxy\n",
        ];
        read_all(heads[head], &bytes);
    }

    #[test]
    fn no_text_makes_a_verdict_panic(command in command(), text in text()) {
        let _verdict = verdict(&command, &Reply::from(text.as_str()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn batches_hold_every_entry_once_in_order_and_can_be_written(
        map in parsed::<MapName>(),
        version in version(),
        entries in prop::collection::vec(
            (wide::<MapKey>(),
             wide::<MapValue>()),
            0..60,
        ),
    ) {
        let mut found = Vec::new();
        for command in map_batches(&map, version, entries.clone()) {
            let mut bytes = Vec::new();
            encode(&command, &mut bytes).unwrap();
            prop_assert_eq!(commands_in(&bytes), 1);
            match command {
                Command::AddMapEntries { entries, .. } => found.extend(entries),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(found, entries);
    }
}

/// A text of up to 900 bytes.
fn wide<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = T>
{
    (1_usize..900).prop_map(|len| "x".repeat(len).parse().unwrap())
}

fn read_all(head: &str, bytes: &[u8]) {
    let text = format!("{head}{}", String::from_utf8_lossy(bytes));
    let _ = Info::parse(&text);
    let _ = ServersState::parse(&text);
    let _ = ServersConn::parse(&text);
    let _ = Stat::parse(&text);
    let _ = Processes::parse(&text);
    let _ = parse_maps(&text);
    let _ = parse_map_entries(&text);
}

/// A session past its greeting.
fn started(dialect: Dialect) -> Session {
    let mut session = match dialect {
        Dialect::Master => Session::new(SessionConfig::master()),
        Dialect::Worker => Session::new(SessionConfig::worker()),
    };
    assert_eq!(session.poll_transmit().unwrap(), b"prompt\n");
    match dialect {
        Dialect::Master => session.receive(b"master> ").unwrap(),
        Dialect::Worker => {
            session.receive(b"\n> ").unwrap();
            assert!(session.poll_transmit().is_some());
            session.receive(b"\n> \n> ").unwrap();
        }
    }
    session
}

/// A stream of replies, and what each says.
fn conversation(dialect: Dialect) -> (Vec<u8>, Vec<String>) {
    let texts = [
        "",
        "Name: HAProxy\nPid: 3",
        "",
        "1\n# be_id\n3 be 1 s> x\n>",
        "ma\nmaster\n12\n12>\n>x",
        "# name\nbe",
    ];
    let mut stream = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        stream.extend_from_slice(text.as_bytes());
        let prompt = match (dialect, index) {
            (Dialect::Worker, _) => "\n> ",
            (Dialect::Master, 0) => "\nmaster> ",
            (Dialect::Master, 1) => "\n\nmaster[ReloadFailed]> ",
            (Dialect::Master, _) => "\n\n4711> ",
        };
        if dialect == Dialect::Worker && !text.is_empty() {
            stream.push(b'\n');
        }
        stream.extend_from_slice(prompt.as_bytes());
    }
    (stream, texts.map(str::to_owned).to_vec())
}

#[test]
fn a_payload_reply_loses_its_continuation_signs_only() {
    let mut session = started(Dialect::Worker);
    let entry = ("/x".parse().unwrap(), "be".parse().unwrap());
    session
        .submit(&Command::AddMapEntries {
            map: "m".parse().unwrap(),
            version: None,
            entries: vec![entry.clone(), entry],
        })
        .unwrap();
    session.submit(&Command::ShowBackend).unwrap();
    assert_eq!(
        session.poll_transmit().unwrap(),
        b"add map m <<\n/x be\n/x be\n\nshow backend\n"
    );
    session.receive(b"+ + + [3]: no\n\n> + + \n> ").unwrap();
    assert_eq!(session.poll_reply().unwrap().1.text(), "no");
    assert_eq!(session.poll_reply().unwrap().1.text(), "+ + ");
}

#[test]
fn an_end_in_mid_reply_says_how_many_outcomes_are_unknown() {
    let mut config = SessionConfig::worker();
    config.window = 3;
    let mut session = Session::new(config);
    for _ in 0..10 {
        session.submit(&Command::ShowInfo).unwrap();
    }
    assert_eq!(session.poll_transmit().unwrap(), b"prompt\n");
    assert_eq!(session.poll_transmit(), None, "`prompt` goes alone");
    session.receive(b"\n> ").unwrap();
    let sent = session.poll_transmit().unwrap();
    assert_eq!(
        sent.iter().filter(|byte| **byte == b'\n').count(),
        3,
        "as the window says"
    );
    session.receive(b"\n> \n> one\n\n> ").unwrap();
    assert!(session.poll_transmit().is_some());
    session.receive(b"two\n\n> thr").unwrap();
    let ended = session.receive_eof();
    assert_eq!(
        ended,
        Err(SessionError::Eof {
            unknown: 2,
            unsent: 6
        })
    );
    assert_eq!(session.unanswered(), (2, 6));
    assert_eq!(session.receive(b"x"), ended, "ended is ended");
    assert!(matches!(
        session.submit(&Command::ShowInfo),
        Err(SubmitError::Ended(_))
    ));
    assert_eq!(std::iter::from_fn(|| session.poll_reply()).count(), 2);
}

#[test]
fn the_masters_last_word_before_a_reload_is_the_reply() {
    let mut session = started(Dialect::Master);
    session.submit(&Command::Reload).unwrap();
    assert!(session.poll_transmit().is_some());
    session
        .receive(b"Success=1\n--\n[NOTICE] loaded\n")
        .unwrap();
    assert_eq!(session.poll_reply(), None);
    assert_eq!(session.receive_eof(), Ok(()));
    assert!(
        session
            .poll_reply()
            .unwrap()
            .1
            .text()
            .starts_with("Success=1")
    );
}

#[test]
fn what_is_not_haproxy_is_told_from_it() {
    let mut session = Session::new(SessionConfig::worker());
    assert!(session.poll_transmit().is_some());
    let error = session
        .receive(b"HTTP/1.1 400 Bad Request\r\n\r\n> ")
        .unwrap_err();
    assert!(
        matches!(
            error,
            SessionError::Greeting {
                command: "prompt",
                ..
            }
        ),
        "{error}"
    );

    let mut session = started(Dialect::Worker);
    let error = session.receive(b"hello").unwrap_err();
    assert!(matches!(error, SessionError::Unsolicited { .. }), "{error}");

    let mut session = Session::new(SessionConfig::worker());
    assert!(session.poll_transmit().is_some());
    let error = session.receive(&[b'x'; 100_000]).unwrap_err();
    assert!(
        matches!(error, SessionError::ReplyTooLong { .. }),
        "{error}"
    );
}

#[test]
fn what_haproxy_would_misunderstand_is_not_written() {
    let server = ServerRef::new("be".parse().unwrap(), "s".parse().unwrap());
    let refused = |command: &Command| encode(command, &mut Vec::new()).unwrap_err();
    for address in ["10.0.0.1:0", "0.0.0.0:80", "[::]:80"] {
        let command = Command::SetAddr(server.clone(), address.parse().unwrap());
        assert!(
            matches!(refused(&command), EncodeError::Unspecified { .. }),
            "{address}"
        );
    }
    let scoped = Command::SetAddr(server.clone(), "[fe80::1%3]:80".parse().unwrap());
    assert!(matches!(refused(&scoped), EncodeError::Scoped { .. }));
    let never = Command::WaitRemovable(server, Duration::ZERO);
    assert!(matches!(refused(&never), EncodeError::Duration { .. }));
    let entries = vec![("k".parse().unwrap(), "v".repeat(1000).parse().unwrap()); 9];
    let (map, version) = ("m".parse().unwrap(), None);
    let long = Command::AddMapEntries {
        map,
        version,
        entries,
    };
    assert!(matches!(refused(&long), EncodeError::TooLong { .. }));
    let mut session = Session::new(SessionConfig::worker());
    assert_eq!(session.submit(&Command::Prompt), Err(SubmitError::Prompt));
    assert!(matches!(
        session.submit(&long),
        Err(SubmitError::Encode { .. })
    ));
    assert_eq!(session.unanswered(), (0, 0));
}

#[test]
fn names_that_cannot_be_ours_are_counted_and_left_out() {
    let long = "x".repeat(200);
    let head = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord later\n";
    let row = |name: &str| format!("3 be 1 {name} ::1 2 0 1 1 3 1 0 0 8 0 0 0 - 80 - new\n");
    let text = format!("{head}{}{}", row(&long), row("s1"));
    let state = ServersState::parse(&text).unwrap();
    assert_eq!((state.rows.len(), state.unnamed), (1, 1));
    let error = ServersState::parse(&text.replace("srv_port", "port")).unwrap_err();
    assert_eq!(error.to_string(), "show servers state has no srv_port");
    // A field that cannot be read concerns its own server.
    let state = ServersState::parse(&text.replace(" 80 ", " many ")).unwrap();
    assert!(state.rows.is_empty());
    assert_eq!(
        state.unreadable[0].problem,
        "show servers state, line 4: srv_port is \"many\", expected a number"
    );
    let error = ServersState::parse(&text[..text.len() - 20]).unwrap_err();
    assert!(error.to_string().contains("nothing in column"), "{error}");
    // Nor does a server that is listed twice tell where it is.
    let error = ServersState::parse(&format!("{text}{}", row("s1"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "show servers state, line 5: srv_name is \"s1\", expected a server that was not listed yet"
    );
}
