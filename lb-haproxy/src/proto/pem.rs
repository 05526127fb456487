//! A certificate with its key, as text that HAProxy can be given.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};

use super::{CertificateShown, der::element, key_pair::is_foreign, sha1::fingerprint};

/// Certificates and a private key as PEM: nothing but its blocks, without an empty line, which would end a payload and
/// make commands of what follows.
///
/// Neither `Debug` nor serialization shows what is in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pem {
    text: Arc<str>,
    serial: Arc<str>,
    fingerprint: Arc<str>,
    /// The names in the subject of each certificate after the first, as far as they are plain text.
    chain: Arc<[Vec<String>]>,
}

impl Pem {
    /// The SHA-1 fingerprint of its first certificate, as HAProxy shows it: capital hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Returns `true` if this is what HAProxy shows: the same first certificate, and as many in the chain above it, of
    /// the same names.
    #[must_use]
    pub fn is_shown(&self, shown: &CertificateShown) -> bool {
        let named = |names: &Vec<String>, subject: &String| {
            names.iter().all(|name| subject.contains(name.as_str()))
        };
        let chain_is_its = self.chain.len() == shown.chain.len()
            && self
                .chain
                .iter()
                .zip(&shown.chain)
                .all(|(names, subject)| named(names, subject));
        // Without a chain of its own, HAProxy may take one from elsewhere.
        self.fingerprint.eq_ignore_ascii_case(&shown.fingerprint)
            && (chain_is_its || (self.chain.is_empty() && shown.chain_is_foreign))
    }

    /// Its text, each line ended.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The serial number of its first certificate, as HAProxy shows it: capital hexadecimal digits.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem")
            .field("bytes", &self.text.len())
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl Serialize for Pem {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&format_args!("certificate {}", self.serial))
    }
}

/// Why a text is no [`Pem`]. No part of the text is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPem {
    /// The first certificate cannot be read.
    #[error("certificate cannot be read")]
    Certificate,
    /// The private key belongs to another certificate than the first one: HAProxy refuses such a file when it starts.
    #[error("the private key is not that of the first certificate")]
    Key,
    /// Something else than base64 in a block.
    #[error("line {line} is no base64, within a block")]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// No certificate, or no private key.
    #[error("there is no {what}, expected a certificate and its private key")]
    Missing {
        /// The part that is missing.
        what: &'static str,
    },
    /// A block that does not end, or ends as another began.
    #[error("line {line} does not end the block {label}")]
    Unended {
        /// The line, from 1; after the last one where the text ended.
        line: usize,
        /// The block.
        label: String,
    },
}

impl FromStr for Pem {
    type Err = InvalidPem;

    /// Reads the blocks; what stands between them is left out.
    fn from_str(text: &str) -> Result<Self, InvalidPem> {
        let mut out = String::new();
        let mut block: Option<(&str, String)> = None;
        let mut certificates: Vec<String> = Vec::new();
        let mut key: Option<(&str, String)> = None;
        let mut last = 0;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            last = index + 1;
            let unended = |label: &str| InvalidPem::Unended {
                line: last,
                label: label.to_owned(),
            };
            match (
                &mut block,
                marker(line, "-----BEGIN "),
                marker(line, "-----END "),
            ) {
                (None, Some(label), _) => {
                    block = Some((label, String::new()));
                    push(&mut out, line);
                }
                (Some((label, base64)), _, Some(end)) if *label == end => {
                    if *label == "CERTIFICATE" {
                        certificates.push(std::mem::take(base64));
                    } else if label.ends_with("PRIVATE KEY") && key.is_none() {
                        key = Some((label, std::mem::take(base64)));
                    }
                    block = None;
                    push(&mut out, line);
                }
                (Some((label, _)), Some(_), _) | (Some((label, _)), _, Some(_)) => {
                    return Err(unended(label));
                }
                (Some(_), None, None) if line.is_empty() => {}
                (Some((_, base64)), None, None) => {
                    if !line.chars().all(is_base64) {
                        return Err(InvalidPem::Line { line: last });
                    }
                    base64.push_str(line);
                    push(&mut out, line);
                }
                (None, None, _) => {}
            }
        }
        if let Some((label, _)) = block {
            return Err(InvalidPem::Unended {
                line: last + 1,
                label: label.to_owned(),
            });
        }
        let missing = |what| InvalidPem::Missing { what };
        let (certificate, chain) = certificates
            .split_first()
            .ok_or_else(|| missing("certificate"))?;
        let (label, key) = key.ok_or_else(|| missing("private key"))?;
        let certificate = decode(certificate).ok_or(InvalidPem::Certificate)?;
        let serial = serial(&certificate);
        let chain: Option<Vec<Vec<String>>> = chain
            .iter()
            .map(|base64| Some(subject_names(&decode(base64)?)))
            .collect();
        let serial = serial.ok_or(InvalidPem::Certificate)?;
        if decode(&key).is_some_and(|key| is_foreign(&certificate, label, &key)) {
            return Err(InvalidPem::Key);
        }
        Ok(Self {
            text: out.into(),
            serial: serial.into(),
            fingerprint: fingerprint(&certificate).into(),
            chain: chain.ok_or(InvalidPem::Certificate)?.into(),
        })
    }
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// The label of `-----BEGIN LABEL-----`: capital letters, digits and blanks.
fn marker<'t>(line: &'t str, begin: &str) -> Option<&'t str> {
    let label = line.strip_prefix(begin)?.strip_suffix("-----")?;
    let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ';
    (!label.is_empty() && label.chars().all(fits)).then_some(label)
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

fn decode(base64: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(base64.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for c in base64.bytes().filter(|c| *c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(out)
}

/// The serial number in a certificate: `SEQUENCE { SEQUENCE { [0] version?, INTEGER serial, …`.
fn serial(certificate: &[u8]) -> Option<String> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    const INTEGER: u8 = 0x02;
    let (tag, body, _) = element(certificate)?;
    let (inner, fields, _) = element(body)?;
    let (mut field, mut value, rest) = element(fields)?;
    if field == VERSION {
        (field, value, _) = element(rest)?;
    }
    if (tag, inner, field) != (SEQUENCE, SEQUENCE, INTEGER) || value.is_empty() {
        return None;
    }
    let significant = value.iter().skip_while(|byte| **byte == 0);
    let digits: String = significant.map(|byte| format!("{byte:02X}")).collect();
    Some(if digits.is_empty() {
        "00".to_owned()
    } else {
        digits
    })
}

/// The names in a certificate's subject that HAProxy shows as they are. Fewer than there are only compare less.
fn subject_names(certificate: &[u8]) -> Vec<String> {
    const VERSION: u8 = 0xa0;
    let subject = || {
        let (_, body, _) = element(certificate)?;
        let (_, fields, _) = element(body)?;
        let (first, _, rest) = element(fields)?;
        // Serial number, signature, issuer, validity; then the subject.
        let skipped = if first == VERSION { 4 } else { 3 };
        let mut rest = rest;
        for _ in 0..skipped {
            (_, _, rest) = element(rest)?;
        }
        Some(element(rest)?.1)
    };
    let mut names = Vec::new();
    let mut sets = subject().unwrap_or_default();
    while let Some((_, set, more)) = element(sets) {
        sets = more;
        let mut pairs = set;
        while let Some((_, pair, more)) = element(pairs) {
            pairs = more;
            let value = element(pair).and_then(|(_, _, value)| element(value));
            let text = value.and_then(|(tag, value, _)| {
                // UTF8String, PrintableString, IA5String.
                let plain = [0x0c, 0x13, 0x16].contains(&tag)
                    && value.iter().all(|byte| (0x20..0x7f).contains(byte));
                plain.then(|| String::from_utf8_lossy(value).into_owned())
            });
            names.extend(text);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of a certificate with serial number 0x00F0A1: no more is looked at.
    const CERTIFICATE: &str = "MAwwCqADAgECAgMA8KE=";

    fn block(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[test]
    fn blocks_are_kept_and_all_else_is_left_out() {
        let key = block("EC PRIVATE KEY", "AAAA");
        let cert = block("CERTIFICATE", CERTIFICATE);
        let pem: Pem = format!(
            "bag attributes; x\n\n{cert}\r\n\n{}",
            key.replace("AAAA", "AA\r\n\r\nAA")
        )
        .parse()
        .unwrap();
        assert_eq!(pem.serial(), "F0A1");
        assert_eq!(
            pem.as_str(),
            format!("{cert}{}", key.replace("AAAA", "AA\nAA"))
        );
        assert!(!pem.as_str().contains("\n\n"));
        assert!(!format!("{pem:?}").contains("AA"));
    }

    #[test]
    fn what_is_broken_is_named_and_not_shown() {
        let key = block("PRIVATE KEY", "AAAA");
        let cert = block("CERTIFICATE", CERTIFICATE);
        for (text, expected) in [
            (
                String::new(),
                InvalidPem::Missing {
                    what: "certificate",
                },
            ),
            (
                cert.clone(),
                InvalidPem::Missing {
                    what: "private key",
                },
            ),
            (
                key.clone(),
                InvalidPem::Missing {
                    what: "certificate",
                },
            ),
            (
                format!(
                    "{key}{}",
                    block("CERTIFICATE", "set server b/s state maint")
                ),
                InvalidPem::Line { line: 5 },
            ),
            (
                format!("{cert}{}", key.replace("-----END PRIVATE KEY-----\n", "")),
                InvalidPem::Unended {
                    line: 6,
                    label: "PRIVATE KEY".to_owned(),
                },
            ),
            (
                format!("{key}{}", block("CERTIFICATE", "AAAA")),
                InvalidPem::Certificate,
            ),
        ] {
            assert_eq!(text.parse::<Pem>().unwrap_err(), expected, "{text}");
        }
    }
}
