//! `server` and `server-template` lines with what `default-server` gives them.

use std::collections::BTreeMap;

use super::{
    address::{Place, ip},
    document::Line,
};
use crate::policy::Policy;

/// One such line.
pub(super) struct ServerLine<'d> {
    pub(super) line: &'d Line,
    /// If `true`, it is a `server-template`.
    pub(super) template: bool,
    /// The number of servers it declares.
    pub(super) count: u64,
    /// Its name, or the prefix of the template's.
    pub(super) name: &'d str,
    /// The text in the place of its address.
    pub(super) address: &'d str,
    /// Its settings, each with its value where it has one.
    pub(super) settings: BTreeMap<&'d str, &'d str>,
}

impl ServerLine<'_> {
    /// Returns `true` if it is written as slots: servers in advance, which lb fills at run time. By its name alone lb
    /// takes a server for a slot, also where it is written as something else.
    ///
    /// Those of a template are slots whatever their prefix, so that lint can name the prefix that is to be configured. A
    /// single server is one if it is named like a slot and disabled. A server that HAProxy itself fills by DNS is none.
    pub(super) fn is_slot(&self, policy: &Policy) -> bool {
        if self.is_resolved() {
            return false;
        }
        match self.template {
            true => self.has("disabled") || self.has_slot_name(policy),
            false => self.has("disabled") && self.has_slot_name(policy),
        }
    }

    /// Returns `true` if its name is that of slots.
    pub(super) fn has_slot_name(&self, policy: &Policy) -> bool {
        // A template names the prefix.
        let number = if self.template { "1" } else { "" };
        format!("{}{number}", self.name)
            .parse()
            .is_ok_and(|name| policy.is_slot_name(&name))
    }

    /// Returns `true` if HAProxy fills it by DNS: it has `resolvers`, or the name of SRV records.
    pub(super) fn is_resolved(&self) -> bool {
        self.has("resolvers") || (self.template && self.host().starts_with('_'))
    }

    /// The prefix of its name, before the number.
    pub(super) fn prefix(&self) -> &str {
        match self.template {
            true => self.name,
            false => self.name.trim_end_matches(|c: char| c.is_ascii_digit()),
        }
    }

    pub(super) fn has(&self, setting: &str) -> bool {
        self.settings.contains_key(setting)
    }

    /// The text before the port, without the word for its family.
    pub(super) fn host(&self) -> &str {
        match Place::of(self.address) {
            Place::Host(host) => host,
            _ => self.address,
        }
    }

    /// Returns `true` if its address is an IP address.
    pub(super) fn is_literal(&self) -> bool {
        self.host() == "*" || ip(self.host()).is_some()
    }

    /// Returns `true` if it is something without a port, such as the path of a socket.
    pub(super) fn is_path(&self) -> bool {
        !matches!(Place::of(self.address), Place::Host(_) | Place::Variable)
    }

    /// Returns `true` if an environment variable says where it is, also outside of quotes.
    pub(super) fn is_variable(&self) -> bool {
        Place::of(self.address) == Place::Variable
    }
}

/// All of them, in their order.
pub(super) fn server_lines<'d>(lines: &[&'d Line]) -> Vec<ServerLine<'d>> {
    let mut common = BTreeMap::new();
    let mut found = Vec::new();
    for line in lines {
        match line.word(0) {
            "default-server" => read_settings(line, 1, &mut common),
            "server" => {
                let mut settings = common.clone();
                read_settings(line, 3, &mut settings);
                found.push(ServerLine {
                    line,
                    template: false,
                    count: 1,
                    name: line.word(1),
                    address: line.word(2),
                    settings,
                });
            }
            "server-template" => {
                let mut settings = common.clone();
                read_settings(line, 4, &mut settings);
                found.push(ServerLine {
                    line,
                    template: true,
                    count: count(line.word(2)),
                    name: line.word(1),
                    address: line.word(3),
                    settings,
                });
            }
            _ => {}
        }
    }
    found
}

/// `5` or `1-5`.
fn count(text: &str) -> u64 {
    let number = |text: &str| text.parse::<u64>().ok();
    let range = match text.split_once('-') {
        Some((first, last)) => number(first).zip(number(last)),
        None => number(text).map(|last| (1, last)),
    };
    range.map_or(1, |(first, last)| {
        last.saturating_add(1).saturating_sub(first)
    })
}

fn read_settings<'d>(line: &'d Line, from: usize, settings: &mut BTreeMap<&'d str, &'d str>) {
    let mut words = line.words.iter().skip(from).map(|word| word.text.as_str());
    while let Some(word) = words.next() {
        if word == "enabled" {
            settings.remove("disabled");
        } else if let Some(setting) = word.strip_prefix("no-") {
            settings.remove(setting);
        } else if takes_value(word) {
            settings.insert(word, words.next().unwrap_or(""));
        } else {
            settings.insert(word, "");
        }
    }
}

/// Returns `true` if the next word belongs to this one.
fn takes_value(setting: &str) -> bool {
    const SETTINGS: [&str; 69] = [
        "addr",
        "agent-addr",
        "agent-inter",
        "agent-port",
        "agent-send",
        "allow-0rtt-replay",
        "alpn",
        "ca-file",
        "cc",
        "check-alpn",
        "check-pool-conn-name",
        "check-proto",
        "check-sni",
        "ciphers",
        "ciphersuites",
        "client-sigalgs",
        "cookie",
        "crl-file",
        "crt",
        "curves",
        "downinter",
        "error-limit",
        "fall",
        "fastinter",
        "guid",
        "hash-key",
        "id",
        "idle-ping",
        "init-addr",
        "init-state",
        "inter",
        "interface",
        "log-bufsize",
        "log-proto",
        "max-reuse",
        "maxconn",
        "maxqueue",
        "minconn",
        "namespace",
        "npn",
        "observe",
        "on-error",
        "on-marked-down",
        "on-marked-up",
        "pool-conn-name",
        "pool-low-conn",
        "pool-max-conn",
        "pool-purge-delay",
        "port",
        "proto",
        "proxy-v2-options",
        "redir",
        "resolve-net",
        "resolve-opts",
        "resolve-prefer",
        "resolvers",
        "rise",
        "set-proxy-v2-tlv-fmt",
        "shard",
        "sigalgs",
        "slowstart",
        "sni",
        "socks4",
        "source",
        "ssl-max-ver",
        "ssl-min-ver",
        "tcp-md5sig",
        "tcp-ut",
        "track",
    ];
    SETTINGS.binary_search(&setting).is_ok()
        || matches!(
            setting,
            "usesrc" | "verify" | "verifyhost" | "weight" | "ws"
        )
}

#[cfg(test)]
mod tests {
    use super::{
        super::document::{ConfigFile, Document},
        *,
    };

    #[test]
    fn settings_are_told_from_their_values_and_inherited() {
        let text = "backend b\n\
             server before 10.0.0.1:80\n\
             default-server check cookie disabled inter 1s\n\
             server-template s 2-9 [::1]:80 no-check fall 3 sni str(check) disabled\n\
             server s1 unix@/tmp/x enabled cookie disabled weight 1\n\
             server slot2 slot.invalid:1 init-addr last,127.0.0.1 disabled\n\
             server-template w 1-3 tcp4@app.example:80 resolvers dns disabled\n\
             server-template v 5 _http._tcp.app.example resolvers dns\n\
             server legacy2 10.0.0.8:80 disabled";
        let file = ConfigFile { name: "f", text };
        let document = Document::parse(&[file]);
        let lines = document.lines(&document.sections[0]);
        let servers = server_lines(&lines);
        let policy = Policy::default();
        let [before, template, path, named, resolved, srv, legacy] = &servers[..] else {
            panic!("{}", servers.len());
        };
        assert!(before.settings.is_empty() && before.is_literal() && !before.is_slot(&policy));
        assert_eq!((template.count, template.host()), (8, "::1"));
        assert!(!template.has("check") && template.has("disabled") && template.is_slot(&policy));
        assert_eq!(template.settings["cookie"], "disabled");
        assert!(path.is_path() && path.has("check") && !path.is_slot(&policy));
        assert_eq!(named.settings["init-addr"], "last,127.0.0.1");
        assert!(named.is_slot(&policy) && !named.is_literal() && !named.is_path());
        for server in [resolved, srv, legacy] {
            assert!(!server.is_slot(&policy), "{}", server.name);
        }
        assert_eq!(resolved.host(), "app.example");
        assert_eq!(legacy.prefix(), "legacy");
    }

    #[test]
    fn counts_of_templates() {
        for (text, expected) in [("5", 5), ("1-5", 5), ("3-3", 1), ("x", 1), ("5-1", 0)] {
            assert_eq!(count(text), expected, "{text}");
        }
    }
}
