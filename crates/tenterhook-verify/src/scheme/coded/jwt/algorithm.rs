//! The algorithms that some provider signs tokens with. There is no `none` to be chosen.

use aws_lc_rs::hmac::{self, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};

use super::token::Token;
use crate::remote::key::{RemoteKey, Signing};

/// An algorithm, by its name in the token's head; names have a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Es256,
}

impl Algorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    pub(crate) fn is_asymmetric(self) -> bool {
        self.signing().is_some()
    }

    fn signing(self) -> Option<Signing> {
        match self {
            Self::Rs256 => Some(Signing::RsaSha256),
            Self::Es256 => Some(Signing::P256),
            Self::Hs256 | Self::Hs384 | Self::Hs512 => None,
        }
    }

    fn mac(self, secret: &[u8]) -> Option<hmac::Key> {
        let algorithm = match self {
            Self::Hs256 => HMAC_SHA256,
            Self::Hs384 => HMAC_SHA384,
            Self::Hs512 => HMAC_SHA512,
            Self::Rs256 | Self::Es256 => return None,
        };
        Some(hmac::Key::new(algorithm, secret))
    }

    /// Whether the token is a MAC with that secret; compared in constant time.
    pub(crate) fn verifies_mac(self, secret: &[u8], token: &Token<'_>) -> bool {
        let key = self.mac(secret);
        key.is_some_and(|key| hmac::verify(&key, token.signed.as_bytes(), &token.signature).is_ok())
    }

    /// Whether the token was signed with the private half of that key.
    pub(crate) fn verifies_with(self, key: &RemoteKey, token: &Token<'_>) -> bool {
        let signing = self.signing();
        signing.is_some_and(|signing| key.verifies(signing, token.signed.as_bytes(), &token.signature))
    }

    /// The signature with that secret.
    pub(crate) fn sign_mac(self, secret: &[u8], signed: &str) -> Option<Vec<u8>> {
        Some(hmac::sign(&self.mac(secret)?, signed.as_bytes()).as_ref().to_vec())
    }

    /// The signature with that private key.
    pub(crate) fn sign_with(self, key: &RemoteKey, signed: &str) -> Option<Vec<u8>> {
        key.sign(self.signing()?, signed.as_bytes())
    }
}
