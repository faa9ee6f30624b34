//! The grammar of a scheme, as written in `catalog/*.toml` and in a user's `verify = { … }`. Serde lives here.
//!
//! ```toml
//! header = "X-Partner-Signature"     # or several, or "X-Signature-*"; any may match
//! mac = "hmac-sha256"                # hmac-sha1 | hmac-sha256 | hmac-sha384 | hmac-sha512
//! # algorithm = "ed25519"            # instead of mac: ed25519 | rsa-sha256 | ecdsa-p256-sha256 | token | basic
//! encoding = "hex"                   # hex | hex-lower | base64 | base64url
//! prefix = "sha256="                 # before the signature
//! content = "{t}.{body}"             # {body} {t} {method} {url} {header:X} {json:/p} {form:f} {query:q}, literals
//! key = "utf8"                       # utf8 | base64 | hex
//! key_prefix = "whsec_"              # taken off the secret where it is there
//! timestamp = { header = "X-Partner-Time", unit = "s", tolerance = "5m", future = true }
//! # list = { items = ",", kv = "=", signature = "v1", timestamp = "t" }
//! require = { "X-Signature-Version" = "1" }
//! # key_id = "X-Key"                 # the header that names the secret, by its id
//! # slots = { "X-Sig-A" = "a" }       # the secret, by its id, that a signature header is for
//! # macs = { "sha512=" = "hmac-sha512" }   # further MACs, which the sender chooses by the prefix
//! # body_required = true              # an empty body is refused
//! # aliases = { "svix-" = "webhook-" }   # a second family of header names
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Locator, Locators, Scheme, SpecError};

mod compile;

/// One scheme as written; [`SchemeSpec::compile`] checks it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchemeSpec {
    /// A scheme that the grammar cannot say, by name: `twilio`, `adyen`, `hubspot-v3` … Nothing else may be set beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The header that carries the signature or the token; several, of which any may match; a final `*` stands for all
    /// headers that begin so.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub header: OneOrMany,
    /// Where the signature stands if not in a header: `json:/signature`, `form:sig`, `query:code`. Of a token it may say
    /// where else it stands where `header` is not there, and in `json:/value/*/token` every item has to carry it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// `hmac-sha1`, `hmac-sha256`, `hmac-sha384` or `hmac-sha512`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// `ed25519`, `rsa-sha256`, `ecdsa-p256-sha256`, `token` or `basic`, instead of `mac`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// `hex`, `hex-lower` (upper case is refused), `base64` or `base64url`. Required for a signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// What stands before the signature or the token, such as `sha256=` or `Bearer `.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What is signed; `{body}` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// How the configured secret becomes key bytes: `utf8` (default for a MAC), `base64` (default for a public key) or
    /// `hex`. PEM is always understood for public keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Prefixes of which the first that fits is taken off the secret; a secret without one is taken as it is.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub key_prefix: OneOrMany,
    /// The timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<TimestampSpec>,
    /// The grammar of a signature header that is a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<ListSpec>,
    /// Headers that must have exactly that value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub require: BTreeMap<String, String>,
    /// The header that names which secret was used (Pusher, Ably).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Signature header → id of the secret that it is for (Box: primary and secondary key). A secret without an id counts
    /// for each. Empty, or one entry for each name in `header`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub slots: BTreeMap<String, String>,
    /// Prefix → MAC: what is accepted beside `prefix` and `mac` where the sender chooses (WebSub). Signing uses `mac`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub macs: BTreeMap<String, String>,
    /// Whether a request without a body is refused, whatever its signature.
    #[serde(skip_serializing_if = "is_false")]
    pub body_required: bool,
    /// Other families of header names: prefix in this spec → prefix that may arrive instead. Used only where the
    /// signature does not arrive under the spec's own names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, String>,
}

/// The timestamp of a scheme: exactly one of `header`, `list` and `json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimestampSpec {
    /// The header that carries it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Its key in the signature list (then `list.timestamp` need not be set).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// Its JSON pointer in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// `s` (default), `ms` or `rfc3339`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// How old it may be: a duration, `5m` unless set; `none` switches the check off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<String>,
    /// Whether a timestamp ahead of the clock by more than the tolerance is refused; yes unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub future: Option<bool>,
}

/// The grammar of a signature list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListSpec {
    /// Between groups that each have their own timestamp; usually not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<String>,
    /// Between items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
    /// Between key and value of an item; without it items are positional.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv: Option<String>,
    /// The key of a signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The key of the timestamp; its position (`0`) in a positional list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// One text, or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several, in order.
    Many(Vec<String>),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl OneOrMany {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// An id or a type as written: one place, a composite of several, or several such alternatives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LocatorsSpec {
    /// `"json:/id"`
    One(String),
    /// `["form:MessageSid", "form:MessageStatus"]`: all must be there.
    Composite(Vec<String>),
    /// `[["header:X-Id"], ["json:/id"]]`: the first that is complete.
    Alternatives(Vec<Vec<String>>),
}

impl LocatorsSpec {
    /// Checks every place; all problems at once.
    pub fn compile(&self) -> Result<Locators, Vec<SpecError>> {
        let texts: Vec<&[String]> = match self {
            Self::One(text) => vec![std::slice::from_ref(text)],
            Self::Composite(texts) => vec![texts],
            Self::Alternatives(alternatives) => alternatives.iter().map(Vec::as_slice).collect(),
        };
        let mut errors = Vec::new();
        let mut alternatives = Vec::new();
        for composite in texts {
            if composite.is_empty() {
                errors.push(SpecError {
                    key: String::new(),
                    message: "an empty list names no place".to_owned(),
                    hint: "write at least one place, such as `json:/id`".to_owned(),
                });
            }
            let mut locators = Vec::with_capacity(composite.len());
            for text in composite {
                match text.parse::<Locator>() {
                    Ok(locator) => locators.push(locator),
                    Err(error) => errors.push(error),
                }
            }
            alternatives.push(locators);
        }
        if errors.is_empty() { Ok(Locators { alternatives }) } else { Err(errors) }
    }
}

impl SchemeSpec {
    /// Checks the spec; all its problems at once, each with its key, a message and a hint.
    pub fn compile(&self) -> Result<Scheme, Vec<SpecError>> {
        compile::scheme(self)
    }
}

/// Reads a duration as written in configs and catalog: a whole number and one of `ms`, `s`, `m`, `h`, `d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let refusal = || format!("`{text}` is not a duration");
    let number: u64 = digits.parse().map_err(|_| refusal())?;
    let millis_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refusal()),
    };
    number.checked_mul(millis_per_unit).map(Duration::from_millis).ok_or_else(refusal)
}
