//! How a testbed's HAProxy treats its traffic.

use std::{net::SocketAddr, time::Duration};

use lb_core::{Mode, Name};
use lb_haproxy::{
    config::{Backend, Balance, Bind, Config, Frontend, HashOn, Slots, StickyCookie},
    policy::HttpReuse,
    proto::Version,
};

use crate::traffic::{Protocol, Speaks, USER_HEADER};

/// The shape of all services' traffic in HAProxy. By default that of its configuration generator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// The server connections that are used again.
    pub http_reuse: HttpReuse,
    /// The protocol of users and endpoints.
    pub protocol: Protocol,
    /// If `true`, a cookie keeps users with their endpoint.
    pub cookie: bool,
    /// If `true`, a hash of the user (in TCP mode, of the client's address) chooses the endpoint.
    pub hash: bool,
    /// The time a client's connection may idle.
    pub keep_alive: Option<Duration>,
}

impl Shape {
    /// The protocol of endpoints.
    #[must_use]
    pub(super) fn speaks(&self) -> Speaks {
        match self.protocol {
            Protocol::Http1 | Protocol::Http2 => Speaks::Http,
            Protocol::Raw => Speaks::Raw,
        }
    }

    /// Writes a service into a configuration.
    pub(super) fn add(
        &self,
        config: &mut Config,
        service: &Name,
        address: SocketAddr,
        slots: Slots,
        version: &Version,
    ) {
        let mode = match self.protocol {
            Protocol::Http1 | Protocol::Http2 => Mode::Http,
            Protocol::Raw => Mode::Tcp,
        };
        if let Some(time) = self.keep_alive {
            config.defaults.http_keep_alive = time;
        }
        let bind = match self.protocol {
            Protocol::Http2 => Bind::Http2(address),
            Protocol::Http1 | Protocol::Raw => Bind::Tcp(address),
        };
        let name = Name::from_text(&format!("{service}-in"));
        let mut frontend = Frontend::new(name, bind);
        frontend.mode = mode;
        frontend.default_backend = Some(service.clone());
        config.frontends.push(frontend);
        let mut backend = Backend::new(service.clone(), slots);
        backend.mode = mode;
        backend.http_reuse = self.http_reuse;
        if self.hash {
            let on = match USER_HEADER.parse() {
                Ok(header) if mode == Mode::Http => HashOn::Header(header),
                _ => HashOn::Source,
            };
            backend.balance = Balance::Hash {
                on,
                by_address: version.at_least(3, 0),
            };
        }
        if self.cookie
            && let (Ok(name), Ok(key)) = ("SRV".parse(), "key".parse())
        {
            backend.cookie = Some(StickyCookie::new(name, key));
        }
        config.backends.push(backend);
    }
}
