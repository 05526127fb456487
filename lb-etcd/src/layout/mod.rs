//! Meanings of keys and values: pure functions from changes of keys to changes of records.
//!
//! # Layouts
//! Each well-known layout, as it is configured, with keys and what they come to. A key that restricts who may reach a
//! route and that lb cannot honour withholds the route: its requests are answered with 503, never by a wider route.
//! The value of such a key is never shown.
//!
//! `LAYOUTS.md` of this crate has a table of each layout: what is honoured, reported and withheld.
//!
//! ## `confd`
//! ```
//! # use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
//! # fn view(config: &str) -> View { View::new(Layout::new(&[serde_json::from_str(config).unwrap()]).unwrap()) }
//! let mut view = view(r#"{ "confd": { "prefix": "/proxy" } }"#);
//! let step = view.apply([Change::put("/proxy/frontend/web1", "192.0.2.1:9000")]);
//! assert_eq!(step.set[0].key.to_string(), "frontend/web1");
//! ```
//!
//! ## `lb`
//! ```
//! # use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
//! # fn view(config: &str) -> View { View::new(Layout::new(&[serde_json::from_str(config).unwrap()]).unwrap()) }
//! let mut view = view(r#"{ "lb": {} }"#);
//! let step = view.apply([
//!     Change::put("/lb/endpoints/shop/1", r#"{ "address": "192.0.2.1:80", "weight": 20 }"#),
//!     Change::put("/lb/routes/shop", r#"{ "service": "shop", "host": "shop.example" }"#),
//! ]);
//! assert_eq!(step.set[0].endpoint.as_ref().unwrap().weight.get(), 20);
//! assert_eq!(step.set[1].routes[0].host.to_string(), "shop.example");
//! ```
//!
//! ## `patroni`
//! ```
//! # use lb_core::EndpointState;
//! # use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
//! # fn view(config: &str) -> View { View::new(Layout::new(&[serde_json::from_str(config).unwrap()]).unwrap()) }
//! let mut view = view(r#"{ "patroni": { "prefix": "/service" } }"#);
//! let member = |host: &str, role: &str| {
//!     format!(r#"{{ "conn_url": "postgres://{host}:5432/postgres", "role": "{role}", "state": "running" }}"#)
//! };
//! view.apply([
//!     Change::put("/service/main/leader", "pg1"),
//!     Change::put("/service/main/members/pg1", member("192.0.2.1", "primary")),
//!     Change::put("/service/main/members/pg2", member("192.0.2.2", "replica")),
//! ]);
//! let endpoints: Vec<_> = view.records().into_iter().filter(|record| record.endpoint.is_some()).collect();
//! assert_eq!(endpoints[0].key.to_string(), "main/pg1");
//! assert_eq!(endpoints[0].options.exclusive, Some(true));
//! assert_eq!(endpoints[1].key.to_string(), "main-replica/pg2");
//!
//! // The lock goes to another member: the old primary is out before the new one is in.
//! let step = view.apply([Change::put("/service/main/leader", "pg2")]);
//! assert_eq!(step.set[0].endpoint.as_ref().unwrap().state, EndpointState::Down);
//! ```
//!
//! ## `registrator`
//! ```
//! # use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
//! # fn view(config: &str) -> View { View::new(Layout::new(&[serde_json::from_str(config).unwrap()]).unwrap()) }
//! let mut view = view(r#"{ "registrator": { "prefix": "/services" } }"#);
//! let step = view.apply([Change::put("/services/web/host1:web-1:80", "192.0.2.1:32768")]);
//! assert_eq!(step.set[0].key.to_string(), "web/host1:web-1:80");
//! ```
//!
//! ## `skydns`
//! ```
//! # use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
//! # fn view(config: &str) -> View { View::new(Layout::new(&[serde_json::from_str(config).unwrap()]).unwrap()) }
//! let mut view = view(r#"{ "skydns": { "port": 80 } }"#);
//! let step = view.apply([Change::put("/skydns/local/cluster/x1", r#"{ "host": "192.0.2.1" }"#)]);
//! assert_eq!(step.set[0].key.to_string(), "cluster.local/x1");
//! assert_eq!(step.set[0].endpoint.as_ref().unwrap().address.port(), 80);
//! ```
//!
//! ## `traefik`
//! ```
//! # use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
//! # fn view(config: &str) -> View { View::new(Layout::new(&[serde_json::from_str(config).unwrap()]).unwrap()) }
//! let mut view = view(r#"{ "traefik": {} }"#);
//! let step = view.apply([
//!     Change::put("traefik/http/routers/shop/rule", "Host(`shop.example`)"),
//!     Change::put("traefik/http/routers/shop/service", "shop"),
//!     Change::put("traefik/http/services/shop/loadbalancer/servers/0/url", "http://192.0.2.1:8080"),
//! ]);
//! assert_eq!(step.set[0].key.to_string(), "shop/0");
//! assert_eq!(step.set[1].routes[0].host.to_string(), "shop.example");
//! ```
//!
//! ## `vulcand`
//! ```
//! # use lb_core::model::withheld;
//! # use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
//! # fn view(config: &str) -> View { View::new(Layout::new(&[serde_json::from_str(config).unwrap()]).unwrap()) }
//! let mut view = view(r#"{ "vulcand": {} }"#);
//! let frontend = r#"{ "BackendId": "b1", "Route": "Host(`shop.example`) && PathRegexp(`/.*`)" }"#;
//! let step = view.apply([
//!     Change::put("/vulcand/backends/b1/servers/srv1", r#"{ "URL": "http://192.0.2.1:5000" }"#),
//!     Change::put("/vulcand/frontends/f1/frontend", frontend),
//! ]);
//! assert_eq!(step.set[1].routes[0].host.to_string(), "shop.example");
//! let step = view.apply([Change::put("/vulcand/frontends/f1/middlewares/auth1", "{}")]);
//! assert_eq!(step.set[0].routes[0].service, withheld());
//! ```
//!
//! ## Rules of your own
//! The host of a route may be in its key, and one kind of key may belong to several services:
//! ```
//! # use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
//! # fn view(config: &str) -> View { View::new(Layout::new(&[serde_json::from_str(config).unwrap()]).unwrap()) }
//! let mut view = view(r#"{ "rules": [
//!     { "pattern": "/vhosts/{host}", "value": "service_name" },
//!     { "pattern": "/nodes/{endpoint}", "value": { "json": { "url": "/url" } }, "service": "blue", "only_if": { "/color": "blue" } },
//!     { "pattern": "/nodes/{endpoint}", "value": { "json": { "url": "/url" } }, "service": "green", "only_if": { "/color": "green" } }
//! ] }"#);
//! let step = view.apply([
//!     Change::put("/vhosts/shop.example", "green"),
//!     Change::put("/nodes/n1", r#"{ "url": "http://192.0.2.1:80", "color": "green" }"#),
//! ]);
//! assert_eq!(step.set[0].key.to_string(), "green/n1");
//! assert_eq!(step.set[1].routes[0].host.to_string(), "shop.example");
//! ```

mod config;
mod fact;
mod fields;
mod object;
mod own;
// It reads and writes the page; all else here decides and does neither.
#[cfg(test)]
#[path = "../layout_page.rs"]
mod page;
mod patroni;
mod pattern;
mod preset;
mod protection;
mod rules;
mod scalar;
mod traefik;
mod view;
mod vulcand;

pub use config::{LayoutConfig, RuleConfig, ValueKind};
pub use lb_schemes::{EntryPoint, EntryPoints, Unprotected};
pub use object::JsonFields;
pub use pattern::InvalidPattern;
pub use rules::{InvalidLayout, Layout};
pub use view::{Change, Step, View};
