//! Answers on standard output.

use std::{
    fmt::Display,
    io::{self, Write},
};

use lb_core::text::lines;

/// Prints a text, in which nothing speaks to the terminal. A reader that reads no further, such as `head`, is no failure.
pub(crate) fn print(text: impl Display) {
    let text = text.to_string();
    // Nothing is left to say to a reader that has gone.
    let _ = write!(io::stdout(), "{}", lines(&text));
}

/// Prints a line.
pub(crate) fn print_line(line: impl Display) {
    print(format_args!("{line}\n"));
}
