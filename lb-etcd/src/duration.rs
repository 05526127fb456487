//! Durations as people write them.

use std::time::Duration;

pub(crate) use lb_core::duration::deserialize;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("duration is {text:?}, expected a whole number with its unit such as 500ms, 10s, 2m or 1h")]
pub struct InvalidDuration {
    /// The text given.
    pub text: String,
}

/// `500ms`, `10s`, `2m`, `1h`.
pub(crate) fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration {
        text: text.chars().take(64).collect(),
    };
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(invalid)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| invalid())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(invalid()),
    };
    number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(invalid)
}

/// The same as text, in the greatest unit that fits without a rest.
pub(crate) fn show(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (size, unit) in [(3_600_000, "h"), (60_000, "m"), (1000, "s")] {
        if millis > 0 && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_shown() {
        for text in ["0ms", "500ms", "1500ms", "10s", "2m", "1h", "25h"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
