//! `lb-agent status`.

use std::{collections::BTreeMap, process::ExitCode};

use hyper::Method;
use serde::Deserialize;

use crate::{
    ask::ask,
    check::count,
    cli::{Common, StatusArgs},
    conditions::Conditions,
    failure::Failure,
    output::{print, print_line},
    table::{Table, time},
};

/// Something is wrong, though the agent answers.
const UNHEALTHY: u8 = 3;

/// The agent's answer, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Answer {
    agent: Agent,
    status: View,
}

#[derive(Debug, Deserialize)]
struct Agent {
    version: String,
    pid: u32,
    config: String,
}

#[derive(Debug, Deserialize)]
struct View {
    generation: u64,
    published: bool,
    partial: bool,
    services: usize,
    endpoints: usize,
    routes: usize,
    uptime_ms: u64,
    sources: Vec<Source>,
    targets: Vec<Target>,
    holds: Vec<Hold>,
    #[serde(flatten)]
    conditions: Conditions,
}

#[derive(Debug, Deserialize)]
struct Source {
    name: String,
    kind: String,
    health: Health,
    cursor: Option<Cursor>,
    records: usize,
    held: usize,
    silent_ms: Option<u64>,
    retry_in_ms: Option<u64>,
    diagnostics: Vec<Diagnostic>,
    diagnostics_dropped: u64,
}

#[derive(Debug, Deserialize)]
struct Health {
    state: String,
    for_ms: u64,
    why: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Cursor {
    epoch: String,
    revision: u64,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    activity: String,
    verified: Option<u64>,
    behind: u64,
    lag_ms: Option<u64>,
    passes: u64,
    failures: u32,
    last_error: Option<String>,
    #[serde(default)]
    about: Option<About>,
    retry_in_ms: Option<u64>,
    last_latency_micros: Option<u64>,
    unmet: Vec<Unmet>,
    unmet_count: usize,
    counters: BTreeMap<String, u64>,
    #[serde(default)]
    gauges: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct About {
    program: String,
    version: String,
}

#[derive(Debug, Deserialize)]
struct Unmet {
    service: String,
    endpoint: Option<String>,
    detail: String,
}

#[derive(Debug, Deserialize)]
struct Hold {
    source: String,
    service: String,
    records: usize,
    release_in_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Diagnostic {
    object: String,
    field: Option<String>,
    value: Option<String>,
    message: String,
}

pub(crate) async fn status(common: &Common, args: &StatusArgs) -> Result<ExitCode, Failure> {
    let body = ask(common, &args.agent, Method::GET, "/status").await?;
    let answer: Answer = serde_json::from_slice(&body)?;
    if args.json {
        let value: serde_json::Value = serde_json::from_slice(&body)?;
        print_line(format_args!("{value:#}"));
    } else if !args.healthy {
        print(render(&answer));
    }
    let complaints = answer.status.complaints();
    if !args.healthy || complaints.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for complaint in complaints {
        eprintln!("lb-agent: {complaint}");
    }
    Ok(ExitCode::from(UNHEALTHY))
}

impl View {
    /// The reasons that keep the targets from their desired state, or let that be out of date.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if !self.published {
            complaints.push("nothing is known yet".to_owned());
        }
        complaints.extend(self.conditions.complaints());
        for target in &self.targets {
            let name = &target.name;
            let behind = target.failures > 0 || target.verified.is_none();
            if behind && !self.conditions.explain(name) {
                complaints.push(format!("target {name} has not converged"));
            }
        }
        complaints
    }
}

fn render(answer: &Answer) -> String {
    let Answer { agent, status } = answer;
    let mut text = format!(
        "lb-agent {}, process {}, {}, up {}\ngeneration {}: {}, {}, {}\n",
        agent.version,
        agent.pid,
        agent.config,
        time(status.uptime_ms),
        status.generation,
        count(status.services, "service"),
        count(status.endpoints, "endpoint"),
        count(status.routes, "route"),
    );
    if !status.published {
        text.push_str("nothing is known yet: no target is touched\n");
    } else if status.partial {
        text.push_str("some source was never heard: nothing that it may know is taken away\n");
    }
    text.push('\n');
    text.push_str(&sources(&status.sources));
    text.push('\n');
    text.push_str(&targets(&status.targets));
    if !status.holds.is_empty() {
        text.push('\n');
        text.push_str(&holds(&status.holds));
    }
    let conditions = status.conditions.render(status.uptime_ms);
    if !conditions.is_empty() {
        text.push('\n');
        text.push_str(&conditions);
    }
    text
}

fn sources(sources: &[Source]) -> String {
    let head = [
        "SOURCE", "KIND", "STATE", "FOR", "SILENT", "RECORDS", "HELD", "CURSOR",
    ];
    let mut table = Table::new(head);
    for source in sources {
        let mut notes = Vec::new();
        if let Some(why) = &source.health.why {
            let retry = source
                .retry_in_ms
                .map(|ms| format!("; next attempt in {}", time(ms)));
            notes.push(format!("{why}{}", retry.unwrap_or_default()));
        }
        notes.extend(source.diagnostics.iter().map(Diagnostic::line));
        if source.diagnostics_dropped > 0 {
            notes.push(format!("and {} more", source.diagnostics_dropped));
        }
        let cells = [
            source.name.clone(),
            source.kind.clone(),
            words(&source.health.state),
            time(source.health.for_ms),
            source.silent_ms.map_or_else(none, time),
            source.records.to_string(),
            source.held.to_string(),
            source.cursor.as_ref().map_or_else(none, Cursor::show),
        ];
        table.row(cells, notes);
    }
    table.render()
}

fn targets(targets: &[Target]) -> String {
    let head = [
        "TARGET", "ACTIVITY", "VERIFIED", "BEHIND", "LAG", "PASSES", "UNMET", "LATENCY",
    ];
    let mut table = Table::new(head);
    for target in targets {
        let mut notes = Vec::new();
        if let Some(About { program, version }) = &target.about {
            notes.push(format!("{program} {version}"));
        }
        if let Some(error) = &target.last_error {
            let retry = target
                .retry_in_ms
                .map(|ms| format!("; next try in {}", time(ms)));
            let times = count(target.failures as usize, "time");
            notes.push(format!(
                "failed {times} in a row: {error}{}",
                retry.unwrap_or_default()
            ));
        }
        for unmet in &target.unmet {
            let endpoint = unmet
                .endpoint
                .as_ref()
                .map(|endpoint| format!("/{endpoint}"));
            let endpoint = endpoint.unwrap_or_default();
            notes.push(format!(
                "unmet: {}{endpoint}: {}",
                unmet.service, unmet.detail
            ));
        }
        for numbers in [&target.counters, &target.gauges] {
            let list: Vec<String> = numbers
                .iter()
                .map(|(what, count)| format!("{what} {count}"))
                .collect();
            if !list.is_empty() {
                notes.push(list.join(", "));
            }
        }
        let cells = [
            target.name.clone(),
            target.activity.clone(),
            target
                .verified
                .map_or_else(none, |generation| generation.to_string()),
            target.behind.to_string(),
            target.lag_ms.map_or_else(none, time),
            target.passes.to_string(),
            target.unmet_count.to_string(),
            target.last_latency_micros.map_or_else(none, latency),
        ];
        table.row(cells, notes);
    }
    table.render()
}

fn holds(holds: &[Hold]) -> String {
    let mut table = Table::new(["HELD BACK", "SOURCE", "RECORDS", "LET GO"]);
    for hold in holds {
        let when = match hold.release_in_ms {
            0 => "when the source is live".to_owned(),
            millis => format!("in {}, unless contradicted", time(millis)),
        };
        let cells = [
            hold.service.clone(),
            hold.source.clone(),
            hold.records.to_string(),
            when,
        ];
        table.row(cells, vec![]);
    }
    table.render() + "  now: lb-agent confirm SERVICE\n"
}

impl Cursor {
    fn show(&self) -> String {
        format!("{}@{}", self.epoch, self.revision)
    }
}

impl Diagnostic {
    fn line(&self) -> String {
        let field = self.field.as_ref().map(|field| format!(": {field}"));
        let value = self.value.as_ref().map(|value| format!(" = {value:?}"));
        format!(
            "{}{}{}: {}",
            self.object,
            field.unwrap_or_default(),
            value.unwrap_or_default(),
            self.message
        )
    }
}

fn latency(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{}.{}ms", micros / 1000, micros % 1000 / 100),
        _ => time(micros / 1000),
    }
}

fn words(identifier: &str) -> String {
    identifier.replace('_', " ")
}

fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{
        "agent": {"version": "0.1.0", "pid": 7, "config": "/etc/lb/agent.toml"},
        "status": {
            "generation": 12, "published": true, "partial": false, "services": 2, "endpoints": 3, "routes": 1,
            "uptime_ms": 7380000,
            "sources": [
                {"name": "docker", "kind": "docker", "health": {"state": "live", "for_ms": 7380000},
                 "cursor": {"epoch": "ab", "revision": 9}, "records": 3, "held": 0, "updates": 4, "outdated": 0,
                 "attempts": 1, "silent_ms": 1200, "retry_in_ms": null, "diagnostics": [
                    {"object": "container x", "field": "lb.port", "value": "http", "message": "expected a port",
                     "severity": "error"}], "diagnostics_dropped": 0},
                {"name": "etcd", "kind": "etcd", "health": {"state": "never_synced", "for_ms": 61000,
                 "why": "connection refused"}, "cursor": null, "records": 0, "held": 0, "updates": 0, "outdated": 0,
                 "attempts": 5, "silent_ms": null, "retry_in_ms": 3100, "diagnostics": [], "diagnostics_dropped": 0}
            ],
            "targets": [
                {"name": "edge", "activity": "idle", "verified": 12, "behind": 0, "lag_ms": null, "passes": 40,
                 "failures": 0, "last_error": null, "retry_in_ms": null, "last_latency_micros": 1840,
                 "unmet": [{"service": "web", "endpoint": "a", "reason": "no_capacity", "detail": "no free slot"}],
                 "unmet_count": 1, "counters": {"reloads": 0, "steps": 12}}
            ],
            "holds": [{"source": "docker", "service": "web", "records": 2, "release_in_ms": 8000}],
            "conflicts": [], "conflict_count": 0,
            "conditions": [
                {"kind": "no_capacity", "transient": false, "since_ms": 7379000, "source": null, "target": "edge",
                 "service": "web", "endpoint": "a", "object": null, "detail": "no free slot", "help": "declare more slots"},
                {"kind": "never_synced", "transient": false, "since_ms": 0, "source": "etcd", "target": null,
                 "service": null, "endpoint": null, "object": null, "detail": "connection refused", "help": null}
            ],
            "condition_count": 2, "condition_counts": {"no_capacity": 1, "never_synced": 1}
        }
    }"#;

    #[test]
    fn everything_is_shown_in_columns_with_reasons_below() {
        let answer: Answer = serde_json::from_str(ANSWER).unwrap();
        let expected = "\
lb-agent 0.1.0, process 7, /etc/lb/agent.toml, up 2h 3m
generation 12: 2 services, 3 endpoints, 1 route

SOURCE  KIND    STATE         FOR    SILENT  RECORDS  HELD  CURSOR
docker  docker  live          2h 3m  1.2s    3        0     ab@9
  container x: lb.port = \"http\": expected a port
etcd    etcd    never synced  1m 1s  -       0        0     -
  connection refused; next attempt in 3.1s

TARGET  ACTIVITY  VERIFIED  BEHIND  LAG  PASSES  UNMET  LATENCY
edge    idle      12        0       -    40      1      1.8ms
  unmet: web/a: no free slot
  reloads 0, steps 12

HELD BACK  SOURCE  RECORDS  LET GO
web        docker  2        in 8.0s, unless contradicted
  now: lb-agent confirm SERVICE

CONDITION     FOR    CONCERNS
no_capacity   1.0s   target edge, service web, endpoint a
  no free slot
  help: declare more slots
never_synced  2h 3m  source etcd
  connection refused
";
        assert_eq!(render(&answer), expected);
    }

    #[test]
    fn health_is_live_sources_and_converged_targets() {
        let mut answer: Answer = serde_json::from_str(ANSWER).unwrap();
        assert_eq!(
            answer.status.complaints(),
            [
                "no_capacity target edge service web endpoint a: no free slot (declare more slots)",
                "never_synced source etcd: connection refused",
            ]
        );
        answer.status.conditions = Conditions::default();
        assert!(answer.status.complaints().is_empty());
        answer.status.targets[0].verified = None;
        assert_eq!(
            answer.status.complaints(),
            ["target edge has not converged"]
        );
    }
}
