//! What the facts about one subject come to as a record.

use std::net::SocketAddr;

use lb_core::{Endpoint, EndpointState, Name, Record, RecordKey, Route, RouteHost};

use super::{
    super::{
        fact::{Complaint, Fact},
        rules::Subject,
        scalar::usable,
    },
    View,
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
        let (mut address, mut ip, mut port) = (None, None, None);
        let (mut weight, mut state, mut check_port, mut mode, mut wishes) =
            (None, None, None, None, None);
        for fact in self.facts_of(entity) {
            match fact {
                Fact::Address(found) => address = address.or(Some(*found)),
                Fact::Host(found) => ip = ip.or(Some(*found)),
                Fact::Port(found) => port = port.or(Some(*found)),
                Fact::Weight(found) => weight = weight.or(Some(*found)),
                Fact::State(found) => state = state.or(Some(*found)),
                Fact::CheckPort(found) => check_port = check_port.or(Some(*found)),
                Fact::Mode(found) => mode = mode.or(Some(*found)),
                Fact::Routes(found) => wishes = wishes.or(Some(found)),
                Fact::RouteHost(_)
                | Fact::RouteMatches(_)
                | Fact::RoutePath(_)
                | Fact::RoutePriority(_)
                | Fact::RouteService(_)
                | Fact::Withheld => {}
            }
        }
        let address = address
            .or_else(|| Some(SocketAddr::new(ip?, port?)))
            .ok_or_else(incomplete)?;
        let address = usable(address)?;
        let endpoint = Endpoint::new(address)
            .with_weight(weight.unwrap_or_default())
            .with_state(state.unwrap_or(EndpointState::Ready))
            .with_check_port(check_port);
        let key = RecordKey::new(service.clone(), id.clone());
        let routes: Vec<Route> = wishes
            .into_iter()
            .flat_map(|wishes| wishes.iter())
            .map(|wish| {
                Route::new(wish.host.clone(), wish.path.clone(), service.clone())
                    .with_priority(wish.priority)
            })
            .collect();
        let record = Record::new(key, endpoint)
            .with_mode(mode.or_else(|| self.mode_of(service)).unwrap_or_default());
        Ok(if routes.is_empty() {
            record
        } else {
            record.with_routes(routes)
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
                Fact::Routes(wishes) => Some(wishes),
                _ => None,
            })
            .into_iter()
            .flat_map(|wishes| wishes.iter())
            .map(|wish| {
                Route::new(wish.host.clone(), wish.path.clone(), service.clone())
                    .with_priority(wish.priority)
            })
            .collect();
        let key = RecordKey::new(service.clone(), Name::from_text("service:"));
        let record = Record::declare(key).with_mode(self.mode_of(service).unwrap_or_default());
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
        for fact in self.facts_of(entity) {
            match fact {
                Fact::RouteService(found) => service = service.or(Some(found)),
                Fact::RouteMatches(found) => matches = matches.or(Some(found)),
                Fact::RouteHost(found) => host = host.or(Some(found)),
                Fact::RoutePath(found) => path = path.or(Some(found)),
                Fact::RoutePriority(found) => priority = priority.or(Some(*found)),
                Fact::Mode(found) => mode = mode.or(Some(*found)),
                Fact::Withheld => {
                    return Err(Complaint::value(
                        "the route is left out, as it cannot be served as it is meant",
                    ));
                }
                Fact::Address(_)
                | Fact::CheckPort(_)
                | Fact::Host(_)
                | Fact::Port(_)
                | Fact::Routes(_)
                | Fact::State(_)
                | Fact::Weight(_) => {}
            }
        }
        let service = service.ok_or_else(incomplete)?;
        let priority = priority.unwrap_or_default();
        let routes: Vec<Route> = match matches {
            Some(matches) => matches
                .iter()
                .map(|(host, path)| {
                    Route::new(host.clone(), path.clone(), service.clone()).with_priority(priority)
                })
                .collect(),
            None if host.is_none() && path.is_none() => return Err(incomplete()),
            None => {
                let host = host.cloned().unwrap_or(RouteHost::Any);
                let path = path.cloned().unwrap_or_default();
                vec![Route::new(host, path, service.clone()).with_priority(priority)]
            }
        };
        let key = RecordKey::new(service.clone(), Name::from_text(&format!("route:{id}")));
        let mode = mode.or_else(|| self.mode_of(service)).unwrap_or_default();
        Ok(Record::declare(key).with_mode(mode).with_routes(routes))
    }
}
