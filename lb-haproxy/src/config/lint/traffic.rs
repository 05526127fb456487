//! Where requests go, and where they stick.

use super::{
    document::Line,
    finding::{Code, Guarantee},
    proxy::Proxy,
    rules::Rules,
};

pub(super) fn check(proxy: &Proxy<'_>, rules: &mut Rules<'_>) {
    if proxy.slots().next().is_none() {
        return;
    }
    balance(proxy, rules);
    redispatch(proxy, rules);
    connect(proxy, rules);
    if proxy.is_http() {
        reuse(proxy, rules);
        cookie(proxy, rules);
    }
    stick_table(proxy, rules);
    rdp_cookie(proxy, rules);
}

/// A connection that waits for an endpoint that is gone may reach the next one at its address.
fn connect(proxy: &Proxy<'_>, rules: &mut Rules<'_>) {
    let line = proxy.last(&["timeout", "connect"]);
    if line
        .is_some_and(|line| line.is_open() || micros(line.word(2)).is_none_or(|us| us <= 1_000_000))
    {
        return;
    }
    let message = match line {
        Some(line) => format!("a connection may take {}", line.word(2)),
        None => "there is no timeout connect: a connection may take for ever".to_owned(),
    };
    rules.note(
        line.map_or(proxy.at, |line| line.at),
        Code::SlowConnect,
        Guarantee::NoMisroute,
        format!(
            "{message}; where addresses are used again, one to an endpoint that is gone may reach the next endpoint at \
             its address"
        ),
        "timeout connect 500ms, and retries 3 with option redispatch",
    );
}

/// The microseconds of a time as HAProxy writes it: milliseconds without a unit.
fn micros(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn balance(proxy: &Proxy<'_>, rules: &mut Rules<'_>) {
    let Some(line) = proxy.last(&["balance"]) else {
        return;
    };
    let algorithm = line.word(1);
    let name = algorithm.split('(').next().unwrap_or_default();
    let hashes = ["source", "uri", "url_param", "hdr", "rdp-cookie", "hash"].contains(&name);
    let hash_type = proxy.last(&["hash-type"]);
    let consistent = hash_type.is_some_and(|line| line.word(1) == "consistent" || line.is_open());
    if name == "static-rr" || (hashes && !consistent) {
        rules.error(
            line.at,
            Code::StaticBalance,
            Guarantee::Changes,
            format!(
                "balance {algorithm} takes no weights at run time and computes everything anew at each change{}",
                if hashes { " without hash-type consistent" } else { "" }
            ),
            if hashes { "hash-type consistent" } else { "balance roundrobin" },
        );
        return;
    }
    // Before 3.0 there is nothing better.
    if hashes && rules.options.is_at_least(3, 0) {
        let by_slot = proxy.slots().find(|slot| {
            !matches!(
                slot.settings.get("hash-key").copied(),
                Some("addr" | "addr-port")
            )
        });
        if let Some(slot) = by_slot {
            rules.warning(
                slot.line.at,
                Code::HashBySlot,
                Guarantee::Stickiness,
                "the hash is of the slot, not of the endpoint: an endpoint that comes into another slot gets other \
                 requests, and another HAProxy sends them elsewhere",
                "hash-key addr-port on the line",
            );
        }
    }
}

fn redispatch(proxy: &Proxy<'_>, rules: &mut Rules<'_>) {
    let retries = proxy.last(&["retries"]);
    let none = retries.filter(|line| line.word(1) == "0");
    if proxy.option("redispatch").is_some() && none.is_none() {
        return;
    }
    let slot = proxy.slots().next();
    let at = none
        .map(|line| line.at)
        .or_else(|| slot.map(|slot| slot.line.at));
    rules.warning(
        at.unwrap_or(proxy.at),
        Code::NoRedispatch,
        Guarantee::NoLoss,
        "a connection that an endpoint refuses is not tried at another one: the request fails while the endpoint is \
         not known to be dead",
        "option redispatch, and retries 3",
    );
}

fn reuse(proxy: &Proxy<'_>, rules: &mut Rules<'_>) {
    let Some(line) = proxy.last(&["http-reuse", "never"]) else {
        return;
    };
    let reuses = proxy.last(&["http-reuse"]);
    if reuses.is_some_and(|last| last.at != line.at) || !rules.options.may_be_before(3, 0) {
        return;
    }
    let closes = ["http-server-close", "httpclose", "forceclose"];
    if closes.iter().any(|name| proxy.option(name).is_some()) {
        return;
    }
    rules.error(
        line.at,
        Code::HttpReuseNever,
        Guarantee::NoMisroute,
        "before HAProxy 3.0 a client that keeps its connection stays with the address that its slot had, and nothing \
         shows it",
        "http-reuse safe, or option http-server-close",
    );
}

fn cookie(proxy: &Proxy<'_>, rules: &mut Rules<'_>) {
    let Some(line) = proxy.last(&["cookie"]) else {
        return;
    };
    visited(line, rules);
    let keyless = line.has("dynamic") && proxy.last(&["dynamic-cookie-key"]).is_none();
    if (line.has("dynamic") && !keyless) || line.is_open() {
        return;
    }
    let unmade = match keyless {
        true => ", as without dynamic-cookie-key none is made",
        false => "",
    };
    let instead = format!(
        "cookie {} insert indirect nocache dynamic, dynamic-cookie-key SECRET, and no cookie on the lines of servers",
        line.word(1)
    );
    if let Some(slot) = proxy.slots().find(|slot| !slot.has("cookie")) {
        rules.error(
            slot.line.at,
            Code::CookieLost,
            Guarantee::Stickiness,
            format!(
                "the slots have no value for the cookie {}{unmade}: users do not stay with an endpoint, and a cookie \
                 that they have is taken away",
                line.word(1)
            ),
            instead,
        );
        return;
    }
    if let Some(slot) = proxy.slots().find(|slot| slot.has("cookie")) {
        rules.warning(
            slot.line.at,
            Code::CookieOfSlot,
            Guarantee::Stickiness,
            format!(
                "the cookie {} names the slot: when the slot gets another endpoint, its users go there, and users \
                 do not stay with a server made at run time, which has no value for it",
                line.word(1)
            ),
            instead,
        );
    }
}

/// Drain lets users come back who stay with a server.
fn visited(line: &Line, rules: &mut Rules<'_>) {
    if rules.options.policy.persistence {
        return;
    }
    rules.error(
        line.at,
        Code::DrainedAreVisited,
        Guarantee::NoMisroute,
        "users who stay with a server come back to it while it is drained: requests go to an endpoint that has left",
        "persistence = true in the target's policy (then this is not said any more)",
    );
}

/// The cookie names the address of an endpoint, so only a drain is of concern.
fn rdp_cookie(proxy: &Proxy<'_>, rules: &mut Rules<'_>) {
    let line = proxy.last(&["persist"]);
    let is_rdp = |line: &&Line| line.word(1).split('(').next() == Some("rdp-cookie");
    if let Some(line) = line.filter(is_rdp) {
        visited(line, rules);
    }
}

fn stick_table(proxy: &Proxy<'_>, rules: &mut Rules<'_>) {
    let sticks = ["on", "match"]
        .iter()
        .find_map(|word| proxy.last(&["stick", word]));
    let Some(line) = sticks else {
        return;
    };
    visited(line, rules);
    rules.warning(
        line.at,
        Code::StickTableOfSlot,
        Guarantee::Stickiness,
        "the table remembers the slot, also with srvkey addr: when the slot gets another endpoint, its users go there",
        "a dynamic cookie, or balance source with hash-type consistent (and hash-key addr-port from 3.0 on)",
    );
}
