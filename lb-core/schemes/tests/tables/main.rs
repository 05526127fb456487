//! Every scheme as a table: labels, the services and routes they make, and what is reported.
//!
//! A row of a table in `tests/golden/` begins with `##` and what the scheme's own program does, in our words. Then come labels
//! (or variables) as `key = value`, facts of the object and options of the source as `@name value`, and what comes out:
//!
//! - `=> service:port wWEIGHT tcp ROUTE…`: a service; `unreachable` has no endpoint here. A route is `host/path@rank!priority`
//!   with `+strip` and `+https`; one that is withheld begins with `503:`, one that leads nowhere
//!   with `404:`
//! - `=* host 503` or `=* host https`: it holds for every object that names the host
//! - `=! key` for an error, `=? key` for a warning
//!
//! `UPDATE_GOLDEN=1` writes what comes out, to be read by people.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod easyhaproxy;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
};

use lb_core::{
    Diagnostic, Mode, Severity,
    model::{nowhere, withheld},
};
use lb_schemes::{
    Compose, EntryPoint, LabelScheme, Options, Reading, ServiceSpec, SharedHost, Subject,
    Unprotected, read,
};

const OBJECT: &str = "container web-1 (abc)";

fn printed(spec: &ServiceSpec) -> String {
    let mut text = spec.service.to_string();
    if let Some(port) = spec.port {
        write!(text, ":{port}").unwrap();
    }
    if spec.mode == Mode::Tcp {
        text.push_str(" tcp");
    }
    if let Some(exclusive) = spec.options.exclusive {
        write!(text, " exclusive={exclusive}").unwrap();
    }
    if let Some(on_down) = spec.options.on_down {
        write!(text, " on_down={on_down:?}").unwrap();
    }
    if spec.weight.get() != 100 {
        write!(text, " w{}", spec.weight).unwrap();
    }
    if spec.without_endpoint {
        text.push_str(" unreachable");
    }
    if let Some(network) = &spec.network {
        write!(text, " network={network}").unwrap();
    }
    if let Some(check) = spec.check_port {
        write!(text, " check={check}").unwrap();
    }
    if let Some(drain) = spec.drain {
        write!(text, " drain={drain:?}").unwrap();
    }
    if let Some(spread) = spec.spread {
        write!(text, " spread={spread:?}").unwrap();
    }
    for route in &spec.routes {
        text.push(' ');
        if route.service == withheld() {
            text.push_str("503:");
        } else if route.service == nowhere() {
            // Every host has it; its numbers say that it comes last.
            write!(text, "404:{}{}", route.host, route.path).unwrap();
            assert_eq!(route.priority, i32::MIN);
            continue;
        } else {
            assert_eq!(route.service, spec.service);
        }
        write!(text, "{}{}", route.host, route.path).unwrap();
        if let Some(rank) = route.rank.as_ref().filter(|rank| rank.number() != 0) {
            write!(text, "@{}", rank.number()).unwrap();
        }
        if route.priority != 0 {
            write!(text, "!{}", route.priority).unwrap();
        }
        for (set, name) in [
            (route.strip_prefix, "+strip"),
            (route.redirect_https, "+https"),
        ] {
            if set {
                text.push_str(name);
            }
        }
    }
    text
}

/// The statement that holds for a host in other objects too.
fn shared(host: &SharedHost) -> Option<String> {
    let effect = match (host.restricted, host.redirect_https) {
        (true, _) => "503",
        (false, true) => "https",
        (false, false) => return None,
    };
    Some(format!("=* {} {effect}", host.host))
}

fn reported(diagnostic: &Diagnostic) -> String {
    assert_eq!(diagnostic.object, OBJECT);
    let mark = match diagnostic.severity {
        Severity::Error | Severity::Withheld | Severity::Failed => "=!",
        Severity::Warning => "=?",
    };
    format!("{mark} {}", diagnostic.field.as_deref().unwrap_or_default())
}

/// Asserts that what withholds a route is told apart from what leaves one out.
fn withheld_is_said(title: &str, found: &Reading) {
    let withheld = withheld();
    let routes = || found.services.iter().flat_map(|spec| &spec.routes);
    // Where a prefix is taken off, what continues its last segment is withheld, and nothing restricts it.
    let strips = routes().any(|route| route.strip_prefix);
    let is_withheld =
        routes().any(|route| route.service == withheld) || found.hosts.iter().any(|h| h.restricted);
    let mut told = found.diagnostics.iter();
    if is_withheld && !strips {
        let said = told.any(|told| told.severity == Severity::Withheld);
        assert!(said, "{title}: {:#?}", found.diagnostics);
    }
}

/// A row of a table.
#[derive(Default)]
pub(crate) struct Row<'t> {
    pub(crate) title: &'t str,
    pub(crate) pairs: BTreeMap<String, String>,
    facts: Vec<(&'t str, &'t str)>,
    expected: Vec<&'t str>,
}

impl Row<'_> {
    /// Returns `true` if the row's source gives protections up.
    pub(crate) fn gives_up(&self) -> bool {
        self.facts
            .iter()
            .any(|(name, _)| *name == "@allow_unprotected")
    }

    /// The reading of the row's object.
    pub(crate) fn read(&self, scheme: LabelScheme) -> Reading {
        let mut options = Options::new(&[scheme], &["docker"]);
        let (mut exposed, mut compose) = (BTreeSet::new(), None);
        for (name, value) in &self.facts {
            match *name {
                "@exposed" => {
                    exposed = value.split(',').map(|port| port.parse().unwrap()).collect()
                }
                "@compose" => compose = value.split_once('/'),
                "@default_rule" => options.default_rule = Some((*value).to_owned()),
                "@exposed_by_default" => options.exposed_by_default = value.parse().unwrap(),
                "@allow_unprotected" => {
                    let keys: Vec<String> = value.split(',').map(str::to_owned).collect();
                    options.allow_unprotected = Unprotected::from(keys);
                }
                "@entrypoints" => {
                    let points = value.split(',').map(|pair| {
                        let (name, kind) = pair.split_once(':').unwrap();
                        let kind = match kind {
                            "http" => EntryPoint::Http,
                            "https" => EntryPoint::Https,
                            "tcp" => EntryPoint::Tcp,
                            "https_and_tcp" => EntryPoint::HttpsAndTcp,
                            "both" => EntryPoint::Both,
                            _ => panic!("{kind} is no entry point"),
                        };
                        (name.to_owned(), kind)
                    });
                    options.entrypoints = points.collect();
                }
                _ => panic!("{name} is no fact"),
            }
        }
        // Labels have dots, variables have none.
        let (labels, env): (BTreeMap<String, String>, BTreeMap<String, String>) = self
            .pairs
            .clone()
            .into_iter()
            .partition(|(key, _)| key.contains('.'));
        let env: Vec<(String, String)> = env.into_iter().collect();
        read(
            &options,
            &Subject {
                object: OBJECT,
                name: "shop_web",
                labels: &labels,
                env: &env,
                compose: compose.map(|(project, service)| Compose {
                    project,
                    service,
                    number: Some("1"),
                    one_off: false,
                }),
                stack: Some("shop"),
                exposed: &exposed,
            },
        )
    }
}

/// The rows of a table.
pub(crate) fn rows(text: &str) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            rows.push(Row {
                title,
                ..Row::default()
            });
            continue;
        }
        let Some(row) = rows.last_mut() else { continue };
        if line.starts_with('=') {
            row.expected.push(line);
        } else if line.starts_with('@') {
            row.facts.push(line.split_once(' ').unwrap());
        } else if let Some((key, value)) = line.split_once(" = ") {
            row.pairs.insert(key.to_owned(), value.replace("\\n", "\n"));
        } else if let Some(key) = line.strip_suffix(" =") {
            row.pairs.insert(key.to_owned(), String::new());
        } else {
            assert!(line.is_empty(), "{line}");
        }
    }
    rows
}

/// Checks every row of a table, of which there are at least `least`.
fn check(scheme: LabelScheme, name: &str, least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let text = fs::read_to_string(&path).unwrap();
    let rows = rows(&text);
    assert!(rows.len() >= least, "{name} has {} rows", rows.len());
    let titles: BTreeSet<&str> = rows.iter().map(|row| row.title).collect();
    assert_eq!(
        titles.len(),
        rows.len(),
        "two rows of {name} have one title"
    );
    let mut updated = text
        .lines()
        .take_while(|line| !line.starts_with("##"))
        .fold(String::new(), |all, line| all + line + "\n");
    let mut failures = Vec::new();
    for row in &rows {
        let found = row.read(scheme);
        withheld_is_said(row.title, &found);
        let outcome: Vec<String> = found
            .services
            .iter()
            .map(|spec| format!("=> {}", printed(spec)))
            .chain(found.hosts.iter().filter_map(shared))
            .chain(found.diagnostics.iter().map(reported))
            .collect();
        writeln!(updated, "## {}", row.title).unwrap();
        for (key, value) in &row.pairs {
            let line = format!("{key} = {}", value.replace('\n', "\\n"));
            writeln!(updated, "{}", line.trim_end()).unwrap();
        }
        for (name, value) in &row.facts {
            writeln!(updated, "{name} {value}").unwrap();
        }
        for line in &outcome {
            writeln!(updated, "{line}").unwrap();
        }
        updated.push('\n');
        if outcome != row.expected {
            let messages: Vec<&str> = found
                .diagnostics
                .iter()
                .map(|diagnostic| diagnostic.message.as_str())
                .collect();
            failures.push(format!(
                "{}\n  expected {:#?}\n  found {outcome:#?}\n  {messages:#?}",
                row.title, row.expected
            ));
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, updated.trim_end().to_owned() + "\n").unwrap();
        return;
    }
    assert!(failures.is_empty(), "{name}:\n{}", failures.join("\n"));
}

#[test]
fn case_s09_traefik_labels_mean_what_the_table_says() {
    check(LabelScheme::Traefik, "traefik.txt", 120);
}

#[test]
fn case_s10_docker_flow_labels_mean_what_the_table_says() {
    check(LabelScheme::DockerFlow, "docker-flow.txt", 40);
}

#[test]
fn case_s12_nginx_proxy_variables_mean_what_the_table_says() {
    check(LabelScheme::VirtualHost, "nginx-proxy.txt", 40);
}

#[test]
fn case_s15_easyhaproxy_labels_mean_what_the_table_says() {
    check(LabelScheme::EasyHaproxy, "easyhaproxy.txt", 20);
}

#[test]
fn case_s04_labels_of_lb_mean_what_the_table_says() {
    check(LabelScheme::Lb, "lb.txt", 8);
}
