//! The load of this rig: senders, and twins, which send the same event at nearly the same time over two connections, so
//! that the second often comes while the first is on its way to the disk. They share a journal. It does not know what
//! happens to the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;
use tokio::sync::watch;

use crate::lab::load::{self, Sender};
use crate::lab::{Addresses, Journal, Load, PATIENCE};

/// Senders at work side by side.
const SENDERS: usize = 8;
/// Pairs of twins at work side by side.
const TWINS: u64 = 2;
/// Events that may be on their way at once: the gateway may have them, and no journal has them yet.
pub(super) const ON_THEIR_WAY: usize = SENDERS + TWINS as usize;

/// All of them.
pub(super) struct Senders {
    load: Load,
    at: watch::Sender<Option<Addresses>>,
    stop: Arc<AtomicBool>,
    twins: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.twins.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Senders {
    /// Starts them; they wait until they are told where the gateway is.
    pub(super) fn start(seed: u64) -> Self {
        let (at, watched) = watch::channel(None);
        let load = Load::start(SENDERS, &format!("p{seed:x}"));
        let stop = Arc::<AtomicBool>::default();
        let twins = |number| {
            let random = fastrand::Rng::with_seed(seed ^ number);
            let name = format!("t{seed:x}-{number}");
            tokio::spawn(twins(name, Arc::clone(&load.journal), watched.clone(), Arc::clone(&stop), random))
        };
        let twins = (0..TWINS).map(twins).collect();
        Self { load, at, stop, twins }
    }

    /// The gateway is here now; `None`: nothing is begun for now.
    pub(super) fn aim(&self, at: Option<&Addresses>) {
        self.at.send_replace(at.cloned());
        self.load.aim(at);
    }

    /// What they know.
    pub(super) fn journal(&self) -> &Journal {
        &self.load.journal
    }

    /// Waits for a random moment at full load: up to `events` more acknowledgements and a little.
    pub(super) async fn moment(&self, random: &mut fastrand::Rng, events: usize) -> anyhow::Result<()> {
        let wanted = self.journal().acked() + random.usize(1..=events);
        anyhow::ensure!(self.load.acked(wanted, PATIENCE).await, "the gateway does not acknowledge any more");
        tokio::time::sleep(Duration::from_micros(random.u64(0..20_000))).await;
        Ok(())
    }

    /// Ends them; each finishes the event that it has, which takes a gateway that answers.
    pub(super) async fn finish(mut self) -> anyhow::Result<Arc<Journal>> {
        self.stop.store(true, Ordering::SeqCst);
        for pair in std::mem::take(&mut self.twins) {
            tokio::time::timeout(PATIENCE, pair).await.context("twins are never answered 2xx")???;
        }
        // `Load::finish` wants it by value, and `Drop` does not let it be moved out.
        let load = std::mem::replace(&mut self.load, Load::start(0, ""));
        load.finish().await
    }
}

async fn twins(
    name: String,
    journal: Arc<Journal>,
    mut at: watch::Receiver<Option<Addresses>>,
    stop: Arc<AtomicBool>,
    mut random: fastrand::Rng,
) -> anyhow::Result<()> {
    let (first, second) = (Sender::new()?, Sender::new()?);
    for count in 0.. {
        let id = format!("{name}-{count}");
        let body = load::body(&id);
        loop {
            if stop.load(Ordering::SeqCst) && !journal.events().contains_key(&id) {
                return Ok(());
            }
            let here = at.wait_for(Option::is_some).await?.clone().context("it was waited for")?;
            let apart = Duration::from_micros(random.u64(0..4000));
            let send = async |sender: &Sender, after: Duration| {
                tokio::time::sleep(after).await;
                let started = Instant::now();
                let answer = sender.send(&here, &id, &body, PATIENCE).await;
                journal.note(&id, answer.as_ref(), started);
                matches!(answer, Some((200..300, _)))
            };
            let answers = tokio::join!(send(&first, Duration::ZERO), send(&second, apart));
            if answers.0 || answers.1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

/// Whether an answer says that the event was already there, under the id that it was given then.
pub(super) fn is_duplicate_of(answer: Option<&(u16, Value)>, id: Option<&str>) -> bool {
    answer.is_some_and(|(status, body)| {
        (200..300).contains(status) && body["status"] == "duplicate" && body["id"].as_str() == id
    })
}
