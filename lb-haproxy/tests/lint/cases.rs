//! Configurations that people have, and what the linter and growth made of them.

use lb_core::{Mode, Name};
use lb_haproxy::{
    Policy,
    config::lint::{Code, ConfigFile, Finding, LintOptions, Severity, lint},
    growth::{CannotGrow, GrowthConfig, Need, grow},
};

use crate::{
    endpoint::Endpoint,
    support::{executables, free_port},
    user::get,
    world::{
        DEFAULTS, GLOBAL, RESTORED, World, always, found, shows, starts, with_backend, with_lines,
    },
};

/// The copy of a spare backend does to requests what the spare one does.
#[tokio::test]
async fn case_p15_the_copy_of_a_spare_answers_as_the_spare_does() {
    let spare = |number: u8| {
        format!(
            "backend spare-http-{number} from web-auth\n  server-template slot 1-2 {RESTORED}\n"
        )
    };
    let text = format!(
        "{GLOBAL}defaults web-auth\n  mode http\n  load-server-state-from-file global\n  timeout connect 1s\n  \
         timeout client 1s\n  timeout server 1s\n  http-request deny deny_status 403\n{}{}",
        DEFAULTS.replace("default_backend b", "use_backend %[str(spare-http-2)]"),
        spare(1)
    );
    let mut need = Need::default();
    need.backends.insert(Name::from_text("shop"), Mode::Http);
    let bounds = GrowthConfig::new("/etc/haproxy/haproxy.cfg");
    let grown = grow(&text, &need, &bounds, &Policy::default()).unwrap();
    assert!(grown.text.contains("backend spare-http-2 from web-auth\n"));
    for executable in executables() {
        // Rules in `defaults` came with 2.5.
        if !executable.version().await.unwrap().at_least(2, 6) {
            continue;
        }
        let world = World::start(&executable, &grown.text).await;
        assert_eq!(get(world.frontend, "/", "").await.status, 403);
    }
}

/// A file that a section loads is read as HAProxy reads it: growth makes no reload that forgets, and refuses none that
/// keeps.
#[tokio::test]
async fn case_p15_growth_knows_what_a_reload_forgets() {
    let timeouts = "  mode http\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n";
    let loads = "  load-server-state-from-file global\n";
    let plain = DEFAULTS.replace(loads, "");
    let slots = format!("  server-template slot 1-4 {RESTORED}\n");
    for (sections, kept) in [
        // The last `defaults` load it, the named ones do not; and the other way round.
        (
            format!("defaults plain\n{timeouts}{DEFAULTS}backend b from plain\n"),
            false,
        ),
        (
            format!("defaults keep\n{timeouts}{loads}{plain}backend b from keep\n"),
            true,
        ),
        (
            format!("defaults keep\n{timeouts}{loads}{plain}backend b\n"),
            false,
        ),
        // Named ones start from others.
        (
            format!(
                "defaults a\n{timeouts}{loads}defaults c from a\n  retries 1\n{plain}backend b from c\n"
            ),
            true,
        ),
        (
            format!(
                "defaults a\n{timeouts}{loads}defaults c from a\n  load-server-state-from-file none\n\
                 {DEFAULTS}backend b from c\n"
            ),
            false,
        ),
        // A section's own line counts most.
        (
            format!("defaults plain\n{timeouts}{plain}backend b from plain\n{loads}"),
            true,
        ),
    ] {
        let text = format!("{GLOBAL}{sections}{slots}");
        let mut need = Need::default();
        need.lack(&Name::from_text("b"), 4, 1);
        let bounds = GrowthConfig::new("/etc/haproxy/haproxy.cfg");
        let grown = grow(&text, &need, &bounds, &Policy::default());
        let refused = matches!(grown, Err(CannotGrow::Forgets { .. }));
        assert_eq!((grown.is_ok(), refused), (kept, !kept), "{text}{grown:?}");
        for executable in executables() {
            // `from` came with 2.4.
            if !executable.version().await.unwrap().at_least(2, 4) {
                continue;
            }
            let mut world = World::start(&executable, &text).await;
            let endpoint = Endpoint::start("a").await;
            world.fill("slot2", endpoint.address).await;
            assert_eq!(get(world.frontend, "/", "").await.status, 200);
            world.reload().await;
            let status = get(world.frontend, "/", "").await.status;
            assert_eq!(status == 200, kept, "{status} of {text}");
        }
    }
}

#[tokio::test]
async fn case_p21_a_state_file_of_the_backends_own_is_not_kept() {
    let good = with_lines("");
    let local = "  load-server-state-from-file local\n";
    let base = GLOBAL.replace(
        "  server-state-file",
        "  server-state-base DIR\n  server-state-file",
    );
    let bad = with_lines(local).replace(GLOBAL, &base);
    shows(
        Code::StateNotKept,
        &bad,
        &good,
        always,
        async |executable, text| {
            let mut world = World::start(executable, text).await;
            let endpoint = Endpoint::start("a").await;
            world.fill("slot2", endpoint.address).await;
            world.reload().await;
            get(world.frontend, "/", "").await.status != 200
        },
    )
    .await;
    for (lines, file) in [
        ("", "/run/haproxy/b,"),
        (
            "  server-state-file-name use-backend-name\n",
            "/run/haproxy/b,",
        ),
        ("  server-state-file-name shop\n", "/run/haproxy/shop,"),
        ("  server-state-file-name /var/lib/shop\n", "/var/lib/shop,"),
    ] {
        let text = with_lines(&format!("{local}{lines}")).replace(GLOBAL, &base);
        let message = messages(&text).join("\n");
        assert!(message.contains(file), "{message}");
    }
}

fn messages(text: &str) -> Vec<String> {
    let text = &text.replace("DIR", "/run/haproxy");
    let file = ConfigFile { name: "f", text };
    let found = lint(&[file], &LintOptions::default());
    found.into_iter().map(|finding| finding.message).collect()
}

/// Servers that HAProxy fills by DNS are no slots: HAProxy starts with them, and nothing is asked of them.
#[tokio::test]
async fn case_p21_templates_of_dns_are_no_slots() {
    let dns = "resolvers dns\n  nameserver a 127.0.0.1:1\n";
    for line in [
        "server-template s 5 _http._tcp.app.invalid resolvers dns check init-addr none",
        "server-template s 1-5 _http._tcp.app.invalid resolvers dns resolve-prefer ipv4",
        "server-template s 5 app.invalid:80 resolvers dns init-addr libc,none",
        "server s1 app.invalid:80 resolvers dns init-addr none disabled",
    ] {
        let other = format!("backend dns\n  {line}\n");
        let text = format!("{}{other}{dns}", with_lines(""));
        for executable in executables() {
            let version = executable.version().await.unwrap();
            assert_eq!(found(&text, &version), [], "{line}");
            assert!(starts(&executable, &text).await, "{version}: {line}");
            let beside = with_lines(&format!("  {line}\n")) + dns;
            assert_eq!(found(&beside, &version), [Code::FixedServer], "{line}");
        }
    }
}

/// Each spelling that HAProxy takes is taken for what it is.
#[tokio::test]
async fn case_p21_spellings_of_admin_sockets() {
    let port = free_port();
    for (address, settings, expected) in [
        (format!("tcp4@127.0.0.1:{port}"), "", vec![]),
        (format!("tcp6@[::1]:{port}"), "", vec![]),
        (format!("tcp@localhost:{port}"), "", vec![]),
        (format!("ipv6@::1:{port}"), "", vec![]),
        (
            format!("tcp4@0.0.0.0:{port}"),
            "",
            vec![Code::SocketAddress],
        ),
        (
            format!("127.0.0.1:{port},0.0.0.0:{port}"),
            "",
            vec![Code::SocketAddress],
        ),
        ("uxst@DIR/other.sock".to_owned(), "mode 600", vec![]),
        (
            "uxst@DIR/other.sock".to_owned(),
            "mode 666",
            vec![Code::SocketMode],
        ),
        ("unix@DIR/other.sock".to_owned(), "mode 660", vec![]),
        ("abns@lb-lint".to_owned(), "", vec![Code::SocketMode]),
        (
            "abns@lb-lint".to_owned(),
            "mode 600",
            vec![Code::SocketMode],
        ),
        ("abnsz@lb-lint".to_owned(), "", vec![Code::SocketMode]),
        ("fd@${LB_SOCKET}".to_owned(), "", vec![]),
        ("sockpair@9".to_owned(), "", vec![]),
    ] {
        let line = format!("  stats socket {address} level admin {settings}\n  stats maxconn");
        let text = with_lines("").replace("  stats maxconn", &line);
        for executable in executables() {
            let version = executable.version().await.unwrap();
            assert_eq!(found(&text, &version), expected, "{version}: {line}");
        }
    }
}

#[tokio::test]
async fn case_p22_a_cookie_that_slots_have_no_value_for_keeps_no_user() {
    let cookie = "  cookie SRV insert indirect nocache\n";
    let dynamic = "  cookie SRV insert indirect nocache dynamic\n  dynamic-cookie-key secret\n";
    let keyless = "  cookie SRV insert indirect nocache dynamic\n";
    for bad in [cookie, keyless] {
        shows(
            Code::CookieLost,
            &with_lines(bad),
            &with_lines(dynamic),
            always,
            async |executable, text| {
                let world = World::start(executable, text).await;
                let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
                world.fill("slot1", a.address).await;
                world.fill("slot2", b.address).await;
                let first = get(world.frontend, "/", "").await;
                let cookie = match first.cookie.is_empty() {
                    true => "SRV=s1".to_owned(),
                    false => first.cookie,
                };
                let mut moved = 0;
                for _ in 0..6 {
                    let again = get(world.frontend, "/", &format!("cookie: {cookie}\r\n")).await;
                    moved += usize::from(again.body != first.body);
                }
                moved > 0
            },
        )
        .await;
    }
    for lines in [
        "  cookie SRV prefix\n",
        "  cookie SRV rewrite\n",
        "  cookie SRV insert indirect nocache dynamic\n",
        "  default-server cookie x no-cookie\n  cookie SRV insert\n",
    ] {
        for executable in executables() {
            let version = executable.version().await.unwrap();
            assert_eq!(
                found(&with_lines(lines), &version),
                [Code::CookieLost],
                "{lines}"
            );
        }
    }
}

/// A frontend of one's own that looks routes up must know their options.
#[test]
fn lines_that_know_no_options_of_routes_are_found() {
    let map = "/var/lib/lb/lb-routes.map".parse().unwrap();
    let lines = lb_haproxy::routes::http_route_lines(&map).unwrap();
    let with = |lines: &[String]| {
        let lines: Vec<String> = lines.iter().map(|line| format!("  {line}\n")).collect();
        with_lines("").replace("  default_backend b\n", &lines.concat())
    };
    let version = "3.2.0".parse().unwrap();
    assert_eq!(found(&with(&lines), &version), []);
    let former: Vec<String> = lines
        .iter()
        .filter(|line| !line.contains("lb_strip") && !line.contains("redirect"))
        .map(|line| {
            let line = line.replace("var(txn.lb_route),field(1,|)", "var(txn.lb_route)");
            line.replace("lb_route", "lb_backend")
        })
        .collect();
    assert_eq!(
        found(&with(&former), &version),
        [Code::PathReadings, Code::RouteLines]
    );
    let sent: Vec<String> = lines
        .iter()
        .filter(|line| !line.contains("lb_decoded") && !line.contains("lb_clean"))
        .cloned()
        .collect();
    assert_eq!(found(&with(&sent), &version), [Code::PathReadings]);
    let own = ["use_backend %[base,map_beg(/etc/haproxy/lb-routes.map,b)]".to_owned()];
    assert_eq!(
        found(&with(&own), &version),
        [Code::PathReadings, Code::RouteLines]
    );
    let other = ["use_backend %[base,map_beg(/etc/haproxy/other.map,b)]".to_owned()];
    assert_eq!(found(&with(&other), &version), []);
}

/// A request that leads to no backend must not go to a default one: HAProxy takes that where a map names one that is
/// not there.
#[test]
fn case_s04_a_default_backend_without_the_closed_one_is_found() {
    let version = "3.2.0".parse().unwrap();
    let sni = "/var/lib/lb/lb-sni.map".parse().unwrap();
    let lines =
        lb_haproxy::routes::sni_route_lines(&sni, std::time::Duration::from_secs(1)).unwrap();
    let http = "/var/lib/lb/lb-routes.map".parse().unwrap();
    let http = lb_haproxy::routes::http_route_lines(&http).unwrap();
    for (lines, closed) in [(lines, "lb-unavailable-tcp"), (http, "lb-unavailable")] {
        let text: String = lines.iter().map(|line| format!("  {line}\n")).collect();
        let generated = with_lines("").replace("  default_backend b\n", &text);
        assert_eq!(found(&generated, &version), [], "{closed}");
        let own = format!("  default_backend {closed}\n");
        let other = generated.replace(&own, "  default_backend b\n");
        assert_eq!(
            found(&other, &version),
            [Code::UnavailableMissing],
            "{closed}"
        );
        let none = generated.replace(&own, "");
        assert_eq!(found(&none, &version), [], "{closed}");
        let both = format!("{other}\nbackend {closed}\n");
        assert_eq!(found(&both, &version), [], "{closed}");
    }
}

/// A server that lb does not take for a slot is named, with what follows and what to configure.
#[test]
fn case_p08_p09_servers_that_are_no_slots_are_named() {
    for (lines, expected) in [
        (
            "  server legacy2 10.0.0.8:8080 disabled check\n",
            Some((Severity::Note, "server legacy2 ")),
        ),
        (
            "  server sorry9 127.0.0.1:9 backup disabled\n",
            Some((Severity::Note, "server sorry9 ")),
        ),
        (
            "  server sorry 127.0.0.1:9 backup\n",
            Some((Severity::Note, "whenever no endpoint serves")),
        ),
        (
            "  server shop3 127.0.0.1:19003\n",
            Some((Severity::Warning, "127.0.0.1:19003")),
        ),
        (
            "  server shop3 127.0.0.1:19003 weight 7\n",
            Some((Severity::Warning, "weight 7")),
        ),
        (
            "  server-template app 1-3 10.0.0.1:80 check\n",
            Some((Severity::Warning, "template app")),
        ),
        (
            "  server slot9 slot.invalid:1 disabled init-addr last,127.0.0.1 check\n",
            None,
        ),
    ] {
        let text = &with_lines(lines);
        let file = ConfigFile { name: "f", text };
        let found: Vec<_> = lint(&[file], &LintOptions::default())
            .into_iter()
            .filter(|finding| finding.code == Code::FixedServer)
            .collect();
        match (expected, &found[..]) {
            (None, []) => {}
            (Some((severity, part)), [finding]) => {
                assert_eq!(finding.severity, severity, "{finding}");
                assert!(finding.message.contains(part), "{finding}");
                assert!(finding.message.contains("lb never changes"), "{finding}");
            }
            other => panic!("{lines}: {other:?}"),
        }
    }
}

/// The name decides: a server that is named like a slot is one at run time, however it is written.
#[test]
fn case_p08_a_server_that_is_named_like_a_slot_is_never_said_to_be_left_alone() {
    for line in [
        "  server slot9 10.0.0.8:8080 check\n",
        "  server slot9 10.0.0.8:8080 backup\n",
        "  server slot9 web.example:80 resolvers dns init-addr none check\n",
        "  server slot9 web.example:80 resolvers dns init-addr none disabled\n",
        "  server-template slot 7-9 web.example:80 resolvers dns init-addr none\n",
    ] {
        for text in [with_lines(line), with_backend(line)] {
            let text = &text;
            let file = ConfigFile { name: "f", text };
            let found = lint(&[file], &LintOptions::default());
            let alone = |finding: &&Finding| finding.message.contains("lb never changes");
            assert!(found.iter().find(alone).is_none(), "{line}: {found:?}");
            let mut told = found
                .iter()
                .filter(|finding| finding.code == Code::SlotEnabled);
            let finding = told.next().unwrap();
            assert_eq!(finding.severity, Severity::Warning, "{finding}");
            assert!(
                finding.message.contains("lb takes it for a slot"),
                "{finding}"
            );
            assert!(finding.message.contains("maintenance"), "{finding}");
        }
    }
}

/// Slots of another name: the line to add is said.
#[test]
fn case_p08_slots_of_another_name_are_named_with_the_line_to_add() {
    let template = format!("  server-template web 1-8 {RESTORED} check\n");
    let single = "  server web1 slot.invalid:1 disabled init-addr last,127.0.0.1 check\n";
    for lines in [template.as_str(), single] {
        let text = &with_backend(lines);
        let file = ConfigFile { name: "f", text };
        let mut options = LintOptions::default();
        let found = lint(&[file], &options);
        let finding = found
            .iter()
            .find(|finding| finding.code == Code::SlotPrefix)
            .unwrap();
        assert!(
            finding.instead.contains("slot_prefix = \"web\""),
            "{finding}"
        );
        options.policy.slot_prefix = "web".to_owned();
        let found = lint(&[file], &options);
        assert!(
            found.iter().all(|finding| finding.code != Code::SlotPrefix),
            "{found:?}"
        );
    }
}

/// The advice of README holds, as far as the line says: a note is no reason to fail.
#[test]
fn case_p21_a_long_or_missing_timeout_connect_is_noted() {
    for (line, noted) in [
        ("  timeout connect 5s\n", true),
        ("  timeout connect 5000\n", true),
        ("  timeout connect 1m\n", true),
        ("", true),
        ("  timeout connect 1s\n", false),
        ("  timeout connect 500ms\n", false),
        ("  timeout connect 900000us\n", false),
        ("  timeout connect \"${CONNECT}\"\n", false),
    ] {
        let text = with_lines("").replace("  timeout connect 1s\n", line);
        let file = ConfigFile {
            name: "f",
            text: &text,
        };
        let found = lint(&[file], &LintOptions::default());
        let mut all = found.iter().filter(|found| found.code == Code::SlowConnect);
        let note = all.next();
        assert_eq!(note.is_some(), noted, "{line}: {found:?}");
        assert!(note.is_none_or(|note| note.severity == Severity::Note));
    }
}
