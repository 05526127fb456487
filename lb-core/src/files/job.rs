//! Runs what blocks beside the task that needs it.

use std::{io, time::Duration};

use tokio::task::JoinHandle;

/// At most one blocking operation at a time, such as all writes of one target. A disk that hangs holds up nothing else, and
/// holds one thread only, however often the operation is asked for.
#[derive(Debug)]
pub struct Job<T> {
    running: Option<JoinHandle<T>>,
}

impl<T> Default for Job<T> {
    fn default() -> Self {
        Self { running: None }
    }
}

impl<T: Send + 'static> Job<T> {
    /// Returns `true` if an operation is under way whose result was not taken.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Begins an operation, unless one is under way. [`result`](Self::result) has what becomes of it.
    pub fn begin(&mut self, operation: impl FnOnce() -> T + Send + 'static) {
        if self.running.is_none() {
            self.running = Some(tokio::task::spawn_blocking(operation));
        }
    }

    /// The result of what is under way, waited for at most `patience`. `None`: it goes on, or nothing is under way.
    pub async fn result(&mut self, patience: Duration) -> Option<io::Result<T>> {
        let running = self.running.as_mut()?;
        let result = tokio::time::timeout(patience, running).await.ok()?;
        self.running = None;
        Some(result.map_err(io::Error::other))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn case_h05_what_hangs_is_not_begun_again_and_its_result_is_not_lost() {
        let (go_on, wait) = mpsc::channel::<()>();
        let mut job = Job::default();
        job.begin(move || wait.recv().is_ok());
        for _ in 0..3 {
            assert!(job.result(Duration::from_millis(5)).await.is_none());
            job.begin(|| false);
            assert!(job.is_running());
        }
        go_on.send(()).unwrap();
        assert!(job.result(Duration::from_secs(60)).await.unwrap().unwrap());
        assert!(!job.is_running());
    }
}
