//! Asks the running agent over its unix socket.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use lb::spec::{AgentSpec, Spec};
use tokio::net::UnixStream;

use crate::{
    cli::{AgentArgs, Common},
    failure::{Failure, chain},
};

/// The time an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// The most bytes of an answer.
const MAX_ANSWER: usize = 16 << 20;

/// Asks, and returns the answer's body when it is a good one.
pub(crate) async fn ask(
    common: &Common,
    args: &AgentArgs,
    method: Method,
    path: &str,
) -> Result<Bytes, Failure> {
    let socket = socket(common, args)?;
    match tokio::time::timeout(ANSWER, exchange(&socket, method, path)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(format!(
            "the agent at {} did not answer within {ANSWER:?}",
            socket.display()
        ))),
    }
}

/// The socket on which the agent listens. Without a configuration file that is the usual one.
fn socket(common: &Common, args: &AgentArgs) -> Result<PathBuf, Failure> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    match Spec::load(&common.config) {
        Ok(spec) => Ok(spec.agent.socket),
        Err(lb::spec::SpecError::Read { cause, .. })
            if matches!(
                cause.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied
            ) =>
        {
            Ok(AgentSpec::default().socket)
        }
        Err(error) => Err(Failure::new(format!(
            "{}\nan agent that was started before goes on as it was: name its socket with --socket",
            chain(&error)
        ))),
    }
}

async fn exchange(socket: &Path, method: Method, path: &str) -> Result<Bytes, Failure> {
    let shown = socket.display();
    let stream = UnixStream::connect(socket).await.map_err(|cause| match cause.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::new(format!(
            "no agent is running at {shown}; start one with lb-agent run, or name its socket with --socket"
        )),
        ErrorKind::PermissionDenied => Failure::new(format!(
            "{shown} belongs to another user: ask as the user that the agent runs as"
        )),
        _ => Failure::with(format!("the agent at {shown} cannot be reached"), cause),
    })?;
    let failed = |cause| Failure::with(format!("the agent at {shown} did not answer"), cause);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "lb-agent")
        .body(Empty::<Bytes>::new())
        .map_err(|cause| Failure::with(path, cause))?;
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| Failure::new(format!("the answer of the agent at {shown}: {error}")))?
        .to_bytes();
    connection.abort();
    if status.is_success() {
        return Ok(body);
    }
    let text = String::from_utf8_lossy(&body);
    Err(Failure::new(format!(
        "the agent answered {status}: {}",
        text.trim()
    )))
}
