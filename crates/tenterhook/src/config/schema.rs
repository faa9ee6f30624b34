//! Every key of the config in one table: its kind, its range, its default and what it is for. Checking, defaults,
//! overrides, the commented example and the reference are all read from here, so they cannot say different things.

mod destinations;
mod gateway;
mod scheme;
mod sources;

pub(super) use destinations::{COMMAND, DESTINATION_KINDS, HTTP, TYPE};
pub(super) use gateway::{ADMIN_TOKEN, ROUTE, SERVER, STORE};
pub(super) use scheme::VERIFY;
pub(super) use sources::{SECRET, SOURCE};

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Its name.
    pub(super) name: &'static str,
    /// What may be written.
    pub(super) kind: Kind,
    /// Whether it has to be written.
    pub(super) need: Need,
    /// What holds when it is not written, as TOML; `None`: nothing does, or `doc` says what.
    pub(super) default: Option<&'static str>,
    /// What it might look like, as TOML, where there is no default to show.
    pub(super) sample: &'static str,
    /// What it is for: sentences for users.
    pub(super) doc: &'static str,
}

/// Whether a key has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Without it the section makes no sense.
    Required,
    /// Most configs have it: the example shows it in use.
    Usual,
    /// Most configs do without.
    Optional,
}

/// What may be written behind a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Any text but the empty one.
    Text,
    /// Text in which spaces count, such as a separator.
    Verbatim,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Integer { min: i64, max: i64 },
    /// A number.
    Decimal { min: f64, max: f64 },
    /// A duration in milliseconds; `never` where `or_never`.
    Duration { min_ms: u64, max_ms: u64, or_never: bool },
    /// A number of bytes.
    Size { min: u64, max: u64 },
    /// So many per second, minute or hour.
    Rate,
    /// An address and a port.
    Socket,
    /// An address or a network in CIDR notation.
    Network,
    /// A file or directory, relative to the config file.
    Path,
    /// `sqlite:PATH` or `memory:`.
    StoreUrl,
    /// An `http` or `https` URL, or a reference to one.
    Url,
    /// The name of an HTTP header.
    HeaderName,
    /// A path on the ingress listener.
    UrlPath,
    /// `ignore` or `deliver:NAME`.
    Unmatched,
    /// Places in a request: `header:`, `json:`, `form:`, `query:`, or a list of them.
    Locators,
    /// [`Kind::Locators`], or `digest`.
    EventId,
    /// A reference to a secret, or a table around one.
    Secret,
    /// Text, or a reference.
    TextOrReference,
    /// A scheme of one's own, or `none`.
    Verify,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A rate of requests as text, or with its burst as a table.
    List(&'static Kind),
    /// One, or a list.
    OneOrMany(&'static Kind),
    /// A table with any keys and values of this kind.
    Map(&'static Kind),
    /// Anything: checked by whoever reads it.
    Any,
}

pub(super) const SECOND: u64 = 1_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;
pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;

impl Key {
    /// An optional key without a default.
    pub(super) const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, need: Need::Optional, default: None, sample: "", doc }
    }

    const fn default(mut self, toml: &'static str) -> Self {
        self.default = Some(toml);
        self
    }

    const fn sample(mut self, toml: &'static str) -> Self {
        self.sample = toml;
        self
    }

    const fn required(mut self) -> Self {
        self.need = Need::Required;
        self
    }

    const fn usual(mut self) -> Self {
        self.need = Need::Usual;
        self
    }
}

impl Kind {
    const fn duration(min_ms: u64, max_ms: u64) -> Self {
        Self::Duration { min_ms, max_ms, or_never: false }
    }

    /// What is expected, for messages and for the reference.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Text | Self::Verbatim => "text".to_owned(),
            Self::OneOf(words) => format!("one of {}", super::problem::quoted(words)),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Decimal { min, max } => format!("a number from {min} to {max}"),
            Self::Duration { or_never: false, .. } => "a duration such as `\"30s\"`".to_owned(),
            Self::Duration { .. } => "a duration such as `\"30d\"`, or `\"never\"`".to_owned(),
            Self::Size { .. } => "a size such as `\"5MiB\"`".to_owned(),
            Self::Rate => "a rate such as `\"100/s\"`, or `{ rate = \"100/s\", burst = 200 }`".to_owned(),
            Self::Socket => "an address with a port, such as `\"127.0.0.1:8080\"`".to_owned(),
            Self::Network => "an address or a network such as `\"10.0.0.0/8\"`".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::StoreUrl => "`\"sqlite:PATH\"` or `\"memory:\"`".to_owned(),
            Self::Url => "an `http://` or `https://` URL".to_owned(),
            Self::HeaderName => "the name of a header".to_owned(),
            Self::UrlPath => "a path that starts with `/`".to_owned(),
            Self::Unmatched => "`\"ignore\"` or `\"deliver:NAME\"`".to_owned(),
            Self::Locators => "a place such as `\"json:/id\"`, or a list of places".to_owned(),
            Self::EventId => "a place such as `\"json:/id\"`, a list of places, or `\"digest\"`".to_owned(),
            Self::Secret => "a reference such as `\"env:NAME\"`".to_owned(),
            Self::TextOrReference => "text, or a reference such as `\"env:NAME\"`".to_owned(),
            Self::Verify => {
                "a table such as `{ header = \"X-Signature\", mac = \"hmac-sha256\" }`".to_owned()
            }
            Self::Table(_) => "a table".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::OneOrMany(kind) => format!("{}, or a list", kind.expected()),
            Self::Map(_) => "a table".to_owned(),
            Self::Any => "a value".to_owned(),
        }
    }

    /// Whether an environment variable can set it.
    pub(super) fn is_scalar(&self) -> bool {
        !matches!(
            self,
            Self::Table(_) | Self::List(_) | Self::OneOrMany(_) | Self::Map(_) | Self::Verify | Self::Any
        )
    }
}

/// The key of that name.
pub(super) fn find(keys: &'static [Key], name: &str) -> Option<&'static Key> {
    keys.iter().find(|key| key.name == name)
}

/// Where a section stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `[name]`
    Single,
    /// `[name.NAME]`
    Named,
    /// `[[name]]`
    Repeated,
}

/// A top-level section.
#[derive(Debug)]
pub(super) struct Section {
    /// Its name.
    pub(super) name: &'static str,
    /// How it is written.
    pub(super) shape: Shape,
    /// What it is for.
    pub(super) doc: &'static str,
}

/// Every section, in the order in which people write them.
pub(super) const SECTIONS: &[Section] = &[
    Section {
        name: "server",
        shape: Shape::Single,
        doc: "The process: where it listens, what it allows before a request is verified, how it stops and logs.",
    },
    Section {
        name: "store",
        shape: Shape::Single,
        doc: "What remembers: every accepted event, every delivery, every attempt.",
    },
    Section {
        name: "admin_tokens",
        shape: Shape::Repeated,
        doc: "Who may use the admin API, the console and the metrics. Only a hash of each token is kept in memory.",
    },
    Section {
        name: "sources",
        shape: Shape::Named,
        doc: "Where events come from: one section per endpoint that a provider sends to.",
    },
    Section {
        name: "destinations",
        shape: Shape::Named,
        doc: "Where events go: an HTTP handler or a command, with its retries, limits and circuit breaker.",
    },
    Section {
        name: "routes",
        shape: Shape::Repeated,
        doc: "Which events go where. Every matching route applies; there is one delivery per event and destination, \
              and the first matching route in the file decides its priority and ordering key.",
    },
];

/// The keys of a section; for a destination, of its kind.
pub(super) fn keys(section: &str, destination_kind: Option<&str>) -> &'static [Key] {
    match (section, destination_kind) {
        ("server", _) => SERVER,
        ("store", _) => STORE,
        ("admin_tokens", _) => ADMIN_TOKEN,
        ("sources", _) => SOURCE,
        ("destinations", Some("command")) => COMMAND,
        ("destinations", _) => HTTP,
        ("routes", _) => ROUTE,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tenterhook_verify::SchemeSpec;
    use tenterhook_verify::spec::{ListSpec, OneOrMany, TimestampSpec};

    use super::*;

    fn every_table() -> Vec<&'static [Key]> {
        let mut all = vec![SERVER, STORE, ADMIN_TOKEN, SOURCE, HTTP, COMMAND, ROUTE, SECRET, VERIFY];
        let mut at = 0;
        while at < all.len() {
            for key in all[at] {
                if let Kind::Table(inner) = key.kind {
                    all.push(inner);
                }
            }
            at += 1;
        }
        all
    }

    #[test]
    fn every_key_is_documented_and_has_something_to_show() {
        for key in every_table().into_iter().flatten() {
            assert!(key.doc.ends_with('.'), "`{}` needs a sentence", key.name);
            let shown = key.default.unwrap_or(key.sample);
            let is_table = matches!(key.kind, Kind::Table(_));
            assert!(is_table || crate::config::file::parse_value(shown).is_some(), "`{}`: {shown}", key.name);
        }
    }

    /// What a user may write in `verify` is what the grammar can say: all of it, and nothing else.
    #[test]
    fn the_keys_of_a_scheme_are_those_of_the_grammar() {
        let text = || Some("x".to_owned());
        let map = || [("x".to_owned(), "x".to_owned())].into();
        // Every field is named: a new one does not compile until it stands here.
        let everything = SchemeSpec {
            scheme: text(),
            header: OneOrMany::One("x".to_owned()),
            signature: text(),
            mac: text(),
            algorithm: text(),
            encoding: text(),
            prefix: text(),
            content: text(),
            key: text(),
            key_prefix: OneOrMany::One("x".to_owned()),
            timestamp: Some(TimestampSpec {
                header: text(),
                list: text(),
                json: text(),
                unit: text(),
                tolerance: text(),
                future: Some(true),
            }),
            list: Some(ListSpec {
                groups: text(),
                items: text(),
                kv: text(),
                signature: text(),
                timestamp: text(),
            }),
            require: map(),
            key_id: text(),
            slots: map(),
            macs: map(),
            body_required: true,
            aliases: map(),
        };
        let written = toml::Table::try_from(everything).unwrap();
        let names = |table: &toml::Table| table.keys().cloned().collect::<BTreeSet<_>>();
        let listed = |keys: &[Key]| keys.iter().map(|key| key.name.to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(listed(VERIFY), names(&written));
        for inner in ["timestamp", "list"] {
            let Some(Key { kind: Kind::Table(keys), .. }) = find(VERIFY, inner) else {
                panic!("`{inner}` is a table")
            };
            assert_eq!(listed(keys), names(written[inner].as_table().unwrap()), "{inner}");
        }
    }

    #[test]
    fn no_key_is_listed_twice() {
        for table in every_table() {
            for (at, key) in table.iter().enumerate() {
                assert!(!table[..at].iter().any(|other| other.name == key.name), "`{}`", key.name);
            }
        }
    }
}
