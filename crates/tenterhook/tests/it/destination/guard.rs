//! Names that lead into private networks, through the whole client.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tenterhook::destination::Destination;
use tenterhook::destination::http::{HttpDestination, HttpSettings};
use tenterhook::model::{FailureKind, ManualClock, Outcome};
use tenterhook::net::guard::{Guard, GuardError, Names};

use super::peer::{Part, Peer};
use super::{NOW, deliver, failed, message, settings};

/// Gives its answers in turn, and the last one for ever.
struct Turning(Vec<Vec<IpAddr>>, AtomicUsize);

#[async_trait]
impl Names for Turning {
    async fn lookup(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        let turn = self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1);
        Ok(self.0[turn].clone())
    }
}

fn named(settings: HttpSettings, answers: &[&str]) -> HttpDestination {
    let answers =
        answers.iter().map(|answer| answer.split_whitespace().map(|ip| ip.parse().unwrap()).collect());
    let names = Arc::new(Turning(answers.collect(), AtomicUsize::new(0)));
    HttpDestination::with_names(settings, Arc::new(ManualClock::at(NOW)), names).unwrap()
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_tried_and_refuses_the_start() {
    let peer = Peer::playing([Part::answer("200 OK", "")]).await;
    let url = format!("http://hooks.example.com:{}/", peer.address.port());
    for answer in ["127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "8.8.8.8 127.0.0.1"] {
        let destination = named(settings(&url), &[answer]);
        let reply = deliver(&destination, message(b"{}")).await;
        assert_eq!(reply.outcome, Outcome::NotTried, "{answer}: {}", reply.excerpt);
        assert!(
            reply.excerpt.contains("`hooks.example.com` resolves to the private address"),
            "{}",
            reply.excerpt
        );
        assert!(destination.check().await.unwrap_err().refuses_start);
    }
    assert!(peer.caught().is_empty());
}

#[tokio::test]
async fn every_lookup_is_judged_anew() {
    let answers = vec![vec!["8.8.8.8".parse().unwrap()], vec!["127.0.0.1".parse().unwrap()]];
    let guard = Guard::new(Arc::new(Turning(answers, AtomicUsize::new(0))), false);
    assert!(guard.addresses("hooks.example.com").await.is_ok());
    let turned = guard.addresses("hooks.example.com").await;
    assert!(matches!(turned, Err(GuardError::Private { .. })), "{turned:?}");
}

#[tokio::test]
async fn with_allow_private_the_name_is_connected_to() {
    let peer = Peer::playing([Part::answer("200 OK", "")]).await;
    let mut settings = settings(format!("http://hooks.example.com:{}/", peer.address.port()));
    settings.allow_private = true;
    let destination = named(settings, &["127.0.0.1"]);
    assert_eq!(destination.check().await, Ok(()));
    assert_eq!(deliver(&destination, message(b"{}")).await.outcome, Outcome::Delivered);
    assert_eq!(peer.only().one("host"), format!("hooks.example.com:{}", peer.address.port()));
}

#[tokio::test]
async fn localhost_is_taken_at_its_word() {
    let peer = Peer::playing([Part::answer("200 OK", "")]).await;
    let destination = named(settings(format!("http://localhost:{}/", peer.address.port())), &["127.0.0.1"]);
    assert_eq!(destination.check().await, Ok(()));
    assert_eq!(deliver(&destination, message(b"{}")).await.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_name_without_an_address_is_a_failure_to_connect() {
    let destination = named(settings("http://nowhere.example.com/"), &[""]);
    let reply = deliver(&destination, message(b"{}")).await;
    assert_eq!(reply.outcome, failed(FailureKind::Connect), "{}", reply.excerpt);
    assert!(!destination.check().await.unwrap_err().refuses_start);
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_name_that_only_it_can_resolve() {
    let proxy = Peer::playing([Part::answer("200 OK", "")]).await;
    let mut settings = settings("http://hooks.example.com/in");
    settings.proxy = Some(format!("http://{}", proxy.address));
    let destination = named(settings, &[""]);
    assert_eq!(destination.check().await, Ok(()));
    assert_eq!(deliver(&destination, message(b"{}")).await.outcome, Outcome::Delivered);
    assert_eq!(proxy.only().head[0], "POST http://hooks.example.com/in HTTP/1.1");
}
