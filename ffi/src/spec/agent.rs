//! What only the daemon needs to know.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Settings of `lb-agent` itself. A program that embeds the control plane has no use for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AgentSpec {
    /// The hosts that requests to `metrics` may name in their `Host`, besides addresses and names without a dot; `"*"` for all.
    /// Others are refused: a page of the web could ask in its reader's name. Default: none.
    pub hosts: Vec<String>,
    /// The level and the form of the log.
    pub log: LogSpec,
    /// The address that serves metrics and status over HTTP, such as `127.0.0.1:9469`. Default: none.
    pub metrics: Option<SocketAddr>,
    /// The unix socket on which `lb-agent status` and `lb-agent confirm` find the daemon; only its own user may
    /// connect. Default `/run/lb/agent.sock`.
    pub socket: PathBuf,
}

impl Default for AgentSpec {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            log: LogSpec::default(),
            metrics: None,
            socket: PathBuf::from("/run/lb/agent.sock"),
        }
    }
}

/// The level and the form of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LogSpec {
    /// The form of a line. Default `text`.
    pub format: LogFormat,
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`; for one module also `info,lb_haproxy=debug`.
    /// Default `info`.
    pub level: String,
}

impl Default for LogSpec {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            level: "info".to_owned(),
        }
    }
}

/// The form of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// For people.
    #[default]
    Text,
}
