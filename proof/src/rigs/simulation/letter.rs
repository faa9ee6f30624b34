//! One request as a provider makes it: signed, or forged; its body whole, dripping, torn or stuck. It does not know what
//! the answer should be.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use http_body::{Body, Frame};
use tenterhook_verify::Request;
use tokio::time::Sleep;

use super::settings::{SOURCES, catalog, verifier};
use super::world::World;

/// An event as its sender knows it.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) source: usize,
    pub(super) pid: String,
    pub(super) kind: &'static str,
    pub(super) body: Bytes,
}

/// How a body arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Whole,
    Dripping,
    Torn,
    Stuck,
}

impl Letter {
    /// The source whose signature covers id and time.
    pub(super) fn signs_all(&self) -> bool {
        SOURCES[self.source].1 == "standard-webhooks"
    }

    /// The request, signed with `secret` over `signed` (its own body, but for a forgery) at the true time.
    pub(super) fn request(
        &self,
        world: &World,
        secret: &str,
        signed: &Bytes,
        manner: Manner,
    ) -> anyhow::Result<http::Request<Drip>> {
        let (name, provider) = SOURCES[self.source];
        let catalog = catalog(provider)?;
        let url = format!("/webhooks/{name}");
        let mut headers = HeaderMap::new();
        let request = Request { method: &Method::POST, url: Some(&url), headers: &headers, body: signed };
        let signature = verifier(catalog, &[secret.to_owned()])?
            .sign(&request, Some(&self.pid), world.now().to_system())
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        headers.extend(signature);
        headers.insert("host", HeaderValue::from_static("gateway"));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        if !self.signs_all() {
            headers.insert("x-github-event", HeaderValue::from_static(self.kind));
            headers.insert("x-github-delivery", HeaderValue::from_str(&self.pid)?);
        }
        let mut request = http::Request::post(url).body(Drip::new(&self.body, manner, world))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// A body that arrives in pieces.
pub(super) struct Drip {
    pieces: VecDeque<Bytes>,
    rest: Duration,
    manner: Manner,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Drip {
    fn new(body: &Bytes, manner: Manner, world: &World) -> Self {
        let (mut pieces, mut rest) = (VecDeque::new(), Duration::ZERO);
        if manner == Manner::Whole {
            pieces.push_back(body.clone());
        } else {
            let cut = world.rng().usize(0..=body.len());
            pieces.push_back(body.slice(..cut));
            if manner == Manner::Dripping {
                pieces.push_back(body.slice(cut..));
                rest = world.between(1, 8000);
            }
        }
        Self { pieces, rest, manner, sleep: None }
    }
}

impl Body for Drip {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !self.rest.is_zero() {
            let rest = self.rest;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(rest)));
            std::task::ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        }
        match (self.pieces.pop_front(), self.manner) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, Manner::Whole | Manner::Dripping) => Poll::Ready(None),
            (None, Manner::Torn) => Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into()))),
            (None, Manner::Stuck) => Poll::Pending,
        }
    }
}
