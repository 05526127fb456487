//! The variables `VIRTUAL_HOST`, `VIRTUAL_PORT` and `VIRTUAL_PATH`, as nginx-proxy has them. Containers that name
//! the same host and path serve the same service.

use std::collections::BTreeMap;

use lb_core::{Name, PathMatch, RouteHost};

use super::{
    Complaints, Subject, Wish, Wishes,
    reader::{Port, Reader},
};

pub(super) fn wishes(subject: &Subject<'_>) -> Wishes {
    let variables: BTreeMap<String, String> = subject
        .env
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .cloned()
        .collect();
    let mut complaints = Complaints::new(subject.object);
    let mut labels = Reader::new(&variables, "VIRTUAL_");
    let Some(hosts) = labels.take("HOST") else {
        return Wishes::default();
    };
    let port = labels.port("PORT", &mut complaints);
    let path = match labels.take("PATH") {
        None => Some(PathMatch::any()),
        Some(text) => match text.parse::<PathMatch>() {
            Ok(path) => Some(path),
            Err(error) => {
                complaints.refuse("VIRTUAL_PATH", text, error.to_string());
                None
            }
        },
    };
    let protocol_fits = match labels.take("PROTO") {
        None | Some("http") => true,
        Some(other) => {
            complaints.refuse("VIRTUAL_PROTO", other, "expected http");
            false
        }
    };
    labels.finish(&mut complaints, |key| match key {
        "DEST" => "not honoured: paths are never rewritten",
        "HOST_MULTIPORTS" => "not supported, expected VIRTUAL_HOST and VIRTUAL_PORT",
        _ => "unknown variable, expected VIRTUAL_HOST, VIRTUAL_PORT or VIRTUAL_PATH",
    });
    let mut wishes = Vec::new();
    if let Some(path) = path
        && protocol_fits
        && port != Port::Invalid
    {
        for text in hosts
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
        {
            match text.parse::<RouteHost>() {
                Ok(host) => {
                    let name = match path == PathMatch::any() {
                        true => host.to_string(),
                        false => format!("{host}{path}"),
                    };
                    let mut wish = Wish::new(Name::from_text(&name));
                    wish.port = port.number();
                    wish.route(host, path.clone(), 0);
                    wishes.push(wish);
                }
                Err(error) => complaints.refuse("VIRTUAL_HOST", text, error.to_string()),
            }
        }
    }
    Wishes {
        wishes,
        complaints: complaints.into_inner(),
    }
}
