//! Who is believed: attack cases against verification, as they arrive on the wire.

use std::time::Duration;

use tenterhook_verify::spec::OneOrMany;
use tenterhook_verify::{SchemeSpec, Secret, Verifier};

use super::support::{Gateway, NOW, Post, SECRET, WHSEC, catalog, custom, github, source, standard};
use super::wire::{Answer, talk};

const BODY: &str = r#"{"id":"evt_atk","type":"ping","created":1700000000,"data":{"amount":1000}}"#;

/// The answer without its correlation id, in bytes as they would be compared.
fn anonymous(answer: &Answer) -> String {
    let id = answer.header("tenterhook-correlation-id").unwrap();
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "date" | "connection"))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort();
    format!("{}\n{}\n{}", answer.status, headers.join("\n"), answer.body).replace(id, "ID")
}

#[tokio::test]
async fn every_way_of_not_being_authentic_is_401_and_looks_the_same() {
    let gh = source("gh", "github", SECRET);
    let other = source("gh", "github", "another secret of 32 bytes here!");
    let good = github(&gh, "d", BODY);
    let signature = String::from_utf8(good.header("x-hub-signature-256").to_vec()).unwrap();
    let name = "x-hub-signature-256";
    let zeros = format!("sha256={}", "0".repeat(64));
    let keyed = |secret: &str| {
        let verifier = Verifier::new(catalog("github").scheme.clone(), vec![Secret::new(secret)]).unwrap();
        github(&tenterhook::source::Source { verifier, ..source("gh", "github", SECRET) }, "d", BODY)
    };
    let cases = [
        ("AUTH-01 none", good.clone().without(name)),
        ("AUTH-02 empty", good.clone().setting(name, "")),
        ("AUTH-02 prefix only", good.clone().setting(name, "sha256=")),
        ("AUTH-02 null", good.clone().setting(name, "sha256=null")),
        ("AUTH-04 a prefix of it", good.clone().setting(name, &signature[..7 + 32])),
        ("AUTH-04 one digit short", good.clone().setting(name, &signature[..7 + 63])),
        ("AUTH-04 digits after it", good.clone().setting(name, format!("{signature}00"))),
        ("AUTH-04 a no-break space after it", good.clone().setting(name, format!("{signature}\u{a0}"))),
        ("AUTH-05 wrong", good.clone().setting(name, &zeros)),
        ("AUTH-07 the reference as the secret", keyed("env:GH_SECRET")),
        ("AUTH-18 another source's secret", github(&other, "d", BODY)),
        ("AUTH-19 a newline added", Post { body: format!("{BODY}\n").into_bytes(), ..good.clone() }),
        ("AUTH-19 spaces added", Post { body: BODY.replace(',', ", ").into_bytes(), ..good.clone() }),
        ("AUTH-19 a BOM added", Post { body: format!("\u{feff}{BODY}").into_bytes(), ..good.clone() }),
        ("AUTH-21 the underscore twin", good.clone().without(name).with("X_Hub_Signature_256", &signature)),
        (
            "AUTH-21 in the query",
            Post { target: format!("/webhooks/gh?{name}={signature}"), ..good.clone().without(name) },
        ),
        ("AUTH-22 bytes of no text", good.clone().setting(name, b"sha256=\xff\xfe\xfd")),
        ("AUTH-31 from the loopback", good.clone().without(name).with("x-forwarded-for", "127.0.0.1")),
        ("twice the same", good.clone().with(name, &signature)),
        ("twice, the good one first", good.clone().with(name, &zeros)),
        ("twice, the good one last", good.clone().setting(name, &zeros).with(name, &signature)),
    ];
    let gateway = Gateway::start(vec![gh]).await;
    let mut first = None;
    for (case, post) in cases {
        let answer = gateway.ask(post.bytes()).await;
        assert_eq!(answer.status, 401, "{case}");
        let told = anonymous(&answer);
        assert_eq!(first.get_or_insert_with(|| told.clone()), &told, "{case}");
    }
    assert_eq!(gateway.store.asked(), 0, "R8: the store was bothered with what nobody vouches for");
    assert_eq!(gateway.ask(good.bytes()).await.status, 202, "none of them burnt the key");
}

#[tokio::test]
async fn refusals_are_listed_with_their_reason_and_without_anything_computed_from_the_secret() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let good = github(&gh, "d", BODY);
    let signature = String::from_utf8(good.header("x-hub-signature-256").to_vec()).unwrap();
    let wrong = good.setting("x-hub-signature-256", format!("sha256={}", "0".repeat(64)));
    let answer = gateway.ask(wrong.bytes()).await;
    let listed = gateway.rejections.recent(10);
    let last = listed.first().expect("nothing was listed");
    assert_eq!((last.status, last.reason), (401, "signature_mismatch"));
    assert_eq!(last.source.as_ref().map(ToString::to_string).as_deref(), Some("gh"));
    assert_eq!(Some(last.correlation_id.as_str()), answer.header("tenterhook-correlation-id"));
    for length in [8, 16, 64] {
        let prefix = &signature["sha256=".len()..]["".len()..length];
        assert!(!last.detail.contains(prefix) && !answer.body.contains(prefix));
    }
}

#[tokio::test]
async fn any_of_several_signatures_and_secrets_may_match_but_not_any_number() {
    let stripe = source("stripe", "stripe", SECRET);
    let rotating = tenterhook::source::Source {
        verifier: Verifier::new(
            catalog("stripe").scheme.clone(),
            vec![Secret::new("the former secret, 32 bytes long"), Secret::new(SECRET)],
        )
        .unwrap(),
        ..source("rotating", "stripe", SECRET)
    };
    let gateway = Gateway::start(vec![stripe.clone(), rotating.clone()]).await;
    let zeros = "0".repeat(64);

    let good = Post::signed(&stripe, "", &[], BODY);
    let value = String::from_utf8(good.header("stripe-signature").to_vec()).unwrap();
    let several = value.replacen(",v1=", &format!(",v1={zeros},v1="), 1);
    let rolled = good.clone().setting("stripe-signature", several);
    assert_eq!(gateway.ask(rolled.bytes()).await.status, 202, "AUTH-10");
    let second_secret = Post { target: "/webhooks/rotating".to_owned(), ..good.clone() };
    assert_eq!(gateway.ask(second_secret.bytes()).await.status, 202);

    let many = format!("t=1700000000{}", format!(",v1={zeros}").repeat(200));
    let answer = gateway.ask(good.clone().setting("stripe-signature", many).bytes()).await;
    assert!(matches!(answer.status, 400 | 401), "AUTH-11: {}", answer.status);
    let flood = format!("t=1700000000{}", format!(",v1={zeros}").repeat(2000));
    let answer = talk(gateway.address, good.setting("stripe-signature", flood).bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "AUTH-11: {answer:?}");
    assert_eq!(gateway.stored().len(), 2);
}

#[tokio::test]
async fn a_signature_in_a_trailer_is_no_signature_and_other_trailers_are_read_over() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let good = github(&gh, "d", "{}");
    let signature = String::from_utf8(good.header("x-hub-signature-256").to_vec()).unwrap();
    let chunked = |post: Post| {
        let head =
            post.with("transfer-encoding", "chunked").with("trailer", "X-Hub-Signature-256").head("POST");
        let body = format!("\r\n2\r\n{{}}\r\n0\r\nX-Hub-Signature-256: {signature}\r\nX-More: 1\r\n\r\n");
        [head, body.into_bytes()].concat()
    };
    let answer = gateway.ask(chunked(good.clone().without("x-hub-signature-256"))).await;
    assert_eq!(answer.status, 401, "AUTH-20");
    assert_eq!(gateway.ask(chunked(good)).await.status, 202);
    let stored = gateway.stored();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].admitted.headers.get_all("x-hub-signature-256").iter().count(), 1);
    assert!(!stored[0].admitted.headers.contains_key("x-more"));
}

#[tokio::test]
async fn time_is_judged_to_the_second_on_both_sides() {
    let std = source("std", "standard-webhooks", WHSEC);
    let gateway = Gateway::start(vec![std.clone()]).await;
    for (offset_s, status) in
        [(-290, 202), (290, 202), (-301, 400), (301, 400), (-86_400, 400), (86_400, 400)]
    {
        let offset = Duration::from_secs(u64::from(i32::unsigned_abs(offset_s)));
        let signed_at = if offset_s < 0 { NOW.minus(offset) } else { NOW.plus(offset) };
        let id = format!("msg_{offset_s}");
        let post = Post::signed_at(signed_at, &std, &id, &[], BODY);
        assert_eq!(gateway.ask(post.bytes()).await.status, status, "{offset_s} s");
    }
    assert_eq!(gateway.stored().len(), 2);
}

#[tokio::test]
async fn a_timestamp_that_is_not_plainly_one_is_refused_whatever_the_signature() {
    let std = source("std", "standard-webhooks", WHSEC);
    let gateway = Gateway::start(vec![std.clone()]).await;
    let good = standard(&std, "msg", BODY);
    let odd = [
        "",
        "NaN",
        "1e9",
        "+1700000000",
        "0x6553f100",
        "1700000000.5",
        "-0",
        "1700000000abc",
        "001700000000",
        "１７００００００００",
        "2026-11-23T00:00:00Z",
        "1700000000,1700000000",
        "99999999999999999999999",
        "١٧",
    ];
    let mut told = Vec::new();
    for text in odd {
        let answer = gateway.ask(good.clone().setting("webhook-timestamp", text).bytes()).await;
        assert!(matches!(answer.status, 400 | 401), "TIME-04 {text:?}: {}", answer.status);
        told.push(anonymous(&answer));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "they look different outside");
    let twice = good.clone().with("webhook-timestamp", "1700000000");
    assert!(matches!(gateway.ask(twice.bytes()).await.status, 400 | 401), "TIME-03");
    let none = good.clone().without("webhook-timestamp");
    assert_eq!(gateway.ask(none.bytes()).await.status, 400, "TIME-03");
    assert_eq!(gateway.stored().len(), 0);
    assert_eq!(gateway.ask(good.bytes()).await.status, 202);
}

#[tokio::test]
async fn a_shared_token_has_to_be_the_token() {
    let spec = SchemeSpec {
        header: OneOrMany::One("X-Gitlab-Token".to_owned()),
        algorithm: Some("token".to_owned()),
        ..SchemeSpec::default()
    };
    let verifier = Verifier::new(spec.compile().unwrap(), vec![Secret::new(SECRET)]).unwrap();
    let gateway = Gateway::start(vec![custom("gitlab", verifier)]).await;
    let post = |token: &str| Post::to("/webhooks/gitlab", BODY).with("x-gitlab-token", token);
    let wrong =
        [&SECRET[..8], "", &SECRET.to_uppercase(), &format!("{SECRET}x"), &format!("{SECRET}, {SECRET}")];
    for token in wrong {
        assert_eq!(gateway.ask(post(token).bytes()).await.status, 401, "AUTH-24 {token:?}");
    }
    assert_eq!(gateway.ask(post(SECRET).with("x-gitlab-token", SECRET).bytes()).await.status, 401);
    assert_eq!(gateway.stored().len(), 0);
    assert_eq!(gateway.ask(post(SECRET).bytes()).await.status, 202);
    let stored = gateway.stored();
    assert!(!stored[0].admitted.headers.contains_key("x-gitlab-token"), "the token was stored");
}

#[tokio::test]
async fn a_source_without_a_live_secret_fails_closed() {
    let ended = Secret::new(SECRET).during(None, Some(NOW.minus(Duration::from_secs(1)).to_system()));
    let verifier = Verifier::new(catalog("github").scheme.clone(), vec![ended]).unwrap();
    let good = github(&source("gh", "github", SECRET), "d", BODY);
    let gateway =
        Gateway::start(vec![tenterhook::source::Source { verifier, ..source("gh", "github", SECRET) }]).await;
    assert_eq!(gateway.ask(good.bytes()).await.status, 401, "AUTH-26");
    assert_eq!(gateway.ask(good.without("x-hub-signature-256").bytes()).await.status, 401);
}

#[tokio::test]
async fn a_form_of_endless_parameters_is_no_form_whoever_signed_it() {
    let public_url = Some("https://hooks.example.com/webhooks/tw".to_owned());
    let tw = tenterhook::source::Source {
        public_url,
        ..source("tw", "twilio", "twilio-auth-token-of-32-bytes-xx")
    };
    let gateway = Gateway::start(vec![tw.clone()]).await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let good = Post::signed(&tw, "", &form, "MessageSid=SM1&MessageStatus=sent");
    let most = Post::signed(&tw, "", &form, format!("MessageSid=SM2{}", "&a=1".repeat(999)));
    assert_eq!(gateway.ask(most.bytes()).await.status, 202);
    let mut told = Vec::new();
    for body in ["a=1&".repeat(1_001), "a=1&".repeat(250_000), "a&".repeat(1_001)] {
        let flood = Post { body: body.into_bytes(), ..good.clone() };
        let answer = gateway.ask(flood.bytes()).await;
        assert_eq!(answer.status, 400, "DOS-13");
        told.push(anonymous(&answer));
        let unsigned = flood.setting("x-twilio-signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        told.push(anonymous(&gateway.ask(unsigned.bytes()).await));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "the answer depends on the signature");
    let listed = gateway.rejections.recent(1);
    assert_eq!((listed[0].status, listed[0].reason), (400, "malformed_content"));
    assert_eq!(gateway.stored().len(), 1);
    // A `;` separates nothing: however many there are, it is one parameter, and not the one that was signed.
    let semicolons = Post { body: "a=1;".repeat(250_000).into_bytes(), ..good.clone() };
    assert_eq!(gateway.ask(semicolons.bytes()).await.status, 401);
    assert_eq!(gateway.ask(good.bytes()).await.status, 202);
}

#[tokio::test]
async fn timestamps_are_held_against_the_wall_clock_as_it_is_now_and_nothing_else_follows_it() {
    let hooks = source("hooks", "standard-webhooks", WHSEC);
    let signed = |id: &str| standard(&hooks, id, BODY).bytes();
    let gateway = Gateway::start(vec![source("hooks", "standard-webhooks", WHSEC)]).await;
    let mut answers = Vec::new();
    for (id, ahead_s) in [("a", 0), ("b", -7200), ("c", 86_400), ("d", 299), ("e", -301), ("f", 0)] {
        gateway.wall.ahead_ms.store(ahead_s * 1000, std::sync::atomic::Ordering::SeqCst);
        answers.push(gateway.ask(signed(id)).await.status);
    }
    assert_eq!(answers, [202, 400, 400, 202, 400, 202]);
    let received: Vec<_> = gateway.store_events().await.into_iter().map(|event| event.received_at).collect();
    assert_eq!(received, [NOW; 3]);
}
