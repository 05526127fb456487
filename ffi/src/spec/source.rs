//! One source, as it is configured.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lb_core::{FileSource, Name, Source, duration};
use serde::{Deserialize, Deserializer, de::DeserializeSeed};

use super::{
    error::SpecError,
    origin::{Format, Origin},
    parse,
    sieve::Sieve,
};

/// One source, by its `kind`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SourceSpec {
    /// `kind = "file"`: a file of services, or a folder of such files.
    File(FileSpec),
}

/// A file of services, or a folder of such files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FileSpec {
    /// The source's name. Default `file`.
    #[serde(default = "file_name")]
    pub name: Name,
    /// Where it is.
    pub path: PathBuf,
    /// How often to look even where the system tells of no change. Default 5 s.
    #[serde(default, with = "duration::optional")]
    pub poll: Option<Duration>,
    /// The most bytes that one file may have. Default 16 MiB.
    #[serde(default)]
    pub max_bytes: Option<u64>,
}

/// The word after `kind =`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SourceKind {
    File,
}

impl SourceSpec {
    /// Reads one source: a table with `kind` and the fields of that kind.
    ///
    /// # Errors
    /// [`SpecError::Invalid`] says where and what.
    pub fn parse(text: &str, format: Format) -> Result<Self, SpecError> {
        let origin = Origin {
            text: text.into(),
            format,
            file: None,
        };
        let kind = parse::read(&origin, parse::Tag::<SourceKind>::seed())?.kind;
        Ok(parse::read(&origin, kind)?)
    }

    /// Its name in status, events and metrics.
    #[must_use]
    pub fn name(&self) -> &Name {
        match self {
            Self::File(file) => &file.name,
        }
    }

    /// The source itself. It connects to nobody before it is run.
    ///
    /// # Errors
    /// [`SpecError::Source`] when it cannot work with this.
    pub fn build(self) -> Result<Box<dyn Source>, SpecError> {
        match self {
            Self::File(file) => Ok(Box::new(file.build())),
        }
    }

    /// The files that it reads, each with its field.
    pub(super) fn files(&self) -> Vec<(&'static str, &Path)> {
        match self {
            Self::File(file) => vec![("path", &file.path)],
        }
    }
}

impl FileSpec {
    fn build(self) -> FileSource {
        let mut source = FileSource::new(self.name, self.path);
        if let Some(poll) = self.poll {
            source = source.with_poll(poll);
        }
        if let Some(most) = self.max_bytes {
            source = source.with_max_bytes(most);
        }
        source
    }
}

impl<'de> DeserializeSeed<'de> for SourceKind {
    type Value = SourceSpec;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<SourceSpec, D::Error> {
        match self {
            Self::File => Sieve::kind().deserialize(input).map(SourceSpec::File),
        }
    }
}

fn file_name() -> Name {
    Name::from_text("file")
}
