//! The keys of `verify = { … }`, a scheme of one's own: those of `tenterhook_verify::SchemeSpec`, which checks what they
//! say together. A test holds the two to each other.

use super::{Key, Kind};

/// `verify = { … }`
pub(in super::super) const VERIFY: &[Key] = &[
    Key::new(
        "header",
        Kind::OneOrMany(&Kind::Text),
        "The header that carries the signature or the token; several, of which any may match. A final `*` stands for every \
         header that begins so.",
    )
    .sample("\"X-Partner-Signature\""),
    Key::new(
        "signature",
        Kind::Text,
        "Where signature or token are, if not in a header: `json:`, `form:` or `query:`, as for `event_id`. A token in the query is \
         neither stored nor forwarded; one in the body is, with the body.",
    )
    .sample("\"query:code\""),
    Key::new("mac", Kind::Text, "The MAC: `hmac-sha1`, `hmac-sha256`, `hmac-sha384` or `hmac-sha512`.")
        .sample("\"hmac-sha256\""),
    Key::new(
        "algorithm",
        Kind::Text,
        "Instead of `mac`: `ed25519`, `rsa-sha256`, `ecdsa-p256-sha256`, `token` or `basic`.",
    )
    .sample("\"ed25519\""),
    Key::new("encoding", Kind::Text, "How the signature is written: `hex`, `hex-lower` (where capitals are refused), `base64` or `base64url`.").sample("\"hex\""),
    Key::new("prefix", Kind::Text, "What stands before signature or token.").sample("\"sha256=\""),
    Key::new(
        "content",
        Kind::Text,
        "What is signed: `{body}`, `{t}`, `{method}`, `{url}`, `{header:NAME}`, `{json:/POINTER}`, `{form:FIELD}`, \
         `{query:NAME}` and literal text. Default: `{body}`.",
    )
    .sample("\"{t}.{body}\""),
    Key::new(
        "key",
        Kind::Text,
        "How the secret becomes a key: `utf8`, `base64` or `hex`. Default: `utf8`; `base64` for a public key, of which PEM is \
         always understood.",
    )
    .sample("\"utf8\""),
    Key::new(
        "key_prefix",
        Kind::OneOrMany(&Kind::Text),
        "Taken off the secret where it is there; of several the first that fits.",
    )
    .sample("\"whsec_\""),
    Key::new("timestamp", Kind::Table(TIMESTAMP), "The signed timestamp: one of `header`, `list` and `json` says where it is."),
    Key::new("list", Kind::Table(LIST), "How a header that holds several values is taken apart."),
    Key::new("require", Kind::Map(&Kind::Text), "Headers that have to be there, with exactly these values.")
        .sample("{ X-Partner-Version = \"1\" }"),
    Key::new("key_id", Kind::Text, "The header that names which secret signed, by the `id` of the secret.")
        .sample("\"X-Partner-Key\""),
    Key::new(
        "slots",
        Kind::Map(&Kind::Text),
        "Which secret, by its `id`, each of several signature headers is for; a secret without an `id` counts for each.",
    )
    .sample("{ \"X-Signature-Primary\" = \"primary\", \"X-Signature-Secondary\" = \"secondary\" }"),
    Key::new(
        "macs",
        Kind::Map(&Kind::Text),
        "Further MACs, which the sender chooses by the prefix, for those who may.",
    )
    .sample("{ \"sha512=\" = \"hmac-sha512\" }"),
    Key::new("body_required", Kind::Flag, "Whether a request without a body is refused, whatever its signature.")
        .default("false"),
    Key::new(
        "aliases",
        Kind::Map(&Kind::Text),
        "Other families of header names: a prefix as written here, and the one that may arrive instead of it.",
    )
    .sample("{ \"svix-\" = \"webhook-\" }"),
    Key::new("scheme", Kind::Text, "A scheme that this grammar cannot say, by name: `twilio`. No other key goes with it.")
        .sample("\"twilio\""),
];

/// `verify.timestamp = { … }`
const TIMESTAMP: &[Key] = &[
    Key::new("header", Kind::Text, "The header that carries it.").sample("\"X-Partner-Time\""),
    Key::new("list", Kind::Text, "Its key in the list that `list` describes.").sample("\"t\""),
    Key::new("json", Kind::Text, "Its JSON pointer in the body.").sample("\"/created\""),
    Key::new("unit", Kind::Text, "`s`, `ms` or `rfc3339`.").default("\"s\""),
    Key::new(
        "tolerance",
        Kind::Text,
        "How far it may be from our clock, a day at most; `none` for a provider that signs old times.",
    )
    .default("\"5m\""),
    Key::new(
        "future",
        Kind::Flag,
        "Whether one that is ahead of our clock by more than the tolerance is refused, too.",
    )
    .default("true"),
];

/// `verify.list = { … }`
const LIST: &[Key] = &[
    Key::new("items", Kind::Verbatim, "What stands between items.").sample("\",\""),
    Key::new(
        "kv",
        Kind::Verbatim,
        "What stands between key and value of an item; without it the position counts.",
    )
    .sample("\"=\""),
    Key::new("signature", Kind::Text, "The key of a signature.").sample("\"v1\""),
    Key::new("timestamp", Kind::Text, "The key of the timestamp; without `kv` its position, from `0`.")
        .sample("\"t\""),
    Key::new(
        "groups",
        Kind::Verbatim,
        "What stands between groups that each have a timestamp of their own; rarely needed.",
    )
    .sample("\" \""),
];
