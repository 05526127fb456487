//! Certificates at run time: the commands, and what HAProxy says to them. Alike on 2.2 to 3.4.

use std::io::Write as _;

use serde::Serialize;

use super::{
    BoundedText,
    encode::EncodeError,
    map_text::CertName,
    pem::Pem,
    verdict::{Accepted, Refusal},
};

/// The most bytes of a command that holds a certificate: what HAProxy takes before 3.4, where nobody lowered
/// `tune.bufsize`.
pub const MAX_CERTIFICATE: usize = 16_000;

/// The most characters of a subject that are kept.
const MOST_SUBJECT: usize = 4096;

/// A command about certificates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SslCommand {
    /// `abort ssl cert F`: gives a change up.
    Abort(CertName),
    /// `add ssl crt-list L F`: listeners of the list show the certificate too.
    AddToList {
        /// The list.
        list: CertName,
        /// The certificate, which HAProxy must know.
        file: CertName,
    },
    /// `commit ssl cert F`: what was set is used from now on, for new connections.
    Commit(CertName),
    /// `del ssl cert F`: forgets a certificate that nothing uses.
    Delete(CertName),
    /// `del ssl crt-list L F`.
    DeleteFromList {
        /// The list.
        list: CertName,
        /// The certificate.
        file: CertName,
    },
    /// `new ssl cert F`: an empty one, to be set.
    New(CertName),
    /// `set ssl cert F <<`: begins a change, or puts another one in its place.
    Set(CertName, Pem),
    /// `show ssl cert`, or what one file holds as it is used.
    Show(Option<CertName>),
    /// `show ssl crt-list L`.
    ShowList(CertName),
}

impl SslCommand {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        let _infallible = match self {
            Self::Abort(file) => write!(out, "abort ssl cert {file}"),
            Self::AddToList { list, file } => write!(out, "add ssl crt-list {list} {file}"),
            Self::Commit(file) => write!(out, "commit ssl cert {file}"),
            Self::Delete(file) => write!(out, "del ssl cert {file}"),
            Self::DeleteFromList { list, file } => write!(out, "del ssl crt-list {list} {file}"),
            Self::New(file) => write!(out, "new ssl cert {file}"),
            Self::Set(file, pem) => write!(out, "set ssl cert {file} <<\n{}", pem.as_str()),
            Self::Show(None) => write!(out, "show ssl cert"),
            Self::Show(Some(file)) => write!(out, "show ssl cert {file}"),
            Self::ShowList(list) => write!(out, "show ssl crt-list {list}"),
        };
    }

    /// Checks that its length, as written, is no more than HAProxy takes.
    pub(super) fn check_length(&self, len: usize) -> Result<(), EncodeError> {
        match len <= MAX_CERTIFICATE {
            true => Ok(()),
            false => Err(EncodeError::CertificateTooLong { len }),
        }
    }

    pub(super) fn is_read(&self) -> bool {
        matches!(self, Self::Show(_) | Self::ShowList(_))
    }

    pub(super) fn has_payload(&self) -> bool {
        matches!(self, Self::Set(..))
    }

    pub(super) fn verdict(&self, text: &str) -> Result<Accepted, Refusal> {
        let (so, accepted) = match self {
            Self::Abort(_) => (text.starts_with("Transaction aborted"), Accepted::Done),
            // Dots are printed while it goes on, and warnings may stand before the end.
            Self::AddToList { .. } | Self::Commit(_) => {
                (text.ends_with("Success!"), Accepted::Done)
            }
            Self::Delete(_) => (
                text.starts_with("Certificate '") && text.ends_with("deleted!"),
                Accepted::Done,
            ),
            Self::DeleteFromList { .. } => (text.contains("deleted in crtlist"), Accepted::Done),
            Self::New(_) => (text.starts_with("New empty certificate"), Accepted::Done),
            Self::Set(..) => (
                text.lines().any(|line| {
                    line.starts_with("Transaction created")
                        || line.starts_with("Transaction updated")
                }),
                Accepted::Done,
            ),
            Self::Show(None) => (text.starts_with("# filename"), Accepted::Text),
            Self::Show(Some(_)) => (text.starts_with("Filename: "), Accepted::Text),
            Self::ShowList(_) => (text.starts_with("# "), Accepted::Text),
        };
        match so {
            true => Ok(accepted),
            false if text.contains("Permission denied") => Err(Refusal::PermissionDenied),
            false if text.starts_with("Unknown command") => {
                Err(Refusal::UnknownCommand(BoundedText::new(text)))
            }
            false => Err(Refusal::Certificate(BoundedText::new(text))),
        }
    }
}

/// The answer of `show ssl cert F`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CertificateShown {
    /// Its serial number: capital hexadecimal digits.
    pub serial: String,
    /// Its SHA-1 fingerprint.
    pub fingerprint: String,
    /// The subjects of the certificates above it, from the nearest.
    pub chain: Vec<String>,
    /// If `true`, those are from another file (`issuers-chain-path`).
    pub chain_is_foreign: bool,
}

impl CertificateShown {
    /// Reads the reply; nothing where the file holds no certificate yet.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name))?
                .trim();
            let hex = !value.is_empty() && value.chars().all(|c| c.is_ascii_hexdigit());
            hex.then(|| value.to_owned())
        };
        Some(Self {
            serial: field("Serial:")?,
            fingerprint: field("SHA1 FingerPrint:")?,
            chain: text
                .lines()
                .filter_map(|line| line.strip_prefix("Chain Subject:"))
                .map(|subject| subject.trim().chars().take(MOST_SUBJECT).collect())
                .collect(),
            chain_is_foreign: text.lines().any(|line| line.starts_with("Chain Filename:")),
        })
    }
}
