//! Registers sources at their providers: opens the window, and keeps the key that arrives in it. The key is on disk and counts
//! before ingress answers; a reload and a key never overtake one another.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use tenterhook_verify::Secret;

use super::Gateway;
use crate::config::{Config, learnt};
use crate::ingress::{KeepError, KeepKey, LearntKey};
use crate::model::{Registration, SourceName, Timestamp};
use crate::ops::live::RegistrationError;
use crate::source::Source;

/// The gateway as ingress sees it.
#[derive(Debug)]
pub(super) struct Keeper(pub(super) Weak<Gateway>);

#[async_trait]
impl KeepKey for Keeper {
    async fn keep(&self, key: LearntKey) -> Result<(), KeepError> {
        let gateway = self.0.upgrade().ok_or_else(|| failed("the gateway stops"))?;
        gateway.keep(key).await
    }
}

fn failed(why: impl Into<String>) -> KeepError {
    KeepError::Failed(why.into())
}

impl Gateway {
    /// Opens the window of a source, or closes it.
    pub(super) fn register(
        &self,
        source: &SourceName,
        order: Registration,
    ) -> Result<Option<Timestamp>, RegistrationError> {
        let config = self.config();
        let known = config.sources.iter().find(|known| known.name == *source);
        let known = known.ok_or(RegistrationError::UnknownSource)?;
        if !known.handshakes.await_registration() {
            return Err(RegistrationError::NothingToAwait);
        }
        if known.handshakes.learn() && learnt::directory(&config.store.url).is_none() {
            return Err(RegistrationError::NowhereToKeep);
        }
        Ok(self.ingress().registrations().open(source, order, self.clock().now()))
    }

    /// Durable first, then in place, then on the record.
    async fn keep(&self, learnt: LearntKey) -> Result<(), KeepError> {
        let LearntKey { source: name, key, former, from } = learnt;
        let _no_reload_meanwhile = self.one_at_a_time().await;
        let config = self.config();
        let source = config.sources.iter().find(|source| source.name == name);
        let source = source.ok_or_else(|| failed("the source is not configured any more"))?;
        if source.verifier.with_secrets(vec![key.clone()]).is_err() {
            return Err(KeepError::Unusable("what arrived is no key of this scheme".to_owned()));
        }
        let directory =
            learnt::directory(&config.store.url).ok_or_else(|| failed("the store is in memory"))?;
        let (to_write, now) = (name.clone(), self.clock().wall_now());
        let written =
            tokio::task::spawn_blocking(move || learnt::add(&directory, &to_write, &key, former, now));
        let secrets = written.await.map_err(|_| failed("writing it failed"))?.map_err(failed)?;
        let renewed =
            with_learnt(source, secrets).ok_or_else(|| failed("a learnt key is no key of this scheme"))?;
        self.replace(with_source(&config, renewed));
        self.record("gateway", "learn", format!("{name}: a key from {from}")).await;
        Ok(())
    }
}

/// A source with other learnt keys behind those of the config.
fn with_learnt(source: &Source, learnt: Vec<Secret>) -> Option<Source> {
    let mut secrets = source.verifier.secrets().to_vec();
    secrets.truncate(source.secrets_configured);
    secrets.extend(learnt);
    let verifier = source.verifier.with_secrets(secrets).ok()?;
    Some(Source { verifier, ..source.clone() })
}

/// A config with one source in place of the one of its name, which waits for no key any more.
fn with_source(config: &Config, source: Source) -> Config {
    let mut next = config.clone();
    let key = format!("sources.{}", source.name);
    next.warnings.retain(|warning| warning.key != key || warning.message != learnt::NO_KEY_YET);
    let source = Arc::new(source);
    for place in next.sources.iter_mut().filter(|place| place.name == source.name) {
        *place = Arc::clone(&source);
    }
    next
}
