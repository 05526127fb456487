//! Threads for what floods. They give way to all others, as other machines would.

use rustix::process::nice;
use tokio::runtime::{Builder, Handle, Runtime};

/// By how much what floods gives way: as much as there is.
const NICE: i32 = 19;

/// A runtime whose threads give way, and the processes that they start with them.
pub(super) struct Aside(Option<Runtime>);

impl Aside {
    pub(super) fn start() -> Self {
        let mut builder = Builder::new_multi_thread();
        // The priority of a thread, which its children inherit.
        let builder = builder.on_thread_start(|| {
            nice(NICE).unwrap();
        });
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        Self(Some(runtime))
    }

    pub(super) fn handle(&self) -> &Handle {
        self.0.as_ref().unwrap().handle()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
