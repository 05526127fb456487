//! Disagreements that were found, each as the shortest trace that shows it, on every version.

use super::{both::Both, support};

async fn agree(lines: &[&str]) {
    for executable in support::executables() {
        let mut both = Both::start(&executable).await;
        for line in lines {
            both.say(line, "regression");
        }
        both.compare_all();
        both.end().await;
    }
}

#[tokio::test]
async fn a_second_address_on_a_line_is_compared_with_the_one_not_yet_replaced() {
    agree(&[
        "set server alpha/slot1 addr 10.0.0.1 port 80",
        "set server alpha/slot1 addr 10.0.0.2 port 80;set server alpha/slot1 addr 10.0.0.1 port 80",
        "set server alpha/slot1 addr 10.0.0.3 port 81;set server alpha/slot1 addr 10.0.0.4",
    ])
    .await;
}

#[tokio::test]
async fn an_address_with_a_wrong_port_is_half_applied_by_old_versions() {
    agree(&[
        "set server alpha/slot1 addr 10.0.0.1 port x",
        "set server alpha/slot1 addr 10.0.0.2 port",
        "set server alpha/slot1 addr 10.0.0.3 port 70000",
        "set server alpha/slot1 addr 10.0.0.4 8080",
        "set server gamma/u addr 300.0.0.1",
        "set server gamma/u addr 10.0.0.1",
    ])
    .await;
}

#[tokio::test]
async fn a_server_made_ready_is_up_whatever_its_health_was() {
    agree(&[
        "set server beta/slot1 state ready",
        "set server beta/slot1 health down",
        "set server beta/slot1 state maint",
        "set server beta/slot1 health down",
        "set server beta/slot1 state ready",
        "set server beta/slot1 health stopping",
        "set server beta/slot1 state drain",
        "set server beta/slot1 health up",
    ])
    .await;
}

#[tokio::test]
async fn a_tracking_server_follows_and_is_told_by_the_other_check() {
    agree(&[
        "set server beta/slot1 state drain",
        "show stat delta 4 -1",
        "set server beta/slot1 state ready;set server beta/slot1 health down",
        "set server delta/t1 state maint",
        "set server beta/slot1 state maint",
        "show stat delta 4 -1",
        "set server delta/t1 health up",
        "set server delta/t1 state ready",
        "set server beta/slot1 state ready",
    ])
    .await;
}

#[tokio::test]
async fn old_versions_change_prepared_map_versions_with_the_live_one() {
    agree(&[
        "prepare map DIR/a.map",
        "add map @1 DIR/a.map k1 x",
        "add map @1 DIR/a.map k9 y",
        "set map DIR/a.map k9 z",
        "show map @1 DIR/a.map",
        "del map DIR/a.map k9",
        "del map DIR/a.map k1",
        "show map @1 DIR/a.map",
        "commit map @1 DIR/a.map",
    ])
    .await;
}

#[tokio::test]
async fn the_newest_version_clears_a_map_version_only_if_no_lower_one_has_entries() {
    agree(&[
        "prepare map DIR/a.map",
        "add map @1 DIR/a.map k1 x",
        "clear map @1 DIR/a.map",
        "show map @1 DIR/a.map",
        "clear map DIR/a.map",
        "clear map @1 DIR/a.map",
        "show map @1 DIR/a.map",
        "add map @0 DIR/a.map k1 x",
        "prepare map DIR/a.map",
        "add map @2 DIR/a.map k2 x",
        "commit map @2 DIR/a.map",
        "add map @1 DIR/a.map k3 x",
        "clear map DIR/a.map",
    ])
    .await;
}

#[tokio::test]
async fn one_of_several_entries_or_all_are_deleted() {
    agree(&[
        "del map DIR/a.map k1",
        "show map DIR/a.map",
        "del map DIR/a.map k1",
        "del map DIR/a.map k1",
    ])
    .await;
}

#[tokio::test]
async fn servers_added_again_come_last_and_their_settings_are_read_in_the_order_of_the_version() {
    agree(&[
        "del server alpha/slot2",
        "add server alpha/slot2 127.0.0.1:80 check inter 24h rise 1 fall 1 port 81",
        "add server alpha/slot2 127.0.0.1:99999",
        "add server alpha/d1 127.0.0.1 check",
        "add server alpha/d1 frobnicate",
        "add server alpha/d2 127.0.0.1:80 frobnicate",
        "set server alpha/slot2 check-port 82",
        "enable health alpha/slot2",
        "set server alpha/slot2 check-port 82",
        "set server alpha/slot2 state ready",
        "del server alpha/slot2",
        "wait 1ms srv-removable alpha/slot2",
        "wait 1ms srv-removable alpha/slot3",
        "del server beta/slot1",
    ])
    .await;
}

#[tokio::test]
async fn lines_are_cut_into_commands_alike() {
    let words = format!("get weight alpha/slot1 {}", "x ".repeat(70));
    agree(&[
        "get weight alpha/slot1;;get weight alpha/slot2",
        " ; ",
        "",
        "get weight alpha/slot1\\;x",
        "get weight alpha\\/slot1",
        "get   weight\talpha/slot1",
        &words,
        "add map DIR/b.map <<\na b c\nd e\n",
        "add map DIR/b.map <<\na b\nc\n",
        "get weight alpha/slot1;add map DIR/b.map <<\nx y\n",
        "add map DIR/b.map a\\ b c",
    ])
    .await;
}

#[tokio::test]
async fn a_lower_level_is_refused_alike() {
    agree(&[
        "operator",
        "show cli level",
        "set server alpha/slot1 state ready",
        "set weight alpha/slot1 5",
        "enable health beta/slot1",
        "add server alpha/x 10.0.0.1:80",
        "shutdown sessions server alpha/slot1",
        "add map DIR/a.map x y",
        "prepare map DIR/a.map",
        "user",
        "show cli level",
        "operator",
        "get weight alpha/slot1",
        "wait 1ms",
    ])
    .await;
}

#[tokio::test]
async fn agents_and_addresses_of_checks_are_set_alike() {
    agree(&[
        "disable agent alpha/slot1",
        "enable agent alpha/slot1",
        "disable agent alpha/none",
        "enable agent none/slot1",
        "set server beta/slot1 check-addr 10.0.0.9 port 5",
        "set server beta/slot1 check-addr 0.0.0.0 port 0",
        "set server beta/slot2 check-addr 10.0.0.9",
        "set server alpha/slot1 check-addr 10.0.0.9",
        "set server alpha/slot1 ssl on",
        "show servers state beta",
    ])
    .await;
}
