//! The origin of the desired state, and the control plane that follows it.

use std::{fmt, sync::Arc};

use lb_core::{Endpoint, EndpointState, RecordKey};
use lb_examples::testbed::Testbed;

use crate::{
    agent::Agent,
    engine::{Containers, Host},
    etcd::Etcd,
    etcd_support::server::binaries,
    support::engine::available,
    world::World,
};

/// A kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This program pushes its desired states to a control plane in the same process.
    Program,
    /// A file, followed by the agent as a process of its own.
    File,
    /// Keys of a real etcd.
    Etcd,
    /// The containers of a real engine.
    Docker,
}

/// A source in use.
pub(crate) enum Source {
    Program,
    File(Agent),
    Etcd(Box<Etcd>),
    Docker(Containers),
}

impl Kind {
    const ALL: [Self; 4] = [Self::Program, Self::File, Self::Etcd, Self::Docker];

    /// Those that are wanted and can be had here; says which cannot.
    pub(crate) fn wanted() -> Vec<Self> {
        let named = std::env::var("LB_CHAOS_SOURCES").ok();
        let wanted = |kind: &Self| {
            let kind = kind.to_string();
            named
                .as_ref()
                .is_none_or(|named| named.split_whitespace().any(|name| name == kind))
        };
        let can_be_had = |kind: &Self| match kind {
            Self::Program | Self::File => true,
            Self::Etcd => !binaries().is_empty(),
            Self::Docker => available(),
        };
        Self::ALL
            .into_iter()
            .filter(wanted)
            .filter(can_be_had)
            .collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Program => "program",
            Self::File => "file",
            Self::Etcd => "etcd",
            Self::Docker => "docker",
        })
    }
}

impl Source {
    pub(crate) fn start(kind: Kind, bed: &Testbed, host: Option<Arc<Host>>) -> Self {
        match kind {
            Kind::Program => Self::Program,
            Kind::File => Self::File(Agent::new(&bed.haproxy)),
            Kind::Etcd => Self::Etcd(Box::new(Etcd::start())),
            Kind::Docker => Self::Docker(Containers::new(host.unwrap())),
        }
    }

    /// Returns `true` if the control plane reports desired states by the revision of their write.
    pub(crate) fn tells_revisions(&self) -> bool {
        matches!(self, Self::Program | Self::Etcd(_))
    }

    /// The state that the source reports for it: a key of etcd is there or is not.
    pub(crate) fn tells(&self, state: EndpointState) -> EndpointState {
        match self {
            Self::Etcd(_) => EndpointState::Ready,
            _ => state,
        }
    }
}

impl World {
    /// Starts a control plane that knows nothing but the source and what it finds in HAProxy.
    pub(crate) async fn start_plane(&mut self) {
        match &mut self.source {
            Source::Program => drop(self.bed.start_plane().await.unwrap()),
            Source::File(agent) => agent.start(),
            Source::Etcd(etcd) => {
                let source = etcd.source();
                self.bed.start_plane_on(source).await.unwrap();
            }
            Source::Docker(containers) => {
                let source = containers.source();
                self.bed.start_plane_on(source).await.unwrap();
            }
        }
    }

    /// Ends the control plane wherever it is.
    pub(crate) async fn kill_plane(&mut self) {
        match &mut self.source {
            Source::File(agent) => agent.kill(),
            _ => self.bed.kill_plane().await,
        }
    }

    /// Desires these endpoints and for those keys no more, and tells the source; containers do that by themselves.
    pub(crate) async fn desire(&self, set: Vec<(RecordKey, Endpoint)>, remove: Vec<RecordKey>) {
        let desired = &self.bed.desired;
        match &self.source {
            // Without a control plane the desired state waits for the next one.
            Source::Program => drop(desired.change(set, remove)),
            Source::File(agent) => {
                let announced = desired.announce(set, remove);
                agent.write(&desired.endpoints());
                desired.written(announced, None);
            }
            Source::Etcd(etcd) => {
                let announced = desired.announce(set.clone(), remove.clone());
                let revision = etcd.write(&set, &remove).await;
                desired.written(announced, Some(revision));
            }
            Source::Docker(_) => desired.written(desired.announce(set, remove), None),
        }
    }
}
