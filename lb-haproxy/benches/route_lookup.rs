//! What a request pays for being routed by a map, by the number of routes. `cargo bench -p lb-haproxy --bench route_lookup`
//!
//! Every line compares in one run, request by request in turn, so that a busy machine weighs on all alike.

#![expect(clippy::unwrap_used, reason = "a benchmark may end in a panic")]
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, that is what it is for"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use lb_core::Route;
use lb_haproxy::{
    capability::Capabilities,
    driver::converge_map,
    process::Executable,
    proto::MapName,
    routes::{compile_http, fallback_backends, http_route_lines},
};
use support::{Place, executables, free_port};

const REQUESTS: usize = 3_000;

/// Name of the case, host and path of its requests.
const CASES: [(&str, &str, &str); 4] = [
    ("exact host, first lookup", "h7.example", "/p7/x"),
    ("wildcard, after 2 lookups", "x.w7.example", "/"),
    ("any host, after 4 lookups", "x.y.other", "/fallback"),
    ("unknown, after 8 lookups", "1.2.3.4.5.6.unknown", "/"),
];

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for executable in executables() {
        runtime.block_on(measure(&executable));
    }
}

async fn measure(executable: &Executable) {
    let version = executable.version().await.unwrap();
    let capabilities = Capabilities::of(version.major().into(), version.minor().into());
    let place = Place::new("");
    let dir = place.dir.path();
    let sizes = [10, 10_000];
    let maps = sizes.map(|size| -> MapName {
        let file = dir.join(format!("routes-{size}.map"));
        file.to_str().unwrap().parse().unwrap()
    });
    let mut config = format!(
        "global\n  stats socket {}/admin.sock level admin mode 600\n\
         defaults\n  mode http\n  timeout client 60s\n  timeout server 5s\n  timeout connect 1s\n",
        dir.display()
    );
    let bare: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    writeln!(config, "frontend bare\n  bind {bare}\n  default_backend s0").unwrap();
    let mut fronts = vec![bare];
    for (size, map) in sizes.iter().zip(&maps) {
        let front: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        writeln!(config, "frontend f{size}\n  bind {front}").unwrap();
        for line in http_route_lines(map).unwrap() {
            writeln!(config, "  {line}").unwrap();
        }
        fronts.push(front);
        std::fs::write(map.as_str(), "").unwrap();
    }
    for line in fallback_backends(None).unwrap() {
        writeln!(config, "{line}").unwrap();
    }
    config.push_str("backend s0\n  http-request return status 200\n");
    std::fs::write(&place.config, config).unwrap();
    let haproxy = place.start(executable).await;

    let mut client = haproxy.connect().await.unwrap();
    for (size, map) in sizes.iter().zip(&maps) {
        let begun = Instant::now();
        let wanted = compile_http(&routes(*size), |service| Some(service.clone()));
        let compiled = begun.elapsed();
        let change = converge_map(&mut client, map, &wanted.map, &capabilities).await;
        println!(
            "{version}: {size} routes compiled in {compiled:.1?}, {} written and read back in {:.1?}",
            change.unwrap(),
            begun.elapsed() - compiled
        );
    }
    for (case, host, path) in CASES {
        let medians = compare(&fronts, host, path);
        let text: Vec<String> = medians
            .iter()
            .map(|median| format!("{median:.1?}"))
            .collect();
        println!(
            "{version}: {case}: without map, 10, 10,000 routes: {}",
            text.join(", ")
        );
    }
    haproxy.stop().await.unwrap();
}

fn routes(count: usize) -> Vec<Route> {
    let route = |host: String, path: String| {
        Route::new(
            host.parse().unwrap(),
            path.parse().unwrap(),
            "s0".parse().unwrap(),
        )
    };
    let exact = (0..count - 2).map(|n| match n % 10 {
        9 => route(format!("*.w{n}.example"), "/".to_owned()),
        _ => route(format!("h{n}.example"), format!("/p{n}")),
    });
    exact
        .chain([
            route("*.w7.example".to_owned(), "/".to_owned()),
            route("*".to_owned(), "/fallback".to_owned()),
        ])
        .collect()
}

/// The median time of a request at each front, on kept connections, one after the other.
fn compare(fronts: &[SocketAddr], host: &str, path: &str) -> Vec<Duration> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut users: Vec<(TcpStream, Vec<Duration>)> = fronts
        .iter()
        .map(|front| {
            let stream = TcpStream::connect(front).unwrap();
            stream.set_nodelay(true).unwrap();
            (stream, Vec::with_capacity(REQUESTS))
        })
        .collect();
    let mut answer = [0; 4096];
    for _ in 0..REQUESTS {
        for (stream, times) in &mut users {
            let begun = Instant::now();
            stream.write_all(request.as_bytes()).unwrap();
            // The answers are small enough to come in one piece.
            assert!(stream.read(&mut answer).unwrap() > 0);
            times.push(begun.elapsed());
        }
    }
    users
        .iter_mut()
        .filter_map(|(_, times)| {
            times.sort();
            times.get(times.len() / 2).copied()
        })
        .collect()
}
