//! `easyhaproxy.<definition>.*`. Containers that name the same host serve the same service.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Mode, Name, PathMatch, Route, RouteHost, model::withheld};

use crate::{
    Diagnostics, Options, Reading, ServiceSpec, Subject,
    keys::{Effect, Key, find},
};

pub(crate) const PREFIX: &str = "easyhaproxy.";

/// The keys below a definition.
pub(crate) const KEYS: &[Key] = &[
    Key::honoured(
        "host",
        "a list of hosts; each is the name of a service. Without it there is no definition, also over TCP",
    ),
    Key::honoured("localport", "the container's port, 80 without it"),
    Key::honoured(
        "port",
        "80 or 443; with another, an HTTP definition has no route here, and that of TCP needs a listener of the target",
    ),
    Key::honoured("mode", "`http` or `tcp`"),
    Key::honoured("redirect_ssl", "requests without TLS are redirected"),
    Key::honoured("redirect_only", "`true`: the definition has no route"),
    Key::honoured(
        "proto",
        "servers that speak something else: the definition has no endpoint here",
    ),
    Key::honoured(
        "socket",
        "a server that is a socket file: the definition has no endpoint here",
    ),
    Key::withheld(
        "plugins",
        "plugins restrict who is served; `cleanup` and `cloudflare` are reported only",
    ),
    Key::withheld("plugin.*.**", "plugins restrict who is served"),
    Key::withheld("ip_whitelist.**", "plugins restrict who is served"),
    Key::withheld("jwt_validator.**", "plugins restrict who is served"),
    Key::withheld("deny_pages.**", "plugins restrict who is served"),
    Key::reported("balance", "balancing is the target's configuration"),
    Key::reported(
        "certbot",
        "certificates are the target's configuration; port 443 has TLS, as with `ssl`",
    ),
    Key::reported(
        "clone_to_ssl",
        "listeners are the target's configuration; port 443 has TLS, as with `ssl`",
    ),
    Key::reported(
        "health-check",
        "health checks are the target's configuration",
    ),
    Key::reported("letsencrypt", "certificates are the target's configuration"),
    Key::reported("redirect", "other hosts are not redirected"),
    Key::reported(
        "ssl",
        "certificates are the target's configuration; hosts that are served on ports with TLS only are redirected to https, unless `allow_unprotected` has `ssl`",
    ),
    Key::reported("ssl-check", "health checks are the target's configuration"),
    Key::reported(
        "sslcert",
        "certificates are the target's configuration; as `ssl` otherwise",
    ),
];

/// The plugins that leave alone who is served.
const HARMLESS: [&str; 2] = ["cleanup", "cloudflare"];

/// The keys of one definition and their values.
type Definition<'a> = BTreeMap<&'a str, &'a str>;

pub(crate) fn read(options: &Options, subject: &Subject<'_>) -> Reading {
    let mut diagnostics = Diagnostics::new(subject.object);
    let mut definitions: BTreeMap<&str, Definition<'_>> = BTreeMap::new();
    let labels = || {
        let labels = subject.labels.range(PREFIX.to_owned()..);
        labels.map_while(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())))
    };
    // The name of a definition may have dots.
    let named: BTreeSet<&str> = labels()
        .filter_map(|(key, _)| key.strip_suffix(".host"))
        .collect();
    for (key, value) in labels() {
        let known = key.match_indices('.').rev().find_map(|(at, _)| {
            let (name, rest) = key.split_at_checked(at)?;
            named.contains(name).then_some((name, rest.get(1..)?))
        });
        match known.or_else(|| key.split_once('.')) {
            Some((definition, key)) => {
                definitions
                    .entry(definition)
                    .or_default()
                    .insert(key, value);
            }
            None => diagnostics.warn_masked(
                &format!("{PREFIX}{key}"),
                "unknown label, expected easyhaproxy.DEFINITION.KEY",
            ),
        }
    }
    let listeners = Listeners::of(&definitions);
    let mut services: Vec<ServiceSpec> = Vec::new();
    for (name, keys) in &definitions {
        let one = One {
            options,
            subject,
            name,
            keys,
            listeners: &listeners,
        };
        for spec in one.read(&mut diagnostics) {
            let same = services.iter_mut().find(|other| {
                other.service == spec.service && other.port == spec.port && other.mode == spec.mode
            });
            match same {
                Some(other) => other.absorb(spec),
                None => services.push(spec),
            }
        }
    }
    Reading {
        services,
        malformed: diagnostics.is_only_invalid(),
        diagnostics: diagnostics.into_inner(),
        ..Reading::default()
    }
}

/// The listeners that the definitions of an object make together.
struct Listeners<'a> {
    /// The ports of which TLS is expected: one definition of a port is enough, and one that is cloned to 443.
    tls: BTreeSet<&'a str>,
    /// The hosts that are served without TLS, in lower case.
    plain: BTreeSet<String>,
}

impl<'a> Listeners<'a> {
    fn of(definitions: &BTreeMap<&str, Definition<'a>>) -> Self {
        let serving = || {
            let all = definitions.values();
            all.filter(|keys| keys.contains_key("host") && !is_true(keys, "redirect_only"))
        };
        let tls: BTreeSet<&str> = serving()
            .flat_map(|keys| {
                let own = is_true(keys, "ssl") || keys.contains_key("sslcert");
                let cloned = is_true(keys, "clone_to_ssl") || is_true(keys, "certbot");
                let own = own.then(|| port_of(keys));
                own.into_iter().chain(cloned.then_some("443"))
            })
            .collect();
        let plain = serving()
            .filter(|keys| !tls.contains(port_of(keys)) && !is_true(keys, "redirect_ssl"))
            .flat_map(|keys| keys.get("host").copied().unwrap_or_default().split(','))
            .map(|host| host.trim().to_ascii_lowercase())
            .collect();
        Self { tls, plain }
    }

    /// Returns `true` if a host of a definition is served with TLS only.
    fn is_tls(&self, keys: &Definition<'_>, host: &RouteHost) -> bool {
        self.tls.contains(port_of(keys)) && !self.plain.contains(&host.to_string())
    }
}

fn port_of<'a>(keys: &Definition<'a>) -> &'a str {
    keys.get("port").copied().unwrap_or("80")
}

/// Returns `true` if a label says yes, as the program reads it.
fn is_true(keys: &Definition<'_>, key: &str) -> bool {
    keys.get(key)
        .is_some_and(|value| ["true", "1", "yes"].contains(&value.to_lowercase().as_str()))
}

/// One definition.
struct One<'a> {
    options: &'a Options,
    subject: &'a Subject<'a>,
    name: &'a str,
    keys: &'a Definition<'a>,
    listeners: &'a Listeners<'a>,
}

impl One<'_> {
    fn full(&self, key: &str) -> String {
        format!("{PREFIX}{}.{key}", self.name)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.keys.get(key).copied()
    }

    fn read(&self, diagnostics: &mut Diagnostics<'_>) -> Vec<ServiceSpec> {
        let protected = self.report(diagnostics);
        let mode = match self.get("mode") {
            None | Some("http") => Mode::Http,
            Some("tcp") => Mode::Tcp,
            Some(other) => {
                diagnostics.invalid(&self.full("mode"), other, "expected http or tcp");
                return self.withheld_hosts(protected);
            }
        };
        // The scheme's own default.
        let Ok(local) = self.port("localport", 80, diagnostics) else {
            return self.withheld_hosts(protected);
        };
        let Ok(front) = self.port("port", 80, diagnostics) else {
            return self.withheld_hosts(protected);
        };
        let mut template = ServiceSpec::new(self.subject.default_service());
        template.mode = mode;
        template.port = Some(local);
        // A listener of TCP leads to the service without a route.
        template.without_endpoint = protected && mode == Mode::Tcp;
        for key in ["proto", "socket"] {
            if self.get(key).is_some_and(|value| !value.is_empty()) {
                template.without_endpoint = true;
                let note = find(KEYS, key).map_or("", |entry| entry.note);
                diagnostics.refuse_masked(&self.full(key), format!("not honoured: {note}"));
            }
        }
        if mode == Mode::Tcp {
            if self.get("port").is_some() {
                diagnostics.warn(
                    &self.full("port"),
                    &front.to_string(),
                    "not honoured: the listener of a TCP service is the target's configuration",
                );
            }
        } else if !matches!(front, 80 | 443) {
            diagnostics.refuse(
                &self.full("port"),
                &front.to_string(),
                "not honoured: a port to listen on is the target's configuration; the definition has no route here",
            );
            return self.withheld_hosts(protected);
        }
        let Some(list) = self.get("host") else {
            diagnostics.refuse(
                &self.full("host"),
                "",
                "not set, expected a host name: without it, also over TCP, there is no definition",
            );
            return Vec::new();
        };
        if is_true(self.keys, "redirect_only") {
            return Vec::new();
        }
        let given_up = self.options.allow_unprotected.allows(&["ssl"]);
        let mut services = Vec::new();
        for text in list.split(',').map(str::trim) {
            let host = match text.parse::<RouteHost>() {
                Ok(host @ RouteHost::Exact(_)) => host,
                // An empty one and a star match no request there.
                Ok(_) => {
                    diagnostics.invalid(
                        &self.full("host"),
                        text,
                        "expected a host name, without *; an unset variable leaves it empty",
                    );
                    continue;
                }
                Err(error) => {
                    diagnostics.invalid(&self.full("host"), text, error.to_string());
                    continue;
                }
            };
            let mut spec = template.clone().renamed(Name::from_text(&host.to_string()));
            // In TCP, one host has the whole listener: there is no route to it.
            if mode == Mode::Http {
                let service = match protected {
                    true => withheld(),
                    false => spec.service.clone(),
                };
                let https = is_true(self.keys, "redirect_ssl")
                    || (!given_up && self.listeners.is_tls(self.keys, &host));
                spec.routes.push(
                    Route::new(host, PathMatch::any(), service)
                        .with_redirect_https(https && !protected),
                );
            }
            services.push(spec);
        }
        services
    }

    /// The hosts of a protected definition that cannot be used: another definition must not serve them.
    fn withheld_hosts(&self, protected: bool) -> Vec<ServiceSpec> {
        let hosts = self.get("host").filter(|_| protected).unwrap_or_default();
        let withheld_host = |text: &str| {
            let host = text.trim().parse::<RouteHost>().ok()?;
            let RouteHost::Exact(name) = &host else {
                return None;
            };
            let mut spec = ServiceSpec::new(Name::from_text(name.as_ref()));
            spec.without_endpoint = true;
            spec.routes = vec![Route::new(host, PathMatch::any(), withheld())];
            Some(spec)
        };
        hosts.split(',').filter_map(withheld_host).collect()
    }

    fn port(&self, key: &str, default: u16, diagnostics: &mut Diagnostics<'_>) -> Result<u16, ()> {
        let Some(text) = self.get(key) else {
            return Ok(default);
        };
        match text.trim().parse::<u16>() {
            Ok(port) if port != 0 => Ok(port),
            _ => {
                diagnostics.invalid(&self.full(key), text, "expected a port from 1 to 65535");
                Err(())
            }
        }
    }

    /// Reports what has no effect; returns `true` if something protects the definition that is not given up.
    fn report(&self, diagnostics: &mut Diagnostics<'_>) -> bool {
        let mut protected = false;
        for (key, value) in self.keys {
            let full = self.full(key);
            let Some(entry) = find(KEYS, key) else {
                diagnostics.warn_masked(&full, "unknown label");
                continue;
            };
            match entry.effect {
                Effect::Honoured => {}
                Effect::Reported => {
                    diagnostics.warn_masked(&full, format!("not honoured: {}", entry.note));
                }
                Effect::Withheld => {
                    let plugins: Vec<&str> = match *key {
                        "plugins" => value.split(',').map(str::trim).collect(),
                        key => vec![
                            key.strip_prefix("plugin.")
                                .unwrap_or(key)
                                .split('.')
                                .next()
                                .unwrap_or_default(),
                        ],
                    };
                    for plugin in plugins.into_iter().filter(|plugin| !plugin.is_empty()) {
                        protected |= self.withhold(&full, plugin, diagnostics);
                    }
                }
            }
        }
        protected
    }

    fn withhold(&self, full: &str, plugin: &str, diagnostics: &mut Diagnostics<'_>) -> bool {
        if HARMLESS.contains(&plugin) {
            diagnostics.warn_masked(full, "not honoured: the plugin has no effect here");
            return false;
        }
        if self.options.allow_unprotected.allows(&[plugin, "plugins"]) {
            diagnostics.warn_masked(
                full,
                "not honoured: allow_unprotected names the plugin, so the definition is served without it",
            );
            return false;
        }
        diagnostics.withhold(
            full,
            match self.get("mode") {
                Some("tcp") => "cannot be honoured: plugins restrict who is served; the definition has no endpoint here unless allow_unprotected has the plugin's name",
                _ => "cannot be honoured: plugins restrict who is served; requests of the definition are answered with 503 unless allow_unprotected has the plugin's name",
            },
        );
        true
    }
}
