//! The whole configuration.

use std::collections::BTreeSet;

use lb_core::Name;

use super::{
    Backend, ConfigError, ConfigPath, Defaults, Frontend, Global, Part, StatsPage, writer::Writer,
};
use crate::{
    proto::{MapName, Version},
    routes::{NOT_FOUND, UNAVAILABLE, UNAVAILABLE_TCP, fallback_backends},
};

/// A whole configuration.
///
/// ```
/// use lb_haproxy::config::{Backend, Bind, Config, Frontend, Slots};
///
/// let mut config = Config::new("/run/haproxy/admin.sock".parse().unwrap());
/// let mut web = Frontend::new("web".parse().unwrap(), Bind::Tcp("127.0.0.1:8080".parse().unwrap()));
/// web.default_backend = Some("shop".parse().unwrap());
/// config.frontends.push(web);
/// config.backends.push(Backend::new("shop".parse().unwrap(), Slots::new("slot".parse().unwrap(), 20)));
/// let text = config.render(&"3.2.26".parse().unwrap()).unwrap();
/// assert!(text.contains("server-template slot 1-20 127.0.0.1:1 disabled"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The process.
    pub global: Global,
    /// The defaults that the sections start from.
    pub defaults: Defaults,
    /// The frontends: where clients connect.
    pub frontends: Vec<Frontend>,
    /// The backends: where requests go.
    pub backends: Vec<Backend>,
    /// A page with statistics.
    pub stats: Option<StatsPage>,
    /// The map that remembers which backend serves which service: see [`ServiceMap`](crate::routes::ServiceMap).
    pub service_map: Option<MapName>,
}

impl Config {
    /// An admin socket at this path, and nothing to serve yet.
    #[must_use]
    pub fn new(admin: ConfigPath) -> Self {
        Self {
            global: Global::new(admin),
            defaults: Defaults::default(),
            frontends: Vec::new(),
            backends: Vec::new(),
            stats: None,
            service_map: None,
        }
    }

    /// The text for this version of HAProxy; the same configuration gives the same text.
    ///
    /// # Errors
    /// [`ConfigError`], naming what cannot be written.
    pub fn render(&self, version: &Version) -> Result<String, ConfigError> {
        Part::ALL
            .into_iter()
            .map(|part| self.render_part(part, version))
            .filter(|text| !matches!(text, Ok(text) if text.is_empty()))
            .collect::<Result<Vec<String>, ConfigError>>()
            .map(|parts| parts.join("\n"))
    }

    /// One part of it.
    ///
    /// # Errors
    /// As for [`render`](Self::render).
    pub fn render_part(&self, part: Part, version: &Version) -> Result<String, ConfigError> {
        self.check_names()?;
        let mut out = Writer::new(version);
        match part {
            Part::Global => self.global.write(&mut out)?,
            Part::Defaults => self.defaults.write(&mut out)?,
            Part::Frontends => {
                if let Some(stats) = &self.stats {
                    stats.write(&mut out)?;
                }
                for frontend in &self.frontends {
                    frontend.write(&mut out)?;
                }
            }
            Part::Backends => self.write_backends(&mut out)?,
        }
        Ok(out.finish())
    }

    fn write_backends(&self, out: &mut Writer<'_>) -> Result<(), ConfigError> {
        let restored = self.global.server_state_file.is_some();
        for backend in &self.backends {
            backend.write(restored, out)?;
        }
        if self.has_fallbacks() {
            for line in fallback_backends(self.service_map.as_ref())? {
                match line.strip_prefix(' ') {
                    Some(line) => out.line(format_args!("{}", line.trim_start())),
                    None => out.section(format_args!("{line}")),
                }
            }
        }
        Ok(())
    }

    /// Returns `true` if there are maps, and so the backends of requests that no service gets.
    fn has_fallbacks(&self) -> bool {
        let mapped = |frontend: &Frontend| frontend.route_map.is_some();
        self.service_map.is_some() || self.frontends.iter().any(mapped)
    }

    fn check_names(&self) -> Result<(), ConfigError> {
        unique(
            "frontend",
            self.frontends
                .iter()
                .map(|frontend| &frontend.name)
                .chain(self.stats.as_ref().map(|stats| &stats.name)),
        )?;
        let backends = unique("backend", self.backends.iter().map(|backend| &backend.name))?;
        if self.has_fallbacks() {
            let taken = self.backends.iter().map(|backend| &backend.name);
            let mut taken = taken.chain(self.frontends.iter().map(|frontend| &frontend.name));
            if let Some(name) = taken.find(|name| FALLBACKS.contains(&name.as_str())) {
                return Err(ConfigError::Duplicate {
                    section: "backend of maps",
                    name: name.clone(),
                });
            }
        }
        // From 3.3 on HAProxy refuses that, and before it was good for confusion only.
        let mut names = self
            .frontends
            .iter()
            .map(|frontend| &frontend.name)
            .chain(self.stats.as_ref().map(|stats| &stats.name));
        if let Some(name) = names.find(|name| backends.contains(name)) {
            return Err(ConfigError::Duplicate {
                section: "frontend and backend",
                name: name.clone(),
            });
        }
        for frontend in &self.frontends {
            if let Some(missing) = frontend.uses().find(|name| !backends.contains(name)) {
                return Err(ConfigError::NoSuchBackend {
                    frontend: frontend.name.clone(),
                    backend: missing.clone(),
                });
            }
        }
        Ok(())
    }
}

const FALLBACKS: [&str; 3] = [NOT_FOUND, UNAVAILABLE, UNAVAILABLE_TCP];

fn unique<'a>(
    section: &'static str,
    names: impl Iterator<Item = &'a Name>,
) -> Result<BTreeSet<&'a Name>, ConfigError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ConfigError::Duplicate {
                section,
                name: name.clone(),
            });
        }
    }
    Ok(seen)
}
