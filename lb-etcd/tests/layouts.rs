//! Golden tests of key layouts: in `tests/layouts/*.txt`, what follows the lines with `>` is what they mean.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests: whatever is not as it should be ends them"
)]

use std::{collections::BTreeSet, fmt::Write, fs, path::Path};

use lb_core::{EndpointState, Mode, OnDown, PathMatch, Record, RouteHost};
use lb_etcd::layout::{Change, Layout, LayoutConfig, Step, View};

/// Each layout means what its file says: S4 (restrictions withhold), S5 (no secret is shown), S13 (Patroni, hosts in
/// keys, CoreDNS). `BLESS=1` writes the files anew.
#[test]
fn case_s13_layouts_mean_what_their_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layouts");
    let (mut checked, mut counted) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = fs::read_to_string(&path).unwrap();
        let expected = play(&found);
        let answers = expected
            .lines()
            .filter(|line| !line.starts_with(['>', '#']));
        for answer in answers {
            assert!(!answer.contains("s3cret"), "a secret is shown: {answer}");
        }
        if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
            fs::write(&path, &expected).unwrap();
        } else {
            assert!(
                found == expected,
                "{} says otherwise:\n{expected}",
                path.display()
            );
        }
        let rows = rows(&found);
        if let Some((_, least)) = LEAST.iter().find(|(name, _)| path.ends_with(name)) {
            assert!(
                rows.len() >= *least,
                "{} has {} rows",
                path.display(),
                rows.len()
            );
            counted += 1;
        }
        checked += 1;
    }
    assert!(checked >= 8, "{checked} files");
    assert_eq!(counted, LEAST.len(), "a table is missing");
}

/// The rows that each table has at least. A row is what follows a line with `#`, which says what it follows.
const LEAST: [(&str, usize); 7] = [
    ("confd.txt", 20),
    ("lb.txt", 16),
    ("patroni.txt", 20),
    ("registrator.txt", 20),
    ("skydns.txt", 20),
    ("traefik.txt", 26),
    ("vulcand.txt", 20),
];

/// The titles of a table's rows, of which no two are the same, and none is without keys.
fn rows(text: &str) -> BTreeSet<&str> {
    let mut titles = BTreeSet::new();
    for row in text
        .split("\n# ")
        .skip(usize::from(!text.starts_with("# ")))
    {
        let title = row
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("# ");
        let inputs = row.lines().filter(|line| line.starts_with("> "));
        assert!(inputs.count() > 0, "nothing follows {title:?}");
        assert!(titles.insert(title), "two rows are {title:?}");
    }
    titles
}

/// Answers each input of a file. Inputs between blank lines happen at once.
fn play(text: &str) -> String {
    let mut out = String::new();
    let mut view: Option<View> = None;
    let mut changes = Vec::new();
    for line in text.lines().chain([""]) {
        if let Some(config) = line.strip_prefix("> layouts ") {
            let configs: Vec<LayoutConfig> = serde_json::from_str(config).unwrap();
            match Layout::new(&configs) {
                Ok(layout) => {
                    writeln!(out, "{line}\nprefix {:?}\n", layout.prefix()).unwrap();
                    view = Some(View::new(layout));
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                    writeln!(
                        out,
                        "{line}\nrefused {error}{}\n",
                        cause.unwrap_or_default()
                    )
                    .unwrap();
                }
            }
        } else if let Some(put) = line.strip_prefix("> put ") {
            let (key, value) = put.split_once(' ').unwrap_or((put, ""));
            changes.push(Change::put(key, value));
            writeln!(out, "{line}").unwrap();
        } else if let Some(key) = line.strip_prefix("> delete ") {
            changes.push(Change::delete(key));
            writeln!(out, "{line}").unwrap();
        } else if line.starts_with('#') {
            writeln!(out, "{line}").unwrap();
        } else if line.is_empty() && !changes.is_empty() {
            let view = view
                .as_mut()
                .unwrap_or_else(|| panic!("layouts come first"));
            answer(&mut out, view.apply(std::mem::take(&mut changes)));
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn answer(out: &mut String, step: Step) {
    for key in &step.remove {
        writeln!(out, "remove {key}").unwrap();
    }
    for record in &step.set {
        writeln!(out, "set {}", show(record)).unwrap();
    }
    for object in &step.resolved {
        writeln!(out, "resolved {object}").unwrap();
    }
    for diagnostic in &step.diagnostics {
        writeln!(out, "{:?} {diagnostic}", diagnostic.severity).unwrap();
    }
    if step == Step::default() {
        writeln!(out, "nothing").unwrap();
    }
}

fn show(record: &Record) -> String {
    let mut out = record.key.to_string();
    if let Some(endpoint) = &record.endpoint {
        write!(out, " {} weight {}", endpoint.address, endpoint.weight).unwrap();
        match endpoint.state {
            EndpointState::Ready => {}
            other => write!(out, " {other:?}").unwrap(),
        }
        if let Some(port) = endpoint.check_port {
            write!(out, " check-port {port}").unwrap();
        }
    }
    if record.mode == Mode::Tcp {
        out.push_str(" tcp");
    }
    if record.options.exclusive == Some(true) {
        out.push_str(" exclusive");
    }
    if record.options.on_down == Some(OnDown::ShutdownSessions) {
        out.push_str(" shutdown-sessions");
    }
    for route in record.routes.iter() {
        let (host, path): (RouteHost, PathMatch) = (route.host.clone(), route.path.clone());
        write!(
            out,
            "\n  route {}{path} to {}",
            String::from(host),
            route.service
        )
        .unwrap();
        if let Some(rank) = &route.rank {
            write!(out, " rank {}", rank.number()).unwrap();
        }
        if route.priority != 0 {
            write!(out, " priority {}", route.priority).unwrap();
        }
        if route.strip_prefix {
            out.push_str(" strip-prefix");
        }
        if route.redirect_https {
            out.push_str(" redirect-https");
        }
    }
    out
}
