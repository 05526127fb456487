//! Parsers that are no part of what the crate offers, for fuzz targets.

use crate::source::{Diagnostic, Record, file_records};

/// The records that the file source takes from a file of this name and content, or what is wrong with it.
///
/// # Errors
/// The diagnostic that the file source gives.
pub fn file(name: &str, bytes: &[u8]) -> Result<Vec<Record>, Diagnostic> {
    file_records(name, bytes)
}
