//! TLS and mutual TLS with real etcd: who is not who it should be is refused, and told so.

use std::{fs, path::PathBuf, time::Duration};

use crate::support::{
    server::{Member, Options, Tls, binaries},
    supervisor::Supervisor,
};
use lb_etcd::{EtcdConfig, EtcdSource, TlsConfig};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// An authority with its files.
struct Authority {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        Self {
            directory,
            issuer: Issuer::new(params, key),
        }
    }

    fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate for one name or address, and its key.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let cert_file = self.directory.path().join(format!("{name}.pem"));
        let key_file = self.directory.path().join(format!("{name}.key"));
        fs::write(&cert_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }
}

fn source(member: &Member, tls: TlsConfig) -> EtcdSource {
    let mut config = EtcdConfig::new([member.endpoint()]);
    config.connection.tls = tls;
    config.connection.connect_timeout = Duration::from_secs(5);
    EtcdSource::new("etcd".parse().unwrap(), config).unwrap()
}

/// A member whose certificate our authority signed is followed; one signed by another, or for another name, is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_proves_who_it_is() {
    for binary in binaries() {
        let authority = Authority::new();
        let stranger = Authority::new();
        let (cert, key) = authority.issue("127.0.0.1");
        let tls = Tls {
            cert,
            key,
            client_ca: None,
        };
        let member = Member::single_with(
            &binary,
            Options {
                tls: Some(tls),
                ..Options::default()
            },
        );

        let supervisor = Supervisor::start(source(
            &member,
            TlsConfig::default().with_ca_file(authority.ca()),
        ));
        supervisor
            .until("the first listing", |seen| seen.resets == 1)
            .await;

        let mut other_name = TlsConfig::default().with_ca_file(authority.ca());
        other_name.server_name = Some("other.example".to_owned());
        for (tls, expected) in [
            (
                TlsConfig::default().with_ca_file(stranger.ca()),
                "invalid peer certificate",
            ),
            (TlsConfig::default(), "invalid peer certificate"),
            (other_name, "not valid for name"),
        ] {
            let supervisor = Supervisor::start(source(&member, tls));
            let seen = supervisor
                .until("the refusal", |seen| seen.error_has(expected))
                .await;
            assert_eq!(seen.resets, 0);
            println!("{}: {}", member.version(), seen.errors[0]);
        }
    }
}

/// A member that asks for our certificate gets it; without one, or with a stranger's, it refuses us.
#[tokio::test(flavor = "multi_thread")]
async fn we_prove_who_we_are() {
    for binary in binaries() {
        let authority = Authority::new();
        let stranger = Authority::new();
        let (cert, key) = authority.issue("127.0.0.1");
        let tls = Tls {
            cert,
            key,
            client_ca: Some(authority.ca()),
        };
        let member = Member::single_with(
            &binary,
            Options {
                tls: Some(tls),
                ..Options::default()
            },
        );
        let trusting = TlsConfig::default().with_ca_file(authority.ca());

        let (cert, key) = authority.issue("client");
        let supervisor =
            Supervisor::start(source(&member, trusting.clone().with_identity(cert, key)));
        supervisor
            .until("the first listing", |seen| seen.resets == 1)
            .await;

        let (cert, key) = stranger.issue("client");
        for tls in [trusting.clone(), trusting.with_identity(cert, key)] {
            let supervisor = Supervisor::start(source(&member, tls));
            let seen = supervisor
                .until("the refusal", |seen| !seen.errors.is_empty())
                .await;
            assert_eq!(seen.resets, 0);
            println!("{}: {}", member.version(), seen.errors[0]);
        }
    }
}

/// Files that are missing or no certificates are told by their setting and path.
#[tokio::test(flavor = "multi_thread")]
async fn missing_files_are_named() {
    for binary in binaries() {
        let member = Member::single(&binary);
        let tls = TlsConfig::default().with_ca_file("/nowhere/ca.pem");
        let supervisor = Supervisor::start(source(&member, tls));
        supervisor
            .until("the refusal", |seen| {
                seen.error_has("tls.ca_file /nowhere/ca.pem cannot be read")
            })
            .await;
    }
}
