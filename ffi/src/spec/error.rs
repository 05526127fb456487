//! What can be wrong with a configuration.

use std::{fmt, io, path::PathBuf};

use lb_core::{BuildError, Name};

/// Why there is no configuration, or nothing could be built from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The control plane refused a setting or a name.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The text is not what was expected.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The file could not be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A source cannot work with what it was given.
    #[error("source {name} cannot be built")]
    Source {
        /// Its name.
        name: Name,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is too large to be a configuration.
    #[error("{} has more than {limit} bytes", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },
}

/// A place in a configuration's text, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct Invalid {
    /// The file, where the text is from one.
    pub file: Option<PathBuf>,
    /// The place, where it is known.
    pub position: Option<Position>,
    /// The field, such as `sources[1].path`; empty for the whole text.
    pub field: String,
    /// The value that was found and what was expected, as a lower-case fragment.
    pub message: String,
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

impl Position {
    /// The position of the byte at `offset`.
    #[must_use]
    pub fn of_offset(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or("").chars().count() + 1,
        }
    }

    /// The position of the byte at `column`, from 1, of a line, from 1.
    pub(super) fn of_bytes(text: &str, line: usize, column: usize) -> Self {
        let before = text
            .split('\n')
            .nth(line.saturating_sub(1))
            .and_then(|line| line.get(..column));
        Self {
            line: line.max(1),
            column: before
                .map_or(column, |before| before.chars().count())
                .max(1),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
        }
        if let Some(position) = &self.position {
            write!(f, "{position}:")?;
        }
        if self.file.is_some() || self.position.is_some() {
            f.write_str(" ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}
