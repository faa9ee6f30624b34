//! Where an id, a type or a timestamp is found in a request: `header:X-Id`, `json:/data/id`, `form:Sid`, `query:id`.
//! Knows nothing of what is done with the value.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::request::single_header;
use crate::{Request, SpecError};

mod json;

pub(crate) use json::{each_item, first_key};

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
            Self::Json(pointer) => json::scalar(request.body, pointer),
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
        self.alternatives.iter().filter(|composite| !composite.is_empty()).find_map(|composite| {
            let values: Option<Vec<String>> = composite.iter().map(|locator| locator.find(request)).collect();
            Some((values?.join(":"), composite.as_slice()))
        })
    }

    /// Whether there is no alternative at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.alternatives.is_empty()
    }
}
