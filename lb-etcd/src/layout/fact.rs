//! What one key says of an endpoint, a service or a route.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use lb_core::{EndpointState, Mode, Name, PathMatch, RouteHost, Severity, Weight};

/// One thing that a value says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// The endpoint's address.
    Address(SocketAddr),
    /// The port of the endpoint's health check.
    CheckPort(u16),
    /// The address without its port.
    Host(IpAddr),
    /// Which hosts the route is for.
    RouteHost(RouteHost),
    /// Which hosts and paths the route is for, all of them.
    RouteMatches(Arc<[(RouteHost, PathMatch)]>),
    /// Which paths the route is for.
    RoutePath(PathMatch),
    /// The route's priority.
    RoutePriority(i32),
    /// Who serves the route.
    RouteService(Name),
    /// How the service's traffic is understood.
    Mode(Mode),
    /// The port of the address.
    Port(u16),
    /// Routes that the object asks for itself.
    Routes(Arc<[RouteWish]>),
    /// The endpoint's state.
    State(EndpointState),
    /// The endpoint's weight.
    Weight(Weight),
    /// The route cannot be served as it is meant.
    Withheld,
}

/// A route that an endpoint or a service asks for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteWish {
    pub(crate) host: RouteHost,
    pub(crate) path: PathMatch,
    pub(crate) priority: i32,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// The field within the value, where it has fields.
    pub(crate) field: Option<String>,
    /// What was found there.
    pub(crate) found: Option<String>,
    /// What was expected, as a lower-case fragment.
    pub(crate) message: String,
    /// Whether the value cannot be used.
    pub(crate) severity: Severity,
}

/// What a value says, and what was wrong in it without making it useless.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) said: Vec<Fact>,
    pub(crate) complaints: Vec<Complaint>,
}

impl Complaint {
    /// The whole value cannot be used.
    pub(crate) fn value(message: impl Into<String>) -> Self {
        Self {
            field: None,
            found: None,
            message: message.into(),
            severity: Severity::Error,
        }
    }

    /// One field makes the value useless.
    pub(crate) fn field(field: &str, found: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.to_owned()),
            found: Some(found.into()),
            message: message.into(),
            severity: Severity::Error,
        }
    }

    /// The same, while the rest of the value is used.
    pub(crate) fn tolerated(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

impl From<Fact> for Facts {
    fn from(fact: Fact) -> Self {
        Self {
            said: vec![fact],
            complaints: Vec::new(),
        }
    }
}
