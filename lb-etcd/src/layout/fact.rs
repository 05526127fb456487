//! What one key says of an endpoint, a service or a route.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use lb_core::{
    EndpointState, Mode, Name, PathMatch, RouteHost, ServiceOptions, Severity, Weight, model::Rank,
};

use super::traefik::{RouterName, TreeKey};

/// One thing that a value says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// The endpoint's address.
    Address(SocketAddr),
    /// The port of the endpoint's health check.
    CheckPort(u16),
    /// The port where no key says one.
    DefaultPort(u16),
    /// The priority where no key says one.
    DefaultPriority(i32),
    /// The endpoint is a server of Traefik: its weight is 1 where no key says one.
    TreeServer,
    /// The endpoint serves only while it leads.
    Elected,
    /// The address without its port.
    Host(IpAddr),
    /// The layout has a key for the route's host: without it the route is not complete.
    HostExpected,
    /// The endpoint that leads the service.
    Leader(Name),
    /// The hosts the route is for.
    RouteHost(RouteHost),
    /// The hosts and paths the route is for, all of them.
    RouteMatches(Arc<[(RouteHost, PathMatch)]>),
    /// The hosts and paths that the rule of the route matches at most, where that is more than the route is for. None:
    /// any host and path.
    RouteMayMatch(Arc<[(RouteHost, PathMatch)]>),
    /// The paths the route is for.
    RoutePath(PathMatch),
    /// The route's priority.
    RoutePriority(i32),
    /// If set, the route strips its prefix, or redirects to https.
    RouteEdits {
        strip_prefix: bool,
        redirect_https: bool,
    },
    /// Who serves the route.
    RouteService(Name),
    /// The protocol in which the service's traffic is understood.
    Mode(Mode),
    /// The options of the service.
    Options(ServiceOptions),
    /// The port of the address.
    Port(u16),
    /// The router of Traefik that the route is of.
    Router(Arc<RouterName>),
    /// Routes that the object asks for itself.
    Routes(Arc<[RouteSpec]>),
    /// The rule of the route cannot be used.
    RuleUnusable,
    /// The endpoint's state.
    State(EndpointState),
    /// A key of a router or a middleware of Traefik.
    TreeKey(TreeKey),
    /// The endpoint cannot be reached as it is meant.
    Unusable,
    /// The endpoint's weight.
    Weight(Weight),
    /// The endpoint's weight where it is beyond the range: it counts in proportion to those of its service.
    WrittenWeight(u64),
    /// The route is restricted in a way that cannot be honoured.
    Withheld,
}

/// A route that an endpoint or a service asks for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteSpec {
    pub(crate) host: RouteHost,
    pub(crate) path: PathMatch,
    pub(crate) priority: i32,
    pub(crate) rank: Option<Rank>,
    pub(crate) strip_prefix: bool,
    pub(crate) redirect_https: bool,
    /// It is restricted in a way that cannot be honoured.
    pub(crate) withheld: bool,
}

/// A problem of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// The field within the value, where it has fields.
    pub(crate) field: Option<String>,
    /// The value that was found there.
    pub(crate) found: Option<String>,
    /// The text of what was expected, as a lower-case fragment.
    pub(crate) message: String,
    /// The severity: whether the value cannot be used.
    pub(crate) severity: Severity,
    /// If `true`, nothing of the value may be shown.
    pub(crate) secret: bool,
}

/// The facts of a value, and the problems in it that did not make it useless.
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
            secret: false,
        }
    }

    /// One field makes the value useless.
    pub(crate) fn field(field: &str, found: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.to_owned()),
            found: Some(found.into()),
            message: message.into(),
            severity: Severity::Error,
            secret: false,
        }
    }

    /// The same, showing nothing of the value: it may be a password.
    pub(crate) fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The same of a text that was taken from the key.
    pub(crate) fn of_key(mut self) -> Self {
        self.message = format!("in the key: {}", self.message);
        self
    }

    /// The same, saying so if the key keeps what it last meant.
    pub(crate) fn kept(mut self, kept: bool) -> Self {
        if kept {
            self.message.push_str("; what the key last meant is kept");
        }
        self
    }

    /// The same of what restricts a route and withholds it.
    pub(crate) fn withheld(mut self) -> Self {
        self.severity = Severity::Withheld;
        self
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
