//! Keys: which requests are the same event, and that there is exactly one of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tenterhook::ingress::IngressSettings;
use tenterhook::model::{DedupePolicy, OnRepeat};
use tenterhook::source::{IdRule, Source};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::support::{Gateway, Mood, Post, SECRET, WHSEC, github, source, standard, unsigned};
use super::wire::read_answer;

/// 100 copies at once, each on a connection of its own, 50 times over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_concurrent_copies_exactly_one_is_an_event() {
    const COPIES: usize = 100;
    const ROUNDS: usize = 50;
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let mut sockets = Vec::new();
    for _ in 0..COPIES {
        sockets.push(TcpStream::connect(gateway.address).await.unwrap());
    }
    for round in 0..ROUNDS {
        let bytes = github(&gh, &format!("round-{round}"), "{}").bytes();
        let copies = sockets.iter_mut().map(|socket| async {
            socket.write_all(&bytes).await.unwrap();
            let answer = read_answer(socket).await.unwrap();
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            (answer.status, body["id"].as_str().unwrap().to_owned())
        });
        let answers = futures_util::future::join_all(copies).await;
        let new = answers.iter().filter(|(status, _)| *status == 202).count();
        let known = answers.iter().filter(|(status, _)| *status == 200).count();
        assert_eq!((new, known), (1, COPIES - 1), "round {round}");
        assert_eq!(answers.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), 1, "round {round}");
    }
    let ledger = gateway.store.ledger().await;
    assert_eq!((ledger.events.accepted, ledger.owed), (ROUNDS as u64, ROUNDS as u64));
}

/// Found by the attack cases: a signed id that was not ASCII was refused as not authentic.
#[tokio::test]
async fn an_id_in_a_header_is_any_text_in_utf8_and_every_byte_of_it_counts() {
    let std = source("std", "standard-webhooks", WHSEC);
    let gateway = Gateway::start(vec![std.clone()]).await;
    let ids = ["é", "e\u{301}", "evt_1", "evt\u{200b}_1", "日本", "\u{a0}"];
    for id in ids {
        let bytes = standard(&std, id, "{}").bytes();
        assert_eq!(gateway.ask(&bytes).await.status, 202, "{id:?}");
        assert_eq!(gateway.ask(&bytes).await.status, 200, "{id:?}");
    }
    let known: Vec<_> = gateway.stored().iter().map(|one| one.admitted.provider_event_id.clone()).collect();
    assert_eq!(known, ids.map(|id| Some(id.to_owned())));
    let no_text = standard(&std, "evt_2", "{}").setting("webhook-id", b"evt_\xff");
    assert_eq!(gateway.ask(no_text.bytes()).await.status, 401);
}

#[tokio::test]
async fn a_commit_that_outlasts_the_deadline_is_503_and_the_retry_a_duplicate() {
    let gh = source("gh", "github", SECRET);
    let settings =
        IngressSettings { commit_timeout: Duration::from_millis(50), ..IngressSettings::default() };
    let gateway = Gateway::start_with(vec![gh.clone()], settings).await;
    let release = Arc::new(Notify::new());
    gateway.store.set_mood(Mood::Stalled(Arc::clone(&release)));
    let post = github(&gh, "d", "{}");
    let answer = gateway.ask(post.bytes()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert_eq!(gateway.rejections.recent(1)[0].reason, "commit_timeout");
    assert_eq!(gateway.stored().len(), 0, "nothing was durable when it was answered");
    release.notify_one();
    super::until(|| async { gateway.stored().len() == 1 }).await;
    gateway.store.set_mood(Mood::Well);
    assert_eq!(gateway.ask(post.bytes()).await.status, 200);
    assert_eq!(gateway.stored().len(), 1);
}

#[tokio::test]
async fn no_copy_is_answered_before_the_first_is_durable() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let release = Arc::new(Notify::new());
    gateway.store.set_mood(Mood::Stalled(Arc::clone(&release)));
    let bytes = github(&gh, "d", "{}").bytes();
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = TcpStream::connect(gateway.address).await.unwrap();
        socket.write_all(&bytes).await.unwrap();
        sockets.push(socket);
    }
    let mut byte = [0];
    for socket in &sockets {
        let early = tokio::time::timeout(Duration::from_millis(50), socket.peek(&mut byte)).await;
        assert!(early.is_err(), "answered while nothing is durable");
    }
    let notifying = async {
        loop {
            release.notify_waiters();
            tokio::task::yield_now().await;
        }
    };
    let answering = async {
        let mut statuses = Vec::new();
        for socket in &mut sockets {
            statuses.push(read_answer(socket).await.unwrap().status);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 202]);
    };
    tokio::select! {
        () = notifying => {}
        () = answering => {}
    }
}

#[tokio::test]
async fn ids_are_told_apart_byte_by_byte() {
    let gateway = Gateway::start(vec![unsigned("any")]).await;
    let long = "a".repeat(500_000);
    let ids = [
        "evt_1".to_owned(),
        "EVT_1".to_owned(),
        " evt_1".to_owned(),
        "evt_1 ".to_owned(),
        "é".to_owned(),
        "e\u{301}".to_owned(),
        "evt\u{200b}_1".to_owned(),
        "evt\0_1".to_owned(),
        "evt".to_owned(),
        "evt\0".to_owned(),
        long.clone(),
        format!("{}b", &long[1..]),
        format!("{long}a"),
    ];
    for id in &ids {
        let body = serde_json::json!({"id": id, "type": "t"}).to_string();
        assert_eq!(gateway.ask(Post::to("/webhooks/any", &body).bytes()).await.status, 202, "{id:.40}");
        assert_eq!(gateway.ask(Post::to("/webhooks/any", &body).bytes()).await.status, 200, "{id:.40}");
    }
    assert_eq!(gateway.stored().len(), ids.len());
    let shown = gateway.stored().iter().map(|s| s.admitted.provider_event_id.as_ref().unwrap().len()).max();
    assert!(shown.unwrap() <= 1024, "what is shown is bounded");
}

#[tokio::test]
async fn the_last_of_duplicate_members_is_the_id() {
    let gateway = Gateway::start(vec![unsigned("any")]).await;
    let answer = gateway.ask(Post::to("/webhooks/any", r#"{"id":"a","type":"x","id":"b"}"#).bytes()).await;
    assert_eq!(answer.status, 202);
    assert_eq!(gateway.stored()[0].admitted.provider_event_id.as_deref(), Some("b"));
    assert_eq!(gateway.ask(Post::to("/webhooks/any", r#"{"id":"a"}"#).bytes()).await.status, 202);
}

#[tokio::test]
async fn a_key_belongs_to_its_source() {
    let gateway = Gateway::start(vec![unsigned("one"), unsigned("two")]).await;
    for path in ["/webhooks/one", "/webhooks/two"] {
        assert_eq!(gateway.ask(Post::to(path, r#"{"id":"shared"}"#).bytes()).await.status, 202, "DED-08");
    }
}

#[tokio::test]
async fn a_forged_id_claims_nothing() {
    let std = source("std", "standard-webhooks", WHSEC);
    let gateway = Gateway::start(vec![std.clone()]).await;
    let genuine = standard(&std, "msg_target", r#"{"n":1}"#);
    for signature in ["v1,AAAA", &format!("v1,{}=", "A".repeat(43))] {
        let forged = genuine.clone().setting("webhook-signature", signature);
        assert_eq!(gateway.ask(forged.bytes()).await.status, 401);
    }
    assert_eq!(gateway.ask(genuine.bytes()).await.status, 202, "DED-09");
}

#[tokio::test]
async fn the_same_signed_bytes_under_another_unsigned_id_are_flagged_or_a_duplicate_as_the_source_says() {
    let flagging = source("flagging", "github", SECRET);
    let dropping = Source {
        dedupe: DedupePolicy { on_repeat: OnRepeat::Duplicate, ..DedupePolicy::default() },
        ..source("dropping", "github", SECRET)
    };
    let gateway = Gateway::start(vec![flagging.clone(), dropping.clone()]).await;
    for (source, status) in [(&flagging, 202), (&dropping, 200)] {
        assert_eq!(gateway.ask(github(source, "one", "{}").bytes()).await.status, 202);
        assert_eq!(gateway.ask(github(source, "two", "{}").bytes()).await.status, status, "TIME-11");
        assert_eq!(gateway.ask(github(source, "three", "{ }").bytes()).await.status, 202, "other bytes");
    }
    let events = gateway.store_events().await;
    let suspects: Vec<_> = events.iter().filter(|event| event.replay_suspect).collect();
    assert_eq!(suspects.len(), 1);
    assert_eq!(suspects[0].provider_event_id.as_deref(), Some("two"));
}

#[tokio::test]
async fn a_signed_id_needs_no_repeat_rule() {
    let std = source("std", "standard-webhooks", WHSEC);
    let stripe = source("stripe", "stripe", SECRET);
    let gateway = Gateway::start(vec![std.clone(), stripe.clone()]).await;
    gateway.ask(standard(&std, "msg_1", "{}").bytes()).await;
    gateway.ask(Post::signed(&stripe, "", &[], r#"{"id":"evt_1","type":"t"}"#).bytes()).await;
    let stored = gateway.stored();
    assert_eq!(stored.len(), 2);
    assert!(stored.iter().all(|s| s.admitted.repeat.is_none() && s.admitted.key.is_some()));
}

#[tokio::test]
async fn without_an_id_a_signed_time_makes_a_key_and_nothing_else_does() {
    let stripe = source("stripe", "stripe", SECRET);
    let gh = source("gh", "github", SECRET);
    let digest = Source { event_id: IdRule::Digest, ..source("digest", "github", SECRET) };
    let gateway = Gateway::start(vec![stripe.clone(), gh.clone(), digest.clone()]).await;

    let timed = Post::signed(&stripe, "", &[], r#"{"no":"id"}"#);
    assert_eq!(gateway.ask(timed.bytes()).await.status, 202);
    assert_eq!(gateway.ask(timed.bytes()).await.status, 200, "the same transmission");
    let stored = gateway.stored();
    assert_eq!(
        (stored[0].admitted.provider_event_id.as_deref(), stored[0].admitted.key.is_some()),
        (None, true)
    );

    let untimed = github(&gh, "d", "{}").without("x-github-delivery");
    assert_eq!(gateway.ask(untimed.bytes()).await.status, 202);
    assert_eq!(gateway.ask(untimed.bytes()).await.status, 202, "two pings are two events");
    let flagged = gateway.store_events().await.iter().filter(|event| event.replay_suspect).count();
    assert_eq!(flagged, 1);

    for (delivery, body, status) in [("a", "{}", 202), ("b", "{}", 200), ("c", "{ }", 202)] {
        assert_eq!(gateway.ask(github(&digest, delivery, body).bytes()).await.status, status, "{delivery}");
    }
}

#[tokio::test]
async fn a_second_family_of_header_names_gives_a_captured_request_no_new_id() {
    let svix = source("svix", "svix", WHSEC);
    let gateway = Gateway::start(vec![svix.clone()]).await;
    let captured = standard(&svix, "msg_1", r#"{"type":"ping"}"#);
    let renamed = Post {
        headers: captured
            .headers
            .iter()
            .map(|(name, value)| (name.replace("svix-", "webhook-"), value.clone()))
            .collect(),
        ..captured.clone()
    };
    assert_eq!(gateway.ask(renamed.bytes()).await.status, 202);
    for (name, value) in [("svix-id", "msg_2"), ("svix-timestamp", "1700000001")] {
        let forged = renamed.clone().with(name, value);
        assert_eq!(gateway.ask(forged.bytes()).await.status, 401, "{name} is not the signed one");
        let forged = captured.clone().with(&name.replace("svix-", "webhook-"), value);
        assert_eq!(gateway.ask(forged.bytes()).await.status, 401, "{name} is not the signed one");
    }
    assert_eq!(gateway.ask(captured.with("webhook-id", "msg_1").bytes()).await.status, 200, "they agree");
    assert_eq!(gateway.stored().len(), 1);
}

#[tokio::test]
async fn a_form_whose_borders_were_moved_is_flagged_as_a_replay() {
    let public_url = Some("https://hooks.example.com/webhooks/tw".to_owned());
    let tw = Source { public_url, ..source("tw", "twilio", "twilio-auth-token-of-32-bytes-xx") };
    let gateway = Gateway::start(vec![tw.clone()]).await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let good = Post::signed(&tw, "", &form, "MessageSid=SM1&MessageStatus=sent");
    assert_eq!(gateway.ask(good.bytes()).await.status, 202);
    assert_eq!(gateway.ask(good.bytes()).await.status, 200, "the same is the same");
    // Twilio signs names and values one after the other: another id is made of the same signed text.
    let moved = Post { body: b"MessageSidSM1=&MessageStatus=sent".to_vec(), ..good };
    assert_eq!(gateway.ask(moved.bytes()).await.status, 202, "nothing real may be dropped");
    let flagged = gateway.store_events().await.iter().filter(|event| event.replay_suspect).count();
    assert_eq!(flagged, 1);
}
