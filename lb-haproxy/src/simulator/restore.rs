//! What a new worker takes from a state file, and what it does not.

use std::collections::BTreeMap;

use super::{
    agent::AgentWord,
    server::{DECLARED_MAINT, FORCED_DRAIN, FORCED_MAINT, Op},
    worker::Worker,
};

/// Takes in the text of `show servers state`. The port, the states and the weight come back; the address does only
/// where the server is written with a name.
pub(super) fn restore(worker: &mut Worker, text: &str) {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("# "));
    let Some(header) = lines.next() else { return };
    let names: Vec<&str> = header.split_ascii_whitespace().skip(1).collect();
    for line in lines {
        let row: BTreeMap<&str, &str> = names
            .iter()
            .copied()
            .zip(line.split_ascii_whitespace())
            .collect();
        let text = |name: &str| row.get(name).copied().unwrap_or_default();
        let number = |name: &str| text(name).parse::<u32>().unwrap_or(0);
        let Some(at) = worker.lookup(text("be_name"), text("srv_name")) else {
            continue;
        };
        let Some(server) = worker.server_mut(at) else {
            continue;
        };
        if let Ok(port) = text("srv_port").parse() {
            server.port = port;
        }
        if let Some(address) = text("srv_addr").parse().ok().filter(|_| server.restorable) {
            server.address = Some(address);
        }
        if let Ok(weight) = text("srv_uweight").parse() {
            server.weight = weight;
        }
        let agent = number("srv_agent_state") & 4 != 0;
        server.agent.enabled &= agent;
        let check_address = text("srv_check_addr").parse().ok();
        server.check.address = check_address.or(server.check.address);
        if row.contains_key("srv_check_port") {
            server.check.port = u16::try_from(number("srv_check_port")).unwrap_or_default();
        }
        let admin = number("srv_admin_state");
        if admin & DECLARED_MAINT != server.admin & DECLARED_MAINT {
            continue;
        }
        let kept = FORCED_MAINT | FORCED_DRAIN;
        server.admin = (server.admin & !kept) | (admin & kept);
        if server.agent.enabled {
            // Where its agent took it out before, it stays out until its agent lets it in.
            server.agent.heard = match server.admin & kept {
                0 => None,
                taken_out if taken_out & FORCED_MAINT != 0 => Some(AgentWord::Maint),
                _ => Some(AgentWord::Drain),
            };
        }
        if server.is_maint() {
            continue;
        }
        server.check.vouched = true;
        server.check.paused &= !server.check.enabled;
        server.check.health = u16::try_from(number("srv_check_health")).unwrap_or_default();
        server.op = match number("srv_op_state") {
            0 => Op::Stopped,
            3 => Op::Stopping,
            _ => Op::Running,
        };
    }
}
