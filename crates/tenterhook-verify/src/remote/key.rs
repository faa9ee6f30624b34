//! A public key that a provider publishes: as a certificate, as PEM, or as a JWK. The key's own type decides what it can
//! verify; nothing that travels with a message does.

use std::fmt;

use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::KeyPair;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use super::certificate;
use crate::scheme::asymmetric::{PublicAlgorithm, PublicKey, pem};
use crate::scheme::encoding::key_base64;

/// The largest RSA modulus and exponent of a JWK, in bytes.
const MODULUS_BYTES_MAX: usize = 1024;
const EXPONENT_BYTES_MAX: usize = 8;

/// How a message is signed with such a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signing {
    /// RSA PKCS#1 v1.5 with SHA-1, for those who still sign so (SNS version 1, Travis CI).
    RsaSha1,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RsaSha256,
    /// ECDSA on P-256 with SHA-256, the signature as r and s of 32 bytes each.
    P256,
}

/// One key, ready to verify; it also signs where a private key was given.
#[derive(Clone)]
pub(crate) enum RemoteKey {
    Rsa { sha1: PublicKey, sha256: PublicKey },
    P256(PublicKey),
}

impl RemoteKey {
    /// Reads a key as a user configured it: a certificate, a public or a private key as PEM, a JWK, or the base64 of a
    /// `SubjectPublicKeyInfo`. A certificate that a user pins is taken at its word: nothing but its key counts.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with('{') {
            let jwk: Jwk = serde_json::from_str(text).map_err(|_| "not a JWK".to_owned())?;
            return jwk.key();
        }
        if !text.starts_with("-----BEGIN ") {
            let der = key_base64(text).ok_or("neither PEM, nor a JWK, nor base64")?;
            return Self::public(&der);
        }
        let (label, der) = pem(text)?;
        match label {
            "CERTIFICATE" => Self::public(certificate::Fields::read(&der)?.public_key),
            "PUBLIC KEY" => Self::public(&der),
            "PRIVATE KEY" => Self::private(&der),
            _ => Err(format!("a PEM block `{label}` is no certificate, public key or private key")),
        }
    }

    /// A key out of a `SubjectPublicKeyInfo`, or out of the numbers of an RSA key.
    pub(crate) fn public(der: &[u8]) -> Result<Self, String> {
        if let Ok(sha256) = PublicAlgorithm::RsaSha256.public(der) {
            return Ok(Self::Rsa { sha1: PublicAlgorithm::RsaSha1.public(der)?, sha256 });
        }
        let p256 = PublicAlgorithm::P256Sha256Fixed.public(der);
        p256.map(Self::P256)
            .map_err(|_| "neither an RSA key of 2048 bits or more nor one on P-256".to_owned())
    }

    fn private(der: &[u8]) -> Result<Self, String> {
        if let Ok(sha256) = PublicAlgorithm::RsaSha256.private(der) {
            let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| "not an RSA key".to_owned())?;
            return Ok(Self::Rsa {
                sha1: PublicAlgorithm::RsaSha1.public(pair.public_key().as_ref())?,
                sha256,
            });
        }
        let p256 = PublicAlgorithm::P256Sha256Fixed.private(der);
        p256.map(Self::P256)
            .map_err(|_| "neither an RSA key of 2048 bits or more nor one on P-256".to_owned())
    }

    /// Whether `signature` is one of `message` under this key. A key of another type verifies nothing.
    pub(crate) fn verifies(&self, signing: Signing, message: &[u8], signature: &[u8]) -> bool {
        match (self, signing) {
            (Self::Rsa { sha1, .. }, Signing::RsaSha1) => sha1.verifies(message, signature),
            (Self::Rsa { sha256, .. }, Signing::RsaSha256) => sha256.verifies(message, signature),
            (Self::P256(key), Signing::P256) => key.verifies(message, signature),
            _ => false,
        }
    }

    /// Signs; `None` where only a public key was given, where the key is of another type, and for SHA-1, which nobody
    /// should sign with any more.
    pub(crate) fn sign(&self, signing: Signing, message: &[u8]) -> Option<Vec<u8>> {
        match (self, signing) {
            (Self::Rsa { sha256, .. }, Signing::RsaSha256) => sha256.sign(message),
            (Self::P256(key), Signing::P256) => key.sign(message),
            _ => None,
        }
    }
}

impl fmt::Debug for RemoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "RemoteKey(RSA)",
            Self::P256(_) => "RemoteKey(P-256)",
        })
    }
}

/// A public key as JSON (RFC 7517). Members that name other keys or certificates are not read.
#[derive(Deserialize)]
pub(crate) struct Jwk {
    kty: String,
    #[serde(default)]
    pub(crate) kid: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    /// When the key ended, in Unix seconds (Plaid).
    #[serde(default)]
    pub(crate) expired_at: Option<u64>,
}

impl Jwk {
    pub(crate) fn key(&self) -> Result<RemoteKey, String> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("a JWK that is not for signatures".to_owned());
        }
        let number = |text: &Option<String>, bytes_max: usize| {
            let bytes = BASE64URL_NOPAD.decode(text.as_deref().unwrap_or_default().as_bytes()).ok();
            bytes.filter(|bytes| (1..=bytes_max).contains(&bytes.len())).ok_or("a JWK without its numbers")
        };
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("EC", Some("P-256")) => {
                let (x, y) = (number(&self.x, 32)?, number(&self.y, 32)?);
                let mut point = [0; 65];
                point[0] = 4;
                point[33 - x.len()..33].copy_from_slice(&x);
                point[65 - y.len()..].copy_from_slice(&y);
                RemoteKey::public(&point)
            }
            ("RSA", None) => {
                let (n, e) = (number(&self.n, MODULUS_BYTES_MAX)?, number(&self.e, EXPONENT_BYTES_MAX)?);
                RemoteKey::public(&sequence(&[integer(&n), integer(&e)].concat()))
            }
            _ => Err("a JWK of a type that is not taken".to_owned()),
        }
    }
}

/// The DER of a positive number.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len().saturating_sub(1));
    let bare = &bytes[start..];
    let sign: &[u8] = if bare.first().is_some_and(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    tagged(2, &[sign, bare].concat())
}

fn sequence(content: &[u8]) -> Vec<u8> {
    tagged(0x30, content)
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head = match content.len() {
        0..128 => vec![tag, low],
        128..256 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, content].concat()
}
