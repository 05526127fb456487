//! The file source: see [`FileSource`].

mod files;
mod notice;
mod parse;
mod read;
mod schema;
mod source;
mod told;

pub use source::FileSource;

/// The records that a file of this name and content asks for, or what is wrong with it.
#[cfg(feature = "fuzzing")]
pub(crate) fn records(name: &str, bytes: &[u8]) -> Result<Vec<super::Record>, super::Diagnostic> {
    parse::parse(name, bytes).map_err(|broken| broken.diagnostic(name))
}
