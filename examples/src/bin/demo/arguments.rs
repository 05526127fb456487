//! The command line. Pure.

use std::{path::PathBuf, time::Duration};

pub(crate) const HELP: &str = "\
Shows lb at work on a real HAProxy, which it starts itself: endpoints of two services come, go, restart and change
hands under load, and every request is checked to be answered by an endpoint of its service.

Usage: demo [OPTIONS]

Options:
  --seconds N      how long the story takes: 10 to 3600 (default: 20)
  --users N        how many users ask at the same time: 1 to 2000 (default: 40)
  --haproxy PATH   the HAProxy to run (default: haproxy from PATH)
  --json           print nothing but the result, as JSON
  --help           print this

Environment:
  NO_COLOR         print without colours

Exit status: 0 if every change was made and no request was lost or misrouted; 1 if not; 2 for wrong usage;
130 or 143 if interrupted.
";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) length: Duration,
    pub(crate) users: usize,
    pub(crate) haproxy: Option<PathBuf>,
    pub(crate) json: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Run(Arguments),
    Help,
}

impl Arguments {
    /// Reads the command line without the program's name.
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Request, String> {
        let mut all = Self {
            length: Duration::from_secs(20),
            users: 40,
            haproxy: None,
            json: false,
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            let mut value = |expected: &str| {
                let missing = || format!("{name} has no value, expected {expected}");
                attached
                    .clone()
                    .or_else(|| words.next())
                    .ok_or_else(missing)
            };
            match name.as_str() {
                "--seconds" => {
                    let expected = "10 to 3600";
                    let seconds = number(&name, &value(expected)?, expected, 10..=3600)?;
                    all.length = Duration::from_secs(seconds);
                }
                "--users" => {
                    let expected = "1 to 2000";
                    let users = number(&name, &value(expected)?, expected, 1..=2000)?;
                    all.users = usize::try_from(users).unwrap_or(usize::MAX);
                }
                "--haproxy" => all.haproxy = Some(value("a path")?.into()),
                "--json" if attached.is_none() => all.json = true,
                "--help" | "-h" if attached.is_none() => return Ok(Request::Help),
                _ => return Err(format!("unknown argument {name:?}")),
            }
        }
        Ok(Request::Run(all))
    }
}

fn number(
    name: &str,
    value: &str,
    expected: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, String> {
    value
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{name} is {value:?}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        Arguments::parse(line.split_whitespace().map(ToOwned::to_owned))
    }

    #[test]
    fn the_command_line_is_read() {
        let Ok(Request::Run(all)) = parse("--seconds 30 --users=7 --json --haproxy /x/y") else {
            panic!("refused");
        };
        assert_eq!((all.length.as_secs(), all.users, all.json), (30, 7, true));
        assert_eq!(all.haproxy, Some("/x/y".into()));
        assert_eq!(parse("--json --help"), Ok(Request::Help));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, told) in [
            ("--seconds 5", "--seconds is \"5\", expected 10 to 3600"),
            ("--users x", "--users is \"x\", expected 1 to 2000"),
            ("--users", "--users has no value, expected 1 to 2000"),
            ("--json=1", "unknown argument \"--json\""),
            ("more", "unknown argument \"more\""),
        ] {
            assert_eq!(parse(line), Err(told.to_owned()));
        }
    }
}
