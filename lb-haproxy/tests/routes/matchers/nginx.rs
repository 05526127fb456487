//! nginx-proxy: a server for each host, a location for each path. nginx takes the server of the whole name, else of the
//! longest `*.domain`; of its locations `= /path`, else the longest that the path begins with. It compares the path with all
//! codes decoded, doubled slashes merged, `.` and `..` resolved.

use lb_schemes::LabelScheme;

use super::{Rules, decode, routes_of};
use crate::random::Random;

struct Container {
    /// `.domain` is a domain and what is below it.
    host: &'static str,
    path: &'static str,
    service: usize,
}

pub(crate) fn rules(random: &mut Random) -> Rules {
    let count = 1 + random.below(8);
    let mut containers: Vec<Container> = Vec::new();
    let mut add = |host, path, service| {
        let same = |its: &Container| {
            its.path == path && servers(its.host).any(|its| servers(host).any(|own| its == own))
        };
        if !containers.iter().any(same) {
            containers.push(Container {
                host,
                path,
                service,
            });
        }
    };
    for service in 0..count {
        let (host, path) = Container::random(random);
        add(host, path, service);
    }
    let of = |its: &Container| routes_of(LabelScheme::VirtualHost, &its.variables(), its.service);
    let routes = containers.iter().flat_map(of).collect();
    let written = containers
        .iter()
        .map(|its| format!("{:?} s{}", its.variables(), its.service))
        .collect();
    let answer = move |host: &str, path: &str| {
        let Some(path) = normal(path) else {
            return "400".to_owned();
        };
        let fits = |name: &String| match name.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => host == name,
        };
        let names = containers.iter().flat_map(|its| servers(its.host));
        let rank = |name: &String| (!name.starts_with('*'), name.len());
        let Some(server) = names.filter(fits).max_by_key(rank) else {
            return "404".to_owned();
        };
        let own = containers
            .iter()
            .filter(|its| servers(its.host).any(|name| name == server));
        let location = own
            .filter(|its| match its.path.strip_prefix('=') {
                Some(exact) => path == exact,
                None => path.starts_with(its.path),
            })
            .max_by_key(|its| (its.path.starts_with('='), its.path.len()));
        location.map_or_else(|| "404".to_owned(), |its| format!("s{}", its.service))
    };
    Rules {
        routes,
        written,
        answer: Box::new(answer),
    }
}

/// The names of the servers of a host.
fn servers(host: &str) -> impl Iterator<Item = String> {
    match host.strip_prefix('.') {
        Some(domain) => vec![domain.to_owned(), format!("*.{domain}")],
        None => vec![host.to_owned()],
    }
    .into_iter()
}

/// A path as locations compare it; none where nginx answers 400.
fn normal(path: &str) -> Option<String> {
    let path = decode(path, |_| true)?;
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()?),
            segment => segments.push(segment),
        }
    }
    let ends = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    let slash = if ends && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    Some(format!("/{}{slash}", segments.join("/")))
}

impl Container {
    fn random(random: &mut Random) -> (&'static str, &'static str) {
        let host = random.one(&[
            "shop.example",
            "shop.example",
            "b.example",
            "*.example",
            ".shop.example",
            "a.b.c.d.e.f.g.example",
        ]);
        let path = random.one(&[
            "/", "/api", "/api/v1", "/ap", "=/api", "=/x", "/a/b/c", "/x", "/a:b",
        ]);
        (host, path)
    }

    fn variables(&self) -> Vec<(String, String)> {
        vec![
            ("VIRTUAL_HOST".to_owned(), self.host.to_owned()),
            ("VIRTUAL_PATH".to_owned(), self.path.to_owned()),
        ]
    }
}
