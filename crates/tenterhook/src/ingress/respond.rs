//! `respond = "handler"`: the provider hears what the handler answers. The event is stored first, like any other, and its
//! first attempt is made like any other; this only waits for it. Whatever happens to the wait, the delivery goes on.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::door::Door;
use super::journal::Visit;
use super::reply;
use crate::model::{Accepted, DestinationName, HandlerAnswer, Heard, Known, NewDelivery};
use crate::source::{Fallback, Respond};
use crate::store::Store;
use crate::telemetry::metrics::AnswerKind;

/// A wait for the first attempt of a delivery: what came of it, or `None` when it came to no end. Dropped, nobody waits.
pub type Listening = Pin<Box<dyn Future<Output = Option<Heard>> + Send>>;

/// Hears what handlers answer.
pub trait Listen: Send + Sync + Debug {
    /// Waits for the first attempt to deliver what the request with this correlation id brings; asked before that is
    /// stored. `None`: the destination is not tried now.
    fn listen(&self, destination: &DestinationName, correlation_id: &str) -> Option<Listening>;
}

/// One request that waits for its handler.
pub(super) struct Call {
    respond: Respond,
    conflict_status: Option<StatusCode>,
    answer_by: Instant,
    /// Or why there is nothing to wait for.
    waiting: Result<Waiting, AnswerKind>,
}

struct Waiting {
    listening: Listening,
    _place: OwnedSemaphorePermit,
}

/// What the provider is answered, and what that is.
pub(super) type Answered = (Response<Full<Bytes>>, Option<AnswerKind>);

impl Call {
    /// Begins to wait, before the event is stored: no attempt may come too early. `None`: a receipt will do.
    pub(super) async fn begin(
        door: &Door,
        deliveries: &[NewDelivery],
        visit: &Visit,
        store: &dyn Store,
        listener: Option<&dyn Listen>,
    ) -> Option<Self> {
        let respond = door.source.respond.clone()?;
        let waiting = wait(door, deliveries, &visit.correlation_id, store, listener).await;
        let conflict_status = door.source.response.conflict_status;
        Some(Self { answer_by: visit.answer_by(respond.timeout), respond, conflict_status, waiting })
    }

    /// Waits for the handler, now that the event is durable, and answers. A duplicate asks nobody.
    pub(super) async fn answer(self, accepted: &Accepted) -> Answered {
        let (or_else, conflict_status) = (self.respond.fallback.clone(), self.conflict_status);
        let (answer, kind) = match accepted {
            Accepted::New { .. } => match self.hear().await {
                Ok(answer) => (passed_on(answer), AnswerKind::Handler),
                Err(kind) => (fallback(or_else, None), kind),
            },
            Accepted::Duplicate(Known { result: Some(result), .. }) => {
                (reply::json(StatusCode::OK, result.clone()), AnswerKind::Result)
            }
            Accepted::Duplicate(_) => (fallback(or_else, None), AnswerKind::Known),
            Accepted::Conflict(_) => (fallback(or_else, conflict_status), AnswerKind::Known),
        };
        (answer, Some(kind))
    }

    async fn hear(self) -> Result<HandlerAnswer, AnswerKind> {
        let waiting = self.waiting?;
        match timeout_at(self.answer_by, waiting.listening).await {
            Ok(Some(Heard::Answer(answer))) => Ok(answer),
            Ok(Some(Heard::Closed)) => Err(AnswerKind::Closed),
            Ok(Some(Heard::Unfit)) => Err(AnswerKind::Unfit),
            Ok(Some(Heard::Failed) | None) => Err(AnswerKind::Failed),
            Err(_) => Err(AnswerKind::Late),
        }
    }
}

async fn wait(
    door: &Door,
    deliveries: &[NewDelivery],
    correlation_id: &str,
    store: &dyn Store,
    listener: Option<&dyn Listen>,
) -> Result<Waiting, AnswerKind> {
    let [NewDelivery { destination, .. }] = deliveries else { return Err(AnswerKind::Ignored) };
    let place = door.place().ok_or(AnswerKind::Full)?;
    // A store that cannot say will not take the event either.
    if store.is_paused(destination).await.unwrap_or(false) {
        return Err(AnswerKind::Closed);
    }
    let listening = listener.and_then(|listener| listener.listen(destination, correlation_id));
    listening.map(|listening| Waiting { listening, _place: place }).ok_or(AnswerKind::Closed)
}

fn passed_on(answer: HandlerAnswer) -> Response<Full<Bytes>> {
    let mut response = with_body(answer.status, answer.body, None);
    response.headers_mut().extend(answer.headers);
    response
}

fn fallback(fallback: Fallback, own_status: Option<StatusCode>) -> Response<Full<Bytes>> {
    let status = own_status.unwrap_or(fallback.status);
    let mut response = with_body(status, fallback.body, fallback.content_type);
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1));
    }
    response
}

/// An answer with the headers that every answer has, and without a type unless one is said.
fn with_body(status: StatusCode, body: Bytes, content_type: Option<HeaderValue>) -> Response<Full<Bytes>> {
    let mut response = reply::json(status, String::new());
    let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    if !has_none {
        *response.body_mut() = Full::new(body);
    }
    match content_type.filter(|_| !has_none) {
        Some(content_type) => response.headers_mut().insert(CONTENT_TYPE, content_type),
        None => response.headers_mut().remove(CONTENT_TYPE),
    };
    response
}
