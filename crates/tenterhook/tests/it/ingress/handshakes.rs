//! What providers ask before they send, over a socket; and that nobody else gets more out of it than what he said himself.

use tenterhook::source::Source;
use tenterhook_verify::Secret;
use tenterhook_verify::handshake::HandshakeSpec;

use super::support::{Gateway, Post, SECRET, custom, source};
use super::wire::Answer;

/// A source whose handshakes are written as in a config.
fn asked(name: &str, handshakes: &str) -> Source {
    #[derive(serde::Deserialize)]
    struct File {
        handshake: Vec<HandshakeSpec>,
    }
    let file: File = toml::from_str(handshakes).unwrap();
    let github = source(name, "github", SECRET);
    let mut source = Source {
        event_id: github.event_id.clone(),
        handshakes: HandshakeSpec::compile(&file.handshake).unwrap(),
        ..custom(name, github.verifier)
    };
    source.handshake_settings.verify_token = Some(Secret::new("a-token-of-some-length"));
    source.handshake_settings.allowed_origins = vec!["events.example.com".to_owned()];
    source
}

async fn ask(gateway: &Gateway, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Post::to(target, "");
    for (name, value) in headers {
        request = request.with(name, value);
    }
    let mut bytes = request.head(method);
    bytes.extend_from_slice(b"\r\n");
    gateway.ask(bytes).await
}

const HUB: &str = r#"
[[handshake]]
method = "GET"
when = { "query:hub.mode" = "subscribe" }
verify = "none"
expect = { "query:hub.verify_token" = "verify_token" }
challenge = "query:hub.challenge"
characters = "token"
answer = { text = "{challenge}" }
"#;

#[tokio::test]
async fn a_challenge_in_the_query_is_answered_to_who_knows_the_token() {
    let gateway = Gateway::start(vec![asked("hub", HUB)]).await;
    let target = "/webhooks/hub?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=";
    let answer = ask(&gateway, "GET", &format!("{target}a-token-of-some-length"), &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "1158201444"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    for (wrong, status) in [
        (format!("{target}another-token-of-some"), 403),
        (target.to_owned(), 403),
        ("/webhooks/hub?hub.mode=subscribe&hub.verify_token=a-token-of-some-length".to_owned(), 400),
        ("/webhooks/hub?hub.mode=subscribe&hub.challenge=%3Cscript%3E&hub.verify_token=a-token-of-some-length".to_owned(), 400),
        (format!("{target}a-token-of-some-length&hub.challenge=2"), 400),
        ("/webhooks/hub".to_owned(), 405),
    ] {
        let answer = ask(&gateway, "GET", &wrong, &[]).await;
        assert_eq!(answer.status, status, "{wrong}: {}", answer.body);
        assert!(!answer.body.contains("script"), "{}", answer.body);
    }
    assert!(gateway.stored().is_empty());
}

#[tokio::test]
async fn a_source_says_which_methods_it_answers() {
    let options = r#"
        [[handshake]]
        method = "OPTIONS"
        when = { "header:WebHook-Request-Origin" = "*" }
        verify = "none"
        expect = { "header:WebHook-Request-Origin" = "allowed_origins" }
        challenge = "header:WebHook-Request-Origin"
        characters = "line"
        answer = { headers = { "WebHook-Allowed-Origin" = "{challenge}" } }
    "#;
    let gateway = Gateway::start(vec![asked("events", options), asked("hub", HUB)]).await;
    let origin = [("WebHook-Request-Origin", "events.example.com")];
    let answer = ask(&gateway, "OPTIONS", "/webhooks/events", &origin).await;
    assert_eq!((answer.status, answer.header("webhook-allowed-origin")), (200, Some("events.example.com")));
    assert_eq!(answer.body, "");
    let stranger = [("WebHook-Request-Origin", "evil.example.com")];
    let refused = ask(&gateway, "OPTIONS", "/webhooks/events", &stranger).await;
    assert_eq!((refused.status, refused.header("webhook-allowed-origin")), (405, None));
    let answer = ask(&gateway, "GET", "/webhooks/events", &[]).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")));
    let answer = ask(&gateway, "DELETE", "/webhooks/hub", &[]).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, GET")));
}

#[tokio::test]
async fn a_signed_question_is_answered_once_it_is_verified_and_an_event_is_an_event() {
    let signed = r#"
        [[handshake]]
        when = { "json:/event" = "endpoint.url_validation" }
        challenge = "json:/plainToken"
        characters = "token"
        answer = { json = { plainToken = "{challenge}", encryptedToken = "{mac:hex}" } }
    "#;
    let zoomlike = asked("signed", signed);
    let gateway = Gateway::start(vec![zoomlike.clone()]).await;
    let question = r#"{"event":"endpoint.url_validation","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}"#;
    let answer = gateway.ask(Post::signed(&zoomlike, "", &[], question).bytes()).await;
    let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, said["plainToken"].as_str()), (200, Some("qgg8vlvZRS6UYooatFL8Aw")));
    assert_eq!(said["encryptedToken"].as_str().map(str::len), Some(64));
    let unsigned = gateway.ask(Post::to("/webhooks/signed", question).bytes()).await;
    assert_eq!(unsigned.status, 401);
    assert!(!unsigned.body.contains("encryptedToken"));
    assert!(gateway.stored().is_empty());
    let event = Post::signed(&zoomlike, "", &[("x-github-delivery", "1")], r#"{"event":"meeting.ended"}"#);
    assert_eq!(gateway.ask(event.bytes()).await.status, 202);
    assert_eq!(gateway.stored().len(), 1);
}

#[tokio::test]
async fn a_question_that_nobody_signs_opens_no_door_for_events() {
    let unproven = r#"
        [[handshake]]
        when = { "query:validationToken" = "*" }
        verify = "none"
        challenge = "query:validationToken"
        characters = "line"
        answer = { text = "{challenge}" }
    "#;
    let gateway = Gateway::start(vec![asked("graph", unproven)]).await;
    let answer = gateway.ask(Post::to("/webhooks/graph?validationToken=Validation%3A+a1", "").bytes()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "Validation: a1"));
    let forged = gateway.ask(Post::to("/webhooks/graph", r#"{"value":[{"id":1}]}"#).bytes()).await;
    assert_eq!(forged.status, 401);
    assert!(gateway.stored().is_empty());
}
