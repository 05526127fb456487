//! What the agent answers over HTTP.

use std::{path::PathBuf, sync::Arc};

use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue},
};
use lb_core::{Confirm, Handle, Name};
use serde_json::json;

use crate::{metrics, watch::Latencies};

/// The rights of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Everything.
    Owner,
    /// Look.
    Reader,
}

/// Answers questions about one control plane.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) handle: Handle,
    pub(crate) config: PathBuf,
    pub(crate) latencies: Arc<Latencies>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Page {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

/// The page of `/`, by which an agent is known.
pub(crate) const FIRST_PAGE: &str = "/metrics\n/status\n";

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Pages {
    pub(crate) fn answer(
        &self,
        rights: Rights,
        method: &Method,
        path: &str,
        query: Option<&str>,
    ) -> Page {
        match (method, path) {
            (&Method::GET, "/") => Page::new(StatusCode::OK, TEXT, FIRST_PAGE),
            (&Method::GET, "/metrics") => {
                let body = metrics::render(&self.handle.status(), &self.latencies);
                Page::new(StatusCode::OK, PROMETHEUS, body)
            }
            (&Method::GET, "/status") => Page::new(StatusCode::OK, JSON, self.status()),
            (&Method::POST, "/confirm") if rights == Rights::Owner => self.confirm(query),
            (_, "/" | "/metrics" | "/status" | "/confirm") => {
                Page::new(StatusCode::METHOD_NOT_ALLOWED, TEXT, "not allowed here\n")
            }
            _ => Page::new(StatusCode::NOT_FOUND, TEXT, "not found\n"),
        }
    }

    fn status(&self) -> String {
        let agent = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "config": self.config,
        });
        json!({ "agent": agent, "status": self.handle.status() }).to_string()
    }

    fn confirm(&self, query: Option<&str>) -> Page {
        let what = match query.unwrap_or_default().split_once('=') {
            None if query.is_none() => Confirm::All,
            Some(("service", name)) => match name.parse::<Name>() {
                Ok(name) => Confirm::Service(name),
                Err(error) => {
                    let body = format!("service: {error}\n");
                    return Page::new(StatusCode::BAD_REQUEST, TEXT, body);
                }
            },
            _ => {
                let body = "expected /confirm or /confirm?service=NAME\n";
                return Page::new(StatusCode::BAD_REQUEST, TEXT, body);
            }
        };
        let records = self.handle.confirm(&what);
        tracing::info!(?what, records, "removals confirmed");
        Page::new(
            StatusCode::OK,
            JSON,
            json!({ "records": records }).to_string(),
        )
    }
}

impl Page {
    fn new(status: StatusCode, kind: &'static str, body: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            body: body.into(),
        }
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let kind = HeaderValue::from_static(self.kind);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}
