//! Traefik: the rule's length is the priority where none is set, the greatest goes first, and the first router that matches
//! gets the request. Before that, unreserved characters of the path are decoded and `.`, `..` and doubled slashes resolved
//! ("Request Path" in its documentation); to match, all characters but reserved ones are decoded.

use lb_schemes::LabelScheme;

use super::{DOMAINS, PATHS, Rules, decode, routes_of};
use crate::random::Random;

struct Router {
    host: Option<&'static str>,
    path: Option<(&'static str, &'static str)>,
    priority: Option<usize>,
    service: usize,
}

pub(crate) fn rules(random: &mut Random) -> Rules {
    let count = 1 + random.below(12);
    let mut routers: Vec<Router> = (0..count)
        .map(|service| Router::random(random, service))
        .collect();
    let of = |router: &Router| routes_of(LabelScheme::Traefik, &router.labels(), router.service);
    let routes = routers.iter().flat_map(of).collect();
    // Of equal priorities Traefik says nothing: lb's order is taken.
    routers.sort_by(|one, other| of(one)[0].cmp_by_rank(&of(other)[0]));
    let written = routers
        .iter()
        .map(|its| format!("{:?} s{}", its.labels(), its.service))
        .collect();
    let answer = move |host: &str, path: &str| {
        let Some(path) = normal(path) else {
            return "400".to_owned();
        };
        let first = routers.iter().find(|router| router.matches(host, &path));
        first.map_or_else(|| "404".to_owned(), |router| format!("s{}", router.service))
    };
    Rules {
        routes,
        written,
        answer: Box::new(answer),
    }
}

/// A path as routers compare it.
fn normal(path: &str) -> Option<String> {
    let unreserved = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let path = decode(path, unreserved)?;
    // As Go's path.Clean, but that a slash at the end stays.
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut clean = format!("/{}", segments.join("/"));
    if path.ends_with('/') && !clean.ends_with('/') {
        clean.push('/');
    }
    decode(&clean, |c| !":/?#[]@!$&'()*+,;=%".contains(c))
}

impl Router {
    fn random(random: &mut Random, service: usize) -> Self {
        let host = random.one(&[&DOMAINS[..], &["*.c.d.e.f.g.example"]].concat());
        let path = random.one(&[&[""], &PATHS[..]].concat());
        let kind = match path.ends_with('/') {
            true => "PathPrefix",
            false => random.one(&["Path", "PathPrefix", "PathPrefix"]),
        };
        let mut router = Self {
            host: (!host.is_empty()).then_some(host),
            path: (!path.is_empty()).then_some((kind, path)),
            priority: None,
            service,
        };
        if router.host.is_none() && router.path.is_none() {
            router.path = Some(("PathPrefix", "/"));
        }
        if random.below(4) == 0 {
            router.priority = Some(1 + random.below(60));
        }
        router
    }

    fn labels(&self) -> Vec<(String, String)> {
        let (router, service) = ("traefik.http.routers.r", "traefik.http.services.s");
        let number = self.service;
        let mut labels = vec![
            (format!("{router}{number}.rule"), self.rule()),
            (
                format!("{service}{number}.loadbalancer.server.port"),
                "80".to_owned(),
            ),
        ];
        let priority = self
            .priority
            .map(|its| (format!("{router}{number}.priority"), its.to_string()));
        labels.extend(priority);
        labels
    }

    fn rule(&self) -> String {
        let host = self.host.map(|host| match host.strip_prefix("*.") {
            Some(domain) => format!("HostRegexp(`^.+\\.{}$`)", domain.replace('.', "\\.")),
            None => format!("Host(`{host}`)"),
        });
        let path = self.path.map(|(kind, path)| format!("{kind}(`{path}`)"));
        let both: Vec<String> = host.into_iter().chain(path).collect();
        both.join(" && ")
    }

    fn matches(&self, host: &str, path: &str) -> bool {
        let host_fits = match self.host {
            None => true,
            Some(own) => match own.strip_prefix('*') {
                Some(end) => {
                    host.len() > end.len() && host.ends_with(end) && !host.starts_with('.')
                }
                None => host == own,
            },
        };
        let path_fits = match self.path {
            None | Some(("PathPrefix", "/")) => true,
            Some(("Path", own)) => path == own,
            Some((_, own)) => path.starts_with(own),
        };
        host_fits && path_fits
    }
}
