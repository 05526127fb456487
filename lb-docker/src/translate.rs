//! One container's facts, and the records that they make.

use std::{collections::BTreeSet, time::Duration};

use lb_core::{Diagnostic, Endpoint, EndpointState, Mode, Name, Record, RecordKey};
use lb_schemes::{
    Definition, Diagnostics, LabelScheme, Options, Reading, ServiceSpec, SharedHost, Subject,
    traefik::{MiddlewareDefinition, SharedMiddlewares},
};

use crate::{
    address::{self, AddressChoice, Networks, Place, Reach, Want},
    config::ComposeService,
    container::{Container, Phase, short},
    narrow::Narrow,
    proportions::{self, Written},
};

/// The rules by which a source takes containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The options by which labels are read.
    pub(crate) options: Options,
    /// The rule for the containers that are read by their labels.
    pub(crate) narrow: Narrow,
    pub(crate) services: Vec<ComposeService>,
    pub(crate) one_off: bool,
    /// The compose project that this program runs in.
    pub(crate) own_project: Option<String>,
    /// The most bytes that the labels and variables of all containers may take.
    pub(crate) max_label_bytes: usize,
}

/// The lifecycle of a container in the engine, beside what an inspection shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fate {
    /// Nothing special.
    #[default]
    Stays,
    /// It was told to stop.
    Leaves,
    /// It runs no more, and no inspection has shown what became of it.
    Died,
}

/// The records that one container makes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Translation {
    pub(crate) records: Vec<Record>,
    pub(crate) complaints: Vec<Diagnostic>,
    /// The choice of each service's address.
    pub(crate) choices: Vec<(Name, AddressChoice)>,
    /// Definitions that must not differ between containers.
    pub(crate) definitions: Vec<Definition>,
    /// The statements about hosts that it shares with other containers.
    pub(crate) hosts: Vec<SharedHost>,
    /// The middlewares of Traefik that it defines, and the names of those that its routers need.
    pub(crate) middlewares: Vec<MiddlewareDefinition>,
    pub(crate) asked: BTreeSet<String>,
    /// Weights beyond the range, which count among those of other containers.
    pub(crate) written: Written,
}

/// The schemes whose labels have a prefix.
const PREFIXED: [LabelScheme; 4] = [
    LabelScheme::Lb,
    LabelScheme::Traefik,
    LabelScheme::DockerFlow,
    LabelScheme::EasyHaproxy,
];

impl Rules {
    /// Returns `true` if a container with these labels may be one of ours.
    pub(crate) fn claims<'a>(
        &self,
        labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> bool {
        let composed = labels.clone().any(|(key, value)| {
            key == "com.docker.compose.service"
                && self
                    .services
                    .iter()
                    .any(|chosen| chosen.compose_service == value)
        });
        let label = |wanted: &str| {
            let mut labels = labels.clone();
            labels
                .find(|(key, _)| *key == wanted)
                .map(|(_, value)| value)
        };
        composed
            || (lb_schemes::claims(&self.options.schemes, labels.clone().map(|(key, _)| key))
                && self.narrow.takes(label, PROJECT))
    }

    /// Drops the labels that nothing reads, and the variables where no scheme reads any. A container may have thousands
    /// of them.
    pub(crate) fn drop_unread(&self, container: &mut Container) {
        if !self.options.schemes.contains(&LabelScheme::VirtualHost) {
            container.env = container.env.is_some().then(Vec::new);
        }
        if let Some(reads) = reads(&self.options, &self.narrow) {
            container.labels.retain(|key, _| reads(key));
        }
    }

    /// The configured services that `container` belongs to, by their place, not regarding which project owns
    /// those without one.
    pub(crate) fn chosen<'a>(
        &'a self,
        container: &Container,
    ) -> impl Iterator<Item = (usize, &'a ComposeService)> {
        let compose = container
            .compose()
            .map(|compose| (compose.project.to_owned(), compose.service.to_owned()));
        self.services.iter().enumerate().filter(move |(_, chosen)| {
            compose.as_ref().is_some_and(|(project, service)| {
                *service == chosen.compose_service
                    && self
                        .project(chosen)
                        .is_none_or(|wanted| wanted == project.as_str())
            })
        })
    }

    /// The project that a configured service is in, where that is said or known.
    pub(crate) fn project<'a>(&'a self, chosen: &'a ComposeService) -> Option<&'a str> {
        chosen.project.as_deref().or(self.own_project.as_deref())
    }
}

/// Returns which labels are read; `None`: any may be.
pub(crate) fn reads<'a>(
    options: &'a Options,
    narrow: &Narrow,
) -> Option<impl Fn(&str) -> bool + use<'a>> {
    // These may name any label.
    if options.default_rule.is_some() || narrow.constraints.is_some() {
        return None;
    }
    Some(|key: &str| {
        let reads = |schemes: &[LabelScheme]| lb_schemes::claims(schemes, std::iter::once(key));
        // Switches of one scheme, such as `lb.enable`, count for all of them.
        key.starts_with("com.docker.") || reads(&PREFIXED) || reads(&options.schemes)
    })
}

/// The records of `container`. `through` is the container whose network it uses, where that is another's;
/// `owner` tells the project that owns a configured service.
#[expect(
    clippy::too_many_arguments,
    reason = "the facts of one container and of what is around it"
)]
pub(crate) fn translate(
    container: &Container,
    through: Option<&Container>,
    fate: Fate,
    rules: &Rules,
    networks: &Networks,
    reach: &Reach,
    middlewares: Option<&SharedMiddlewares>,
    owner: impl Fn(usize) -> Option<String>,
) -> Translation {
    let compose = container.compose();
    if compose.is_some_and(|compose| compose.one_off) && !rules.one_off {
        return Translation::default();
    }
    let object = container.object();
    let env = container.env.as_deref().unwrap_or_default();
    let subject = Subject {
        object: &object,
        name: &container.name,
        labels: &container.labels.to_map(),
        env,
        compose,
        stack: None,
        exposed: &container.exposed,
    };
    let Reading {
        services: mut specs,
        definitions,
        hosts,
        diagnostics: mut complaints,
        middlewares,
        asked,
        malformed: _,
    } = match is_read(container, rules, networks) {
        true => lb_schemes::read_among(&rules.options, &subject, middlewares),
        false => Reading::default(),
    };
    for (index, chosen) in rules.chosen(container) {
        let project = compose.map(|compose| compose.project);
        match owner(index) {
            Some(owner) if Some(owner.as_str()) != project => {
                let mut foreign = Diagnostics::new(&object);
                foreign.refuse(
                    "com.docker.compose.project",
                    project.unwrap_or_default(),
                    format!(
                        "compose service {:?} is also in project {owner:?}, expected one project or a configured one",
                        chosen.compose_service
                    ),
                );
                complaints.extend(foreign.into_inner());
            }
            _ => {
                let (spec, found) = chosen.spec(&object);
                complaints.extend(found);
                specs.retain(|other| other.service != spec.service);
                specs.push(spec);
            }
        }
    }

    let mut translation = Translation {
        complaints,
        definitions,
        hosts,
        middlewares,
        asked,
        written: proportions::written(&specs),
        ..Translation::default()
    };
    if let Some(excess) = container.excess {
        let diagnostic = excess.diagnostic(&object, rules.max_label_bytes);
        translation.complaints.extend(diagnostic);
    }
    let Some(id) = endpoint_id(container) else {
        return translation;
    };
    for spec in specs {
        let networked = through.unwrap_or(container);
        let place = Place {
            mode: &networked.mode,
            attachments: &networked.attachments,
            exposed: &container.exposed,
            published: &networked.published,
            project: compose.map(|compose| compose.project),
        };
        let want = Want {
            port: spec.port,
            network: spec.network.as_deref(),
        };
        let mut choice = address::choose(&place, want, networks, reach);
        if spec.without_endpoint {
            choice.address = None;
        }
        let record = match (state(container, fate, &spec), choice.address) {
            (None, _) => None,
            (Some(state), Some(address)) => Some(Record::new(
                RecordKey::new(spec.service.clone(), id.clone()),
                Endpoint::new(address)
                    .with_weight(spec.weight)
                    .with_state(state)
                    .with_check_port(spec.check_port),
            )),
            // Its routes stay: they answer "unavailable", not "not found".
            (Some(_), None) => {
                if !spec.without_endpoint {
                    let mut unreachable = Diagnostics::new(&object);
                    let reason = format!(
                        "{}; the options projects, constraints and networks leave containers out",
                        choice.reason
                    );
                    unreachable.refuse("address", "", reason);
                    translation.complaints.extend(unreachable.into_inner());
                }
                (!spec.routes.is_empty())
                    .then(|| Record::declare(RecordKey::new(spec.service.clone(), id.clone())))
            }
        };
        translation.choices.push((spec.service.clone(), choice));
        translation.records.extend(record.map(|record| {
            record
                .with_mode(spec.mode)
                .with_options(spec.options)
                .with_routes(spec.routes)
        }));
    }
    translation
}

/// Returns `true` if the labels of a container are read.
fn is_read(container: &Container, rules: &Rules, networks: &Networks) -> bool {
    let label = |key: &str| container.labels.get(key);
    let project = container.compose().map(|compose| compose.project);
    container.excess.is_none()
        && rules.narrow.takes(label, PROJECT)
        && rules
            .narrow
            .takes_networks(&container.attachments, project, networks)
}

/// An endpoint's identity: the compose replica, which outlives its container, else the container.
fn endpoint_id(container: &Container) -> Option<Name> {
    let text = match container.compose() {
        Some(compose) => match compose.number {
            Some(number) => format!("{}-{}-{number}", compose.project, compose.service),
            None => short(&container.id).to_owned(),
        },
        None => short(&container.id).to_owned(),
    };
    (!text.is_empty()).then(|| Name::from_text(&text))
}

fn state(container: &Container, fate: Fate, spec: &ServiceSpec) -> Option<EndpointState> {
    match (fate, container.phase) {
        (Fate::Died, _) => Some(EndpointState::Down),
        (_, Phase::Stopped) => None,
        (Fate::Leaves, _) => {
            let patience = container
                .stop
                .and_then(|stop| stop.timeout)
                .unwrap_or(ENGINE_STOP_TIMEOUT);
            Some(EndpointState::Draining {
                grace: Some(spec.drain.unwrap_or(patience)),
            })
        }
        // It runs: what it is serving may end.
        (Fate::Stays, Phase::Unhealthy | Phase::Paused) => {
            Some(EndpointState::Draining { grace: spec.drain })
        }
        (Fate::Stays, Phase::Starting) => Some(EndpointState::Pending),
        (Fate::Stays, Phase::Serving) => Some(EndpointState::Ready),
    }
}

impl ComposeService {
    fn spec(&self, object: &str) -> (ServiceSpec, Vec<Diagnostic>) {
        let mut complaints = Diagnostics::new(object);
        let service = self
            .service
            .clone()
            .unwrap_or_else(|| Name::from_text(&self.compose_service));
        let mut spec = ServiceSpec::new(service);
        for text in &self.routes {
            for (written, parsed) in lb_schemes::parse_routes(text) {
                match parsed {
                    Ok((host, path)) => spec.route(host, path, 0),
                    Err(error) => complaints.warn("services.routes", written, error),
                }
            }
        }
        spec.settle_routes();
        spec.port = self.port;
        spec.weight = self.weight;
        spec.network.clone_from(&self.network);
        if self.tcp {
            spec.mode = Mode::Tcp;
        }
        (spec, complaints.into_inner())
    }
}

/// The label that names a container's compose project.
const PROJECT: &str = "com.docker.compose.project";

/// The time the engine waits between the stop signal and the kill where the container does not say.
pub(crate) const ENGINE_STOP_TIMEOUT: Duration = Duration::from_secs(10);
