//! What the facts about one subject come to as a record.

use std::{net::SocketAddr, sync::Arc};

use lb_core::{
    Endpoint, EndpointState, Mode, Name, PathMatch, Record, RecordKey, Route, RouteHost,
    model::withheld,
};
use lb_schemes::traefik::{DEFAULT_WEIGHT, rank};

use super::{
    super::{
        fact::{Complaint, Fact, RouteSpec},
        rules::Subject,
        scalar::usable,
    },
    Entity, Made, ServiceView, View,
};

impl View {
    /// The result of the keys about a subject.
    pub(super) fn make(&self, subject: &Subject) -> Made {
        let made = match subject {
            Subject::Endpoint { service, id } => {
                let view = self.services.get(service);
                let Some(entity) = view.and_then(|view| view.endpoints.get(id)) else {
                    return Made::default();
                };
                if entity.keys.is_empty() {
                    return Made::default();
                }
                let made = self.endpoint_record(service, id);
                if made.is_ok()
                    && self.is_beyond(entity)
                    && let Some(message) = view.and_then(|view| view.proportion.inexact())
                {
                    return Made {
                        wrong: vec![Complaint::value(message).tolerated()],
                        object: self.key_of_weight(entity),
                        ..made.map_or_else(Made::incomplete, Made::record)
                    };
                }
                if made.is_ok() && self.lacks_leader(service, id) {
                    let message = "no key names a leader of the service, so the endpoint is down";
                    return Made {
                        wrong: vec![Complaint::value(message).tolerated()],
                        ..made.map_or_else(Made::incomplete, Made::record)
                    };
                }
                made
            }
            Subject::Middleware { .. } => return Made::default(),
            Subject::Route { id } => {
                let Some(entity) = self.routes.get(id).filter(|entity| !entity.keys.is_empty())
                else {
                    return Made::default();
                };
                if let Some(router) = self.router_of(entity) {
                    return self.router(id, entity, router);
                }
                return self.route(id);
            }
            Subject::Service { service } => {
                let view = self.services.get(service);
                let Some(view) = view.filter(|view| !view.own.keys.is_empty()) else {
                    return Made::default();
                };
                let made = self.service_record(service);
                if made.is_ok()
                    && let Some(wrong) = self.misled(view)
                {
                    return Made {
                        wrong: vec![wrong.tolerated()],
                        ..made.map_or_else(Made::incomplete, Made::record)
                    };
                }
                made
            }
        };
        made.map_or_else(Made::incomplete, Made::record)
    }

    fn endpoint_record(&self, service: &Name, id: &Name) -> Result<Record, Complaint> {
        let incomplete =
            || Complaint::value("no address of the endpoint is known yet, expected one");
        let view = self.services.get(service).ok_or_else(incomplete)?;
        let entity = view.endpoints.get(id).ok_or_else(incomplete)?;
        let (mut address, mut ip, mut port, mut default_port) = (None, None, None, None);
        let (mut elected, mut unusable, mut options) = (false, false, None);
        let mut tree_server = false;
        let (mut weight, mut state, mut check_port, mut mode, mut specs) =
            (None, None, None, None, None);
        for fact in self.facts_of(entity) {
            match fact {
                Fact::Address(found) => address = address.or(Some(*found)),
                Fact::Host(found) => ip = ip.or(Some(*found)),
                Fact::Port(found) => port = port.or(Some(*found)),
                Fact::DefaultPort(found) => default_port = default_port.or(Some(*found)),
                Fact::TreeServer => tree_server = true,
                Fact::Elected => elected = true,
                Fact::Unusable => unusable = true,
                Fact::Options(found) => options = options.or(Some(*found)),
                Fact::Weight(found) => weight = weight.or(Some(*found)),
                Fact::State(found) => state = state.or(Some(*found)),
                Fact::CheckPort(found) => check_port = check_port.or(Some(*found)),
                Fact::Mode(found) => mode = mode.or(Some(*found)),
                Fact::Routes(found) => specs = specs.or(Some(found)),
                Fact::DefaultPriority(_)
                | Fact::HostExpected
                | Fact::Leader(_)
                | Fact::RouteEdits { .. }
                | Fact::RouteHost(_)
                | Fact::RouteMatches(_)
                | Fact::RouteMayMatch(_)
                | Fact::RoutePath(_)
                | Fact::RoutePriority(_)
                | Fact::RouteService(_)
                | Fact::Router(_)
                | Fact::RuleUnusable
                | Fact::TreeKey(_)
                | Fact::Withheld
                | Fact::WrittenWeight(_) => {}
            }
        }
        if unusable {
            return Err(Complaint::value(
                "the endpoint is left out, as what its keys ask for cannot be done",
            ));
        }
        let mode = mode.or_else(|| self.mode_of(service)).unwrap_or_default();
        if mode == Mode::Tcp && self.is_barred(service) {
            return Err(Complaint::value(
                "the endpoint is left out: its service is restricted, and a listener of TCP may lead to it without a route",
            ));
        }
        let address = match (address, ip, port.or(default_port)) {
            (Some(address), _, _) => address,
            (None, Some(ip), Some(port)) => SocketAddr::new(ip, port),
            (None, Some(_), None) => {
                return Err(Complaint::value(
                    "the endpoint has an IP address but no port, expected one here or the option port of the layout",
                ));
            }
            (None, None, _) => return Err(incomplete()),
        };
        let address = usable(address)?;
        let mut state = state.unwrap_or(EndpointState::Ready);
        if elected && self.leader_of(view) != Some(id) {
            state = EndpointState::Down;
        }
        let weight = match self.written_weight(entity) {
            Some(written) => view.proportion.weight(written),
            None => weight.unwrap_or_default(),
        };
        let endpoint = Endpoint::new(address)
            .with_weight(weight)
            .with_state(state)
            .with_check_port(check_port);
        let name = if tree_server {
            self.tree_name(service)
        } else {
            service.clone()
        };
        let key = RecordKey::new(name, id.clone());
        let routes: Vec<Route> = specs
            .into_iter()
            .flat_map(|specs| specs.iter())
            .map(|spec| spec.route(service, self.is_barred(service)))
            .collect();
        let record = Record::new(key, endpoint)
            .with_mode(mode)
            .with_options(options.unwrap_or_default());
        Ok(if routes.is_empty() {
            record
        } else {
            record.with_routes(routes)
        })
    }

    /// Returns the endpoint that leads the service. Without a key that names one, none does: its lock may have expired.
    pub(super) fn leader_of<'v>(&'v self, view: &'v ServiceView) -> Option<&'v Name> {
        self.facts_of(&view.own).find_map(|fact| match fact {
            Fact::Leader(leader) => Some(leader),
            _ => None,
        })
    }

    /// The key that says a weight beyond the range.
    fn key_of_weight(&self, entity: &Entity) -> Option<String> {
        let says = |key: &&Arc<[u8]>| {
            let meaning = self.keys.get(*key);
            let is_written = |fact: &Fact| matches!(fact, Fact::WrittenWeight(_));
            meaning.is_some_and(|meaning| meaning.facts.iter().any(is_written))
        };
        let key = entity.keys.iter().find(says)?;
        Some(String::from_utf8_lossy(key).into_owned())
    }

    /// The weight of a server of a tree of Traefik, as it is written.
    pub(super) fn written_weight(&self, entity: &Entity) -> Option<u64> {
        let (mut written, mut tree_server) = (None, false);
        for fact in self.facts_of(entity) {
            match fact {
                Fact::TreeServer => tree_server = true,
                Fact::Weight(weight) => written = written.or_else(|| Some(u64::from(weight.get()))),
                Fact::WrittenWeight(weight) => written = written.or(Some(*weight)),
                _ => {}
            }
        }
        tree_server.then(|| written.unwrap_or_else(|| u64::from(DEFAULT_WEIGHT)))
    }

    /// Says that the service's leader is none of its endpoints: the keys of that member say something else.
    fn misled(&self, view: &ServiceView) -> Option<Complaint> {
        let leader = self.leader_of(view)?;
        let known = view.endpoints.get(leader);
        if known.is_some_and(|entity| !entity.keys.is_empty()) {
            return None;
        }
        Some(Complaint::value(format!(
            "it names {leader}, which is no endpoint of the service (there is no such member, or it is no primary): no endpoint serves"
        )))
    }

    /// Returns `true` if the endpoint serves only while it leads, and no key names a leader.
    fn lacks_leader(&self, service: &Name, id: &Name) -> bool {
        self.services.get(service).is_some_and(|view| {
            let entity = view.endpoints.get(id);
            self.leader_of(view).is_none() && entity.is_some_and(|entity| self.is_elected(entity))
        })
    }

    fn service_record(&self, service: &Name) -> Result<Record, Complaint> {
        let view = self
            .services
            .get(service)
            .ok_or_else(|| Complaint::value("no such service"))?;
        let routes: Vec<Route> = self
            .facts_of(&view.own)
            .find_map(|fact| match fact {
                Fact::Routes(specs) => Some(specs),
                _ => None,
            })
            .into_iter()
            .flat_map(|specs| specs.iter())
            .map(|spec| spec.route(service, self.is_barred(service)))
            .collect();
        let key = RecordKey::new(self.tree_name(service), Name::from_text("service:"));
        let options = self.facts_of(&view.own).find_map(|fact| match fact {
            Fact::Options(options) => Some(*options),
            _ => None,
        });
        let record = Record::declare(key)
            .with_mode(self.mode_of(service).unwrap_or_default())
            .with_options(options.unwrap_or_default());
        Ok(if routes.is_empty() {
            record
        } else {
            record.with_routes(routes)
        })
    }

    fn route(&self, id: &Name) -> Made {
        let Some(entity) = self.routes.get(id) else {
            return Made::default();
        };
        let has = |wanted: &Fact| self.facts_of(entity).any(|fact| fact == wanted);
        let may_match = self.facts_of(entity).find_map(|fact| match fact {
            Fact::RouteMayMatch(matches) => Some(matches),
            _ => None,
        });
        // What is restricted is more than the route is for.
        let beyond_route = may_match.is_some() && has(&Fact::Withheld);
        if !has(&Fact::RuleUnusable) && !beyond_route {
            return self
                .route_record(id)
                .map_or_else(Made::incomplete, Made::record);
        }
        // The rule is told where it is. What it may match is not known: something narrower may be meant than what
        // another route of the service serves.
        let service = self.facts_of(entity).find_map(|fact| match fact {
            Fact::RouteService(service) => Some(service.clone()),
            _ => None,
        });
        if !has(&Fact::Withheld) {
            return Made::default();
        }
        let matches = match may_match {
            Some(matches) => Some(matches).filter(|matches| !matches.is_empty()),
            None => self.facts_of(entity).find_map(|fact| match fact {
                Fact::RouteMatches(matches) => Some(matches),
                _ => None,
            }),
        };
        let beyond = match matches {
            Some(_) => "all that the rule may match is answered with 503 (TCP: closed)",
            None => {
                "what else it may match is not known, so requests that routes of other services take are served, though it may match them"
            }
        };
        // All of it is withheld before what is narrower: nothing else of the service has to be.
        let barred = service
            .clone()
            .filter(|_| !beyond_route || matches.is_none());
        let own = barred.iter().map(|service| {
            format!("all requests of the service {service} are answered with 503 (TCP: closed); ")
        });
        let wrong = Complaint::value(format!(
            "the route is restricted, and its rule cannot be used as it is: {}{beyond}",
            own.collect::<String>()
        ));
        Made {
            record: matches.map(|matches| self.cover(id, service.as_ref(), matches)),
            wrong: vec![wrong.withheld()],
            bars: barred,
            ..Made::default()
        }
    }

    /// The record of a restricted route whose rule cannot be used: all that it may match is withheld, before what is
    /// narrower.
    fn cover(
        &self,
        id: &Name,
        service: Option<&Name>,
        matches: &[(RouteHost, PathMatch)],
    ) -> Record {
        let service = service.unwrap_or(id).clone();
        let mode = self.mode_of(&service).unwrap_or_default();
        let routes = matches.iter().map(|(host, path)| {
            Route::new(host.clone(), path.clone(), withheld()).with_priority(i32::MAX)
        });
        let key = RecordKey::new(service, Name::from_text(&format!("route:{id}")));
        Record::declare(key)
            .with_mode(mode)
            .with_routes(routes.collect::<Vec<_>>())
    }

    fn route_record(&self, id: &Name) -> Result<Record, Complaint> {
        let incomplete = || {
            Complaint::value(
                "the route is not complete yet, expected its service and its rule, host or path",
            )
        };
        let entity = self.routes.get(id).ok_or_else(incomplete)?;
        let (mut service, mut matches, mut host, mut path) = (None, None, None, None);
        let (mut priority, mut default_priority, mut mode) = (None, None, None);
        let (mut withheld, mut host_expected, mut edits) = (false, false, (false, false));
        for fact in self.facts_of(entity) {
            match fact {
                Fact::RouteService(found) => service = service.or(Some(found)),
                Fact::RouteMatches(found) => matches = matches.or(Some(found)),
                Fact::RouteHost(found) => host = host.or(Some(found)),
                Fact::RoutePath(found) => path = path.or(Some(found)),
                Fact::RoutePriority(found) => priority = priority.or(Some(*found)),
                Fact::DefaultPriority(found) => default_priority = Some(*found),
                Fact::Mode(found) => mode = mode.or(Some(*found)),
                Fact::HostExpected => host_expected = true,
                Fact::Withheld => withheld = true,
                Fact::RouteEdits {
                    strip_prefix,
                    redirect_https,
                } => edits = (*strip_prefix, *redirect_https),
                Fact::Address(_)
                | Fact::CheckPort(_)
                | Fact::DefaultPort(_)
                | Fact::Elected
                | Fact::Host(_)
                | Fact::Leader(_)
                | Fact::Options(_)
                | Fact::Port(_)
                | Fact::Router(_)
                | Fact::RouteMayMatch(_)
                | Fact::Routes(_)
                | Fact::RuleUnusable
                | Fact::State(_)
                | Fact::TreeKey(_)
                | Fact::TreeServer
                | Fact::Unusable
                | Fact::Weight(_)
                | Fact::WrittenWeight(_) => {}
            }
        }
        // A route that is withheld needs no service: it leads to none.
        let unnamed = withheld.then(|| id.clone());
        let service = service.or(unnamed.as_ref()).ok_or_else(incomplete)?;
        // The number of a rule counts among rules only.
        let rank = default_priority.map(|length| rank(priority.unwrap_or(length)));
        let priority = match rank {
            Some(_) => 0,
            None => priority.unwrap_or_default(),
        };
        let (strip_prefix, redirect_https) = edits;
        let spec = |host: &RouteHost, path: &PathMatch| {
            let spec = RouteSpec {
                host: host.clone(),
                path: path.clone(),
                priority,
                rank: rank.clone(),
                strip_prefix,
                redirect_https,
                withheld,
            };
            spec.route(service, self.is_barred(service))
        };
        let every_path = PathMatch::any();
        let routes: Vec<Route> = match matches {
            Some(matches) => matches
                .iter()
                .map(|(host, path)| spec(host, path))
                .collect(),
            None if host.is_none() && path.is_none() && !host_expected => return Err(incomplete()),
            // It is not for every host because its host is not there yet.
            None if host.is_none() && !withheld => {
                return Err(Complaint::value(
                    "the route has no host yet, expected one, or * for every host",
                ));
            }
            None => vec![spec(
                host.unwrap_or(&RouteHost::Any),
                path.unwrap_or(&every_path),
            )],
        };
        let key = RecordKey::new(service.clone(), Name::from_text(&format!("route:{id}")));
        let mode = mode.or_else(|| self.mode_of(service)).unwrap_or_default();
        Ok(Record::declare(key).with_mode(mode).with_routes(routes))
    }
}

impl RouteSpec {
    /// The route to `service`; a withheld one, or one of a service that is barred, leads to none.
    fn route(&self, service: &Name, barred: bool) -> Route {
        let withholds = self.withheld || barred;
        let service = if withholds {
            withheld()
        } else {
            service.clone()
        };
        let mut route = Route::new(self.host.clone(), self.path.clone(), service);
        route.rank.clone_from(&self.rank);
        route
            .with_priority(self.priority)
            .with_strip_prefix(self.strip_prefix && !withholds)
            .with_redirect_https(self.redirect_https && !withholds)
    }
}

impl Made {
    fn record(record: Record) -> Self {
        Self {
            record: Some(record),
            ..Self::default()
        }
    }

    fn incomplete(complaint: Complaint) -> Self {
        Self {
            wrong: vec![complaint.tolerated()],
            ..Self::default()
        }
    }
}
