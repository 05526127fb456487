//! One source, as it is configured.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lb_core::{FileSource, Name, Source, duration};
use lb_docker::{DockerConfig, DockerSource, SwarmConfig, SwarmSource};
use lb_etcd::{
    EtcdConfig, EtcdError, EtcdSource,
    v2::{EtcdV2Config, EtcdV2Source},
};
use serde::{Deserialize, Deserializer, de::DeserializeSeed};

use super::{
    bounds::Bounds,
    error::SpecError,
    origin::{Format, Origin},
    parse,
    sieve::Sieve,
};

/// One source, by its `kind`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SourceSpec {
    /// `kind = "docker"`: the containers of a Docker engine.
    Docker(DockerConfig),
    /// `kind = "etcd"`: keys of an etcd cluster.
    Etcd(EtcdSpec),
    /// `kind = "etcd_v2"`: keys of the API of etcd 2.
    EtcdV2(EtcdV2Spec),
    /// `kind = "file"`: a file of services, or a folder of such files.
    File(FileSpec),
    /// `kind = "swarm"`: the services of a Docker Swarm.
    Swarm(SwarmConfig),
    /// A source of any kind with a trust or limits of its own.
    Bounded(Box<Self>, Bounds),
}

/// Keys of an etcd cluster, as the source of this name.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EtcdSpec {
    /// The source's name. Default `etcd`.
    pub name: Name,
    /// The cluster and the layouts it follows; written beside the name.
    pub config: EtcdConfig,
}

/// Keys of the API of etcd 2, as the source of this name.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EtcdV2Spec {
    /// The source's name. Default `etcd`.
    pub name: Name,
    /// The cluster and the layouts it follows; written beside the name.
    pub config: EtcdV2Config,
}

/// A file of services, or a folder of such files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FileSpec {
    /// The source's name. Default `file`.
    #[serde(default = "file_name")]
    pub name: Name,
    /// The path of the file.
    pub path: PathBuf,
    /// The interval of looks at the file even where the system reports no change. Default 5 s.
    #[serde(default, with = "duration::optional")]
    pub poll: Option<Duration>,
    /// The most bytes that one file may have. Default 16 MiB.
    #[serde(default)]
    pub max_bytes: Option<u64>,
    /// The most bytes that all files of a folder may have together. Default 64 MiB.
    #[serde(default)]
    pub max_folder_bytes: Option<u64>,
    /// If `true`, a file of a folder may be a link that leads out of it. Default `false`.
    #[serde(default)]
    pub outside_links: bool,
}

/// The word after `kind =`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SourceKind {
    Docker,
    Etcd,
    EtcdV2,
    File,
    Swarm,
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
            Self::Docker(config) => &config.name,
            Self::Etcd(etcd) => &etcd.name,
            Self::EtcdV2(etcd) => &etcd.name,
            Self::File(file) => &file.name,
            Self::Swarm(config) => &config.name,
            Self::Bounded(source, _) => source.name(),
        }
    }

    /// The source without its bounds.
    #[must_use]
    pub fn unbounded(&self) -> &Self {
        match self {
            Self::Bounded(source, _) => source.unbounded(),
            plain => plain,
        }
    }

    /// The source itself. It connects to nobody before it is run.
    ///
    /// # Errors
    /// [`SpecError::Source`] when it cannot work with this.
    pub fn build(self) -> Result<Box<dyn Source>, SpecError> {
        match self {
            Self::Docker(config) => Ok(Box::new(DockerSource::new(config))),
            Self::Etcd(EtcdSpec { name, config }) => {
                boxed(&name, EtcdSource::new(name.clone(), config))
            }
            Self::EtcdV2(EtcdV2Spec { name, config }) => {
                boxed(&name, EtcdV2Source::new(name.clone(), config))
            }
            Self::File(file) => Ok(Box::new(file.build())),
            Self::Swarm(config) => Ok(Box::new(SwarmSource::new(config))),
            Self::Bounded(source, bounds) => Ok(bounds.restrict(source.build()?)),
        }
    }

    /// The files that it reads, each with its field.
    pub(super) fn files(&self) -> Vec<(&'static str, &Path)> {
        match self {
            Self::Docker(_) | Self::EtcdV2(_) | Self::Swarm(_) => Vec::new(),
            Self::Etcd(etcd) => etcd.files(),
            Self::File(file) => vec![("path", &file.path)],
            Self::Bounded(source, _) => source.files(),
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
        if let Some(most) = self.max_folder_bytes {
            source = source.with_max_folder_bytes(most);
        }
        source.with_outside_links(self.outside_links)
    }
}

impl EtcdSpec {
    fn files(&self) -> Vec<(&'static str, &Path)> {
        let connection = &self.config.connection;
        let tls = &connection.tls;
        let password = connection
            .auth
            .as_ref()
            .and_then(|auth| auth.password_file.as_deref());
        [
            ("connection.tls.ca_file", tls.ca_file.as_deref()),
            ("connection.tls.cert_file", tls.cert_file.as_deref()),
            ("connection.tls.key_file", tls.key_file.as_deref()),
            ("connection.auth.password_file", password),
        ]
        .into_iter()
        .filter_map(|(field, path)| path.map(|path| (field, path)))
        .collect()
    }
}

impl<'de> DeserializeSeed<'de> for SourceKind {
    type Value = SourceSpec;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<SourceSpec, D::Error> {
        let mut bounds = Bounds::default();
        let mut name = None;
        let all = &mut bounds;
        let source = match self {
            Self::Docker => SourceSpec::Docker(Sieve::kind().bounds(all).deserialize(input)?),
            Self::Etcd => {
                let sieve = Sieve::kind_and_name(&mut name).bounds(all);
                let config = sieve.deserialize(input)?;
                let name = name.unwrap_or_else(etcd_name);
                SourceSpec::Etcd(EtcdSpec { name, config })
            }
            Self::EtcdV2 => {
                let sieve = Sieve::kind_and_name(&mut name).bounds(all);
                let config = sieve.deserialize(input)?;
                let name = name.unwrap_or_else(etcd_name);
                SourceSpec::EtcdV2(EtcdV2Spec { name, config })
            }
            Self::File => SourceSpec::File(Sieve::kind().bounds(all).deserialize(input)?),
            Self::Swarm => SourceSpec::Swarm(Sieve::kind().bounds(all).deserialize(input)?),
        };
        Ok(match bounds == Bounds::default() {
            true => source,
            false => SourceSpec::Bounded(Box::new(source), bounds),
        })
    }
}

fn file_name() -> Name {
    Name::from_text("file")
}

fn etcd_name() -> Name {
    Name::from_text("etcd")
}

fn boxed(
    name: &Name,
    source: Result<impl Source, EtcdError>,
) -> Result<Box<dyn Source>, SpecError> {
    match source {
        Ok(source) => Ok(Box::new(source)),
        Err(cause) => Err(SpecError::Source {
            name: name.clone(),
            cause: Box::new(cause),
        }),
    }
}
