//! Explanation of one container or Swarm service: its routes, and why it is reached as it is.

use std::fmt;

use lb_core::{
    Diagnostic, Name, PathMatch, Route, RouteHost, Severity,
    model::{leads_to_none, nowhere},
};
use serde::Serialize;

use crate::{address::AddressChoice, translate::Translation};

/// Why a container or task is reached as it is, or is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The container or task.
    pub object: String,
    /// From where it is to be reached, as a lower-case fragment.
    pub reach: String,
    /// For each service that it serves, how its address was chosen.
    pub services: Vec<(Name, AddressChoice)>,
    /// The routes that it asks for, as far as it alone decides them: each counts for all objects of the source.
    pub routes: Vec<ExplainedRoute>,
    /// The problem of the answer.
    pub diagnostics: Vec<Diagnostic>,
}

/// One route that an object asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplainedRoute {
    /// The service that states it.
    pub service: Name,
    /// The hosts that it is for.
    pub host: RouteHost,
    /// The paths that it is for.
    pub path: PathMatch,
    /// The fate of its requests.
    pub outcome: RouteOutcome,
    /// If `true`, the matched path prefix is taken off.
    pub strip_prefix: bool,
    /// If `true`, requests without TLS are redirected to https.
    pub redirect_https: bool,
}

/// The fate of a route's requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RouteOutcome {
    /// They go to the service.
    Served,
    /// What restricts them cannot be honoured: they are answered with 503 (TCP: closed).
    Withheld {
        /// The keys for which that is so.
        because_of: Vec<String>,
    },
    /// They are answered with 404: the host is known, and it has no such path.
    NotFound,
}

impl Explanation {
    /// The translation of an object that is reached from `reach`.
    pub(crate) fn new(object: String, reach: String, translation: Translation) -> Self {
        let withholding = translation
            .complaints
            .iter()
            .filter(|one| one.severity == Severity::Withheld);
        let mut because_of: Vec<String> = withholding.filter_map(|one| one.field.clone()).collect();
        because_of.dedup();
        let routes = translation.records.iter().flat_map(|record| {
            let routes = record.routes.iter();
            routes.map(|route| explained(&record.key.service, route, &because_of))
        });
        // The endpoints of a Swarm service have the same routes.
        let mut distinct: Vec<ExplainedRoute> = Vec::new();
        for route in routes {
            if !distinct.contains(&route) {
                distinct.push(route);
            }
        }
        Self {
            object,
            reach,
            services: translation.choices,
            routes: distinct,
            diagnostics: translation.complaints,
        }
    }
}

fn explained(service: &Name, route: &Route, because_of: &[String]) -> ExplainedRoute {
    let outcome = match () {
        () if route.service == nowhere() => RouteOutcome::NotFound,
        () if leads_to_none(&route.service) => RouteOutcome::Withheld {
            because_of: because_of.to_vec(),
        },
        () => RouteOutcome::Served,
    };
    ExplainedRoute {
        service: service.clone(),
        host: route.host.clone(),
        path: route.path.clone(),
        outcome,
        strip_prefix: route.strip_prefix,
        redirect_https: route.redirect_https,
    }
}

impl fmt::Display for ExplainedRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service,
            host,
            path,
            outcome,
            ..
        } = self;
        match outcome {
            RouteOutcome::Served => write!(f, "route {host}{path} to service {service}")?,
            RouteOutcome::Withheld { because_of } => {
                write!(
                    f,
                    "route {host}{path} withheld: answered with 503 (TCP: closed)"
                )?;
                if !because_of.is_empty() {
                    write!(f, " because of {}", because_of.join(", "))?;
                }
            }
            RouteOutcome::NotFound => {
                write!(
                    f,
                    "route {host}{path} to nothing: other paths of the host are answered with 404"
                )?;
            }
        }
        if self.strip_prefix {
            f.write_str(", the prefix is taken off")?;
        }
        if self.redirect_https {
            f.write_str(", requests without TLS are redirected to https")?;
        }
        Ok(())
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, reached {}", self.object, self.reach)?;
        if self.services.is_empty() {
            writeln!(
                f,
                "serves no service: no label or configured service claims it"
            )?;
        }
        for (service, choice) in &self.services {
            writeln!(f, "service {service}: {choice}")?;
        }
        for route in &self.routes {
            writeln!(f, "{route}")?;
        }
        for diagnostic in &self.diagnostics {
            writeln!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}
