//! Dropbox Sign (formerly HelloSign): a field of a multipart form holds JSON, and in it stands a MAC over the time and the
//! type of the event. Nothing else is signed, so that the rest has to be fetched from the provider to be believed.

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderName, header};
use serde::Deserialize;

use super::scalar::Scalar;
use super::{Call, Coded, KeyKind, decoded};
use super::{form, multipart};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::content::Content;
use crate::scheme::encoding::Encoding;
use crate::scheme::hmac::Mac;
use crate::scheme::time::{TimeAt, TimeRule, Unit};
use crate::scheme::{Covered, Match};
use crate::verifier::{Facts, Sealed};

/// Dropbox Sign's scheme.
#[derive(Debug)]
pub(crate) struct DropboxSignScheme;

/// The field that holds the JSON.
const FIELD: &str = "json";
/// A retry is sent hours later with the time of the first, so that none is too old.
const TIME: TimeRule = TimeRule { at: TimeAt::List, unit: Unit::Seconds, tolerance: None, future: true };

#[derive(Deserialize)]
struct Callback {
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    event_time: Scalar,
    #[serde(default)]
    event_type: Scalar,
    #[serde(default)]
    event_hash: Scalar,
}

impl Coded for DropboxSignScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::utf8(Mac::Sha256)
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    fn signs_inside(&self) -> bool {
        true
    }

    /// The JSON stands in a field, where no locator reaches what is signed of it.
    fn covers(&self, _locator: &Locator) -> bool {
        false
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let event = event(json(request)?.as_bytes())?;
        let missing = || refuse(Reason::MissingSignature, "the event has no `event_hash`");
        let signature = event.event_hash.text().ok_or_else(missing)?;
        let signature = decoded(Encoding::Hex, signature, Mac::Sha256.tag_bytes())?;
        TIME.judge(&event.event_time.0, call.tolerance, call.now)?;
        facts.note("event", || format!("{} of {}", event.event_type.0, event.event_time.0));
        let index = call.mac(&content(&event)?, &[signature], facts)?;
        // Two events of one type in one second are signed alike: what is told apart here is the body.
        let content_sha256 = digest(&SHA256, request.body).as_ref().try_into().unwrap_or_default();
        let content = Covered::Digest(content_sha256);
        Ok(Match { secret_index: Some(index), signed_at: None, content, content_is_body: true })
    }

    fn sign(&self, request: &Request<'_>, _id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let fault = |error: VerifyError| SignError(error.detail);
        let boundary = multipart::boundary(request.headers).map_err(fault)?;
        // Without a form around it the body is the JSON itself.
        let bare = boundary.is_none() && !form::is_form(request.headers);
        let text = if bare {
            std::str::from_utf8(request.body)
                .map_err(|_| SignError("the body is not UTF-8".to_owned()))?
                .to_owned()
        } else {
            json(request).map_err(fault)?
        };
        let mut callback: serde_json::Value =
            serde_json::from_str(&text).map_err(|_| SignError("the body is not JSON".to_owned()))?;
        let time = TIME.write(call.now).ok_or_else(|| SignError("the time is before 1970".to_owned()))?;
        let object = callback.get_mut("event").and_then(serde_json::Value::as_object_mut);
        let object = object.ok_or_else(|| SignError("the body has no `event`".to_owned()))?;
        object.insert("event_time".to_owned(), time.into());
        let signed = event(callback.to_string().as_bytes()).map_err(fault)?;
        let hash = Encoding::Hex.encode(&call.tag(&content(&signed).map_err(fault)?)?);
        if let Some(object) = callback.get_mut("event").and_then(serde_json::Value::as_object_mut) {
            object.insert("event_hash".to_owned(), hash.into());
        }
        let text = callback.to_string();
        if !bare && boundary.is_none() {
            return Ok(Sealed::body(form::with_fields(request.body, &[(FIELD, &text)]).into_bytes()));
        }
        let boundary = boundary.unwrap_or_else(|| "tenterhook-event-boundary".to_owned());
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{FIELD}\"\r\n\r\n{text}\r\n--{boundary}--\r\n"
        );
        let kind = format!("multipart/form-data; boundary=\"{boundary}\"");
        Sealed::body(body.into_bytes()).and_header(&header::CONTENT_TYPE, &kind)
    }
}

/// The JSON of a callback, out of its form.
fn json(request: &Request<'_>) -> Result<String, VerifyError> {
    let missing = || refuse(Reason::MissingSignature, format!("the form has no field `{FIELD}`"));
    form::body_field(request, FIELD)?.ok_or_else(missing)
}

fn event(json: &[u8]) -> Result<Event, VerifyError> {
    let malformed = |_| refuse(Reason::MalformedContent, "the field is not JSON of Dropbox Sign's form");
    serde_json::from_slice::<Callback>(json).map(|callback| callback.event).map_err(malformed)
}

/// Time and type. Nothing stands between them, so that a type must not begin with a digit.
fn content(event: &Event) -> Result<Content<'static>, VerifyError> {
    let kind = &event.event_type.0;
    if !kind.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(refuse(Reason::MalformedContent, "the type of the event does not begin with a letter"));
    }
    Ok(Content::whole(format!("{}{kind}", event.event_time.0).into_bytes()))
}
