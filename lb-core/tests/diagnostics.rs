//! A source that reports thousands of diagnostics costs the others next to nothing.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and measures real time"
)]

use std::time::{Duration, Instant};

use async_trait::async_trait;
use lb_core::{
    ControlPlane, Cursor, Descriptor, Diagnostic, Event, Severity, Sink, Source, SourceError,
    Update,
};

/// The number of diagnostics.
const MANY: usize = 5000;

/// Reports many diagnostics, one after the other.
struct Loud;

#[async_trait]
impl Source for Loud {
    fn describe(&self) -> Descriptor {
        Descriptor::new("loud".parse().unwrap(), "fake")
    }

    async fn watch(&mut self, _resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        let at = Cursor::new("e", 1);
        let records = Vec::new();
        sink.send(Update::Reset { at, records }).await?;
        for number in 0..MANY {
            let diagnostic = Diagnostic {
                object: format!("object {number}"),
                field: None,
                value: None,
                message: "of no use".to_owned(),
                severity: Severity::Warning,
            };
            sink.send(Update::Diagnostic(diagnostic)).await?;
        }
        let at = Cursor::new("e", 2);
        sink.send(Update::Progress { at }).await?;
        std::future::pending().await
    }
}

#[tokio::test]
async fn case_h04_conditions_are_not_taken_anew_for_each_diagnostic() {
    let builder = ControlPlane::builder().source(Loud);
    let plane = builder.event_capacity(4 * MANY).build().unwrap();
    let running = plane.spawn();
    let handle = running.handle();
    // Nothing has run so far.
    let mut events = handle.subscribe();
    let begun = Instant::now();
    let last = format!("object {}", MANY - 1);
    let is_told = || {
        let status = handle.status();
        let mut conditions = status.conditions.iter();
        conditions.any(|one| one.object.as_deref() == Some(last.as_str()))
    };
    while !is_told() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never told");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    running.shutdown().await;
    let mut began = 0;
    while let Some(stamped) = events.try_next() {
        began += usize::from(matches!(stamped.event, Event::ConditionBegan { .. }));
    }
    assert!((1..MANY / 2).contains(&began), "{began} conditions began");
}
