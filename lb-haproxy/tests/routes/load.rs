//! Many requests while maps change.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use lb_core::Route;
use lb_haproxy::routes::{RouteMap, compile_http};
use tokio::time::timeout;

use crate::bed::*;

/// `count` hosts; those with an even number always lead to `s0`, the others to `odd`.
pub(crate) fn fleet(count: usize, odd: &str) -> RouteMap {
    let routes: Vec<Route> = (0..count)
        .map(|n| {
            let service = if n % 2 == 0 { "s0" } else { odd };
            route(
                &format!("h{n}.example"),
                &format!("/p{}", n % 7),
                service,
                0,
            )
        })
        .collect();
    compile_http(&routes, own_name).map
}

/// Users who ask for hosts of a fleet, all the time, and count.
pub(crate) struct Load {
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) asked: Arc<AtomicU64>,
    pub(crate) users: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    /// `right(n, answer)` says whether an answer for host `n` is right at any moment.
    pub(crate) fn start(
        http: SocketAddr,
        users: usize,
        request: impl Fn(usize) -> (String, String) + Clone + Send + 'static,
        right: impl Fn(usize, &str) -> bool + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU64::new(0));
        let users = (0..users)
            .map(|user| {
                let (stop, asked) = (stop.clone(), asked.clone());
                let (request, right) = (request.clone(), right.clone());
                tokio::spawn(async move {
                    let mut browser = Browser::connect(http).await;
                    let mut wrong = Vec::new();
                    let mut n = user * 1_237;
                    while !stop.load(Ordering::Relaxed) && wrong.len() < 10 {
                        n += 7_919;
                        let (host, path) = request(n);
                        let answer = browser.ask(&host, &path).await;
                        if !right(n, &answer) {
                            wrong.push(format!("{host}{path}: {answer}"));
                        }
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                    wrong
                })
            })
            .collect();
        Self { stop, asked, users }
    }

    /// Returns when so many more requests were answered.
    pub(crate) async fn go_on(&self, requests: u64) {
        let until = self.asked.load(Ordering::Relaxed) + requests;
        timeout(LONG, async {
            while self.asked.load(Ordering::Relaxed) < until
                && !self.users.iter().any(|user| user.is_finished())
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap();
    }

    /// Ends it; returns how many requests were answered, and which wrongly.
    pub(crate) async fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut wrong = Vec::new();
        for user in self.users {
            wrong.extend(timeout(LONG, user).await.unwrap().unwrap());
        }
        (self.asked.load(Ordering::Relaxed), wrong)
    }
}
