//! The state of a control plane as Prometheus reads it.
//!
//! Names begin with `lb_`; lengths of time are in seconds. Label values are names, kinds and counters, whose
//! characters need no escaping.

use std::fmt::{self, Display, Write};

use lb_core::{ConditionKind, Status, status::Health};

use crate::watch::{BOUNDS, Latencies};

/// All metrics, in Prometheus' text format.
pub(crate) fn render(status: &Status, latencies: &Latencies) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, status, latencies);
    text
}

fn write(text: &mut String, status: &Status, latencies: &Latencies) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION");
    head(text, "build_info", "gauge", "Which version runs.")?;
    writeln!(text, "lb_build_info{{version=\"{version}\"}} 1")?;
    let single: [(&str, &str, f64); 7] = [
        (
            "uptime_seconds",
            "How long the control plane has been there.",
            seconds(status.uptime_ms),
        ),
        (
            "generation",
            "The number of the newest snapshot; 0 before the first.",
            number(status.generation),
        ),
        (
            "partial",
            "Whether some source was never heard.",
            flag(status.partial),
        ),
        (
            "services",
            "How many services there are.",
            count(status.services),
        ),
        (
            "endpoints",
            "How many endpoints there are.",
            count(status.endpoints),
        ),
        ("routes", "How many routes there are.", count(status.routes)),
        (
            "conflicts",
            "How many disagreements between records there are.",
            count(status.conflict_count),
        ),
    ];
    for (name, help, value) in single {
        head(text, name, "gauge", help)?;
        writeln!(text, "lb_{name} {value}")?;
    }
    conditions(text, status)?;
    sources(text, status)?;
    targets(text, status)?;
    head(
        text,
        "guard_held_records",
        "gauge",
        "How many records the guard holds back.",
    )?;
    for hold in &status.holds {
        let (source, service, records) = (&hold.source, &hold.service, hold.records);
        writeln!(
            text,
            "lb_guard_held_records{{source=\"{source}\",service=\"{service}\"}} {records}"
        )?;
    }
    latency(text, latencies)
}

/// Every kind has its line, so that an alarm on one sees it begin.
fn conditions(text: &mut String, status: &Status) -> fmt::Result {
    head(
        text,
        "conditions",
        "gauge",
        "How many conditions there are, by kind.",
    )?;
    for kind in ConditionKind::ALL {
        let there = status.condition_counts.get(kind).copied().unwrap_or(0);
        writeln!(text, "lb_conditions{{kind=\"{kind}\"}} {}", count(there))?;
    }
    Ok(())
}

fn sources(text: &mut String, status: &Status) -> fmt::Result {
    type Column = (
        &'static str,
        &'static str,
        &'static str,
        fn(&lb_core::status::SourceStatus) -> Option<f64>,
    );
    let columns: [Column; 8] = [
        (
            "live",
            "gauge",
            "Whether what the source said can be taken for current.",
            |s| Some(flag(s.health.is_live())),
        ),
        (
            "state_seconds",
            "gauge",
            "For how long the source has been in its state.",
            |s| Some(seconds(for_ms(&s.health))),
        ),
        (
            "silent_seconds",
            "gauge",
            "How long ago the source last said anything.",
            |s| s.silent_ms.map(seconds),
        ),
        (
            "records",
            "gauge",
            "How many records the source says there are.",
            |s| Some(count(s.records)),
        ),
        (
            "held_records",
            "gauge",
            "How many of its records the guard holds back.",
            |s| Some(count(s.held)),
        ),
        (
            "updates_total",
            "counter",
            "How many updates were applied.",
            |s| Some(number(s.updates)),
        ),
        (
            "outdated_total",
            "counter",
            "How many updates were older than what was applied.",
            |s| Some(number(s.outdated)),
        ),
        (
            "attempts_total",
            "counter",
            "How many attempts to follow the source were begun.",
            |s| Some(number(s.attempts)),
        ),
    ];
    for (name, kind, help, value) in columns {
        head(text, &format!("source_{name}"), kind, help)?;
        for source in &status.sources {
            if let Some(value) = value(source) {
                let (own, kind) = (&source.name, source.kind);
                writeln!(
                    text,
                    "lb_source_{name}{{source=\"{own}\",kind=\"{kind}\"}} {value}"
                )?;
            }
        }
    }
    Ok(())
}

fn targets(text: &mut String, status: &Status) -> fmt::Result {
    type Column = (
        &'static str,
        &'static str,
        &'static str,
        fn(&lb_core::status::TargetStatus) -> Option<f64>,
    );
    let columns: [Column; 6] = [
        (
            "verified_generation",
            "gauge",
            "The last generation that was applied and verified.",
            |t| t.verified.map(number),
        ),
        (
            "behind_generations",
            "gauge",
            "How many generations the target is behind.",
            |t| Some(number(t.behind)),
        ),
        (
            "lag_seconds",
            "gauge",
            "How long the oldest change that is not verified has waited.",
            |t| Some(seconds(t.lag_ms.unwrap_or(0))),
        ),
        (
            "passes_total",
            "counter",
            "How many passes were made.",
            |t| Some(number(t.passes)),
        ),
        (
            "failures",
            "gauge",
            "How many passes in a row did not converge.",
            |t| Some(f64::from(t.failures)),
        ),
        ("unmet", "gauge", "Number of unmet conditions.", |t| {
            Some(count(t.unmet_count))
        }),
    ];
    for (name, kind, help, value) in columns {
        head(text, &format!("target_{name}"), kind, help)?;
        for target in &status.targets {
            if let Some(value) = value(target) {
                writeln!(
                    text,
                    "lb_target_{name}{{target=\"{}\"}} {value}",
                    target.name
                )?;
            }
        }
    }
    head(
        text,
        "target_info",
        "gauge",
        "The program that the target is, and its version; always 1.",
    )?;
    for target in &status.targets {
        if let Some(about) = &target.about {
            writeln!(
                text,
                "lb_target_info{{target=\"{}\",program=\"{}\",version=\"{}\"}} 1",
                target.name,
                label(&about.program),
                label(&about.version)
            )?;
        }
    }
    head(
        text,
        "driver_total",
        "counter",
        "What the driver of a target has done, by what.",
    )?;
    for target in &status.targets {
        for (what, value) in &target.counters {
            writeln!(
                text,
                "lb_driver_total{{target=\"{}\",what=\"{what}\"}} {value}",
                target.name
            )?;
        }
    }
    head(
        text,
        "driver",
        "gauge",
        "What there is at a target now, by what.",
    )?;
    for target in &status.targets {
        for (what, value) in &target.gauges {
            writeln!(
                text,
                "lb_driver{{target=\"{}\",what=\"{what}\"}} {value}",
                target.name
            )?;
        }
    }
    Ok(())
}

fn latency(text: &mut String, latencies: &Latencies) -> fmt::Result {
    let name = "target_latency_seconds";
    head(
        text,
        name,
        "histogram",
        "From the receipt of a change to its verification.",
    )?;
    for (target, histogram) in latencies.read() {
        for (bound, at_most) in BOUNDS.iter().zip(histogram.at_most) {
            let bound = micros(*bound);
            writeln!(
                text,
                "lb_{name}_bucket{{target=\"{target}\",le=\"{bound}\"}} {at_most}"
            )?;
        }
        writeln!(
            text,
            "lb_{name}_bucket{{target=\"{target}\",le=\"+Inf\"}} {}",
            histogram.count
        )?;
        writeln!(
            text,
            "lb_{name}_sum{{target=\"{target}\"}} {}",
            micros(histogram.sum_micros)
        )?;
        writeln!(
            text,
            "lb_{name}_count{{target=\"{target}\"}} {}",
            histogram.count
        )?;
    }
    Ok(())
}

fn head(text: &mut String, name: &str, kind: &str, help: impl Display) -> fmt::Result {
    writeln!(text, "# HELP lb_{name} {help}\n# TYPE lb_{name} {kind}")
}

fn for_ms(health: &Health) -> u64 {
    match health {
        Health::NeverSynced { for_ms, .. }
        | Health::Live { for_ms }
        | Health::Stale { for_ms, .. }
        | Health::Failed { for_ms, .. }
        | Health::Ended { for_ms, .. } => *for_ms,
        _ => 0,
    }
}

/// A text as the value of a label.
fn label(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| {
            let escape = matches!(c, '"' | '\\').then_some('\\');
            escape.into_iter().chain([c])
        })
        .collect()
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

// Prometheus knows floating-point numbers only; counts are exact below 2^53.
fn number(value: u64) -> f64 {
    value as f64
}

fn count(value: usize) -> f64 {
    value as f64
}

fn seconds(millis: u64) -> f64 {
    number(millis) / 1e3
}

fn micros(value: u64) -> f64 {
    number(value) / 1e6
}

#[cfg(test)]
mod tests {
    use lb_core::ControlPlane;

    use super::*;

    #[test]
    fn every_metric_is_described_once_and_every_line_belongs_to_one() {
        let plane = ControlPlane::builder().build().unwrap();
        let text = render(&plane.handle().status(), &Latencies::default());
        let mut described = std::collections::BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(described.insert(name.to_owned()), "{line}");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(
                    described.contains(name.split('{').next().unwrap()),
                    "{line}"
                );
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        assert!(described.contains("lb_generation"));
        assert!(text.contains("lb_conditions{kind=\"conflict\"} 0\n"));
    }
}
