//! The schemes, and which of them an object uses.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Mode, Name};
use serde::{Deserialize, Serialize};

use crate::{
    Diagnostics, Options, Reading, ServiceSpec, Subject, docker_flow, easy_haproxy,
    labels::flag,
    own,
    traefik::{self, SharedMiddlewares},
    virtual_host,
};

/// A scheme of labels: who invented it and which keys it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LabelScheme {
    /// `lb.*`: our own.
    Lb,
    /// `com.df.*`: docker-flow-proxy.
    DockerFlow,
    /// `traefik.*`: the subset that routes by host and path.
    Traefik,
    /// `easyhaproxy.*`.
    EasyHaproxy,
    /// The variables `VIRTUAL_HOST`, `VIRTUAL_PORT` and `VIRTUAL_PATH`.
    VirtualHost,
}

/// The most labels below the prefixes of the schemes that one object may have.
pub const MAX_LABELS: usize = 1024;
/// The most bytes that the labels of one object below the prefixes of the schemes may have, keys and values together.
pub const MAX_BYTES: usize = 256 * 1024;

/// The most routes that one object may ask for, all its services together.
pub const MAX_ROUTES: usize = 1024;

/// Reads the services that `subject` asks for in the first of the configured schemes that it uses.
///
/// An object with more than [`MAX_LABELS`] labels of these schemes, or more than [`MAX_BYTES`] in them, is refused as a
/// whole with one diagnostic: of a part, what protects a route could be missing.
#[must_use]
pub fn read(options: &Options, subject: &Subject<'_>) -> Reading {
    read_among(options, subject, None)
}

/// The same for an object among others of its source, whose middlewares of Traefik count for it too.
#[must_use]
pub fn read_among(
    options: &Options,
    subject: &Subject<'_>,
    others: Option<&SharedMiddlewares>,
) -> Reading {
    let mut diagnostics = Diagnostics::new(subject.object);
    if let Some(excess) = excess(options, subject) {
        diagnostics.refuse("labels", "", excess);
        return Reading {
            diagnostics: diagnostics.into_inner(),
            ..Reading::default()
        };
    }
    if !enabled(options, subject) {
        let unread = subject.labels.iter().find(|(key, value)| {
            is_switch(key)
                && flag(value).is_none()
                && options
                    .schemes
                    .iter()
                    .any(|scheme| claims_key(*scheme, key))
        });
        if let Some((key, value)) = unread {
            diagnostics.refuse(key, value, "expected true or false: the object is left out");
        }
        return Reading {
            diagnostics: diagnostics.into_inner(),
            ..Reading::default()
        };
    }
    let (mut found, mut malformed) = (Reading::default(), false);
    let (mut middlewares, mut asked) = (Vec::new(), BTreeSet::new());
    for scheme in &options.schemes {
        let mut reading = match scheme {
            LabelScheme::Lb => own::read(options, subject),
            LabelScheme::DockerFlow => docker_flow::read(options, subject),
            LabelScheme::Traefik => traefik::read(options, subject, others),
            LabelScheme::EasyHaproxy => easy_haproxy::read(options, subject),
            LabelScheme::VirtualHost => virtual_host::read(options, subject),
        };
        diagnostics.extend(std::mem::take(&mut reading.diagnostics));
        malformed |= reading.malformed;
        middlewares.append(&mut reading.middlewares);
        asked.append(&mut reading.asked);
        if !reading.services.is_empty() || !reading.hosts.is_empty() {
            found = reading;
            break;
        }
    }
    drop_repeated(&mut found.services, &mut diagnostics);
    found
        .services
        .iter_mut()
        .for_each(ServiceSpec::settle_routes);
    let routes: usize = found.services.iter().map(|spec| spec.routes.len()).sum();
    if routes > MAX_ROUTES {
        diagnostics.refuse(
            "routes",
            "",
            format!("{routes} routes, expected at most {MAX_ROUTES}: the object is left out"),
        );
        found = Reading::default();
    }
    found.malformed = malformed;
    found.middlewares = middlewares;
    found.asked = asked;
    found.diagnostics = diagnostics.into_inner();
    found
}

/// Returns `true` if one of `schemes` may have something to say about an object with these labels.
pub fn claims<'a>(schemes: &[LabelScheme], labels: impl Iterator<Item = &'a str> + Clone) -> bool {
    schemes.iter().any(|scheme| match scheme.prefix() {
        Some(_) => labels.clone().any(|key| claims_key(*scheme, key)),
        // Its variables are in the environment, which only an inspection tells.
        None => true,
    })
}

impl LabelScheme {
    /// The prefix of its labels; none for the one that uses variables.
    #[must_use]
    pub fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Lb => Some(own::PREFIX),
            Self::DockerFlow => Some(docker_flow::PREFIX),
            Self::Traefik => Some(traefik::PREFIX),
            Self::EasyHaproxy => Some(easy_haproxy::PREFIX),
            Self::VirtualHost => None,
        }
    }
}

/// Returns `true` if the object is to be read at all.
fn enabled(options: &Options, subject: &Subject<'_>) -> bool {
    options.exposed_by_default
        || subject
            .labels
            .iter()
            .any(|(key, value)| is_switch(key) && flag(value) == Some(true))
}

/// Returns `true` if a label says whether the object is to be read.
fn is_switch(key: &str) -> bool {
    ["lb.enable", "traefik.enable"]
        .iter()
        .any(|switch| key.eq_ignore_ascii_case(switch))
}

fn claims_key(scheme: LabelScheme, key: &str) -> bool {
    match scheme.prefix() {
        Some(prefix) => key
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
        None => virtual_host::claims(key),
    }
}

/// Why an object has too much to say.
fn excess(options: &Options, subject: &Subject<'_>) -> Option<String> {
    let (mut count, mut bytes) = (0_usize, 0_usize);
    let claimed = |key: &str| {
        let mut schemes = options.schemes.iter();
        schemes.any(|scheme| claims_key(*scheme, key))
    };
    let pairs = subject
        .labels
        .iter()
        .chain(subject.env.iter().map(|(key, value)| (key, value)));
    for (key, value) in pairs.filter(|(key, _)| claimed(key)) {
        count += 1;
        bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
    }
    (count > MAX_LABELS || bytes > MAX_BYTES).then(|| {
        format!(
            "{count} labels with {bytes} bytes, expected at most {MAX_LABELS} with {MAX_BYTES}: the object is left out"
        )
    })
}

/// Two services of one name would be one endpoint twice. The TCP one of a pair of HTTP and TCP gets a name of its own;
/// else the later is left out.
fn drop_repeated(services: &mut Vec<ServiceSpec>, diagnostics: &mut Diagnostics<'_>) {
    let mut known: BTreeMap<Name, Mode> = BTreeMap::new();
    let mut kept: Vec<ServiceSpec> = Vec::new();
    for mut spec in std::mem::take(services) {
        if known
            .get(&spec.service)
            .is_some_and(|mode| *mode != spec.mode && spec.mode == Mode::Tcp)
        {
            let name = Name::from_text(&format!("{}-tcp", spec.service));
            spec = spec.renamed(name);
        }
        if known.contains_key(&spec.service) {
            diagnostics.refuse(
                "service",
                spec.service.as_str(),
                "asked for twice by one object, expected another service name",
            );
            // A protection is not lost with the one that it stands in.
            if let Some(first) = kept.iter_mut().find(|first| first.service == spec.service) {
                first.keep_withheld(spec);
            }
            continue;
        }
        known.insert(spec.service.clone(), spec.mode);
        kept.push(spec);
    }
    *services = kept;
}
