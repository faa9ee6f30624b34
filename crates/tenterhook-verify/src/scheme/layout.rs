//! One family of headers: where signature, timestamp, id and key id stand under it, and what is signed.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};

use super::content::{Part, Template};
use super::place::{SignatureAt, signature_header};
use super::time::{TimeAt, TimeRule};
use crate::error::{Reason, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::{Request, single_header};

/// Where one family of headers has what.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) signature: SignatureAt,
    pub(crate) time: Option<TimeRule>,
    pub(crate) content: Template,
    pub(crate) require: Vec<(HeaderName, String)>,
    pub(crate) key_id: Option<HeaderName>,
    /// Which secret a signature header is for, by the secret's id (Box: `primary`, `secondary`); empty: any for any.
    pub(crate) slots: Vec<(HeaderName, String)>,
    /// Whether a request without a body is refused, whatever its signature.
    pub(crate) body_required: bool,
}

/// One value that holds signatures, with the id of the secret that it is for.
pub(super) struct Signature<'r> {
    pub(super) text: Cow<'r, str>,
    pub(super) slot: Option<&'r str>,
}

impl Layout {
    /// The values that hold signatures; refuses a request that has none.
    pub(super) fn signatures<'r>(&'r self, request: &Request<'r>) -> Result<Vec<Signature<'r>>, VerifyError> {
        if self.slots.is_empty() {
            let values = self.signature.values(request)?;
            return Ok(values.into_iter().map(|text| Signature { text, slot: None }).collect());
        }
        let mut values = Vec::with_capacity(self.slots.len());
        for (name, slot) in &self.slots {
            let value = signature_header(request.headers, name)?;
            values
                .extend(value.map(|text| Signature { text: Cow::Borrowed(text), slot: Some(slot.as_str()) }));
        }
        if values.is_empty() { Err(self.signature.missing()) } else { Ok(values) }
    }

    /// Refuses an empty body where the scheme asks for one.
    pub(super) fn require_body(&self, request: &Request<'_>) -> Result<(), VerifyError> {
        if self.body_required && request.body.is_empty() {
            return Err(refuse(Reason::MalformedContent, "the body is empty, which this scheme never signs"));
        }
        Ok(())
    }

    /// The header in which a secret of that id signs: its own slot, or the first.
    pub(super) fn header_to_sign(&self, secret_id: Option<&str>) -> Option<HeaderName> {
        let own = self.slots.iter().find(|(_, slot)| Some(slot.as_str()) == secret_id);
        own.map(|(name, _)| name.clone()).or_else(|| self.signature.header_to_sign())
    }

    pub(super) fn judge(
        &self,
        text: &str,
        tolerance: Option<Duration>,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, VerifyError> {
        self.time.as_ref().map(|rule| rule.judge(text, tolerance, now)).transpose()
    }

    /// The timestamp outside the signature list, as written.
    pub(super) fn outer_time<'r>(&self, request: &Request<'r>) -> Result<Option<Cow<'r, str>>, VerifyError> {
        match self.time.as_ref().map(|rule| &rule.at) {
            None | Some(TimeAt::List) => Ok(None),
            Some(TimeAt::Header(name)) => {
                header_time(request.headers, name).map(|text| Some(Cow::Borrowed(text)))
            }
            Some(TimeAt::Json(locator)) => {
                let missing = || refuse(Reason::MissingTimestamp, format!("`{locator}` is not there"));
                locator.find(request).ok_or_else(missing).map(|text| Some(Cow::Owned(text)))
            }
        }
    }

    pub(super) fn require(&self, headers: &HeaderMap) -> Result<(), VerifyError> {
        for (name, expected) in &self.require {
            if signed_header(headers, name)? != expected {
                return Err(refuse(Reason::MissingHeader, format!("`{name}` is not `{expected}`")));
            }
        }
        Ok(())
    }

    pub(super) fn key_id<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, VerifyError> {
        self.key_id.as_ref().map(|name| signed_header(headers, name)).transpose()
    }

    /// The headers that the signature covers, in the same order for every family of names.
    pub(super) fn signed_names(&self) -> impl Iterator<Item = &HeaderName> {
        let time = match self.time.as_ref().map(|rule| &rule.at) {
            Some(TimeAt::Header(name)) => Some(name),
            _ => None,
        };
        time.into_iter().chain(self.content.headers())
    }

    /// The header that carries the message id: the signed one that is not the timestamp.
    pub(super) fn id_header(&self) -> Option<&HeaderName> {
        let time = match self.time.as_ref().map(|rule| &rule.at) {
            Some(TimeAt::Header(name)) => Some(name),
            _ => None,
        };
        self.content
            .headers()
            .find(|name| Some(*name) != time && !self.require.iter().any(|(required, _)| required == *name))
    }

    pub(super) fn signs_time(&self) -> bool {
        match self.time.as_ref().map(|rule| &rule.at) {
            None => false,
            Some(TimeAt::List) => self.content.has(&Part::Time),
            Some(TimeAt::Header(name)) => {
                self.content.has(&Part::Time) || self.content.headers().any(|header| header == name)
            }
            Some(TimeAt::Json(locator)) => {
                self.content.has(&Part::Time)
                    || self.content.has(&Part::Body)
                    || self.content.has(&Part::Located(locator.clone()))
            }
        }
    }

    pub(super) fn covers(&self, locator: &Locator) -> bool {
        let in_time = matches!((&self.time, locator),
            (Some(TimeRule { at: TimeAt::Header(name), .. }), Locator::Header(header)) if name == header);
        let whole = match locator {
            Locator::Header(_) => in_time && self.content.has(&Part::Time),
            Locator::Json(_) | Locator::Form(_) => self.content.has(&Part::Body),
            Locator::Query(_) => self.content.has(&Part::Url),
        };
        whole || self.content.has(&Part::Located(locator.clone()))
    }
}

pub(super) fn header_time<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, VerifyError> {
    match single_header(headers, name) {
        Ok(Some(text)) if !text.is_empty() => Ok(text),
        Ok(_) => Err(refuse(Reason::MissingTimestamp, format!("`{name}` is missing or empty"))),
        Err(problem) => Err(refuse(Reason::MalformedTimestamp, format!("`{name}` {problem}"))),
    }
}

pub(super) fn signed_header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, VerifyError> {
    match single_header(headers, name) {
        Ok(Some(value)) if !value.is_empty() => Ok(value),
        Ok(_) => Err(refuse(Reason::MissingHeader, format!("`{name}` is missing or empty"))),
        Err(problem) => Err(refuse(Reason::MissingHeader, format!("`{name}` {problem}"))),
    }
}
