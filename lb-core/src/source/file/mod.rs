//! The file source: see [`FileSource`].

mod files;
mod notice;
mod parse;
mod read;
mod schema;
mod source;

pub use source::FileSource;
