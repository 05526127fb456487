//! The threads of a runtime that wait for files.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    time::Duration,
};

use tokio::runtime::Runtime;

/// The number of jobs beyond those that may wait at once.
const MORE: usize = 36;
/// The most time that a job takes to begin on a loaded machine.
const LONG: Duration = Duration::from_secs(60);
/// The time in which a job that must not begin would have begun.
const SHORT: Duration = Duration::from_millis(500);

/// Checks that exactly `most` jobs that block wait at once on a runtime, that its tasks go on meanwhile, and that the other
/// jobs begin when those end.
///
/// # Errors
/// The first of these that does not hold.
pub fn waiting_threads(runtime: &Runtime, most: usize) -> Result<(), String> {
    let (begun, first) = mpsc::channel();
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    for _ in 0..most + MORE {
        let (begun, gate) = (begun.clone(), Arc::clone(&gate));
        runtime.spawn_blocking(move || {
            // The receiver is gone when the check has failed.
            let _gone = begun.send(());
            let open = gate.0.lock().unwrap_or_else(PoisonError::into_inner);
            drop(gate.1.wait_while(open, |open| !*open));
        });
    }
    let begin = |count, within| (0..count).all(|_| first.recv_timeout(within).is_ok());
    let enough = begin(most, LONG);
    let more = begin(1, SHORT);
    let works = runtime.block_on(async { tokio::spawn(async { 7 }).await });
    // Before anything is reported: a job that hangs would keep the runtime from its end.
    *gate.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    gate.1.notify_all();
    if !enough {
        return Err(format!("fewer than {most} jobs wait"));
    }
    if more {
        return Err(format!("more than {most} jobs wait"));
    }
    if !works.is_ok_and(|seven| seven == 7) {
        return Err("no task runs while jobs wait".to_owned());
    }
    match begin(MORE, LONG) {
        true => Ok(()),
        false => Err("a job that had no thread gets none when others end".to_owned()),
    }
}
