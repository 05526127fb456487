//! Which of the few questions that a source asks are allowed: proxies before an engine's socket deny some.

use std::fmt;

use lb_core::SourceError;
use serde::Serialize;

use crate::{config::ConnectionConfig, engine::Engine, error::EngineError};

/// The outcome of one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EndpointTest {
    /// The question, such as `GET /events`.
    pub endpoint: &'static str,
    /// If `true`, only Swarm needs it.
    pub swarm_only: bool,
    /// The outcome of the question.
    pub outcome: EndpointOutcome,
}

/// The outcome of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndpointOutcome {
    /// It is answered.
    Allowed,
    /// The engine, or the proxy before it, forbids it.
    Denied,
    /// It failed for another reason.
    Failed(String),
}

impl fmt::Display for EndpointTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.endpoint)?;
        match &self.outcome {
            EndpointOutcome::Allowed => f.write_str("allowed"),
            EndpointOutcome::Denied => f.write_str("denied"),
            EndpointOutcome::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// Asks each question once. All are reads; nothing is ever written to an engine.
///
/// # Errors
/// [`SourceError::Config`] when `connection` means no engine, [`SourceError::Transient`] when its socket is not
/// there. A question that fails is no error but an outcome.
pub async fn self_test(connection: &ConnectionConfig) -> Result<Vec<EndpointTest>, SourceError> {
    let engine = Engine::new(connection)?;
    let mut tests = Vec::with_capacity(QUESTIONS.len());
    for (endpoint, path, swarm_only) in QUESTIONS {
        let outcome = match engine.answers(path).await {
            Ok(_) => EndpointOutcome::Allowed,
            // The container asked for does not exist: that it was looked for is the answer.
            Err(EngineError::NotFound { .. }) => EndpointOutcome::Allowed,
            Err(EngineError::Denied { .. }) => EndpointOutcome::Denied,
            Err(error) => EndpointOutcome::Failed(error.to_string()),
        };
        tests.push(EndpointTest {
            endpoint,
            swarm_only,
            outcome,
        });
    }
    Ok(tests)
}

const QUESTIONS: [(&str, &str, bool); 9] = [
    ("GET /_ping", "/_ping", false),
    ("GET /info", "/info", false),
    ("GET /containers/json", "/containers/json", false),
    (
        "GET /containers/{id}/json",
        "/containers/lb-self-test/json",
        false,
    ),
    ("GET /networks", "/networks", false),
    // In the past, so that the answer ends.
    ("GET /events", "/events?since=0&until=1", false),
    ("GET /services", "/services", true),
    ("GET /tasks", "/tasks", true),
    ("GET /nodes", "/nodes", true),
];
