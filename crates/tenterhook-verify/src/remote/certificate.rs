//! Certificates that sign messages: whose they are, until when they count, and who vouches for them. Chains are judged by
//! `webpki`; this file only reads the fields that `webpki` does not show.

use std::time::{Duration, SystemTime};

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::Roots;
use super::host::fits;
use crate::scheme::asymmetric::pem;
use crate::scheme::time::rfc3339;

/// The most certificates in one file.
const CHAIN_MAX: usize = 8;
/// The largest certificate, in bytes.
const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

/// What is asked of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Names, of which the certificate must hold one: `*` stands for one or more characters of one label.
    pub(crate) names: &'static [&'static str],
    /// Whether a certificate without the rest of its chain is taken on the word of the host that served it. SNS serves the
    /// end of the chain alone.
    pub(crate) alone: bool,
}

/// A certificate that was judged.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) public_key: Vec<u8>,
    pub(crate) not_after: SystemTime,
}

/// Judges the certificates of a PEM file, the signer's first: name, validity at `now`, and the chain to one of `roots`.
pub(crate) fn judge(text: &str, rule: Rule, roots: &Roots, now: SystemTime) -> Result<Judged, String> {
    let chain = certificates(text)?;
    let Some((first, others)) = chain.split_first() else {
        return Err("the file holds no certificate".to_owned());
    };
    let fields = Fields::read(first)?;
    if now < fields.not_before || now >= fields.not_after {
        return Err("the certificate is not valid at this time".to_owned());
    }
    let der = CertificateDer::from(first.as_slice());
    let certificate = EndEntityCert::try_from(&der).map_err(|error| format!("not a certificate: {error}"))?;
    if !certificate
        .valid_dns_names()
        .any(|name| rule.names.iter().any(|wanted| fits(wanted, &name.to_ascii_lowercase())))
    {
        return Err(format!("the certificate is for none of {}", rule.names.join(", ")));
    }
    if !(others.is_empty() && rule.alone) {
        let others: Vec<CertificateDer<'_>> =
            others.iter().map(|other| CertificateDer::from(other.as_slice())).collect();
        chained(&certificate, &others, &roots.0, now)?;
    }
    Ok(Judged { public_key: fields.public_key.to_vec(), not_after: fields.not_after })
}

/// Whether the chain ends at a root.
fn chained(
    certificate: &EndEntityCert<'_>,
    others: &[CertificateDer<'_>],
    roots: &[TrustAnchor<'_>],
    now: SystemTime,
) -> Result<(), String> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let time = UnixTime::since_unix_epoch(since);
    certificate
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            roots,
            others,
            time,
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map(drop)
        .map_err(|error| format!("the chain ends at no root: {error}"))
}

/// The certificates of a PEM file, in order.
fn certificates(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut chain = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("-----BEGIN CERTIFICATE-----") {
        if chain.len() == CHAIN_MAX {
            return Err(format!("more than {CHAIN_MAX} certificates"));
        }
        let block = &rest[start..];
        let (_, der) = pem(block)?;
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err("a certificate is too large".to_owned());
        }
        chain.push(der);
        rest = &block[1..];
    }
    Ok(chain)
}

/// The fields of a certificate (RFC 5280, section 4.1) that are needed here.
pub(crate) struct Fields<'c> {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// The `SubjectPublicKeyInfo`, as DER.
    pub(crate) public_key: &'c [u8],
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl<'c> Fields<'c> {
    pub(crate) fn read(der: &'c [u8]) -> Result<Self, String> {
        Self::walk(der).ok_or_else(|| "not a certificate".to_owned())
    }

    fn walk(der: &'c [u8]) -> Option<Self> {
        let (_, certificate, _) = element(der, SEQUENCE)?;
        let (_, mut rest, _) = element(certificate, SEQUENCE)?;
        if let Some((_, _, behind)) = element(rest, VERSION) {
            rest = behind;
        }
        let (_, _, rest) = element(rest, INTEGER)?;
        let (_, _, rest) = element(rest, SEQUENCE)?;
        let (_, _, rest) = element(rest, SEQUENCE)?;
        let (_, validity, rest) = element(rest, SEQUENCE)?;
        let (_, _, rest) = element(rest, SEQUENCE)?;
        let (public_key, _, _) = element(rest, SEQUENCE)?;
        let (not_before, behind) = time(validity)?;
        let (not_after, _) = time(behind)?;
        Some(Self { not_before, not_after, public_key })
    }
}

/// The first element if it has that tag: whole, its content, and what follows.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
        _ => return None,
    };
    if found != tag || rest.len() < length {
        return None;
    }
    let (content, behind) = rest.split_at(length);
    Some((&der[..der.len() - behind.len()], content, behind))
}

/// A point in time, `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, and what follows.
fn time(der: &[u8]) -> Option<(SystemTime, &[u8])> {
    let (content, rest) = match element(der, UTC_TIME) {
        Some((_, content, rest)) => (content, rest),
        None => element(der, GENERALIZED_TIME).map(|(_, content, rest)| (content, rest))?,
    };
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let full = match text.len() {
        // RFC 5280, section 4.1.2.5.1: the two digits stand for 1950 to 2049.
        12 => format!("{}{text}", if text < "50" { "20" } else { "19" }),
        14 => text.to_owned(),
        _ => return None,
    };
    if !full.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (date, clock) = full.split_at(8);
    let moment = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &clock[..2],
        &clock[2..4],
        &clock[4..]
    );
    Some((rfc3339(&moment)?, rest))
}
