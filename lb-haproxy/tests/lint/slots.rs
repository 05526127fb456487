//! Slots: that they can be filled, and that a reload gives them back.

use std::time::Duration;

use lb_haproxy::{
    config::lint::{Code, LintOptions},
    policy::DynamicServers,
};
use tokio::time::sleep;

use crate::{
    endpoint::{Endpoint, nowhere},
    support::executables,
    user::get,
    world::{
        RESTORED, World, always, found, found_with, shows, starts, until, with_backend, with_lines,
    },
};

fn slots(words: &str) -> String {
    with_backend(&format!("  server-template slot 1-4 {words}\n"))
}

#[tokio::test]
async fn slots_that_are_not_disabled_get_requests_before_they_are_filled() {
    let good = slots(&format!("{RESTORED} check inter 1h"));
    let bad = good.replace(" disabled", "");
    shows(
        Code::SlotEnabled,
        &bad,
        &good,
        always,
        async |executable, text| {
            let world = World::start(executable, text).await;
            let endpoint = Endpoint::start("a").await;
            world.fill("slot2", endpoint.address).await;
            let mut failed = 0;
            for _ in 0..8 {
                failed += u16::from(get(world.frontend, "/", "").await.status != 200);
            }
            failed > 0
        },
    )
    .await;
}

#[tokio::test]
async fn the_health_of_slots_that_track_cannot_be_set() {
    let bad = format!(
        "{}backend c\n  server real 127.0.0.1:1 check\n",
        slots(&format!("{RESTORED} track c/real"))
    );
    let good = bad.replace("track c/real", "check");
    shows(
        Code::SlotTracks,
        &bad,
        &good,
        always,
        async |executable, text| {
            let world = World::start(executable, text).await;
            world.fill("slot1", nowhere()).await;
            !world.ask("set server b/slot1 health down").await.is_empty()
        },
    )
    .await;
}

#[tokio::test]
async fn slots_whose_name_cannot_be_looked_up_stop_the_start() {
    let good = slots(&format!("{RESTORED} check"));
    for init in ["", " init-addr last", " init-addr last,libc"] {
        let bad = good.replace(" init-addr last,127.0.0.1", init);
        shows(
            Code::SlotUnresolvable,
            &bad,
            &good,
            always,
            async |executable, text| !starts(executable, text).await,
        )
        .await;
    }
}

#[tokio::test]
async fn slots_without_an_address_cannot_be_given_one() {
    let good = slots(&format!("{RESTORED} check"));
    for words in [
        "slot.invalid:1 disabled init-addr last,libc,none check",
        "unix@DIR/endpoint disabled check",
    ] {
        let bad = slots(words);
        shows(
            Code::SlotWithoutAddress,
            &bad,
            &good,
            always,
            async |executable, text| {
                let world = World::start(executable, text).await;
                let reply = world.ask("set server b/slot1 addr 127.0.0.9 port 9").await;
                reply.contains("current server address family")
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_state_file_gives_only_the_one_form_its_address_back() {
    let good = slots(&format!("{RESTORED} check inter 1h"));
    for words in [
        "127.0.0.1:1 disabled",
        "slot.invalid:1 disabled init-addr 127.0.0.1",
    ] {
        let bad = slots(&format!("{words} check inter 1h"));
        shows(
            Code::AddressNotRestored,
            &bad,
            &good,
            always,
            async |executable, text| {
                let mut world = World::start(executable, text).await;
                let address = nowhere();
                world.fill("slot2", address).await;
                world.reload().await;
                let row = world.server("slot2").await;
                assert!(row.up && row.port == address.port().to_string());
                row.address != address.ip().to_string()
            },
        )
        .await;
    }
}

#[tokio::test]
async fn without_a_state_file_a_reload_forgets_the_endpoints() {
    let good = with_lines("");
    for bad in [
        good.replace("  load-server-state-from-file global\n", ""),
        good.replace("  server-state-file DIR/state\n", ""),
        good.replace("from-file global", "from-file none"),
    ] {
        shows(
            Code::StateNotKept,
            &bad,
            &good,
            always,
            async |executable, text| {
                let mut world = World::start(executable, text).await;
                let endpoint = Endpoint::start("a").await;
                world.fill("slot2", endpoint.address).await;
                assert_eq!(get(world.frontend, "/", "").await.status, 200);
                world.reload().await;
                get(world.frontend, "/", "").await.status != 200
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_fixed_check_address_says_nothing_of_the_endpoint() {
    let alive = Endpoint::start("a").await;
    let port = alive.address.port();
    let fixed = slots(&format!("{RESTORED} check addr 127.0.0.1 inter 200ms"));
    let good = fixed.replace(" addr 127.0.0.1", "");
    shows(
        Code::CheckAddressFixed,
        &fixed,
        &good,
        |version| version.at_least(2, 4),
        async |executable, text| {
            let world = World::start(executable, text).await;
            // Nobody is there, but somebody is at the fixed address.
            world.fill("slot1", ([127, 0, 0, 77], port).into()).await;
            const PASSED: &str = "3";
            const FAILED: &str = "2";
            until("a check", async || {
                let check = world.server("slot1").await.check;
                check == PASSED || check == FAILED
            })
            .await;
            world.server("slot1").await.check == PASSED
        },
    )
    .await;
}

#[tokio::test]
async fn without_checks_a_dead_endpoint_gets_requests() {
    let good = slots(&format!("{RESTORED} check inter 200ms fall 1"));
    let bad = slots(RESTORED);
    shows(
        Code::NoCheck,
        &bad,
        &good,
        always,
        async |executable, text| {
            let world = World::start(executable, text).await;
            let alive = Endpoint::start("a").await;
            world.fill("slot1", alive.address).await;
            world.fill("slot2", nowhere()).await;
            if text == good {
                until("the check", async || !world.server("slot2").await.up).await;
            }
            for _ in 0..6 {
                get(world.frontend, "/", "").await;
            }
            let stat = world.ask("show stat b 4 -1").await;
            let column = |name: &str| {
                stat.lines()
                    .next()?
                    .split(',')
                    .position(|known| known == name)
            };
            let (retries, redispatches) = (column("wretr").unwrap(), column("wredis").unwrap());
            let dead = stat.lines().find(|line| line.contains(",slot2,")).unwrap();
            let fields: Vec<&str> = dead.split(',').collect();
            let tried = fields[retries] != "0" || fields[redispatches] != "0";
            tried && world.server("slot2").await.up
        },
    )
    .await;
}

/// Servers made at run time inherit nothing, wherever TLS was asked for.
#[tokio::test]
async fn a_server_made_at_run_time_speaks_no_tls() {
    let line = format!("  server-template slot 1-4 {RESTORED} check");
    for text in [
        with_backend(&format!("{line} ssl verify none\n")),
        with_backend(&format!("  default-server ssl verify none\n{line}\n")),
    ] {
        for executable in executables() {
            let version = executable.version().await.unwrap();
            if !version.at_least(3, 0) {
                assert_eq!(found(&text, &version), []);
                continue;
            }
            assert_eq!(found(&text, &version), [Code::DynamicWithoutTls]);
            let world = World::start(&executable, &text).await;
            let reply = world.ask("add server b/made 127.0.0.1:9").await;
            assert!(reply.contains("registered"), "{reply}");
            let table = world.ask("show servers state b").await;
            let header = table.lines().find(|line| line.starts_with("# ")).unwrap();
            let mut columns = header.split_whitespace().skip(1);
            let at = columns.position(|column| column == "srv_use_ssl").unwrap();
            let tls = |server: &str| {
                let rows = table.lines().map(|line| line.split_whitespace());
                let mut rows = rows.map(Iterator::collect::<Vec<&str>>);
                let row = rows.find(|row| row.get(3) == Some(&server)).unwrap();
                row[at] == "1"
            };
            assert!(tls("slot1") && !tls("made"), "{version}: {table}");

            let mut options = LintOptions::default();
            options.version = Some(version);
            options.policy.dynamic_servers = DynamicServers::Never;
            assert_eq!(found_with(&text, &options), []);
        }
    }
}

/// `default-server` is no finding: slots have what it gives.
#[tokio::test]
async fn slots_have_what_default_server_gives() {
    let text = with_backend(&format!(
        "  default-server check inter 200ms fall 1\n  server-template slot 1-4 {RESTORED}\n"
    ));
    for executable in executables() {
        let version = executable.version().await.unwrap();
        assert_eq!(found(&text, &version), []);
        let world = World::start(&executable, &text).await;
        world.fill("slot1", nowhere()).await;
        until("the check", async || !world.server("slot1").await.up).await;
        sleep(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn case_p08_an_endpoint_in_a_slot_that_is_a_backup_gets_nothing_beside_others() {
    let slots = |last: &str| {
        with_backend(&format!(
            "  server slot1 {RESTORED} check inter 1h\n  server slot2 {RESTORED} check inter 1h{last}\n"
        ))
    };
    shows(
        Code::SlotBackup,
        &slots(" backup"),
        &slots(""),
        always,
        async |executable, text| {
            let world = World::start(executable, text).await;
            let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
            world.fill("slot1", a.address).await;
            world.fill("slot2", b.address).await;
            let mut reached = 0;
            for _ in 0..8 {
                reached += u16::from(get(world.frontend, "/", "").await.body == "b");
            }
            reached == 0
        },
    )
    .await;
}
