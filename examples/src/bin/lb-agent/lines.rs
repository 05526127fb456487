//! Lines of the log: escaped, cut, and counted where they repeat too often.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use lb_core::text::shown;
use tracing::{Event, Metadata, Subscriber, callsite::Identifier};
use tracing_subscriber::layer::{Context, Filter};

/// The most bytes of one line.
const LINE: usize = 8 * 1024;

/// The number of lines that one place of the program may log in a window.
const MOST: u32 = 200;

/// The window in which lines are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Writes each line to standard error with everything escaped that is not part of one line.
#[derive(Debug)]
pub(crate) struct Safe {
    colours: bool,
}

impl Safe {
    /// `colours`: the line has escapes of its own, which stay.
    pub(crate) fn new(colours: bool) -> Self {
        Self { colours }
    }
}

impl Write for Safe {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        io::stderr().write_all(safe(&text, self.colours).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn safe(text: &str, colours: bool) -> String {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let mut line = match colours {
        // The colours of the formatter are escapes in front of letters `m`, and the only ones.
        true => body
            .split("\u{1b}[")
            .enumerate()
            .map(|(number, part)| match (number, colour(part)) {
                (0, _) => shown(part, LINE).into_owned(),
                (_, Some((code, rest))) => format!("\u{1b}[{code}m{}", shown(rest, LINE)),
                (_, None) => format!("\\u{{1b}}[{}", shown(part, LINE)),
            })
            .collect(),
        false => shown(body, LINE).into_owned(),
    };
    line.push('\n');
    line
}

/// A colour's number, and what follows it.
fn colour(part: &str) -> Option<(&str, &str)> {
    let (code, rest) = part.split_once('m')?;
    let fits = code.len() <= 2 && code.bytes().all(|byte| byte.is_ascii_digit());
    fits.then_some((code, rest))
}

/// Leaves out lines that one place of the program logs too often, and says how many.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    sites: Mutex<HashMap<Identifier, Site>>,
}

#[derive(Debug, Clone, Copy)]
struct Site {
    since: Instant,
    lines: u32,
}

impl Rate {
    /// Counts a line. `None` if it is one too many, else how many were left out before it.
    fn admit(&self, site: Identifier, now: Instant) -> Option<u32> {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let site = sites.entry(site).or_insert(Site {
            since: now,
            lines: 0,
        });
        let mut left_out = 0;
        if now.duration_since(site.since) >= WINDOW {
            left_out = site.lines.saturating_sub(MOST);
            *site = Site {
                since: now,
                lines: 0,
            };
        }
        site.lines = site.lines.saturating_add(1);
        (site.lines <= MOST).then_some(left_out)
    }
}

impl<S: Subscriber> Filter<S> for Rate {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        #[expect(
            clippy::disallowed_methods,
            reason = "the log is the edge: its lines have a time"
        )]
        let now = Instant::now();
        match self.admit(event.metadata().callsite(), now) {
            None => false,
            Some(0) => true,
            Some(lines) => {
                let place = event.metadata().target();
                let told = format!("{lines} lines like the next one were left out ({place})\n");
                let _gone = io::stderr().write_all(told.as_bytes());
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_h09_a_line_of_the_log_is_one_line() {
        let forged = "WARN name=a\nERROR forged \u{1b}[2J\u{7}\n";
        assert_eq!(
            safe(forged, false),
            "WARN name=a\\nERROR forged \\u{1b}[2J\\u{7}\n"
        );
        let coloured = "\u{1b}[33mWARN\u{1b}[0m a\u{1b}[2J\u{1b}]0;x\u{7}\n";
        assert_eq!(
            safe(coloured, true),
            "\u{1b}[33mWARN\u{1b}[0m a\\u{1b}[2J\\u{1b}]0;x\\u{7}\n"
        );
    }

    #[test]
    fn case_h10_a_long_line_is_cut_and_repeated_ones_are_counted() {
        let line = safe(&"x".repeat(15_000_000), false);
        assert!(line.len() < LINE + 64 && line.ends_with("(15000000 bytes)\n"));
        let rate = Rate::default();
        let site = tracing::callsite!(name: "test", kind: tracing::metadata::Kind::EVENT, fields: );
        let site = tracing::callsite::Callsite::metadata(site).callsite();
        #[expect(clippy::disallowed_methods, reason = "a test reads the clock once")]
        let now = Instant::now();
        let admitted = (0..1000).filter(|_| rate.admit(site.clone(), now).is_some());
        assert_eq!(admitted.count(), MOST as usize);
        assert_eq!(rate.admit(site, now + WINDOW), Some(1000 - MOST));
    }
}
