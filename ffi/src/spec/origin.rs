//! The text that a configuration was read from, and where in it something stands.

use std::{borrow::Cow, collections::BTreeMap, path::Path, path::PathBuf, sync::Arc};

use lb_core::credentials::{hidden, is_secret, without_quoted};
use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

use super::error::{Invalid, Position};

/// The format of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON.
    Json,
    /// TOML.
    Toml,
}

impl Format {
    /// The format of a file by the ending of its name: JSON for `.json`, else TOML.
    ///
    /// ```
    /// use lb::spec::Format;
    ///
    /// assert_eq!(Format::of_file("lb.JSON".as_ref()), Format::Json);
    /// assert_eq!(Format::of_file("lb.conf".as_ref()), Format::Toml);
    /// ```
    #[must_use]
    pub fn of_file(file: &Path) -> Self {
        let json = file
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
        if json { Self::Json } else { Self::Toml }
    }
}

/// A text, how it is written and where it is from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) text: Arc<str>,
    pub(super) format: Format,
    pub(super) file: Option<PathBuf>,
}

impl Origin {
    pub(super) fn invalid(
        &self,
        position: Option<Position>,
        field: String,
        message: String,
    ) -> Invalid {
        let message = match is_secret(&field) {
            true => without_quoted(&message),
            false => hidden(&message).into_owned(),
        };
        Invalid {
            file: self.file.clone(),
            position,
            field: visible(&field),
            message: visible(&message),
        }
    }

    /// The position of the field, or of the nearest thing around it that is written down.
    pub(super) fn find(&self, field: &str) -> Option<Position> {
        let path: Vec<&str> = field
            .split(['.', '[', ']'])
            .filter(|step| !step.is_empty())
            .collect();
        let offset = match self.format {
            Format::Json => json_offset(&self.text, &self.text, &path)?,
            Format::Toml => toml_offset(&self.text, &path)?,
        };
        Some(Position::of_offset(&self.text, offset))
    }
}

/// A text that a terminal shows and nothing else: what it quotes may be anything.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

fn toml_offset(text: &str, path: &[&str]) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let (first, rest) = path.split_first()?;
    let mut value = table.get_ref().get(*first)?;
    for step in rest {
        let inner = match value.get_ref() {
            DeValue::Array(array) => array.get(step.parse::<usize>().ok()?),
            DeValue::Table(table) => table.get(*step),
            _ => None,
        };
        let Some(inner) = inner else { break };
        value = inner;
    }
    Some(value.span().start)
}

fn json_offset(whole: &str, value: &str, path: &[&str]) -> Option<usize> {
    let here = (value.as_ptr() as usize).checked_sub(whole.as_ptr() as usize);
    let Some((step, rest)) = path.split_first() else {
        return here;
    };
    let inner = match step.parse::<usize>() {
        Ok(index) => {
            let values: Vec<&RawValue> = serde_json::from_str(value).ok()?;
            values.get(index).copied()
        }
        Err(_) => {
            let values: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(value).ok()?;
            values.get(*step).copied()
        }
    };
    match inner {
        Some(inner) => json_offset(whole, inner.get(), rest),
        None => here,
    }
}
