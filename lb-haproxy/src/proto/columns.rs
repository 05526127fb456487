//! Reading tables by the names of their columns, as versions add some in the middle.

use std::str::FromStr;

use super::{BoundedText, ParseError};

/// One line's fields; the places are found once per table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a, 'f> {
    pub(super) reply: &'static str,
    /// From 1, as an editor counts.
    pub(super) number: usize,
    pub(super) fields: &'f [&'a str],
}

/// The place of a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    at: usize,
}

/// The names in a header line.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) reply: &'static str,
    pub(super) names: Vec<&'a str>,
}

impl<'a> Header<'a> {
    /// Reads the names from the first line of a reply, which begins with `mark`.
    pub(super) fn read<N: Iterator<Item = &'a str>>(
        reply: &'static str,
        text: &'a str,
        mark: &str,
        names: impl FnOnce(&'a str) -> N,
    ) -> Result<Self, ParseError> {
        let line = text.lines().next();
        match line.and_then(|line| line.strip_prefix(mark)) {
            Some(line) => Ok(Self {
                reply,
                names: names(line).collect(),
            }),
            None => Err(ParseError::Header {
                reply,
                found: BoundedText::new(text),
            }),
        }
    }

    pub(super) fn column(&self, name: &'static str) -> Result<Column, ParseError> {
        self.optional(name).ok_or(ParseError::MissingColumn {
            reply: self.reply,
            column: name,
        })
    }

    pub(super) fn optional(&self, name: &'static str) -> Option<Column> {
        let at = self.names.iter().position(|found| *found == name)?;
        Some(Column { name, at })
    }
}

impl<'a> Line<'a, '_> {
    pub(super) fn text(&self, column: Column) -> Result<&'a str, ParseError> {
        self.fields
            .get(column.at)
            .copied()
            .ok_or(ParseError::ShortLine {
                reply: self.reply,
                line: self.number,
                column: column.name,
            })
    }

    pub(super) fn number<T: FromStr>(&self, column: Column) -> Result<T, ParseError> {
        let text = self.text(column)?;
        text.parse()
            .map_err(|_| self.wrong(column, text, "a number"))
    }

    /// The number in a column that may be missing or empty.
    pub(super) fn maybe<T: FromStr>(
        &self,
        column: Option<Column>,
    ) -> Result<Option<T>, ParseError> {
        let Some(column) = column else {
            return Ok(None);
        };
        match self.fields.get(column.at) {
            None | Some(&"") => Ok(None),
            Some(_) => self.number(column).map(Some),
        }
    }

    /// The text in a column that may be missing, empty or `-`.
    pub(super) fn maybe_text(&self, column: Option<Column>) -> Option<&'a str> {
        self.fields
            .get(column?.at)
            .copied()
            .filter(|text| !matches!(*text, "" | "-"))
    }

    pub(super) fn wrong(&self, column: Column, value: &str, expected: &'static str) -> ParseError {
        ParseError::Field {
            reply: self.reply,
            line: self.number,
            column: column.name,
            value: BoundedText::new(value),
            expected,
        }
    }
}
