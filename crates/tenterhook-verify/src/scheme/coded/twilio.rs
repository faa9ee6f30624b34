//! Twilio: HMAC-SHA1 over the public URL and the sorted form parameters; other bodies through a hash in the URL. The
//! sender does not agree with itself on ports and on the spelling of the query, so the spellings of its own SDKs are
//! tried.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderName;
use percent_encoding::utf8_percent_encode;

use super::form;
use super::{Call, Coded, KeyKind, required_signature};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::content::{self, Content};
use crate::scheme::encoding::{COMPONENT, Encoding};
use crate::scheme::hmac::{self, Mac};
use crate::scheme::{Covered, Key, Match};
use crate::verifier::{Facts, Sealed};

/// The query parameter that holds the SHA-256 of a body that is not a form.
const BODY_HASH: &str = "bodySHA256";
/// Twilio's scheme.
#[derive(Clone, Debug)]
pub(crate) struct TwilioScheme {
    header: HeaderName,
}

impl TwilioScheme {
    pub(crate) fn new() -> Self {
        Self { header: HeaderName::from_static("x-twilio-signature") }
    }
}

impl Coded for TwilioScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::utf8(Mac::Sha1)
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        vec![self.header.clone()]
    }

    fn signs_url(&self) -> bool {
        true
    }

    /// The URL, and through the hash in it a body that is not a form. Of a form it covers what its fields say one after
    /// the other, but not where a name ends and its value begins: `ab=c` is signed as `a=bc` is.
    fn covers(&self, locator: &Locator) -> bool {
        matches!(locator, Locator::Query(_) | Locator::Json(_))
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let signature = required_signature(request.headers, &self.header)?;
        let url = content::url(request)?;
        let tails = tails(request, url)?;
        let urls = spellings(url);
        facts.note("url", || format!("`{url}`, tried in {} spellings", urls.len()));
        facts.note("form parameters", || {
            format!("{} bytes sorted", tails.iter().map(String::len).max().unwrap_or(0))
        });
        let live = call.live(facts)?;
        let signature = Encoding::Base64
            .decode(signature)
            .ok_or_else(|| refuse(Reason::MalformedSignature, format!("`{}` is not base64", self.header)))?;
        let candidates = [signature];
        for tail in &tails {
            for spelling in &urls {
                let content = Content::whole(format!("{spelling}{tail}").into_bytes());
                for (index, _, key) in &live {
                    let Key::Mac(key) = key else { continue };
                    if hmac::any_matches(key, &content, &candidates) {
                        // The digest is over one spelling of the URL, so that another makes no new transmission.
                        let content = format!("{}{tail}", canonical(url));
                        let content_sha256 = Content::whole(content.into_bytes()).sha256();
                        return Ok(Match {
                            secret_index: Some(*index),
                            signed_at: None,
                            content: Covered::Digest(content_sha256),
                            content_is_body: false,
                        });
                    }
                }
            }
        }
        let detail = "no spelling of the public URL with these parameters was signed with a configured token; \
                      is the public URL the one configured at Twilio?";
        Err(refuse(Reason::SignatureMismatch, detail))
    }

    fn sign(&self, request: &Request<'_>, _id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let url =
            request.url.ok_or_else(|| SignError("the scheme signs the public URL; give one".to_owned()))?;
        let tails = tails(request, url).map_err(|error| {
            let hash = Encoding::Hex.encode(digest(&SHA256, request.body).as_ref());
            SignError(format!(
                "{}; a body that is not a form needs `{BODY_HASH}={hash}` in the URL",
                error.detail
            ))
        })?;
        let tail = tails.first().map_or("", String::as_str);
        let content = Content::whole(format!("{url}{tail}").into_bytes());
        Sealed::header(&self.header, &Encoding::Base64.encode(&call.tag(&content)?))
    }
}

/// What may follow the URL in the signed content, most likely first. A `bodySHA256` in the URL must fit the body,
/// whatever the content type says: otherwise a captured URL signature would pass for any body.
fn tails(request: &Request<'_>, url: &str) -> Result<Vec<String>, VerifyError> {
    let form = form::is_form(request.headers);
    let hash = form::query(url).split('&').find_map(|pair| pair.strip_prefix(BODY_HASH)?.strip_prefix('='));
    if let Some(hash) = hash {
        let actual = Encoding::Hex.encode(digest(&SHA256, request.body).as_ref());
        if verify_slices_are_equal(actual.as_bytes(), hash.to_ascii_lowercase().as_bytes()).is_err() {
            let detail = format!("`{BODY_HASH}` in the URL does not fit the body");
            return Err(refuse(Reason::BodyHashMismatch, detail));
        }
        let mut tails = vec![String::new()];
        if form {
            tails.push(sorted_parameters(request.body)?);
        }
        return Ok(tails);
    }
    if form {
        return Ok(vec![sorted_parameters(request.body)?]);
    }
    if request.body.is_empty() {
        return Ok(vec![String::new()]);
    }
    let detail = format!("the body is not a form and the URL has no `{BODY_HASH}`, so nothing covers it");
    Err(refuse(Reason::BodyHashMismatch, detail))
}

/// Names in byte order, the values of a name sorted and without repeats, each as name and value without a separator.
fn sorted_parameters(body: &[u8]) -> Result<String, VerifyError> {
    let mut parameters: BTreeMap<Cow<'_, str>, BTreeSet<Cow<'_, str>>> = BTreeMap::new();
    for (name, value) in form::fields(body)? {
        parameters.entry(name).or_default().insert(value);
    }
    let mut text = String::with_capacity(body.len());
    for (name, values) in &parameters {
        for value in values {
            text.push_str(name);
            text.push_str(value);
        }
    }
    Ok(text)
}

/// The URL as it is, then with and without its port, each with the query as it is and as a JavaScript SDK re-writes it.
fn spellings(url: &str) -> Vec<String> {
    let mut spellings = vec![url.to_owned()];
    let mut add = |spelling: String| {
        if !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    };
    for ported in ports(url) {
        let rewritten = with_query(&ported, &rewritten_query(form::query(&ported)));
        let apostrophes = with_query(&ported, &form::query(&ported).replace('\'', "%27"));
        add(ported);
        add(rewritten);
        add(apostrophes);
    }
    spellings
}

/// The spelling that stands for all of them: without a port, with the query as a JavaScript SDK re-writes it.
fn canonical(url: &str) -> String {
    let bare = ports(url).swap_remove(0);
    with_query(&bare, &rewritten_query(form::query(&bare)))
}

/// The URL without its port, and with it (the scheme's own where it has none).
fn ports(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (format!("{user}@"), host),
        None => (String::new(), authority),
    };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (name, port)
        }
        _ => (host, if scheme.eq_ignore_ascii_case("https") { "443" } else { "80" }),
    };
    vec![format!("{scheme}://{user}{name}{tail}"), format!("{scheme}://{user}{name}:{port}{tail}")]
}

fn with_query(url: &str, query: &str) -> String {
    match url.split_once('?') {
        Some((head, rest)) => {
            let fragment = rest.split_once('#').map_or(String::new(), |(_, fragment)| format!("#{fragment}"));
            format!("{head}?{query}{fragment}")
        }
        None => url.to_owned(),
    }
}

/// The query decoded and encoded again, as JavaScript's `querystring` does.
fn rewritten_query(query: &str) -> String {
    let pairs = form_urlencoded::parse(query.as_bytes()).take(form::FIELDS_MAX);
    let written = pairs.map(|(name, value)| {
        format!("{}={}", utf8_percent_encode(&name, COMPONENT), utf8_percent_encode(&value, COMPONENT))
    });
    written.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sorted_and_without_repeats() {
        let text =
            sorted_parameters(b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234").unwrap();
        assert_eq!(text, "Digits1234Digits5678SidCA123SidAccountAC123");
    }

    #[test]
    fn both_ports_are_tried() {
        assert_eq!(
            ports("https://u:p@a.example/x?y=1"),
            ["https://u:p@a.example/x?y=1", "https://u:p@a.example:443/x?y=1"]
        );
        assert_eq!(ports("http://a.example:1234?y"), ["http://a.example?y", "http://a.example:1234?y"]);
        assert_eq!(ports("http://[::1]/"), ["http://[::1]/", "http://[::1]:80/"]);
    }

    #[test]
    fn the_query_is_also_tried_as_javascript_writes_it() {
        let all = spellings("https://a.example/x?a=it's+b&c=%7e");
        assert!(all.contains(&"https://a.example/x?a=it's%20b&c=~".to_owned()), "{all:?}");
        assert!(all.contains(&"https://a.example/x?a=it%27s+b&c=%7e".to_owned()), "{all:?}");
    }
}
