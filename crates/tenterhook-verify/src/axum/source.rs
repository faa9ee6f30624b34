//! What an endpoint receives from: a verifier, a clock, a bound for the body, and where id and type are found.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use axum_core::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::event::{Event, Proof, Verified};
use super::layer::VerifyLayer;
use super::rejection::Rejection;
use crate::{KeyNeed, KeyRing, Locators, Request, Verifier, remote::Fetched};
#[cfg(feature = "catalog")]
use crate::{Provider, Secret, SpecError};

/// The bound of a body where neither the provider's documentation nor the caller says another, in bytes: 5 MiB.
pub const BODY_BYTES_MAX: usize = 5 * 1024 * 1024;

/// Says what time it is. Every `Fn() -> SystemTime` is one, such as `SystemTime::now`, and a constant in a test.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, against which the timestamps of senders are held.
    fn now(&self) -> SystemTime;
}

impl<F: Fn() -> SystemTime + Send + Sync + 'static> Clock for F {
    fn now(&self) -> SystemTime {
        self()
    }
}

type KeyWanted = Arc<dyn Fn(&KeyNeed) + Send + Sync>;

/// One sender with its secrets, as the state of a router or the contents of a [`VerifyLayer`]. Cheap to clone; clones
/// share the keys that were fetched.
#[derive(Clone)]
pub struct Source {
    parts: Arc<Parted>,
    ring: Arc<RwLock<Arc<KeyRing>>>,
}

#[derive(Clone)]
struct Parted {
    verifier: Verifier,
    clock: Arc<dyn Clock>,
    body_bytes_max: usize,
    public_url: Option<Box<str>>,
    places: Places,
    key_wanted: Option<KeyWanted>,
}

/// Where the id and the type of an event are found.
#[derive(Clone)]
enum Places {
    Written {
        event_id: Locators,
        event_type: Locators,
    },
    #[cfg(feature = "catalog")]
    Catalog(&'static Provider),
}

impl Source {
    /// A source of any scheme. Until [`Source::with_places`] says where they are, its events have no id and no type.
    #[must_use]
    pub fn new(verifier: Verifier, clock: impl Clock) -> Self {
        let places = Places::Written { event_id: Locators::default(), event_type: Locators::default() };
        Self::of(verifier, clock, BODY_BYTES_MAX, places)
    }

    /// A source of the catalog, by the provider's default scheme, with its rules for id and type and the largest body that
    /// it documents (else [`BODY_BYTES_MAX`]). Every live one of `secrets` is tried.
    ///
    /// # Errors
    ///
    /// A provider that is not in the catalog (at the key `provider`), and each secret that does not decode by the scheme's
    /// rule or is empty (at `secrets`); also no secret at all, where keys are not fetched.
    #[cfg(feature = "catalog")]
    pub fn provider(name: &str, secrets: Vec<Secret>, clock: impl Clock) -> Result<Self, Vec<SpecError>> {
        let fault = |key: &str, message: String, hint: &str| {
            vec![SpecError { key: key.to_owned(), message, hint: hint.to_owned() }]
        };
        let provider = crate::provider::provider(name).ok_or_else(|| {
            fault("provider", format!("`{name}` is not in the catalog"), "`catalog()` lists the names")
        })?;
        if secrets.is_empty() && !provider.scheme.fetches_keys() {
            return Err(fault("secrets", "there is no secret".to_owned(), "take what the provider shows"));
        }
        let verifier = Verifier::new(provider.scheme.clone(), secrets)?;
        let documented = provider.body_bytes_max.and_then(|bytes| usize::try_from(bytes).ok());
        let body_bytes_max = documented.unwrap_or(BODY_BYTES_MAX);
        Ok(Self::of(verifier, clock, body_bytes_max, Places::Catalog(provider)))
    }

    fn of(verifier: Verifier, clock: impl Clock, body_bytes_max: usize, places: Places) -> Self {
        let clock = Arc::new(clock);
        let parts = Parted { verifier, clock, body_bytes_max, public_url: None, places, key_wanted: None };
        Self { parts: Arc::new(parts), ring: Arc::default() }
    }

    /// The same source with another verifier: of another of the provider's schemes, with another tolerance, with
    /// settings.
    #[must_use]
    pub fn with_verifier(mut self, verifier: Verifier) -> Self {
        Arc::make_mut(&mut self.parts).verifier = verifier;
        self
    }

    /// The same source with another bound for the body, in bytes. What is longer is refused with 413, as far as possible
    /// before it is read.
    #[must_use]
    pub fn with_body_bytes_max(mut self, body_bytes_max: usize) -> Self {
        Arc::make_mut(&mut self.parts).body_bytes_max = body_bytes_max;
        self
    }

    /// The same source with the URL that is configured at the provider, for schemes that sign it
    /// ([`Scheme::signs_url`](crate::Scheme::signs_url)): scheme, host and path from here, the query as it arrived. It is
    /// never rebuilt from the request's own `Host`.
    #[must_use]
    pub fn with_public_url(mut self, public_url: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.parts).public_url = Some(public_url.into().into_boxed_str());
        self
    }

    /// The same source with other places for id and type.
    #[must_use]
    pub fn with_places(mut self, event_id: Locators, event_type: Locators) -> Self {
        Arc::make_mut(&mut self.parts).places = Places::Written { event_id, event_type };
        self
    }

    /// The same source with somebody to tell which key has to be fetched ([`Scheme::fetches_keys`]). Called on the way of
    /// a request, which is answered 503 meanwhile: it has to hand the need on, to one task that fetches one key at a
    /// time and asks for the same again only after a pause, because anybody can send a request that names a key. What
    /// was fetched goes through [`KeyNeed::accept`] to [`Source::keep`].
    ///
    /// [`Scheme::fetches_keys`]: crate::Scheme::fetches_keys
    #[must_use]
    pub fn with_key_wanted(mut self, tell: impl Fn(&KeyNeed) + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.parts).key_wanted = Some(Arc::new(tell));
        self
    }

    /// Keeps a key that was fetched and judged, for this source and its clones.
    pub fn keep(&self, fetched: Fetched) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        *ring = Arc::new(KeyRing::clone(&ring).with(fetched, self.parts.clock.now()));
    }

    /// The verifier.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.parts.verifier
    }

    /// A layer for routers whose handlers want verified requests only.
    #[must_use]
    pub fn layer(&self) -> VerifyLayer {
        VerifyLayer::new(self.clone())
    }

    /// Marks what no log may show.
    pub(super) fn mask(&self, headers: &mut HeaderMap) {
        for name in self.parts.verifier.scheme().token_headers() {
            if let Some(value) = headers.get_mut(name) {
                value.set_sensitive(true);
            }
        }
    }

    /// Screens the head, reads the body, verifies, and finds id and type, in this order.
    pub(super) async fn receive(&self, head: Parts, body: Body) -> Result<Verified<Event>, Rejection> {
        let body_bytes_max = self.parts.body_bytes_max;
        let declared = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: u64| length > body_bytes_max as u64) {
            return Err(Rejection::BodyTooLarge { body_bytes_max });
        }
        self.parts.verifier.screen(&head.headers, self.parts.clock.now()).map_err(Rejection::Unverified)?;
        let body = Limited::new(body, body_bytes_max).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Rejection::BodyTooLarge { body_bytes_max }
            } else {
                Rejection::BodyUnreadable
            }
        })?;
        self.judge(head, body.to_bytes())
    }

    fn judge(&self, head: Parts, body: Bytes) -> Result<Verified<Event>, Rejection> {
        let Parts { method, uri, headers, .. } = head;
        let url = self.public_url(uri.query());
        let request = Request { method: &method, url: url.as_deref(), headers: &headers, body: &body };
        let ring = Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner));
        let verified = self.parts.verifier.verify_with(&request, &ring, self.parts.clock.now());
        let verified = verified.map_err(|error| {
            if let (Some(need), Some(tell)) = (&error.needs, &self.parts.key_wanted) {
                tell(need);
            }
            Rejection::Unverified(error)
        })?;
        let (event_id, event_type) = self.parts.places.find(&request);
        let proof = Proof {
            secret_index: verified.secret_index(),
            signed_at: verified.signed_at(),
            content_sha256: verified.content_sha256(),
        };
        Ok(Verified::new(Event { method, uri, headers, body, event_id, event_type }, proof))
    }

    /// What a provider signs of the URL. Where nobody configured one and none is signed, only the query counts: ids and
    /// tokens may stand in it.
    fn public_url(&self, query: Option<&str>) -> Option<Cow<'_, str>> {
        let base = match self.parts.public_url.as_deref() {
            Some(url) => url.split_once('?').map_or(url, |(base, _)| base),
            None if self.parts.verifier.scheme().signs_url() => return None,
            None => "",
        };
        Some(query.map_or(Cow::Borrowed(base), |query| Cow::Owned(format!("{base}?{query}"))))
    }
}

impl Places {
    fn find(&self, request: &Request<'_>) -> (Option<String>, Option<String>) {
        match self {
            Self::Written { event_id, event_type } => {
                let find = |places: &Locators| places.find(request).map(|(value, _)| value);
                (find(event_id), find(event_type))
            }
            #[cfg(feature = "catalog")]
            Self::Catalog(provider) => provider.locate(request),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("verifier", &self.parts.verifier)
            .field("body_bytes_max", &self.parts.body_bytes_max)
            .field("public_url", &self.parts.public_url)
            .finish_non_exhaustive()
    }
}
