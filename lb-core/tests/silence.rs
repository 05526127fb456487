//! Silence of a source is noticed though the task that follows it is busy.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too, and measures real time"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lb_core::{
    ControlPlane, Cursor, Descriptor, Sink, Source, SourceError, Update, status::Health,
};

/// Keeps its thread busy until it is let go.
struct Busy {
    free: Arc<AtomicBool>,
    /// The update it reports then.
    says: Update,
}

#[async_trait]
impl Source for Busy {
    fn describe(&self) -> Descriptor {
        Descriptor::new("busy".parse().unwrap(), "fake").with_liveness(Duration::from_millis(200))
    }

    async fn watch(&mut self, _resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        let at = Cursor::new("e", 1);
        let records = Vec::new();
        sink.send(Update::Reset { at, records }).await?;
        // What was sent is taken in before this goes on.
        tokio::task::yield_now().await;
        let begun = Instant::now();
        while !self.free.load(Ordering::Relaxed) && begun.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(5));
        }
        loop {
            sink.send(self.says.clone()).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The time anything here may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The one who asks is on no thread of the runtime: one that is busy may keep all of it from being told of time.
#[test]
fn case_h04_a_source_that_is_busy_is_not_shown_as_live() {
    let progress = |revision| Update::Progress {
        at: Cursor::new("e", revision),
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    // The second proves nothing but that it lives: it is older than what was said.
    for says in [progress(1), progress(0)] {
        let free = Arc::new(AtomicBool::new(false));
        let busy = Busy {
            free: Arc::clone(&free),
            says,
        };
        let plane = ControlPlane::builder().source(busy).build().unwrap();
        let running = runtime.block_on(async { plane.spawn() });
        let handle = running.handle();
        let until = |what: &str, so: fn(&Health) -> bool| {
            let began = Instant::now();
            while !so(&handle.status().sources[0].health) {
                assert!(began.elapsed() < LIMIT, "never: {what}");
                thread::sleep(Duration::from_millis(5));
            }
        };
        until("live", Health::is_live);
        until(
            "stale",
            |health| matches!(health, Health::Stale { why, .. } if why.contains("silent")),
        );
        free.store(true, Ordering::Relaxed);
        until("live again", Health::is_live);
        assert_eq!(
            handle.status().sources[0].attempts,
            1,
            "what it did meanwhile is not thrown away"
        );
        runtime.block_on(running.shutdown());
    }
}
