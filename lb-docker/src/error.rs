//! Why an engine did not answer as hoped.

use std::{io, time::Duration};

use lb_core::SourceError;

use crate::connection::AddressError;

/// Why one question to an engine failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The answer is not what the engine's API says.
    #[error("{endpoint}: the answer cannot be read")]
    Answer {
        /// The endpoint that was asked.
        endpoint: String,
        /// The problem of the answer.
        #[source]
        cause: serde_json::Error,
    },
    /// The engine, or a proxy before it, does not let us ask this.
    #[error("{endpoint} is denied by the engine or by the proxy before it: {message}")]
    Denied {
        /// The endpoint that was asked.
        endpoint: String,
        /// The message of the engine.
        message: String,
    },
    /// The connection failed. Likely causes: the engine is down or starting; or its socket file was mounted
    /// by itself into this container, and the engine has made a new one since.
    #[error("{endpoint}: no connection to {engine}{hint}")]
    Link {
        /// The endpoint that was asked.
        endpoint: String,
        /// The address of the engine.
        engine: String,
        /// The hint, with its separator in front; may be empty.
        hint: &'static str,
        /// The cause below.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such object.
    #[error("{endpoint}: not found")]
    NotFound {
        /// The endpoint that was asked.
        endpoint: String,
    },
    /// The engine refused with a status of its own.
    #[error("{endpoint}: the engine answers {status}: {message}")]
    Refused {
        /// The endpoint that was asked.
        endpoint: String,
        /// HTTP's status.
        status: u16,
        /// The message of the engine.
        message: String,
    },
    /// There is no engine to ask: the configuration or the environment is wrong.
    #[error("{what}")]
    Settings {
        /// The problem, naming field, value and expectation.
        what: String,
    },
    /// The answer is larger than what is read of one.
    #[error("{endpoint}: the answer is larger than {most}, expected no more")]
    TooLarge {
        /// The endpoint that was asked.
        endpoint: String,
        /// The most that is read.
        most: String,
    },
    /// No answer in time: the engine hangs, or the link is silent.
    #[error("{endpoint}: no answer within {limit:?}")]
    Timeout {
        /// The endpoint that was asked.
        endpoint: String,
        /// The time that was waited.
        limit: Duration,
    },
}

impl EngineError {
    pub(crate) fn new(
        endpoint: &str,
        engine: &str,
        limit: Duration,
        cause: bollard::errors::Error,
    ) -> Self {
        use bollard::errors::Error;
        let endpoint = endpoint.to_owned();
        match cause {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => match status_code {
                401 | 403 => Self::Denied { endpoint, message },
                404 => Self::NotFound { endpoint },
                status => Self::Refused {
                    endpoint,
                    status,
                    message,
                },
            },
            Error::RequestTimeoutError => Self::Timeout { endpoint, limit },
            cause => Self::Link {
                endpoint,
                engine: engine.to_owned(),
                hint: match engine.starts_with("unix:") && is_refused(&cause) {
                    true => {
                        "; if the engine runs, its socket file was made anew: mount the folder of the socket, not the file"
                    }
                    false => "",
                },
                cause: cause.into(),
            },
        }
    }

    /// Returns `true` if one object alone may be why there is no answer that can be read: asking for others is of use.
    pub(crate) fn is_of_the_object(&self) -> bool {
        self.is_late() || matches!(self, Self::Answer { .. } | Self::TooLarge { .. })
    }

    /// Returns `true` if no answer came in time.
    pub(crate) fn is_late(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// Returns `true` if there is no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

impl From<AddressError> for EngineError {
    fn from(error: AddressError) -> Self {
        Self::Settings {
            what: error.to_string(),
        }
    }
}

impl From<EngineError> for SourceError {
    fn from(error: EngineError) -> Self {
        let what = error.to_string();
        match error {
            EngineError::Denied { .. } => Self::denied(what),
            EngineError::Settings { .. } => Self::config(what),
            EngineError::Answer { cause, .. } => Self::transient_from(what, cause),
            EngineError::Link { cause, .. } => Self::transient_from(what, cause),
            EngineError::NotFound { .. }
            | EngineError::Refused { .. }
            | EngineError::TooLarge { .. }
            | EngineError::Timeout { .. } => Self::transient(what),
        }
    }
}

/// The text of an error, with the causes below.
pub(crate) fn chain(error: &EngineError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn is_refused(error: &bollard::errors::Error) -> bool {
    if matches!(error, bollard::errors::Error::SocketNotFoundError(_)) {
        return true;
    }
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            );
        }
        next = error.source();
    }
    false
}
