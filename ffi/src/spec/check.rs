//! Looks for what is wrong with a configuration that could be read.

use std::{
    collections::BTreeMap,
    fmt,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use lb_core::{BuildError, Name};
use lb_haproxy::{SocketAddress, TargetConfig};
use serde::Serialize;

use super::{
    document::Spec,
    error::{Position, SpecError},
    maps,
    source::SourceSpec,
    target::TargetSpec,
};

/// Something wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// The file, where the configuration is from one.
    pub file: Option<PathBuf>,
    /// The position of the field, where that is known.
    #[serde(flatten)]
    pub position: Option<Position>,
    /// The field, such as `sources[1].path`.
    pub field: String,
    /// The value that was found and what was expected.
    pub message: String,
    /// The severity.
    pub severity: Severity,
}

/// The severity of a [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It works, or will once something outside is there.
    Warning,
    /// Nothing can be built from it.
    Error,
}

impl fmt::Display for Problem {
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
        f.write_str(match self.severity {
            Severity::Warning => "warning: ",
            Severity::Error => "error: ",
        })?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl Spec {
    /// Everything wrong with the configuration that can be found without connecting to anybody. Without an error
    /// among it, [`build`](Self::build) succeeds.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut found = Findings {
            spec: self,
            problems: Vec::new(),
        };
        found.settings();
        found.agent();
        found.names(
            "sources",
            "source",
            self.sources.iter().map(SourceSpec::name),
        );
        found.names(
            "targets",
            "target",
            self.targets.iter().map(TargetSpec::name),
        );
        for (index, source) in self.sources.iter().enumerate() {
            found.source(index, source);
        }
        let mut sockets = BTreeMap::new();
        for (index, target) in self.targets.iter().enumerate() {
            found.target(index, target, &mut sockets);
        }
        for (field, message) in maps::mismatches(self) {
            found.add(Severity::Warning, field, message);
        }
        found.problems.sort_by_key(|problem| problem.position);
        found.problems
    }
}

struct Findings<'s> {
    spec: &'s Spec,
    problems: Vec<Problem>,
}

impl<'s> Findings<'s> {
    fn add(&mut self, severity: Severity, field: impl Into<String>, message: impl Into<String>) {
        let field = field.into();
        let origin = self.spec.origin.as_ref();
        self.problems.push(Problem {
            file: origin.and_then(|origin| origin.file.clone()),
            position: origin.and_then(|origin| origin.find(&field)),
            field,
            message: message.into(),
            severity,
        });
    }

    fn settings(&mut self) {
        match self.spec.builder().build() {
            Err(BuildError::Guard(error)) => {
                self.add(Severity::Error, "guard", error.to_string());
            }
            Err(BuildError::Setting {
                setting,
                value,
                expected,
            }) => self.add(
                Severity::Error,
                setting,
                format!("is {value}, expected {expected}"),
            ),
            Err(error) => self.add(Severity::Error, "", error.to_string()),
            Ok(_) => {}
        }
        if self.spec.sources.is_empty() {
            let message = "there is no source, so nothing will ever be known";
            self.add(Severity::Warning, "sources", message);
        }
        if self.spec.targets.is_empty() {
            let message = "there is no target, so nothing will ever be changed";
            self.add(Severity::Warning, "targets", message);
        }
    }

    fn agent(&mut self) {
        let agent = &self.spec.agent;
        if let Some(address) = agent.metrics
            && !address.ip().is_loopback()
        {
            let message =
                format!("{address} may be reachable from other machines, and everyone may read");
            self.add(Severity::Warning, "agent.metrics", message);
        }
        let path = agent.socket.as_os_str();
        if path.is_empty() || path.len() > SocketAddress::MAX_PATH {
            let message = format!(
                "the path has {} bytes, expected 1 to {}",
                path.len(),
                SocketAddress::MAX_PATH
            );
            self.add(Severity::Error, "agent.socket", message);
        }
    }

    fn names(&mut self, list: &str, what: &str, names: impl Iterator<Item = &'s Name>) {
        let mut seen: BTreeMap<&Name, usize> = BTreeMap::new();
        for (index, name) in names.enumerate() {
            if let Some(first) = seen.get(name) {
                let message = format!(
                    "{what} {name} is there already as {list}[{first}], expected a name of its own"
                );
                self.add(Severity::Error, format!("{list}[{index}].name"), message);
            } else {
                seen.insert(name, index);
            }
        }
    }

    fn source(&mut self, index: usize, source: &SourceSpec) {
        if let Err(error) = source.clone().build() {
            self.add(Severity::Error, format!("sources[{index}]"), chain(&error));
        }
        for (field, path) in source.files() {
            self.readable(format!("sources[{index}].{field}"), path);
        }
    }

    fn target(
        &mut self,
        index: usize,
        target: &'s TargetSpec,
        sockets: &mut BTreeMap<&'s SocketAddress, &'s TargetConfig>,
    ) {
        if let Err(error) = target.clone().build() {
            self.add(Severity::Error, format!("targets[{index}]"), chain(&error));
        }
        let TargetSpec::Haproxy(config) = target;
        let field = format!("targets[{index}].socket");
        let other = sockets.insert(&config.socket, config);
        if let Some(other) = other.filter(|other| other.manage.overlap(&config.manage).is_some()) {
            let message = format!(
                "{} is the socket of target {} too",
                config.socket, other.name
            );
            self.add(Severity::Warning, field.clone(), message);
        }
        let state = config.files.server_state.as_deref();
        if let Some(folder) = state.and_then(Path::parent)
            && !folder.is_dir()
        {
            let message = format!("{}: there is no such folder", folder.display());
            let field = format!("targets[{index}].files.server_state");
            self.add(Severity::Warning, field, message);
        }
        if let Some(growth) = &config.growth {
            let missing = [
                ("master", config.master.is_none()),
                ("files.server_state", config.files.server_state.is_none()),
            ];
            for (needed, _) in missing.iter().filter(|(_, missing)| *missing) {
                let message = format!("needs targets[{index}].{needed}, which is not there");
                self.add(Severity::Error, format!("targets[{index}].growth"), message);
            }
            let field = format!("targets[{index}].growth.config");
            self.readable(field, &growth.config);
        }
        let Some(path) = config.socket.path() else {
            return;
        };
        match std::fs::metadata(path) {
            Ok(found) if found.file_type().is_socket() => {}
            Ok(_) => {
                let message = format!("{} is not a socket", path.display());
                self.add(Severity::Error, field, message);
            }
            Err(error) => {
                let message = format!("{}: {}", path.display(), plain(&error));
                self.add(Severity::Warning, field, message);
            }
        }
    }

    fn readable(&mut self, field: String, path: &Path) {
        let problem = match std::fs::metadata(path) {
            // A pipe would keep whoever opens it until somebody writes.
            Ok(found) if !found.is_file() && !found.is_dir() => {
                Some(format!("{} is neither a file nor a folder", path.display()))
            }
            Ok(_) => std::fs::File::open(path)
                .err()
                .map(|error| format!("{}: {}", path.display(), plain(&error))),
            Err(error) => Some(format!("{}: {}", path.display(), plain(&error))),
        };
        if let Some(message) = problem {
            self.add(Severity::Warning, field, message);
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &SpecError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The system's text, without its number.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "it may not be read".to_owned(),
        _ => error.to_string(),
    }
}
