//! Which engine is meant: configuration, environment and contexts, read as the `docker` command reads them.
//!
//! Pure: the environment and files come in through [`Surroundings`].

use std::path::{Path, PathBuf};

use lb_core::credentials::hidden_in_value;
use serde::Deserialize;

use crate::config::ConnectionConfig;

/// One way to an engine, everything decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket file.
    Unix(PathBuf),
    /// Plain TCP, `host:port`.
    Tcp(String),
    /// TLS over TCP, `host:port`, with the files of the certificates.
    Tls {
        authority: String,
        ca: PathBuf,
        cert: PathBuf,
        key: PathBuf,
    },
    /// `ssh://[user@]host[:port]`.
    Ssh(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Tls { authority, .. } => write!(f, "tcp://{authority} with TLS"),
            Self::Ssh(url) => f.write_str(url),
        }
    }
}

/// Why no engine can be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AddressError {
    #[error("context is {name:?}, expected one of the docker command's contexts")]
    NoSuchContext { name: String },
    #[error("connection.host and connection.context are both set, expected one of them")]
    HostAndContext,
    #[error(
        "host is {host:?}, expected unix://PATH, tcp://HOST:PORT, ssh://[USER@]HOST, or podman"
    )]
    Host { host: String },
    #[error(
        "DOCKER_TLS is {value:?}: TLS without verification is not supported, expected DOCKER_TLS_VERIFY with DOCKER_CERT_PATH"
    )]
    UnverifiedTls { value: String },
    #[error("context {name:?} skips the verification of TLS, which is not supported")]
    UnverifiedContext { name: String },
    #[error("no podman socket exists, expected one of {tried:?}")]
    NoPodman { tried: Vec<PathBuf> },
}

impl AddressError {
    /// Names a host without its password.
    fn of_host(host: &str) -> Self {
        Self::Host {
            host: hidden_in_value(host).into_owned(),
        }
    }
}

/// The surroundings that this module may look at.
pub(crate) trait Surroundings {
    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// A file's text, if it can be read.
    fn read(&self, path: &Path) -> Option<String>;
    /// The folders in a folder.
    fn folders(&self, path: &Path) -> Vec<PathBuf>;
    /// Returns `true` if something is at this path.
    fn exists(&self, path: &Path) -> bool;
}

/// The engine that `config` means here.
pub(crate) fn resolve(
    config: &ConnectionConfig,
    around: &dyn Surroundings,
) -> Result<Address, AddressError> {
    let reader = Reader { config, around };
    let host = config.host.as_deref().filter(|host| !host.is_empty());
    let context = config.context.as_deref().filter(|name| !name.is_empty());
    match (host, context) {
        (Some(_), Some(_)) => Err(AddressError::HostAndContext),
        (Some(host), None) => reader.host(host),
        (None, Some(context)) => reader.context(context),
        (None, None) => reader.environment(),
    }
}

struct Reader<'a> {
    config: &'a ConnectionConfig,
    around: &'a dyn Surroundings,
}

impl Reader<'_> {
    /// A variable; one that is empty counts as not set, as it does for the `docker` command.
    fn variable(&self, name: &str) -> Option<String> {
        self.around.variable(name).filter(|value| !value.is_empty())
    }

    fn environment(&self) -> Result<Address, AddressError> {
        if let Some(host) = self.variable("DOCKER_HOST") {
            return self.host(&host);
        }
        let current = self
            .variable("DOCKER_CONTEXT")
            .or_else(|| self.current_context());
        match current {
            Some(name) => self.context(&name),
            None => self.local(),
        }
    }

    fn current_context(&self) -> Option<String> {
        let text = self
            .around
            .read(&self.docker_folder()?.join("config.json"))?;
        let config: ConfigFile = serde_json::from_str(&text).ok()?;
        config.current_context.filter(|name| !name.is_empty())
    }

    /// The default socket, else the first of the well-known ones that exists.
    fn local(&self) -> Result<Address, AddressError> {
        let default = PathBuf::from(DEFAULT_SOCKET);
        if self.around.exists(&default) {
            return Ok(Address::Unix(default));
        }
        let rootless = self
            .variable("XDG_RUNTIME_DIR")
            .map(|folder| Path::new(&folder).join("docker.sock"));
        let found = rootless
            .into_iter()
            .chain(self.podman_sockets())
            .find(|path| self.around.exists(path));
        Ok(Address::Unix(found.unwrap_or(default)))
    }

    fn podman_sockets(&self) -> Vec<PathBuf> {
        self.variable("XDG_RUNTIME_DIR")
            .map(|folder| Path::new(&folder).join("podman/podman.sock"))
            .into_iter()
            .chain([
                PathBuf::from("/run/podman/podman.sock"),
                PathBuf::from("/var/run/podman/podman.sock"),
            ])
            .collect()
    }

    fn host(&self, host: &str) -> Result<Address, AddressError> {
        let refused = || AddressError::of_host(host);
        if host == "podman" {
            let tried = self.podman_sockets();
            let found = tried.iter().find(|path| self.around.exists(path)).cloned();
            return found
                .map(Address::Unix)
                .ok_or(AddressError::NoPodman { tried });
        }
        let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
        match scheme {
            "unix" if rest.is_empty() => Ok(Address::Unix(DEFAULT_SOCKET.into())),
            "unix" if rest.starts_with('/') => Ok(Address::Unix(rest.into())),
            "tcp" | "http" | "https" => {
                let forced = match scheme {
                    "http" => Some(false),
                    "https" => Some(true),
                    _ => None,
                };
                let tls = match forced.or(self.config.tls) {
                    Some(tls) => tls,
                    None => self.environment_tls()?,
                };
                let authority = authority(rest, tls).ok_or_else(refused)?;
                Ok(if tls {
                    self.tls(authority, self.certificates())
                } else {
                    Address::Tcp(authority)
                })
            }
            "ssh" if !rest.is_empty() => {
                let authority = rest.split('/').next().unwrap_or(rest);
                // As the `docker` command, which refuses passwords there too.
                let has_password = authority
                    .rsplit_once('@')
                    .is_some_and(|(user, _)| user.contains(':'));
                if authority.is_empty() || authority.starts_with('-') || has_password {
                    return Err(refused());
                }
                Ok(Address::Ssh(format!("ssh://{authority}")))
            }
            _ => Err(refused()),
        }
    }

    fn environment_tls(&self) -> Result<bool, AddressError> {
        if self.variable("DOCKER_TLS_VERIFY").is_some() {
            return Ok(true);
        }
        match self.variable("DOCKER_TLS") {
            Some(value) => Err(AddressError::UnverifiedTls { value }),
            None => Ok(false),
        }
    }

    fn certificates(&self) -> PathBuf {
        self.config
            .cert_path
            .clone()
            .or_else(|| self.variable("DOCKER_CERT_PATH").map(PathBuf::from))
            .or_else(|| self.docker_folder())
            .unwrap_or_else(|| PathBuf::from("/"))
    }

    fn tls(&self, authority: String, folder: PathBuf) -> Address {
        Address::Tls {
            authority,
            ca: folder.join("ca.pem"),
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        }
    }

    /// `DOCKER_CONFIG`, else `~/.docker`.
    fn docker_folder(&self) -> Option<PathBuf> {
        self.variable("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| {
                self.variable("HOME")
                    .map(|home| Path::new(&home).join(".docker"))
            })
    }

    fn context(&self, name: &str) -> Result<Address, AddressError> {
        if name == "default" {
            return match self.variable("DOCKER_HOST") {
                Some(host) => self.host(&host),
                None => self.local(),
            };
        }
        let missing = || AddressError::NoSuchContext {
            name: hidden_in_value(name).into_owned(),
        };
        let contexts = self.docker_folder().ok_or_else(missing)?.join("contexts");
        // Folders are named by a hash of the context's name; reading the names spares us the hash.
        let found = self
            .around
            .folders(&contexts.join("meta"))
            .into_iter()
            .find_map(|folder| {
                let text = self.around.read(&folder.join("meta.json"))?;
                let meta: ContextFile = serde_json::from_str(&text).ok()?;
                (meta.name == name).then_some((folder, meta))
            });
        let (folder, meta) = found.ok_or_else(missing)?;
        let docker = meta.endpoints.docker.ok_or_else(missing)?;
        let Some(host) = docker.host.filter(|host| !host.is_empty()) else {
            return self.local();
        };
        let files = folder
            .file_name()
            .map(|hash| contexts.join("tls").join(hash).join("docker"))
            .filter(|folder| self.around.exists(&folder.join("ca.pem")));
        match (host.strip_prefix("tcp://"), files) {
            (Some(_), Some(_)) if docker.skip_tls_verify => Err(AddressError::UnverifiedContext {
                name: name.to_owned(),
            }),
            (Some(rest), Some(files)) => {
                let authority =
                    authority(rest, true).ok_or_else(|| AddressError::of_host(&host))?;
                Ok(self.tls(authority, files))
            }
            (Some(rest), None) => authority(rest, false)
                .map(Address::Tcp)
                .ok_or_else(|| AddressError::of_host(&host)),
            (None, _) => self.host(&host),
        }
    }
}

/// `host:port` with the port that the `docker` command would use.
fn authority(text: &str, tls: bool) -> Option<String> {
    let text = text.trim_end_matches('/');
    if text.contains(['/', '@', ' ', '?', '#']) {
        return None;
    }
    let port_from = text.rfind(']').unwrap_or(0);
    let (host, port) = match text.get(port_from..)?.rfind(':') {
        Some(at) => {
            let (host, port) = text.split_at_checked(port_from + at)?;
            (host, port.get(1..)?)
        }
        None => (text, ""),
    };
    let host = if host.is_empty() { "localhost" } else { host };
    let port = match port {
        "" if tls => 2376,
        "" => 2375,
        port => port.parse::<u16>().ok()?,
    };
    Some(format!("{host}:{port}"))
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextFile {
    name: String,
    #[serde(default)]
    endpoints: ContextEndpoints,
}

#[derive(Deserialize, Default)]
struct ContextEndpoints {
    docker: Option<ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host")]
    host: Option<String>,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Fake {
        variables: BTreeMap<&'static str, &'static str>,
        files: BTreeMap<&'static str, &'static str>,
    }

    impl Surroundings for Fake {
        fn variable(&self, name: &str) -> Option<String> {
            self.variables.get(name).map(|value| (*value).to_owned())
        }
        fn read(&self, path: &Path) -> Option<String> {
            self.files
                .get(path.to_str()?)
                .map(|text| (*text).to_owned())
        }
        fn folders(&self, path: &Path) -> Vec<PathBuf> {
            let mut folders: Vec<_> = self
                .files
                .keys()
                .filter_map(|file| Path::new(file).parent())
                .filter(|folder| folder.parent() == Some(path))
                .map(Path::to_owned)
                .collect();
            folders.dedup();
            folders
        }
        fn exists(&self, path: &Path) -> bool {
            self.read(path).is_some()
        }
    }

    fn from(variables: &[(&'static str, &'static str)]) -> Result<String, AddressError> {
        let around = Fake {
            variables: variables.iter().copied().collect(),
            ..Fake::default()
        };
        resolve(&ConnectionConfig::default(), &around).map(|address| address.to_string())
    }

    fn tls(authority: &str, folder: &str) -> Address {
        Address::Tls {
            authority: authority.to_owned(),
            ca: Path::new(folder).join("ca.pem"),
            cert: Path::new(folder).join("cert.pem"),
            key: Path::new(folder).join("key.pem"),
        }
    }

    #[test]
    fn every_form_of_docker_host_is_understood_or_refused_by_name() {
        for (host, expected) in [
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("unix://", "unix:///var/run/docker.sock"),
            ("tcp://10.0.0.1:2375", "tcp://10.0.0.1:2375"),
            ("tcp://10.0.0.1", "tcp://10.0.0.1:2375"),
            ("tcp://[fd00::1]:99", "tcp://[fd00::1]:99"),
            ("tcp://[fd00::1]", "tcp://[fd00::1]:2375"),
            ("http://proxy:80", "tcp://proxy:80"),
            ("10.0.0.1:99", "tcp://10.0.0.1:99"),
            ("ssh://me@far:22/run/docker.sock", "ssh://me@far:22"),
            ("", "unix:///var/run/docker.sock"),
        ] {
            assert_eq!(from(&[("DOCKER_HOST", host)]).unwrap(), expected, "{host}");
        }
        for host in [
            "npipe:////./pipe/docker",
            "unix://rel",
            "tcp://a:b",
            "tcp://a/b",
            "ssh://-oX",
            "ssh://me:pass@far",
            "gopher://me:pass@far",
        ] {
            let error = from(&[("DOCKER_HOST", host)]).unwrap_err().to_string();
            let shown = host.replace("me:pass@", "***@");
            assert!(error.contains(&format!("{shown:?}")), "{error}");
        }
    }

    #[test]
    fn empty_variables_count_as_not_set() {
        assert_eq!(
            from(&[
                ("DOCKER_HOST", "tcp://a:1"),
                ("DOCKER_TLS_VERIFY", ""),
                ("DOCKER_CERT_PATH", ""),
                ("DOCKER_CONTEXT", ""),
            ]),
            Ok("tcp://a:1".to_owned())
        );
    }

    #[test]
    fn tls_is_used_exactly_when_verify_is_set() {
        let around = Fake {
            variables: [
                ("DOCKER_HOST", "tcp://a"),
                ("DOCKER_TLS_VERIFY", "0"),
                ("DOCKER_CERT_PATH", "/certs"),
            ]
            .into(),
            ..Fake::default()
        };
        let config = ConnectionConfig::default();
        assert_eq!(resolve(&config, &around), Ok(tls("a:2376", "/certs")));
        let off = ConnectionConfig {
            tls: Some(false),
            ..config
        };
        assert_eq!(resolve(&off, &around), Ok(Address::Tcp("a:2375".into())));
        assert_eq!(
            from(&[("DOCKER_HOST", "tcp://a"), ("DOCKER_CERT_PATH", "/certs")]),
            Ok("tcp://a:2375".to_owned()),
            "certificates alone do not turn TLS on"
        );
        assert_eq!(
            from(&[("DOCKER_HOST", "tcp://a"), ("DOCKER_TLS", "1")]),
            Err(AddressError::UnverifiedTls { value: "1".into() })
        );
        assert_eq!(
            from(&[
                ("DOCKER_HOST", "unix:///run/x.sock"),
                ("DOCKER_TLS_VERIFY", "1")
            ]),
            Ok("unix:///run/x.sock".to_owned()),
            "a socket file never has TLS"
        );
    }

    #[test]
    fn contexts_are_found_by_name_and_docker_host_goes_first() {
        let mut around = Fake {
            variables: [("HOME", "/home/u")].into(),
            files: [
                ("/home/u/.docker/config.json", r#"{"currentContext":"far"}"#),
                (
                    "/home/u/.docker/contexts/meta/aa/meta.json",
                    r#"{"Name":"near","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///n.sock"}}}"#,
                ),
                (
                    "/home/u/.docker/contexts/meta/bb/meta.json",
                    r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://far:1","SkipTLSVerify":false}}}"#,
                ),
                ("/home/u/.docker/contexts/tls/bb/docker/ca.pem", ""),
            ]
            .into(),
        };
        let config = ConnectionConfig::default();
        assert_eq!(
            resolve(&config, &around),
            Ok(tls("far:1", "/home/u/.docker/contexts/tls/bb/docker"))
        );
        around.variables.insert("DOCKER_CONTEXT", "near");
        assert_eq!(
            resolve(&config, &around),
            Ok(Address::Unix("/n.sock".into()))
        );
        around.variables.insert("DOCKER_HOST", "unix:///h.sock");
        assert_eq!(
            resolve(&config, &around),
            Ok(Address::Unix("/h.sock".into()))
        );
        let named = ConnectionConfig {
            context: Some("gone".into()),
            ..config
        };
        assert_eq!(
            resolve(&named, &around),
            Err(AddressError::NoSuchContext {
                name: "gone".into()
            })
        );
    }

    #[test]
    fn without_any_setting_the_first_local_socket_is_used() {
        let mut around = Fake {
            variables: [("XDG_RUNTIME_DIR", "/run/user/1")].into(),
            files: [("/run/user/1/podman/podman.sock", "")].into(),
        };
        let local = |around: &Fake| resolve(&ConnectionConfig::default(), around).unwrap();
        assert_eq!(
            local(&around),
            Address::Unix("/run/user/1/podman/podman.sock".into())
        );
        assert_eq!(
            resolve(&ConnectionConfig::at("podman"), &around).unwrap(),
            local(&around)
        );
        around.files.insert("/run/user/1/docker.sock", "");
        assert_eq!(
            local(&around),
            Address::Unix("/run/user/1/docker.sock".into())
        );
        around.files.insert("/var/run/docker.sock", "");
        assert_eq!(local(&around), Address::Unix("/var/run/docker.sock".into()));
    }
}
