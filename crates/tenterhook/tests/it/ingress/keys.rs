//! Keys that live at a provider: fetched once for all who need one, kept, and not asked for again and again where they cannot be
//! had. A stand-in answers in the provider's place.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use data_encoding::BASE64;
use tenterhook::ingress::{FetchKey, IngressSettings};
use tenterhook::source::{KeyCredentials, Source};
use tenterhook_verify::remote::Roots;
use tenterhook_verify::{KeyNeed, Verifier};

use super::support::{Gateway, Post, SECRET, catalog, source};

/// Answers as the provider would.
#[derive(Debug)]
struct StandIn {
    file: Vec<u8>,
    fetched: AtomicUsize,
    is_down: AtomicBool,
}

#[async_trait]
impl FetchKey for StandIn {
    async fn fetch(&self, need: &KeyNeed, _: Option<&KeyCredentials>) -> Result<Vec<u8>, String> {
        assert!(need.url().starts_with("https://api.travis-ci.com/"), "{}", need.url());
        self.fetched.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if self.is_down.load(Ordering::SeqCst) {
            Err("nobody is there".to_owned())
        } else {
            Ok(self.file.clone())
        }
    }

    async fn roots(&self) -> Arc<Roots> {
        Arc::default()
    }
}

/// A request of Travis CI with the file that holds its key, and a gateway that receives it.
async fn travis() -> (Gateway, Arc<StandIn>, Post) {
    let vectors =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tenterhook-verify/tests/vectors/travis-ci.json");
    let vectors: Vec<serde_json::Value> =
        serde_json::from_str(&fs::read_to_string(vectors).unwrap()).unwrap();
    let valid = vectors.iter().find(|vector| vector["expect"] == "valid").unwrap();
    let key = valid["public_key_pem"].as_str().unwrap();
    let config = serde_json::json!({ "config": { "notifications": { "webhook": { "public_key": key } } } });
    let stand_in = Arc::new(StandIn {
        file: config.to_string().into_bytes(),
        fetched: AtomicUsize::new(0),
        is_down: AtomicBool::new(false),
    });
    let verifier = Verifier::new(catalog("travis-ci").scheme.clone(), vec![]).unwrap();
    let travis = Source { verifier, ..source_of_travis() };
    let settings = IngressSettings {
        keys: Some(Arc::clone(&stand_in) as Arc<dyn FetchKey>),
        ..IngressSettings::default()
    };
    let gateway = Gateway::start_with(vec![travis], settings).await;
    let body = BASE64.decode(valid["body_b64"].as_str().unwrap().as_bytes()).unwrap();
    let mut post = Post::to("/webhooks/travis", body);
    for (name, value) in valid["headers"].as_object().unwrap() {
        post = post.with(name, value.as_str().unwrap());
    }
    (gateway, stand_in, post)
}

fn source_of_travis() -> Source {
    let provider = catalog("travis-ci");
    Source {
        provider: Some(provider),
        path: "/webhooks/travis".to_owned(),
        ..source("travis", "github", SECRET)
    }
}

#[tokio::test]
async fn a_providers_key_is_fetched_once_for_all_who_need_it() {
    let (gateway, stand_in, post) = travis().await;
    let bytes = post.bytes();
    let (a, b, c) = tokio::join!(gateway.ask(&bytes), gateway.ask(&bytes), gateway.ask(&bytes));
    assert!([&a, &b, &c].iter().all(|answer| matches!(answer.status, 200 | 202)), "{a:?} {b:?} {c:?}");
    assert_eq!(stand_in.fetched.load(Ordering::SeqCst), 1);
    let forged = Post { body: [post.body.as_slice(), b"&x=1"].concat(), ..post.clone() };
    let forged = forged.setting("signature", BASE64.encode(&[7; 256]));
    assert_eq!(gateway.ask(forged.bytes()).await.status, 401);
    assert_eq!(stand_in.fetched.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_key_that_cannot_be_had_is_asked_for_once_and_the_sender_is_told_to_come_again() {
    let (gateway, stand_in, post) = travis().await;
    stand_in.is_down.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        let answer = gateway.ask(post.bytes()).await;
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(stand_in.fetched.load(Ordering::SeqCst), 1);
    assert!(gateway.stored().is_empty());
}
