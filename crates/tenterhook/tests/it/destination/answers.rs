//! What of a handler's answer goes on to a provider that waits for it.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tenterhook::destination::Destination;
use tenterhook::model::{HandlerAnswer, Outcome, Reply};

use super::peer::{Part, Peer};
use super::{connect, message, settings};

const TOKEN: &str = "tok-0123456789abcdef";

async fn ask(part: Part) -> (Reply, Option<HandlerAnswer>) {
    let peer = Peer::playing([part]).await;
    let mut settings = settings(peer.url());
    settings.headers.insert("authorization", HeaderValue::from_static("Bearer tok-0123456789abcdef"));
    let (reply, answer) = connect(settings).ask(&message(b"{}")).await;
    assert_eq!(peer.caught().len(), 1, "it is one attempt");
    (reply.unwrap(), answer)
}

#[tokio::test]
async fn an_answer_goes_on_with_its_status_its_bytes_and_the_headers_for_the_provider_alone() {
    let headers = "content-type: text/xml\r\ncontent-language: en\r\nx-slack-no-retry: 1\r\nset-cookie: a=b\r\n\
                   server: internal/1.0\r\nx-powered-by: secret sauce\r\nconnection: close\r\n\
                   access-control-allow-origin: *\r\nlocation: http://10.0.0.7/\r\n";
    let (reply, answer) = ask(Part::answer_with("201 Created", headers, "<Response/>\r\n")).await;
    assert_eq!(reply.outcome, Outcome::Delivered);
    let answer = answer.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::CREATED, &b"<Response/>\r\n"[..]));
    let expected: HeaderMap =
        [("content-type", "text/xml"), ("content-language", "en"), ("x-slack-no-retry", "1")]
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value)))
            .into_iter()
            .collect();
    assert_eq!(answer.headers, expected);
}

#[tokio::test]
async fn what_is_no_confirmation_or_not_fit_to_be_seen_does_not_go_on() {
    let delivered = Outcome::Delivered;
    let long = "x".repeat(64 * 1024 + 1);
    for (what, part, is_delivered) in [
        ("a failure", Part::answer("500 Broken", "trace"), false),
        ("a final refusal", Part::answer("410 Gone", ""), false),
        ("a redirect", Part::answer_with("302 Found", "location: /\r\n", ""), false),
        ("too long", Part::answer("200 OK", &long), true),
        ("encoded", Part::answer_with("200 OK", "content-encoding: gzip\r\n", "\x1f"), true),
        ("an echo of a secret", Part::answer("200 OK", &format!("you sent {TOKEN}")), true),
        ("in a header", Part::answer_with("200 OK", &format!("content-language: {TOKEN}\r\n"), ""), true),
        ("cut off", Part::SayAndClose(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()), false),
    ] {
        let (reply, answer) = ask(part).await;
        assert_eq!(reply.outcome == delivered, is_delivered, "{what}: {reply:?}");
        assert_eq!(answer, None, "{what}");
    }
}
