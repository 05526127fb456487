//! The combinations. In each, endpoints change every 0.2 s and then in bursts while all users go on: nothing is lost,
//! nothing is misrouted, nothing is reloaded.

use std::time::Duration;

use lb_examples::{
    testbed::{Options, Shape},
    traffic::{Connections, Protocol},
};
use lb_haproxy::policy::HttpReuse;

use crate::world::{World, judge, over_versions};

/// The number of requests each combination makes at least on each version.
const REQUESTS: u64 = 2_000;

/// The time a client's connection may idle where slots rest that long.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

async fn under_changes(
    test: &str,
    connections: Connections,
    adjust: impl Fn(&mut Options) + Copy + Send + Sync,
) {
    over_versions(test, async |executable, seed| {
        let mut world = World::with(executable, seed, adjust).await;
        let users = world.users_with(40, connections);
        world.changes(6, Duration::from_millis(200)).await;
        for _ in 0..3 {
            world.changes(60, Duration::from_millis(1)).await;
            world.settle().await;
        }
        while users.progress().begun < REQUESTS && !users.is_over() {
            world.changes(2, Duration::from_millis(200)).await;
        }
        world.settle().await;
        judge(users, REQUESTS).await;
        assert_eq!(world.reloads(), 0);
    })
    .await;
}

fn shape(shape: &Shape) -> impl Fn(&mut Options) + Copy + Send + Sync {
    move |options: &mut Options| {
        options.shape = shape.clone();
        options.policy.http_reuse = shape.http_reuse;
        options.policy.persistence = shape.cookie;
        if shape.http_reuse == HttpReuse::Never {
            // Slots rest as long as a client may idle, so more of them are needed.
            options.shape.keep_alive = Some(KEEP_ALIVE);
            options.policy.keep_alive_timeout = KEEP_ALIVE;
            options.slots = 256;
        }
    }
}

macro_rules! combination {
    ($name:ident, $connections:ident, $shape:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let wanted: Shape = $shape;
            under_changes(stringify!($name), Connections::$connections, shape(&wanted)).await;
        }
    };
}

fn speaking(protocol: Protocol, http_reuse: HttpReuse) -> Shape {
    Shape {
        http_reuse,
        protocol,
        ..Shape::default()
    }
}

combination!(
    i1_http1_kept_with_reuse_never,
    Kept,
    speaking(Protocol::Http1, HttpReuse::Never)
);
combination!(
    i1_http1_kept_with_reuse_safe,
    Kept,
    speaking(Protocol::Http1, HttpReuse::Safe)
);
combination!(
    i1_http1_kept_with_reuse_always,
    Kept,
    speaking(Protocol::Http1, HttpReuse::Always)
);
combination!(
    i1_http2_with_reuse_never,
    Kept,
    speaking(Protocol::Http2, HttpReuse::Never)
);
combination!(
    i1_http2_with_reuse_safe,
    Kept,
    speaking(Protocol::Http2, HttpReuse::Safe)
);
combination!(
    i1_http2_with_reuse_always,
    Kept,
    speaking(Protocol::Http2, HttpReuse::Always)
);
combination!(i1_tcp, PerRequest, speaking(Protocol::Raw, HttpReuse::Safe));
combination!(
    i1_consistent_hash,
    Mixed,
    Shape {
        hash: true,
        ..Shape::default()
    }
);
combination!(
    i1_sticky_cookies,
    Mixed,
    Shape {
        cookie: true,
        ..Shape::default()
    }
);
