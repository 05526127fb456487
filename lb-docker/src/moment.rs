//! The engine's clock: its times as the event stream takes them back.

/// The time `2026-11-21T08:40:32.123456789+01:00` as `seconds.nanoseconds` since 1970.
pub(crate) fn since(text: &str) -> Option<String> {
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let zone_at = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(zone_at)?;
    let mut clock = clock.splitn(3, ':');
    let (hour, minute) = (number(clock.next()?, 23)?, number(clock.next()?, 59)?);
    let (second, fraction) = match clock.next()?.split_once('.') {
        Some((second, fraction)) => (second.to_owned(), fraction.to_owned()),
        None => (clock_second(time)?, String::new()),
    };
    // A leap second is the sixtieth.
    let second = number(&second, 60)?;
    let offset = match zone.split_at_checked(1)? {
        ("Z", "") => 0,
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let seconds = number(hours, 23)? * 3600 + number(minutes, 59)? * 60;
            if sign == "-" { -seconds } else { seconds }
        }
    };
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && fraction.len() <= 9
        && fraction.bytes().all(|b| b.is_ascii_digit());
    if !in_range {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some(format!("{seconds}.{fraction:0<9}"))
}

/// A number from 0 to `most`.
fn number(text: &str, most: i64) -> Option<i64> {
    text.parse()
        .ok()
        .filter(|number| (0..=most).contains(number))
}

/// The seconds in a time without a fraction.
fn clock_second(time: &str) -> Option<String> {
    time.get(6..8).map(str::to_owned)
}

/// Days since 1970-01-01, counted in years that begin in March so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_seconds_since_1970() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some("0.000000000")),
            ("2000-02-29T12:00:00.5Z", Some("951825600.500000000")),
            (
                "2026-11-21T08:40:32.123456789Z",
                Some("1795250432.123456789"),
            ),
            (
                "2026-11-21T09:40:32.123456789+01:00",
                Some("1795250432.123456789"),
            ),
            ("2026-11-21T03:10:32-05:30", Some("1795250432.000000000")),
            ("", None),
            ("yesterday", None),
            ("2026-13-21T08:40:32Z", None),
            ("2026-11-21T24:40:32Z", None),
            ("2026-11-21T9223372036854775807:40:32.5Z", None),
            ("2026-11-21T08:40:32.5+9223372036854775807:00", None),
        ] {
            assert_eq!(since(text).as_deref(), expected, "{text}");
        }
    }
}
