//! The configuration generator: the text it gives, that every HAProxy takes it, and that nothing slips in.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

mod support;

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use lb_core::{Mode, Name, PathMatch, RouteHost};
use lb_haproxy::{
    config::{
        Backend, Balance, Bind, Check, Config, ConfigError, ConfigPath, Frontend, HashOn,
        HeaderName, HttpCheck, Rule, Slots, StatsSocket,
    },
    policy::HttpReuse,
    process::check_config,
    proto::{AdminState, Command, ServerRef, ServersState, Version},
};
use proptest::prelude::*;
use support::{Place, executables, free_port};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn rule(host: &str, path: &str, backend: &str) -> Rule {
    Rule {
        host: host.parse().unwrap(),
        path: path.parse().unwrap(),
        backend: name(backend),
    }
}

/// A configuration with everything in it that does not need a certain version.
fn full(dir: &str, port: u16, tcp_port: u16) -> Config {
    let path = |file: &str| -> ConfigPath { format!("{dir}/{file}").parse().unwrap() };
    let mut config = Config::new(path("admin.sock"));
    config
        .global
        .sockets
        .push(StatsSocket::reader(path("reader.sock")));
    config.global.maxconn = Some(500);
    config.global.nbthread = Some(2);
    config.global.hard_stop_after = Some(Duration::from_secs(30));
    config.global.server_state_file = Some(path("state"));
    let loopback = |port| Bind::Tcp(([127, 0, 0, 1], port).into());
    let mut web = Frontend::new(name("web"), loopback(port));
    web.binds.push(Bind::Unix(path("web.sock")));
    web.rules = vec![
        rule("shop.example", "/api", "api"),
        rule("*.shop.example", "=/exact", "api"),
        rule("*", "/any", "api"),
        rule("shop.example", "/", "shop"),
    ];
    web.default_backend = Some(name("shop"));
    let mut raw = Frontend::new(name("tcp"), loopback(tcp_port));
    raw.mode = Mode::Tcp;
    raw.default_backend = Some(name("raw"));
    config.frontends = vec![web, raw];

    let mut shop = Backend::new(name("shop"), Slots::new(name("slot"), 3));
    shop.server_header = Some("X-Served-By".parse().unwrap());
    let mut api = Backend::new(name("api"), Slots::new(name("slot"), 2));
    api.balance = Balance::Hash {
        on: HashOn::Header("X-User".parse().unwrap()),
        by_address: false,
    };
    api.http_reuse = HttpReuse::Always;
    let mut check = Check::default();
    check.http = Some(HttpCheck::new("/health".parse().unwrap()));
    api.slots.check = Some(check);
    api.slots.maxconn = Some(100);
    api.slots.pool_max_conn = Some(0);
    let mut tcp = Backend::new(name("raw"), Slots::new(name("slot"), 1));
    tcp.mode = Mode::Tcp;
    tcp.balance = Balance::LeastConn;
    tcp.slots.check = Some(Check::default());
    config.backends = vec![shop, api, tcp];
    config
}

#[test]
fn the_same_configuration_gives_the_same_text() {
    let version: Version = "3.2.26".parse().unwrap();
    let text = full("/run/lb", 8080, 8081).render(&version).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/haproxy.cfg");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    let expected = std::fs::read_to_string(golden).unwrap();
    assert_eq!(text, expected, "the text was:\n{text}");
}

#[tokio::test]
async fn every_version_takes_it_without_a_warning() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let place = Place::new("");
        let dir = place.dir.path().to_str().unwrap();
        std::fs::write(place.dir.path().join("state"), "1\n").unwrap();
        let mut config = full(dir, free_port(), free_port());
        if version.at_least(3, 0) {
            config.backends.first_mut().unwrap().balance = Balance::Hash {
                on: HashOn::Source,
                by_address: true,
            };
        }
        for (file, mode) in [("routes.map", Mode::Http), ("names.map", Mode::Tcp)] {
            let bind = Bind::Tcp(([127, 0, 0, 1], free_port()).into());
            let mut routed = Frontend::new(Name::from_text(file), bind);
            routed.mode = mode;
            routed.route_map = Some(format!("{dir}/{file}").parse().unwrap());
            config.frontends.push(routed);
            std::fs::write(place.dir.path().join(file), "").unwrap();
        }
        config.service_map = Some(format!("{dir}/services.map").parse().unwrap());
        std::fs::write(place.dir.path().join("services.map"), "").unwrap();
        std::fs::write(&place.config, config.render(&version).unwrap()).unwrap();
        check_config(&executable, &place.config).await.unwrap();
        let haproxy = place.start(&executable).await;
        let warnings: Vec<String> = haproxy
            .stderr()
            .lines()
            .filter(|line| line.contains("[WARNING]") || line.contains("[ALERT]"))
            // Who it runs as is the administrator's choice.
            .filter(|line| !line.contains("chroot") && !line.contains("root user"))
            .map(str::to_owned)
            .collect();
        assert!(warnings.is_empty(), "{version}: {warnings:#?}");
    }
}

#[tokio::test]
async fn the_runtime_socket_is_private() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let place = Place::new("");
        let socket = place.dir.path().join("admin.sock");
        let config = Config::new(socket.to_str().unwrap().parse().unwrap());
        std::fs::write(&place.config, config.render(&version).unwrap()).unwrap();
        let haproxy = place.start(&executable).await;
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{version}");
        haproxy.stop().await.unwrap();
    }
}

#[tokio::test]
async fn slots_keep_address_and_state_over_a_reload_with_a_state_file() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let place = Place::new("");
        let dir = place.dir.path().to_str().unwrap();
        let config = full(dir, free_port(), free_port());
        std::fs::write(&place.config, config.render(&version).unwrap()).unwrap();
        let mut haproxy = place.start(&executable).await;
        let mut client = haproxy.connect().await.unwrap();
        let slot = ServerRef::new(name("shop"), name("slot2"));
        let address = "127.0.0.77:7777".parse().unwrap();
        let commands = [
            Command::SetAddr(slot.clone(), address),
            Command::SetState(slot.clone(), AdminState::Ready),
        ];
        for result in client.exec_all(&commands).await {
            result.unwrap();
        }
        let show = Command::ShowServersState(None);
        let state = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                let reply = client.exec(&show).await.unwrap();
                let state = ServersState::parse(reply.text()).unwrap();
                let row = state
                    .rows
                    .iter()
                    .find(|row| row.server_ref() == slot)
                    .unwrap();
                if row.socket_addr() == Some(address) {
                    return reply;
                }
            }
        })
        .await
        .unwrap();
        std::fs::write(
            place.dir.path().join("state"),
            format!("{}\n", state.text()),
        )
        .unwrap();
        haproxy.reload().await.unwrap();
        let mut client = haproxy.connect().await.unwrap();
        let reply = client.exec(&show).await.unwrap();
        let after = ServersState::parse(reply.text()).unwrap();
        let row = after
            .rows
            .iter()
            .find(|row| row.server_ref() == slot)
            .unwrap();
        assert_eq!(row.socket_addr(), Some(address), "{version}");
        assert!(
            !row.admin.is_maint() && row.op.is_up(),
            "{version}: {row:?}"
        );
        let free = ServerRef::new(name("shop"), name("slot1"));
        let row = after
            .rows
            .iter()
            .find(|row| row.server_ref() == free)
            .unwrap();
        assert_eq!(
            row.socket_addr(),
            Some("127.0.0.1:1".parse().unwrap()),
            "{version}"
        );
        assert!(row.admin.is_maint(), "{version}: {row:?}");
    }
}

#[test]
fn what_cannot_be_written_is_named() {
    let new: Version = "3.2.0".parse().unwrap();
    let old: Version = "2.6.12".parse().unwrap();
    let base = || full("/run/lb", 8080, 8081);
    let refused = |config: &Config, version: &Version| config.render(version).unwrap_err();

    let mut config = base();
    config.backends.pop();
    assert_eq!(
        refused(&config, &new).to_string(),
        "frontend tcp uses backend raw, which is not there"
    );
    let mut config = base();
    config
        .backends
        .push(config.backends.first().unwrap().clone());
    assert_eq!(
        refused(&config, &new).to_string(),
        "backend shop is there twice"
    );
    let mut config = base();
    config.frontends.last_mut().unwrap().name = name("shop");
    assert_eq!(
        refused(&config, &new).to_string(),
        "frontend and backend shop is there twice"
    );
    let mut config = base();
    config.backends.first_mut().unwrap().balance = Balance::Hash {
        on: HashOn::Uri,
        by_address: true,
    };
    assert!(config.render(&new).is_ok());
    assert_eq!(
        refused(&config, &old).to_string(),
        "a hash by address needs HAProxy 3.0, this is 2.6.12"
    );
    let mut config = base();
    config.frontends.first_mut().unwrap().mode = Mode::Tcp;
    assert!(matches!(
        refused(&config, &new),
        ConfigError::NeedsHttp { .. }
    ));
    let mut config = base();
    config.defaults.client = Duration::ZERO;
    assert_eq!(
        refused(&config, &new).to_string(),
        "client is 0ns, expected 1 ms to 24 days"
    );
    let mut config = base();
    config.backends.first_mut().unwrap().slots.count = 0;
    assert!(matches!(
        refused(&config, &new),
        ConfigError::OutOfRange { what: "slots", .. }
    ));
    let mut config = base();
    let web = config.frontends.first_mut().unwrap();
    web.route_map = Some("/etc/routes.map".parse().unwrap());
    assert_eq!(
        refused(&config, &new).to_string(),
        "frontend web has a default backend and a map of routes, expected one of them"
    );
    let web = config.frontends.first_mut().unwrap();
    web.default_backend = None;
    assert!(config.render(&new).is_ok());
    let web = config.frontends.first_mut().unwrap();
    web.route_map = Some("/etc/a,b.map".parse().unwrap());
    assert!(matches!(refused(&config, &new), ConfigError::Map(_)));
    let mut config = base();
    config.service_map = Some("/etc/services.map".parse().unwrap());
    config.backends.first_mut().unwrap().name = name("lb-not-found");
    assert!(matches!(
        refused(&config, &new),
        ConfigError::Duplicate { .. }
    ));
    let mut config = base();
    config.frontends.first_mut().unwrap().rules = vec![Rule {
        host: RouteHost::Exact("a b\n".into()),
        path: PathMatch::any(),
        backend: name("shop"),
    }];
    assert!(matches!(
        refused(&config, &new),
        ConfigError::Unwritable { what: "host", .. }
    ));
}

/// Hostile text, with what HAProxy's configuration treats specially made likely.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        2 => "[a-z0-9/._-]{1,6}".prop_map(String::from),
        1 => prop::sample::select(vec![
            "\n", "\r", " ", "\t", "\\", "\"", "'", "#", "$", "${HOME}", "%", "{", "}", ";", "!",
            "or", "-f", "\0", "\nglobal", "é", "[", "]", "(", ")", "*", "=/",
        ]).prop_map(String::from),
    ];
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

/// The first word of each line, which says what the line is.
fn shape(text: &str) -> Vec<&str> {
    text.split('\n')
        .map(|line| line.split_whitespace().next().unwrap_or(""))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn i6_no_text_becomes_another_line_word_or_comment(
        text in text(), which in 0_usize..9, direct in any::<bool>(),
    ) {
        let version: Version = "3.2.0".parse().unwrap();
        let mut config = full("/run/lb", 8080, 8081);
        let mut plain = config.clone();
        let arc: std::sync::Arc<str> = text.as_str().into();
        let set = |config: &mut Config, text: &str, arc: std::sync::Arc<str>| -> Option<()> {
            let web = config.frontends.first_mut()?;
            let shop = config.backends.first_mut()?;
            match which {
                0 => web.name = text.parse().ok()?,
                1 => shop.slots.prefix = text.parse().ok()?,
                2 => shop.server_header = Some(text.parse::<HeaderName>().ok()?),
                3 => config.global.server_state_file = Some(text.parse::<ConfigPath>().ok()?),
                4 => web.binds = vec![Bind::Unix(text.parse::<ConfigPath>().ok()?)],
                5 => web.rules.first_mut()?.host = match direct {
                    true => RouteHost::Exact(arc),
                    false => text.parse().ok()?,
                },
                7 => {
                    web.default_backend = None;
                    web.route_map = Some(text.parse().ok()?);
                }
                8 => config.service_map = Some(text.parse().ok()?),
                _ => web.rules.first_mut()?.path = match direct {
                    true => PathMatch::Exact(arc),
                    false => text.parse().ok()?,
                },
            }
            Some(())
        };
        let set_to_it = set(&mut config, &text, arc).is_some();
        if set_to_it && let Ok(written) = config.render(&version) {
            let usual = match which { 5 => "h.x", 6 => "/p", 4 => "/w.sock", _ => "plain" };
            // The same kind of value, to be compared with.
            let same = match (which, direct, &config.frontends.first().unwrap().rules.first().unwrap().path) {
                (6, false, PathMatch::Exact(_)) => "=/p",
                (6, false, _) if written.matches("path -m").count() < plain.render(&version).unwrap().matches("path -m").count() => "/",
                (5, false, _) if text.starts_with("*.") => "*.h.x",
                (5, _, _) if config.frontends.first().unwrap().rules.first().unwrap().host == RouteHost::Any => "*",
                _ => usual,
            };
            set(&mut plain, same, same.into()).unwrap();
            let expected = plain.render(&version).unwrap();
            prop_assert_eq!(shape(&written), shape(&expected));
            let words = |text: &str| text.split('\n').map(|line| line.split(' ').count()).collect::<Vec<_>>();
            prop_assert_eq!(words(&written), words(&expected), "{}", written);
            let own: BTreeSet<&str> = expected.lines().collect();
            let others: String = written.lines().filter(|line| !own.contains(line)).collect();
            prop_assert!(!others.contains(['#', '"', '\'', '\\', '$', '\t', '\r', '\0']), "{}", others);
        }
    }
}
