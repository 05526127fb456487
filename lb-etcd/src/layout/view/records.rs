//! What the facts about one subject come to as a record.

use std::net::SocketAddr;

use lb_core::{
    Endpoint, EndpointState, Name, PathMatch, Record, RecordKey, Route, RouteHost, model::withheld,
};

use super::{
    super::{
        fact::{Complaint, Fact, RouteWish},
        rules::Subject,
        scalar::usable,
    },
    ServiceView, View,
};

impl View {
    pub(super) fn record(&self, subject: &Subject) -> Result<Record, Complaint> {
        match subject {
            Subject::Endpoint { service, id } => self.endpoint_record(service, id),
            Subject::Route { id } => self.route_record(id),
            Subject::Service { service } => self.service_record(service),
        }
    }

    fn endpoint_record(&self, service: &Name, id: &Name) -> Result<Record, Complaint> {
        let incomplete =
            || Complaint::value("no address of the endpoint is known yet, expected one");
        let view = self.services.get(service).ok_or_else(incomplete)?;
        let entity = view.endpoints.get(id).ok_or_else(incomplete)?;
        let (mut address, mut ip, mut port, mut default_port) = (None, None, None, None);
        let (mut elected, mut options) = (false, None);
        let (mut weight, mut state, mut check_port, mut mode, mut wishes) =
            (None, None, None, None, None);
        for fact in self.facts_of(entity) {
            match fact {
                Fact::Address(found) => address = address.or(Some(*found)),
                Fact::Host(found) => ip = ip.or(Some(*found)),
                Fact::Port(found) => port = port.or(Some(*found)),
                Fact::DefaultPort(found) => default_port = default_port.or(Some(*found)),
                Fact::Elected => elected = true,
                Fact::Options(found) => options = options.or(Some(*found)),
                Fact::Weight(found) => weight = weight.or(Some(*found)),
                Fact::State(found) => state = state.or(Some(*found)),
                Fact::CheckPort(found) => check_port = check_port.or(Some(*found)),
                Fact::Mode(found) => mode = mode.or(Some(*found)),
                Fact::Routes(found) => wishes = wishes.or(Some(found)),
                Fact::HostExpected
                | Fact::Leader(_)
                | Fact::RouteEdits { .. }
                | Fact::RouteHost(_)
                | Fact::RouteMatches(_)
                | Fact::RoutePath(_)
                | Fact::RoutePriority(_)
                | Fact::RouteService(_)
                | Fact::Withheld => {}
            }
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
        if elected && !self.leads(view, id) {
            state = EndpointState::Down;
        }
        let endpoint = Endpoint::new(address)
            .with_weight(weight.unwrap_or_default())
            .with_state(state)
            .with_check_port(check_port);
        let key = RecordKey::new(service.clone(), id.clone());
        let routes: Vec<Route> = wishes
            .into_iter()
            .flat_map(|wishes| wishes.iter())
            .map(|wish| wish.route(service))
            .collect();
        let record = Record::new(key, endpoint)
            .with_mode(mode.or_else(|| self.mode_of(service)).unwrap_or_default())
            .with_options(options.unwrap_or_default());
        Ok(if routes.is_empty() {
            record
        } else {
            record.with_routes(routes)
        })
    }

    /// Returns `true` if the leader of the service is this endpoint, or, without a leader, if there is no other.
    fn leads(&self, view: &ServiceView, id: &Name) -> bool {
        let leader = self.facts_of(&view.own).find_map(|fact| match fact {
            Fact::Leader(leader) => Some(leader),
            _ => None,
        });
        match leader {
            Some(leader) => leader == id,
            None => view
                .endpoints
                .iter()
                .all(|(other, entity)| other == id || entity.keys.is_empty()),
        }
    }

    fn service_record(&self, service: &Name) -> Result<Record, Complaint> {
        let view = self
            .services
            .get(service)
            .ok_or_else(|| Complaint::value("no such service"))?;
        let routes: Vec<Route> = self
            .facts_of(&view.own)
            .find_map(|fact| match fact {
                Fact::Routes(wishes) => Some(wishes),
                _ => None,
            })
            .into_iter()
            .flat_map(|wishes| wishes.iter())
            .map(|wish| wish.route(service))
            .collect();
        let key = RecordKey::new(service.clone(), Name::from_text("service:"));
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

    fn route_record(&self, id: &Name) -> Result<Record, Complaint> {
        let incomplete = || {
            Complaint::value(
                "the route is not complete yet, expected its service and its rule, host or path",
            )
        };
        let entity = self.routes.get(id).ok_or_else(incomplete)?;
        let (mut service, mut matches, mut host, mut path) = (None, None, None, None);
        let (mut priority, mut mode) = (None, None);
        let (mut withheld, mut host_expected, mut edits) = (false, false, (false, false));
        for fact in self.facts_of(entity) {
            match fact {
                Fact::RouteService(found) => service = service.or(Some(found)),
                Fact::RouteMatches(found) => matches = matches.or(Some(found)),
                Fact::RouteHost(found) => host = host.or(Some(found)),
                Fact::RoutePath(found) => path = path.or(Some(found)),
                Fact::RoutePriority(found) => priority = priority.or(Some(*found)),
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
                | Fact::Routes(_)
                | Fact::State(_)
                | Fact::Weight(_) => {}
            }
        }
        let service = service.ok_or_else(incomplete)?;
        let priority = priority.unwrap_or_default();
        let (strip_prefix, redirect_https) = edits;
        let wish = |host: &RouteHost, path: &PathMatch| {
            let wish = RouteWish {
                host: host.clone(),
                path: path.clone(),
                priority,
                strip_prefix,
                redirect_https,
                withheld,
            };
            wish.route(service)
        };
        let every_path = PathMatch::any();
        let routes: Vec<Route> = match matches {
            Some(matches) => matches
                .iter()
                .map(|(host, path)| wish(host, path))
                .collect(),
            None if host.is_none() && host_expected => {
                return Err(Complaint::value(
                    "the route has no host yet, expected one, or * for every host",
                ));
            }
            None if host.is_none() && path.is_none() => return Err(incomplete()),
            None => vec![wish(
                host.unwrap_or(&RouteHost::Any),
                path.unwrap_or(&every_path),
            )],
        };
        let key = RecordKey::new(service.clone(), Name::from_text(&format!("route:{id}")));
        let mode = mode.or_else(|| self.mode_of(service)).unwrap_or_default();
        Ok(Record::declare(key).with_mode(mode).with_routes(routes))
    }
}

impl RouteWish {
    /// The route to `service`; a withheld one leads to none.
    fn route(&self, service: &Name) -> Route {
        let service = if self.withheld {
            withheld()
        } else {
            service.clone()
        };
        Route::new(self.host.clone(), self.path.clone(), service)
            .with_priority(self.priority)
            .with_strip_prefix(self.strip_prefix && !self.withheld)
            .with_redirect_https(self.redirect_https && !self.withheld)
    }
}
