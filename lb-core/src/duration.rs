//! Lengths of time in configuration: a number of seconds, or a text with units such as `500ms`, `10s` or `1m30s`.
//!
//! For `#[serde(with = "lb_core::duration")]`; [`optional`] is the same for a field that may be missing.

use std::{fmt, time::Duration};

use serde::{Deserializer, Serializer, de};

/// The length of time that `text` says, if it says one: whole numbers with the units `ms`, `s`, `m` and `h`.
///
/// ```
/// use std::time::Duration;
/// use lb_core::duration;
///
/// assert_eq!(duration::parse("1m30s"), Some(Duration::from_secs(90)));
/// assert_eq!(duration::parse("90"), None, "which unit?");
/// ```
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, tail) = split(rest, |c| c.is_ascii_digit());
        let (unit, tail) = split(tail, |c| c.is_ascii_alphabetic());
        let number: u64 = number.parse().ok()?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(millis)?)?;
        rest = tail;
    }
    Some(Duration::from_millis(total))
}

/// Writes a number of seconds.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(value: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_f64(value.as_secs_f64())
}

/// Reads a number of seconds, or a text that [`parse`] reads.
///
/// # Errors
/// Says what was found and what was expected.
pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    input.deserialize_any(Reader)
}

/// The same for `Option<Duration>`, with `#[serde(default)]` for a field that may be missing.
pub mod optional {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes a number of seconds, or nothing.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
        value.map(|time| time.as_secs_f64()).serialize(out)
    }

    /// Reads as [`deserialize`](super::deserialize) does.
    ///
    /// # Errors
    /// Says what was found and what was expected.
    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
        struct Wrapped(Duration);
        impl<'de> Deserialize<'de> for Wrapped {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                super::deserialize(input).map(Self)
            }
        }
        Ok(Option::<Wrapped>::deserialize(input)?.map(|wrapped| wrapped.0))
    }
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

struct Reader;

impl de::Visitor<'_> for Reader {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length of time: seconds such as 30 or 0.5, or a text such as \"500ms\", \"10s\" or \"1m30s\"")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Duration, E> {
        Ok(Duration::from_secs(seconds))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
        u64::try_from(seconds)
            .map(Duration::from_secs)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Duration, E> {
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| E::invalid_value(de::Unexpected::Float(seconds), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Config {
        #[serde(with = "super")]
        a: Duration,
        #[serde(default, with = "optional")]
        b: Option<Duration>,
    }

    #[test]
    fn texts_are_whole_numbers_with_units() {
        for (text, millis) in [
            ("500ms", Some(500)),
            ("0s", Some(0)),
            (" 10s ", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("10", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1d", None),
            ("1 s", None),
            ("10é", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
            ("18446744073709551615ms", Some(u64::MAX)),
            ("18446744073709551615ms1ms", None),
        ] {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds_and_what_is_written_reads_back() {
        for (text, a, b) in [
            (r#"{"a": 30}"#, 30_000, None),
            (r#"{"a": 0.5, "b": null}"#, 500, None),
            (r#"{"a": "1m30s", "b": "20ms"}"#, 90_000, Some(20)),
        ] {
            let read: Config = serde_json::from_str(text).unwrap();
            let expected = Config {
                a: Duration::from_millis(a),
                b: b.map(Duration::from_millis),
            };
            assert_eq!(read, expected, "{text}");
            let written = serde_json::to_string(&read).unwrap();
            assert_eq!(serde_json::from_str::<Config>(&written).unwrap(), expected);
        }
        for text in ["-1", "-0.5", "1e300", "\"10\"", "true", "[]"] {
            let error = serde_json::from_str::<Config>(&format!(r#"{{"a": {text}}}"#)).unwrap_err();
            assert!(
                error.to_string().contains("expected a length of time"),
                "{text}: {error}"
            );
        }
    }
}
