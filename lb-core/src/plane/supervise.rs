//! The task of one source: attempt after attempt, with pauses between, and a bound on silence.

use std::{sync::Arc, time::Duration};

use super::shared::Shared;
use crate::{
    backoff::{Backoff, BackoffConfig, Jitter},
    chain::chain,
    engine::{AttemptEnd, EndKind, silence},
    merge::SourceId,
    source::{Admission, Descriptor, Protocol, Sink, Source, SourceError, Update, Violation},
    time::Time,
};

pub(super) struct Supervise {
    pub(super) shared: Arc<Shared>,
    pub(super) id: SourceId,
    pub(super) descriptor: Descriptor,
    pub(super) source: Box<dyn Source>,
    pub(super) backoff: BackoffConfig,
    pub(super) seed: u64,
    /// The most updates that wait for the engine.
    pub(super) queue: usize,
}

/// Why an attempt ended.
enum End {
    Returned(Result<(), SourceError>),
    Silent(Duration),
    Violated(Violation),
}

impl Supervise {
    /// Runs until the source has nothing more to say or is removed.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(self.backoff);
        let mut jitter = Jitter::new(self.seed);
        let mut protocol = Protocol::default();
        let mut resume = false;
        loop {
            let asked = protocol
                .applied()
                .filter(|_| resume && self.descriptor.resumable)
                .cloned();
            let began = self.shared.with(|engine, now| {
                engine.source_attempt(now, self.id);
                now
            });
            protocol.begin(asked);
            let end = self.attempt(&mut protocol).await;
            resume = !matches!(
                end,
                End::Violated(_) | End::Returned(Err(SourceError::CursorGone { .. }))
            );
            let now = self.shared.clock.now();
            if protocol.is_open() {
                backoff.attempt_was_healthy_for(now.since(began));
            }
            let (kind, why) = match &end {
                End::Returned(Err(SourceError::Closed(_))) => return,
                End::Returned(Err(error)) => (kind_of(error), chain(error)),
                End::Returned(Ok(())) => (EndKind::Passing, "the attempt ended".to_owned()),
                End::Silent(bound) => (EndKind::Passing, silence(*bound)),
                End::Violated(violation) => (EndKind::Failed, violation.to_string()),
            };
            if kind == EndKind::Ended {
                self.tell_end(kind, why, None);
                return;
            }
            // A lost cursor says that the source is well, so the listing follows at once; but only one.
            let relist = !resume && protocol.is_open() && matches!(end, End::Returned(_));
            let pause = match (relist, kind) {
                (true, _) if backoff.failures() == 0 => Duration::ZERO,
                (_, EndKind::Failed) => {
                    backoff.pause(&mut jitter);
                    jitter.between(self.backoff.max / 2, self.backoff.max)
                }
                _ => backoff.pause(&mut jitter),
            };
            let retry_at = now + pause;
            self.tell_end(kind, why, Some(retry_at));
            self.shared.clock.reach(Some(retry_at)).await;
        }
    }

    /// One attempt. Dropping its future drops the source's.
    async fn attempt(&mut self, protocol: &mut Protocol) -> End {
        let (sink, mut updates) = Sink::channel(self.queue);
        let resume = protocol.asked().cloned();
        let mut watch = self.source.watch(resume, &sink);
        let mut heard = self.shared.clock.now();
        let result = loop {
            let silent_at = self.descriptor.liveness.map(|bound| heard + bound);
            tokio::select! {
                biased;
                Some(update) = updates.recv() => {
                    heard = self.shared.clock.now();
                    if let Err(violation) = hand_over(&self.shared, self.id, protocol, update, heard) {
                        return End::Violated(violation);
                    }
                }
                result = &mut watch => break result,
                () = self.shared.clock.reach(silent_at) => {
                    return End::Silent(self.descriptor.liveness.unwrap_or_default());
                }
            }
        };
        // What was said before the end still counts.
        while let Ok(update) = updates.try_recv() {
            let now = self.shared.clock.now();
            if let Err(violation) = hand_over(&self.shared, self.id, protocol, update, now) {
                return End::Violated(violation);
            }
        }
        End::Returned(result)
    }

    fn tell_end(&self, kind: EndKind, why: String, retry_at: Option<Time>) {
        let end = AttemptEnd {
            why,
            kind,
            retry_at,
        };
        self.shared
            .with(|engine, now| engine.source_ended(now, self.id, end));
        self.shared.progressed();
    }
}

fn hand_over(
    shared: &Shared,
    id: SourceId,
    protocol: &mut Protocol,
    update: Update,
    received: Time,
) -> Result<(), Violation> {
    let admission = protocol.admit(&update)?;
    shared.with(|engine, now| match admission {
        Admission::Apply => engine.source_update(now, id, update, received),
        Admission::Outdated { at, applied } => engine.source_outdated(now, id, at, applied),
        Admission::Alive => engine.source_alive(now, id, received),
    });
    shared.progressed();
    Ok(())
}

fn kind_of(error: &SourceError) -> EndKind {
    match error {
        SourceError::Ended { .. } => EndKind::Ended,
        SourceError::Config { .. } | SourceError::Denied { .. } => EndKind::Failed,
        SourceError::Closed(_) | SourceError::CursorGone { .. } | SourceError::Transient { .. } => {
            EndKind::Passing
        }
    }
}
