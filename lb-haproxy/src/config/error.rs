//! Why a configuration cannot be written.

use lb_core::Name;

use crate::{proto::Version, routes::UnquotableMap};

/// Why a configuration cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Two frontends, two backends, or one of each, of one name.
    #[error("{section} {name} is there twice")]
    Duplicate {
        /// Frontend or backend.
        section: &'static str,
        /// Their name.
        name: Name,
    },
    /// A frontend that listens nowhere.
    #[error("frontend {frontend} listens nowhere, expected at least one bind")]
    NoBind {
        /// The frontend.
        frontend: Name,
    },
    /// Something that only makes sense for HTTP, in a section of mode `tcp`.
    #[error("{section} {name} has mode tcp, {what} needs http")]
    NeedsHttp {
        /// Frontend or backend.
        section: &'static str,
        /// Its name.
        name: Name,
        /// The feature that was asked for.
        what: &'static str,
    },
    /// Something this HAProxy does not have yet.
    #[error("{what} needs HAProxy {major}.{minor}, this is {version}")]
    NeedsVersion {
        /// The feature that was asked for.
        what: &'static str,
        /// The version that has it first.
        major: u16,
        /// And its second number.
        minor: u16,
        /// The version to write for.
        version: Version,
    },
    /// A backend that is not there.
    #[error("frontend {frontend} uses backend {backend}, which is not there")]
    NoSuchBackend {
        /// The frontend.
        frontend: Name,
        /// The backend.
        backend: Name,
    },
    /// A number or time that HAProxy would refuse or take for something else.
    #[error("{what} is {value}, expected {expected}")]
    OutOfRange {
        /// The name of the value.
        what: &'static str,
        /// The value it has.
        value: String,
        /// The value it should have.
        expected: &'static str,
    },
    /// A default backend beside a map of routes, which has its own.
    #[error("frontend {frontend} has a default backend and a map of routes, expected one of them")]
    TwoDefaults {
        /// The frontend.
        frontend: Name,
    },
    /// A map whose file name cannot stand in a configuration.
    #[error("map cannot be named in a configuration")]
    Map(#[from] UnquotableMap),
    /// A template that does not have each part once.
    #[error("template line {line}: `# lb: {word}` {what}")]
    Template {
        /// The line, from 1; the last one where something is missing.
        line: usize,
        /// The diagnostic.
        what: &'static str,
        /// The part.
        word: String,
    },
    /// A host or path with a character that cannot stand in a configuration as it is.
    #[error("{what} {text:?} cannot stand in a configuration")]
    Unwritable {
        /// Host or path.
        what: &'static str,
        /// The text.
        text: String,
    },
}
