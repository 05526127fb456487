//! Lengths of time as people write them: `500ms`, `10s`, `1m30s`, `2h`.

use std::time::Duration;

pub(crate) use lb_core::duration::deserialize;
#[cfg(test)]
use lb_core::duration::parse;
use serde::Serializer;

/// `duration` in the form that [`lb_core::duration::parse`] reads.
pub(crate) fn print(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

pub(crate) fn serialize<S: Serializer>(duration: &Duration, output: S) -> Result<S::Ok, S::Error> {
    output.serialize_str(&print(*duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("10", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text}");
        }
        assert_eq!(
            parse(&print(Duration::from_millis(1500))),
            Some(Duration::from_millis(1500))
        );
    }
}
