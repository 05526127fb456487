//! Certificates replaced at run time on real HAProxies, as a TLS client sees them.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may end in a panic, and files have real times"
)]

#[path = "support/side_by_side.rs"]
mod side_by_side;
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use lb_core::{ConditionKind, Driver as _, Report, Snapshot};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    driver::Files,
    process::{Executable, Haproxy},
    proto::{Accepted, CertName, CertificateShown, Command, Pem, SslCommand, verdict},
};
use rcgen::{CertificateParams, KeyPair};
use side_by_side::side_by_side;
use support::{Place, executables, free_port};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring::default_provider},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

/// A certificate for a name, and its key.
fn issue(name: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    format!("{}{}", certificate.pem(), key.serialize_pem())
}

/// Takes every certificate and remembers the last one.
#[derive(Debug)]
struct Curious {
    seen: Mutex<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.lock().unwrap() = end_entity.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The certificate that a new client is shown.
async fn shown_to_a_client(port: u16) -> Vec<u8> {
    let provider = Arc::new(default_provider());
    let curious = Arc::new(Curious {
        seen: Mutex::default(),
        provider: Arc::clone(&provider),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&curious) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("site.example").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    curious.seen.lock().unwrap().clone()
}

/// The first certificate of a PEM, as bytes.
fn der(pem: &str) -> Vec<u8> {
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}

struct Site {
    place: Place,
    haproxy: Haproxy,
    port: u16,
    file: PathBuf,
    first: String,
}

impl Site {
    async fn start(executable: &Executable) -> Self {
        let port = free_port();
        let place = Place::new(&format!(
            "global\n  stats socket DIR/admin.sock mode 600 level admin expose-fd listeners\n\
             defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 2s\n\
             frontend in\n  bind 127.0.0.1:{port} ssl crt DIR/site.pem\n  default_backend web\n\
             backend web\n  server-template slot 1-3 127.0.0.1:1 disabled\n"
        ));
        let file = place.dir.path().join("site.pem");
        let first = issue("first.example");
        fs::write(&file, &first).unwrap();
        let haproxy = place.start(executable).await;
        Self {
            place,
            haproxy,
            port,
            file,
            first,
        }
    }

    fn name(&self) -> CertName {
        self.file.display().to_string().parse().unwrap()
    }

    /// Puts another file in its place, with a time of its own.
    fn write(&self, text: &str, minutes: u64) {
        fs::write(&self.file, text).unwrap();
        let time = SystemTime::now() + Duration::from_secs(60 * minutes);
        fs::File::options()
            .write(true)
            .open(&self.file)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    /// A driver that keeps the certificate.
    fn driver(&self) -> HaproxyDriver {
        let socket = self.place.dir.path().join("admin.sock");
        let socket = socket.display().to_string().parse().unwrap();
        let mut files = Files::default();
        files.certificates = vec![self.file.clone()];
        HaproxyDriver::new(TargetConfig::new("edge".parse().unwrap(), socket).with_files(files))
    }
}

/// Passes until something is counted this often.
async fn until_counted(driver: &mut HaproxyDriver, what: &str, count: u64) -> Report {
    let desired = Arc::new(Snapshot::default());
    let wait = async {
        loop {
            // One that spoke to a worker that was replaced begins anew.
            let Ok(report) = driver.converge(&desired).await else {
                continue;
            };
            if report.counters.get(what).copied().unwrap_or_default() >= count {
                return report;
            }
            let pause = report.again.unwrap_or(Duration::from_millis(100));
            tokio::time::sleep(pause).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(120), wait).await {
        Ok(report) => report,
        Err(_) => panic!("never counted {count} {what}"),
    }
}

fn counted(report: &Report, what: &str) -> u64 {
    report.counters.get(what).copied().unwrap_or_default()
}

#[tokio::test]
async fn a_new_file_is_shown_to_new_clients_without_a_reload() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        println!("HAProxy {version}");
        let site = Site::start(&executable).await;
        let worker = site
            .haproxy
            .processes()
            .await
            .unwrap()
            .current()
            .unwrap()
            .pid;
        assert_eq!(shown_to_a_client(site.port).await, der(&site.first));
        let mut driver = site.driver();
        // What HAProxy has is left alone.
        let report = until_counted(&mut driver, "connections", 1).await;
        assert_eq!(counted(&report, "certificates_replaced"), 0);

        let second = issue("second.example");
        site.write(&second, 1);
        let report = until_counted(&mut driver, "certificates_replaced", 1).await;
        assert_eq!(counted(&report, "certificates_failed"), 0);
        assert_eq!(
            shown_to_a_client(site.port).await,
            der(&second),
            "{version}"
        );
        let now = site
            .haproxy
            .processes()
            .await
            .unwrap()
            .current()
            .unwrap()
            .pid;
        assert_eq!(now, worker);
    }
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_a_mended_one_is_taken() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        println!("HAProxy {version}");
        let site = Site::start(&executable).await;
        let mut driver = site.driver();
        until_counted(&mut driver, "connections", 1).await;
        let (other, third) = (issue("other.example"), issue("third.example"));
        let key = &third[third.find("-----BEGIN PRIVATE KEY").unwrap()..];
        let certificate = &other[..other.find("-----BEGIN PRIVATE KEY").unwrap()];
        for (at, broken) in [
            "".to_owned(),
            other[..other.len() / 2].to_owned(),
            certificate.to_owned(),
            other.replace(
                "-----BEGIN PRIVATE KEY-----",
                "set server web/slot1 state ready",
            ),
            // A key that is not the certificate's.
            format!("{certificate}{key}"),
            // More than a command can have.
            format!("{}{}", other, certificate.repeat(40)),
        ]
        .into_iter()
        .enumerate()
        {
            let number = at as u64 + 1;
            site.write(&broken, number);
            let report = until_counted(&mut driver, "certificates_failed", number).await;
            assert_eq!(
                counted(&report, "certificates_replaced"),
                0,
                "{version}: {at}"
            );
            assert_eq!(
                shown_to_a_client(site.port).await,
                der(&site.first),
                "{version}: {at}"
            );
        }
        // No change is left open, and the next good file is taken.
        let mut client = site.haproxy.connect().await.unwrap();
        let abort = Command::Ssl(SslCommand::Abort(site.name()));
        let reply = client.exec(&abort).await.unwrap();
        assert!(verdict(&abort, &reply).is_err(), "{reply:?}");
        site.write(&third, 100);
        until_counted(&mut driver, "certificates_replaced", 1).await;
        assert_eq!(shown_to_a_client(site.port).await, der(&third), "{version}");
    }
}

/// The certificate in use is the same, but HAProxy refuses the file when it starts or is reloaded.
#[tokio::test]
async fn case_p14_a_key_that_is_not_its_unchanged_certificates_is_reported() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        println!("HAProxy {version}");
        let site = Site::start(&executable).await;
        let starts = || {
            let mut command = std::process::Command::new(executable.path());
            command.arg("-c").arg("-f").arg(&site.place.config);
            command.output().unwrap().status.success()
        };
        assert!(starts());
        let mut driver = site.driver();
        until_counted(&mut driver, "connections", 1).await;
        let other = issue("other.example");
        let key = &other[other.find("-----BEGIN PRIVATE KEY").unwrap()..];
        let certificate = &site.first[..site.first.find("-----BEGIN PRIVATE KEY").unwrap()];
        // A file that is broken in another way does not hide it when it is mended to this.
        site.write(certificate, 1);
        until_counted(&mut driver, "certificates_failed", 1).await;
        site.write(&format!("{certificate}{key}"), 2);
        assert!(!starts(), "{version}");
        let desired = Arc::new(Snapshot::default());
        let limit = tokio::time::Instant::now() + Duration::from_secs(30);
        let expected = "the private key is not that of the first certificate";
        loop {
            let report = driver.converge(&desired).await.unwrap();
            if let [condition] = &report.conditions[..]
                && condition.detail.contains(expected)
            {
                assert_eq!(counted(&report, "certificates_failed"), 2, "{version}");
                break;
            }
            assert!(
                tokio::time::Instant::now() < limit,
                "{:?}",
                report.conditions
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        site.write(&site.first, 3);
        loop {
            let report = driver.converge(&desired).await.unwrap();
            if report.conditions.is_empty() {
                assert_eq!(counted(&report, "certificates_replaced"), 0, "{version}");
                break;
            }
            assert!(tokio::time::Instant::now() < limit + Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// A change that was made while nothing followed it is noticed by fingerprint, and a restarted HAProxy loads the file
/// itself.
#[tokio::test]
async fn a_file_that_changed_meanwhile_is_noticed() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        println!("HAProxy {version}");
        let mut site = Site::start(&executable).await;
        let second = issue("second.example");
        site.write(&second, 1);
        let mut driver = site.driver();
        until_counted(&mut driver, "certificates_replaced", 1).await;
        assert_eq!(
            shown_to_a_client(site.port).await,
            der(&second),
            "{version}"
        );
        site.haproxy.reload().await.unwrap();
        assert_eq!(
            shown_to_a_client(site.port).await,
            der(&second),
            "{version}"
        );
        let report = until_counted(&mut driver, "workers_seen", 2).await;
        assert_eq!(counted(&report, "certificates_replaced"), 1);
    }
}

/// Every command and its verdict, on every version.
#[tokio::test]
async fn each_command_is_understood() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        println!("HAProxy {version}");
        let site = Site::start(&executable).await;
        let list = site.place.dir.path().join("list");
        let text = fs::read_to_string(&site.place.config).unwrap();
        fs::write(&list, format!("{}\n", site.file.display())).unwrap();
        let bind = format!(
            "  bind 127.0.0.1:{} ssl crt-list {}\n",
            free_port(),
            list.display()
        );
        fs::write(
            &site.place.config,
            text.replace("frontend in\n", &format!("frontend in\n{bind}")),
        )
        .unwrap();
        let Site {
            place,
            mut haproxy,
            file,
            ..
        } = site;
        haproxy.reload().await.unwrap();
        let mut client = haproxy.connect().await.unwrap();
        let list: CertName = list.display().to_string().parse().unwrap();
        let file: CertName = file.display().to_string().parse().unwrap();
        let more = place.dir.path().join("more.pem").display().to_string();
        let more: CertName = more.parse().unwrap();
        let pem: Pem = issue("more.example").parse().unwrap();
        use SslCommand as S;
        let mut tell = async |command: SslCommand, expected: Option<Accepted>| {
            let command = Command::Ssl(command);
            let reply = client.exec(&command).await.unwrap();
            let told = verdict(&command, &reply).ok();
            assert_eq!(told, expected, "{version}: {command:?}: {reply:?}");
            reply.text().to_owned()
        };
        let (done, shows) = (Some(Accepted::Done), Some(Accepted::Text));
        assert!(
            tell(S::Show(None), shows.clone())
                .await
                .contains(file.as_str())
        );
        let text = tell(S::Show(Some(file.clone())), shows.clone()).await;
        assert!(CertificateShown::parse(&text).is_some(), "{text}");
        tell(S::Abort(file.clone()), None).await;
        tell(S::Commit(file.clone()), None).await;
        tell(S::Show(Some(more.clone())), None).await;
        tell(S::Set(more.clone(), pem.clone()), None).await;
        tell(S::New(more.clone()), done.clone()).await;
        tell(S::New(more.clone()), None).await;
        tell(S::Set(more.clone(), pem.clone()), done.clone()).await;
        tell(S::Set(more.clone(), pem.clone()), done.clone()).await;
        tell(S::Commit(more.clone()), done.clone()).await;
        let text = tell(S::Show(Some(more.clone())), shows.clone()).await;
        assert_eq!(CertificateShown::parse(&text).unwrap().serial, pem.serial());
        let entry = |file: &CertName| S::AddToList {
            list: list.clone(),
            file: file.clone(),
        };
        tell(entry(&more), done.clone()).await;
        let text = tell(S::ShowList(list.clone()), shows).await;
        assert!(text.contains(more.as_str()), "{text}");
        tell(S::Delete(more.clone()), None).await;
        let delete = S::DeleteFromList {
            list: list.clone(),
            file: more.clone(),
        };
        tell(delete.clone(), done.clone()).await;
        tell(delete, None).await;
        tell(S::Delete(more.clone()), done.clone()).await;
        tell(S::Set(file.clone(), pem), done.clone()).await;
        tell(S::Abort(file), done).await;
        drop(place);
    }
}

/// A certificate of this serial number.
fn issue_with(name: &str, serial: u64) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.serial_number = Some(serial.into());
    let certificate = params.self_signed(&key).unwrap();
    format!("{}{}", certificate.pem(), key.serialize_pem())
}

/// Serial numbers do not tell certificates apart, and a chain is a part of what clients are shown.
#[tokio::test]
async fn case_p14_another_certificate_of_one_serial_number_and_a_longer_chain_are_noticed() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        println!("HAProxy {version}");
        let site = Site::start(&executable).await;
        let (first, second) = (issue_with("a.example", 77), issue_with("b.example", 77));
        let mut driver = site.driver();
        site.write(&first, 1);
        until_counted(&mut driver, "certificates_replaced", 1).await;
        site.write(&second, 2);
        driver = site.driver();
        until_counted(&mut driver, "certificates_replaced", 1).await;
        assert_eq!(
            shown_to_a_client(site.port).await,
            der(&second),
            "{version}"
        );
        // An intermediate is appended; the first certificate stays.
        let above = issue("above.example");
        let above = &above[..above.find("-----BEGIN PRIVATE KEY").unwrap()];
        site.write(&format!("{second}{above}"), 3);
        driver = site.driver();
        until_counted(&mut driver, "certificates_replaced", 1).await;
        let mut client = site.haproxy.connect().await.unwrap();
        let show = Command::Ssl(SslCommand::Show(Some(site.name())));
        let reply = client.exec(&show).await.unwrap();
        let shown = CertificateShown::parse(reply.text()).unwrap();
        assert_eq!(shown.chain.len(), 1, "{version}: {}", reply.text());
        // What is as the file says is left alone.
        driver = site.driver();
        let report = until_counted(&mut driver, "connections", 1).await;
        assert_eq!(counted(&report, "certificates_replaced"), 0);
    }
}

/// Another client's `commit ssl cert` is undone, though the file did not change.
#[tokio::test]
async fn case_p13_a_certificate_that_another_client_committed_is_put_back() {
    side_by_side(executables(), async |executable: Executable| {
        let version = executable.version().await.unwrap();
        let site = Site::start(&executable).await;
        let mut driver = site.driver();
        until_counted(&mut driver, "connections", 1).await;
        let mut client = site.haproxy.connect().await.unwrap();
        let foreign: Pem = issue("foreign.example").parse().unwrap();
        for command in [
            SslCommand::Set(site.name(), foreign.clone()),
            SslCommand::Commit(site.name()),
        ] {
            let command = Command::Ssl(command);
            let reply = client.exec(&command).await.unwrap();
            assert!(verdict(&command, &reply).is_ok(), "{reply:?}");
        }
        assert_ne!(shown_to_a_client(site.port).await, der(&site.first));
        // One that goes on looks within half a minute, and says what it undid.
        let report = until_counted(&mut driver, "certificates_replaced", 1).await;
        let told: Vec<_> = report.conditions.iter().map(ToString::to_string).collect();
        assert!(
            told.len() == 1
                && told[0].contains(foreign.fingerprint())
                && told[0].contains("another client"),
            "{version}: {told:?}"
        );
        assert_eq!(report.conditions[0].kind, ConditionKind::ForeignEdit);
        assert_eq!(
            shown_to_a_client(site.port).await,
            der(&site.first),
            "{version}"
        );
    })
    .await;
}

#[test]
fn i6_a_path_with_more_than_a_word_is_no_certificate() {
    for text in ["a b", "a;b", "a\nb", "*a", "@1", "#1", "a\\", "", "<<"] {
        assert!(text.parse::<CertName>().is_err(), "{text:?}");
    }
    assert!(Path::new("/").is_absolute());
}
