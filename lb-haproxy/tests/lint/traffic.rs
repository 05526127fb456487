//! Where requests go, and where they stick.

use std::net::SocketAddr;

use lb_haproxy::config::lint::{Code, LintOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    endpoint::{Endpoint, nowhere},
    user::{Answer, User, get},
    world::{RESTORED, World, always, found_with, shows, with_backend, with_lines},
};

#[tokio::test]
async fn static_algorithms_take_no_weights() {
    for (bad, good) in [
        ("  balance static-rr\n", "  balance roundrobin\n"),
        ("  balance static-rr\n", "  balance leastconn\n"),
        (
            "  balance source\n",
            "  balance source\n  hash-type consistent\n",
        ),
        (
            "  balance hdr(x-user)\n",
            "  balance hdr(x-user)\n  hash-type consistent sdbm\n",
        ),
    ] {
        let with = |lines: &str, words: &str| {
            with_backend(&format!(
                "{lines}  server-template slot 1-4 {RESTORED} check{words}\n"
            ))
        };
        // Where there is a better hash, the mended one needs it.
        for (key, newer) in [("", false), (" hash-key addr-port", true)] {
            for executable in crate::support::executables() {
                let version = executable.version().await.unwrap();
                if version.at_least(3, 0) != newer {
                    continue;
                }
                let (bad, good) = (with(bad, ""), with(good, key));
                assert_eq!(crate::world::found(&bad, &version), [Code::StaticBalance]);
                assert_eq!(crate::world::found(&good, &version), [], "{good}");
                for (text, refused) in [(bad, true), (good, false)] {
                    let world = World::start(&executable, &text).await;
                    world.fill("slot1", nowhere()).await;
                    let reply = world.ask("set server b/slot1 weight 50").await;
                    assert_eq!(!reply.is_empty(), refused, "{version}: {reply}");
                }
            }
        }
    }
}

/// Two endpoints change places: who still gets the answers that they got before?
async fn change_places(
    world: &World,
    asks: impl AsyncFn(&World, usize, Option<&Answer>) -> Answer,
) -> usize {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    world.fill("slot1", a.address).await;
    world.fill("slot2", b.address).await;
    let mut before = Vec::new();
    for user in 0..30 {
        before.push(asks(world, user, None).await);
    }
    for slot in ["slot1", "slot2"] {
        world.rest(slot).await;
    }
    world.fill("slot1", b.address).await;
    world.fill("slot2", a.address).await;
    let mut moved = 0;
    for (user, answer) in before.iter().enumerate() {
        assert_eq!(answer.status, 200);
        let again = asks(world, user, Some(answer)).await;
        moved += usize::from(again.body != answer.body);
    }
    moved
}

#[tokio::test]
async fn a_hash_by_slot_sends_users_elsewhere_when_endpoints_change_slots() {
    let with = |words: &str| {
        with_backend(&format!(
            "  balance uri\n  hash-type consistent\n  server-template slot 1-4 {RESTORED} check{words}\n"
        ))
    };
    let fails = async |executable: &lb_haproxy::process::Executable, text: &str| {
        if text.contains("hash-key") && !executable.version().await.unwrap().at_least(3, 0) {
            return false;
        }
        let world = World::start(executable, text).await;
        let moved = change_places(&world, async |world, user, _| {
            get(world.frontend, &format!("/{user}"), "").await
        })
        .await;
        moved > 0 && executable.version().await.unwrap().at_least(3, 0)
    };
    let newer = |version: &lb_haproxy::proto::Version| version.at_least(3, 0);
    shows(
        Code::HashBySlot,
        &with(""),
        &with(" hash-key addr-port"),
        newer,
        fails,
    )
    .await;
}

const DYNAMIC: &str = "  cookie SRV insert indirect nocache dynamic\n  dynamic-cookie-key secret\n";

async fn by_cookie(world: &World, _: usize, before: Option<&Answer>) -> Answer {
    let header = match before {
        Some(answer) => format!("cookie: {}\r\n", answer.cookie),
        None => String::new(),
    };
    get(world.frontend, "/", &header).await
}

#[tokio::test]
async fn cookies_of_slots_send_users_to_the_next_tenant() {
    let servers =
        |number: u16| format!("  server slot{number} {RESTORED} check cookie s{number}\n");
    let bad = with_backend(&format!(
        "  cookie SRV insert indirect nocache\n{}{}",
        servers(1),
        servers(2)
    ));
    shows(
        Code::CookieOfSlot,
        &bad,
        &with_lines(DYNAMIC),
        always,
        async |executable, text| {
            let world = World::start(executable, text).await;
            change_places(&world, by_cookie).await > 0
        },
    )
    .await;
}

#[tokio::test]
async fn stick_tables_send_users_to_the_next_tenant() {
    let bad = "  stick-table type string len 32 size 10k expire 10m\n  stick on req.hdr(x-user)\n";
    shows(
        Code::StickTableOfSlot,
        &with_lines(bad),
        &with_lines(DYNAMIC),
        always,
        async |executable, text| {
            let world = World::start(executable, text).await;
            change_places(&world, async |world, user, before| {
                match text.contains("stick on") {
                    true => get(world.frontend, "/", &format!("x-user: {user}\r\n")).await,
                    false => by_cookie(world, user, before).await,
                }
            })
            .await
                > 0
        },
    )
    .await;
}

/// A drained server is visited by users who have its cookie, one in maintenance is not: what `persistence` is for.
#[tokio::test]
async fn a_drained_server_is_visited_by_users_with_its_cookie() {
    let table =
        "  stick-table type string len 32 size 10k expire 10m\n  stick on req.hdr(x-user)\n";
    for executable in crate::support::executables() {
        let version = executable.version().await.unwrap();
        let mut options = LintOptions::default();
        options.version = Some(version.clone());
        let text = with_lines(DYNAMIC);
        assert_eq!(found_with(&text, &options), [Code::DrainedAreVisited]);
        assert_eq!(
            found_with(&with_lines(table), &options),
            [Code::DrainedAreVisited, Code::StickTableOfSlot]
        );
        options.policy.persistence = true;
        assert_eq!(found_with(&text, &options), []);
        for (state, visited) in [("drain", true), ("maint", false)] {
            let world = World::start(&executable, &text).await;
            let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
            world.fill("slot1", a.address).await;
            let first = by_cookie(&world, 0, None).await;
            assert_eq!(first.body, "a");
            world.fill("slot2", b.address).await;
            world
                .ask(&format!("set server b/slot1 state {state}"))
                .await;
            let again = by_cookie(&world, 0, Some(&first)).await;
            assert_eq!(again.body == "a", visited, "{version}: {state}");
        }
    }
}

/// Asks as a client of Remote Desktop does that has been with this endpoint; returns the name of the one that answers.
async fn by_rdp_cookie(frontend: SocketAddr, at: SocketAddr) -> String {
    let SocketAddr::V4(at) = at else {
        panic!("{at} is not IPv4")
    };
    let (ip, port) = (u32::from_le_bytes(at.ip().octets()), at.port().swap_bytes());
    let cookie = format!("Cookie: msts={ip}.{port}.0000\r\n\r\n");
    let length = u8::try_from(cookie.len()).unwrap();
    let mut request = vec![3, 0, 0, length + 11, length + 6, 0xe0, 0, 0, 0, 0, 0];
    request.extend_from_slice(cookie.as_bytes());
    let mut stream = TcpStream::connect(frontend).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut answer = vec![0; 1024];
    let count = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
    answer.rsplit('\n').next().unwrap_or_default().to_owned()
}

/// As with other cookies, drain lets the clients of a server come back.
#[tokio::test]
async fn a_drained_server_is_visited_by_users_with_its_rdp_cookie() {
    let rules = "  tcp-request inspect-delay 5s\n  tcp-request content accept if RDP_COOKIE\n";
    for lines in ["  persist rdp-cookie\n", "  persist rdp-cookie(msts)\n"] {
        let text = with_lines(lines)
            .replace("mode http", "mode tcp")
            .replace("  default_backend", &format!("{rules}  default_backend"));
        for executable in crate::support::executables() {
            let version = executable.version().await.unwrap();
            let mut options = LintOptions::default();
            options.version = Some(version.clone());
            assert_eq!(found_with(&text, &options), [Code::DrainedAreVisited]);
            options.policy.persistence = true;
            assert_eq!(found_with(&text, &options), []);
            for (state, visited) in [("drain", true), ("maint", false)] {
                let world = World::start(&executable, &text).await;
                let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
                world.fill("slot1", a.address).await;
                world.fill("slot2", b.address).await;
                world
                    .ask(&format!("set server b/slot1 state {state}"))
                    .await;
                let answer = by_rdp_cookie(world.frontend, a.address).await;
                assert_eq!(answer == "a", visited, "{version}: {state}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn without_redispatch_a_refused_connection_is_a_lost_request() {
    let good = with_lines("").replace(" check", " check inter 1d fall 100");
    for bad in [
        good.replace("  option redispatch\n", ""),
        good.replace("retries 1", "retries 0"),
        good.replace("backend b\n", "backend b\n  no option redispatch\n"),
    ] {
        shows(
            Code::NoRedispatch,
            &bad,
            &good,
            always,
            async |executable, text| {
                let world = World::start(executable, text).await;
                let alive = Endpoint::start("a").await;
                world.fill("slot1", alive.address).await;
                world.fill("slot2", nowhere()).await;
                // As many checks as `fall` says have to fail then.
                assert_eq!(world.ask("set server b/slot2 health up").await, "");
                let mut lost = 0;
                for _ in 0..24 {
                    lost += u16::from(get(world.frontend, "/", "").await.status != 200);
                }
                lost > 0
            },
        )
        .await;
    }
}

#[tokio::test]
async fn before_3_0_a_kept_client_stays_with_the_slots_former_address() {
    let bad = with_lines("  http-reuse never\n");
    for good in [
        with_lines("  http-reuse safe\n"),
        with_lines("  http-reuse always\n"),
        with_lines("  http-reuse never\n  option http-server-close\n"),
    ] {
        let old = |version: &lb_haproxy::proto::Version| !version.at_least(3, 0);
        shows(
            Code::HttpReuseNever,
            &bad,
            &good,
            old,
            async |executable, text| {
                let world = World::start(executable, text).await;
                let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
                world.fill("slot1", a.address).await;
                let mut user = User::connect(world.frontend).await;
                assert_eq!(user.ask("/", "").await.body, "a");
                world.rest("slot1").await;
                world.fill("slot1", b.address).await;
                assert_eq!(get(world.frontend, "/", "").await.body, "b");
                user.ask("/", "").await.body == "a"
            },
        )
        .await;
    }
}
