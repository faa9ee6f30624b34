//! Keys that providers bring: one in a window, kept before it is answered, whoever hangs up meanwhile.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tenterhook::ingress::{IngressSettings, KeepError, KeepKey, LearntKey};
use tenterhook::model::{FormerKeys, Registration, SourceName};
use tenterhook::source::Source;
use tenterhook_verify::Verifier;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::support::{Gateway, Post, SECRET, source};
use super::wire::PATIENCE;

const KEY: &str = "b537207f20cbfa02357cf448134da559";

/// Keeps what it is given, as soon as it may, and as it is told.
#[derive(Debug)]
struct Keeper {
    may: Semaphore,
    asked: AtomicUsize,
    kept: Mutex<Vec<LearntKey>>,
    says: Mutex<Option<KeepError>>,
}

#[async_trait]
impl KeepKey for Keeper {
    async fn keep(&self, learnt: LearntKey) -> Result<(), KeepError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.may.acquire().await.unwrap().forget();
        if let Some(error) = self.says.lock().unwrap().take() {
            return Err(error);
        }
        self.kept.lock().unwrap().push(learnt);
        Ok(())
    }
}

impl Keeper {
    fn kept(&self) -> Vec<String> {
        let text = |learnt: &LearntKey| String::from_utf8(learnt.key.expose().to_vec()).unwrap();
        self.kept.lock().unwrap().iter().map(text).collect()
    }

    async fn until(&self, wanted: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !wanted(self) {
            tokio::task::yield_now().await;
            assert!(tokio::time::Instant::now() < deadline, "never as wanted: {self:?}");
        }
    }
}

fn name() -> SourceName {
    "asana".parse().unwrap()
}

/// A gateway with a source of Asana that has no key yet.
async fn gateway(permits: usize) -> (Gateway, Arc<Keeper>) {
    let with_key = source("asana", "asana", SECRET);
    let verifier = Verifier::new(with_key.verifier.scheme().clone(), vec![]).unwrap();
    let asana = Source { verifier, secrets_configured: 0, ..with_key };
    let keeper = Arc::new(Keeper {
        may: Semaphore::new(permits),
        asked: AtomicUsize::new(0),
        kept: Mutex::default(),
        says: Mutex::default(),
    });
    let settings = IngressSettings {
        keeper: Some(Arc::clone(&keeper) as Arc<dyn KeepKey>),
        ..IngressSettings::default()
    };
    (Gateway::start_with(vec![asana], settings).await, keeper)
}

fn open(gateway: &Gateway) {
    let registrations = gateway.ingress.registrations();
    let now = tenterhook::model::Clock::now(gateway.clock.as_ref());
    assert!(registrations.open(&name(), Registration::default(), now).is_some());
}

fn handshake(key: &str) -> Vec<u8> {
    Post::to("/webhooks/asana", "").with("x-hook-secret", key).bytes()
}

#[tokio::test]
async fn a_key_is_learnt_in_a_window_and_never_outside_of_one() {
    let (gateway, keeper) = gateway(10).await;
    let early = gateway.ask(handshake(KEY)).await;
    assert_eq!((early.status, early.header("x-hook-secret")), (401, None));
    let said = gateway.rejections.recent(1).remove(0);
    assert_eq!(said.reason, "unexpected_handshake");
    assert!(said.detail.contains("tenterhook sources pending asana"), "{}", said.detail);

    open(&gateway);
    let answer = gateway.ask(handshake(KEY)).await;
    assert_eq!((answer.status, answer.header("x-hook-secret"), answer.body.as_str()), (200, Some(KEY), ""));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let learnt = keeper.kept.lock().unwrap().remove(0);
    assert_eq!(learnt.key.expose(), KEY.as_bytes());
    assert_eq!((learnt.source, learnt.from), (name(), IpAddr::V4(Ipv4Addr::LOCALHOST)));
    assert_eq!(learnt.former, FormerKeys::For(Duration::from_secs(24 * 3600)));

    let second = gateway.ask(handshake("another-key-of-some-length")).await;
    assert_eq!((second.status, keeper.kept().len()), (401, 0));
    open(&gateway);
    gateway.clock.advance(Duration::from_secs(600));
    assert_eq!(gateway.ask(handshake(KEY)).await.status, 401, "the window is over");
    assert!(keeper.kept().is_empty() && gateway.stored().is_empty());
}

#[tokio::test]
async fn what_is_no_key_is_refused_and_leaves_the_window_open() {
    let (gateway, keeper) = gateway(10).await;
    open(&gateway);
    for wrong in
        ["short", "", "with spaces in between of it", "caf\u{e9}-of-more-than-sixteen", &"k".repeat(600)]
    {
        let answer = gateway.ask(handshake(wrong)).await;
        assert!(matches!(answer.status, 400 | 401), "{wrong}: {answer:?}");
        assert_eq!(answer.header("x-hook-secret"), None);
    }
    let markup = gateway.ask(handshake("<script>alert(1)</script>")).await;
    assert_eq!((markup.status, markup.header("x-hook-secret")), (400, None));
    let signed = Post::to("/webhooks/asana", "{}").with("x-hook-secret", KEY);
    let signed = signed.with("x-hook-signature", "00".repeat(32));
    assert_eq!(gateway.ask(signed.bytes()).await.status, 401, "a key that did not sign");
    let large = Post::to("/webhooks/asana", vec![b'x'; 2 << 20]).with("x-hook-secret", KEY);
    assert_eq!(gateway.ask(large.bytes()).await.status, 413);
    assert_eq!(keeper.asked.load(Ordering::SeqCst), 0);
    assert_eq!(gateway.ask(handshake(KEY)).await.status, 200);
    assert_eq!(keeper.kept(), [KEY]);
}

#[tokio::test]
async fn of_many_that_come_at_once_one_is_taken() {
    let (gateway, keeper) = gateway(10).await;
    open(&gateway);
    let keys: Vec<_> = (0..8).map(|number| format!("key-number-{number}-of-eight")).collect();
    let answers = futures_util::future::join_all(keys.iter().map(|key| gateway.ask(handshake(key)))).await;
    let granted: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(granted.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 401)), "{answers:?}");
    assert_eq!(keeper.kept(), [granted[0].header("x-hook-secret").unwrap()]);
}

#[tokio::test]
async fn nothing_is_answered_before_the_key_is_kept() {
    let (gateway, keeper) = gateway(0).await;
    open(&gateway);
    let asked = gateway.ask(handshake(KEY));
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => panic!("answered: {answer:?}"),
        () = keeper.until(|keeper| keeper.asked.load(Ordering::SeqCst) == 1) => {}
    }
    let meanwhile = gateway.ask(handshake("another-key-of-some-length")).await;
    assert_eq!((meanwhile.status, keeper.kept().len()), (401, 0));
    keeper.may.add_permits(1);
    assert_eq!(asked.await.status, 200);
    assert_eq!(keeper.kept(), [KEY]);
}

#[tokio::test]
async fn a_sender_that_hangs_up_leaves_its_key_and_no_open_window() {
    let (gateway, keeper) = gateway(0).await;
    open(&gateway);
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    socket.write_all(&handshake(KEY)).await.unwrap();
    keeper.until(|keeper| keeper.asked.load(Ordering::SeqCst) == 1).await;
    drop(socket);
    // The gateway has seen that the connection ended once it serves the next one as usual.
    assert_eq!(gateway.ask(handshake("another-key-of-some-length")).await.status, 401);
    keeper.may.add_permits(1);
    keeper.until(|keeper| keeper.kept() == [KEY]).await;
}

#[tokio::test]
async fn a_key_that_cannot_be_kept_is_asked_for_again_in_the_same_window() {
    let (gateway, keeper) = gateway(10).await;
    open(&gateway);
    *keeper.says.lock().unwrap() = Some(KeepError::Failed("the disk is full".to_owned()));
    let failed = gateway.ask(handshake(KEY)).await;
    assert_eq!((failed.status, failed.header("x-hook-secret")), (503, None));
    assert!(failed.header("retry-after").is_some() && !failed.body.contains("disk"));
    assert_eq!(gateway.rejections.recent(1).remove(0).reason, "key_not_kept");
    *keeper.says.lock().unwrap() = Some(KeepError::Unusable("no key of this scheme".to_owned()));
    assert_eq!(gateway.ask(handshake(KEY)).await.status, 400);
    assert_eq!(gateway.ask(handshake(KEY)).await.status, 200);
    assert_eq!(keeper.kept(), [KEY]);
}
