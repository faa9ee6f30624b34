//! The keys of `[sources.NAME]` and of a secret.

use super::{DAY, Key, Kind, MIB, MINUTE, SECOND};

/// `[sources.NAME]`
pub(in super::super) const SOURCE: &[Key] = &[
    Key::new(
        "provider",
        Kind::Text,
        "Who sends: a name of the catalog (`tenterhook providers` lists them). It brings scheme, event id, event type and limits. \
         For a provider of your own write `verify` instead.",
    )
    .usual()
    .sample("\"stripe\""),
    Key::new(
        "secrets",
        Kind::OneOrMany(&Kind::Secret),
        "References to the signing secrets. Every one that is live is tried, so a rotation is two of them for a while.",
    )
    .usual()
    .sample("[\"env:STRIPE_WEBHOOK_SECRET\"]"),
    Key::new(
        "public_keys",
        Kind::OneOrMany(&Kind::TextOrReference),
        "Public keys of a scheme that has them: PEM, hex or base64, literally or as a reference.",
    )
    .sample("[\"file:partner.pem\"]"),
    Key::new("environment", Kind::Text, "Which of the provider's published public keys counts (Wise: `production` or `sandbox`). Default: `production`.")
        .sample("\"production\""),
    Key::new("scheme", Kind::Text, "Another scheme of the same provider, by its name in the catalog.").sample("\"github-sha1\""),
    Key::new(
        "verify",
        Kind::Verify,
        "How a provider of your own signs, in the grammar of the built-in catalog (below). `\"none\"` accepts anything and needs \
         `allow_unsigned = true` beside it.",
    )
    .sample("{ header = \"X-Partner-Signature\", mac = \"hmac-sha256\", encoding = \"hex\", content = \"{body}\" }"),
    Key::new("allow_unsigned", Kind::Flag, "The second key to `verify = \"none\"`: anybody who knows the URL can then send events.")
        .default("false"),
    Key::new(
        "tolerance",
        Kind::duration(SECOND, DAY),
        "How far a signed timestamp may be from our clock. Default: what the provider documents.",
    )
    .sample("\"5m\""),
    Key::new(
        "public_url",
        Kind::Url,
        "The URL as configured at the provider, for schemes that sign it (Twilio); never taken from the request.",
    )
    .sample("\"https://hooks.example.com/webhooks/twilio\""),
    Key::new(
        "handshake",
        Kind::Any,
        "What a provider of your own asks before it sends, and what it is answered; one table, or several. See \
         docs/own-provider.md. Default: what the catalog says of the provider.",
    )
    .sample("{ method = \"GET\", when = { \"query:challenge\" = \"*\" }, verify = \"none\", challenge = \"query:challenge\", answer = { text = \"{challenge}\" } }"),
    Key::new(
        "settings",
        Kind::Any,
        "What the scheme or a handshake of the provider has to know beside the secrets, by name: `webhook_id` (PayPal), \
         `public_key` (Braintree), `topics` (WebSub, SNS), `allowed_origins` (CloudEvents), `service_ids` (Fastly) and so on.",
    )
    .sample("{ topics = [\"arn:aws:sns:eu-west-1:123456789012:orders\"] }"),
    Key::new(
        "verify_token",
        Kind::Secret,
        "A reference to the token that you wrote at the provider beside the URL (Meta, WebSub): its question at set-up is \
         answered only with it.",
    )
    .sample("\"env:META_VERIFY_TOKEN\""),
    Key::new("path", Kind::UrlPath, "The path on the ingress listener. Default: `/webhooks/NAME`.").sample("\"/webhooks/stripe\""),
    Key::new(
        "event_id",
        Kind::EventId,
        "Where the idempotency key is: `header:`, `json:`, `form:` or `query:`, or a list of them that all count together. \
         `\"digest\"`: equal signed content is the same event. Default: the provider's own id.",
    )
    .sample("\"json:/id\""),
    Key::new("event_type", Kind::Locators, "Where the event type is. Default: the provider's own.").sample("\"header:X-Event-Type\""),
    Key::new(
        "events",
        Kind::List(&Kind::Text),
        "Event types that this endpoint is for, as globs; others are recorded as ignored. Empty: all.",
    )
    .default("[]"),
    Key::new(
        "unmatched",
        Kind::Unmatched,
        "What becomes of events that no route matches: recorded as ignored, or delivered to a destination.",
    )
    .default("\"ignore\""),
    Key::new(
        "window",
        Kind::duration(MINUTE, 366 * DAY),
        "An idempotency key is never forgotten before this. Default: 7 days, or as long as the provider goes on retrying.",
    )
    .sample("\"7d\""),
    Key::new(
        "on_repeat",
        Kind::OneOf(&["deliver", "duplicate"]),
        "The same signed content under another id that the signature does not cover: delivered and flagged `replay_suspect`, or \
         answered as a duplicate (only for a provider whose events never repeat).",
    )
    .default("\"deliver\""),
    Key::new(
        "on_conflict",
        Kind::OneOf(&["keep", "deliver"]),
        "The same id with another body: kept beside the first and shown, or delivered as well.",
    )
    .default("\"keep\""),
    Key::new("conflict_status", Kind::Integer { min: 200, max: 499 }, "The answer to a conflict. Default: 200.").sample("409"),
    Key::new(
        "on_duplicate_of_dead",
        Kind::OneOf(&["redrive", "report"]),
        "A provider's \"redeliver\" button for an event whose delivery was given up: makes it pending again, or is only answered.",
    )
    .default("\"redrive\""),
    Key::new(
        "duplicate_result",
        Kind::Flag,
        "Adds what the handler answered to the answer of a duplicate.",
    )
    .default("false"),
    Key::new(
        "respond",
        Kind::OneOf(&["receipt", "handler"]),
        "What the provider is answered: a receipt once the event is durable, or what the handler answers to the first attempt \
         (Slack commands, TwiML, Discord interactions, auth hooks). The event is stored first all the same; where the handler \
         is slow, fails or is not tried, the answer is one that promises nothing (that of the catalog, or `response`), and \
         the delivery goes on. Needs exactly one destination, of `type = \"http\"` and without `batch`.",
    )
    .default("\"receipt\""),
    Key::new(
        "respond_timeout",
        Kind::duration(100, MINUTE),
        "With `respond = \"handler\"`: the answer is given by then, counted from the head of the request. Default: half a \
         second less than the provider waits, else 5 s.",
    )
    .sample("\"2500ms\""),
    Key::new(
        "respond_waiting_max",
        Kind::Integer { min: 1, max: 10_000 },
        "With `respond = \"handler\"`: requests that wait for the handler at the same time. One more is answered at once.",
    )
    .default("100"),
    Key::new("response", Kind::Table(RESPONSE), "The answer once an event is durable, for a provider that insists on one. Refusals never change."),
    Key::new(
        "body_bytes_max",
        Kind::Size { min: 1, max: 256 * MIB },
        "The longest body. Default: the provider's documented maximum, else 5 MiB.",
    )
    .sample("\"5MiB\""),
    Key::new("body_timeout", Kind::duration(100, 10 * MINUTE), "The body of a request has to arrive within this time.").default("\"30s\""),
    Key::new("rate", Kind::Rate, "Verified requests; beyond it 429. Unset: no limit.").sample("\"100/s\""),
    Key::new(
        "rate_per_address",
        Kind::Rate,
        "Requests of one address, before verification; beyond it 429. Default: that of `[server]`.",
    )
    .sample("\"20/s\""),
    Key::new(
        "allow_from",
        Kind::List(&Kind::Network),
        "Addresses that may send; others get 403. Empty: all. Behind a proxy, `server.trusted_proxies` has to name it.",
    )
    .default("[]"),
    Key::new(
        "forward_headers",
        Kind::List(&Kind::HeaderName),
        "Headers that are stored and forwarded although they may carry credentials (`authorization`, `cookie`, the scheme's token).",
    )
    .default("[]"),
];

const RESPONSE: &[Key] = &[
    Key::new(
        "status",
        Kind::Integer { min: 200, max: 299 },
        "The status. Default: 202 for a new event, 200 for a duplicate.",
    )
    .sample("200"),
    Key::new("body", Kind::Any, "The body. Default: our JSON.").sample("\"ok\""),
    Key::new("content_type", Kind::Text, "The content type of `body`.").default("\"text/plain\""),
];

/// A secret that is more than a reference.
pub(in super::super) const SECRET: &[Key] = &[
    Key::new("ref", Kind::Text, "The reference: `env:NAME`, `file:PATH` or `exec:COMMAND ARGS…`.")
        .required()
        .sample("\"env:STRIPE_WEBHOOK_SECRET\""),
    Key::new(
        "id",
        Kind::Text,
        "The id by which the `key_id` header of a scheme names it. Without one it counts for every id.",
    )
    .sample("\"key-2026\""),
    Key::new("not_before", Kind::Any, "Counts from this date on (RFC 3339, or a day in UTC).")
        .sample("\"2026-12-01\""),
    Key::new("not_after", Kind::Any, "Counts until this date.").sample("\"2026-12-24\""),
    Key::new("created", Kind::Any, "When it was made: warned about once it is older than 90 days.")
        .sample("\"2026-11-01\""),
];
