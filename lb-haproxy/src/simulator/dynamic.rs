//! Servers added and deleted at run time, and waiting for one to be removable.

use std::{net::IpAddr, time::Duration};

use super::{
    command::{Answer, error, info},
    config::{Balance, CheckModel, ServerModel},
    server::{FORCED_MAINT, Op, Server},
    set_server::long,
    worker::{At, Worker},
};

const EXISTS: &str = "Already exists a server with the same name in backend.";
const REFERENCED: &str =
    "This server cannot be removed at runtime due to other configuration elements pointing to it.";
const NOT_IN_MAINTENANCE: &str = "Only servers in maintenance mode can be deleted.";
const STILL_USED: &str = "Server still has connections attached to it, cannot remove it.";

impl Worker {
    pub(super) fn add_server(&mut self, name: &str, rest: &[&str]) -> Answer {
        let forgets = self.profile.forgets_line_feeds();
        let Some((pool, server)) = name.split_once('/') else {
            return error("Require 'backend/server'.").forgetting(forgets);
        };
        let Some(at) = self.backends.iter().position(|known| known.name == pool) else {
            return error("No such backend.").forgetting(forgets);
        };
        let newest = self.profile.from(3, 3);
        let Some(backend) = self.backends.get_mut(at) else {
            return Answer::Done;
        };
        if backend.balance == Balance::Static {
            return match newest {
                true => error(format!(
                    "Backend does not support dynamic servers : backend '{pool}' uses a non dynamic load balancing method."
                )),
                false => {
                    error("Backend must use a dynamic load balancing to support dynamic servers.")
                        .forgetting(forgets)
                }
            };
        }
        let exists = backend.servers.iter().any(|known| known.name == server);
        if exists && newest {
            return error(EXISTS);
        }
        let parsed = match parse(pool, server, rest) {
            Ok(parsed) => parsed,
            Err(text) => return error(text),
        };
        if exists {
            return error(EXISTS);
        }
        let id = (1..)
            .find(|id| backend.servers.iter().all(|known| known.id != *id))
            .unwrap_or_default();
        self.serial += 1;
        let mut server = Server::new(&parsed.model, id, self.serial, self.now);
        server.dynamic = true;
        server.fqdn = parsed.fqdn;
        server.maps_ports = parsed.maps_ports;
        (server.check.rise, server.check.fall) = (parsed.check.rise, parsed.check.fall);
        (server.check.port, server.agent_port) = (parsed.check.port, parsed.check.port);
        server.admin = FORCED_MAINT;
        server.op = Op::Stopped;
        server.check.enabled = false;
        server.check.health = 0;
        // Whatever its number, it comes last in every list.
        backend.servers.push(server);
        info("New server registered.")
    }

    pub(super) fn del_server(&mut self, name: &str) -> Answer {
        let forgets = self.profile.forgets_line_feeds();
        let at = match self.find(name) {
            Ok(at) => at,
            Err(answer) => return answer.forgetting(forgets),
        };
        if let Some(reason) = self.irremovable(at) {
            return error(reason).forgetting(forgets);
        }
        if let Some(backend) = self.backends.get_mut(at.backend) {
            backend.servers.remove(at.server);
        }
        info("Server deleted.").forgetting(forgets)
    }

    /// Why a server cannot be deleted now.
    fn irremovable(&self, at: At) -> Option<&'static str> {
        let server = self.server(at)?;
        if server.referenced {
            Some(REFERENCED)
        } else if !server.is_maint() {
            Some(NOT_IN_MAINTENANCE)
        } else if self
            .traffic
            .attached(server.serial, self.profile.from(3, 3))
        {
            Some(STILL_USED)
        } else {
            None
        }
    }

    pub(super) fn wait(&self, rest: &[&str]) -> Answer {
        let arg = |at: usize| rest.get(at).copied().unwrap_or_default();
        if arg(0).is_empty() {
            return error("Expects a duration in milliseconds.");
        }
        let time = match long(arg(0)) {
            (Some(number), "" | "ms") => Duration::from_millis(u64::try_from(number).unwrap_or(0)),
            (Some(number), "s") => Duration::from_secs(u64::try_from(number).unwrap_or(0)),
            (Some(number), "us") => Duration::from_micros(u64::try_from(number).unwrap_or(0)),
            _ => return error("Invalid duration."),
        };
        match (arg(1), arg(2)) {
            ("", _) => Answer::Wait(time, None),
            ("srv-removable", "") => error("Missing server name (<backend>/<server>)."),
            ("srv-removable", name) if !name.contains('/') => error("Require 'backend/server'."),
            ("srv-removable", name) => match self.removable(name, false) {
                Some(answer) => answer,
                None => Answer::Wait(time, Some(name.to_owned())),
            },
            _ => error("Usage: wait {-h|<duration>} [condition [args...]]"),
        }
    }

    /// The answer of `wait` for a server: done, never, or nothing yet.
    pub(super) fn removable(&self, name: &str, over: bool) -> Option<Answer> {
        let reasons = self.profile.from(3, 3);
        let failed = |reason: &str| match reasons {
            true => error(format!("Failed. {reason}")),
            false => error("Failed."),
        };
        let at = match self.find(name) {
            Ok(at) => at,
            Err(Answer::Message { text, .. }) => return Some(failed(&text)),
            Err(other) => return Some(other),
        };
        match self.irremovable(at) {
            None => Some(info("Done.")),
            Some(STILL_USED) if !over => None,
            Some(STILL_USED) if reasons => Some(error(format!("Wait delay expired. {STILL_USED}"))),
            Some(STILL_USED) => Some(error("Wait delay expired.")),
            Some(reason) => Some(failed(reason)),
        }
    }
}

struct Parsed {
    model: ServerModel,
    /// The settings of a check, whether there is one or not.
    check: CheckModel,
    fqdn: Option<String>,
    maps_ports: bool,
}

/// A server's settings, or why HAProxy refuses them.
fn parse(pool: &str, name: &str, rest: &[&str]) -> Result<Parsed, String> {
    let mut words = rest.iter().copied();
    let Some(address) = words.next() else {
        return Err("'server' expects <name> and <addr>[:<port>] as arguments.".to_owned());
    };
    if let Some(bad) = name
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !"._-:".contains(*c))
    {
        return Err(format!(
            "character '{bad}' is not permitted in server name '{name}'."
        ));
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => match long(port) {
            (Some(number), "") if (0..65536).contains(&number) => {
                (host, u16::try_from(number).unwrap_or_default())
            }
            _ => return Err(format!("invalid port '{port}'")),
        },
        None => (address, 0),
    };
    let host = host.trim_matches(['[', ']']);
    let mut model = ServerModel {
        name: name.to_owned(),
        address: host.parse::<IpAddr>().ok().map(|ip| (ip, port).into()),
        weight: 1,
        disabled: false,
        check: None,
        agent: false,
        track: None,
        restorable: false,
    };
    let mut check = CheckModel::default();
    let mut checked = false;
    while let Some(word) = words.next() {
        let mut number = || words.next().map_or(0, |text| long(text).0.unwrap_or(0));
        match word {
            "check" => checked = true,
            "weight" => {
                let weight = number();
                model.weight = u16::try_from(weight)
                    .ok()
                    .filter(|w| *w <= 256)
                    .ok_or_else(|| {
                        format!("weight of server {name} is not within 0 and 256 ({weight})..")
                    })?;
            }
            "rise" => check.rise = u16::try_from(number()).unwrap_or_default(),
            "fall" => check.fall = u16::try_from(number()).unwrap_or_default(),
            "port" => check.port = u16::try_from(number()).unwrap_or_default(),
            "inter" => {
                let text = words.next().unwrap_or_default();
                let (count, unit) = long(text);
                let count = u64::try_from(count.unwrap_or(0)).unwrap_or(0);
                check.inter = match unit {
                    "h" => Duration::from_secs(count * 3600),
                    "m" => Duration::from_secs(count * 60),
                    "s" => Duration::from_secs(count),
                    _ => Duration::from_millis(count),
                };
            }
            "maxconn" | "pool-max-conn" | "slowstart" => {
                number();
            }
            other => return Err(format!("unknown keyword '{other}'.")),
        }
    }
    if checked && port == 0 && check.port == 0 {
        return Err(format!(
            "config: backend '{pool}': server '{name}' has neither service port nor check port nor tcp_check rule \
             'connect' with port information."
        ));
    }
    model.check = checked.then_some(check);
    let fqdn = model.address.is_none().then(|| host.to_owned());
    Ok(Parsed {
        model,
        check,
        fqdn,
        maps_ports: port == 0,
    })
}
