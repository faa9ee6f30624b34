//! Where an id, a type or a timestamp is found in a request: `header:X-Id`, `json:/data/id`, `form:Sid`, `query:id`.

use std::fmt;
use std::str::FromStr;

use crate::{Request, SpecError};

/// One place in a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Locator {
    /// A header, by name.
    Header(http::HeaderName),
    /// A scalar in a JSON body, by JSON pointer (RFC 6901). The last of duplicate keys wins.
    Json(String),
    /// A field of a form body.
    Form(String),
    /// A parameter of the URL's query.
    Query(String),
}

impl Locator {
    /// The value there, as text; `None` where it is absent, not a scalar, or the body is not of that kind.
    ///
    /// JSON is scanned as a stream, depth-bounded, without building a value.
    #[must_use]
    pub fn find(&self, _request: &Request<'_>) -> Option<String> {
        todo!()
    }
}

impl FromStr for Locator {
    type Err = SpecError;
    fn from_str(_text: &str) -> Result<Self, SpecError> {
        todo!()
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
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
    pub fn find(&self, _request: &Request<'_>) -> Option<(String, &[Locator])> {
        todo!()
    }
}
