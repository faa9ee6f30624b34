//! What a challenge may look like. It is echoed or signed, so it is held to what the provider really sends: a class of
//! characters without markup, separators or control characters, and a length.

use crate::handshake::{HandshakeError, HandshakeReason, refuse};
use crate::{Locator, Request};

/// The longest challenge that can be written in a rule, in bytes.
pub(crate) const CHALLENGE_BYTES_MAX: usize = 1024;

/// Where a challenge stands and what it may be.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    pub(crate) at: Locator,
    pub(crate) characters: Characters,
    pub(crate) length_min: usize,
    pub(crate) length_max: usize,
}

/// A class of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Characters {
    /// `0-9`
    Digits,
    /// `0-9 a-f`
    Hex,
    /// `A-Z a-z 0-9 _ -`
    Token,
    /// Those of a token and `. ~ + / = :`, as in base64 and host names.
    Word,
    /// Printable ASCII and spaces, without `< > & " '` and the backtick.
    Line,
}

impl Characters {
    pub(crate) const NAMES: [&'static str; 5] = ["digits", "hex", "token", "word", "line"];

    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "digits" => Some(Self::Digits),
            "hex" => Some(Self::Hex),
            "token" => Some(Self::Token),
            "word" => Some(Self::Word),
            "line" => Some(Self::Line),
            _ => None,
        }
    }

    /// Whether a text of this class can be signed for a stranger: it then cannot be JSON with any structure, and holds no
    /// separator between the parts of a signed content.
    pub(crate) fn is_safe_to_sign(self) -> bool {
        matches!(self, Self::Digits | Self::Hex | Self::Token)
    }

    fn holds(self, byte: u8) -> bool {
        match self {
            Self::Digits => byte.is_ascii_digit(),
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Token => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Word => {
                byte.is_ascii_alphanumeric()
                    || matches!(byte, b'_' | b'-' | b'.' | b'~' | b'+' | b'/' | b'=' | b':')
            }
            Self::Line => {
                (byte.is_ascii_graphic() || byte == b' ')
                    && !matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'' | b'`')
            }
        }
    }
}

impl Challenge {
    /// The challenge of a request.
    pub(crate) fn read(&self, request: &Request<'_>) -> Result<String, HandshakeError> {
        let text = self.at.find(request).unwrap_or_default();
        if self.fits(&text) {
            return Ok(text);
        }
        let detail = format!(
            "{} holds no challenge of {} to {} characters that the provider uses",
            self.at, self.length_min, self.length_max
        );
        Err(refuse(HandshakeReason::MalformedChallenge, 400, detail))
    }

    /// Whether a text could be a challenge.
    pub(crate) fn fits(&self, text: &str) -> bool {
        (self.length_min..=self.length_max).contains(&text.len())
            && text.bytes().all(|byte| self.characters.holds(byte))
    }
}
