//! Compiled layouts: from a key and its value to facts.

use std::{collections::BTreeMap, str, sync::Arc};

use lb_core::Name;

use super::{
    config::{LayoutConfig, RuleConfig, ValueKind},
    fact::{Complaint, Fact, Facts},
    object, own,
    pattern::{Captures, InvalidPattern, Pattern, Template},
    preset, scalar,
    traefik::Tree,
};

/// Compiled layouts: what each key and value means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    parts: Vec<Part>,
    prefix: String,
}

/// Why layouts cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLayout {
    /// There is no layout, or none has a rule.
    #[error("no layout has a rule, expected at least one")]
    Empty,
    /// A pattern or template is malformed.
    #[error("rule {rule:?} cannot be used")]
    Pattern {
        /// The pattern of the rule.
        rule: String,
        /// The problem of the answer.
        #[source]
        cause: InvalidPattern,
    },
    /// A rule does not say what its keys are about, or its values do not fit that.
    #[error("rule {rule:?} {problem}")]
    Rule {
        /// The pattern of the rule.
        rule: String,
        /// The problem and what was expected.
        problem: &'static str,
    },
}

/// The layouts in order; the rules of one are together.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Rules(Vec<Rule>),
    Traefik(Arc<Tree>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    value: ValueKind,
    about: About,
    /// If `true`, the name of a route has its path in it, whose segments stay apart.
    is_named_by_path: bool,
    mode: Option<Fact>,
    /// The facts that all its keys state beside their values.
    said: Vec<Fact>,
    only_if: BTreeMap<String, String>,
}

/// The way a rule names what its keys are about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    Endpoint {
        service: Template,
        id: Template,
    },
    Nothing,
    Route {
        id: Template,
        service: Option<Template>,
        host: Option<Template>,
        path: Option<Template>,
    },
    Service {
        service: Template,
    },
}

/// The subject of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    Endpoint { service: Name, id: Name },
    Middleware { name: Name },
    Route { id: Name },
    Service { service: Name },
}

/// The meaning of a key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The value cannot be used. What the key is about is known unless the key itself was the problem.
    Bad {
        subject: Option<Subject>,
        complaint: Complaint,
    },
    /// Nothing that matters here.
    Nothing,
    /// Nothing, as no rule takes the value.
    Left { complaint: Complaint },
    /// Facts.
    Said { subject: Subject, facts: Facts },
}

impl Layout {
    /// Compiles layouts.
    ///
    /// # Errors
    /// [`InvalidLayout`] names the rule that cannot be used.
    pub fn new(configs: &[LayoutConfig]) -> Result<Self, InvalidLayout> {
        let mut parts = Vec::new();
        for (index, config) in configs.iter().enumerate() {
            if let LayoutConfig::Traefik {
                root,
                entrypoints,
                allow_unprotected,
            } = config
            {
                let root = root.trim_end_matches('/');
                let tree = Tree::new(index, root, entrypoints, allow_unprotected);
                parts.push(Part::Traefik(Arc::new(tree)));
                continue;
            }
            let own = preset::rules(config);
            let host_expected = own.iter().any(|rule| rule.value == ValueKind::Host);
            let mut rules = Vec::new();
            for rule in own {
                let mut rule = Rule::new(&rule)?;
                if host_expected && matches!(rule.about, About::Route { .. }) {
                    rule.said.push(Fact::HostExpected);
                }
                rules.push(rule);
            }
            parts.push(Part::Rules(rules));
        }
        let prefixes = parts.iter().flat_map(|part| match part {
            Part::Traefik(tree) => vec![tree.prefix()],
            Part::Rules(rules) => rules
                .iter()
                .map(|rule| rule.pattern.literal_prefix())
                .collect(),
        });
        let prefix = prefixes
            .reduce(common_prefix)
            .ok_or(InvalidLayout::Empty)?
            .to_owned();
        Ok(Self { parts, prefix })
    }

    /// The text that every key of these layouts begins with. May be empty.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn read(&self, key: &[u8], value: &[u8]) -> Reading {
        let Ok(key) = str::from_utf8(key) else {
            return Reading::Bad {
                subject: None,
                complaint: Complaint::value("expected a key in UTF-8"),
            };
        };
        let mut left = None;
        for (index, part) in self.parts.iter().enumerate() {
            let found = match part {
                Part::Traefik(tree) => tree.read(key, value),
                Part::Rules(rules) => rules.iter().find_map(|rule| {
                    let captures = rule.pattern.matches(key)?;
                    match rule.unfit(value) {
                        None => Some(rule.read(&captures, value)),
                        Some(unfit) => {
                            left = Some(unfit);
                            None
                        }
                    }
                }),
            };
            if let Some(reading) = found {
                return reading.of_layout(index);
            }
        }
        match left {
            Some((field, found)) => Reading::Left {
                complaint: Complaint::field(&field, found, "no rule of the layout takes it")
                    .tolerated(),
            },
            None => Reading::Bad {
                subject: None,
                complaint: Complaint::value(
                    "no pattern of the layout matches the key, it is not used",
                )
                .tolerated()
                .secret(),
            },
        }
    }
}

impl Reading {
    /// The routes of each layout are its own, also where another layout has a route of the same name.
    fn of_layout(mut self, index: usize) -> Self {
        if let Self::Bad {
            subject: Some(Subject::Route { id }),
            ..
        }
        | Self::Said {
            subject: Subject::Route { id },
            ..
        } = &mut self
        {
            *id = in_layout(index, id.clone());
        }
        self
    }
}

/// The name of something that belongs to one layout: that of the first has its plain name.
pub(super) fn in_layout(index: usize, name: Name) -> Name {
    match index {
        0 => name,
        index => Name::from_text(&format!("{index}:{name}")),
    }
}

impl Rule {
    fn new(config: &RuleConfig) -> Result<Self, InvalidLayout> {
        let in_pattern = |cause| InvalidLayout::Pattern {
            rule: config.pattern.clone(),
            cause,
        };
        let in_rule = |problem| InvalidLayout::Rule {
            rule: config.pattern.clone(),
            problem,
        };
        let pattern = Pattern::parse(&config.pattern).map_err(in_pattern)?;
        let template = |given: &Option<String>, capture: &str| match given {
            Some(text) => Template::parse(text, &pattern).map(Some),
            None if pattern.captures(capture) => {
                Template::parse(&format!("{{{capture}}}"), &pattern).map(Some)
            }
            None => Ok(None),
        };
        let service = template(&config.service, "service").map_err(in_pattern)?;
        let endpoint = template(&config.endpoint, "endpoint").map_err(in_pattern)?;
        let route = template(&config.route, "route").map_err(in_pattern)?;

        let host = template(&config.host, "host").map_err(in_pattern)?;
        let path = template(&config.path, "path").map_err(in_pattern)?;
        let of_route = config.value.fits_routes();
        let is_named_by_path = route.is_none() && config.path.is_none() && path.is_some();
        let route = match (route, &host) {
            // Each path of a host is a route of its own.
            (None, Some(_)) if of_route && is_named_by_path => {
                let host = config.host.as_deref().unwrap_or("{host}");
                let both = Template::parse(&format!("{host}:{{path}}"), &pattern);
                Some(both.map_err(in_pattern)?)
            }
            (None, Some(host)) if of_route => Some(host.clone()),
            (route, _) => route,
        };
        if of_route && config.path.is_none() && path.is_some() && config.value.says_path() {
            return Err(in_rule(
                "captures {path}, which its values say themselves, expected another name for it",
            ));
        }

        let about = match (service, endpoint, route) {
            _ if matches!(config.value, ValueKind::Ignore | ValueKind::Unsupported) => {
                About::Nothing
            }
            (Some(service), Some(id), _) => About::Endpoint { service, id },
            (None, Some(_), _) => {
                return Err(in_rule(
                    "has no service, expected {service} in it or a template",
                ));
            }
            (service, None, Some(id)) if of_route => About::Route {
                id,
                service,
                host,
                path,
            },
            (_, None, Some(_)) => {
                return Err(in_rule(
                    "has a kind of value that does not fit what its keys are about",
                ));
            }
            (Some(service), None, None) => About::Service { service },
            (None, None, None) => {
                return Err(in_rule(
                    "is about nothing, expected {endpoint}, {route} or {service} in it or a template",
                ));
            }
        };
        if !config.value.fits(&about) {
            return Err(in_rule(
                "has a kind of value that does not fit what its keys are about",
            ));
        }
        if let ValueKind::Json(fields) = &config.value
            && !fields.states_fit()
        {
            return Err(in_rule(
                "has states that are not one of pending, ready, draining, down",
            ));
        }
        let is_endpoint = matches!(about, About::Endpoint { .. });
        if !is_endpoint && (config.elected || config.port.is_some()) {
            return Err(in_rule(
                "has elected or port, expected an endpoint in it to elect or to reach",
            ));
        }
        let elected = config.elected.then_some(Fact::Elected);
        let options = (!config.options.is_empty()).then_some(Fact::Options(config.options));
        let said = elected
            .into_iter()
            .chain(config.port.map(Fact::DefaultPort))
            .chain(options);
        Ok(Self {
            pattern,
            value: config.value.clone(),
            about,
            is_named_by_path,
            mode: config.mode.map(Fact::Mode),
            said: said.collect(),
            only_if: config.only_if.clone(),
        })
    }

    /// The part of the value that the rule does not take.
    fn unfit(&self, value: &[u8]) -> Option<(String, String)> {
        if self.only_if.is_empty() || value.len() > object::MAX_LEN {
            return None;
        }
        object::unfit(str::from_utf8(value).ok()?, &self.only_if)
    }

    fn read(&self, captures: &Captures<'_>, value: &[u8]) -> Reading {
        let subject = match &self.about {
            About::Endpoint { service, id } => Subject::Endpoint {
                service: service.name(captures),
                id: endpoint_name(id.name(captures)),
            },
            About::Route { id, .. } => Subject::Route {
                id: match self.is_named_by_path {
                    true => Name::from_text(&id.fill_path(captures)),
                    false => id.name(captures),
                },
            },
            About::Service { service } => Subject::Service {
                service: service.name(captures),
            },
            About::Nothing if self.value == ValueKind::Unsupported => {
                return Reading::Bad {
                    subject: None,
                    complaint: Complaint::value("not supported, it is not honoured")
                        .tolerated()
                        .secret(),
                };
            }
            About::Nothing => return Reading::Nothing,
        };
        let facts = self.facts(value).and_then(|mut facts| {
            facts.said.extend(self.of_key(captures)?);
            Ok(facts)
        });
        match facts {
            Ok(facts) => Reading::Said { subject, facts },
            Err(complaint) => Reading::Bad {
                subject: Some(subject),
                complaint,
            },
        }
    }

    /// The facts that the key itself states of a route.
    fn of_key(&self, captures: &Captures<'_>) -> Result<Vec<Fact>, Complaint> {
        let About::Route {
            service,
            host,
            path,
            ..
        } = &self.about
        else {
            return Ok(Vec::new());
        };
        let mut said = Vec::new();
        if let Some(service) = service {
            said.push(Fact::RouteService(service.name(captures)));
        }
        if let Some(host) = host {
            let host = scalar::host(&host.fill(captures)).map_err(Complaint::of_key)?;
            said.push(Fact::RouteHost(host));
        }
        if let Some(path) = path {
            let text = path.fill_path(captures);
            let text = if text.starts_with('/') {
                text
            } else {
                format!("/{text}")
            };
            said.push(Fact::RoutePath(
                scalar::path(&text).map_err(Complaint::of_key)?,
            ));
        }
        Ok(said)
    }

    fn facts(&self, value: &[u8]) -> Result<Facts, Complaint> {
        let text =
            str::from_utf8(value).map_err(|_| Complaint::value("expected a value in UTF-8"))?;
        if text.len() > object::MAX_LEN {
            return Err(Complaint::value(format!(
                "expected at most {} bytes, found {}",
                object::MAX_LEN,
                text.len()
            )));
        }
        let plain = text.trim();
        let mut facts: Facts =
            match &self.value {
                ValueKind::Address => Fact::Address(scalar::address(plain)?).into(),
                ValueKind::Endpoint => own::endpoint(text)?,
                ValueKind::Host => Fact::RouteHost(scalar::host(plain)?).into(),
                ValueKind::Ignore | ValueKind::Unsupported => Facts::default(),
                ValueKind::Ip => Fact::Host(plain.parse().map_err(|_| {
                    Complaint::value("expected an IP address; names are not resolved")
                })?)
                .into(),
                ValueKind::Json(fields) => object::mapped(text, fields)?,
                ValueKind::Leader => Fact::Leader(scalar::service(plain)?).into(),
                ValueKind::Present => Facts::default(),
                ValueKind::Mode => Fact::Mode(stated(plain, scalar::mode)?).into(),
                ValueKind::Path => Fact::RoutePath(scalar::path(plain)?).into(),
                ValueKind::Port => Fact::Port(stated(plain, scalar::port)?).into(),
                ValueKind::Priority => Fact::RoutePriority(stated(plain, scalar::priority)?).into(),
                ValueKind::Route => own::route(text)?,
                ValueKind::Rule => object::traefik_rule(plain)?,
                ValueKind::Service => own::service(text)?,
                ValueKind::ServiceName => Fact::RouteService(scalar::service(plain)?).into(),
                ValueKind::State => Fact::State(stated(plain, scalar::state)?).into(),
                ValueKind::Url => scalar::url(plain)?,
                ValueKind::Weight => Fact::Weight(stated(plain, scalar::weight)?).into(),
                ValueKind::Withhold => Facts {
                    said: vec![Fact::Withheld],
                    complaints: vec![
                        Complaint::value(
                            "cannot be honoured, requests of the route are answered with 503 (TCP: closed) while this key is there",
                        )
                        .withheld()
                        .secret(),
                    ],
                },
            };
        if !facts.said.iter().any(|fact| matches!(fact, Fact::Mode(_))) {
            facts.said.extend(self.mode.clone());
        }
        facts.said.extend(self.said.iter().cloned());
        Ok(facts)
    }
}

/// Parses a value whose key says that it is one number or word: it is shown where it is none.
fn stated<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, Complaint>) -> Result<T, Complaint> {
    parse(text).map_err(|complaint| Complaint {
        found: Some(object::cut(text)),
        ..complaint
    })
}

impl ValueKind {
    fn fits_routes(&self) -> bool {
        match self {
            Self::Route
            | Self::Host
            | Self::Path
            | Self::Present
            | Self::Priority
            | Self::Rule
            | Self::ServiceName
            | Self::Withhold => true,
            Self::Json(fields) => {
                fields.service.is_some() || fields.rule.is_some() || fields.route.is_some()
            }
            _ => false,
        }
    }

    /// Returns `true` if values say the path of a route.
    fn says_path(&self) -> bool {
        match self {
            Self::Path | Self::Route | Self::Rule => true,
            Self::Json(fields) => fields.rule.is_some() || fields.route.is_some(),
            _ => false,
        }
    }

    fn fits(&self, about: &About) -> bool {
        match self {
            Self::Address
            | Self::Endpoint
            | Self::Ip
            | Self::Port
            | Self::State
            | Self::Url
            | Self::Weight => {
                matches!(about, About::Endpoint { .. })
            }
            Self::Json(_) => matches!(about, About::Endpoint { .. } | About::Route { .. }),
            Self::Mode => matches!(about, About::Endpoint { .. } | About::Service { .. }),
            Self::Leader | Self::Service => matches!(about, About::Service { .. }),
            Self::Route
            | Self::Host
            | Self::Path
            | Self::Present
            | Self::Priority
            | Self::Rule
            | Self::ServiceName
            | Self::Withhold => {
                matches!(about, About::Route { .. })
            }
            Self::Ignore | Self::Unsupported => matches!(about, About::Nothing),
        }
    }
}

/// Names that begin so are taken by the records of routes and services.
pub(super) fn endpoint_name(name: Name) -> Name {
    if name.as_str().starts_with("route:") || name.as_str().starts_with("service:") {
        Name::from_text(&format!("/{name}"))
    } else {
        name
    }
}

fn common_prefix<'a>(a: &'a str, b: &'a str) -> &'a str {
    let shared = a
        .char_indices()
        .zip(b.chars())
        .find(|((_, a), b)| a != b)
        .map_or_else(|| a.len().min(b.len()), |((at, _), _)| at);
    a.get(..shared).unwrap_or_default()
}
