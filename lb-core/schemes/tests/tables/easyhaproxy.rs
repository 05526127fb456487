//! The program easyhaproxy judges what its labels mean here: each row of the table is given to both.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use lb_core::{Mode, Severity, model::withheld};
use lb_schemes::{LabelScheme, Reading};

use crate::{Row, rows};

/// The frontends and backends that a configuration of the program makes.
#[derive(Debug, Default)]
struct Made {
    frontends: Vec<Frontend>,
    backends: BTreeMap<String, Backend>,
}

#[derive(Debug, Default)]
struct Frontend {
    port: u16,
    tls: bool,
    tcp: bool,
    /// The backend of each host, and of TCP the one of all connections.
    served: BTreeMap<String, String>,
    /// The hosts whose requests are redirected to https.
    redirected: BTreeSet<String>,
    /// The hosts whose requests are redirected elsewhere.
    moved: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Backend {
    /// Ports of servers; none for what is no address and port of the container.
    ports: BTreeSet<Option<u16>>,
    /// If `true`, a plugin restricts it.
    restricts: bool,
}

/// The folder of the program.
fn program() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache =
        cache.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let found = match env::var_os("LB_EASYHAPROXY") {
        Some(named) => PathBuf::from(named),
        None => cache.unwrap_or_default().join("lb-easyhaproxy/6.5.1"),
    };
    assert!(
        found.join("easymapping").is_dir(),
        "cannot run: no easyhaproxy in {}; .ci/easyhaproxy prepare fetches it",
        found.display()
    );
    found
}

/// The configurations that the program makes of each row's labels.
fn generated(rows: &[Row<'_>]) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/easyhaproxy/generate.py");
    let mut python = Command::new("python3")
        .arg(script)
        .env("PYTHONPATH", program())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    // Both ends of a pipe wait for each other when it is full.
    let lines: Vec<String> = rows.iter().map(|row| json(&row.pairs)).collect();
    let writer = std::thread::spawn(move || {
        for line in lines {
            writeln!(input, "{line}").unwrap();
        }
    });
    let answer = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(answer.status.success(), "the program failed");
    let text = String::from_utf8(answer.stdout).unwrap();
    let made: Vec<String> = text.lines().map(unquoted).collect();
    assert_eq!(made.len(), rows.len(), "the program answered not every row");
    made
}

fn json(pairs: &BTreeMap<String, String>) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{}:{}", quoted(key), quoted(value)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

/// A text out of JSON's quotes; of the escapes, those that a configuration of ASCII needs.
fn unquoted(line: &str) -> String {
    let inner = line
        .strip_prefix('"')
        .and_then(|line| line.strip_suffix('"'));
    inner
        .unwrap()
        .replace("\\n", "\n")
        .replace("\\\"", "\"")
        .replace("\\\\", "\\")
}

fn parse(config: &str) -> Made {
    let mut made = Made::default();
    let mut backend: Option<String> = None;
    let mut hosts: BTreeMap<String, String> = BTreeMap::new();
    for line in config.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            // It has nothing to serve.
            ["frontend", "welcome"] => return made,
            ["frontend", name] => {
                backend = None;
                hosts.clear();
                // Every mode but http is written as that of TCP, also one that HAProxy refuses.
                let tcp = !name.starts_with("http_in_");
                let port = name.rsplit('_').next().unwrap().parse().unwrap();
                made.frontends.push(Frontend {
                    port,
                    tcp,
                    ..Frontend::default()
                });
            }
            // A host may have spaces, which HAProxy refuses.
            ["backend", ref name @ ..] => {
                let name = name.join(" ");
                made.backends.insert(name.clone(), Backend::default());
                backend = Some(name);
            }
            ["bind", _, ref rest @ ..] if backend.is_none() => {
                made.frontends.last_mut().unwrap().tls = rest.first() == Some(&"ssl");
            }
            ["acl", name, "req.hdr(host),host_only", "-i", host] => {
                hosts.insert(name.to_owned(), host.to_lowercase());
            }
            // A host that is empty.
            ["acl", _, "req.hdr(host),host_only", "-i"] => {}
            ["use_backend", backend, "if", acl] => {
                if let Some(host) = hosts.get(acl) {
                    let served = &mut made.frontends.last_mut().unwrap().served;
                    served.insert(host.clone(), backend.to_owned());
                }
            }
            ["http-request", "redirect", "scheme", "https", .., acl] if backend.is_none() => {
                let host = hosts.get(acl).unwrap().clone();
                made.frontends.last_mut().unwrap().redirected.insert(host);
            }
            ["redirect", "prefix", .., "-i", host, "}"] => {
                let moved = &mut made.frontends.last_mut().unwrap().moved;
                moved.insert(host.to_lowercase());
            }
            ["default_backend", name] => {
                let frontend = made.frontends.last_mut().unwrap();
                if frontend.tcp {
                    let host = name.trim_start_matches("srv_").to_owned();
                    frontend.served.insert(host, name.to_owned());
                }
            }
            ["server", _, address, ref rest @ ..] => {
                let backend = made.backends.get_mut(backend.as_ref().unwrap()).unwrap();
                let port = address.strip_prefix("192.0.2.1:");
                let speaks_http = !rest.contains(&"proto");
                let port = port
                    .filter(|_| speaks_http)
                    .and_then(|port| port.parse().ok());
                backend.ports.insert(port);
            }
            ["http-request", "deny" | "return", ..] | ["tcp-request", ..] => {
                if let Some(name) = &backend {
                    made.backends.get_mut(name).unwrap().restricts = true;
                }
            }
            _ => {}
        }
    }
    made
}

/// Returns `true` if an error names a key of a definition of the host, or the service of the host. `host` is a host, or the
/// one of a TCP frontend with `_` for dots and its port behind it.
fn is_told(row: &Row<'_>, found: &Reading, host: &str) -> bool {
    let is_of_host = |listed: &str| {
        let own = listed.trim().to_lowercase();
        own == host || host.starts_with(&format!("{}_", own.replace('.', "_")))
    };
    let hosts = row
        .pairs
        .iter()
        .filter_map(|(key, list)| Some((key.strip_suffix("host")?, list)));
    let definitions: Vec<&str> = hosts
        .filter(|(_, list)| list.split(',').any(is_of_host))
        .map(|(definition, _)| definition)
        .collect();
    let errors = found
        .diagnostics
        .iter()
        .filter(|told| told.severity != Severity::Warning);
    let mut named = errors.map(|told| (told.field.as_deref().unwrap_or_default(), &told.value));
    named.any(|(field, value)| {
        let of_definition = definitions
            .iter()
            .any(|definition| field.starts_with(definition));
        of_definition || (field == "service" && value.as_deref().is_some_and(is_of_host))
    })
}

/// The differences between the program and this crate that are not reported.
fn differences(row: &Row<'_>, made: &Made, found: &Reading) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_told = |host: &str| is_told(row, found, host);
    let gives_up = row.gives_up();
    let http = || made.frontends.iter().filter(|front| !front.tcp);
    // What is served here is served there: the host, the port of the servers, with TLS only where it is so there.
    for spec in &found.services {
        for route in spec
            .routes
            .iter()
            .filter(|route| route.service != withheld())
        {
            let host = route.host.to_string();
            let at: Vec<&Frontend> = http()
                .filter(|front| {
                    front.served.contains_key(&host) || front.redirected.contains(&host)
                })
                .collect();
            if at.is_empty() {
                wrong.push(format!("{host} is not served there"));
            }
            let serves: Vec<&&Frontend> = at
                .iter()
                .filter(|front| front.served.contains_key(&host))
                .collect();
            let plainly = serves.iter().any(|front| !front.tls);
            if !plainly && !route.redirect_https && !gives_up {
                wrong.push(format!("{host} is not served without TLS there"));
            }
            if plainly && route.redirect_https {
                wrong.push(format!("{host} is served without TLS there"));
            }
            if route.path.to_string() != "/" || route.strip_prefix || route.priority != 0 {
                wrong.push(format!(
                    "{host} has a path or an option that it has not there"
                ));
            }
            for backend in serves.iter().filter_map(|front| front.served.get(&host)) {
                let backend = &made.backends[backend];
                if backend.restricts && !gives_up {
                    wrong.push(format!("{host} is restricted there"));
                }
                let own = BTreeSet::from([spec.port]);
                if !spec.without_endpoint && !backend.ports.is_superset(&own) {
                    wrong.push(format!(
                        "{host} has other servers there: {:?}",
                        backend.ports
                    ));
                }
                if backend.ports != own && !is_told(&host) {
                    wrong.push(format!(
                        "{host} has other servers there, which is not reported"
                    ));
                }
            }
        }
    }
    // What is served there is served here, or it is said that it is not.
    for front in &made.frontends {
        for (host, backend) in &front.served {
            let ports = &made.backends[backend].ports;
            let here = found.services.iter().any(|spec| match front.tcp {
                true => {
                    let name =
                        format!("{}_{}", spec.service.as_str().replace('.', "_"), front.port);
                    spec.mode == Mode::Tcp && name == *host && ports.contains(&spec.port)
                }
                false => spec
                    .routes
                    .iter()
                    .any(|route| route.host.to_string() == *host && route.service != withheld()),
            });
            if !here && !is_told(host) {
                wrong.push(format!("{host} is served there on {}", front.port));
            }
        }
        for host in &front.moved {
            let told = |key: &str| key.ends_with(".redirect");
            if !found
                .diagnostics
                .iter()
                .any(|one| one.field.as_deref().is_some_and(told))
            {
                wrong.push(format!("{host} is redirected elsewhere there"));
            }
        }
    }
    // A service of TCP is one there.
    for spec in found.services.iter().filter(|spec| spec.mode == Mode::Tcp) {
        let name = format!("srv_{}_", spec.service.as_str().replace('.', "_"));
        if !made
            .backends
            .keys()
            .any(|backend| backend.starts_with(&name))
        {
            wrong.push(format!("{} is no service there", spec.service));
        }
    }
    wrong
        .into_iter()
        .map(|wrong| format!("{}: {wrong}", row.title))
        .collect()
}

#[test]
fn case_s15_easyhaproxy_itself_makes_the_same_of_every_row() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/easyhaproxy.txt");
    let text = fs::read_to_string(path).unwrap();
    let rows = rows(&text);
    let mut wrong = Vec::new();
    let mut served = 0;
    for (row, config) in rows.iter().zip(generated(&rows)) {
        let made = parse(&config);
        served += made
            .frontends
            .iter()
            .map(|front| front.served.len())
            .sum::<usize>();
        wrong.extend(differences(row, &made, &row.read(LabelScheme::EasyHaproxy)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        rows.len() >= 20 && served >= 20,
        "{} rows, {served} hosts",
        rows.len()
    );
}

/// An error that is said of something else excuses nothing.
#[test]
fn the_judge_takes_only_errors_of_the_hosts_own_definition() {
    let config = "frontend http_in_80\n bind *:80\n acl c req.hdr(host),host_only -i c.example\n use_backend srv_c if c\nbackend srv_c\n server srv-0 192.0.2.1:80 check\n";
    let told = |labels: &str| {
        let text = format!("## row\n{labels}");
        let rows = rows(&text);
        let row = rows.first().unwrap();
        let found = row.read(LabelScheme::EasyHaproxy);
        assert!(
            found
                .diagnostics
                .iter()
                .any(|one| one.severity != Severity::Warning),
            "{labels}"
        );
        differences(row, &parse(config), &found).is_empty()
    };
    assert!(told(
        "easyhaproxy.c.host = c.example\neasyhaproxy.c.mode = udp\n"
    ));
    assert!(!told(
        "easyhaproxy.z.host = z.example\neasyhaproxy.z.mode = udp\n"
    ));
}

#[test]
fn the_judge_sees_what_differs() {
    let config = "frontend http_in_443\n bind *:443 ssl crt x\n acl h req.hdr(host),host_only -i a.example\n use_backend srv_a if h\nbackend srv_a\n http-request deny\n server srv-0 192.0.2.1:81 check\n";
    let made = parse(config);
    let text = "## row\neasyhaproxy.x.host = a.example\neasyhaproxy.y.host = b.example\n";
    let rows = rows(text);
    let row = rows.first().unwrap();
    let wrong = differences(row, &made, &row.read(LabelScheme::EasyHaproxy));
    for expected in [
        "a.example is not served without TLS there",
        "a.example is restricted there",
        "a.example has other servers there",
        "b.example is not served there",
    ] {
        assert!(
            wrong.iter().any(|one| one.contains(expected)),
            "{expected}: {wrong:?}"
        );
    }
}
