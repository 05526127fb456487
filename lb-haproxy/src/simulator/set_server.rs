//! `set server`, and the older commands for the same.

use std::net::IpAddr;

use super::{
    command::{Answer, error, message, warning},
    server::{FORCED_DRAIN, FORCED_MAINT, INHERITED_DRAIN, INHERITED_MAINT, Op, UNRESOLVED},
    worker::{At, PendingAddress, Worker},
};

const MAPPED: &str = "can't unset 'port' since MAPPORTS is in use.";
const BY: &str = " by 'stats socket command'";

impl Worker {
    pub(super) fn set_server(&mut self, at: &str, rest: &[&str]) -> Answer {
        let at = match self.find(at) {
            Ok(at) => at,
            Err(answer) => return answer,
        };
        if self.stopping {
            return error("Proxy is disabled.");
        }
        let arg = |index: usize| rest.get(index).copied().unwrap_or_default();
        let newer = self.profile.from(2, 4);
        match arg(0) {
            "addr" => self.set_address(at, rest.get(1..).unwrap_or_default()),
            "state" => self.set_state(at, arg(1)),
            "health" => self.set_health(at, arg(1)),
            "weight" => self.weigh(at, arg(1)),
            "check-port" => self.set_check_port(at, arg(1)),
            "check-addr" if newer => self.set_check_address(at, rest.get(1..).unwrap_or_default()),
            "ssl" if newer => error(
                "'set server <srv> ssl' cannot be set.  default-server should define ssl settings",
            ),
            "agent" | "agent-send" => error("agent checks are not enabled on this server."),
            _ if newer => error(
                "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | agent-send | \
                 check-addr | check-port | fqdn | health | ssl | state | weight",
            ),
            _ => error(
                "'set server <srv>' only supports 'agent', 'health', 'state', 'weight', 'addr', 'fqdn' and \
                 'check-port'.",
            ),
        }
    }

    fn set_state(&mut self, at: At, state: &str) -> Answer {
        let now = self.now;
        let tracked = self.tracked_op(at);
        let dates = self.profile.dates_drains();
        let Some(server) = self.server_mut(at) else {
            return Answer::Done;
        };
        if dates && !server.is_maint() && server.is_drain() != (state == "drain") {
            server.changed = now;
        }
        match state {
            "ready" => {
                server.clear_admin(FORCED_DRAIN, tracked, now);
                server.clear_admin(FORCED_MAINT, tracked, now);
            }
            "drain" => {
                server.admin |= FORCED_DRAIN;
                server.clear_admin(FORCED_MAINT, tracked, now);
            }
            "maint" => {
                let entered = server.set_admin(FORCED_MAINT, now);
                server.admin &= !FORCED_DRAIN;
                if entered {
                    self.purge(at);
                }
            }
            _ => return error("'set server <srv> state' expects 'ready', 'drain' and 'maint'."),
        }
        self.inherit(at);
        Answer::Done
    }

    fn set_health(&mut self, at: At, health: &str) -> Answer {
        let now = self.now;
        let Some(server) = self.server_mut(at) else {
            return Answer::Done;
        };
        if server.track.is_some() {
            return error("cannot change health on a tracking server.");
        }
        let (level, op) = match health {
            "up" => (server.check.best(), Op::Running),
            "stopping" => (server.check.best(), Op::Stopping),
            "down" => (0, Op::Stopped),
            _ => {
                return error("'set server <srv> health' expects 'up', 'stopping', or 'down'.");
            }
        };
        server.check.health = level;
        server.turn(op, now);
        self.inherit(at);
        Answer::Done
    }

    /// Lets the servers that track a server follow it.
    pub(super) fn inherit(&mut self, at: At) {
        let now = self.now;
        let Some(name) = self.name_of(at) else { return };
        let Some(server) = self.server(at) else {
            return;
        };
        let (op, maint, drain) = (server.op, server.is_maint(), server.is_drain());
        let trackers: Vec<At> = self
            .all()
            .filter(|other| {
                self.server(*other)
                    .is_some_and(|tracker| tracker.track.as_ref() == Some(&name))
            })
            .collect();
        for tracker in trackers {
            let Some(server) = self.server_mut(tracker) else {
                continue;
            };
            let mut entered = false;
            if maint {
                entered = server.set_admin(INHERITED_MAINT, now);
            } else {
                server.clear_admin(INHERITED_MAINT, Some(op), now);
            }
            if drain {
                server.admin |= INHERITED_DRAIN;
            } else {
                server.admin &= !INHERITED_DRAIN;
            }
            if !maint {
                server.turn(op, now);
            }
            if entered {
                self.purge(tracker);
            }
        }
    }

    pub(super) fn tracked_op(&self, at: At) -> Option<Op> {
        let (backend, server) = self.server(at)?.track.as_ref()?;
        self.lookup(backend, server)
            .and_then(|at| self.server(at))
            .map(|server| server.op)
    }

    pub(super) fn set_weight(&mut self, at: &str, text: &str) -> Answer {
        match self.find(at) {
            Err(answer) => answer,
            Ok(_) if self.stopping => error("Proxy is disabled."),
            Ok(at) => self.weigh(at, text),
        }
    }

    fn weigh(&mut self, at: At, text: &str) -> Answer {
        let forgets = self.profile.forgets_line_feeds();
        let fixed = self.is_static(at);
        let Some(server) = self.server_mut(at) else {
            return Answer::Done;
        };
        if text.is_empty() {
            return error("Require <weight> or <weight%>.");
        }
        let (number, rest) = long(text);
        let Some(number) = number else {
            return error("Empty weight string empty or preceded by garbage").forgetting(forgets);
        };
        let initial = i64::from(server.initial_weight);
        let weight = match rest {
            "%" if number < 0 => return error("Relative weight must be positive."),
            "%" => (initial * number.min(25600) / 100).min(256),
            _ if !(0..=256).contains(&number) => {
                return error("Absolute weight can only be between 0 and 256 inclusive.");
            }
            "" => number,
            _ => return error("Trailing garbage in weight string").forgetting(forgets),
        };
        if fixed && weight != 0 && weight != initial {
            return error(
                "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.",
            );
        }
        server.weight = u16::try_from(weight).unwrap_or_default();
        Answer::Done
    }

    pub(super) fn get_weight(&self, at: &str) -> Answer {
        match self.find(at) {
            Err(answer) => answer,
            Ok(at) => self.server(at).map_or(Answer::Done, |server| {
                Answer::Dump(format!(
                    "{} (initial {})\n",
                    server.weight, server.initial_weight
                ))
            }),
        }
    }

    pub(super) fn enable_health(&mut self, at: &str, on: bool) -> Answer {
        let strict = self.profile.from(2, 4);
        let at = match self.find(at) {
            Ok(_) if self.stopping => return error("Proxy is disabled."),
            Ok(at) => at,
            Err(answer) => return answer,
        };
        let Some(server) = self.server_mut(at) else {
            return Answer::Done;
        };
        if on && !server.check.configured && strict {
            return error("Health check was not configured on this server, cannot enable.");
        }
        server.check.enabled = on;
        Answer::Done
    }

    pub(super) fn enable_agent(&mut self, at: &str, on: bool) -> Answer {
        let at = match self.find(at) {
            Ok(_) if self.stopping => return error("Proxy is disabled."),
            Ok(at) => at,
            Err(answer) => return answer,
        };
        let Some(server) = self.server_mut(at) else {
            return Answer::Done;
        };
        if on && !server.agent.configured {
            return error("Agent was not configured on this server, cannot enable.");
        }
        server.agent.switch(on && server.agent.configured);
        Answer::Done
    }

    fn set_check_port(&mut self, at: At, text: &str) -> Answer {
        let older = !self.profile.from(2, 4);
        let forgets = self.profile.forgets_line_feeds();
        let Some(server) = self.server_mut(at) else {
            return Answer::Done;
        };
        let number = long(text);
        if older {
            let Ok(number) = text.parse::<i64>() else {
                return error("'set server <srv> check-port' expects an integer as argument.");
            };
            let Ok(port) = u16::try_from(number) else {
                return error("provided port is not valid.");
            };
            if port == 0 && server.maps_ports {
                return error(MAPPED);
            }
            server.check.port = port;
            return message(5, "health check port updated.");
        }
        if text.is_empty() {
            return error("set server <b>/<s> check-port requires a port.");
        }
        if !server.check.enabled {
            return warning("health checks are not enabled on this server").forgetting(forgets);
        }
        match number {
            (Some(number), "") => match u16::try_from(number) {
                Ok(0) if server.maps_ports => warning(MAPPED).forgetting(forgets),
                Ok(port) => {
                    server.check.port = port;
                    Answer::Done
                }
                Err(_) => warning("provided port is invalid").forgetting(forgets),
            },
            _ => warning("provided port is not an integer").forgetting(forgets),
        }
    }

    fn set_check_address(&mut self, at: At, rest: &[&str]) -> Answer {
        let broken = self.profile.from(3, 4);
        let forgets = self.profile.forgets_line_feeds();
        let Some(server) = self.server_mut(at) else {
            return Answer::Done;
        };
        let text = rest.first().copied().unwrap_or_default();
        if text.is_empty() {
            return error(
                "set server <b>/<s> check-addr requires an address and optionally a port.",
            );
        }
        if !server.check.enabled {
            return warning("health checks are not enabled on this server").forgetting(forgets);
        }
        let address: Option<IpAddr> = text.parse().ok().filter(|_| !broken);
        let Some(address) = address else {
            return warning(format!("invalid addr '{text}'")).forgetting(forgets);
        };
        if let (Some(&"port"), Some(port)) = (rest.get(1), rest.get(2)) {
            match long(port) {
                (Some(number), "") => match u16::try_from(number) {
                    Ok(port) => server.check.port = port,
                    Err(_) => return warning("provided port is invalid").forgetting(forgets),
                },
                _ => return warning("provided port is not an integer").forgetting(forgets),
            }
        }
        server.check.address = Some(address);
        Answer::Done
    }

    fn set_address(&mut self, at: At, rest: &[&str]) -> Answer {
        let later = self.profile.addresses_are_asynchronous();
        let by = if later { "" } else { BY };
        let Some(server) = self.server(at) else {
            return Answer::Done;
        };
        let text = rest.first().copied().unwrap_or_default();
        if text.is_empty() {
            return error("set server <b>/<s> addr requires an address and optionally a port.");
        }
        let unchangeable = || {
            let dot = if later { "." } else { "" };
            warning(format!(
                "Update for the current server address family is only supported through configuration file{dot}{by}"
            ))
        };
        let (current, wanted) = match (server.address, text.parse::<IpAddr>()) {
            (Some(current), Ok(wanted)) => (current, wanted),
            (None, _) if later => return unchangeable(),
            (_, Err(_)) => return warning(format!("Invalid addr '{text}'{by}")),
            (None, _) => return unchangeable(),
        };
        let port = match rest.get(1) {
            Some(&"port") => Some(rest.get(2).copied().unwrap_or_default()),
            _ => None,
        };
        let number = match port.map(|port| (port, long(port))) {
            None => None,
            Some((_, (Some(number), _))) => Some(truncated(number)),
            Some((port, (None, _))) => {
                let complaint = format!("problem converting port '{port}' to an int");
                if later {
                    return warning(complaint);
                }
                let head = self.move_at_once(at, current, wanted);
                return warning(format!("{head}, {complaint}{BY}"));
            }
        };
        let before = server.port;
        let sign = if server.maps_ports { "+" } else { "" };
        if later {
            let mut parts = Vec::new();
            if wanted != current {
                parts.push(format!("IP changed from '{current}' to '{wanted}'"));
            }
            if let Some(number) = number.filter(|number| *number != before || server.maps_ports) {
                parts.push(format!("port changed from '{sign}{before}' to '{number}'"));
            }
            if parts.is_empty() {
                return warning("nothing changed");
            }
            let (serial, port) = (server.serial, number.unwrap_or(before));
            let maps_ports = server.maps_ports && number.is_none();
            // One queue for all: nothing overtakes.
            let last = self.pending.last().map_or(self.now, |pending| pending.at);
            self.pending.push(PendingAddress {
                at: last.max(self.now + self.address_delay),
                serial,
                address: wanted,
                port,
                maps_ports,
            });
            return warning(format!("{}{BY}", parts.join(", ")));
        }
        let mut text = self.move_at_once(at, current, wanted);
        if let Some(number) = number {
            text.push_str(", ");
            if number == before {
                text.push_str("no need to change the port");
            } else {
                text.push_str(&format!("port changed from '{sign}{before}' to '{number}'"));
                if let Some(server) = self.server_mut(at) {
                    server.port = number;
                    server.maps_ports = false;
                }
                self.purge(at);
            }
        }
        warning(format!("{text}{BY}"))
    }

    fn move_at_once(&mut self, at: At, current: IpAddr, wanted: IpAddr) -> String {
        if let Some(server) = self.server_mut(at) {
            server.admin &= !UNRESOLVED;
            server.address = Some(wanted);
        }
        if current == wanted {
            return "no need to change the addr".to_owned();
        }
        self.purge(at);
        format!("IP changed from '{current}' to '{wanted}'")
    }
}

/// The result of C's `strtol` for a text: the number, if there is one, and what follows it.
pub(super) fn long(text: &str) -> (Option<i64>, &str) {
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['+', '-']));
    let digits = text
        .bytes()
        .skip(sign)
        .take_while(u8::is_ascii_digit)
        .count();
    let (number, rest) = text.split_at_checked(sign + digits).unwrap_or((text, ""));
    match digits {
        0 => (None, text),
        _ => (Some(number.parse().unwrap_or(i64::MAX)), rest),
    }
}

fn truncated(number: i64) -> u16 {
    u16::try_from(number.rem_euclid(65536)).unwrap_or_default()
}
