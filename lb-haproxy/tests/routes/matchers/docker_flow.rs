//! docker-flow-proxy: `use_backend` of a service whose path (`path_beg` or `path` of the path as it was sent) and host match.
//! Services with a path below `/.well-known` go first, those with `/` last, the others by `aclName`, else by name.

use lb_schemes::LabelScheme;

use super::{DOMAINS, PATHS, Rules, routes_of};
use crate::random::Random;

struct Service {
    domain: Option<&'static str>,
    path: &'static str,
    exact: bool,
    service: usize,
    /// `aclName`, else the service's own name counts.
    acl: Option<String>,
    name: String,
}

pub(crate) fn rules(random: &mut Random) -> Rules {
    let count = 1 + random.below(12);
    let mut services: Vec<Service> = Vec::new();
    for service in 0..count {
        let drawn = Service::random(random, service);
        let same = |its: &Service| {
            (its.domain, its.path, its.exact) == (drawn.domain, drawn.path, drawn.exact)
        };
        if !services.iter().any(same) {
            services.push(drawn);
        }
    }
    services.sort_by_key(|its| its.acl.clone().unwrap_or_else(|| its.name.clone()));
    services.sort_by_key(|service| match service.path {
        path if path.starts_with("/.well-known") => 0,
        "/" => 2,
        _ => 1,
    });
    let of = |its: &Service| routes_of(LabelScheme::DockerFlow, &its.labels(), its.service);
    let routes = services.iter().flat_map(of).collect();
    let written = services
        .iter()
        .map(|its| format!("{:?} s{}", its.labels(), its.service))
        .collect();
    let answer = move |host: &str, path: &str| {
        let first = services.iter().find(|service| service.matches(host, path));
        first.map_or_else(
            || "404".to_owned(),
            |service| format!("s{}", service.service),
        )
    };
    Rules {
        routes,
        written,
        answer: Box::new(answer),
    }
}

impl Service {
    fn random(random: &mut Random, service: usize) -> Self {
        let domain = random.one(&DOMAINS);
        let path = random.one(&PATHS);
        Self {
            domain: (!domain.is_empty()).then_some(domain),
            path,
            exact: random.below(4) == 0 && (path == "/" || !path.ends_with('/')),
            service,
            acl: (random.below(2) == 0).then(|| name(random, service)),
            name: name(random, service),
        }
    }

    fn labels(&self) -> Vec<(String, String)> {
        let mut labels = vec![
            ("com.df.notify", "true".to_owned()),
            ("com.df.serviceName", self.name.clone()),
            ("com.df.port", "80".to_owned()),
            ("com.df.servicePath", self.path.to_owned()),
        ];
        if self.exact {
            labels.push(("com.df.pathType", "path".to_owned()));
        }
        labels.extend(self.acl.clone().map(|name| ("com.df.aclName", name)));
        labels.extend(
            self.domain
                .map(|domain| ("com.df.serviceDomain", domain.to_owned())),
        );
        labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    fn matches(&self, host: &str, path: &str) -> bool {
        let host_fits = match self.domain {
            None => true,
            Some(domain) => match domain.strip_prefix('*') {
                Some(end) => host.ends_with(end),
                None => host == domain,
            },
        };
        host_fits
            && match self.exact {
                true => path == self.path,
                false => path.starts_with(self.path),
            }
    }
}

/// A name that orders services in any way, and that no other one has.
fn name(random: &mut Random, service: usize) -> String {
    let first = random.one(&["a", "B", "b", "b-", "b.c", "1"]);
    format!("{first}-s{service}")
}
