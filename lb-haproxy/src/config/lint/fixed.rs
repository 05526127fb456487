//! Servers of a backend that lb fills, which are none of its slots: lb never changes them.

use super::{
    finding::{Code, Guarantee},
    proxy::Proxy,
    rules::Rules,
    servers::ServerLine,
};

pub(super) fn check(proxy: &Proxy<'_>, rules: &mut Rules<'_>) {
    let policy = &rules.options.policy;
    let filled = proxy.slots().any(|slot| slot.has_slot_name(policy));
    for server in &proxy.servers {
        if server.line.is_open() || server.name.is_empty() {
            continue;
        }
        if server.is_slot(policy) {
            if !server.has_slot_name(policy) {
                misnamed(server, rules);
            }
        } else if server.has_slot_name(policy) {
            named_like_a_slot(server, rules);
        } else if filled {
            fixed(server, rules);
        } else if !server.template
            && !server.is_resolved()
            && server.has("disabled")
            && server.prefix() != server.name
        {
            misnamed(server, rules);
        }
    }
}

/// Servers made to be filled, of another name than lb looks for.
fn misnamed(server: &ServerLine<'_>, rules: &mut Rules<'_>) {
    let prefix = server.prefix();
    let known = &rules.options.policy.slot_prefix;
    let message = match server.template {
        true => format!(
            "the servers {prefix}1 to {prefix}{} are not named {known}N, so lb takes them for slots only where it may \
             read this file, and else never fills them",
            server.count
        ),
        false => format!(
            "server {} is disabled and not named {known}N: lb does not take it for a slot and never fills it",
            server.name
        ),
    };
    rules.warning(
        server.line.at,
        Code::SlotPrefix,
        Guarantee::Changes,
        message,
        match server.template {
            true => format!(
                "slot_prefix = \"{prefix}\" in the target's policy, or config_file = \"haproxy.cfg\" in the target, so that \
                 lb learns its slots from there"
            ),
            false => format!("slot_prefix = \"{prefix}\" in the target's policy, or {known}N as its name"),
        },
    );
}

/// Servers that are written as something else and named like slots: by their name lb takes them for slots.
fn named_like_a_slot(server: &ServerLine<'_>, rules: &mut Rules<'_>) {
    let name = match server.template {
        true => format!("the servers of template {} are", server.name),
        false => format!("server {} is", server.name),
    };
    let other = match server.is_resolved() {
        true => "filled by DNS",
        false => "not `disabled`",
    };
    rules.warning(
        server.line.at,
        Code::SlotEnabled,
        Guarantee::Changes,
        format!(
            "{name} named like a slot, and {other}: in a backend that lb fills, lb takes it for a slot, puts it into \
             maintenance while no source reports its address, and gives it the address of an endpoint"
        ),
        "another name, if lb is not to change it; or write it as a slot: `disabled`, without `resolvers`",
    );
}

fn fixed(server: &ServerLine<'_>, rules: &mut Rules<'_>) {
    let slot = &rules.options.policy.slot_prefix;
    let name = match server.template {
        true => format!("the servers of template {}", server.name),
        false => format!("server {}", server.name),
    };
    let (at, code, guarantee) = (server.line.at, Code::FixedServer, Guarantee::NoMisroute);
    let instead = format!(
        "remove it, and let a source report its address; or name it {slot}N and write it as a slot; else nothing, if this \
         is what is meant"
    );
    if server.is_resolved() {
        rules.warning(
            at,
            code,
            guarantee,
            format!(
                "{name} get their addresses from DNS: lb never changes them, and they get requests beside the endpoints \
                 that lb fills in"
            ),
            "a backend of its own for them, or slots only",
        );
    } else if server.has("disabled") {
        rules.note(
            at,
            code,
            guarantee,
            format!(
                "{name} is no slot: lb never changes it, and it stays disabled until an operator enables it"
            ),
            instead,
        );
    } else if server.has("backup") {
        rules.note(
            at,
            code,
            guarantee,
            format!(
                "{name} is no slot: lb never changes it, and it gets requests whenever no endpoint serves"
            ),
            instead,
        );
    } else {
        let weight = server.settings.get("weight").copied().unwrap_or("1");
        rules.warning(
            at,
            code,
            guarantee,
            format!(
                "{name} is no slot: lb never changes it, and it gets requests (weight {weight}, a slot has 100 at first) \
                 also when no source reports its address {}",
                server.address
            ),
            instead,
        );
    }
}
