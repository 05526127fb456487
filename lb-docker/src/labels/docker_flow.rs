//! `com.df.*`: the labels of docker-flow-proxy and its Swarm listener.
//!
//! A path counts as a prefix that ends on a segment border; docker-flow-proxy's own `path_beg` also matched
//! inside a segment.

use lb_core::{Mode, Name, PathMatch, RouteHost};

use super::{
    Complaints, Subject, Wish, Wishes,
    reader::{Port, Reader},
};
use crate::config::Spread;

pub(super) const PREFIX: &str = "com.df.";

pub(super) fn wishes(subject: &Subject<'_>) -> Wishes {
    let mut complaints = Complaints::new(subject.object);
    let mut labels = Reader::new(subject.labels, PREFIX);
    if labels.is_empty() {
        return Wishes::default();
    }
    match labels.flag("notify", &mut complaints) {
        Some(true) => {}
        Some(false) => return Wishes::default(),
        None => {
            complaints.warn(
                &labels.full("notify"),
                "",
                "not set, expected true: the other com.df labels count only then",
            );
            return Wishes {
                wishes: Vec::new(),
                complaints: complaints.into_inner(),
            };
        }
    }
    // Every target gets every service, however many there are: these hold without doing anything.
    labels.take("distribute");
    labels.take("replicas");
    let service = service(subject, &mut labels, &mut complaints);
    let network = labels.take("scrapeNetwork").map(str::to_owned);
    let spread = match labels.take("discoveryType") {
        Some("DNS") => Some(Spread::Tasks),
        Some(other) if !other.eq_ignore_ascii_case("vip") => {
            complaints.warn(&labels.full("discoveryType"), other, "expected DNS");
            None
        }
        _ => None,
    };
    let default_backend = labels.flag("isDefaultBackend", &mut complaints) == Some(true);

    let mut wishes: Vec<Wish> = Vec::new();
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
        let Some(mut wish) = destination(&service, &suffix, &mut labels, &mut complaints) else {
            break;
        };
        wish.network.clone_from(&network);
        wish.spread = spread;
        // Destinations of one port are one service with the routes of both.
        match wishes.iter_mut().find(|other| other.port == wish.port) {
            Some(other) => {
                for route in wish.routes {
                    other.route(route.host, route.path, route.priority);
                }
            }
            None => {
                if !wishes.is_empty() {
                    let name = Name::from_text(&format!("{service}-{index}"));
                    wish = wish.renamed(name);
                }
                wishes.push(wish);
            }
        }
    }
    if default_backend && let Some(first) = wishes.first_mut() {
        first.route(RouteHost::Any, PathMatch::any(), -1);
    }
    labels.finish(&mut complaints, why_not);
    Wishes {
        wishes,
        complaints: complaints.into_inner(),
    }
}

fn service(
    subject: &Subject<'_>,
    labels: &mut Reader<'_>,
    complaints: &mut Complaints<'_>,
) -> Name {
    if let Some(text) = labels.take("serviceName") {
        return Name::from_text(text);
    }
    let short = labels.flag("shortName", complaints) == Some(true);
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
    complaints: &mut Complaints<'_>,
) -> Option<Wish> {
    let key = |name: &str| format!("{name}{suffix}");
    let mut wish = Wish::new(service.clone());
    let port = labels.port(&key("port"), complaints);
    let paths = labels.take(&key("servicePath"));
    let domains = labels.take(&key("serviceDomain"));
    wish.mode = match labels.take(&key("reqMode")) {
        None | Some("http") => Mode::Http,
        Some("tcp" | "sni") => Mode::Tcp,
        Some(other) => {
            complaints.refuse(
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
            complaints.refuse(
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
        complaints.warn(
            &labels.full(&key("serviceDomainAlgo")),
            algorithm,
            "hosts are compared as a whole, or below *.",
        );
    }
    if port == Port::Invalid {
        return None;
    }
    wish.port = port.number();

    let mut hosts: Vec<RouteHost> = Vec::new();
    for domain in split(domains) {
        match domain.parse() {
            Ok(host) => hosts.push(host),
            Err(error) => complaints.warn(
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
                complaints.warn(&labels.full(&key("servicePath")), path, error.to_string());
            }
        }
    }
    // A list of which nothing could be read must not widen to every host or path.
    let unreadable =
        (domains.is_some() && hosts.is_empty()) || (paths.is_some() && found.is_empty());
    if unreadable || (domains.is_none() && paths.is_none()) {
        return Some(wish);
    }
    if hosts.is_empty() {
        hosts.push(RouteHost::Any);
    }
    if found.is_empty() {
        found.push(PathMatch::any());
    }
    if hosts.len().saturating_mul(found.len()) > MAX_ROUTES {
        complaints.warn(
            &labels.full(&key("serviceDomain")),
            domains.unwrap_or_default(),
            format!("with every path these are more than {MAX_ROUTES} routes, none is used"),
        );
        return Some(wish);
    }
    for host in &hosts {
        for path in &found {
            wish.route(host.clone(), path.clone(), 0);
        }
    }
    Some(wish)
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
