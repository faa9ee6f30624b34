//! The metrics page: exact names, labels and values.

use std::collections::BTreeSet;
use std::time::Duration;

use tenterhook::model::{
    BreakerState, DestinationName, DestinationStats, FailureKind, LaneView, SourceName, Stats,
};
use tenterhook::telemetry::metrics::{DuplicateKind, Metrics};
use tenterhook_verify::Reason;

fn source(name: &str) -> SourceName {
    name.parse().unwrap()
}

fn destination(name: &str) -> DestinationName {
    name.parse().unwrap()
}

fn named() -> Metrics {
    let metrics = Metrics::new();
    metrics.set_names([&source("stripe")], [&destination("app")]);
    metrics.set_responding([&source("stripe")]);
    metrics
}

fn lines<'p>(page: &'p str, metric: &str) -> Vec<&'p str> {
    page.lines()
        .filter(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .collect()
}

#[test]
fn every_metric_has_exactly_its_name_kind_and_labels_and_is_shown_at_zero_from_the_start() {
    let page = named().render(Some(&Stats::default()), &[]);
    let kinds: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    insta::assert_snapshot!(kinds.into_iter().collect::<Vec<_>>().join("\n"), @"
    tenterhook_accept_duration_seconds histogram
    tenterhook_breaker_state gauge
    tenterhook_build_info gauge
    tenterhook_commit_duration_seconds histogram
    tenterhook_committed_submissions_total counter
    tenterhook_dedupe_keys gauge
    tenterhook_fsync_duration_seconds histogram
    tenterhook_handler_answers_total counter
    tenterhook_lane_held gauge
    tenterhook_lane_in_flight gauge
    tenterhook_lane_paused gauge
    tenterhook_lane_pending gauge
    tenterhook_oldest_pending_age_seconds gauge
    tenterhook_requests_refused_total counter
    tenterhook_store_bytes gauge
    tenterhook_store_up gauge
    webhook_dlq_size gauge
    webhook_duplicate_total counter
    webhook_failed_total counter
    webhook_processed_total counter
    webhook_processing_duration_seconds histogram
    webhook_received_total counter
    webhook_retry_queue_size gauge
    webhook_signature_failures_total counter
    ");
    for zero in [
        r#"webhook_received_total{source="stripe"} 0"#,
        r#"webhook_processed_total{source="stripe",destination="app"} 0"#,
        r#"webhook_duplicate_total{source="stripe",kind="duplicate"} 0"#,
        r#"webhook_duplicate_total{source="stripe",kind="conflict"} 0"#,
        r#"webhook_duplicate_total{source="stripe",kind="repeat"} 0"#,
        r#"webhook_failed_total{destination="app",kind="timeout"} 0"#,
        r#"webhook_retry_queue_size{destination="app"} 0"#,
        r#"webhook_dlq_size{destination="app"} 0"#,
        r#"webhook_processing_duration_seconds_bucket{destination="app",le="5"} 0"#,
        r#"webhook_processing_duration_seconds_count{destination="app"} 0"#,
        r#"webhook_signature_failures_total{source="stripe",reason="signature_mismatch"} 0"#,
        r#"tenterhook_requests_refused_total{source="stripe",status="429"} 0"#,
        r#"tenterhook_breaker_state{destination="app"} 0"#,
        r#"tenterhook_lane_in_flight{destination="app"} 0"#,
        r#"tenterhook_lane_pending{destination="app"} 0"#,
    ] {
        assert!(page.lines().any(|line| line == zero), "{zero} is missing in\n{page}");
    }
    assert_eq!(lines(&page, "webhook_signature_failures_total").len(), Reason::ALL.len());
    assert_eq!(lines(&page, "webhook_failed_total").len(), FailureKind::ALL.len() + 1);
}

#[test]
fn every_method_counts_in_its_series() {
    let metrics = named();
    let (stripe, app) = (source("stripe"), destination("app"));
    metrics.received(&stripe);
    metrics.received(&stripe);
    for kind in DuplicateKind::ALL {
        metrics.duplicate(&stripe, kind);
    }
    for reason in Reason::ALL {
        metrics.signature_failure(&stripe, reason);
    }
    for status in [403, 408, 413, 429, 503, 418] {
        metrics.refused(&stripe, status);
    }
    for kind in FailureKind::ALL {
        metrics.attempt_failed(&app, kind);
    }
    metrics.attempt_rejected(&app);
    metrics.delivered(&stripe, &app, Duration::from_secs(4));
    metrics.delivered(&stripe, &app, Duration::from_secs(6));
    metrics.accept_took(&stripe, Duration::from_millis(2));
    metrics.commit_took(Duration::from_millis(3), 17);
    metrics.fsync_took(Duration::from_millis(1));
    metrics.breaker_state(&app, 2);
    let page = metrics.render(None, &[]);
    for expected in [
        r#"webhook_received_total{source="stripe"} 2"#,
        r#"webhook_processed_total{source="stripe",destination="app"} 2"#,
        r#"webhook_processing_duration_seconds_bucket{destination="app",le="5"} 1"#,
        r#"webhook_processing_duration_seconds_bucket{destination="app",le="+Inf"} 2"#,
        r#"webhook_processing_duration_seconds_sum{destination="app"} 10.0"#,
        r#"tenterhook_accept_duration_seconds_count{source="stripe"} 1"#,
        r#"tenterhook_commit_duration_seconds_count 1"#,
        r#"tenterhook_committed_submissions_total 17"#,
        r#"tenterhook_fsync_duration_seconds_count 1"#,
        r#"tenterhook_breaker_state{destination="app"} 2"#,
        r#"tenterhook_requests_refused_total{source="stripe",status="other"} 1"#,
        r#"tenterhook_store_up 0"#,
    ] {
        assert!(page.lines().any(|line| line == expected), "{expected} is missing in\n{page}");
    }
    for metric in [
        "webhook_duplicate_total",
        "webhook_signature_failures_total",
        "webhook_failed_total",
        "tenterhook_requests_refused_total",
    ] {
        let wrong: Vec<_> = lines(&page, metric).into_iter().filter(|line| !line.ends_with(" 1")).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
    assert!(!page.contains("webhook_dlq_size"), "a gauge of an unreadable store is not made up");
}

#[test]
fn gauges_are_what_the_store_and_the_lanes_say() {
    let mut stats = Stats { store_bytes: 4096, dedupe_keys: 7, ..Stats::default() };
    let figures = DestinationStats {
        pending: 5,
        retrying: 3,
        dead: 2,
        held: 1,
        paused: true,
        oldest_pending: Some(Duration::from_millis(1500)),
        ..DestinationStats::default()
    };
    stats.destinations.insert(destination("app"), figures);
    stats.destinations.insert(destination("orphan"), DestinationStats { dead: 9, ..Default::default() });
    let lane = LaneView {
        destination: destination("app"),
        breaker: BreakerState::HalfOpen,
        in_flight: 4,
        concurrency: 8,
        paused_until: None,
        alarm: None,
    };
    let page = named().render(Some(&stats), &[lane]);
    for expected in [
        r#"webhook_retry_queue_size{destination="app"} 3"#,
        r#"webhook_dlq_size{destination="app"} 2"#,
        r#"webhook_dlq_size{destination="orphan"} 9"#,
        r#"tenterhook_lane_pending{destination="app"} 5"#,
        r#"tenterhook_lane_held{destination="app"} 1"#,
        r#"tenterhook_lane_paused{destination="app"} 1"#,
        r#"tenterhook_lane_in_flight{destination="app"} 4"#,
        r#"tenterhook_oldest_pending_age_seconds{destination="app"} 1.5"#,
        r#"tenterhook_breaker_state{destination="app"} 1"#,
        r#"tenterhook_store_up 1"#,
        r#"tenterhook_store_bytes 4096"#,
        r#"tenterhook_dedupe_keys 7"#,
    ] {
        assert!(page.lines().any(|line| line == expected), "{expected} is missing in\n{page}");
    }
}

#[test]
fn counters_survive_a_reload_and_names_that_are_not_configured_count_nowhere() {
    let metrics = named();
    let (stripe, github, app) = (source("stripe"), source("github"), destination("app"));
    metrics.received(&stripe);
    metrics.received(&github);
    metrics.attempt_failed(&destination("attacker"), FailureKind::Server);
    metrics.set_names([&stripe, &github], [&app]);
    metrics.received(&stripe);
    metrics.set_names([&github], [&app]);
    metrics.received(&stripe);
    metrics.delivered(&stripe, &app, Duration::ZERO);
    let page = metrics.render(None, &[]);
    assert_eq!(
        lines(&page, "webhook_received_total").into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([
            r#"webhook_received_total{source="stripe"} 2"#,
            r#"webhook_received_total{source="github"} 0"#
        ])
    );
    assert!(page.contains(r#"webhook_processed_total{source="stripe",destination="app"} 1"#), "{page}");
    assert!(!page.contains("attacker"));
}
