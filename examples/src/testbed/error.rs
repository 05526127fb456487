//! What can go wrong around a test.

use std::io;

/// Why a testbed could not be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestbedError {
    /// The system refused something.
    #[error("cannot {what}")]
    Io {
        /// The operation that was tried.
        what: &'static str,
        /// The cause below.
        #[source]
        cause: io::Error,
    },
    /// The directory for temporary files has a name that cannot stand in HAProxy's configuration.
    #[error("HAProxy's configuration cannot name its socket")]
    Path(#[from] lb_haproxy::config::InvalidConfigValue),
    /// HAProxy's configuration could not be written down.
    #[error("HAProxy cannot be configured")]
    Config(#[from] lb_haproxy::config::ConfigError),
    /// HAProxy could not be started.
    #[error("HAProxy cannot be run")]
    Process(#[from] lb_haproxy::process::ProcessError),
    /// HAProxy's answer could not be read.
    #[error("HAProxy answered {answer:?}, expected a table of servers or connections")]
    Answer {
        /// Its answer.
        answer: String,
    },
    /// The control plane could not be put together.
    #[error("the control plane cannot be built")]
    Plane(#[from] lb_core::BuildError),
    /// HAProxy's socket has no usable path.
    #[error("HAProxy's socket cannot be used")]
    Socket(#[from] lb_haproxy::client::InvalidSocketAddress),
    /// The feed is closed, or no target can serve what was written.
    #[error("the desired state was not taken")]
    Feed(#[from] lb_core::WriteError),
    /// Something was waited for and did not come.
    #[error("waited {seconds} s for {what}; {state}")]
    Late {
        /// The state that was waited for.
        what: String,
        /// For how long.
        seconds: u64,
        /// The state of things.
        state: String,
    },
}

impl TestbedError {
    pub(super) fn io(what: &'static str, cause: io::Error) -> Self {
        Self::Io { what, cause }
    }
}
