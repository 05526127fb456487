//! Counts the bytes of answers, so that a long answer is not taken for silence.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use http_body_util::BodyExt;
use tonic::{
    body::Body,
    codegen::{BoxFuture, Service, http},
    transport::{Channel, Error},
};

/// The number of bytes received so far. Cheap to clone; clones share the number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse {
    bytes: Arc<AtomicU64>,
}

/// A channel whose answers are counted as they come in.
#[derive(Debug, Clone)]
pub(crate) struct Metered {
    channel: Channel,
    pulse: Pulse,
}

impl Pulse {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Metered {
    pub(crate) fn new(channel: Channel, pulse: Pulse) -> Self {
        Self { channel, pulse }
    }
}

impl Service<http::Request<Body>> for Metered {
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = BoxFuture<Self::Response, Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.channel.call(request);
        let pulse = self.pulse.clone();
        Box::pin(async move {
            Ok(answer.await?.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    if let Some(data) = frame.data_ref() {
                        pulse.add(data.len());
                    }
                    frame
                }))
            }))
        })
    }
}
