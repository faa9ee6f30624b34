//! Where a signature or a token stands: in a header, in several, in all that begin alike, or elsewhere in the request.
//! Knows nothing of what the value means.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

use super::list::CANDIDATES_MAX;
use crate::error::{Reason, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::{Request, single_header};

/// Where a signature or a token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SignatureAt {
    /// In these headers; any of them may match.
    Headers(Vec<HeaderPattern>),
    /// Elsewhere in the request.
    Located(Locator),
}

/// A header, or all headers that begin with a prefix (`X-DocuSign-Signature-*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderPattern {
    Exact(HeaderName),
    Prefix(String),
}

impl SignatureAt {
    /// The values in headers; empty where there are none. A header that is sent twice is refused, not chosen from.
    pub(crate) fn in_headers<'h>(&self, headers: &'h HeaderMap) -> Result<Vec<&'h str>, VerifyError> {
        let mut values = Vec::new();
        let Self::Headers(patterns) = self else { return Ok(values) };
        for pattern in patterns {
            match pattern {
                HeaderPattern::Exact(name) => values.extend(signature_header(headers, name)?),
                HeaderPattern::Prefix(prefix) => {
                    for name in headers.keys().filter(|name| name.as_str().starts_with(prefix.as_str())) {
                        values.extend(signature_header(headers, name)?);
                    }
                }
            }
            if values.len() > CANDIDATES_MAX {
                return Err(refuse(
                    Reason::TooManyCandidates,
                    "more signature headers than any provider sends",
                ));
            }
        }
        Ok(values)
    }

    /// The values; refuses a request that has none.
    pub(crate) fn values<'r>(&self, request: &Request<'r>) -> Result<Vec<Cow<'r, str>>, VerifyError> {
        let values: Vec<Cow<'r, str>> = match self {
            Self::Headers(_) => self.in_headers(request.headers)?.into_iter().map(Cow::Borrowed).collect(),
            Self::Located(locator) => locator.find(request).map(Cow::Owned).into_iter().collect(),
        };
        if values.is_empty() { Err(self.missing()) } else { Ok(values) }
    }

    /// The refusal of a request without a signature.
    pub(super) fn missing(&self) -> VerifyError {
        let place = match self {
            Self::Located(locator) => locator.to_string(),
            Self::Headers(patterns) => {
                let names: Vec<&str> = patterns.iter().map(HeaderPattern::as_str).collect();
                names.join("`, `")
            }
        };
        refuse(Reason::MissingSignature, format!("`{place}` is missing or empty"))
    }

    /// The header that `sign` writes.
    pub(crate) fn header_to_sign(&self) -> Option<HeaderName> {
        match self {
            Self::Located(Locator::Header(name)) => Some(name.clone()),
            Self::Located(_) => None,
            Self::Headers(patterns) => patterns.iter().find_map(|pattern| match pattern {
                HeaderPattern::Exact(name) => Some(name.clone()),
                HeaderPattern::Prefix(prefix) => HeaderName::try_from(format!("{prefix}1")).ok(),
            }),
        }
    }

    /// The names that are known beforehand.
    pub(crate) fn header_names(&self) -> Vec<HeaderName> {
        match self {
            Self::Located(Locator::Header(name)) => vec![name.clone()],
            Self::Located(_) => Vec::new(),
            Self::Headers(patterns) => patterns
                .iter()
                .filter_map(|pattern| match pattern {
                    HeaderPattern::Exact(name) => Some(name.clone()),
                    HeaderPattern::Prefix(_) => None,
                })
                .collect(),
        }
    }
}

impl HeaderPattern {
    fn as_str(&self) -> &str {
        match self {
            Self::Exact(name) => name.as_str(),
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// A signature header's value; `None` where it is absent or empty.
pub(crate) fn signature_header<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, VerifyError> {
    match single_header(headers, name) {
        Ok(value) => Ok(value.filter(|value| !value.is_empty())),
        Err(problem) => Err(refuse(Reason::MalformedSignature, format!("`{name}` {problem}"))),
    }
}
