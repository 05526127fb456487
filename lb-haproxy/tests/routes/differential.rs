//! Random rules of other programs and random requests: what HAProxy answers is what a matcher says that is written from
//! the program's documentation and knows nothing of routes and maps.
//!
//! `LB_DIFFERENTIAL_REQUESTS` is the number of requests for each version and program, 10,000 unless set.

use lb_core::{Name, model::withheld};
use lb_haproxy::{
    process::Executable,
    routes::{Answer, RouteMap, compile_http},
};

use crate::{
    bed::*,
    hosts::{is_host, is_refused},
    http2::Http2,
    matchers::{Rules, docker_flow, nginx, traefik},
    random::{Random, host, path},
    support::*,
};

/// A program whose rules are compared.
#[derive(Clone, Copy)]
struct Program {
    /// Draws a set of rules.
    rules: fn(&mut Random) -> Rules,
    /// Returns `true` if the program has hosts of this form; others are not sent.
    has_host: fn(&str) -> bool,
}

/// S1, S2, H14: rules of Traefik, hosts in any form, paths with `//`, `..`, `%2f` and `;`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s01_s02_h14_haproxy_answers_as_a_matcher_of_traefiks_rules() {
    compare_all(Program {
        rules: traefik::rules,
        has_host: |_| true,
    })
    .await;
}

/// S10, S11, H14: services of docker-flow-proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s10_s11_h14_haproxy_answers_as_a_matcher_of_docker_flows_services() {
    compare_all(Program {
        rules: docker_flow::rules,
        // It compares the beginning of a host, lb the whole; both know a port and a dot after it.
        has_host: |host| !host.starts_with('.') && !host.contains(".."),
    })
    .await;
}

/// S12, H14: containers of nginx-proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s12_h14_haproxy_answers_as_a_matcher_of_nginx_proxys_hosts() {
    compare_all(Program {
        rules: nginx::rules,
        // nginx refuses empty labels before it looks for a server.
        has_host: |host| !host.starts_with('.') && !host.contains(".."),
    })
    .await;
}

async fn compare_all(program: Program) {
    let tests = executables()
        .into_iter()
        .map(|executable| tokio::spawn(compare(executable, program)));
    for test in tests.collect::<Vec<_>>() {
        test.await.unwrap();
    }
}

/// Returns `true` if programs may read a path in different ways.
fn is_odd(path: &str) -> bool {
    ["//", "/.", "%", ";"]
        .iter()
        .any(|part| path.contains(part))
}

fn name_of(answer: &Answer<'_>) -> String {
    match answer {
        Answer::Found(value) => value.as_str().to_owned(),
        Answer::NotFound => "404".to_owned(),
        Answer::Refused => "400".to_owned(),
    }
}

async fn compare(executable: Executable, program: Program) {
    const REQUESTS: usize = 200;
    let all = std::env::var("LB_DIFFERENTIAL_REQUESTS").map_or(10_000, |all| all.parse().unwrap());
    let version = executable.version().await.unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let bed = Bed::start(&executable, &RouteMap::default(), &SERVICES).await;
    let mut client = bed.client().await;
    let mut browser = Browser::connect(bed.http).await;
    let mut over_http2 = Http2::connect(bed.http).await;
    let (mut odd, mut odd_served, mut refused) = (0, 0, 0);
    for set in 0..usize::div_ceil(all, REQUESTS) {
        let rules = (program.rules)(&mut random);
        let backend = |service: &Name| (*service != withheld()).then(|| service.clone());
        let map = compile_http(&rules.routes, backend).map;
        bed.converge(&mut client, &map).await;
        let (mut requests, mut expected) = (Vec::new(), Vec::new());
        while requests.len() < REQUESTS {
            let ((written, meant), path) = (host(&mut random), path(&mut random));
            if !(program.has_host)(&written) {
                continue;
            }
            if random.below(8) == 0 {
                let model = name_of(&map.answer(&written, &path));
                let fields = [(":authority", &*written), ("host", &*written)];
                let fields = match random.below(3) {
                    0 => &fields[..1],
                    1 => &fields[1..],
                    _ => &fields[..],
                };
                let answer = over_http2.ask(&path, fields).await;
                let may_be_refused = !is_host(&meant) || is_odd(&path);
                assert!(
                    answer == model || (is_refused(&answer) && may_be_refused),
                    "{version}, set {set}: {answer} to {fields:?} {path}, expected {model}"
                );
            }
            expected.push((
                (rules.answer)(&meant, &path),
                map.answer(&written, &path),
                path.clone(),
            ));
            requests.push(match random.below(6) {
                // A whole URL goes before the header, which says the same.
                0 => format!("GET http://{written}{path} HTTP/1.1\r\nHost: {written}\r\n\r\n"),
                1 => format!("GET {path}?x=/api HTTP/1.1\r\nhost:   {written}\r\n\r\n"),
                _ => format!("GET {path} HTTP/1.1\r\nHost: {written}\r\n\r\n"),
            });
        }
        let answers = browser.send_all(&requests).await;
        for ((request, (expected, model, path)), answer) in
            requests.iter().zip(&expected).zip(&answers)
        {
            let context = || format!("{version}, set {set}: {request:?} of {:#?}", rules.written);
            assert_eq!(*answer, name_of(model), "{}", context());
            odd += usize::from(is_odd(path));
            odd_served += usize::from(is_odd(path) && answer.starts_with('s'));
            // What has several readings may be refused, and is never served where the program would not.
            if is_odd(path) && !answer.starts_with('s') {
                refused += usize::from(expected.starts_with('s'));
                continue;
            }
            assert_eq!(answer, expected, "{}", context());
        }
    }
    println!(
        "{version}: of {odd} requests with several readings, {odd_served} served and {refused} refused"
    );
    // Of those that the program serves, most are served here too; how many these are depends on the rules.
    assert!(
        odd_served > refused && odd_served * 20 > odd,
        "{version}: {odd_served} of {odd} served, {refused} refused"
    );
    bed.haproxy.stop().await.unwrap();
}
