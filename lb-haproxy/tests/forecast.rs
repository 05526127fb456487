//! When slots run out: pure.

use std::time::Duration;

use lb_haproxy::forecast::{Forecast, Outlook, SlotUse, lasts};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn used(slots: u32, free: u32) -> SlotUse {
    let mut used = SlotUse::default();
    used.slots = slots;
    used.free = free;
    used
}

#[test]
fn slots_that_go_one_by_one_are_told_before_the_last_is_gone() {
    let mut forecast = Forecast::default();
    let mut told = Vec::new();
    for minute in 0..=100u32 {
        let outlook = forecast.observe(SECOND * 60 * minute, used(100, 100 - minute));
        if outlook != Outlook::Quiet {
            told.push((minute, outlook));
        }
    }
    let [(minute, Outlook::Low(Some(left)))] = told[..] else {
        unreachable!("told once: {told:?}");
    };
    assert!(minute <= 71, "half an hour before the end: {minute}");
    assert!(left > SECOND * 60 * 20, "{left:?}");
}

#[test]
fn few_free_slots_are_told_whatever_the_rate_and_room_is_told_too() {
    let mut forecast = Forecast::default();
    assert_eq!(
        forecast.observe(Duration::ZERO, used(100, 9)),
        Outlook::Low(None)
    );
    assert_eq!(forecast.observe(SECOND, used(100, 9)), Outlook::Quiet);
    assert_eq!(
        forecast.observe(SECOND * 2, used(100, 12)),
        Outlook::Quiet,
        "hardly room"
    );
    assert_eq!(forecast.observe(SECOND * 3, used(200, 112)), Outlook::Room);
    assert_eq!(
        forecast.observe(SECOND * 4, used(200, 19)),
        Outlook::Low(None)
    );
}

#[test]
fn a_deploy_is_no_trend() {
    let mut forecast = Forecast::default();
    assert_eq!(
        forecast.observe(Duration::ZERO, used(100, 90)),
        Outlook::Quiet
    );
    // New ones come before the old ones go.
    assert_eq!(forecast.observe(SECOND, used(100, 80)), Outlook::Quiet);
    assert_eq!(forecast.observe(SECOND * 5, used(100, 90)), Outlook::Quiet);
    assert_eq!(
        forecast.observe(SECOND * 700, used(100, 90)),
        Outlook::Quiet
    );
}

/// The first scale-ups of a new service: no alarm while there is room.
#[test]
fn case_p20_the_first_scale_up_is_no_trend() {
    for (slots, scales) in [
        // The example with Compose: one endpoint of 20 slots, after a few quiet minutes.
        (20, vec![(0, 0), (448, 1)]),
        (20, vec![(0, 1), (240, 2), (300, 3), (400, 5)]),
        (100, vec![(0, 1), (15, 40)]),
        (100, vec![(0, 0), (20, 1), (40, 2), (60, 3), (100, 4)]),
    ] {
        let mut forecast = Forecast::default();
        for (second, taken) in scales {
            let outlook = forecast.observe(SECOND * second, used(slots, slots - taken));
            assert_eq!(outlook, Outlook::Quiet, "{taken} of {slots} at {second} s");
        }
    }
}

/// Each deploy leaves as many slots in quarantine as it filled; they are free again when their time is over.
#[test]
fn case_p20_slots_in_quarantine_are_not_taken() {
    let mut forecast = Forecast::default();
    for deploy in 0..50u32 {
        let at = SECOND * 70 * deploy;
        for (later, free, quarantined) in [(0, 10, 0), (1, 0, 0), (2, 0, 10), (40, 10, 0)] {
            let mut seen = used(20, free);
            seen.quarantined = quarantined;
            let outlook = forecast.observe(at + SECOND * later, seen);
            if later != 1 {
                assert!(
                    !matches!(outlook, Outlook::Low(_)),
                    "deploy {deploy}: {free} free, {quarantined} in quarantine"
                );
            }
        }
    }
    let mut all_rest = used(20, 0);
    all_rest.quarantined = 20;
    assert_eq!(
        Forecast::default().observe(Duration::ZERO, all_rest),
        Outlook::Quiet
    );
}

/// A slot in quarantine takes no endpoint: there is room again once one is free.
#[test]
fn the_end_of_a_shortage_is_a_slot_that_is_free() {
    let mut forecast = Forecast::default();
    let low = forecast.observe(Duration::ZERO, used(4, 0));
    assert!(matches!(low, Outlook::Low(_)), "{low:?}");
    let mut rest = used(4, 0);
    rest.quarantined = 3;
    assert_eq!(forecast.observe(SECOND, rest), Outlook::Quiet);
    assert_eq!(forecast.observe(SECOND * 2, used(4, 3)), Outlook::Room);
}

/// Many short bursts within a few seconds are one.
#[test]
fn case_p20_one_burst_in_several_steps_is_no_trend() {
    let mut forecast = Forecast::default();
    for (step, taken) in (0u32..).zip(1..=70) {
        let outlook = forecast.observe(SECOND / 4 * step, used(100, 100 - taken));
        assert_eq!(outlook, Outlook::Quiet, "{taken} taken");
    }
}

#[test]
fn a_backend_without_slots_has_nothing_to_run_out() {
    let mut forecast = Forecast::default();
    for second in 0..100 {
        assert_eq!(
            forecast.observe(SECOND * second, used(0, 0)),
            Outlook::Quiet
        );
    }
}

proptest! {
    /// The forecast is the time in which the same growth takes all that is free.
    #[test]
    fn the_forecast_is_right_where_the_rate_goes_on(
        then in 0u32..1000,
        grown in 1u32..1000,
        seconds in 1u64..100_000,
        free in 0u32..1000,
    ) {
        let between = Duration::from_secs(seconds);
        let left = lasts(then, then + grown, between, free);
        let exact = between.as_secs_f64() / f64::from(grown) * f64::from(free);
        prop_assert!((left.unwrap_or_default().as_secs_f64() - exact).abs() < 1e-3 + exact * 1e-6);
        prop_assert_eq!(lasts(then + grown, then, between, free), None);
    }

    /// However slots come and go, shortages and their ends are told in turn.
    #[test]
    fn shortages_and_their_ends_alternate(free in prop::collection::vec(0u32..=50, 0..300)) {
        let mut forecast = Forecast::default();
        let mut low = false;
        for (at, free) in (0u32..).zip(free) {
            match forecast.observe(SECOND * 7 * at, used(50, free)) {
                Outlook::Quiet => {}
                Outlook::Low(_) => {
                    prop_assert!(!low);
                    low = true;
                }
                Outlook::Room => {
                    prop_assert!(low);
                    low = false;
                }
            }
            prop_assert!(low || free * 10 >= 50);
        }
    }
}
