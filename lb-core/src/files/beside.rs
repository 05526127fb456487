//! Runs what blocks on a file, for callers that have nothing to keep it in.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// So many operations on one path may be under way: several sources may share a file, and what hangs is not begun without
/// end.
const MOST: u8 = 4;

/// The number of operations that are under way, by path.
static RUNNING: Mutex<BTreeMap<PathBuf, u8>> = Mutex::new(BTreeMap::new());

/// One operation under way, until it is dropped.
struct Place(PathBuf);

impl Place {
    fn take(path: &Path) -> Option<Self> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let count = running.entry(path.to_owned()).or_default();
        (*count < MOST).then(|| {
            *count += 1;
            Self(path.to_owned())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.0);
            }
        }
    }
}

/// Runs an operation on a file beside the task, and waits for it at most `patience`.
///
/// One that hangs goes on and holds a thread. While four of one path do, no other of it is begun.
///
/// # Errors
/// The operation's own, and [`TimedOut`](io::ErrorKind::TimedOut) for one that hangs.
pub async fn beside<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    operation: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let hangs = |what: String| io::Error::new(io::ErrorKind::TimedOut, what);
    let Some(place) = Place::take(path) else {
        return Err(hangs(format!("{MOST} earlier operations on it hang")));
    };
    let running = tokio::task::spawn_blocking(move || operation(&place.0));
    match tokio::time::timeout(patience, running).await {
        Ok(ended) => ended.map_err(io::Error::other)?,
        Err(_) => Err(hangs(format!("no answer of the disk within {patience:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Condvar};

    use super::*;

    const SHORT: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(60);

    /// Operations wait for it until it is dropped, so that a test that fails ends too.
    #[derive(Default)]
    struct Gate(Arc<(Mutex<bool>, Condvar)>);

    impl Drop for Gate {
        fn drop(&mut self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_all();
        }
    }

    #[tokio::test]
    async fn case_h05_a_file_that_hangs_holds_few_threads_and_no_other_file() {
        let gate = Gate::default();
        let (stuck, other) = (Path::new("/a/stuck"), Path::new("/a/other"));
        for _ in 0..MOST {
            let gate = Arc::clone(&gate.0);
            let wait = move |_: &Path| {
                let open = gate.0.lock().unwrap();
                drop(gate.1.wait_while(open, |open| !*open).unwrap());
                Ok(())
            };
            let error = beside(stuck, SHORT, wait).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        let error = beside(stuck, LONG, |_| Ok(())).await.unwrap_err();
        assert!(error.to_string().contains("hang"), "{error}");
        assert!(beside(other, LONG, |_| Ok(())).await.is_ok());
        drop(gate);
        while beside(stuck, LONG, |_| Ok(())).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
