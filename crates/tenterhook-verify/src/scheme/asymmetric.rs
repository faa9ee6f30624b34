//! Public-key signatures: Ed25519, RSA PKCS#1 v1.5 and ECDSA P-256, each over SHA-256 where it hashes first. Knows how
//! keys are written (PEM, base64 DER, raw, `whpk_…`, `whsk_…`); never takes a public key for a MAC key.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED,
    ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    VerificationAlgorithm,
};
use data_encoding::HEXLOWER_PERMISSIVE;

use super::encoding::key_base64;

/// The prefix of a Standard Webhooks private key.
const PRIVATE_PREFIX: &str = "whsk_";
/// Bytes of an Ed25519 seed, and of its public key.
const ED25519_BYTES: usize = 32;

/// The public-key algorithms of the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublicAlgorithm {
    Ed25519,
    RsaSha256,
    /// For the schemes that are code; the grammar has no name for it. Nothing is signed with it here.
    RsaSha1,
    EcdsaP256Sha256,
    /// Not of the grammar: the signature is r and s of 32 bytes each (RFC 7518, section 3.4).
    P256Sha256Fixed,
}

/// A key that verifies, and signs where a private key was given.
#[derive(Clone)]
pub(crate) struct PublicKey {
    verifying: ParsedPublicKey,
    signing: Option<Arc<PrivateKey>>,
}

enum PrivateKey {
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl PublicAlgorithm {
    /// The names of the grammar.
    pub(crate) const NAMES: [&'static str; 3] = ["ed25519", "rsa-sha256", "ecdsa-p256-sha256"];

    /// The algorithm of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "ed25519" => Some(Self::Ed25519),
            "rsa-sha256" => Some(Self::RsaSha256),
            "ecdsa-p256-sha256" => Some(Self::EcdsaP256Sha256),
            _ => None,
        }
    }

    /// Reads a key as a user configured it: PEM, or text in base64 or hex behind one of `prefixes`.
    pub(crate) fn key(self, text: &str, hex: bool, prefixes: &[String]) -> Result<PublicKey, String> {
        let text = text.trim();
        if text.starts_with("-----BEGIN ") {
            let (label, der) = pem(text)?;
            return match label {
                "PUBLIC KEY" => self.public(&der),
                "PRIVATE KEY" => self.private(&der),
                _ => Err(format!("a PEM block `{label}` is neither `PUBLIC KEY` nor `PRIVATE KEY`")),
            };
        }
        let (private, bare) = match text.strip_prefix(PRIVATE_PREFIX) {
            Some(bare) => (true, bare),
            None => {
                (false, prefixes.iter().find_map(|prefix| text.strip_prefix(prefix.as_str())).unwrap_or(text))
            }
        };
        let bytes = if hex { HEXLOWER_PERMISSIVE.decode(bare.as_bytes()).ok() } else { key_base64(bare) };
        let bytes = bytes.ok_or_else(|| {
            let form = if hex { "hex" } else { "base64" };
            format!("the key is neither PEM nor {form}")
        })?;
        if private { self.private(&bytes) } else { self.public(&bytes) }
    }

    pub(crate) fn public(self, bytes: &[u8]) -> Result<PublicKey, String> {
        let algorithm: &'static dyn VerificationAlgorithm = match self {
            Self::Ed25519 => &ED25519,
            Self::RsaSha256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::RsaSha1 => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Self::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
            Self::P256Sha256Fixed => &ECDSA_P256_SHA256_FIXED,
        };
        let verifying = ParsedPublicKey::new(algorithm, bytes)
            .map_err(|_| format!("not a public key for {}", self.name()))?;
        Ok(PublicKey { verifying, signing: None })
    }

    pub(crate) fn private(self, bytes: &[u8]) -> Result<PublicKey, String> {
        let refusal = |_| format!("not a private key for {}", self.name());
        let (private, public) = match self {
            Self::Ed25519 => {
                let pair = match bytes.split_at_checked(ED25519_BYTES) {
                    Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
                    Some((seed, public)) if public.len() == ED25519_BYTES => {
                        Ed25519KeyPair::from_seed_and_public_key(seed, public)
                    }
                    _ => Ed25519KeyPair::from_pkcs8(bytes),
                };
                let pair = pair.map_err(refusal)?;
                let public = pair.public_key().as_ref().to_vec();
                (PrivateKey::Ed25519(pair), public)
            }
            Self::RsaSha256 => {
                let pair = RsaKeyPair::from_pkcs8(bytes).map_err(refusal)?;
                let public = pair.public_key().as_ref().to_vec();
                (PrivateKey::Rsa(pair), public)
            }
            Self::RsaSha1 => return Err("nothing is signed with SHA-1 here; give the public key".to_owned()),
            Self::EcdsaP256Sha256 | Self::P256Sha256Fixed => {
                let fixed = self == Self::P256Sha256Fixed;
                let form =
                    if fixed { &ECDSA_P256_SHA256_FIXED_SIGNING } else { &ECDSA_P256_SHA256_ASN1_SIGNING };
                let pair = EcdsaKeyPair::from_pkcs8(form, bytes).map_err(refusal)?;
                let public = pair.public_key().as_ref().to_vec();
                (PrivateKey::P256(pair), public)
            }
        };
        let key = self.public(&public)?;
        Ok(PublicKey { signing: Some(Arc::new(private)), ..key })
    }

    /// The name in the grammar.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::RsaSha256 => "rsa-sha256",
            Self::RsaSha1 => "rsa-sha1",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::P256Sha256Fixed => "es256",
        }
    }
}

impl PublicKey {
    /// Whether `signature` is one of `message` under this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifying.verify_sig(message, signature).is_ok()
    }

    /// Signs; `None` where only a public key was given.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self.signing.as_deref()? {
            PrivateKey::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            PrivateKey::P256(pair) => Some(pair.sign(&SystemRandom::new(), message).ok()?.as_ref().to_vec()),
            PrivateKey::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}

/// The label and the DER of the first PEM block in `text`. Keys reach us through environment variables, so `\n` may be
/// spelled out.
pub(crate) fn pem(text: &str) -> Result<(&str, Vec<u8>), String> {
    let broken = || "a PEM block is not closed".to_owned();
    let rest = text.strip_prefix("-----BEGIN ").ok_or_else(broken)?;
    let (label, rest) = rest.split_once("-----").ok_or_else(broken)?;
    let (body, _) = rest.split_once("-----END ").ok_or_else(broken)?;
    let der = key_base64(&body.replace("\\n", "\n")).ok_or_else(|| "a PEM block is not base64".to_owned())?;
    Ok((label, der))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pem_block_may_have_its_line_breaks_spelled_out() {
        let (label, der) = pem("-----BEGIN PUBLIC KEY-----\\nAQID\\n-----END PUBLIC KEY-----").unwrap();
        assert_eq!((label, der), ("PUBLIC KEY", vec![1, 2, 3]));
        assert!(pem("-----BEGIN PUBLIC KEY-----").is_err());
    }

    #[test]
    fn a_private_key_signs_and_verifies_a_public_one_only_verifies() {
        let seed = data_encoding::BASE64.encode(&[7; 32]);
        let private = PublicAlgorithm::Ed25519.key(&format!("whsk_{seed}"), false, &[]).unwrap();
        let signature = private.sign(b"message").unwrap();
        assert!(private.verifies(b"message", &signature));
        assert!(!private.verifies(b"messagf", &signature));
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let text = data_encoding::BASE64.encode(pair.public_key().as_ref());
        let public =
            PublicAlgorithm::Ed25519.key(&format!("whpk_{text}"), false, &["whpk_".to_owned()]).unwrap();
        assert!(public.verifies(b"message", &signature));
        assert_eq!(public.sign(b"message"), None);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for algorithm in
            [PublicAlgorithm::Ed25519, PublicAlgorithm::RsaSha256, PublicAlgorithm::EcdsaP256Sha256]
        {
            for text in
                ["", "AQID", "-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----", "!!", "whsk_AQID"]
            {
                assert!(algorithm.key(text, false, &[]).is_err(), "{algorithm:?} {text}");
            }
        }
    }
}
