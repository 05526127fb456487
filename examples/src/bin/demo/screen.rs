//! What is shown while the story runs: finished scenes, and below them, on a terminal, one line that moves.

use std::{
    io::{IsTerminal as _, Write as _, stdout},
    time::Duration,
};

pub(crate) struct Screen {
    quiet: bool,
    terminal: bool,
    colours: bool,
    /// If `true`, the moving line stands there now.
    line: bool,
}

/// The width of [`Screen::standing`] with two services of short names.
const WIDTH: usize = 72;

/// The present state, for one line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    pub(crate) elapsed: Duration,
    pub(crate) endpoints: Vec<(String, usize)>,
    pub(crate) requests: u64,
    pub(crate) lost: u64,
    pub(crate) misrouted: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Colour {
    Bold,
    Dim,
    Good,
    Bad,
}

impl Screen {
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
        Self {
            quiet,
            terminal,
            colours: terminal && !plain,
            line: false,
        }
    }

    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        if !self.colours {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Bold => "1",
            Colour::Dim => "2",
            Colour::Good => "32",
            Colour::Bad => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A line that stays.
    pub(crate) fn say(&mut self, text: &str) {
        if self.quiet {
            return;
        }
        let wipe = if self.line { "\r\x1b[2K" } else { "" };
        self.line = false;
        // Nobody may be reading; the result is then in the exit status.
        let _ = writeln!(stdout(), "{wipe}{text}");
    }

    /// The line that moves. Without a terminal, nothing.
    pub(crate) fn draw(&mut self, standing: &Standing, scene: &str) {
        if self.quiet || !self.terminal {
            return;
        }
        // A line that wraps could not be wiped again.
        let columns = rustix::termios::tcgetwinsize(stdout()).map_or(80, |size| size.ws_col);
        let columns = usize::from(columns.max(40)) - 1;
        let room = columns.saturating_sub(WIDTH);
        let scene: String = match room {
            0..20 => String::new(),
            room => scene.chars().take(room).collect(),
        };
        let text = format!("{}  {scene}", self.standing(standing));
        self.line = true;
        let mut out = stdout();
        let _ = write!(out, "\r\x1b[2K{text}");
        let _ = out.flush();
    }

    /// The present state as one piece of a line.
    pub(crate) fn standing(&self, standing: &Standing) -> String {
        let mut text = format!("{:5.1} s  ", standing.elapsed.as_secs_f64());
        for (service, count) in &standing.endpoints {
            text.push_str(&format!("{service} {count:<2} "));
        }
        text.push_str(&format!(" {:>9} requests  ", grouped(standing.requests)));
        text.push_str(&self.verdict(standing.lost, "lost"));
        text.push_str("  ");
        text.push_str(&self.verdict(standing.misrouted, "misrouted"));
        text
    }

    /// A count that should be 0.
    pub(crate) fn verdict(&self, count: u64, what: &str) -> String {
        let colour = if count == 0 {
            Colour::Good
        } else {
            Colour::Bad
        };
        self.paint(colour, &format!("{} {what}", grouped(count)))
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in the unit that suits it.
pub(crate) fn short(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..100_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        100_000..1_000_000 => format!("{:.0} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_easy_to_read() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(short(Duration::from_micros(1250)), "1.2 ms");
        assert_eq!(short(Duration::from_micros(12)), "12 µs");
        assert_eq!(short(Duration::from_secs(20)), "20.0 s");
    }
}
