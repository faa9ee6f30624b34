//! The content template: which parts of a request a signature covers, in which order. The body is never copied.

use std::borrow::Cow;

use aws_lc_rs::digest;
use http::HeaderName;

use crate::error::{Reason, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::{Request, single_header};

/// A parsed template such as `{t}.{body}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    Body,
    Time,
    Method,
    Url,
    Located(Locator),
}

/// The assembled content of one request, in pieces.
#[derive(Clone, Debug)]
pub(crate) struct Content<'r> {
    pieces: Vec<Cow<'r, [u8]>>,
}

impl Template {
    /// Parses a template. `{{` and `}}` are literal braces.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(tail) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
                literal.push(first);
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix('{') {
                let Some((name, tail)) = tail.split_once('}') else {
                    return Err("a `{` is not closed".to_owned());
                };
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::named(name)?);
                rest = tail;
            } else if first == '}' {
                return Err("a `}` closes nothing; a literal one is written `}}`".to_owned());
            } else {
                literal.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        if parts.iter().all(|part| matches!(part, Part::Literal(_))) {
            return Err("it covers nothing of the request".to_owned());
        }
        Ok(Self { parts })
    }

    /// The parts in order.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether the template has that part.
    pub(crate) fn has(&self, part: &Part) -> bool {
        self.parts.contains(part)
    }

    /// The headers whose values are signed.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.parts.iter().filter_map(|part| match part {
            Part::Located(Locator::Header(name)) => Some(name),
            _ => None,
        })
    }

    /// Assembles the content of a request. `time` is the timestamp exactly as it was written.
    pub(crate) fn assemble<'r>(
        &self,
        request: &Request<'r>,
        time: Option<&str>,
    ) -> Result<Content<'r>, VerifyError> {
        let mut pieces = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            pieces.push(match part {
                Part::Literal(text) => Cow::Owned(text.clone().into_bytes()),
                Part::Body => Cow::Borrowed(request.body),
                Part::Time => {
                    let missing = || refuse(Reason::MissingTimestamp, "no timestamp to sign");
                    Cow::Owned(time.ok_or_else(missing)?.as_bytes().to_vec())
                }
                Part::Method => Cow::Borrowed(request.method.as_str().as_bytes()),
                Part::Url => Cow::Borrowed(url(request)?.as_bytes()),
                Part::Located(Locator::Header(name)) => Cow::Borrowed(header(request, name)?.as_bytes()),
                Part::Located(locator) => {
                    let missing = || refuse(Reason::MalformedContent, format!("`{locator}` is not there"));
                    Cow::Owned(locator.find(request).ok_or_else(missing)?.into_bytes())
                }
            });
        }
        Ok(Content { pieces })
    }
}

impl Part {
    fn named(name: &str) -> Result<Self, String> {
        match name {
            "body" => Ok(Self::Body),
            "t" => Ok(Self::Time),
            "method" => Ok(Self::Method),
            "url" => Ok(Self::Url),
            _ if name.contains(':') => {
                name.parse().map(Self::Located).map_err(|error: crate::SpecError| error.message)
            }
            _ => Err(format!("`{{{name}}}` is not a part of a request")),
        }
    }
}

impl<'r> Content<'r> {
    /// Content of one piece.
    pub(crate) fn whole(bytes: impl Into<Cow<'r, [u8]>>) -> Self {
        Self { pieces: vec![bytes.into()] }
    }

    /// Content of several pieces.
    pub(crate) fn of<const N: usize>(pieces: [Cow<'r, [u8]>; N]) -> Self {
        Self { pieces: pieces.into() }
    }

    /// The pieces in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(AsRef::as_ref)
    }

    /// The content as one slice, for algorithms that need it whole.
    pub(crate) fn joined(&self) -> Cow<'_, [u8]> {
        match self.pieces.as_slice() {
            [only] => Cow::Borrowed(only.as_ref()),
            pieces => Cow::Owned(pieces.concat()),
        }
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }

    /// Whether it is exactly these bytes, and nothing else: told by where they are, not by comparing them.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        matches!(self.pieces.as_slice(), [only] if std::ptr::eq(only.as_ref(), bytes))
    }

    /// SHA-256 of the content.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for piece in self.pieces() {
            context.update(piece);
        }
        context.finish().as_ref().try_into().unwrap_or_default()
    }
}

/// The public URL, which a scheme that signs it cannot do without.
///
/// No URL holds a brace that is not encoded. Where the body is signed right behind the URL, the beginning of a JSON body
/// could otherwise be moved into the query, and the rest of it be passed off as the body.
pub(crate) fn url<'r>(request: &Request<'r>) -> Result<&'r str, VerifyError> {
    let missing = || refuse(Reason::MissingUrl, "the signature covers the public URL; none is configured");
    let url = request.url.ok_or_else(missing)?;
    if url.contains(['{', '}']) {
        return Err(refuse(Reason::MalformedContent, "the URL holds a brace, which belongs into no URL"));
    }
    Ok(url)
}

/// A signed header: there once, in UTF-8, not empty.
fn header<'r>(request: &Request<'r>, name: &HeaderName) -> Result<&'r str, VerifyError> {
    match single_header(request.headers, name) {
        Ok(Some(value)) if !value.is_empty() => Ok(value),
        Ok(_) => Err(refuse(Reason::MissingHeader, format!("`{name}` is missing or empty"))),
        Err(problem) => Err(refuse(Reason::MissingHeader, format!("`{name}` {problem}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_taken_apart() {
        let template = Template::parse("v0:{t}:{body}").unwrap();
        assert_eq!(template.parts().len(), 4);
        assert_eq!(template.parts()[0], Part::Literal("v0:".to_owned()));
        assert_eq!(Template::parse("{{{body}}}").unwrap().parts()[0], Part::Literal("{".to_owned()));
        assert!(Template::parse("{header:X-Id}{json:/a}{body}").is_ok());
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["", "literal", "{body", "body}", "{bodyy}", "{header:}", "{header:a b}", "{json:a}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
