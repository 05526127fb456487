//! When to reload, and the configuration that a reload is to bring: pure.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use lb_core::{Mode, Name};
use lb_haproxy::{
    Policy,
    growth::{CannotGrow, Decision, GrowthConfig, Need, Schedule, carry, grow},
};
use proptest::prelude::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn need(backend: &str, slots: u32, short: u32) -> Need {
    let mut need = Need::default();
    need.lack(&name(backend), slots, short);
    need
}

fn bounds() -> GrowthConfig {
    GrowthConfig::new("/etc/haproxy/haproxy.cfg")
}

const CONFIG: &str = "\
# kept by hand
global
    server-state-file /run/state
defaults
    mode http
    load-server-state-from-file global

frontend web
    bind :80   # all of it
    default_backend web

backend web
    server-template  slot 1-8   slot.invalid:1 disabled init-addr last,127.0.0.1 check # 1-8 of them
    server fixed 10.0.0.1:80

backend spare-http-1
    id 77
    server-template slot 4 slot.invalid:1 disabled init-addr last,127.0.0.1

backend api
    server-template slot 1-4 slot.invalid:1 disabled init-addr last,127.0.0.1
";

#[test]
fn only_the_count_of_slots_changes() {
    let grown = grow(CONFIG, &need("web", 8, 1), &bounds(), &Policy::default()).unwrap();
    assert_eq!(
        grown.text,
        CONFIG.replacen("slot 1-8 ", "slot 1-16 ", 1),
        "twice as many, and not a byte besides"
    );
    let new = grown.slots.get(&name("web")).unwrap();
    assert_eq!((new.prefix.as_str(), new.first, new.last), ("slot", 9, 16));
    assert!(grown.left.is_empty());
}

#[test]
fn more_than_the_factor_is_given_where_more_is_needed_and_never_above_the_bound() {
    let policy = Policy::default();
    let grown = grow(CONFIG, &need("api", 4, 30), &bounds(), &policy).unwrap();
    assert!(grown.text.contains("server-template slot 1-34 "));
    let mut tight = bounds();
    tight.most_slots = 10;
    let grown = grow(CONFIG, &need("api", 4, 30), &tight, &policy).unwrap();
    assert!(grown.text.contains("server-template slot 1-10 "));
    assert!(matches!(grown.left[..], [CannotGrow::AtMostSlots { .. }]));
    let full = grow(&grown.text, &need("api", 10, 20), &tight, &policy).unwrap();
    assert_eq!(full.text, grown.text);
    assert!(full.slots.is_empty());
}

#[test]
fn a_configuration_that_has_grown_before_a_failed_reload_is_not_grown_again() {
    let policy = Policy::default();
    let once = grow(CONFIG, &need("web", 8, 1), &bounds(), &policy).unwrap();
    let twice = grow(&once.text, &need("web", 8, 1), &bounds(), &policy).unwrap();
    assert_eq!(once.text, twice.text);
    assert_eq!(once.slots, twice.slots, "the reload is still to bring them");
}

#[test]
fn spare_backends_are_added_at_the_end_like_the_one_there_is() {
    let mut need = Need::default();
    need.backends.insert(name("shop"), Mode::Http);
    need.backends.insert(name("blog"), Mode::Http);
    let grown = grow(CONFIG, &need, &bounds(), &Policy::default()).unwrap();
    assert!(grown.text.starts_with(CONFIG), "{}", grown.text);
    let added = grown.text.strip_prefix(CONFIG).unwrap();
    assert_eq!(
        added,
        "\nbackend spare-http-2\n    server-template slot 4 slot.invalid:1 disabled init-addr last,127.0.0.1\n\
         \nbackend spare-http-3\n    server-template slot 4 slot.invalid:1 disabled init-addr last,127.0.0.1\n",
        "without what may be there once only"
    );
    let names = [name("spare-http-2"), name("spare-http-3")];
    assert_eq!(grown.backends, names);
    let mut tcp = Need::default();
    tcp.backends.insert(name("db"), Mode::Tcp);
    let none = grow(CONFIG, &tcp, &bounds(), &Policy::default()).unwrap();
    assert!(matches!(none.left[..], [CannotGrow::NoSpare { .. }]));
}

#[test]
fn i2_a_configuration_that_would_forget_addresses_is_refused() {
    let line = "slot.invalid:1 disabled init-addr last,127.0.0.1";
    for (config, why) in [
        (
            CONFIG.replace("server-state-file /run/state", ""),
            "no server-state-file",
        ),
        (
            CONFIG.replace("    load-server-state-from-file global\n", ""),
            "not loaded",
        ),
        (
            CONFIG.replacen(line, "127.0.0.1:1 disabled init-addr last,127.0.0.1", 1),
            "literal",
        ),
        (
            CONFIG.replacen(line, "[::1]:1 disabled init-addr last,127.0.0.1", 1),
            "literal",
        ),
        (
            CONFIG.replacen(line, "slot.invalid:1 disabled", 1),
            "no init-addr",
        ),
        (
            CONFIG.replacen(line, "slot.invalid:1 disabled init-addr none", 1),
            "not last",
        ),
    ] {
        let refused = grow(&config, &need("api", 4, 1), &bounds(), &Policy::default());
        assert!(
            matches!(refused, Err(CannotGrow::Forgets { .. })),
            "{why}: {refused:?}"
        );
    }
}

/// `from` is understood: a section starts from the `defaults` that it names, not from the last before it.
#[test]
fn case_p15_a_section_starts_from_the_defaults_that_it_names() {
    let slots = "    server-template slot 1-4 slot.invalid:1 disabled init-addr last,127.0.0.1\n";
    let global = "global\n    server-state-file /run/state\n";
    let loads = "    load-server-state-from-file global\n";
    for (sections, kept) in [
        // The last `defaults` load it, the named ones do not.
        (
            format!(
                "defaults plain\n    mode http\ndefaults\n{loads}backend web from plain\n{slots}"
            ),
            false,
        ),
        (
            format!("defaults plain\n    mode http\ndefaults\n{loads}backend web\n{slots}"),
            true,
        ),
        // The other way round.
        (
            format!(
                "defaults keep\n{loads}defaults\n    mode http\nbackend web from keep\n{slots}"
            ),
            true,
        ),
        (
            format!("defaults keep\n{loads}defaults\n    mode http\nbackend web\n{slots}"),
            false,
        ),
        // Named ones start from others.
        (
            format!(
                "defaults a\n{loads}defaults b from a\n    mode http\ndefaults\nbackend web from b\n{slots}"
            ),
            true,
        ),
        (
            format!(
                "defaults a\n{loads}defaults b from a\n    load-server-state-from-file none\nbackend web from b\n{slots}"
            ),
            false,
        ),
        (
            format!("defaults a\n{loads}defaults from a\n    mode http\nbackend web\n{slots}"),
            true,
        ),
        // A section's own line counts most.
        (
            format!("defaults plain\n    mode http\nbackend web from plain\n{loads}{slots}"),
            true,
        ),
        (
            format!(
                "defaults a\n{loads}backend web from a\n    load-server-state-from-file local\n{slots}"
            ),
            false,
        ),
        // They are in another file, so that nothing is known.
        (
            format!("defaults\n{loads}backend web from elsewhere\n{slots}"),
            false,
        ),
        (
            format!("defaults a from elsewhere\n{loads}backend web from a\n{slots}"),
            false,
        ),
        // What `default-server` says counts too, and that of the named ones.
        (
            format!(
                "defaults a\n{loads}    default-server disabled init-addr last,127.0.0.1\ndefaults\nbackend web from a\n    server-template slot 4 slot.invalid:1\nbackend api from a\n{slots}"
            ),
            true,
        ),
        (
            format!(
                "defaults a\n{loads}    default-server disabled init-addr none\ndefaults\nbackend web from a\n    server-template slot 4 slot.invalid:1\nbackend api from a\n{slots}"
            ),
            false,
        ),
    ] {
        let text = format!("{global}{sections}");
        let section = if text.contains("backend api") {
            "api"
        } else {
            "web"
        };
        let grown = grow(&text, &need(section, 4, 1), &bounds(), &Policy::default());
        match kept {
            true => assert!(grown.unwrap().slots.contains_key(&name(section)), "{text}"),
            false => assert!(
                matches!(grown, Err(CannotGrow::Forgets { .. })),
                "{text}{grown:?}"
            ),
        }
    }
}

/// The copy of a spare backend starts from the same `defaults` as the spare one.
#[test]
fn case_p15_the_copy_of_a_spare_starts_from_the_same_defaults() {
    let slots = "    server-template slot 4 slot.invalid:1 disabled init-addr last,127.0.0.1\n";
    let loads = "    load-server-state-from-file global\n";
    let global = "global\n    server-state-file /run/state\n";
    let mut need = Need::default();
    need.backends.insert(name("shop"), Mode::Http);
    let mut bounds = bounds();
    bounds.grow_by = 0;
    let named = format!(
        "{global}defaults web-auth\n{loads}    http-request deny\ndefaults\n{loads}backend spare-http-1 from web-auth # spare\n{slots}backend other\n"
    );
    let grown = grow(&named, &need, &bounds, &Policy::default()).unwrap();
    assert_eq!(
        grown.text,
        format!("{named}\nbackend spare-http-2 from web-auth\n{slots}")
    );
    // Without a name it must stand before the next `defaults`.
    let unnamed =
        format!("{global}defaults\n{loads}    http-request deny\nbackend spare-http-1\n{slots}");
    let after = format!("defaults\n{loads}backend other\n{slots}");
    let grown = grow(
        &format!("{unnamed}{after}"),
        &need,
        &bounds,
        &Policy::default(),
    )
    .unwrap();
    assert_eq!(
        grown.text,
        format!("{unnamed}\nbackend spare-http-2\n{slots}{after}")
    );
    // A `listen` listens, so it is no model.
    let listen = named.replace("backend spare-http-1 from", "listen spare-http-1 from");
    let none = grow(&listen, &need, &bounds, &Policy::default()).unwrap();
    assert!(matches!(none.left[..], [CannotGrow::NoSpare { .. }]));
}

#[test]
fn what_the_file_does_not_have_cannot_grow_and_the_rest_does() {
    let mut both = need("elsewhere", 2, 1);
    both.lack(&name("api"), 4, 1);
    let grown = grow(CONFIG, &both, &bounds(), &Policy::default()).unwrap();
    assert!(matches!(grown.left[..], [CannotGrow::NoBackend { .. }]));
    assert!(
        grown.text.contains(
            "server-template slot 1-8 slot.invalid:1 disabled init-addr last,127.0.0.1\n"
        )
    );
}

#[test]
fn servers_made_at_run_time_become_the_new_slots_in_the_state_file() {
    let header = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
                  srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
                  srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord\n";
    let state = format!(
        "{header}3 web 8 slot8 10.0.0.8 2 4 100 1 9 1 0 0 0 0 0 0 slot.invalid 80 -\n\
         3 web 9 dyn-10.0.0.9:80 10.0.0.9 2 0 100 1 9 1 0 0 0 0 0 0 - 80 -\n\
         4 api 5 dyn-10.0.0.7:80 10.0.0.7 2 0 100 1 9 1 0 0 0 0 0 0 - 80 -\n"
    );
    let policy = Policy::default();
    let grown = grow(CONFIG, &need("web", 8, 1), &bounds(), &policy).unwrap();
    let carried = carry(&state, &grown.slots, &policy);
    assert!(
        carried.contains("3 web 9 slot9 10.0.0.9 2 4 100 1 9 1 0 0 0 0 0 0 slot.invalid 80 -\n"),
        "{carried}"
    );
    assert!(carried.contains("dyn-10.0.0.7:80"), "no slot, no change");
    assert_eq!(carried.lines().count(), state.lines().count());
    assert_eq!(carry("", &grown.slots, &policy), "");
}

const SECOND: Duration = Duration::from_secs(1);

/// Asks at every tick, reloads whenever told to, and gives the times.
fn reloads(
    config: &GrowthConfig,
    seed: u64,
    needs: &[bool],
    tick: Duration,
    fails: bool,
) -> Vec<Duration> {
    let mut schedule = Schedule::new(seed);
    let mut times = Vec::new();
    for (number, needed) in (0u32..).zip(needs) {
        let now = tick * number;
        let need = if *needed {
            need("web", 8, 1)
        } else {
            Need::default()
        };
        if schedule.decide(&need, config, now) == Decision::Reload {
            schedule.begun(config, now);
            match fails {
                true => schedule.failed(config, now),
                false => schedule.succeeded(),
            }
            times.push(now);
        }
    }
    times
}

#[test]
fn what_passes_needs_no_reload_and_what_stays_gets_one_soon() {
    let config = bounds();
    let longest = config.wait + config.jitter;
    let short: Vec<bool> = (0..100).map(|tick| tick % 3 != 2).collect();
    assert!(reloads(&config, 7, &short, SECOND, false).is_empty());
    let times = reloads(&config, 7, &[true; 50], SECOND, false);
    assert_eq!(times.len(), 1, "the pause is longer");
    assert!(times[0] >= config.wait && times[0] <= longest + SECOND);
}

#[test]
fn a_decision_to_wait_says_until_when() {
    let config = bounds();
    let mut schedule = Schedule::new(1);
    let Decision::Wait(at) = schedule.decide(&need("web", 8, 1), &config, SECOND) else {
        unreachable!("nothing is needed long enough at once");
    };
    let before = at - Duration::from_millis(1);
    assert_eq!(
        schedule.decide(&need("web", 8, 1), &config, before),
        Decision::Wait(at)
    );
    assert_eq!(
        schedule.decide(&need("web", 8, 1), &config, at),
        Decision::Reload
    );
    assert_eq!(
        schedule.decide(&Need::default(), &config, at),
        Decision::Nothing
    );
}

#[test]
fn targets_of_a_fleet_reload_at_different_times() {
    let mut config = bounds();
    config.jitter = 60 * SECOND;
    let first = |seed| reloads(&config, seed, &[true; 100], SECOND, false)[0];
    let times: std::collections::BTreeSet<Duration> = (0..20).map(first).collect();
    assert!(times.len() > 10, "{times:?}");
}

#[test]
fn failures_make_the_pause_longer_up_to_an_hour() {
    let config = bounds();
    let times = reloads(&config, 3, &[true; 40_000], SECOND, true);
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        gaps.windows(2).take(3).all(|pair| pair[1] > pair[0]),
        "{gaps:?}"
    );
    assert!(
        gaps.iter()
            .all(|gap| *gap <= 3600 * SECOND + config.wait + config.jitter + SECOND)
    );
}

proptest! {
    /// However needs come and go, reloads keep their distance and their number.
    #[test]
    fn i7_reloads_are_bounded(
        needs in prop::collection::vec(prop::bool::weighted(0.9), 2000),
        seed: u64,
        fails: bool,
        burst in 1u32..5,
    ) {
        let mut config = bounds();
        config.wait = SECOND;
        config.jitter = SECOND;
        config.pause = 20 * SECOND;
        config.refill = 120 * SECOND;
        config.burst = burst;
        let times = reloads(&config, seed, &needs, SECOND, fails);
        for pair in times.windows(2) {
            prop_assert!(pair[1] - pair[0] >= config.pause);
        }
        for (number, from) in times.iter().enumerate() {
            for (more, to) in times[number..].iter().enumerate() {
                let granted = burst + u32::try_from((*to - *from).as_secs() / 120).unwrap();
                prop_assert!(more < granted as usize, "{more} of {granted} from {from:?} to {to:?}");
            }
        }
    }

    /// A grown configuration has at least what is needed, and grown again it stays.
    #[test]
    fn growth_is_enough_and_ends(short in 1u32..5000, slots in 1u32..=8, percent in 0u32..400) {
        let policy = Policy::default();
        let mut bounds = bounds();
        bounds.grow_by = percent;
        let need = need("web", slots, short);
        let grown = grow(CONFIG, &need, &bounds, &policy).unwrap();
        let new = grown.slots.get(&name("web")).unwrap();
        prop_assert!(new.last <= bounds.most_slots);
        prop_assert!(new.last >= (slots + short).min(bounds.most_slots));
        prop_assert_eq!(grow(&grown.text, &need, &bounds, &policy).unwrap().text, grown.text);
    }
}
