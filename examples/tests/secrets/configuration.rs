//! Secrets in the configuration, in what it names, and in HAProxy's own configuration.

use std::{fs, path::Path};

use lb::spec::{Format, Spec};

use crate::{
    agent::{Agent, command, eventually, told, told_by},
    planted::Planted,
};

/// Configurations that cannot be used, or that only warn. `§` stands for a secret, `HERE` for a folder.
const CONFIGURATIONS: &[(&str, &str)] = &[
    (
        "numeric password",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"http://127.0.0.1:1\"]\nauth = { user = \"lb\", password = [1, \"§\"] }",
    ),
    (
        "password without quote",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"http://127.0.0.1:1\"]\nauth = { user = \"lb\", password = \"§ }",
    ),
    (
        "password as a list",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"http://127.0.0.1:1\"]\nauth = { user = \"lb\", password = [\"§\"] }",
    ),
    (
        "auth as a text",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"http://127.0.0.1:1\"]\nauth = \"lb:§\"",
    ),
    (
        "misspelt password",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"http://127.0.0.1:1\"]\nauth = { user = \"lb\", pasword = \"§\" }",
    ),
    (
        "password in a wrong table",
        "[[sources]]\nkind = \"etcd\"\npassword = \"§\"\n[sources.connection]\nendpoints = [\"http://127.0.0.1:1\"]",
    ),
    (
        "password twice",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"http://127.0.0.1:1\"]\nauth = { user = \"lb\", password = \"§\", password_file = \"/x\" }",
    ),
    (
        "password over http",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"http://192.0.2.1:1\"]\nauth = { user = \"lb\", password = \"§\" }",
    ),
    (
        "endpoint of etcd",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"http://joe:§@127.0.0.1:1\"]",
    ),
    (
        "unusable endpoint of etcd",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"ftp://joe:§@127.0.0.1:1\", \"joe:§@x\"]",
    ),
    (
        "endpoint with a query",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"http://127.0.0.1:1/?token=§\"]",
    ),
    (
        "endpoint of etcd 2",
        "[[sources]]\nkind = \"etcd_v2\"\nlayouts = [{ lb = {} }]\nendpoints = [\"http://joe:§@127.0.0.1:1\"]",
    ),
    (
        "host of docker",
        "[[sources]]\nkind = \"docker\"\nconnection = { host = \"tcp://joe:§@127.0.0.1:1\" }",
    ),
    (
        "unusable host of docker",
        "[[sources]]\nkind = \"docker\"\nconnection = { host = \"gopher://joe:§@x\" }",
    ),
    (
        "ssh host of docker",
        "[[sources]]\nkind = \"docker\"\nconnection = { host = \"ssh://joe:§@127.0.0.1:1\" }",
    ),
    (
        "manager",
        "[[sources]]\nkind = \"swarm\"\nmanagers = [{ host = \"tcp://joe:§@127.0.0.1:1\" }]",
    ),
    (
        "socket",
        "[[targets]]\nname = \"edge\"\nsocket = \"tcp://joe:§@127.0.0.1:1\"",
    ),
    ("unknown table", "[auth]\npassword = \"§\""),
    ("no TOML", "password: §\n§"),
    (
        "name",
        "[[sources]]\nkind = \"file\"\nname = \"joe:§@x\"\npath = \"/x\"",
    ),
    (
        "password file",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"http://127.0.0.1:1\"]\nauth = { user = \"lb\", password_file = \"HERE/password\" }",
    ),
    (
        "client key",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"https://127.0.0.1:1\"]\ntls = { cert_file = \"HERE/key.pem\", key_file = \"HERE/key.pem\" }",
    ),
    (
        "authority",
        "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"https://127.0.0.1:1\"]\ntls = { ca_file = \"HERE/key.pem\" }",
    ),
    (
        "certificates of docker",
        "[[sources]]\nkind = \"docker\"\nconnection = { host = \"tcp://127.0.0.1:1\", tls = true, cert_path = \"HERE\" }",
    ),
];

/// HAProxy's own configuration, which `lint` reads.
const HAPROXY: &str = "global\n  stats socket /run/x level admin\nuserlist users\n  user joe insecure-password §\n  user jim password §\n\
    defaults\n  mode http\nfrontend front\n  bind :80\n  stats auth admin:§\n  http-request set-header Authorization \"Bearer §\"\n\
    http-request deny unless { hdr(x) § }\n  passwrd §\n  default_backend web\nbackend web\n  option httpchk GET /health?token=§\n\
    http-check send hdr Authorization §\n  server-template slot 1-4 127.0.0.1:1 disabled\n  # server a 127.0.0.1:1 §\n";

/// All that commands tell of a configuration that names secrets, with what told it.
fn collect(config: &Path) -> Vec<(String, String)> {
    let words: &[&[&str]] = &[
        &["check"],
        &["check", "--json"],
        &["plan", "--timeout", "1s", "--log", "trace"],
        &["plan", "--timeout", "1s", "--json"],
        &["explain", "x", "--timeout", "1s"],
        &["config"],
        &["status"],
    ];
    let told = words
        .iter()
        .map(|words| (words.join(" "), told(config, words)));
    told.collect()
}

#[test]
fn case_s05_secrets_in_the_configuration_are_never_told() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display().to_string();
    let planted = Planted::default();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, planted.plant(name, text)).unwrap();
        path
    };
    write("password", "§\n§\n");
    let pem = "-----BEGIN PRIVATE KEY-----\n§\n-----END PRIVATE KEY-----\n";
    for name in ["key.pem", "ca.pem", "cert.pem"] {
        write(name, pem);
    }
    let agent = format!("[agent]\nsocket = \"{here}/agent.sock\"\n");
    let mut leaks = Vec::new();
    for (place, text) in CONFIGURATIONS {
        let text = planted.plant(*place, &text.replace("HERE", &here));
        let config = write("agent.toml", &format!("{agent}{text}\n"));
        for (what, told) in collect(&config) {
            leaks.extend(planted.leaks(&what, &told));
        }
        // What a program that embeds the control plane is told.
        if let Err(error) = Spec::parse(&text, Format::Toml).and_then(Spec::build) {
            let told = format!("{error}\n{error:?}");
            leaks.extend(planted.leaks("error of the library", &told));
        }
    }
    let config = write("agent.toml", &agent);
    for variable in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH"] {
        let text = planted.plant(variable, "tcp://joe:§@127.0.0.1:1");
        fs::write(&config, format!("{agent}[[sources]]\nkind = \"docker\"\n")).unwrap();
        for words in [
            ["plan", "--timeout=1s", "--log=trace"],
            ["explain", "x", "--timeout=1s"],
        ] {
            let mut command = command(&config, &words);
            command.env(variable, &text);
            leaks.extend(planted.leaks(&format!("{variable}, {words:?}"), &told_by(command)));
        }
    }
    let haproxy = write("haproxy.cfg", HAPROXY);
    for words in [["lint", "--json"].as_slice(), &["lint"]] {
        let words = [words, &[haproxy.to_str().unwrap()]].concat();
        leaks.extend(planted.leaks("lint", &told(&config, &words)));
    }
    assert!(
        leaks.is_empty(),
        "{} leaks:\n{}",
        leaks.len(),
        leaks.join("\n")
    );
}

/// A password that etcd refuses, a file that is broken by a reload, and what is then logged and shown.
#[test]
fn case_s05_secrets_of_a_reload_are_never_told() {
    let folder = tempfile::tempdir().unwrap();
    let planted = Planted::default();
    let config = folder.path().join("agent.toml");
    let here = folder.path().display();
    let source = "[[sources]]\nkind = \"etcd\"\n[sources.connection]\nendpoints = [\"http://joe:§@127.0.0.1:1\"]\n";
    let good = format!(
        "[agent]\nsocket = \"{here}/agent.sock\"\nmetrics = \"127.0.0.1:0\"\n{source}auth = {{ user = \"lb\", password = \"§\" }}\n"
    )
    .replace("joe:§@", "");
    fs::write(&config, planted.plant("password", &good)).unwrap();
    let agent = Agent::start(&config, "json");
    let address = agent.pages();
    let broken = good.replace("password = \"", "pasword = \"");
    fs::write(&config, planted.plant("misspelt password", &broken)).unwrap();
    agent.signal("HUP");
    let reported = || match agent.log().contains("pasword") {
        true => Vec::new(),
        false => vec!["a line about the file".to_owned()],
    };
    eventually("the broken file is reported", reported);
    let mut leaks = planted.leaks("log", &agent.log());
    for path in ["/status", "/metrics"] {
        leaks.extend(planted.leaks(path, &crate::agent::page(&address, path)));
    }
    agent.end();
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}
