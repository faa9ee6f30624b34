//! The requests of a load, each a correctly signed event of its own. Everything that is the same from one to the next
//! is made before the clock starts; per request only the id is written into a copy, and the copy is signed.
//!
//! An id is 32 hexadecimal digits: 16 of the run, 16 of the event's number. Whoever sees it, in the list of a gateway
//! or at a handler, can tell which event it was.

use std::net::SocketAddr;
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tenterhook_verify::provider::Sample;
use tenterhook_verify::{Request, Verifier};

use super::filler;
use crate::cli::failure::{Exit, Failure};
use crate::cli::sample::seconds;

/// Bodies that differ in more than their id, so that no two neighbours are alike.
const TEMPLATES: u64 = 16;
/// What stands for the id until it is written: as long as one, and nothing that a sample would hold.
const PLACE: &str = "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~";
const ID_BYTES: usize = 32;
const RUN_BYTES: usize = 16;

/// Where the requests go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address to connect to.
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// Path and query.
    pub path: String,
}

/// A body with the places of the id in it.
#[derive(Debug)]
struct Template {
    body: Vec<u8>,
    ids: Vec<usize>,
}

/// A header with the id in its value.
#[derive(Debug)]
struct Marked {
    name: HeaderName,
    value: Vec<u8>,
    at: usize,
}

/// All that the requests of a run have in common.
#[derive(Debug)]
pub struct Plan {
    verifier: Verifier,
    signed_url: String,
    run: [u8; RUN_BYTES],
    /// Request line and the headers that every request has.
    head: Vec<u8>,
    headers: HeaderMap,
    marked: Vec<Marked>,
    templates: Vec<Template>,
}

/// What one connection writes its requests into, again and again.
#[derive(Debug)]
pub struct Slot {
    headers: HeaderMap,
    body: Vec<u8>,
    /// The whole request, ready for the socket.
    pub out: Vec<u8>,
}

impl Slot {
    /// The body of the request that was written last.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// What a plan is made from.
#[derive(Debug)]
pub struct Ingredients<'i> {
    /// Signs.
    pub verifier: Verifier,
    /// The event that is sent again and again under new ids.
    pub sample: &'i Sample,
    /// The URL that the provider was given, for schemes that sign it.
    pub signed_url: String,
    /// How long a body is, in bytes; the sample and its id at least.
    pub body_bytes: usize,
    /// What the bodies are filled from.
    pub seed: u64,
    /// What `{now}` in a sample is, for the whole run: a duplicate has to be the same bytes again.
    pub now: SystemTime,
}

impl Plan {
    /// Makes everything that does not change.
    pub fn new(target: &Target, ingredients: Ingredients<'_>) -> Result<Self, Failure> {
        let Ingredients { verifier, sample, signed_url, body_bytes, seed, now } = ingredients;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut nonce = [0; RUN_BYTES / 2];
        aws_lc_rs::rand::fill(&mut nonce)
            .map_err(|_| Failure::new(Exit::Internal, "the system gives no random bytes"))?;
        let mut run = [0; RUN_BYTES];
        HEXLOWER.encode_mut(&nonce, &mut run);
        let (mut headers, mut marked) = (HeaderMap::new(), Vec::new());
        let (written, body) = sample.fill(PLACE, seconds(now));
        for (name, value) in written {
            let name = name.parse::<HeaderName>().map_err(|error| broken(&error))?;
            if let Some(at) = value.find(PLACE) {
                marked.push(Marked { name, value: value.into_bytes(), at });
            } else {
                headers.insert(name, HeaderValue::from_str(&value).map_err(|error| broken(&error))?);
            }
        }
        let templates =
            (0..TEMPLATES).map(|_| template(&body, body_bytes, &mut random)).collect::<Result<_, _>>()?;
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\nuser-agent: tenterhook-load\r\n",
            target.path, target.host
        );
        Ok(Self { verifier, signed_url, run, head: head.into_bytes(), headers, marked, templates })
    }

    /// A slot for one connection.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot { headers: self.headers.clone(), body: Vec::new(), out: Vec::new() }
    }

    /// How long the first body is, in bytes.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.templates.first().map_or(0, |template| template.body.len())
    }

    /// The digits that every id of this run begins with.
    #[must_use]
    pub fn run(&self) -> &[u8] {
        &self.run
    }

    /// The number of the event whose id begins at the beginning of `text`.
    #[must_use]
    pub fn number(&self, text: &[u8]) -> Option<u64> {
        let digits = text.strip_prefix(&self.run)?.get(..ID_BYTES - RUN_BYTES)?;
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// Writes the request of an event. The same number gives the same event, signed at `now`.
    pub fn write(&self, number: u64, now: SystemTime, slot: &mut Slot) -> Result<(), Failure> {
        let mut id = [0; ID_BYTES];
        id[..RUN_BYTES].copy_from_slice(&self.run);
        HEXLOWER.encode_mut(&number.to_be_bytes(), &mut id[RUN_BYTES..]);
        let template = &self.templates[(number % TEMPLATES) as usize];
        slot.body.clear();
        slot.body.extend_from_slice(&template.body);
        for at in &template.ids {
            slot.body[*at..*at + ID_BYTES].copy_from_slice(&id);
        }
        for marked in &self.marked {
            let mut value = marked.value.clone();
            value[marked.at..marked.at + ID_BYTES].copy_from_slice(&id);
            let value = HeaderValue::from_maybe_shared(bytes::Bytes::from(value));
            slot.headers.insert(marked.name.clone(), value.map_err(|error| broken(&error))?);
        }
        let request = Request {
            method: &Method::POST,
            url: Some(&self.signed_url),
            headers: &slot.headers,
            body: &slot.body,
        };
        let id = std::str::from_utf8(&id).unwrap_or_default();
        let signature = self
            .verifier
            .sign(&request, Some(id), now)
            .map_err(|error| Failure::new(Exit::Invalid, error.to_string()))?;
        slot.out.clear();
        slot.out.extend_from_slice(&self.head);
        for (name, value) in slot.headers.iter().filter(|(name, _)| !signature.contains_key(*name)) {
            line(&mut slot.out, name, value);
        }
        for (name, value) in &signature {
            line(&mut slot.out, name, value);
        }
        // Writing to a vector cannot fail.
        let _ = std::io::Write::write_fmt(
            &mut slot.out,
            format_args!("content-length: {}\r\n\r\n", slot.body.len()),
        );
        slot.out.extend_from_slice(&slot.body);
        Ok(())
    }
}

fn line(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A body as long as asked, with the id in it even where the provider's own is in a header.
fn template(sample: &str, bytes: usize, random: &mut fastrand::Rng) -> Result<Template, Failure> {
    let text = if let Some(object) = sample.strip_suffix('}') {
        let open = format!("{object},\"load\":{{\"id\":\"{PLACE}\",\"lines\":[");
        let middle = "],\"note\":\"";
        let end = "\"}}";
        let room = bytes.saturating_sub(open.len() + middle.len() + end.len());
        let records = filler::records(random, room);
        let note = filler::words(random, room - records.len());
        format!("{open}{records}{middle}{note}{end}")
    } else if sample.contains('=') && !sample.contains(char::is_whitespace) {
        let open = format!("{sample}&LoadId={PLACE}&LoadNote=");
        let note = filler::words(random, bytes.saturating_sub(open.len()));
        format!("{open}{note}")
    } else {
        return Err(Failure::usage("the provider's sample event is neither a JSON object nor a form")
            .hint("choose another one with `--event TYPE`"));
    };
    let ids = text.match_indices(PLACE).map(|(at, _)| at).collect();
    Ok(Template { body: text.into_bytes(), ids })
}

fn broken(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, format!("a header of the sample event cannot be sent: {error}"))
}
