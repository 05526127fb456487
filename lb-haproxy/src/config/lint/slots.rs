//! Slots: that they can be filled, and that a reload gives them back.

use std::net::IpAddr;

use super::{
    finding::{Code, Guarantee},
    proxy::Proxy,
    rules::Rules,
    servers::ServerLine,
};
use crate::policy::DynamicServers;

const RESTORED: &str = "slot.invalid:1 disabled init-addr last,127.0.0.1";

pub(super) fn check(proxy: &Proxy<'_>, rules: &mut Rules<'_>) {
    let state = State::of(proxy, rules);
    for slot in proxy.slots() {
        if slot.line.is_open() {
            // What a variable says may be right.
            continue;
        }
        address(slot, &state, rules);
        settings(slot, rules);
        tls(slot, rules);
    }
    if let (Some(slot), State::Lost(message)) = (proxy.slots().next(), &state) {
        rules.warning(
            slot.line.at,
            Code::StateNotKept,
            Guarantee::Restart,
            message.clone(),
            format!(
                "server-state-file PATH in global, load-server-state-from-file global in the backend, and slots \
                 written {RESTORED}"
            ),
        );
    }
}

/// The fate of addresses and states at a reload.
enum State {
    Kept,
    Lost(String),
}

impl State {
    fn of(proxy: &Proxy<'_>, rules: &Rules<'_>) -> Self {
        let loads = proxy.last(&["load-server-state-from-file"]);
        let file = |word: &str| rules.document.global().any(|line| line.word(0) == word);
        match loads.map_or("none", |line| line.word(1)) {
            "global" if !file("server-state-file") => Self::Lost(
                "the backend loads its state from a file that global does not name: a reload forgets all endpoints"
                    .to_owned(),
            ),
            "global" => Self::Kept,
            "local" => Self::Lost(format!(
                "the backend loads its state from a file of its own, {}, and lb writes the file of global only: a \
                 reload forgets all endpoints",
                local_file(proxy, rules)
            )),
            _ => Self::Lost(
                "a reload or restart forgets all endpoints, and requests fail until lb has filled the slots again"
                    .to_owned(),
            ),
        }
    }
}

/// The file that `load-server-state-from-file local` reads.
fn local_file(proxy: &Proxy<'_>, rules: &Rules<'_>) -> String {
    let named = proxy.last(&["server-state-file-name"]);
    let name = match named.map_or("", |line| line.word(1)) {
        "" | "use-backend-name" => proxy.name,
        name => name,
    };
    let mut global = rules.document.global();
    let base = global.rfind(|line| line.word(0) == "server-state-base");
    match base {
        Some(base) if !name.starts_with('/') => {
            format!("{}/{name}", base.word(1).trim_end_matches('/'))
        }
        _ => name.to_owned(),
    }
}

fn address(slot: &ServerLine<'_>, state: &State, rules: &mut Rules<'_>) {
    let at = slot.line.at;
    if slot.is_variable() {
        return;
    }
    if slot.is_path() {
        rules.error(
            at,
            Code::SlotWithoutAddress,
            Guarantee::Changes,
            format!(
                "{} is no IP address, and HAProxy sets none in its place",
                slot.address
            ),
            "127.0.0.1:1 disabled",
        );
        return;
    }
    let methods: Vec<&str> = match slot.settings.get("init-addr") {
        Some(methods) => methods.split(',').collect(),
        None => vec!["last", "libc"],
    };
    let fixed = methods.iter().any(|word| word.parse::<IpAddr>().is_ok());
    if matches!(state, State::Kept) && (slot.is_literal() || methods.first() != Some(&"last")) {
        let why = match slot.is_literal() {
            true => "an address written in the configuration",
            false => "without init-addr last",
        };
        rules.error(
            at,
            Code::AddressNotRestored,
            Guarantee::NoMisroute,
            format!(
                "the state file gives the slots back their port and make them serve, but not their address ({why}): \
                 requests go to {}",
                slot.host()
            ),
            RESTORED,
        );
    }
    if slot.is_literal() || fixed {
        return;
    }
    if methods.contains(&"none") {
        rules.error(
            at,
            Code::SlotWithoutAddress,
            Guarantee::Changes,
            "slots that start without an address (init-addr none) can never be given one",
            RESTORED,
        );
    } else {
        rules.error(
            at,
            Code::SlotUnresolvable,
            Guarantee::Restart,
            format!(
                "HAProxy does not start while {} cannot be looked up",
                slot.host()
            ),
            RESTORED,
        );
    }
}

fn settings(slot: &ServerLine<'_>, rules: &mut Rules<'_>) {
    let at = slot.line.at;
    if slot.template && !slot.has("disabled") {
        rules.error(
            at,
            Code::SlotEnabled,
            Guarantee::NoLoss,
            format!(
                "the slots serve before they are filled: requests go to {}",
                slot.address
            ),
            "disabled on the line",
        );
    }
    if slot.has("backup") {
        rules.warning(
            at,
            Code::SlotBackup,
            Guarantee::Changes,
            "the slots are backups: an endpoint in one gets no traffic while another server serves, and of several \
             backups only the first does, without option allbackups",
            "the line without backup",
        );
    }
    if slot.has("track") {
        rules.error(
            at,
            Code::SlotTracks,
            Guarantee::Health,
            "the health of the slots is that of another server, and cannot be set when an endpoint comes in",
            "check in the place of track",
        );
        return;
    }
    if let Some(fixed) = slot.settings.get("addr")
        && slot.has("check")
        // Before, it moves with the slot.
        && (rules.options.version.is_none() || rules.options.is_at_least(2, 4))
    {
        rules.error(
            at,
            Code::CheckAddressFixed,
            Guarantee::Health,
            format!("every slot is checked at {fixed}, wherever its endpoint is"),
            "check without addr; port N alone is right",
        );
    }
    if !slot.has("check") {
        rules.warning(
            at,
            Code::NoCheck,
            Guarantee::Health,
            "endpoints are not checked: one that dies without its source knowing gets requests",
            "check inter 2s fall 3 rise 2 on the line",
        );
    }
}

/// Servers made at run time have the settings of the policy, and TLS is none of them.
fn tls(slot: &ServerLine<'_>, rules: &mut Rules<'_>) {
    let options = rules.options;
    let made = match options.policy.dynamic_servers {
        DynamicServers::Always => options.version.is_none() || options.is_at_least(2, 6),
        DynamicServers::Auto => options.version.is_none() || options.is_at_least(3, 0),
        DynamicServers::Never => false,
    };
    let special = ["ssl", "send-proxy", "send-proxy-v2", "check-ssl"];
    if let Some(setting) = special.iter().find(|setting| slot.has(setting))
        && made
    {
        rules.warning(
            slot.line.at,
            Code::DynamicWithoutTls,
            Guarantee::NoLoss,
            format!(
                "the slots have {setting}, and servers that lb makes at run time when no slot is free have not"
            ),
            "dynamic_servers = \"never\" in the target's policy (then this is not said any more), and slots enough",
        );
    }
}
