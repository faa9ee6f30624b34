//! HMAC: one key, one MAC over the content, compared in constant time.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use super::content::Content;

/// The MACs of the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mac {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Mac {
    /// The names of the grammar.
    pub(crate) const NAMES: [&'static str; 4] = ["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"];

    /// The MAC of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "hmac-sha1" => Some(Self::Sha1),
            "hmac-sha256" => Some(Self::Sha256),
            "hmac-sha384" => Some(Self::Sha384),
            "hmac-sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// How long a tag is.
    pub(crate) fn tag_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// A key for this MAC. The caller has seen to it that `bytes` is not empty.
    pub(crate) fn key(self, bytes: &[u8]) -> hmac::Key {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::Key::new(algorithm, bytes)
    }
}

/// The MAC of the content.
pub(crate) fn tag(key: &hmac::Key, content: &Content<'_>) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for piece in content.pieces() {
        context.update(piece);
    }
    context.sign()
}

/// Whether one of the candidates is the MAC of the content: one MAC however many candidates there are.
pub(crate) fn any_matches(key: &hmac::Key, content: &Content<'_>, candidates: &[Vec<u8>]) -> bool {
    let expected = tag(key, content);
    candidates.iter().any(|candidate| equal(expected.as_ref(), candidate))
}

/// Whether two texts are the same, in a time that tells nothing but their lengths.
pub(crate) fn equal(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}
