//! Registrations that are pending: a person opened a window, and in it one key is learnt. Windows live in memory: one that a
//! restart closed is opened again by whoever wanted it. Knows not where keys are kept.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::StatusCode;
use tenterhook_verify::{HandshakeReason, Secret};

use crate::model::{FormerKeys, Registration, SourceName, Timestamp};
use crate::source::Source;

use super::journal::Visit;
use super::reply::Rejection;

/// A key that a provider brought, and what is to be done with it.
#[derive(Clone, Debug)]
pub struct LearntKey {
    /// Whose it is.
    pub source: SourceName,
    /// The key.
    pub key: Secret,
    /// What becomes of those before it.
    pub former: FormerKeys,
    /// Where it came from, for the audit trail.
    pub from: IpAddr,
}

/// Why a key was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepError {
    /// It is no key of the source's scheme.
    Unusable(String),
    /// It could not be made durable.
    Failed(String),
}

/// Keeps keys that are learnt.
#[async_trait]
pub trait KeepKey: Send + Sync + Debug {
    /// Makes a key durable, and has it count: both hold when it returns.
    async fn keep(&self, learnt: LearntKey) -> Result<(), KeepError>;
}

/// The windows that are open, by source.
#[derive(Debug, Default)]
pub struct Registrations(Mutex<BTreeMap<SourceName, Window>>);

#[derive(Clone, Copy, Debug)]
struct Window {
    until: Timestamp,
    former: FormerKeys,
}

impl Registrations {
    /// Opens a window, in place of one that is open already; or closes it, where it is to be open for no time.
    pub fn open(&self, source: &SourceName, registration: Registration, now: Timestamp) -> Option<Timestamp> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.retain(|name, window| window.until > now && name != source);
        if registration.open_for.is_zero() {
            return None;
        }
        let until = now.plus(registration.open_for);
        windows.insert(source.clone(), Window { until, former: registration.former });
        Some(until)
    }

    /// Until when a registration is pending.
    #[must_use]
    pub fn pending_until(&self, source: &SourceName, now: Timestamp) -> Option<Timestamp> {
        let windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.get(source).map(|window| window.until).filter(|until| *until > now)
    }

    /// Learns the key of a handshake that came while a registration was pending: the first one, and no other. When it
    /// returns, the key is durable. What it does goes on when the sender hangs up meanwhile.
    pub(super) async fn learn(
        self: &Arc<Self>,
        key: Secret,
        source: &Source,
        visit: &Visit,
        keeper: Option<&Arc<dyn KeepKey>>,
    ) -> Result<(), Rejection> {
        let keeper = keeper.ok_or_else(|| Rejection::key_not_kept("nothing here keeps keys".to_owned()))?;
        let Some(window) = self.take(&source.name, visit.received_at) else {
            let detail = "a key arrived after the one that was awaited";
            let reason = HandshakeReason::UnexpectedHandshake;
            return Err(Rejection::unlearnt(reason, StatusCode::UNAUTHORIZED, detail, source));
        };
        let learnt =
            LearntKey { source: source.name.clone(), key, former: window.former, from: visit.source_ip };
        let (this, keeper) = (Arc::clone(self), Arc::clone(keeper));
        let keeping = tokio::spawn(async move {
            let name = learnt.source.clone();
            let kept = keeper.keep(learnt).await;
            if kept.is_err() {
                this.put_back(name, window);
            }
            kept
        });
        let kept = keeping.await.unwrap_or_else(|_| Err(KeepError::Failed("keeping it failed".to_owned())));
        kept.map_err(|error| match error {
            KeepError::Failed(why) => Rejection::key_not_kept(why),
            KeepError::Unusable(why) => {
                Rejection::unlearnt(HandshakeReason::MalformedKey, StatusCode::BAD_REQUEST, &why, source)
            }
        })
    }

    fn take(&self, source: &SourceName, now: Timestamp) -> Option<Window> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.remove(source).filter(|window| window.until > now)
    }

    /// The same window again, unless another one was opened meanwhile.
    fn put_back(&self, source: SourceName, window: Window) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(source).or_insert(window);
    }
}
