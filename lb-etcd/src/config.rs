//! How etcd is reached and what is followed there.

use std::{fmt, path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::layout::LayoutConfig;

/// The cluster that an etcd source follows, and its layouts.
///
/// ```
/// let config: lb_etcd::EtcdConfig = serde_json::from_str(
///     r#"{
///         "connection": { "endpoints": ["http://127.0.0.1:2379"] },
///         "layouts": [{ "confd": { "prefix": "/proxy" } }]
///     }"#,
/// )?;
/// assert_eq!(config.page_keys, 1000);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EtcdConfig {
    /// The connection to the cluster.
    pub connection: ConnectionConfig,
    /// The meanings of its keys. Default: lb's own layout below `/lb`.
    #[serde(default = "default_layouts")]
    pub layouts: Vec<LayoutConfig>,
    /// The longest silence of a healthy watch; past it the watch is made anew, on another member where there is
    /// one. Progress is asked for three times within it. Default `15s`.
    #[serde(
        default = "default_liveness",
        deserialize_with = "lb_core::duration::deserialize"
    )]
    pub liveness: Duration,
    /// The number of keys that are listed at first at once; more while their answers are small. Default 1000.
    #[serde(default = "default_page_keys")]
    pub page_keys: u32,
    /// The most keys that are taken. Further keys are left out, with a diagnostic, and taken when there is room
    /// again: those that were known before stay. Default 1,000,000.
    #[serde(default = "default_max_keys")]
    pub max_keys: usize,
}

/// The connection to an etcd cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConnectionConfig {
    /// Its members as `http://host:port` or `https://host:port`. One is used at a time; when it fails, the next.
    pub endpoints: Vec<String>,
    /// For `https`: whom to trust and who we are. Default: the system's certificate authorities and no certificate.
    #[serde(default)]
    pub tls: TlsConfig,
    /// A user of etcd and its password. Default: none.
    #[serde(default)]
    pub auth: Option<AuthConfig>,
    /// The time connecting to one member, and its first sign of life, may take. Default `3s`.
    #[serde(
        default = "default_connect_timeout",
        deserialize_with = "lb_core::duration::deserialize"
    )]
    pub connect_timeout: Duration,
    /// The time one call may take. Default `10s`.
    #[serde(
        default = "default_request_timeout",
        deserialize_with = "lb_core::duration::deserialize"
    )]
    pub request_timeout: Duration,
    /// The interval at which the other end of a connection in use must show a sign of life. Default `5s`.
    #[serde(
        default = "default_keepalive_interval",
        deserialize_with = "lb_core::duration::deserialize"
    )]
    pub keepalive_interval: Duration,
    /// The time that sign of life may take. Default `3s`.
    #[serde(
        default = "default_keepalive_timeout",
        deserialize_with = "lb_core::duration::deserialize"
    )]
    pub keepalive_timeout: Duration,
    /// The largest message that is taken from the server, in bytes. Pages of a listing shrink to fit, a key whose
    /// value alone is larger is left out with a diagnostic, and changes that are larger in total are listed instead.
    /// Default 16 MiB.
    #[serde(default = "default_max_message_bytes")]
    pub max_message_bytes: usize,
}

/// Whom to trust in TLS, and who we are. The files are read at each attempt to connect, so renewed ones are used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The authorities that sign the members' certificates, in PEM. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, in PEM, for clusters that ask for one. Needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate, in PEM.
    pub key_file: Option<PathBuf>,
    /// The name to expect in the members' certificates. Default: the host of the endpoint.
    pub server_name: Option<String>,
}

/// A user of etcd.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AuthConfig {
    /// The user's name.
    pub user: String,
    /// The password. One of this and `password_file` must be given.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file whose first line is the password. It is read at each attempt to connect.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl EtcdConfig {
    /// Follows lb's own layout on these members, with the defaults.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            connection: ConnectionConfig::new(endpoints),
            layouts: default_layouts(),
            liveness: default_liveness(),
            page_keys: default_page_keys(),
            max_keys: default_max_keys(),
        }
    }

    /// The same with other layouts.
    #[must_use]
    pub fn with_layouts(mut self, layouts: impl Into<Vec<LayoutConfig>>) -> Self {
        self.layouts = layouts.into();
        self
    }
}

impl ConnectionConfig {
    /// These members, with the defaults.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            tls: TlsConfig::default(),
            auth: None,
            connect_timeout: default_connect_timeout(),
            request_timeout: default_request_timeout(),
            keepalive_interval: default_keepalive_interval(),
            keepalive_timeout: default_keepalive_timeout(),
            max_message_bytes: default_max_message_bytes(),
        }
    }
}

impl TlsConfig {
    /// Trusts the authorities in this file only.
    #[must_use]
    pub fn with_ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(file.into());
        self
    }

    /// Shows this certificate.
    #[must_use]
    pub fn with_identity(
        mut self,
        cert_file: impl Into<PathBuf>,
        key_file: impl Into<PathBuf>,
    ) -> Self {
        self.cert_file = Some(cert_file.into());
        self.key_file = Some(key_file.into());
        self
    }
}

impl AuthConfig {
    /// A user and its password.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self {
            user: user.into(),
            password: Some(password.into()),
            password_file: None,
        }
    }
}

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn default_layouts() -> Vec<LayoutConfig> {
    vec![LayoutConfig::default()]
}

fn default_liveness() -> Duration {
    Duration::from_secs(15)
}

fn default_page_keys() -> u32 {
    1000
}

fn default_max_keys() -> usize {
    1_000_000
}

fn default_connect_timeout() -> Duration {
    Duration::from_secs(3)
}

fn default_request_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_keepalive_interval() -> Duration {
    Duration::from_secs(5)
}

fn default_keepalive_timeout() -> Duration {
    Duration::from_secs(3)
}

fn default_max_message_bytes() -> usize {
    16 * 1024 * 1024
}
