//! The keys of `[server]`, `[store]`, `[[admin_tokens]]` and `[[routes]]`.

use super::{DAY, GIB, HOUR, Key, Kind, MIB, MINUTE, SECOND};

/// `[server]`
pub(in super::super) const SERVER: &[Key] = &[
    Key::new("listen", Kind::Socket, "Where providers send to. Read at start only.").default("\"127.0.0.1:8080\""),
    Key::new(
        "admin_listen",
        Kind::Socket,
        "Admin API, console and metrics. Keep it on loopback or in a private network. Read at start only.",
    )
    .default("\"127.0.0.1:8081\""),
    Key::new(
        "admin_auth",
        Kind::OneOf(&["none", "tokens"]),
        "`tokens`: the admin listener asks for one of the `admin_tokens`. `none`: it asks for nothing, which is allowed on a \
         loopback address only. Unset: `tokens` where there are any, else `none`.",
    )
    .sample("\"none\""),
    Key::new("tls", Kind::Table(TLS), "Certificate of the ingress listener. Unset: plain HTTP, for a proxy in front of it."),
    Key::new(
        "trusted_proxies",
        Kind::List(&Kind::Network),
        "Proxies whose `X-Forwarded-For` is believed: the client is its rightmost hop that is not one of these.",
    )
    .default("[]"),
    Key::new(
        "connections_max",
        Kind::Integer { min: 1, max: 1_000_000 },
        "Connections of the ingress listener at the same time. Read at start only.",
    )
    .default("4096"),
    Key::new(
        "unverified_bytes_max",
        Kind::Size { min: MIB, max: 64 * GIB },
        "Memory for bodies that are not verified yet, over all connections together; beyond it the answer is 503.",
    )
    .default("\"128MiB\""),
    Key::new(
        "header_timeout",
        Kind::duration(100, 5 * MINUTE),
        "The headers of a request have to arrive within this time. Read at start only.",
    )
    .default("\"10s\""),
    Key::new("idle_timeout", Kind::duration(SECOND, HOUR), "An idle connection is closed after this time. Read at start only.")
        .default("\"75s\""),
    Key::new(
        "commit_timeout",
        Kind::duration(100, MINUTE),
        "How long the store may take to make an event durable before the answer is 503.",
    )
    .default("\"5s\""),
    Key::new(
        "rate_per_address",
        Kind::Rate,
        "Requests of one address, before verification, where the source says nothing; beyond it 429. Unset: no limit.",
    )
    .sample("\"100/s\""),
    Key::new(
        "key_server",
        Kind::Url,
        "Stands in for the hosts that providers' keys are fetched from (Plaid, SNS, PayPal, Google, Microsoft, Travis CI): the same \
         paths are asked for here, without TLS if you like. For tests only: whoever answers there decides what is authentic. \
         Read at start only.",
    )
    .sample("\"http://127.0.0.1:9000\""),
    Key::new("grace", Kind::duration(0, 10 * MINUTE), "How long a stop waits for requests and attempts in flight.").default("\"25s\""),
    Key::new(
        "workers",
        Kind::Integer { min: 0, max: 1024 },
        "Worker threads; 0: one for each core. Read at start only.",
    )
    .default("0"),
    Key::new("log", Kind::Table(LOG), "Structured logs, on standard error. Read at start only."),
];

const TLS: &[Key] = &[
    Key::new("certificate_file", Kind::Path, "The certificate chain, PEM. Read again on reload.")
        .required()
        .sample("\"tls/chain.pem\""),
    Key::new("key_file", Kind::Path, "The private key, PEM. Read again on reload.")
        .required()
        .sample("\"tls/key.pem\""),
];

const LOG: &[Key] = &[
    Key::new("format", Kind::OneOf(&["text", "json"]), "`text` for people, `json` for one object a line.")
        .default("\"text\""),
    Key::new(
        "filter",
        Kind::Text,
        "What is logged: a level, or `target=level` pairs with commas between them.",
    )
    .default("\"info\""),
];

/// `[store]`
pub(in super::super) const STORE: &[Key] = &[
    Key::new(
        "url",
        Kind::StoreUrl,
        "`sqlite:PATH` for the embedded store, `memory:` for tests (a restart forgets everything). Read at start only.",
    )
    .default("\"sqlite:tenterhook.db\""),
    Key::new(
        "retention",
        Kind::duration(MINUTE, 3650 * DAY),
        "Events whose deliveries are all settled are kept this long. Their idempotency keys are kept for the window of the \
         source in any case.",
    )
    .default("\"30d\""),
    Key::new(
        "dead_retention",
        Kind::Duration { min_ms: HOUR, max_ms: 3650 * DAY, or_never: true },
        "Dead letters are kept this long. `never`: nothing removes them, they stay until somebody decides.",
    )
    .default("\"never\""),
    Key::new(
        "audit_retention",
        Kind::duration(DAY, 3650 * DAY),
        "Entries of the audit trail are kept this long.",
    )
    .default("\"365d\""),
    Key::new(
        "max_bytes",
        Kind::Size { min: 16 * MIB, max: 64 * 1024 * GIB },
        "The store refuses events (503) beyond this size on disk, so that the disk never fills up. Unset: the disk is the limit. \
         Read at start only.",
    )
    .sample("\"20GiB\""),
];

/// `[[admin_tokens]]`
pub(in super::super) const ADMIN_TOKEN: &[Key] = &[
    Key::new("name", Kind::Text, "Who it is, for the audit trail.").required().sample("\"ops\""),
    Key::new("role", Kind::OneOf(&["viewer", "operator"]), "A `viewer` reads, an `operator` also changes.")
        .default("\"viewer\""),
    Key::new(
        "token",
        Kind::Secret,
        "A reference to the token, at least 32 bytes long: `openssl rand -hex 32` makes one.",
    )
    .required()
    .sample("\"env:TENTERHOOK_ADMIN_TOKEN\""),
];

/// `[[routes]]`
pub(in super::super) const ROUTE: &[Key] = &[
    Key::new("source", Kind::OneOrMany(&Kind::Text), "The source, or a list of sources.").required().sample("\"stripe\""),
    Key::new(
        "events",
        Kind::List(&Kind::Text),
        "Which event types: `*` matches any characters, and `pull_request` also matches `pull_request.opened`. Empty: all.",
    )
    .default("[]"),
    Key::new("destination", Kind::Text, "The destination.").required().sample("\"app\""),
    Key::new(
        "priority",
        Kind::OneOf(&["high", "normal", "low"]),
        "More urgent deliveries go first; the least urgent ones still get at least one in sixteen.",
    )
    .default("\"normal\""),
    Key::new(
        "ordering_key",
        Kind::Locators,
        "Deliveries whose keys are equal go one after another, in the order in which they were accepted. \
         A key of over 256 bytes is shown and kept as its digest. Unset: unordered.",
    )
    .sample("\"json:/data/object/customer\""),
    Key::new(
        "on_dead",
        Kind::OneOf(&["continue", "hold"]),
        "What a dead letter does to the deliveries behind it with the same ordering key: they go on, or they wait for somebody.",
    )
    .default("\"continue\""),
];
