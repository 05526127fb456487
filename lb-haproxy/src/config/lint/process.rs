//! The process and what it may take.

use super::{
    document::{At, Line},
    finding::{Code, Guarantee},
    rules::Rules,
};

/// The memory of one slot, and of an empty HAProxy, in bytes: measured.
const SLOT: u64 = 4_500;
const EMPTY: u64 = 20 << 20;

pub(super) fn check(rules: &mut Rules<'_>) {
    let document = rules.document;
    let global: Vec<&Line> = document.global().collect();
    let last = |word: &str| global.iter().rev().find(|line| line.word(0) == word);
    if let Some(line) = last("nbproc")
        && line.word(1) != "1"
    {
        rules.error(
            line.at,
            Code::Nbproc,
            Guarantee::Changes,
            format!(
                "each of {} processes has servers of its own, and a socket reaches one of them",
                line.word(1)
            ),
            "nbthread in the place of nbproc",
        );
    }
    if last("hard-stop-after").is_none() {
        rules.warning(
            document.global_at(),
            Code::NoHardStop,
            Guarantee::Resources,
            "a worker that was replaced lives as long as its last connection, and each reload adds one",
            "hard-stop-after 15m, or as long as the longest request may take",
        );
    }
    let number = |word: &str| last(word).and_then(|line| line.word(1).parse::<u64>().ok());
    files(
        number("maxconn"),
        number("ulimit-n"),
        last("maxconn").map(|line| line.at),
        rules,
    );
    memory(rules);
}

fn files(maxconn: Option<u64>, ulimit: Option<u64>, at: Option<At>, rules: &mut Rules<'_>) {
    let proxies = rules.proxies();
    let servers = || proxies.iter().flat_map(|proxy| &proxy.servers);
    // HAProxy keeps one file free for each check, also of a slot that is not in use.
    let checks: u64 = servers()
        .map(|server| {
            let each = u64::from(server.has("check")) + u64::from(server.has("agent-check"));
            server.count * each
        })
        .sum();
    let Some(limit) = ulimit.or(rules.options.open_files) else {
        return;
    };
    let checked = servers().find(|server| server.has("check") && server.template);
    let Some(at) = checked.map(|server| server.line.at).or(at) else {
        return;
    };
    // Where nothing is said HAProxy takes as many as there is room for, and no fewer than this.
    let connections = maxconn.unwrap_or(100).saturating_mul(2);
    let needed = connections.saturating_add(checks);
    if needed <= limit {
        return;
    }
    let enough = needed.saturating_add(needed / 10).saturating_add(1000);
    rules.error(
        at,
        Code::OpenFiles,
        Guarantee::Resources,
        format!(
            "{checks} checks and {connections} for connections are more open files than the {limit} that there may \
             be: HAProxy does not start with that from 2.3 on, and before it lacks files under load"
        ),
        format!("ulimit -n {enough} (LimitNOFILE={enough}), fewer slots, or slots without check"),
    );
}

fn memory(rules: &mut Rules<'_>) {
    let Some(limit) = rules.options.memory else {
        return;
    };
    let proxies = rules.proxies();
    let templates = proxies
        .iter()
        .flat_map(|proxy| &proxy.servers)
        .filter(|server| server.template);
    let Some(largest) = templates.clone().max_by_key(|server| server.count) else {
        return;
    };
    let slots: u64 = templates.map(|server| server.count).sum();
    let needed = EMPTY.saturating_add(slots.saturating_mul(SLOT));
    if needed > limit {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        rules.error(
            largest.line.at,
            Code::Memory,
            Guarantee::Resources,
            format!(
                "{slots} slots take about {} MiB, and there may be {}",
                mib(needed),
                mib(limit)
            ),
            "fewer slots, or more memory",
        );
    }
}
