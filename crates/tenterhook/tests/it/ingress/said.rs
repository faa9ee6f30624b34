//! What logs and metrics say: stable names and fields, a bounded number of lines, and nothing that was sent in
//! confidence.

use serde_json::Value;
use tenterhook::policy::limit::RatePolicy;
use tenterhook::source::{Source, SourceLimits};
use tenterhook::store::StoreErrorKind;

use super::log::Log;
use super::support::{Gateway, Mood, Post, SECRET, WHSEC, github, limits, source, standard, unsigned};

/// Every line, in order.
fn lines(log: &Log) -> Vec<Value> {
    log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn each_event_has_one_line_with_all_that_one_searches_for() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let (log, _guard) = Log::begin();
    let new = gateway.ask(github(&gh, "d-1", r#"{"payload":"p4yl0ad"}"#).bytes()).await;
    gateway.ask(github(&gh, "d-1", r#"{"payload":"p4yl0ad"}"#).bytes()).await;
    gateway.ask(github(&gh, "d-1", r#"{"payload":"other"}"#).bytes()).await;
    let lines = lines(&log);
    let names: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(names, ["webhook_received", "webhook_duplicate_event", "webhook_duplicate_event"]);
    assert_eq!(lines[0]["correlation_id"].as_str(), new.header("tenterhook-correlation-id"));
    for (line, status) in lines.iter().zip([202, 200, 200]) {
        assert_eq!(line["event_id"], "d-1");
        assert_eq!(line["event_type"], "ping");
        assert_eq!(line["source"], "gh");
        assert_eq!(line["source_ip"], "127.0.0.1");
        assert_eq!(line["status"], status);
        assert!(line["processing_time_ms"].as_f64().unwrap() > 0.0);
        assert_eq!(line["id"], lines[0]["id"]);
    }
    assert_eq!((&lines[1]["conflict"], &lines[2]["conflict"]), (&Value::Bool(false), &Value::Bool(true)));
    assert!(!log.text().contains("p4yl0ad"), "a payload was logged");
}

#[tokio::test]
async fn refusals_have_names_and_reasons_and_never_a_secret() {
    let gh = source("gh", "github", SECRET);
    let std = source("std", "standard-webhooks", WHSEC);
    let gateway = Gateway::start(vec![gh.clone(), std.clone()]).await;
    let (log, _guard) = Log::begin();
    let good = github(&gh, "d", "{}");
    let signature = String::from_utf8(good.header("x-hub-signature-256").to_vec()).unwrap();
    let wrong = good.clone().setting("x-hub-signature-256", format!("sha256={}", "0".repeat(64)));
    gateway.ask(wrong.bytes()).await;
    gateway.ask(standard(&std, "m", "{}").setting("webhook-timestamp", "1600000000").bytes()).await;
    gateway.ask(Post::to("/nowhere", "{}").bytes()).await;
    gateway.ask(github(&gh, "d", "x".repeat(2 << 20)).bytes()).await;
    gateway.store.set_mood(Mood::Failing(StoreErrorKind::Full));
    gateway.ask(good.bytes()).await;
    let said: Vec<_> = lines(&log)
        .iter()
        .map(|line| {
            let text = |field: &str| line[field].as_str().unwrap_or("-").to_owned();
            (text("message"), text("reason"), line["status"].as_u64().unwrap(), text("source"))
        })
        .collect();
    let expected = [
        ("webhook_signature_mismatch", "signature_mismatch", 401, "gh"),
        ("webhook_timestamp_expired", "timestamp_too_old", 400, "std"),
        ("webhook_refused", "unknown_source", 404, "-"),
        ("webhook_too_large", "too_large", 413, "gh"),
        ("webhook_not_stored", "store_full", 503, "gh"),
    ];
    let expected = expected.map(|(m, r, s, o)| (m.to_owned(), r.to_owned(), s, o.to_owned()));
    assert_eq!(said, expected);
    let text = log.text();
    for secret in [SECRET, WHSEC, &WHSEC[6..20], &signature[7..23]] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_flood_of_refusals_is_a_few_lines_and_a_count() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh]).await;
    let (log, _guard) = Log::begin();
    let began = tokio::time::Instant::now();
    for n in 0..400 {
        let path = format!("/webhooks/{n}{}", "x".repeat(4000));
        assert_eq!(gateway.ask(Post::to(&path, "{}").bytes()).await.status, 404);
        assert_eq!(gateway.ask(Post::to("/webhooks/gh", "{}").bytes()).await.status, 401);
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    let lines = lines(&log);
    assert!(lines.len() <= 2 * 5 * (seconds + 1), "{} lines in {seconds} s", lines.len());
    assert!(log.text().len() <= lines.len() * 1024, "lines are bounded");
    assert!(!log.text().contains("xxxx"), "a path that somebody made up was logged");
    assert_eq!(gateway.rejections.recent(usize::MAX).len(), 800);
}

#[tokio::test]
async fn what_a_provider_sends_stays_on_one_bounded_line() {
    let gateway = Gateway::start(vec![unsigned("any")]).await;
    let (log, _guard) = Log::begin();
    let long = "y".repeat(100_000);
    let body =
        serde_json::json!({"id": format!("a\r\nlevel=ERROR \u{1b}[31m\u{7}\u{202e}{long}"), "type": "t\nu"});
    assert_eq!(gateway.ask(Post::to("/webhooks/any", body.to_string()).bytes()).await.status, 202);
    let text = log.text();
    assert_eq!(text.lines().count(), 1, "LOG-01");
    assert!(text.len() < 2048, "{}", text.len());
    assert_eq!(lines(&log)[0]["event_type"], "t\nu");
}

#[tokio::test]
async fn counters_count_what_happened_to_known_sources_and_nothing_else() {
    let gh = Source {
        limits: SourceLimits { rate: Some(RatePolicy { per_second: 0.001, burst: 4 }), ..limits() },
        ..source("gh", "github", SECRET)
    };
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let one = github(&gh, "one", "{}");
    for (post, status) in [
        (one.clone(), 202),
        (one.clone(), 200),
        (github(&gh, "one", "{ }"), 200),
        (github(&gh, "two", "{}"), 202),
        (github(&gh, "three", "{}"), 429),
        (one.clone().without("x-hub-signature-256"), 401),
        (one.clone().setting("x-hub-signature-256", format!("sha256={}", "0".repeat(64))), 401),
        (github(&gh, "four", "x".repeat(2 << 20)), 413),
        (Post { target: "/webhooks/made-up".to_owned(), ..one.clone() }, 404),
    ] {
        assert_eq!(gateway.ask(post.bytes()).await.status, status);
    }
    let page = gateway.metrics.render(None, &[]);
    for line in [
        r#"webhook_received_total{source="gh"} 8"#,
        r#"webhook_duplicate_total{source="gh",kind="duplicate"} 1"#,
        r#"webhook_duplicate_total{source="gh",kind="conflict"} 1"#,
        r#"webhook_duplicate_total{source="gh",kind="repeat"} 1"#,
        r#"webhook_signature_failures_total{source="gh",reason="missing_signature"} 1"#,
        r#"webhook_signature_failures_total{source="gh",reason="signature_mismatch"} 1"#,
        r#"tenterhook_requests_refused_total{source="gh",status="429"} 1"#,
        r#"tenterhook_requests_refused_total{source="gh",status="413"} 1"#,
        r#"tenterhook_accept_duration_seconds_count{source="gh"} 4"#,
    ] {
        assert!(page.lines().any(|said| said == line), "no `{line}` in\n{page}");
    }
    assert!(!page.contains("made-up"));
}
