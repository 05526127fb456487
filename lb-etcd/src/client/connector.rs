//! Finding a member that can be used.

use std::{net::IpAddr, path::Path, sync::Arc};

use lb_core::credentials::hidden_in_value;
use tokio::time::timeout;
use tonic::{
    codegen::http::Uri,
    metadata::MetadataValue,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use super::{call::chain, session::Session, wire};
use crate::{
    config::{AuthConfig, ConnectionConfig, TlsConfig},
    error::EtcdError,
};

/// The largest file of certificates, keys or a password that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Opens sessions with the members of a cluster, one after the other.
#[derive(Debug)]
pub(crate) struct Connector {
    config: ConnectionConfig,
    endpoints: Vec<(Arc<str>, Uri)>,
    next: usize,
}

impl Connector {
    /// Checks the configuration; connects to nobody.
    pub(crate) fn new(config: ConnectionConfig) -> Result<Self, EtcdError> {
        let invalid = |value: &str| EtcdError::Config {
            field: "endpoints",
            value: format!("{:?}", hidden_in_value(value)),
            expected: "http://host:port or https://host:port, at least one; a user and a password go into auth",
        };
        let mut endpoints = Vec::new();
        for text in &config.endpoints {
            let uri: Uri = text.parse().map_err(|_| invalid(text))?;
            let fits = matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.port_u16().is_some()
                && uri
                    .authority()
                    .is_none_or(|all| !all.as_str().contains('@'))
                && matches!(uri.path(), "" | "/")
                && uri.query().is_none();
            if !fits {
                return Err(invalid(text));
            }
            endpoints.push((Arc::from(text.as_str()), uri));
        }
        if endpoints.is_empty() {
            return Err(invalid(""));
        }
        if config.tls.cert_file.is_some() != config.tls.key_file.is_some() {
            return Err(EtcdError::Config {
                field: "tls",
                value: "one of cert_file and key_file".to_owned(),
                expected: "both or none",
            });
        }
        if let Some(auth) = &config.auth
            && auth.password.is_some() == auth.password_file.is_some()
        {
            return Err(EtcdError::Config {
                field: "auth",
                value: format!("user {:?}", auth.user),
                expected: "one of password and password_file with it",
            });
        }
        Ok(Self {
            config,
            endpoints,
            next: 0,
        })
    }

    /// The first member to which the password is sent unencrypted over a network.
    pub(crate) fn password_in_clear(&self) -> Option<&str> {
        self.config.auth.as_ref()?;
        let clear = self.endpoints.iter().find(|(_, uri)| {
            let host = uri.host().unwrap_or_default();
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let local =
                bare == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
            uri.scheme_str() == Some("http") && !local
        });
        clear.map(|(endpoint, _)| &**endpoint)
    }

    /// The member that was opened last is not the first to be tried next time.
    pub(crate) fn distrust(&mut self) {
        self.next = self.next.wrapping_add(1);
    }

    /// A session with the first member that is reachable, alive and has a leader, each tried once.
    pub(crate) async fn open(&mut self) -> Result<Session, EtcdError> {
        let tls = tls(&self.config.tls).await?;
        let password = match &self.config.auth {
            Some(auth) => Some((auth.user.clone(), password(auth).await?)),
            None => None,
        };
        let mut tried = Vec::new();
        let mut denied = None;
        for offset in 0..self.endpoints.len() {
            let at = self.next.wrapping_add(offset) % self.endpoints.len();
            let Some((endpoint, uri)) = self.endpoints.get(at) else {
                continue;
            };
            match self.open_one(endpoint, uri, &tls, password.as_ref()).await {
                Ok(session) => {
                    self.next = at;
                    return Ok(session);
                }
                Err(error) => {
                    tracing::debug!(%endpoint, error = chain(&error), "etcd member cannot be used");
                    tried.push(match &error {
                        EtcdError::Unreachable { tried } => tried.join("; "),
                        other => other.to_string(),
                    });
                    if matches!(error, EtcdError::Denied { .. }) {
                        denied = Some(error);
                    }
                }
            }
        }
        // A refusal is what all members will say; that one of them is unreachable matters less.
        Err(denied.unwrap_or(EtcdError::Unreachable { tried }))
    }

    async fn open_one(
        &self,
        endpoint: &Arc<str>,
        uri: &Uri,
        tls: &ClientTlsConfig,
        password: Option<&(String, String)>,
    ) -> Result<Session, EtcdError> {
        let config = &self.config;
        let failed = |what: String| EtcdError::Unreachable {
            tried: vec![format!("{endpoint}: {what}")],
        };
        let mut transport = Endpoint::from(uri.clone())
            .connect_timeout(config.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(config.keepalive_interval)
            .keep_alive_timeout(config.keepalive_timeout)
            .keep_alive_while_idle(true);
        if uri.scheme_str() == Some("https") {
            transport = transport
                .tls_config(tls.clone())
                .map_err(|error| failed(chain(&error)))?;
        }
        let late = || {
            failed(format!(
                "no sign of life within {:?}",
                config.connect_timeout
            ))
        };
        let channel = timeout(config.connect_timeout, transport.connect())
            .await
            .map_err(|_| late())?
            .map_err(|error| failed(chain(&error)))?;
        let mut session = Session {
            channel,
            endpoint: Arc::clone(endpoint),
            token: None,
            version: String::new(),
            request_timeout: config.request_timeout,
            max_message_bytes: config.max_message_bytes,
        };

        // A stopped member still takes connections, and one without a leader still answers: ask it.
        match timeout(config.connect_timeout, session.status()).await {
            Err(_) => return Err(late()),
            Ok(Ok(status)) if status.leader == 0 => {
                return Err(failed("the member has no leader".to_owned()));
            }
            Ok(Ok(status)) => session.version = status.version,
            // Whoever may not ask this may still read keys.
            Ok(Err(EtcdError::Denied { .. })) => {}
            Ok(Err(error)) => return Err(error),
        }

        if let Some((user, password)) = password {
            session.token = authenticate(&session, user, password).await?;
        }
        Ok(session)
    }
}

/// A token for later calls; `None` where the cluster does not use authentication.
async fn authenticate(
    session: &Session,
    user: &str,
    password: &str,
) -> Result<Option<MetadataValue<tonic::metadata::Ascii>>, EtcdError> {
    let request = wire::AuthenticateRequest {
        name: user.to_owned(),
        password: password.to_owned(),
    };
    let answer = match session.authenticate(request).await {
        Ok(answer) => answer,
        Err(EtcdError::Call { message, .. })
            if message.contains("authentication is not enabled") =>
        {
            tracing::warn!(endpoint = %session.endpoint(), user, "etcd does not use authentication, going on without");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let token = MetadataValue::try_from(answer.token).map_err(|_| EtcdError::Call {
        call: "authenticate",
        endpoint: Arc::clone(session.endpoint()),
        code: "Internal".to_owned(),
        message: "the token has bytes that no header may have".to_owned(),
    })?;
    Ok(Some(token))
}

async fn tls(config: &TlsConfig) -> Result<ClientTlsConfig, EtcdError> {
    let mut tls = ClientTlsConfig::new();
    match &config.ca_file {
        Some(file) => {
            let pem = read("tls.ca_file", file).await?;
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        None => tls = tls.with_native_roots(),
    }
    if let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) {
        let cert = read("tls.cert_file", cert).await?;
        let key = read("tls.key_file", key).await?;
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    if let Some(name) = &config.server_name {
        tls = tls.domain_name(name);
    }
    Ok(tls)
}

async fn password(auth: &AuthConfig) -> Result<String, EtcdError> {
    if let Some(password) = &auth.password {
        return Ok(password.reveal().to_owned());
    }
    let Some(file) = &auth.password_file else {
        return Ok(String::new());
    };
    let text = read("auth.password_file", file).await?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The time for which a file is waited for.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Reads a small file without holding up the runtime.
async fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, EtcdError> {
    let read = |path: &Path| lb_core::files::read(path, MAX_FILE);
    let content = lb_core::files::beside(path, PATIENCE, read).await;
    content.map_err(|cause| EtcdError::File {
        field,
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_h12_a_password_over_http_is_told() {
        let clear = |endpoint: &str, auth: bool| {
            let mut config = ConnectionConfig::new([endpoint]);
            config.auth = auth.then(|| AuthConfig::new("lb", "secret"));
            let connector = Connector::new(config).unwrap();
            connector.password_in_clear().map(str::to_owned)
        };
        let told = clear("http://192.0.2.1:2379", true);
        assert_eq!(told.as_deref(), Some("http://192.0.2.1:2379"));
        assert_eq!(clear("http://192.0.2.1:2379", false), None);
        for local in [
            "http://127.0.0.1:2379",
            "http://[::1]:2379",
            "http://localhost:2379",
        ] {
            assert_eq!(clear(local, true), None, "{local}");
        }
        assert_eq!(clear("https://192.0.2.1:2379", true), None);
    }
}
