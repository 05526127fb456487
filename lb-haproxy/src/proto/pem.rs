//! A certificate with its key, as text that HAProxy can be given.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};

/// Certificates and a private key as PEM: nothing but its blocks, without an empty line, which would end a payload and
/// make commands of what follows.
///
/// Neither `Debug` nor serialization shows what is in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pem {
    text: Arc<str>,
    serial: Arc<str>,
}

impl Pem {
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
    /// Something else than base64 in a block.
    #[error("line {line} is no base64, within a block")]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// No certificate, or no private key.
    #[error("there is no {what}, expected a certificate and its private key")]
    Missing {
        /// What is missing.
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
        let mut certificate: Option<String> = None;
        let mut key = false;
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
                    key |= label.ends_with("PRIVATE KEY");
                    if *label == "CERTIFICATE" && certificate.is_none() {
                        certificate = Some(std::mem::take(base64));
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
        let certificate = certificate.ok_or_else(|| missing("certificate"))?;
        if !key {
            return Err(missing("private key"));
        }
        let serial = serial(&decode(&certificate).ok_or(InvalidPem::Certificate)?);
        Ok(Self {
            text: out.into(),
            serial: serial.ok_or(InvalidPem::Certificate)?.into(),
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

/// Tag, content and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
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
