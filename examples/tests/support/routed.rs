//! A configuration of HAProxy that looks requests up in a route map, for services without a backend of their own.

use std::{net::SocketAddr, path::Path};

use lb_core::Name;
use lb_haproxy::config::{Backend, Bind, Config, Frontend, Slots};

/// A frontend of HTTP at `frontend` and 16 spare backends, with all files in `folder`.
pub(crate) fn configuration(folder: &Path, frontend: SocketAddr) -> Config {
    let at = |file: &str| folder.join(file).display().to_string();
    for file in ["lb-routes.map", "lb-services.map", "state"] {
        std::fs::write(at(file), "").unwrap();
    }
    let mut config = Config::new(at("admin.sock").parse().unwrap());
    config.service_map = Some(at("lb-services.map").parse().unwrap());
    config.global.server_state_file = Some(at("state").parse().unwrap());
    let mut http = Frontend::new(Name::from_text("http"), Bind::Tcp(frontend));
    http.route_map = Some(at("lb-routes.map").parse().unwrap());
    config.frontends.push(http);
    for number in 1..=16 {
        let slots = Slots::new(Name::from_text("slot"), 2);
        config.backends.push(Backend::new(
            Name::from_text(&format!("spare-http-{number}")),
            slots,
        ));
    }
    config
}
