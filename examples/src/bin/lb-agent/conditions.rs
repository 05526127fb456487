//! Conditions as `lb-agent status` shows them.

use std::collections::BTreeMap;

use lb_core::{Condition, ConditionKind};
use serde::Deserialize;

use crate::table::{Table, time};

/// The conditions of an answer.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Conditions {
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default)]
    condition_counts: BTreeMap<ConditionKind, usize>,
}

/// Returns `true` if `status --healthy` fails while the condition lasts.
fn alarms(condition: &Condition) -> bool {
    !condition.transient && condition.kind.needs_operator()
}

/// The kinds that `status --healthy` fails on, as a list for people.
pub(crate) fn alarming_kinds() -> String {
    let kinds = ConditionKind::ALL.iter();
    let kinds = kinds.filter(|kind| kind.needs_operator());
    let kinds: Vec<&str> = kinds.map(|kind| kind.as_str()).collect();
    kinds.join(", ")
}

impl Conditions {
    /// Lists the conditions that an operator must act on, a line each.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<String> = self
            .conditions
            .iter()
            .filter(|condition| alarms(condition))
            .map(ToString::to_string)
            .collect();
        for (kind, count) in &self.condition_counts {
            let listed = self.conditions.iter();
            let listed = listed.filter(|condition| condition.kind == *kind).count();
            if kind.needs_operator() && *count > listed {
                complaints.push(format!("{kind}: and {} more", count - listed));
            }
        }
        complaints
    }

    /// Returns `true` if something is known of what is wrong with a target.
    pub(crate) fn explain(&self, target: &str) -> bool {
        let mut all = self.conditions.iter().filter(|condition| alarms(condition));
        all.any(|condition| {
            condition
                .target
                .as_ref()
                .is_some_and(|own| own.as_str() == target)
        })
    }

    /// All conditions as a table, with the reason and what would help below each; empty without any.
    pub(crate) fn render(&self, uptime_ms: u64) -> String {
        let total: usize = self.condition_counts.values().sum();
        if self.conditions.is_empty() && total == 0 {
            return String::new();
        }
        let mut table = Table::new(["CONDITION", "FOR", "CONCERNS"]);
        for condition in &self.conditions {
            let mut notes = vec![condition.detail.clone()];
            notes.extend(condition.help.iter().map(|help| format!("help: {help}")));
            let mut kind = condition.kind.to_string();
            if condition.transient {
                kind.push_str(" (passing)");
            }
            let since = uptime_ms.saturating_sub(condition.since_ms);
            table.row([kind, time(since), concerns(condition)], notes);
        }
        let mut text = table.render();
        if total > self.conditions.len() {
            let more = total - self.conditions.len();
            text.push_str(&format!("  and {more} more\n"));
        }
        text
    }
}

fn concerns(condition: &Condition) -> String {
    let mut parts = Vec::new();
    for (what, name) in [
        ("source", &condition.source),
        ("target", &condition.target),
        ("service", &condition.service),
        ("endpoint", &condition.endpoint),
    ] {
        if let Some(name) = name {
            parts.push(format!("{what} {name}"));
        }
    }
    parts.extend(condition.object.clone());
    if parts.is_empty() {
        return "-".to_owned();
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(all: Vec<Condition>, extra: usize) -> Conditions {
        let mut condition_counts = BTreeMap::new();
        for condition in &all {
            *condition_counts.entry(condition.kind).or_default() += 1;
        }
        *condition_counts.entry(ConditionKind::Conflict).or_default() += extra;
        Conditions {
            conditions: all,
            condition_counts,
        }
    }

    #[test]
    fn case_p18_health_fails_on_each_permanent_condition_that_needs_an_operator() {
        for kind in ConditionKind::ALL {
            let condition = Condition::new(*kind, "why").of_target("edge".parse().unwrap());
            let permanent = conditions(vec![condition.clone()], 0);
            assert_eq!(
                permanent.complaints().len(),
                usize::from(kind.needs_operator()),
                "{kind}"
            );
            assert_eq!(permanent.explain("edge"), kind.needs_operator());
            assert!(!permanent.explain("other"));
            let passing = conditions(vec![condition.transient()], 0);
            assert!(passing.complaints().is_empty(), "{kind}");
            assert_eq!(
                alarming_kinds().contains(kind.as_str()),
                kind.needs_operator()
            );
        }
        assert_eq!(conditions(vec![], 7).complaints(), ["conflict: and 7 more"]);
    }

    #[test]
    fn a_condition_is_shown_with_since_whom_reason_and_help() {
        let mut condition = Condition::new(ConditionKind::NoCapacity, "no free slot")
            .of_target("edge".parse().unwrap())
            .of_service("web".parse().unwrap())
            .with_help("declare more slots");
        condition.since_ms = 1000;
        let text = conditions(vec![condition], 2).render(62_000);
        let expected = "\
CONDITION    FOR    CONCERNS
no_capacity  1m 1s  target edge, service web
  no free slot
  help: declare more slots
  and 2 more
";
        assert_eq!(
            text.replace("1m 1s ", "1m 1s"),
            expected.replace("1m 1s ", "1m 1s")
        );
    }
}
