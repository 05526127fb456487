//! What one object asks for, whatever scheme it is written in.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use lb_core::{Diagnostic, Mode, Name, PathMatch, Route, RouteHost, Weight};

use crate::{config::Spread, container::Compose};

/// The object whose labels are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// How diagnostics name it.
    pub(crate) object: &'a str,
    /// The container's or Swarm service's name.
    pub(crate) name: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// The environment, where it is known.
    pub(crate) env: &'a [(String, String)],
    pub(crate) compose: Option<Compose<'a>>,
    /// The stack that a Swarm service belongs to.
    pub(crate) stack: Option<&'a str>,
}

/// One service that an object wants to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) service: Name,
    pub(crate) routes: Vec<Route>,
    pub(crate) port: Option<u16>,
    pub(crate) weight: Weight,
    pub(crate) network: Option<String>,
    pub(crate) check_port: Option<u16>,
    /// How long requests in flight may take when it leaves; none: as long as its engine waits before it kills.
    pub(crate) drain: Option<Duration>,
    pub(crate) mode: Mode,
    pub(crate) spread: Option<Spread>,
}

/// All that an object asks for, and what was wrong with its labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wishes {
    pub(crate) wishes: Vec<Wish>,
    pub(crate) complaints: Vec<Diagnostic>,
}

impl Wish {
    pub(crate) fn new(service: Name) -> Self {
        Self {
            service,
            routes: Vec::new(),
            port: None,
            weight: Weight::default(),
            network: None,
            check_port: None,
            drain: None,
            mode: Mode::Http,
            spread: None,
        }
    }

    /// The same wish for a service of another name.
    pub(crate) fn renamed(mut self, service: Name) -> Self {
        for route in &mut self.routes {
            route.service = service.clone();
        }
        self.service = service;
        self
    }

    /// Adds a route to this wish's service.
    pub(crate) fn route(&mut self, host: RouteHost, path: PathMatch, priority: i32) {
        let route = Route::new(host, path, self.service.clone()).with_priority(priority);
        self.routes.push(route);
    }

    /// Leaves out routes that are there already, however many there are.
    pub(crate) fn drop_repeated_routes(&mut self) {
        let mut known = HashSet::new();
        self.routes.retain(|route| known.insert(route.clone()));
    }
}

impl Subject<'_> {
    /// The service's name where no label gives one: compose's project and service, else its own name.
    pub(crate) fn default_service(&self) -> Name {
        match self.compose {
            Some(compose) => Name::from_text(&format!("{}-{}", compose.project, compose.service)),
            None => Name::from_text(self.name),
        }
    }
}
