//! Docker and Docker Swarm as sources of the lb load-balancer control plane.
//!
//! [`DockerSource`] follows the containers of one engine; [`SwarmSource`] follows the services of a Swarm through
//! one of its managers. Both only read: ping, info, containers, networks and events, and for Swarm services, tasks
//! and nodes. [`self_test`] says which of these a proxy before the engine denies.
//!
//! ```no_run
//! use lb_docker::{ComposeService, ConnectionConfig, DockerConfig, DockerSource};
//!
//! // The replicas of the compose service `echo`, with no label at all.
//! let mut config = DockerConfig::default();
//! config.connection = ConnectionConfig::at("unix:///var/run/docker.sock");
//! config.services = vec![ComposeService::new("echo")];
//! let source = DockerSource::new(config);
//! ```
//!
//! # What becomes of a container or task
//!
//! | it | its endpoint is |
//! |---|---|
//! | runs, and its health check (if it has one) passes | ready |
//! | is known but does not serve yet: health `starting`, a Swarm task on its way | pending |
//! | was told to stop (SIGTERM or its own stop signal), or Swarm decided that it goes | draining, for as long as it may take |
//! | is unhealthy or paused | draining, until it is well again |
//! | died | down at once, then gone |
//!
//! Swarm decides about three seconds before a task gets its signal, and gives addresses before a task runs: drains
//! and new endpoints are known that early. What the connected node's own engine says of a task's container counts
//! before the managers' word where it is worse: it comes up to two seconds sooner.
//!
//! A compose replica keeps its identity (project, service, number) when its container is made anew. Containers of
//! `docker compose run` are left out unless [`DockerConfig::one_off`] says otherwise.
//!
//! # Labels
//!
//! On a container, or on a Swarm service (`deploy.labels` in a stack file). Any of these makes it an endpoint.
//!
//! | label | value | without it |
//! |---|---|---|
//! | `lb.service` | the service's name | `PROJECT-SERVICE` under compose, the Swarm service's name, else the container's name |
//! | `lb.port` | the container's port | the only TCP port that it exposes (Swarm: publishes); several are an error that lists them |
//! | `lb.routes` | routes, separated by commas or spaces: `shop.example/api`, `*.example`, `*/static` for every host, `shop.example=/exact`; `/static` alone is refused, as an unset variable leaves it behind | no route |
//! | `lb.weight` | 0 to 256 | 100 |
//! | `lb.network` | the network to use, by name (with or without the project's prefix) or id | see below |
//! | `lb.check` | the port of the target's own health check | the endpoint's port |
//! | `lb.drain` | how long requests in flight may take when it leaves: `30s` | its stop timeout, else 10 s (Swarm: its stop grace period and 3 s) |
//! | `lb.enable` | `false`, or what is no value: the object is left out; `true` is needed with `exposed_by_default = false` | read |
//! | `lb.strip` | `true`: the path prefix of each route is taken off | passed on as it is |
//! | `lb.redirect_https` | `true`: requests without TLS are redirected to https | served |
//! | `lb.tcp` | `true`: TCP rather than HTTP; hosts of routes are then server names of TLS | HTTP |
//! | `lb.exclusive` | `true`: at most one endpoint of the service gets traffic at any moment, as for the primary of a database | `false` |
//! | `lb.on_down` | `shutdown_sessions`: sessions to a container that died are shut down at once; `keep`: they end by themselves | `keep` |
//! | `lb.spread` | Swarm only: `tasks`, `vip` (the service's virtual address) or `nodes` (ingress ports) | [`SwarmConfig::spread`] |
//!
//! One container can serve several services: `lb.2.service`, `lb.2.port` and so on. A path prefix ends on a segment
//! border, unless it is written `shop.example^/api`. The label `lb.address` on a Swarm node gives the address where it can be reached, if Swarm's own is none.
//!
//! Other schemes are read by choice ([`LabelScheme`]); of an object that carries several, the first one listed counts.
//!
//! | scheme | is read from |
//! |---|---|
//! | `docker-flow` | labels `com.df.*` of docker-flow-proxy |
//! | `easy-haproxy` | labels `easyhaproxy.*` |
//! | `traefik` | labels `traefik.*`: HTTP and TCP routers and services |
//! | `virtual-host` | the variables `VIRTUAL_HOST` and those beside it, of nginx-proxy |
//!
//! `SCHEMES.md` of the crate `lb-schemes` says of each key whether it is honoured, reported or withheld. A route whose
//! labels restrict who may reach it, in a way that lb cannot, answers 503 unless `allow_unprotected` names the key.
//! The options `projects`, `constraints`, `networks` and `exposed_by_default` narrow what is read.
//!
//! Every key under a claimed prefix that is unknown, not valid or cannot be honoured gives a diagnostic that names
//! object and key, and the value where it can be no secret, and disturbs no other object. A label of a Swarm service that was valid before and is broken
//! by hand keeps its last good form.
//!
//! # Which address
//!
//! [`ReachConfig`] says from where. From the engine's machine: the first network by name that leads there, then a
//! published port; never an overlay network, to which the host has no route. From a container: the first shared
//! network by name. From elsewhere: published ports. `lb.network` goes before all of these, and is never replaced by
//! a guess. [`DockerSource::explain`] and [`SwarmSource::explain`] show every candidate and why it was taken or
//! refused.
//!
//! # Layout
//! - `config`, `connection`: what a user says; which engine is meant
//! - `api`, `container`, `refresh`: the engine's answers and events; `swarm`: the managers' answers
//! - the crate `lb-schemes` reads labels; `address`: which address, and why
//! - `translate`, `book`: facts to records, and what of them was told already
//! - `pieces`, `budget`: an answer's objects, one after the other, each within a bound, and all together
//! - `engine`, `surroundings`, `surveyor`, `container_reader`, `readings`, `liveness`, `self_test`, `tell`: the edge
//! - `container_source` and `container_watch`, `swarm_source`: what the crate offers
//!
//! # Features
//! - `ssh` (default): engines reached over ssh; needs the `ssh` program at run time
//! - `tls` (default): engines reached over TCP with TLS
//! - `fuzzing`: for the fuzz targets: translations that are no part of what the crate offers

#![forbid(unsafe_code)]

mod address;
mod api;
mod book;
#[cfg(test)]
mod book_tests;
mod budget;
#[cfg(test)]
mod case_tests;
mod config;
mod connection;
mod container;
mod container_reader;
mod container_source;
mod container_watch;
mod contest;
mod duration;
mod engine;
mod error;
mod explain;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod labels;
mod liveness;
mod middlewares;
mod moment;
mod names;
mod narrow;
mod pieces;
mod proportions;
mod readings;
mod refresh;
mod self_test;
mod shared_hosts;
mod surroundings;
mod surveyor;
mod swarm;
mod swarm_source;
mod tell;
mod told;
mod translate;
mod unread;

pub use address::{AddressChoice, Candidate};
pub use config::{
    ComposeService, ConnectionConfig, DockerConfig, Family, LabelScheme, ReachConfig, ReachFrom,
    Spread, SwarmConfig,
};
pub use container_source::DockerSource;
pub use explain::{ExplainedRoute, Explanation, RouteOutcome};
pub use self_test::{EndpointOutcome, EndpointTest, self_test};
pub use swarm_source::SwarmSource;
