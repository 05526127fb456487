//! What a process prints, the end of it kept.

use std::{
    io::Read,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// The end of what a pipe gives, read by a thread of its own until the pipe ends.
#[derive(Debug, Clone)]
pub(super) struct Captured {
    kept: Arc<Mutex<Vec<u8>>>,
    thread: Arc<thread::JoinHandle<()>>,
}

impl Captured {
    /// The most bytes kept.
    const LIMIT: usize = 64 << 10;

    pub(super) fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&kept);
        // Without the thread a process that prints much would stand still. It ends with the pipe.
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = pipe.read(&mut buffer) {
                let mut kept = own.lock().unwrap_or_else(PoisonError::into_inner);
                match buffer.get(..count) {
                    Some(bytes) if count > 0 => kept.extend_from_slice(bytes),
                    _ => return,
                }
                if kept.len() > Self::LIMIT {
                    let surplus = kept.len() - Self::LIMIT / 2;
                    kept.drain(..surplus);
                }
            }
        });
        Self {
            kept,
            thread: Arc::new(thread),
        }
    }

    /// Waits for the end of the pipe, at most this long.
    pub(super) async fn ended(&self, limit: Duration) {
        let step = Duration::from_millis(1);
        for _ in 0..limit.as_millis() {
            if self.thread.is_finished() {
                return;
            }
            tokio::time::sleep(step).await;
        }
    }

    pub(super) fn text(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}
