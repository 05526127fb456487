//! A configuration is read whole or refused with its place, its field, what was found and what was expected.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::time::Duration;

use lb::spec::{Format, Severity, SourceSpec, Spec, SpecError, TargetSpec};

fn refused(text: &str, format: Format) -> String {
    match Spec::parse(text, format) {
        Ok(spec) => panic!("{text:?} was read as {spec:?}"),
        Err(error) => error.to_string(),
    }
}

/// S5, H12: a password is never shown, whatever its type.
#[test]
fn case_s05_no_secret_is_in_what_is_refused() {
    let head = "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"http://127.0.0.1:1\"]\n";
    for wrong in [
        "auth = { user = \"lb\", password = 424242 }",
        "auth = { user = \"lb\", password = 424242.5 }",
        "auth = { user = \"lb\", password_file = 424242 }",
        "auth = \"424242\"",
        "auth = 424242",
        "pasword = 424242",
        "password = \"424242",
    ] {
        let told = refused(&format!("{head}{wrong}"), Format::Toml);
        assert!(!told.contains("424242"), "{wrong}: {told}");
    }
    let json = r#"{"sources":[{"kind":"etcd","connection":{"endpoints":[],"auth":{"user":"lb","password":424242}}}]}"#;
    let told = refused(json, Format::Json);
    assert!(!told.contains("424242"), "{told}");
}

#[test]
fn every_mistake_in_toml_is_told_with_its_place_and_what_was_expected() {
    for (text, expected) in [
        (
            "sources = 3",
            "1:11: sources: invalid type: integer `3`, expected a sequence",
        ),
        (
            "[[sources]]\nname = \"a\"",
            "1:1: sources[0]: missing field `kind`",
        ),
        (
            "[[sources]]\nkind = \"flie\"",
            "2:8: sources[0].kind: unknown variant `flie`, expected one of `docker`, `etcd`, `etcd_v2`, `file`, `swarm`",
        ),
        (
            "[[sources]]\npath = \"/x\"\nkind = \"file\"\nlabels = 1",
            "4:1: sources[0].labels: unknown field `labels`, expected",
        ),
        (
            "[[targets]]\nsocket = \"/x\"\nname = \"a b\"",
            "3:8: targets[0].name: ",
        ),
        (
            "[[targets]]\nname = \"a\"\nsocket = \"nowhere\"",
            "3:10: targets[0].socket: socket is \"nowhere\", expected an absolute path or host:port",
        ),
        (
            "[[targets]]\nname = \"a\"\nsocket = \"/x\"\n[targets.policy]\ndrain_timeout = \"1 day\"",
            "5:17: targets[0].policy.drain_timeout: invalid value: string \"1 day\", expected a length of time",
        ),
        (
            "settle = -1",
            "1:10: settle: invalid value: integer `-1`, expected a length of time",
        ),
        (
            "setle = 1",
            "1:1: setle: unknown field `setle`, expected one of `agent`, `guard`",
        ),
        (
            "[guard.overall]\nmax_share = \"half\"",
            "2:13: guard.overall.max_share: invalid type: string \"half\", expected f64",
        ),
        (
            "[agent]\nmetrics = \"localhost\"",
            "2:11: agent.metrics: invalid socket address syntax",
        ),
        ("[[sources]", "1:11: "),
    ] {
        let error = refused(text, Format::Toml);
        assert!(
            error.starts_with(expected),
            "{text:?} gave\n{error}\nexpected\n{expected}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn every_mistake_in_json_is_told_with_its_place_and_what_was_expected() {
    for (text, expected) in [
        (
            "{\"sources\":\n 3}",
            "2:2: sources: invalid type: integer `3`, expected a sequence",
        ),
        (
            "{\"sources\": [{}]}",
            "1:15: sources[0]: missing field `kind`",
        ),
        (
            "{\"sources\": [\n{\"path\": \"/x\", \"kind\": \"file\",\n\"labels\": 1}]}",
            "3:8: sources[0].labels: unknown field `labels`, expected",
        ),
        (
            "{\"targets\": [{\"name\": \"a\",\n\"socket\": \"nowhere\"}]}",
            "2:20: targets[0].socket: socket is \"nowhere\", expected an absolute path or host:port",
        ),
        (
            "{\"settle\": -1}",
            "1:13: settle: invalid value: integer `-1`, expected a length of time",
        ),
        ("{} x", "1:4: trailing characters"),
        ("[]", "1:"),
        ("{\"sources\": [", "1:13: "),
        (
            "{\"\\u001b[2J\": 3}",
            "1:12: \\u{1b}[2J: unknown field `\\u{1b}[2J`",
        ),
        ("{\"settle\":\n", "2:1: settle: EOF"),
        (
            "{\"haproxy\": {\"é\": 3}}",
            "1:16: haproxy.é: unknown field",
        ),
    ] {
        let error = refused(text, Format::Json);
        assert!(
            error.starts_with(expected),
            "{text:?} gave\n{error}\nexpected\n{expected}"
        );
    }
}

#[test]
fn the_same_configuration_reads_the_same_from_both_formats() {
    let toml = r#"
        settle = "20ms"
        resync = 60
        [guard.overall]
        hold = "1m"
        [[sources]]
        kind = "file"
        name = "static"
        path = "/etc/lb/routes.toml"
        [[targets]]
        name = "edge"
        socket = "/run/haproxy/admin.sock"
        timeout = 2.5
    "#;
    let json = r#"{
        "settle": 0.02, "resync": "60s", "guard": {"overall": {"hold": 60}},
        "sources": [{"name": "static", "kind": "file", "path": "/etc/lb/routes.toml"}],
        "targets": [{"kind": "haproxy", "name": "edge", "socket": "/run/haproxy/admin.sock", "timeout": "2500ms"}]
    }"#;
    let toml = Spec::parse(toml, Format::Toml).unwrap();
    let json = Spec::parse(json, Format::Json).unwrap();
    assert_eq!(toml.sources, json.sources);
    assert_eq!(toml.targets, json.targets);
    assert_eq!(toml.guard, json.guard);
    assert_eq!((toml.settle, toml.resync), (json.settle, json.resync));
    assert_eq!(toml.settle, Duration::from_millis(20));
    assert_eq!(toml.resync, Duration::from_secs(60));
}

#[test]
fn an_empty_text_is_the_defaults_and_single_members_are_read_alone() {
    for format in [Format::Json, Format::Toml] {
        let spec = Spec::parse(" \n", format).unwrap();
        assert!(spec.sources.is_empty() && spec.targets.is_empty());
        spec.build().unwrap();
    }
    let source = SourceSpec::parse(r#"{"kind": "file", "path": "/x"}"#, Format::Json).unwrap();
    assert_eq!(source.name().as_str(), "file");
    let target = TargetSpec::parse(r#"{"name": "edge", "socket": "/x"}"#, Format::Json).unwrap();
    assert_eq!(target.name().as_str(), "edge");
    let error =
        TargetSpec::parse(r#"{"name": "edge", "kind": "nginx"}"#, Format::Json).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("kind: unknown variant `nginx`, expected `haproxy`"),
        "{error}"
    );
}

#[test]
fn check_tells_every_problem_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    std::fs::write(directory.path().join("plain"), "").unwrap();
    let mut mkfifo = std::process::Command::new("mkfifo");
    assert!(
        mkfifo
            .arg(directory.path().join("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let here = directory.path().display();
    let text = format!(
        r#"resync = 0.001
[agent]
metrics = "0.0.0.0:9469"
[[sources]]
kind = "file"
path = "{here}/absent.toml"
[[sources]]
kind = "file"
path = "{here}/plain"
[[sources]]
kind = "file"
name = "third"
path = "{here}/pipe"
[[targets]]
name = "edge"
socket = "{here}/absent.sock"
[[targets]]
name = "edge"
socket = "{here}/plain"
[[targets]]
name = "other"
socket = "{here}/absent.sock"
files = {{ server_state = "{here}/absent/state" }}
growth = {{ config = "{here}/absent.cfg" }}
"#
    );
    std::fs::write(&file, text).unwrap();
    let spec = Spec::load(&file).unwrap();
    let found: Vec<String> = spec
        .check()
        .iter()
        .map(|problem| problem.to_string().replace(&format!("{here}/"), ""))
        .collect();
    let expected = [
        "agent.toml:1:10: error: resync: is 1ms, expected 10 ms or more",
        "agent.toml:3:11: warning: agent.metrics: 0.0.0.0:9469 may be reachable from other machines, and everyone may read",
        "agent.toml:6:8: warning: sources[0].path: absent.toml: there is no such file",
        "agent.toml:7:1: error: sources[1].name: source file is there already as sources[0], expected a name of its own",
        "agent.toml:13:8: warning: sources[2].path: pipe is neither a file nor a folder",
        "agent.toml:16:10: warning: targets[0].socket: absent.sock: there is no such file",
        "agent.toml:18:8: error: targets[1].name: target edge is there already as targets[0], expected a name of its own",
        "agent.toml:19:10: error: targets[1].socket: plain is not a socket",
        "agent.toml:22:10: warning: targets[2].socket: absent.sock is the socket of target edge too",
        "agent.toml:22:10: warning: targets[2].socket: absent.sock: there is no such file",
        "agent.toml:23:26: warning: targets[2].files.server_state: absent: there is no such folder",
        "agent.toml:24:10: error: targets[2].growth: needs targets[2].master, which is not there",
        "agent.toml:24:21: warning: targets[2].growth.config: absent.cfg: there is no such file",
    ];
    assert_eq!(found, expected);
    assert!(
        spec.check()
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    );
    spec.build().unwrap_err();
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent.toml");
    let error = Spec::load(&absent).unwrap_err();
    assert!(matches!(&error, SpecError::Read { file, .. } if *file == absent));
    let huge = directory.path().join("huge.toml");
    std::fs::write(&huge, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(matches!(
        Spec::load(&huge).unwrap_err(),
        SpecError::TooLarge { .. }
    ));
    let binary = directory.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    assert!(matches!(
        Spec::load(&binary).unwrap_err(),
        SpecError::Read { .. }
    ));
}

/// `resync` means each target, unless that has a time of its own.
#[test]
fn a_target_is_read_again_as_often_as_it_is_looked_at() {
    for (text, expected) in [
        ("", 30),
        ("resync = 3\n", 3),
        ("resync = \"5m\"\n", 300),
        ("resync = 3\n{policy}", 7),
    ] {
        let policy = "[targets.policy]\nresync = 7\n";
        let (top, own) = match text.strip_suffix("{policy}") {
            Some(top) => (top, policy),
            None => (text, ""),
        };
        let text = format!(
            "{top}[[targets]]\nname = \"edge\"\nsocket = \"/run/haproxy/admin.sock\"\n{own}"
        );
        let spec = Spec::parse(&text, Format::Toml).unwrap();
        let TargetSpec::Haproxy(target) = &spec.targets[0] else {
            panic!("{text}")
        };
        assert_eq!(
            target.policy.resync,
            Duration::from_secs(expected),
            "{text}"
        );
    }
}

/// Each line of the example that is commented out may be taken in where it stands.
#[test]
fn what_the_example_leaves_out_of_a_target_may_be_taken_in() {
    let start = EXAMPLE.find("[[targets]]").unwrap();
    let end = EXAMPLE.find("# [targets.growth]").unwrap();
    let text: String = EXAMPLE[start..end]
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(table) if table.starts_with('[') => format!("{table}\n"),
            Some(given)
                if given.split_once(" = ").is_some_and(|(key, _)| {
                    key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                }) =>
            {
                format!("{given}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(text.contains("\nmaster = "), "{text}");
    let spec = Spec::parse(&text, Format::Toml);
    assert!(spec.is_ok(), "{:?}", spec.err());
}

/// The example that is shipped with the daemon.
const EXAMPLE: &str = include_str!("../../examples/lb-agent.toml");

#[test]
fn the_example_reads_and_builds_and_its_defaults_are_the_defaults() {
    let example = Spec::parse(EXAMPLE, Format::Toml).unwrap();
    let default = Spec::default();
    assert_eq!(
        (
            example.settle,
            example.resync,
            example.initial_limit,
            example.pass_limit
        ),
        (
            default.settle,
            default.resync,
            default.initial_limit,
            default.pass_limit
        )
    );
    assert_eq!(example.guard.overall, default.guard.overall);
    assert_eq!(example.agent.log, default.agent.log);
    assert_eq!(example.agent.socket, default.agent.socket);
    let minimal = "[[targets]]\nname = \"edge\"\nsocket = \"/run/haproxy/admin.sock\"";
    assert_eq!(
        example.targets,
        Spec::parse(minimal, Format::Toml).unwrap().targets
    );
    let kinds: Vec<&str> = example
        .sources
        .iter()
        .map(|source| match source {
            SourceSpec::File(_) => "file",
            SourceSpec::Docker(_) => "docker",
            SourceSpec::Etcd(_) => "etcd",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["file", "docker", "etcd"]);
    for problem in example.check() {
        assert_eq!(problem.severity, Severity::Warning, "{problem}");
    }
    example.build().unwrap();
}

#[test]
fn a_name_beside_a_configuration_that_has_none_is_read_with_its_place() {
    let etcd = "[[sources]]\nkind = \"etcd\"\nname = \"registry\"\n[sources.connection]\nendpoints = [\"http://h:1\"]\n";
    let spec = Spec::parse(etcd, Format::Toml).unwrap();
    assert_eq!(spec.sources[0].name().as_str(), "registry");
    let error = refused(&etcd.replace("registry", "a b"), Format::Toml);
    assert!(error.starts_with("3:8: sources[0].name: "), "{error}");
    let error = refused(&etcd.replace("endpoints", "endpionts"), Format::Toml);
    assert!(
        error.starts_with("5:1: sources[0].connection.endpionts: unknown field"),
        "{error}"
    );
    let wrong = Spec::parse(&etcd.replace("http://h:1", "h:1"), Format::Toml).unwrap();
    let problems: Vec<String> = wrong.check().iter().map(ToString::to_string).collect();
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("error: sources[0]: ")),
        "{problems:?}"
    );
}

#[test]
fn every_kind_is_read_and_built() {
    for (text, name) in [
        (r#"{"kind": "docker", "resync_interval": "30s"}"#, "docker"),
        (
            r#"{"kind": "docker", "name": "here", "resync_interval": 30}"#,
            "here",
        ),
        (
            r#"{"kind": "swarm", "managers": [{"host": "tcp://10.0.0.1:2375", "timeout": 2.5}]}"#,
            "swarm",
        ),
        (
            r#"{"kind": "etcd", "connection": {"endpoints": ["http://h:1"], "request_timeout": 3}}"#,
            "etcd",
        ),
        (
            r#"{"kind": "etcd_v2", "endpoints": ["http://h:1"], "layouts": [{"confd": {"prefix": "/p"}}]}"#,
            "etcd",
        ),
        (
            r#"{"kind": "file", "path": "/x", "poll": "1s", "max_bytes": 1000}"#,
            "file",
        ),
    ] {
        let source = SourceSpec::parse(text, Format::Json).unwrap();
        assert_eq!(source.name().as_str(), name);
        assert_eq!(source.build().unwrap().describe().name.as_str(), name);
    }
}

#[test]
fn case_h06_every_kind_of_source_has_a_trust_and_limits() {
    let bounds = r#"trust = "team-a"
        allow = { services = ["shop-*"], hosts = ["*.shop.example"], addresses = ["10.1.0.0/16"], ports = [80, "8000-8999"] }
        max_endpoints = 7
        max_routes = 8
        max_routes_per_object = 9"#;
    for kind in [
        "kind = \"file\"\npath = \"/x\"",
        "kind = \"docker\"",
        "kind = \"swarm\"",
        "kind = \"etcd_v2\"\nendpoints = [\"http://h:1\"]\nlayouts = [{ confd = { prefix = \"/p\" } }]",
        "kind = \"etcd\"\nname = \"e\"\n[connection]\nendpoints = [\"http://127.0.0.1:1\"]\n[[layouts]]\n[layouts.confd]\nprefix = \"/x\"",
    ] {
        let source = SourceSpec::parse(&format!("{bounds}\n{kind}"), Format::Toml).unwrap();
        let SourceSpec::Bounded(_, bounds) = &source else {
            panic!("{kind} has no bounds");
        };
        assert_eq!(bounds.max_endpoints, Some(7));
        let descriptor = source.clone().build().unwrap().describe();
        assert_eq!(descriptor.limits.max_routes, 8);
        assert_eq!(descriptor.limits.max_routes_per_object, 9);
        assert!(!descriptor.limits.allow.is_all());
        assert_eq!(descriptor.name, *source.name());
    }
    let wrong = "kind = \"docker\"\nallow = { addresses = [\"10.1.0.0/40\"] }";
    let error = SourceSpec::parse(wrong, Format::Toml)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("2:") && error.contains("10.1.0.0/40"),
        "{error}"
    );
    let wrong = "kind = \"docker\"\nallow = { hosts = [\"a b\"] }";
    assert!(SourceSpec::parse(wrong, Format::Toml).is_err());
}

/// H12: whatever stands in a wrong place, no value that may be a secret is repeated.
#[test]
fn case_h12_a_secret_in_a_wrong_place_is_not_shown() {
    let etcd = "[[sources]]\nkind = \"etcd\"\n";
    let member = "endpoints = [\"https://etcd:2379\"]\n";
    for (text, place) in [
        (
            format!("{etcd}connection = 4711"),
            "3:14: sources[0].connection: invalid type: integer, expected struct ConnectionConfig",
        ),
        (
            format!("{etcd}connection = \"root:4711\""),
            "3:14: sources[0].connection: invalid type: string, expected",
        ),
        (
            format!("{etcd}[sources.connection]\n{member}auth = 4711"),
            "5:8: sources[0].connection.auth: invalid type: integer, expected",
        ),
        (
            format!("{etcd}[sources.connection]\n{member}auth = [4711]"),
            "5:9: sources[0].connection.auth[0]: invalid type: integer, expected a string",
        ),
        (
            format!("{etcd}[sources.connection]\n{member}password = \"4711\""),
            "5:1: sources[0].connection.password: unknown field",
        ),
        (
            format!(
                "{etcd}[sources.connection]\n{member}[sources.connection.auth]\nuser = \"a\"\npassword = 4711"
            ),
            "7:12: sources[0].connection.auth.password: invalid type: integer, expected a string",
        ),
        (
            format!(
                "{etcd}[sources.connection]\n{member}[sources.connection.auth]\nuser = \"a\"\npassword = 47.11e0"
            ),
            "expected a string",
        ),
        (
            format!(
                "{etcd}[sources.connection]\n{member}[sources.connection.auth]\nuser = 4711\npassword = \"a\""
            ),
            "6:8: sources[0].connection.auth.user: invalid type: integer, expected a string",
        ),
        (
            format!(
                "{etcd}[sources.connection]\n{member}[sources.connection.auth]\nuser = \"a\"\npassword_file = 4711"
            ),
            "sources[0].connection.auth.password_file: invalid type: integer, expected",
        ),
        (
            format!(
                "{etcd}[sources.connection]\n{member}[sources.connection.auth]\nuser = \"a\"\npassword = x4711y"
            ),
            "7:12: ",
        ),
        (
            format!("{etcd}[sources.connection]\n{member}tls = 4711"),
            "5:7: sources[0].connection.tls: invalid type: integer, expected",
        ),
        (
            "agent = 4711".to_owned(),
            "1:9: agent: invalid type: integer, expected struct",
        ),
        (
            "sources = [4711]".to_owned(),
            "1:12: sources[0]: invalid type: integer, expected struct",
        ),
        (
            "[[targets]]\nname = \"edge\"\nsocket = \"tcp://root:4711@edge:1\"".to_owned(),
            "3:10: targets[0].socket: ",
        ),
    ] {
        let said = refused(&text, Format::Toml);
        assert!(
            said.contains(place) && !said.contains("47"),
            "{text}: {said}"
        );
    }
    let json = r#"{"sources":[{"kind":"etcd","connection":{"endpoints":[],"auth":{"user":"a","password":4711}}}]}"#;
    let said = refused(json, Format::Json);
    assert!(said.contains("auth") && !said.contains("47"), "{said}");

    // A URL with a password in it would be shown wherever its member is named.
    for (kind, endpoint) in [
        (
            "etcd",
            "connection = { endpoints = [\"https://root:4711@etcd:2379\"] }",
        ),
        (
            "etcd",
            "connection = { endpoints = [\"ftp://root:4711@etcd:2379\"] }",
        ),
        (
            "etcd_v2",
            "endpoints = [\"http://root:4711@etcd:2379\"]\nlayouts = [{ confd = { prefix = \"/p\" } }]",
        ),
        (
            "docker",
            "connection = { host = \"tcp://root:4711@host:2375\" }",
        ),
        (
            "docker",
            "connection = { host = \"ftp://root:4711@host:2375\" }",
        ),
    ] {
        let text = format!("[[sources]]\nkind = \"{kind}\"\n{endpoint}\n");
        let spec = Spec::parse(&text, Format::Toml).unwrap_or_else(|error| panic!("{error}"));
        let problems = spec.check();
        let said = format!("{problems:?}");
        assert!(!said.contains("4711"), "{said}");
        if kind != "docker" {
            assert!(said.contains("***@etcd:2379"), "{said}");
        }
    }
}
