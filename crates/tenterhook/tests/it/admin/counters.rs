//! Counters against the store, after a dispatcher has really delivered, failed, retried and given up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tenterhook::destination::{CheckError, Destination};
use tenterhook::dispatcher::{Dispatcher, LanePolicy};
use tenterhook::model::{Clock, FailureKind, Message, Outcome, Reply};
use tenterhook::policy::backoff::RetryPolicy;
use tenterhook::policy::breaker::BreakerPolicy;
use tokio_util::sync::CancellationToken;

use super::rig::{Rig, name};

/// Fails in a way that depends on the event's number: 0: delivered, 1: refused for good, 2: 500 once, 3: 500 always,
/// 4: a timeout once.
struct Moody;

#[async_trait]
impl Destination for Moody {
    fn kind(&self) -> &'static str {
        "moody"
    }

    async fn deliver(&self, batch: &[Message]) -> Vec<Reply> {
        let failed = |kind| Outcome::Failed { kind, after: None };
        let reply = |message: &Message| {
            let id = message.provider_event_id.as_deref().unwrap_or_default();
            let number: u32 = id.rsplit('_').next().unwrap_or_default().parse().expect("a number");
            let outcome = match (number % 5, message.attempt) {
                (1, _) => Outcome::Rejected,
                (2, 1) | (3, _) => failed(FailureKind::Server),
                (4, 1) => failed(FailureKind::Timeout),
                _ => Outcome::Delivered,
            };
            Reply { outcome, status: None, excerpt: String::new(), result: None, took: Duration::ZERO }
        };
        batch.iter().map(reply).collect()
    }

    async fn check(&self) -> Result<(), CheckError> {
        Ok(())
    }
}

fn value_of(page: &str, series: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is missing in\n{page}")).parse().expect("a count")
}

/// Failed attempts by kind, as the API shows them.
async fn failures(rig: &Rig) -> BTreeMap<String, u64> {
    let mut failures = BTreeMap::new();
    for event in rig.get("/api/v1/events?limit=1000").await.items() {
        let shown = rig.get(&format!("/api/v1/events/{}", event["id"].as_str().unwrap())).await.json();
        for attempt in shown["deliveries"][0]["attempt_log"].as_array().unwrap() {
            let kind = match (&attempt["failure"], attempt["verdict"].as_str().unwrap()) {
                (Value::String(kind), _) => kind.clone(),
                (_, "dead_letter") => "rejected".to_owned(),
                _ => continue,
            };
            *failures.entry(kind).or_default() += 1;
        }
    }
    failures
}

#[tokio::test]
async fn counters_and_gauges_equal_the_store_when_all_is_done() {
    let rig = Rig::trusted();
    rig.accept(0, 50, &["app"]).await;
    let clock = Arc::clone(&rig.clock) as Arc<dyn Clock>;
    let dispatcher = Dispatcher::new(Arc::clone(&rig.store), clock, Arc::clone(&rig.metrics), 7);
    let policy = LanePolicy {
        concurrency: 4,
        rate: None,
        timeout: Duration::from_secs(5),
        // The clock stands still: a retry is due at once.
        retry: RetryPolicy { base: Duration::ZERO, attempts_max: 3, ..RetryPolicy::default() },
        breaker: BreakerPolicy { failures: 1000, ..BreakerPolicy::default() },
        batch_max: 1,
    };
    let moody = Arc::new(Moody) as Arc<dyn Destination>;
    dispatcher.set_destinations(BTreeMap::from([(name("app"), (moody, policy))]));
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&dispatcher).run(stop.clone(), Duration::from_secs(10)));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let ledger = loop {
        let ledger = rig.get("/api/v1/ledger?verify=true").await.json();
        if ledger["deliveries"]["pending"] == 0 && ledger["deliveries"]["leased"] == 0 {
            break ledger;
        }
        assert!(tokio::time::Instant::now() < deadline, "still {ledger}");
        tokio::task::yield_now().await;
    };
    stop.cancel();
    running.await.unwrap();

    assert_eq!(
        (&ledger["balanced"], &ledger["verified"]["matches"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    let (delivered, dead) = (&ledger["deliveries"]["delivered"], &ledger["deliveries"]["dead"]);
    assert_eq!((delivered.as_u64(), dead.as_u64()), (Some(30), Some(20)));
    let page = rig.get("/metrics").await;
    let value = |series: &str| value_of(page.text(), series);
    assert_eq!(value(r#"webhook_processed_total{source="stripe",destination="app"}"#), 30);
    assert_eq!(value(r#"webhook_processing_duration_seconds_count{destination="app"}"#), 30);
    assert_eq!(value(r#"webhook_dlq_size{destination="app"}"#), 20);
    assert_eq!(value(r#"webhook_retry_queue_size{destination="app"}"#), 0);
    let failures = failures(&rig).await;
    let expected =
        [("rejected", 10), ("server", 40), ("timeout", 10)].map(|(kind, count)| (kind.to_owned(), count));
    assert_eq!(failures, BTreeMap::from(expected));
    for (kind, count) in failures {
        let series = format!(r#"webhook_failed_total{{destination="app",kind="{kind}"}}"#);
        assert_eq!(value(&series), count, "{series}");
    }
}
