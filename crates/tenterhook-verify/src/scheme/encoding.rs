//! How signature bytes become text: hex, base64, base64url. Knows nothing of what the bytes are.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// What JavaScript's `encodeURIComponent` leaves alone.
pub(crate) const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The text form of a signature or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Lower case when written, either case when read: the case carries no information.
    Hex,
    /// Lower case only, for providers whose own SDK takes nothing else.
    HexLower,
    /// RFC 4648 section 4, padded.
    Base64,
    /// RFC 4648 section 5, written without padding, read with or without.
    Base64Url,
}

impl Encoding {
    /// The names of the grammar.
    pub(crate) const NAMES: [&'static str; 4] = ["hex", "hex-lower", "base64", "base64url"];

    /// The encoding of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "hex" => Some(Self::Hex),
            "hex-lower" => Some(Self::HexLower),
            "base64" => Some(Self::Base64),
            "base64url" => Some(Self::Base64Url),
            _ => None,
        }
    }

    /// Decodes a signature strictly: no white space, no missing padding, no stray bits at the end.
    pub(crate) fn decode(self, text: &str) -> Option<Vec<u8>> {
        let mut bytes = vec![0; text.len()];
        let len = self.decode_into(text, &mut bytes)?.len();
        bytes.truncate(len);
        Some(bytes)
    }

    /// As [`Encoding::decode`], into `buffer`; what does not fit into it is no signature either.
    pub(crate) fn decode_into<'b>(self, text: &str, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let alphabet: &data_encoding::Encoding = match self {
            Self::Hex => &HEXLOWER_PERMISSIVE,
            Self::HexLower => &HEXLOWER,
            Self::Base64 => &BASE64,
            Self::Base64Url if text.ends_with('=') => &BASE64URL,
            Self::Base64Url => &BASE64URL_NOPAD,
        };
        let room = buffer.get_mut(..alphabet.decode_len(text.len()).ok()?)?;
        let len = alphabet.decode_mut(text.as_bytes(), room).ok()?;
        room.get(..len)
    }

    /// Encodes a signature.
    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex | Self::HexLower => HEXLOWER.encode(bytes),
            Self::Base64 => BASE64.encode(bytes),
            Self::Base64Url => BASE64URL_NOPAD.encode(bytes),
        }
    }
}

/// Decodes the base64 of a key: people copy keys with and without padding, in either alphabet.
pub(crate) fn key_base64(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bare = unpadded(&compact);
    BASE64_NOPAD.decode(bare.as_bytes()).or_else(|_| BASE64URL_NOPAD.decode(bare.as_bytes())).ok()
}

/// `text` without up to two padding characters.
fn unpadded(text: &str) -> &str {
    let one = text.strip_suffix('=').unwrap_or(text);
    one.strip_suffix('=').unwrap_or(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_read_strictly() {
        assert_eq!(Encoding::Hex.decode("0aFF"), Some(vec![10, 255]));
        assert_eq!(Encoding::Hex.decode("0aF"), None);
        assert_eq!(Encoding::HexLower.decode("0aff"), Some(vec![10, 255]));
        assert_eq!(Encoding::HexLower.decode("0aFF"), None);
        assert_eq!(Encoding::Base64.decode("AQ=="), Some(vec![1]));
        assert_eq!(Encoding::Base64.decode("AQ"), None);
        assert_eq!(Encoding::Base64.decode("AR=="), None, "stray bits");
        assert_eq!(Encoding::Base64.decode("AQ==\n"), None);
        assert_eq!(Encoding::Base64Url.decode("-_8"), Some(vec![251, 255]));
        assert_eq!(Encoding::Base64Url.decode("-_8="), Some(vec![251, 255]));
        assert_eq!(Encoding::Base64Url.decode("-_8=="), None, "more padding than there is to pad");
        assert_eq!(Encoding::Base64Url.decode("-_-_="), None, "padding where there is nothing to pad");
    }

    #[test]
    fn keys_are_read_with_and_without_padding() {
        assert_eq!(key_base64("AQ=="), Some(vec![1]));
        assert_eq!(key_base64("AQ"), Some(vec![1]));
        assert_eq!(key_base64("a b\nc="), key_base64("abc"));
        assert_eq!(key_base64("!!"), None);
    }
}
