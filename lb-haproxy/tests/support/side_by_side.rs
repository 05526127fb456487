//! Several versions at the same time: for tests that wait more than they work.

use lb_haproxy::process::Executable;

/// Runs a test on all versions at the same time.
pub(crate) async fn side_by_side<F: Future<Output = ()>>(
    executables: Vec<Executable>,
    run: impl Fn(Executable) -> F,
) {
    let mut runs: Vec<_> = executables
        .into_iter()
        .map(|executable| Box::pin(run(executable)))
        .collect();
    std::future::poll_fn(|context| {
        runs.retain_mut(|run| run.as_mut().poll(context).is_pending());
        match runs.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}
