//! Why a reply is not what it should be.

use super::BoundedText;

/// Why a reply could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// A field that holds something else than it should.
    #[error("{reply}, line {line}: {column} is {value:?}, expected {expected}")]
    Field {
        /// The reply.
        reply: &'static str,
        /// The line, from 1.
        line: usize,
        /// The field's column or key.
        column: &'static str,
        /// The value it has.
        value: BoundedText,
        /// The value it should have.
        expected: &'static str,
    },
    /// No line with the names of the columns.
    #[error("{reply} has no header, but {found:?}")]
    Header {
        /// The reply.
        reply: &'static str,
        /// The text that is there instead.
        found: BoundedText,
    },
    /// A column or key that every known version has.
    #[error("{reply} has no {column}")]
    MissingColumn {
        /// The reply.
        reply: &'static str,
        /// The column or key.
        column: &'static str,
    },
    /// A line that ends before a needed column.
    #[error("{reply}, line {line}: nothing in column {column}")]
    ShortLine {
        /// The reply.
        reply: &'static str,
        /// The line, from 1.
        line: usize,
        /// The column.
        column: &'static str,
    },
}
