//! The inbound path: `receive()` on one screen. Knows sources and the store as a trait; knows nothing of the dispatcher,
//! of the config, or of the backend it writes.

mod body;
mod budget;
mod door;
mod handshake;
mod health;
mod journal;
mod keys;
mod registration;
mod reply;
mod respond;
mod screen;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use ipnet::IpNet;
use tenterhook_verify::Handshake;

use crate::model::{Accepted, Clock, Submission};
use crate::net::listener::Peer;
use crate::policy::limit::RatePolicy;
use crate::source::{Admission, Inbound, Source};
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::rejections::Rejections;

use budget::Budget;
pub use handshake::Confirm;
pub use keys::FetchKey;
pub use registration::{KeepError, KeepKey, LearntKey, Registrations};
pub use respond::{Listen, Listening};

use door::Doors;
use journal::{Journal, Visit};
use keys::Keys;
use reply::Rejection;
use respond::Call;

/// What a reload replaces, as a whole: each request sees one generation from beginning to end.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Every source.
    pub sources: Vec<Arc<Source>>,
    /// What holds for all of them.
    pub settings: IngressSettings,
}

/// What holds for all sources.
#[derive(Clone, Debug)]
pub struct IngressSettings {
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Memory for bodies that are being read or stored, over all connections, in bytes.
    pub unverified_bytes_max: u64,
    /// How long the store may take to make an event durable before the answer is 503.
    pub commit_timeout: Duration,
    /// Requests per second from one address before verification, where the source says nothing.
    pub rate_per_address: Option<RatePolicy>,
    /// Who fetches what a handshake wants to be fetched; without one such a handshake is refused.
    pub confirm: Option<Arc<dyn Confirm>>,
    /// Who fetches keys that live at a provider; without one such a request is refused.
    pub keys: Option<Arc<dyn FetchKey>>,
    /// Who keeps the keys that providers bring; without one none is learnt.
    pub keeper: Option<Arc<dyn KeepKey>>,
    /// Who hears what handlers answer, for sources that answer the same; without one they answer their fallback.
    pub listener: Option<Arc<dyn Listen>>,
}

impl Default for IngressSettings {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            unverified_bytes_max: 128 << 20,
            commit_timeout: Duration::from_secs(5),
            rate_per_address: None,
            confirm: None,
            keys: None,
            keeper: None,
            listener: None,
        }
    }
}

/// The way in.
pub struct Ingress {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    journal: Journal,
    budget: Arc<Budget>,
    keys: Keys,
    registrations: Arc<Registrations>,
    doors: ArcSwap<Doors>,
}

impl Ingress {
    /// Opens the sources of a first generation.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        rejections: Arc<Rejections>,
        generation: Generation,
    ) -> Arc<Self> {
        let budget = Budget::new(generation.settings.unverified_bytes_max);
        let doors = Doors::open(generation, None, clock.now());
        let journal = Journal::new(Arc::clone(&metrics), rejections);
        Arc::new(Self {
            store,
            clock,
            metrics,
            journal,
            budget,
            keys: Keys::default(),
            registrations: Arc::default(),
            doors: ArcSwap::from_pointee(doors),
        })
    }

    /// The windows in which keys are learnt. They outlive reloads.
    #[must_use]
    pub fn registrations(&self) -> &Registrations {
        &self.registrations
    }

    /// Replaces sources and settings for the requests that arrive from now on. Limits that stay the same keep what
    /// they have counted.
    pub fn set_generation(&self, generation: Generation) {
        self.budget.resize(generation.settings.unverified_bytes_max);
        let doors = Doors::open(generation, Some(&self.doors.load()), self.clock.now());
        self.doors.store(Arc::new(doors));
    }

    /// Answers one request. Everything that is refused before its body was read ends its HTTP/1 connection.
    pub async fn receive<B>(&self, request: Request<B>, peer: Peer) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let mut visit = Visit::begin(&request, peer, self.clock.as_ref());
        if let Some(answer) = health::answer(&request, self.store.as_ref(), &self.budget, visit.received_at) {
            return visit.finish(answer);
        }
        let answer = match self.take_in(request, peer, &mut visit).await {
            Ok(answer) => answer,
            Err(rejection) => {
                self.journal.refused(&visit, &rejection, self.clock.now());
                reply::rejection(&rejection, &visit.correlation_id)
            }
        };
        visit.finish(answer)
    }

    /// The life of an event up to its receipt: the steps of ARCHITECTURE.md, one line each.
    async fn take_in<B>(
        &self,
        request: Request<B>,
        peer: Peer,
        visit: &mut Visit,
    ) -> Result<Response<Full<Bytes>>, Rejection>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let doors = self.doors.load_full();
        let (head, body) = request.into_parts();
        visit.source_ip = screen::address(&head.headers, peer, &doors.settings.trusted_proxies);
        let door = visit.enter(doors.at(head.uri.path())?);
        screen::method(&head.method, &door.source)?;
        if head.method == Method::POST {
            self.metrics.received(&door.source.name);
        }
        screen::host(&head)?;
        screen::coding(&head)?;
        screen::source(&door, &head, &body, visit)?;
        let (bytes, share) = body::read(body, &door.source.limits, &self.budget).await?;
        visit.body_is_read = true;
        let is_pending = self.registrations.pending_until(&door.source.name, visit.received_at).is_some();
        let inbound = visit.inbound(head, bytes, is_pending);
        let admitted = match self.admit(&door.source, &inbound, &doors.settings).await? {
            Admission::Event(admitted) => *admitted,
            Admission::Handshake(asked) => {
                let answer = self.meet(asked, &door.source, visit, &doors.settings).await?;
                self.journal.handshake(visit, answer.status());
                return Ok(answer);
            }
        };
        door.take_verified(visit.received_at)?;
        let deliveries = door.source.deliveries(&inbound, &admitted.event_type);
        let event = visit.event(&admitted);
        let listener = doors.settings.listener.as_deref();
        let call = Call::begin(&door, &deliveries, visit, self.store.as_ref(), listener).await;
        let submission = Submission { admitted, deliveries };
        let accepted = self.submit(submission, doors.settings.commit_timeout).await?;
        // It is stored: whoever waits for a handler holds no memory for it.
        drop((inbound, share));
        let (answer, kind) = match call {
            None => (reply::receipt(&accepted, &event, &door.source.response), None),
            Some(call) => call.answer(&accepted).await,
        };
        self.journal.accepted(visit, &event, &accepted, answer.status(), kind);
        Ok(answer)
    }

    /// Does what a handshake asks for, and answers it.
    async fn meet(
        &self,
        asked: Handshake,
        source: &Source,
        visit: &Visit,
        settings: &IngressSettings,
    ) -> Result<Response<Full<Bytes>>, Rejection> {
        match asked {
            Handshake::Learn { secret, answer } => {
                self.registrations.learn(secret, source, visit, settings.keeper.as_ref()).await?;
                self.journal.key_learnt(visit);
                Ok(handshake::respond(answer))
            }
            other => handshake::meet(other, settings.confirm.as_deref()).await,
        }
    }

    /// Verifies, with the provider's key fetched first where it is not at hand.
    async fn admit(
        &self,
        source: &Source,
        inbound: &Inbound,
        settings: &IngressSettings,
    ) -> Result<Admission, Rejection> {
        let ring = self.keys.ring();
        let refusal = match source.admit(inbound, &ring) {
            Ok(admission) => return Ok(admission),
            Err(refusal) => refusal,
        };
        let (Some(need), Some(fetcher)) = (refusal.needs(), settings.keys.as_deref()) else {
            return Err(Rejection::refused(refusal, source));
        };
        let (who, now) = (source.key_credentials.as_ref(), inbound.judged_at.to_system());
        let brought = self.keys.bring(need, who, &ring, fetcher, now).await;
        brought.map_err(Rejection::no_key)?;
        source.admit(inbound, &self.keys.ring()).map_err(|refusal| Rejection::refused(refusal, source))
    }

    /// Durable when it returns. A commit that outlasts the deadline may still happen: then the event is delivered, and
    /// the sender's retry is a duplicate.
    async fn submit(&self, submission: Submission, timeout: Duration) -> Result<Accepted, Rejection> {
        let accept = self.store.accept(vec![submission]);
        let answers = tokio::time::timeout(timeout, accept).await.map_err(|_| Rejection::commit_timeout())?;
        let first = answers.map_err(|error| Rejection::store(&error))?.into_iter().next();
        first.ok_or_else(Rejection::no_answer)
    }
}
