//! `com.df.*`: the labels of docker-flow-proxy and its Swarm listener.
//!
//! A path counts as a prefix that ends on a segment border; docker-flow-proxy's own `path_beg` also matched
//! inside a segment.

use lb_core::{Mode, Name, PathMatch, RouteHost};

use crate::Spread;
use crate::{
    Diagnostics, Options, Reading, ServiceSpec, Subject,
    labels::{Port, Reader},
};

pub(crate) const PREFIX: &str = "com.df.";

pub(crate) fn read(_options: &Options, subject: &Subject<'_>) -> Reading {
    let mut diagnostics = Diagnostics::new(subject.object);
    let mut labels = Reader::new(subject.labels, PREFIX);
    if labels.is_empty() {
        return Reading::default();
    }
    match labels.flag("notify", &mut diagnostics) {
        Some(true) => {}
        Some(false) => return Reading::default(),
        None => {
            diagnostics.warn(
                &labels.full("notify"),
                "",
                "not set, expected true: the other com.df labels count only then",
            );
            return Reading {
                services: Vec::new(),
                diagnostics: diagnostics.into_inner(),
                ..Reading::default()
            };
        }
    }
    // Every target gets every service, however many there are: these hold without doing anything.
    labels.take("distribute");
    labels.take("replicas");
    let service = service(subject, &mut labels, &mut diagnostics);
    let network = labels.take("scrapeNetwork").map(str::to_owned);
    let spread = match labels.take("discoveryType") {
        Some("DNS") => Some(Spread::Tasks),
        Some(other) if !other.eq_ignore_ascii_case("vip") => {
            diagnostics.warn(&labels.full("discoveryType"), other, "expected DNS");
            None
        }
        _ => None,
    };
    let default_backend = labels.flag("isDefaultBackend", &mut diagnostics) == Some(true);

    let mut services: Vec<ServiceSpec> = Vec::new();
    for index in 0..=MAX_INDEX {
        let suffix = match index {
            0 => String::new(),
            _ => format!(".{index}"),
        };
        let keys = labels.keys();
        let present = ["port", "servicePath", "serviceDomain"]
            .iter()
            .any(|key| keys.contains(&format!("{key}{suffix}").as_str()));
        if !present {
            match index {
                0 => continue,
                _ => break,
            }
        }
        let Some(mut spec) = destination(&service, &suffix, &mut labels, &mut diagnostics) else {
            break;
        };
        spec.network.clone_from(&network);
        spec.spread = spread;
        // Destinations of one port are one service with the routes of both.
        match services.iter_mut().find(|other| other.port == spec.port) {
            Some(other) => {
                for route in spec.routes {
                    other.route(route.host, route.path, route.priority);
                }
            }
            None => {
                if !services.is_empty() {
                    let name = Name::from_text(&format!("{service}-{index}"));
                    spec = spec.renamed(name);
                }
                services.push(spec);
            }
        }
    }
    if default_backend && let Some(first) = services.first_mut() {
        first.route(RouteHost::Any, PathMatch::any(), -1);
    }
    labels.finish(&mut diagnostics, why_not);
    Reading {
        services,
        diagnostics: diagnostics.into_inner(),
        ..Reading::default()
    }
}

fn service(
    subject: &Subject<'_>,
    labels: &mut Reader<'_>,
    diagnostics: &mut Diagnostics<'_>,
) -> Name {
    if let Some(text) = labels.take("serviceName") {
        return Name::from_text(text);
    }
    let short = labels.flag("shortName", diagnostics) == Some(true);
    match subject.stack {
        Some(stack) if short => Name::from_text(
            subject
                .name
                .strip_prefix(stack)
                .and_then(|rest| rest.strip_prefix('_'))
                .unwrap_or(subject.name),
        ),
        _ => subject.default_service(),
    }
}

/// The destination with this suffix; none when it is not valid, which also ends the row of indexes.
fn destination(
    service: &Name,
    suffix: &str,
    labels: &mut Reader<'_>,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<ServiceSpec> {
    let key = |name: &str| format!("{name}{suffix}");
    let mut spec = ServiceSpec::new(service.clone());
    let port = labels.port(&key("port"), diagnostics);
    let paths = labels.take(&key("servicePath"));
    let domains = labels.take(&key("serviceDomain"));
    spec.mode = match labels.take(&key("reqMode")) {
        None | Some("http") => Mode::Http,
        Some("tcp" | "sni") => Mode::Tcp,
        Some(other) => {
            diagnostics.refuse(
                &labels.full(&key("reqMode")),
                other,
                "expected http, tcp or sni",
            );
            return None;
        }
    };
    let exact = match labels.take(&key("pathType")) {
        None | Some("path_beg" | "path_dir") => false,
        Some("path") => true,
        Some(other) => {
            diagnostics.refuse(
                &labels.full(&key("pathType")),
                other,
                "expected path_beg, path_dir or path",
            );
            return None;
        }
    };
    if let Some(algorithm) = labels.take(&key("serviceDomainAlgo"))
        && !matches!(algorithm, "hdr(host)" | "hdr_beg(host)" | "req.ssl_sni")
    {
        diagnostics.warn(
            &labels.full(&key("serviceDomainAlgo")),
            algorithm,
            "hosts are compared as a whole, or below *.",
        );
    }
    if port == Port::Invalid {
        return None;
    }
    spec.port = port.number();

    let mut hosts: Vec<RouteHost> = Vec::new();
    for domain in split(domains) {
        match domain.parse() {
            Ok(host) => hosts.push(host),
            Err(error) => diagnostics.warn(
                &labels.full(&key("serviceDomain")),
                domain,
                error.to_string(),
            ),
        }
    }
    let mut found: Vec<PathMatch> = Vec::new();
    for path in split(paths) {
        let written = if exact {
            format!("={path}")
        } else {
            path.to_owned()
        };
        match written.parse() {
            Ok(path) => found.push(path),
            Err(error) => {
                diagnostics.warn(&labels.full(&key("servicePath")), path, error.to_string());
            }
        }
    }
    // A list of which nothing could be read must not widen to every host or path.
    let unreadable =
        (domains.is_some() && hosts.is_empty()) || (paths.is_some() && found.is_empty());
    if unreadable || (domains.is_none() && paths.is_none()) {
        return Some(spec);
    }
    if hosts.is_empty() {
        hosts.push(RouteHost::Any);
    }
    if found.is_empty() {
        found.push(PathMatch::any());
    }
    if hosts.len().saturating_mul(found.len()) > MAX_ROUTES {
        diagnostics.warn(
            &labels.full(&key("serviceDomain")),
            domains.unwrap_or_default(),
            format!("with every path these are more than {MAX_ROUTES} routes, none is used"),
        );
        return Some(spec);
    }
    for host in &hosts {
        for path in &found {
            spec.route(host.clone(), path.clone(), 0);
        }
    }
    Some(spec)
}

fn split(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn why_not(key: &str) -> &'static str {
    let base = key.split('.').next().unwrap_or(key);
    match base {
        "reqMode"
        | "sessionType"
        | "checkTcp"
        | "clitcpka"
        | "balanceGroup"
        | "serviceGroup"
        | "connectionMode"
        | "compressionAlgo"
        | "compressionType"
        | "timeoutServer"
        | "timeoutTunnel"
        | "timeoutClient"
        | "sslVerifyNone"
        | "verifyClientSsl"
        | "checkResolvers"
        | "addReqHeader"
        | "setReqHeader"
        | "delReqHeader"
        | "addResHeader"
        | "setResHeader"
        | "delResHeader"
        | "users"
        | "usersSecret"
        | "usersPassEncrypted"
        | "redirectWhenHttpProto"
        | "redirectUnlessHttpsProto"
        | "srcPort"
        | "srcHttpsPort"
        | "httpsPort" => "not honoured: it needs HAProxy's own configuration and a reload",
        "backendExtra" | "templateBePath" | "templateFePath" | "userDef" => {
            "not supported: raw configuration is never taken from labels"
        }
        "addHeader"
        | "setHeader"
        | "serviceDomainMatchAll"
        | "reqPathSearch"
        | "reqPathReplace"
        | "reqRepSearch"
        | "reqRepReplace" => "not supported: deprecated",
        "servicePathExclude"
        | "serviceHeader"
        | "userAgent"
        | "allowedMethods"
        | "deniedMethods"
        | "httpsOnly"
        | "httpsRedirectCode"
        | "denyHttp"
        | "ignoreAuthorization"
        | "serviceCert"
        | "reqPathSearchReplace"
        | "redirectFromDomain"
        | "outboundHostname"
        | "aclName"
        | "pathType"
        | "serviceDomainAlgo"
        | "proxyInstanceName"
        | "notifyService" => "not honoured: routes here are a host and a path",
        "port" | "servicePath" | "serviceDomain" => {
            "not used: indexes count from 1 without a gap up to 10, and stop at the first that is not valid"
        }
        _ => "unknown label",
    }
}

const MAX_INDEX: u8 = 10;
const MAX_ROUTES: usize = 1024;
