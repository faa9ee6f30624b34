//! The keys of `[destinations.NAME]`, by kind.

use super::{DAY, HOUR, Key, Kind, MINUTE, SECOND};

/// The kinds of destinations.
pub(in super::super) const DESTINATION_KINDS: &[&str] = &["http", "command"];

/// The key that chooses the kind.
pub(in super::super) const TYPE: Key =
    Key::new("type", Kind::OneOf(DESTINATION_KINDS), "What it is: `http` or `command`.")
        .required()
        .sample("\"http\"");

/// `type = "http"`
pub(in super::super) const HTTP: &[Key] = &[
    TYPE,
    Key::new(
        "url",
        Kind::Url,
        "Where to, or a reference to it. A host written as `localhost` or as an address is taken at its word; a name that \
         resolves to a private address needs `allow_private`.",
    )
    .required()
    .sample("\"http://127.0.0.1:3000/hooks\""),
    Key::new("timeout", Kind::duration(100, 10 * MINUTE), "The whole attempt. A lease lasts 10 s longer.").default("\"30s\""),
    Key::new("connect_timeout", Kind::duration(50, 5 * MINUTE), "The connection alone.").default("\"5s\""),
    Key::new(
        "signing_secret",
        Kind::Secret,
        "A reference to `whsec_` and base64 of 24 to 64 bytes: signs every delivery in the Standard Webhooks scheme, so that one \
         verifier in the handler serves every provider.",
    )
    .usual()
    .sample("\"env:APP_SIGNING_SECRET\""),
    Key::new(
        "resign",
        Kind::OneOf(&["provider"]),
        "`provider`: signs each attempt afresh in the provider's own scheme, so that its SDK accepts late retries and replays. \
         Needs `trusted = true`.",
    )
    .sample("\"provider\""),
    Key::new("trusted", Kind::Flag, "This destination may hold what the provider's secret vouches for.").default("false"),
    Key::new(
        "headers",
        Kind::Map(&Kind::TextOrReference),
        "Headers added to every delivery; a credential as a reference to the whole value.",
    )
    .sample("{ authorization = \"env:APP_AUTHORIZATION\" }"),
    Key::new(
        "dead_statuses",
        Kind::List(&Kind::Integer { min: 300, max: 599 }),
        "Statuses that refuse for good, besides 410: the delivery is a dead letter at once.",
    )
    .default("[]"),
    Key::new("allow_private", Kind::Flag, "The name may resolve to a private or link-local address.").default("false"),
    Key::new("ca_file", Kind::Path, "More root certificates, PEM.").sample("\"tls/private-ca.pem\""),
    Key::new("client_certificate_file", Kind::Path, "Client certificate and key, PEM in one file.")
        .sample("\"tls/client.pem\""),
    Key::new("proxy", Kind::Url, "Through this proxy; with credentials as a reference.").sample("\"http://proxy.internal:3128\""),
    Key::new("batch", Kind::Table(BATCH), "Several events in one request, with a result for each. Unset: one at a time."),
    Key::new("concurrency", Kind::Integer { min: 1, max: 1024 }, "Attempts at the same time.").default("32"),
    RATE,
    RETRY_KEY,
    BREAKER_KEY,
];

/// `type = "command"`
pub(in super::super) const COMMAND: &[Key] = &[
    TYPE,
    Key::new(
        "command",
        Kind::List(&Kind::Text),
        "Program and arguments, never through a shell. The body is on its standard input, the rest in `TENTERHOOK_*`. \
         Exit code 0: done; 75: retry.",
    )
    .required()
    .sample("[\"./deploy.sh\"]"),
    Key::new("timeout", Kind::duration(100, HOUR), "The whole attempt; then the process group is killed. A lease lasts 10 s longer.")
        .default("\"5m\""),
    Key::new("directory", Kind::Path, "The working directory. Default: that of the config file.").sample("\"/srv/deploy\""),
    Key::new(
        "environment",
        Kind::Map(&Kind::TextOrReference),
        "Environment besides `PATH` and `TENTERHOOK_*`; nothing else is inherited.",
    )
    .sample("{ DEPLOY_TOKEN = \"env:DEPLOY_TOKEN\" }"),
    Key::new(
        "retry_codes",
        Kind::List(&Kind::Integer { min: 1, max: 255 }),
        "Exit codes that mean \"not now\", as 75 does. Every code but 0 that is not in `dead_codes` is retried anyway.",
    )
    .default("[]"),
    Key::new("dead_codes", Kind::List(&Kind::Integer { min: 1, max: 255 }), "Exit codes that refuse for good.").default("[]"),
    Key::new("concurrency", Kind::Integer { min: 1, max: 1024 }, "Processes at the same time.").default("2"),
    RATE,
    RETRY_KEY,
    BREAKER_KEY,
];

const RATE: Key =
    Key::new("rate", Kind::Rate, "Attempts; more have to wait. Unset: no limit.").sample("\"50/s\"");

const RETRY_KEY: Key = Key::new("retry", Kind::Table(RETRY), "When to try again.");

const BREAKER_KEY: Key = Key::new("breaker", Kind::Table(BREAKER), "Whether to try at all.");

const RETRY: &[Key] = &[
    Key::new("base", Kind::duration(10, DAY), "The delay before the second attempt; it doubles from there.")
        .default("\"1s\""),
    Key::new(
        "cap",
        Kind::duration(10, 7 * DAY),
        "No delay is longer; a `Retry-After` is clamped to it, too.",
    )
    .default("\"6h\""),
    Key::new(
        "jitter",
        Kind::Decimal { min: 0.0, max: 1.0 },
        "The share by which a delay may be shorter or longer.",
    )
    .default("0.2"),
    Key::new(
        "attempts_max",
        Kind::Integer { min: 1, max: 1000 },
        "Attempts in all; then the delivery is a dead letter. 27 of them take about 75 hours.",
    )
    .default("27"),
];

const BREAKER: &[Key] = &[
    Key::new("failures", Kind::Integer { min: 1, max: 100_000 }, "Opens after this many failures in a row.")
        .default("10"),
    Key::new(
        "rate",
        Kind::Table(FAILURE_RATE),
        "Opens also when a share of the attempts in a window failed.",
    ),
    Key::new("probe_every", Kind::duration(100, HOUR), "While open, one delivery is tried this often.")
        .default("\"1s\""),
    Key::new("successes", Kind::Integer { min: 1, max: 100 }, "Closes after this many successes in a row.")
        .default("2"),
];

const FAILURE_RATE: &[Key] = &[
    Key::new("share", Kind::Decimal { min: 0.01, max: 1.0 }, "The share of failed attempts.")
        .required()
        .sample("0.5"),
    Key::new("window", Kind::duration(SECOND, HOUR), "Over this window.").default("\"60s\""),
    Key::new(
        "attempts_min",
        Kind::Integer { min: 1, max: 100_000 },
        "With at least this many attempts in it.",
    )
    .default("20"),
];

const BATCH: &[Key] =
    &[Key::new("max", Kind::Integer { min: 1, max: 1000 }, "Events in one request, at most.")
        .required()
        .sample("100")];
