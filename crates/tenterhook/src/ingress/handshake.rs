//! Answers what a provider asks before it sends. What is to be fetched is fetched by whoever was given for it; keys that a
//! provider brings are the matter of `registration`.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use tenterhook_verify::{Handshake, handshake::Answer};

use super::reply::{self, Rejection};

/// Fetches a URL that a provider wants to be fetched, to show that its subscription is wanted.
#[async_trait]
pub trait Confirm: Send + Sync + Debug {
    /// A GET without redirects; the URL is https and on a host of the provider. `Err`: what went wrong, without the URL,
    /// which is a secret of the subscription.
    async fn confirm(&self, url: &str) -> Result<(), String>;
}

/// Does what is asked, and answers.
pub(super) async fn meet(
    handshake: Handshake,
    confirm: Option<&dyn Confirm>,
) -> Result<Response<Full<Bytes>>, Rejection> {
    match handshake {
        Handshake::Answer(answer) => Ok(respond(answer)),
        Handshake::Confirm { url, answer } => {
            let confirm = confirm.ok_or_else(|| Rejection::unconfirmed("nothing here can fetch"))?;
            confirm.confirm(&url).await.map_err(Rejection::unconfirmed)?;
            Ok(respond(answer))
        }
        _ => Err(Rejection::unconfirmed("nothing here does what is asked")),
    }
}

pub(super) fn respond(answer: Answer) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let is_empty = answer.body.is_empty();
    let mut response = reply::json(status, answer.body);
    let headers = response.headers_mut();
    if is_empty {
        headers.remove(CONTENT_TYPE);
    } else if !answer.headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    for (name, value) in answer.headers {
        headers.insert(name, value);
    }
    response
}
