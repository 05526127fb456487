//! Answers on standard output.

use std::{
    fmt::Display,
    io::{self, Write},
};

/// Prints a text as it is. Whoever reads no further, such as `head`, is no failure.
pub(crate) fn print(text: impl Display) {
    // Nothing is left to say to somebody who has gone.
    let _ = write!(io::stdout(), "{text}");
}

/// Prints a line.
pub(crate) fn print_line(line: impl Display) {
    print(format_args!("{line}\n"));
}
