//! Where an id, a type or a timestamp is found in a request: `header:X-Id`, `json:/data/id`, `form:Sid`, `query:id`.
//! Knows nothing of what is done with the value.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;
use std::str::FromStr;

use crate::request::single_header;
use crate::{Request, SpecError};

mod json;
mod scan;

pub(crate) use json::each_item;
#[cfg(feature = "catalog")]
pub(crate) use json::first_key;

/// The deepest JSON pointer that is accepted.
const POINTER_DEPTH_MAX: usize = 32;

/// One place in a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Locator {
    /// A header, by name. Sent twice, or not in UTF-8, it counts as absent.
    Header(http::HeaderName),
    /// A scalar in a JSON body, by JSON pointer (RFC 6901). The last of duplicate keys wins.
    Json(String),
    /// A field of a form body; the last of several wins.
    Form(String),
    /// A parameter of the URL's query; the last of several wins.
    Query(String),
}

impl Locator {
    /// The value there, as text; `None` where it is absent, empty, not a scalar, or the body is not of that kind.
    ///
    /// JSON is scanned as a stream, depth-bounded, without building a value. Strings, booleans and integers are
    /// scalars; a fraction is none, because two of them may read alike.
    #[must_use]
    pub fn find(&self, request: &Request<'_>) -> Option<String> {
        let value = match self {
            Self::Header(name) => single_header(request.headers, name).ok().flatten().map(str::to_owned),
            Self::Json(pointer) => scan::scalars(request.body, &[pointer]).pop().flatten(),
            Self::Form(name) => last_field(request.body, name),
            Self::Query(name) => {
                let url = request.url?.split('#').next().unwrap_or_default();
                url.split_once('?').and_then(|(_, query)| last_field(query.as_bytes(), name))
            }
        };
        value.filter(|value| !value.is_empty())
    }
}

/// The last value of a form field.
fn last_field(form: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(form)
        .filter(|(field, _)| field == name)
        .last()
        .map(|(_, value)| Cow::into_owned(value))
}

impl FromStr for Locator {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let refusal =
            |message: String, hint: &str| SpecError { key: String::new(), message, hint: hint.to_owned() };
        let forms = "write `header:NAME`, `json:/POINTER`, `form:FIELD` or `query:NAME`";
        let Some((kind, place)) = text.split_once(':') else {
            return Err(refusal(format!("`{text}` names no place in a request"), forms));
        };
        if place.is_empty() {
            return Err(refusal(format!("`{text}` names no place in a request"), forms));
        }
        match kind {
            "header" => match place.parse() {
                Ok(name) => Ok(Self::Header(name)),
                Err(_) => Err(refusal(format!("`{place}` is not a header name"), "letters, digits and `-`")),
            },
            "json" if !place.starts_with('/') => Err(refusal(
                format!("`{place}` is not a JSON pointer"),
                "it begins with `/`, such as `/data/id`",
            )),
            "json" if place.split('/').count() > POINTER_DEPTH_MAX + 1 => {
                Err(refusal(format!("the JSON pointer is deeper than {POINTER_DEPTH_MAX}"), ""))
            }
            "json" => Ok(Self::Json(place.to_owned())),
            "form" => Ok(Self::Form(place.to_owned())),
            "query" => Ok(Self::Query(place.to_owned())),
            _ => Err(refusal(format!("`{kind}:` is not a place in a request"), forms)),
        }
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Json(pointer) => write!(f, "json:{pointer}"),
            Self::Form(name) => write!(f, "form:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
        }
    }
}

/// Several places in one request. A JSON body is scanned once for all of them, and not before one of them is asked for.
pub(crate) struct Finder<'r, 'p> {
    request: &'r Request<'r>,
    pointers: Vec<&'p str>,
    scalars: OnceCell<Vec<Option<String>>>,
}

impl<'r, 'p> Finder<'r, 'p> {
    pub(crate) fn new(request: &'r Request<'r>, places: impl IntoIterator<Item = &'p Locator>) -> Self {
        let pointers = places.into_iter().filter_map(|place| match place {
            Locator::Json(pointer) => Some(pointer.as_str()),
            Locator::Header(_) | Locator::Form(_) | Locator::Query(_) => None,
        });
        Self { request, pointers: pointers.take(scan::POINTERS_MAX).collect(), scalars: OnceCell::new() }
    }

    /// [`Locator::find`].
    pub(crate) fn find(&self, place: &Locator) -> Option<String> {
        let known = match place {
            Locator::Json(pointer) => self.pointers.iter().position(|known| known == pointer),
            Locator::Header(_) | Locator::Form(_) | Locator::Query(_) => None,
        };
        let Some(index) = known else { return place.find(self.request) };
        let scalars = self.scalars.get_or_init(|| scan::scalars(self.request.body, &self.pointers));
        scalars.get(index)?.clone().filter(|value| !value.is_empty())
    }
}

/// How an id or a type is found: alternatives in order, each a composite of one or more places.
///
/// `"json:/id"`; `["form:MessageSid", "form:MessageStatus"]` (composite: all must be there, joined by `:`).
/// The catalog may hold several alternatives (first that is complete wins).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Locators {
    /// Alternatives in order; each a non-empty composite.
    pub alternatives: Vec<Vec<Locator>>,
}

impl Locators {
    /// The first complete alternative: its joined value, and the places it came from.
    #[must_use]
    pub fn find(&self, request: &Request<'_>) -> Option<(String, &[Locator])> {
        self.find_with(&Finder::new(request, self.places()))
    }

    /// [`Locators::find`] with what was looked for together with other places.
    pub(crate) fn find_with(&self, finder: &Finder<'_, '_>) -> Option<(String, &[Locator])> {
        self.alternatives.iter().filter(|composite| !composite.is_empty()).find_map(|composite| {
            let values: Option<Vec<String>> = composite.iter().map(|locator| finder.find(locator)).collect();
            Some((values?.join(":"), composite.as_slice()))
        })
    }

    /// Every place of every alternative.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Locator> {
        self.alternatives.iter().flatten()
    }

    /// Whether there is no alternative at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.alternatives.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts that are JSON, nearly, or not at all, with keys that the pointers name.
    fn texts() -> impl Strategy<Value = String> {
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"b\"",
            "\"\\u0061\"",
            "\"\\ud800\"",
            "\"\\n\"",
            "\"é\"",
            "1",
            "-0",
            "0",
            "01",
            "-7",
            "1.5",
            "1e3",
            "18446744073709551616",
            "true",
            "null",
            "tru",
            " ",
            "\n",
            "\"",
            "\\",
            "x",
            "\u{1}",
            "\"a\":1",
            "\"b\":{\"a\":\"x\"}",
            "{\"a\":[0,{\"b\":2}]}",
            "\"0123456789abcdef\"",
        ];
        let soup = proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..24)
            .prop_map(|all| all.concat());
        let leaf = proptest::sample::select(vec![
            "1",
            "\"x\"",
            "\"\\u00e9\"",
            "true",
            "null",
            "-2",
            "2.5",
            "\"\"",
            "\"a longer text\"",
        ]);
        let value = leaf.prop_map(str::to_owned).prop_recursive(4, 40, 5, |inner| {
            let key = proptest::sample::select(vec!["a", "b", "\\u0061", "c", "0", "a/b"]);
            let object = proptest::collection::vec((key, inner.clone()), 0..5).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
                format!("{{{}}}", members.join(" ,"))
            });
            let array =
                proptest::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(",")));
            prop_oneof![object, array]
        });
        prop_oneof![soup, value]
    }

    const POINTERS: [&str; 8] = ["/a", "/b", "/a/b", "/b/a", "/a/0", "/a/1/b", "/a~1b", "/0/a"];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_scan_finds_what_a_parser_finds_pointer_by_pointer(text in texts(), cut in 0..64_usize, flip in 0..8_u32) {
            let mut damaged = text.clone().into_bytes();
            if let Some(byte) = damaged.get_mut(cut) {
                *byte ^= 1 << flip;
            }
            let short = text.as_bytes().get(..cut).unwrap_or_default();
            for text in [text.as_bytes(), &damaged, short] {
                let together = scan::scalars(text, &POINTERS);
                for (pointer, found) in POINTERS.iter().zip(together) {
                    let parsed = json::scalar(text, pointer);
                    prop_assert_eq!(&found, &parsed, "{} in {}", pointer, String::from_utf8_lossy(text));
                    prop_assert_eq!(scan::scalars(text, &[pointer]), [found]);
                }
            }
        }
    }
}
