//! A conversation with one member.

use std::{future::Future, sync::Arc, time::Duration};

use prost::Message;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tonic_prost::ProstCodec;

use super::{
    call::{self, Call},
    pulse::{Metered, Pulse},
    wire,
};
use crate::error::EtcdError;

/// A conversation with one member, authenticated where that is configured. Calls have deadlines; nothing is retried.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(super) channel: Channel,
    pub(super) endpoint: Arc<str>,
    pub(super) token: Option<MetadataValue<Ascii>>,
    pub(super) version: String,
    pub(super) request_timeout: Duration,
    pub(super) max_message_bytes: usize,
}

/// Both directions of a stream.
#[derive(Debug)]
pub(crate) struct Stream<Q, A> {
    requests: mpsc::Sender<Q>,
    answers: Streaming<A>,
    pulse: Pulse,
    call: Call,
    endpoint: Arc<str>,
}

/// The number of requests of a stream that the connection did not take yet.
const STREAM_REQUESTS: usize = 4;

impl Session {
    /// The most bytes that one answer may have.
    pub(crate) fn max_message_bytes(&self) -> usize {
        self.max_message_bytes
    }

    /// The member this is with.
    pub(crate) fn endpoint(&self) -> &Arc<str> {
        &self.endpoint
    }

    /// The member's release; empty where it did not say.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) async fn range(
        &self,
        request: wire::RangeRequest,
    ) -> Result<wire::RangeResponse, EtcdError> {
        self.unary(call::RANGE, request).await
    }

    pub(crate) async fn txn(
        &self,
        request: wire::TxnRequest,
    ) -> Result<wire::TxnResponse, EtcdError> {
        self.unary(call::TXN, request).await
    }

    pub(crate) async fn lease_grant(
        &self,
        ttl: i64,
    ) -> Result<wire::LeaseGrantResponse, EtcdError> {
        self.unary(call::LEASE_GRANT, wire::LeaseGrantRequest { ttl, id: 0 })
            .await
    }

    pub(crate) async fn lease_revoke(
        &self,
        id: i64,
    ) -> Result<wire::LeaseRevokeResponse, EtcdError> {
        self.unary(call::LEASE_REVOKE, wire::LeaseRevokeRequest { id })
            .await
    }

    pub(crate) async fn status(&self) -> Result<wire::StatusResponse, EtcdError> {
        self.unary(call::STATUS, wire::StatusRequest {}).await
    }

    pub(crate) async fn authenticate(
        &self,
        request: wire::AuthenticateRequest,
    ) -> Result<wire::AuthenticateResponse, EtcdError> {
        self.unary(call::AUTHENTICATE, request).await
    }

    /// Begins a watch stream. It fails, rather than stay silent, while the member has no leader.
    pub(crate) async fn watch(
        &self,
        create: wire::WatchCreateRequest,
    ) -> Result<Stream<wire::WatchRequest, wire::WatchResponse>, EtcdError> {
        let first = wire::WatchRequest {
            request_union: Some(wire::watch_request::RequestUnion::CreateRequest(create)),
        };
        self.stream(call::WATCH, first).await
    }

    /// The error that the end of a watch with this reason means.
    pub(crate) fn watch_cancelled(&self, reason: &str) -> EtcdError {
        let reason = if reason.is_empty() {
            "the member ended the watch"
        } else {
            reason
        };
        call::WATCH.failed_with(&self.endpoint, tonic::Code::Unknown, reason)
    }

    pub(crate) async fn lease_keep_alive(
        &self,
        id: i64,
    ) -> Result<Stream<wire::LeaseKeepAliveRequest, wire::LeaseKeepAliveResponse>, EtcdError> {
        self.stream(call::LEASE_KEEP_ALIVE, wire::LeaseKeepAliveRequest { id })
            .await
    }

    async fn unary<Q, A>(&self, call: Call, message: Q) -> Result<A, EtcdError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc();
        let request = self.request(message);
        let answer = self
            .in_time(call, async {
                grpc.ready()
                    .await
                    .map_err(|error| tonic::Status::unavailable(call::chain(&error)))?;
                let path = PathAndQuery::from_static(call.path);
                grpc.unary(request, path, ProstCodec::<Q, A>::default())
                    .await
            })
            .await?;
        Ok(answer.into_inner())
    }

    async fn stream<Q, A>(&self, call: Call, first: Q) -> Result<Stream<Q, A>, EtcdError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let (requests, receiver) = mpsc::channel(STREAM_REQUESTS);
        // The queue is new and has room.
        let sent = requests.try_send(first);
        debug_assert!(sent.is_ok());
        let mut request = self.request(ReceiverStream::new(receiver));
        request
            .metadata_mut()
            .insert("hasleader", MetadataValue::from_static("true"));
        let pulse = Pulse::default();
        let mut grpc = Grpc::new(Metered::new(self.channel.clone(), pulse.clone()))
            .max_decoding_message_size(self.max_message_bytes)
            .max_encoding_message_size(self.max_message_bytes);
        let answers = self
            .in_time(call, async {
                grpc.ready()
                    .await
                    .map_err(|error| tonic::Status::unavailable(call::chain(&error)))?;
                let path = PathAndQuery::from_static(call.path);
                grpc.streaming(request, path, ProstCodec::<Q, A>::default())
                    .await
            })
            .await?;
        Ok(Stream {
            requests,
            answers: answers.into_inner(),
            pulse,
            call,
            endpoint: Arc::clone(&self.endpoint),
        })
    }

    fn grpc(&self) -> Grpc<Channel> {
        Grpc::new(self.channel.clone())
            .max_decoding_message_size(self.max_message_bytes)
            .max_encoding_message_size(self.max_message_bytes)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    async fn in_time<T>(
        &self,
        call: Call,
        answer: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, EtcdError> {
        match timeout(self.request_timeout, answer).await {
            Ok(answer) => answer.map_err(|status| call.failed(&self.endpoint, &status)),
            Err(_) => Err(EtcdError::Silent {
                call: call.name,
                endpoint: Arc::clone(&self.endpoint),
                after: self.request_timeout,
            }),
        }
    }
}

impl<Q, A> Stream<Q, A> {
    /// Queues a request; while an earlier one waits to be sent, this one is not needed and left out.
    pub(crate) fn ask(&self, request: Q) {
        drop(self.requests.try_send(request));
    }

    /// Counts the bytes of its answers, also of one that is not whole yet.
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// The next answer. Waits without a bound of its own; cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<A, EtcdError> {
        match self.answers.message().await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(self.call.failed_with(
                &self.endpoint,
                tonic::Code::Unavailable,
                "the member ended the stream",
            )),
            Err(status) => Err(self.call.failed(&self.endpoint, &status)),
        }
    }
}
