//! The first crash test: the real binary under load, SIGKILL at random moments, restart; then the sender's journal, the
//! handler's journal and the ledger are compared.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::rig::handler::Handler;
use crate::rig::sender::{SECRET, Sender};
use crate::rig::{Addresses, Site};

const KILLS: usize = 50;
const SENDERS: usize = 16;

/// What the senders know: for each id whether it was answered 2xx, and in which state the gateway said it was.
#[derive(Default)]
struct Journal {
    acked: Mutex<HashMap<String, String>>,
    sent: AtomicUsize,
    duplicates: AtomicUsize,
    stop: AtomicBool,
}

impl Journal {
    /// Waits until `count` events are acknowledged.
    async fn acked_at_least(&self, count: usize) {
        let deadline = tokio::time::Instant::now() + crate::rig::PATIENCE;
        let mut look = tokio::time::interval(Duration::from_millis(2));
        while self.acked.lock().unwrap().len() < count {
            look.tick().await;
            assert!(tokio::time::Instant::now() < deadline, "nothing is acknowledged any more");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_under_load_lose_nothing_and_the_ledger_is_exact() {
    let seed = seed();
    println!("seed {seed} (TENTERHOOK_SEED={seed} repeats the moments)");
    let mut random = fastrand::Rng::with_seed(seed);
    let handler = Handler::start().await;
    let site = site(&handler);
    let journal = Arc::new(Journal::default());
    let (moved, at) = watch::channel(None);
    let senders: Vec<_> =
        (0..SENDERS).map(|number| tokio::spawn(send(number, Arc::clone(&journal), at.clone()))).collect();

    for kill in 0..KILLS {
        let gateway = site.start().await;
        moved.send_replace(Some(gateway.at.clone()));
        let acked_before = journal.acked.lock().unwrap().len();
        // Every other kill comes at a random time, however far the gateway is; the rest wait for a random number of
        // acknowledgements first, so that there is load to lose on a busy machine, too.
        let wanted = if kill % 2 == 0 { 0 } else { random.usize(1..40) };
        journal.acked_at_least(acked_before + wanted).await;
        let run = Duration::from_millis(random.u64(1..200));
        tokio::time::timeout(run, std::future::pending::<()>()).await.unwrap_err();
        moved.send_replace(None);
        gateway.kill().await;
        let acked = journal.acked.lock().unwrap().len();
        println!("kill {kill:2} after {run:?}: {} acked meanwhile", acked - acked_before);
    }

    let gateway = site.start().await;
    moved.send_replace(Some(gateway.at.clone()));
    journal.stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.await.unwrap();
    }
    let sent = journal.sent.load(Ordering::SeqCst) as u64;
    let ledger = gateway.ledger_when(|ledger| ledger["deliveries"]["delivered"] == sent).await;
    assert_eq!(ledger["events"]["accepted"], sent, "each id is one event, whatever was sent twice: {ledger}");
    assert_eq!(ledger["deliveries"]["owed"], sent, "{ledger}");
    assert_eq!(ledger["deliveries"]["dead"], 0, "{ledger}");
    let counted = gateway.admin("/api/v1/ledger?verify=true").await;
    assert_eq!(counted["balanced"], true, "{counted}");

    let delivered = handler.delivered();
    let acked = journal.acked.lock().unwrap().clone();
    assert_eq!(acked.len() as u64, sent, "every event was acknowledged in the end");
    for id in acked.keys() {
        assert!(delivered.contains_key(body(id).as_bytes()), "acknowledged, never delivered: {id}");
    }
    assert_eq!(delivered.len() as u64, sent, "nothing was delivered that was not sent");
    let twice = delivered.values().filter(|times| **times > 1).count();
    let duplicates = journal.duplicates.load(Ordering::SeqCst);
    println!(
        "{sent} events, {KILLS} kills: 0 lost, {duplicates} answered duplicate, {twice} delivered again"
    );
    assert!(sent >= (KILLS / 2) as u64, "half of the kills waited for events: {sent}");
    assert!(gateway.stop().await.success());
}

fn seed() -> u64 {
    std::env::var("TENTERHOOK_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..))
}

fn site(handler: &Handler) -> Site {
    let config = format!(
        "[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n\
         [destinations.app]\ntype = \"http\"\nurl = \"{}\"\nconcurrency = 16\n\
         retry = {{ base = \"100ms\", cap = \"1s\" }}\n\
         [[routes]]\nsource = \"github\"\ndestination = \"app\"\n",
        handler.url()
    );
    Site::new(&config).env("RIG_SECRET", SECRET)
}

fn body(id: &str) -> String {
    format!("{{\"ref\":\"refs/heads/main\",\"delivery\":\"{id}\",\"padding\":\"{}\"}}", "x".repeat(400))
}

/// Sends one event after the other; each again and again, across restarts, until it is answered 2xx.
async fn send(number: usize, journal: Arc<Journal>, mut at: watch::Receiver<Option<Addresses>>) {
    let sender = Sender::new("github");
    for count in 0.. {
        if journal.stop.load(Ordering::SeqCst) {
            return;
        }
        let id = format!("event-{number}-{count}");
        journal.sent.fetch_add(1, Ordering::SeqCst);
        loop {
            let here = at.wait_for(Option::is_some).await.unwrap().clone().unwrap();
            let url = format!("{}/webhooks/github", here.ingress);
            let Some((status, answer)) = sender.github(&url, &id, body(&id).as_bytes()).await else {
                // No answer: the gateway is gone, and the next one has not said where it is.
                tokio::task::yield_now().await;
                continue;
            };
            if status.is_success() {
                let state = answer["status"].as_str().unwrap().to_owned();
                assert!(state == "accepted" || state == "duplicate", "{answer}");
                if state == "duplicate" {
                    journal.duplicates.fetch_add(1, Ordering::SeqCst);
                }
                journal.acked.lock().unwrap().insert(id, state);
                break;
            }
            assert_eq!(status.as_u16(), 503, "{answer}");
        }
    }
}
