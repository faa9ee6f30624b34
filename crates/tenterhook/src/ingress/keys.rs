//! Keys that live at a provider: fetched once for all who wait for one, judged, and kept. Others are not held up; a fetch that
//! failed is not tried again for a while, so that nobody can make us ask for the same thing at will.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tenterhook_verify::remote::Roots;
use tenterhook_verify::{KeyNeed, KeyRing};
use tokio::time::Instant;

use crate::source::KeyCredentials;

/// Needs that are known at the same time, under way or failed; beyond it a need is refused.
const NEEDS_MAX: usize = 64;
/// How long a failure counts.
const FAILURE_LIFE: Duration = Duration::from_secs(30);

/// Fetches files of keys, and knows the certificates that chains may end at.
#[async_trait]
pub trait FetchKey: Send + Sync + Debug {
    /// The file at the need's URL. `Err`: what went wrong, in one line.
    async fn fetch(&self, need: &KeyNeed, who: Option<&KeyCredentials>) -> Result<Vec<u8>, String>;

    /// Where chains may end.
    async fn roots(&self) -> Arc<Roots>;
}

/// The keys that were fetched so far.
#[derive(Debug, Default)]
pub(super) struct Keys {
    ring: ArcSwap<KeyRing>,
    needs: Mutex<BTreeMap<Question, Arc<Need>>>,
}

/// What is asked for, and in whose name: that one account is refused says nothing of another.
type Question = (KeyNeed, Option<String>);

/// One need: who holds the lock fetches, and finds the last failure in it.
#[derive(Debug, Default)]
struct Need(tokio::sync::Mutex<Option<(Instant, String)>>);

impl Keys {
    /// As they are now.
    pub(super) fn ring(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Brings what is needed. The ring that the caller found wanting: another one may have come meanwhile.
    pub(super) async fn bring(
        &self,
        need: &KeyNeed,
        who: Option<&KeyCredentials>,
        wanting: &Arc<KeyRing>,
        fetcher: &dyn FetchKey,
        now: SystemTime,
    ) -> Result<(), String> {
        let place = self.place((need.clone(), who.map(|who| who.client_id.clone())))?;
        let mut failure = place.0.lock().await;
        if !Arc::ptr_eq(wanting, &self.ring()) {
            return Ok(());
        }
        if let Some((at, why)) = failure.as_ref().filter(|(at, _)| at.elapsed() < FAILURE_LIFE) {
            return Err(format!("{why} ({} s ago)", at.elapsed().as_secs()));
        }
        match self.fetch(need, who, fetcher, now).await {
            Ok(()) => {
                *failure = None;
                tracing::info!(url = need.url(), "webhook_key_fetched");
                Ok(())
            }
            Err(why) => {
                tracing::error!(url = need.url(), %why, "webhook_key_not_fetched");
                *failure = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    async fn fetch(
        &self,
        need: &KeyNeed,
        who: Option<&KeyCredentials>,
        fetcher: &dyn FetchKey,
        now: SystemTime,
    ) -> Result<(), String> {
        let (file, roots) = (fetcher.fetch(need, who).await?, fetcher.roots().await);
        let fetched = need.accept(&file, &roots, now)?;
        if fetched.until() <= now {
            return Err("the key has ended: what it signs is not taken any more".to_owned());
        }
        self.ring.rcu(|ring| KeyRing::clone(ring).with(fetched.clone(), now));
        Ok(())
    }

    /// The place of a need. Those that nobody waits for and that have not failed of late make room.
    fn place(&self, question: Question) -> Result<Arc<Need>, String> {
        let mut needs = self.needs.lock().unwrap_or_else(PoisonError::into_inner);
        if needs.len() >= NEEDS_MAX && !needs.contains_key(&question) {
            needs.retain(|_, place| {
                let is_failed = |(at, _): &(Instant, String)| at.elapsed() < FAILURE_LIFE;
                Arc::strong_count(place) > 1
                    || place.0.try_lock().is_ok_and(|failure| failure.as_ref().is_some_and(is_failed))
            });
            if needs.len() >= NEEDS_MAX {
                return Err("too many keys are being asked for".to_owned());
            }
        }
        Ok(Arc::clone(needs.entry(question).or_default()))
    }
}
