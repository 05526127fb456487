//! Docker and Docker Swarm as sources of the lb load-balancer control plane.

#![forbid(unsafe_code)]

mod address;
mod api;
mod book;
mod config;
mod connection;
mod container;
mod container_source;
mod duration;
mod engine;
mod error;
mod explain;
mod labels;
mod moment;
mod refresh;
mod self_test;
mod surroundings;
mod surveyor;
mod swarm;
mod swarm_source;
mod translate;

pub use address::{AddressChoice, Candidate};
pub use config::{
    ComposeService, ConnectionConfig, DockerConfig, Family, LabelScheme, ReachConfig, ReachFrom,
    Spread, SwarmConfig,
};
pub use container_source::DockerSource;
pub use error::EngineError;
pub use explain::Explanation;
pub use self_test::{EndpointOutcome, EndpointTest, self_test};
pub use swarm_source::SwarmSource;
