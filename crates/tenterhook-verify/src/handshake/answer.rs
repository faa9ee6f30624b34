//! The answer to a handshake, out of a template. A body is plain text or JSON, and never anything that a browser would
//! take for a page.

use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue};

use super::{Answer, HandshakeError, HandshakeReason, HandshakeSettings, no_key, refuse};
use crate::Verifier;
use crate::scheme::encoding::Encoding;

/// The most service ids that are listed.
const SERVICES_MAX: usize = 1000;

/// How an answer is made.
#[derive(Clone, Debug)]
pub(crate) struct AnswerRule {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(HeaderName, Template)>,
    pub(crate) body: Body,
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Empty,
    Text(Template),
    /// The members of an object; JSON numbers stand as they are.
    Json(Vec<(String, Member)>),
}

/// The value of a member.
#[derive(Clone, Debug)]
pub(crate) enum Member {
    Text(Template),
    Number(i64),
}

/// Text with places to fill in.
pub(crate) type Template = Vec<Piece>;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(String),
    Challenge,
    Mac(Encoding),
    KeyName,
    Services,
}

/// What is filled in.
pub(crate) struct Values<'v> {
    pub(crate) challenge: Option<&'v str>,
    pub(crate) verifier: &'v Verifier,
    pub(crate) settings: &'v HandshakeSettings,
    pub(crate) now: SystemTime,
}

impl AnswerRule {
    /// Whether it holds a MAC of the challenge.
    pub(crate) fn signs(&self) -> bool {
        self.pieces().any(|piece| matches!(piece, Piece::Mac(_)))
    }

    /// Whether it holds the challenge or a MAC of it.
    pub(crate) fn needs_challenge(&self) -> bool {
        self.pieces().any(|piece| matches!(piece, Piece::Mac(_) | Piece::Challenge))
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        let headers = self.headers.iter().flat_map(|(_, template)| template);
        let (text, members) = match &self.body {
            Body::Empty => (None, None),
            Body::Text(template) => (Some(template), None),
            Body::Json(members) => (None, Some(members)),
        };
        let members = members.into_iter().flatten().filter_map(|(_, member)| match member {
            Member::Text(template) => Some(template),
            Member::Number(_) => None,
        });
        headers.chain(text.into_iter().flatten()).chain(members.flatten())
    }

    pub(crate) fn fill(&self, values: &Values<'_>) -> Result<Answer, HandshakeError> {
        let mut headers = vec![(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))];
        let kind = match self.body {
            Body::Empty => None,
            Body::Text(_) => Some("text/plain; charset=utf-8"),
            Body::Json(_) => Some("application/json"),
        };
        headers.extend(kind.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind))));
        for (name, template) in &self.headers {
            let text = values.text(template)?;
            let value = HeaderValue::from_str(&text).map_err(|_| {
                let detail = format!("`{name}` cannot hold what it would be answered with");
                refuse(HandshakeReason::MalformedChallenge, 400, detail)
            })?;
            headers.push((name.clone(), value));
        }
        let body = match &self.body {
            Body::Empty => String::new(),
            Body::Text(template) => values.text(template)?,
            Body::Json(members) => values.object(members)?,
        };
        Ok(Answer { status: self.status, headers, body })
    }
}

impl Values<'_> {
    fn text(&self, template: &Template) -> Result<String, HandshakeError> {
        let mut text = String::new();
        for piece in template {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Challenge => text.push_str(self.challenge.unwrap_or_default()),
                Piece::Mac(encoding) => {
                    let challenge = self.challenge.unwrap_or_default().as_bytes();
                    let mac = self.verifier.mac(challenge, self.now).ok_or_else(no_key)?;
                    text.push_str(&encoding.encode(&mac));
                }
                Piece::KeyName => {
                    let name = self.settings.key_name.as_deref();
                    text.push_str(name.ok_or_else(|| not_configured("the name of the key"))?);
                }
                Piece::Services => text.push_str(&services(&self.settings.service_ids)?),
            }
        }
        Ok(text)
    }

    fn object(&self, members: &[(String, Member)]) -> Result<String, HandshakeError> {
        let mut object = serde_json::Map::new();
        for (name, member) in members {
            let value = match member {
                Member::Text(template) => self.text(template)?.into(),
                Member::Number(number) => (*number).into(),
            };
            object.insert(name.clone(), value);
        }
        Ok(serde_json::Value::Object(object).to_string())
    }
}

/// A line for each service: the digest of its id.
fn services(ids: &[String]) -> Result<String, HandshakeError> {
    if ids.is_empty() {
        return Err(not_configured("service ids"));
    }
    let lines =
        ids.iter().take(SERVICES_MAX).map(|id| HEXLOWER.encode(digest(&SHA256, id.as_bytes()).as_ref()));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn not_configured(what: &str) -> HandshakeError {
    refuse(HandshakeReason::NotConfigured, 404, format!("the answer needs {what}, and none is configured"))
}
