//! The keys of Patroni: members with their roles, and the lock of the leader.

use lb_core::{Mode, OnDown, ServiceOptions};

use super::{
    config::{RuleConfig, ValueKind},
    object::JsonFields,
};

/// The states of a member, as Patroni writes them, and what they are here. Any other is `pending`.
const STATES: [(&str, &str); 7] = [
    ("running", "ready"),
    ("streaming", "ready"),
    ("crashed", "down"),
    ("stopped", "down"),
    ("stopping", "down"),
    ("stop failed", "down"),
    ("start failed", "down"),
];

/// The roles of members that are in no service: a replica with the tag `noloadbalance`, and those that are neither a
/// primary with the lock nor a replica.
const UNSERVED: &str = "replica|standby_leader|demoted|promoted|uninitialized";

/// The other keys that Patroni has below a cluster, which say nothing about where to connect.
const OTHER: [&str; 10] = [
    "config",
    "failover",
    "failsafe",
    "history",
    "initialize",
    "optime/leader",
    "status",
    "sync",
    "slots",
    "optime",
];

pub(super) fn rules(base: &str) -> Vec<RuleConfig> {
    let fields = JsonFields {
        url: Some("/conn_url".to_owned()),
        state: Some("/state".to_owned()),
        states: STATES
            .iter()
            .map(|(theirs, ours)| ((*theirs).to_owned(), (*ours).to_owned()))
            .chain([("*".to_owned(), "pending".to_owned())])
            .collect(),
        ..JsonFields::default()
    };
    // A primary that lost its lock must not go on with the clients it has.
    let options = ServiceOptions::default()
        .exclusive(true)
        .on_down(OnDown::ShutdownSessions);
    let mut rules = Vec::new();
    // With Citus, a cluster has groups.
    for (cluster, name) in [
        ("{cluster}", "{cluster}"),
        ("{cluster}/{group}", "{cluster}-{group}"),
    ] {
        let members = format!("{base}/{cluster}/members/{{endpoint}}");
        let member = |role: &str, service: String| {
            RuleConfig::new(members.clone(), ValueKind::Json(fields.clone().into()))
                .with_service(service)
                .with_mode(Mode::Tcp)
                .with_port(Some(5432))
                .only_if("/role", role)
        };
        rules.extend([
            RuleConfig::new(format!("{base}/{cluster}/leader"), ValueKind::Leader)
                .with_service(name)
                .with_mode(Mode::Tcp),
            member("master|primary", name.to_owned())
                .elected()
                .with_options(options),
            member("replica", format!("{name}-replica")).only_if("/tags/noloadbalance", "|false"),
            RuleConfig::new(members.clone(), ValueKind::Ignore).only_if("/role", UNSERVED),
        ]);
        for other in OTHER {
            rules.push(RuleConfig::new(
                format!("{base}/{cluster}/{other}"),
                ValueKind::Ignore,
            ));
        }
    }
    rules
}
