//! Compares a private key with a certificate by the public key that both have.

use super::der::{elements, expect};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// The optional first field of a certificate: `[0]`.
const VERSION: u8 = 0xa0;
/// The public key of an EC private key: `[1]`.
const EC_PUBLIC: u8 = 0xa1;
/// The public key of a private key in PKCS #8: `[1]`, implicit.
const PUBLIC: u8 = 0x81;

const RSA: [&[u8]; 2] = [
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1],
    // With PSS only.
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10],
];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

#[derive(Debug, PartialEq, Eq)]
enum Algorithm<'d> {
    Rsa,
    Ec,
    Other(&'d [u8]),
}

/// The public part by which one key pair is told from another.
#[derive(Debug)]
struct Public<'d> {
    algorithm: Algorithm<'d>,
    /// The modulus of RSA, the point of EC, else the whole key. A private key need not have it.
    key: Option<&'d [u8]>,
}

/// Returns `true` if the private key, of a block of this label, is certainly not that of the certificate. An encrypted
/// key, or one without its public part, cannot be told from another of its algorithm.
pub(super) fn is_foreign(certificate: &[u8], label: &str, key: &[u8]) -> bool {
    let (Some(wanted), Some(found)) = (of_certificate(certificate), of_key(label, key)) else {
        return false;
    };
    if wanted.algorithm != found.algorithm {
        return true;
    }
    let (Some(this), Some(that)) = (wanted.key, found.key) else {
        return false;
    };
    // A point may be written in two forms, of which the first byte tells.
    let comparable = wanted.algorithm != Algorithm::Ec || this.first() == that.first();
    comparable && this != that
}

fn of_certificate(certificate: &[u8]) -> Option<Public<'_>> {
    let (body, _) = expect(SEQUENCE, certificate)?;
    let (fields, _) = expect(SEQUENCE, body)?;
    // Version?, serial number, signature, issuer, validity, subject; then the key.
    let mut fields = elements(fields).skip_while(|(tag, _)| *tag == VERSION);
    let (_, info) = fields.nth(5)?;
    let (algorithm, rest) = algorithm(info)?;
    let (bits, _) = expect(BIT_STRING, rest)?;
    let bits = whole_bytes(bits)?;
    let key = match algorithm {
        Algorithm::Rsa => {
            let (numbers, _) = expect(SEQUENCE, bits)?;
            number(numbers)?
        }
        Algorithm::Ec | Algorithm::Other(_) => bits,
    };
    Some(Public {
        algorithm,
        key: Some(key),
    })
}

fn of_key<'d>(label: &str, key: &'d [u8]) -> Option<Public<'d>> {
    match label {
        "RSA PRIVATE KEY" => of_rsa(key),
        "EC PRIVATE KEY" => of_ec(key),
        "PRIVATE KEY" => {
            let (fields, _) = expect(SEQUENCE, key)?;
            let (_version, rest) = expect(INTEGER, fields)?;
            let (algorithm, rest) = algorithm(rest)?;
            let (inner, rest) = expect(OCTET_STRING, rest)?;
            match algorithm {
                Algorithm::Rsa => of_rsa(inner),
                Algorithm::Ec => of_ec(inner),
                Algorithm::Other(_) => {
                    let bits = elements(rest).find(|(tag, _)| *tag == PUBLIC);
                    let key = bits.and_then(|(_, bits)| whole_bytes(bits));
                    Some(Public { algorithm, key })
                }
            }
        }
        _ => None,
    }
}

/// `SEQUENCE { INTEGER version, INTEGER modulus, …`
fn of_rsa(key: &[u8]) -> Option<Public<'_>> {
    let (fields, _) = expect(SEQUENCE, key)?;
    let (_version, rest) = expect(INTEGER, fields)?;
    Some(Public {
        algorithm: Algorithm::Rsa,
        key: Some(number(rest)?),
    })
}

/// `SEQUENCE { INTEGER version, OCTET STRING secret, [0] parameters?, [1] BIT STRING point? }`
fn of_ec(key: &[u8]) -> Option<Public<'_>> {
    let (fields, _) = expect(SEQUENCE, key)?;
    let public = elements(fields).find(|(tag, _)| *tag == EC_PUBLIC);
    let bits = public.and_then(|(_, public)| expect(BIT_STRING, public));
    Some(Public {
        algorithm: Algorithm::Ec,
        key: bits.and_then(|(bits, _)| whole_bytes(bits)),
    })
}

/// `SEQUENCE { OBJECT, parameters? }`, and what follows.
fn algorithm(bytes: &[u8]) -> Option<(Algorithm<'_>, &[u8])> {
    let (fields, rest) = expect(SEQUENCE, bytes)?;
    let (object, _) = expect(OBJECT, fields)?;
    let algorithm = match object {
        object if RSA.contains(&object) => Algorithm::Rsa,
        EC => Algorithm::Ec,
        other => Algorithm::Other(other),
    };
    Some((algorithm, rest))
}

/// The bytes of a bit string, which has no odd bits.
fn whole_bytes(bits: &[u8]) -> Option<&[u8]> {
    bits.strip_prefix(&[0])
}

/// A positive number, without the zeros before it.
fn number(bytes: &[u8]) -> Option<&[u8]> {
    let (number, _) = expect(INTEGER, bytes)?;
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    };

    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut out = vec![tag, 0x82];
        out.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        out.extend(content);
        out
    }

    fn certificate_of(object: &[u8], key: &[u8]) -> Vec<u8> {
        let algorithm = der(SEQUENCE, &[&der(OBJECT, &[object])]);
        let info = der(SEQUENCE, &[&algorithm, &der(BIT_STRING, &[&[0], key])]);
        let (serial, other) = (der(INTEGER, &[&[7]]), der(SEQUENCE, &[]));
        let fields: [&[u8]; 6] = [&serial, &other, &other, &other, &other, &info];
        der(SEQUENCE, &[&der(SEQUENCE, &fields)])
    }

    #[test]
    fn case_p14_a_key_is_known_to_be_its_certificates() {
        let issued: Vec<(Vec<u8>, Vec<u8>)> = [
            &PKCS_ECDSA_P256_SHA256,
            &PKCS_ECDSA_P256_SHA256,
            &PKCS_ECDSA_P384_SHA384,
            &PKCS_ED25519,
            &PKCS_ED25519,
        ]
        .into_iter()
        .map(|algorithm| {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            let certificate = params.self_signed(&key).unwrap();
            (certificate.der().to_vec(), key.serialize_der())
        })
        .collect();
        for (i, (certificate, _)) in issued.iter().enumerate() {
            for (j, (_, key)) in issued.iter().enumerate() {
                let foreign = is_foreign(certificate, "PRIVATE KEY", key);
                assert_eq!(foreign, i != j, "{i} {j}");
                assert!(!is_foreign(certificate, "ENCRYPTED PRIVATE KEY", key));
            }
        }
    }

    #[test]
    fn case_p14_keys_of_rsa_are_told_apart_by_their_modulus() {
        let public = |n: &[u8]| der(SEQUENCE, &[&der(INTEGER, &[n]), &der(INTEGER, &[&[3]])]);
        let plain = |n: &[u8]| der(SEQUENCE, &[&der(INTEGER, &[&[0]]), &der(INTEGER, &[n])]);
        let wrapped = |object: &[u8], key: &[u8]| {
            let algorithm = der(SEQUENCE, &[&der(OBJECT, &[object])]);
            let version = der(INTEGER, &[&[0]]);
            der(
                SEQUENCE,
                &[&version, &algorithm, &der(OCTET_STRING, &[key])],
            )
        };
        let certificate = certificate_of(RSA[0], &public(&[0, 0x91, 5]));
        for (n, foreign) in [
            (&[0, 0x91, 5][..], false),
            (&[0x91, 5], false),
            (&[0, 0x91, 7], true),
        ] {
            assert_eq!(
                is_foreign(&certificate, "RSA PRIVATE KEY", &plain(n)),
                foreign
            );
            let wrapped = wrapped(RSA[0], &plain(n));
            assert_eq!(is_foreign(&certificate, "PRIVATE KEY", &wrapped), foreign);
        }
        // Another algorithm is another key, though its public part is missing.
        let ec = der(
            SEQUENCE,
            &[&der(INTEGER, &[&[1]]), &der(OCTET_STRING, &[&[9]])],
        );
        assert!(is_foreign(&certificate, "EC PRIVATE KEY", &ec));
        assert!(!is_foreign(
            &certificate_of(EC, &[4, 1, 2]),
            "EC PRIVATE KEY",
            &ec
        ));
        assert!(!is_foreign(&certificate, "RSA PRIVATE KEY", b"no DER"));
        // The compressed point of one certificate cannot be compared with the whole one of its key.
        let whole = der(EC_PUBLIC, &[&der(BIT_STRING, &[&[0, 4, 1, 2]])]);
        let key = der(
            SEQUENCE,
            &[&der(INTEGER, &[&[1]]), &der(OCTET_STRING, &[&[9]]), &whole],
        );
        assert!(!is_foreign(
            &certificate_of(EC, &[2, 1]),
            "EC PRIVATE KEY",
            &key
        ));
        assert!(!is_foreign(
            &certificate_of(EC, &[4, 1, 2]),
            "EC PRIVATE KEY",
            &key
        ));
        assert!(is_foreign(
            &certificate_of(EC, &[4, 1, 3]),
            "EC PRIVATE KEY",
            &key
        ));
    }
}
