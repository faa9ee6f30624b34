//! Lists: filters, pages, and everything that is refused instead of misread.

use std::collections::BTreeSet;

use super::rig::{Rig, dead};

/// The ids of all pages, from this cursor on.
async fn walk_from(rig: &Rig, path: &str, mut after: Option<String>) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let cursor = after.map_or_else(String::new, |after| format!("&after={after}"));
        let page = rig.get(&format!("{path}{cursor}")).await;
        seen.extend(page.items().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page.json()["next"].as_str() {
            Some(next) => after = Some(next.replace('/', "%2F")),
            None => return seen,
        }
    }
}

async fn walk(rig: &Rig, path: &str) -> Vec<String> {
    walk_from(rig, path, None).await
}

#[tokio::test]
async fn pages_over_2500_events_lose_and_repeat_none_while_more_arrive() {
    for rig in Rig::each() {
        let before: BTreeSet<String> =
            rig.accept(0, 2500, &["app"]).await.iter().map(ToString::to_string).collect();
        let first = rig.get("/api/v1/events?limit=700").await;
        rig.accept(10_000, 50, &["app"]).await;
        let mut seen: Vec<String> =
            first.items().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
        let next = first.json()["next"].as_str().map(str::to_owned);
        assert!(next.is_some());
        seen.extend(walk_from(&rig, "/api/v1/events?limit=700", next).await);
        assert_eq!(seen.len(), 2500);
        assert_eq!(seen.iter().cloned().collect::<BTreeSet<_>>(), before);
        assert!(seen.is_sorted_by(|newer, older| newer > older));

        let oldest_first = walk(&rig, "/api/v1/events?limit=999&order=asc").await;
        assert_eq!(oldest_first.len(), 2550);
        assert!(oldest_first.is_sorted());
        assert_eq!(walk(&rig, "/api/v1/events?limit=1000&type=invoice").await.len(), 1275);
        let deliveries = walk(&rig, "/api/v1/deliveries?limit=1000&destination=app").await;
        assert_eq!(deliveries.iter().collect::<BTreeSet<_>>().len(), 2550);
    }
}

#[tokio::test]
async fn a_tail_goes_on_from_the_last_event_it_has_shown() {
    for rig in Rig::each() {
        let first = rig.accept(1, 2, &[]).await;
        let page = rig.get("/api/v1/events?order=asc").await;
        assert_eq!(page.json()["next"], serde_json::Value::Null);
        let later = rig.accept(3, 1, &[]).await;
        let page = rig.get(&format!("/api/v1/events?order=asc&after={}", first[1])).await;
        assert_eq!(page.items().len(), 1);
        assert_eq!(page.items()[0]["id"], later[0].to_string());
    }
}

#[tokio::test]
async fn filters_are_combined() {
    for rig in Rig::each() {
        rig.accept(1, 10, &["app", "crm"]).await;
        rig.accept(11, 2, &[]).await;
        rig.settle("app", 4, dead).await;
        for (path, expected) in [
            ("/api/v1/events", 12),
            ("/api/v1/events?state=ignored", 2),
            ("/api/v1/events?event_id=evt_provider_3", 1),
            ("/api/v1/events?source=stripe&type=invoice.*", 6),
            ("/api/v1/events?source=github", 0),
            ("/api/v1/events?since=2025-11-24T16:00:00.005Z&until=2025-11-24T16:00:00.008Z", 3),
            ("/api/v1/events?since=1h", 12),
            ("/api/v1/deliveries", 20),
            ("/api/v1/deliveries?state=pending&destination=app", 6),
            ("/api/v1/deliveries?type=payment_intent", 10),
            ("/api/v1/dead", 4),
            ("/api/v1/dead?destination=crm", 0),
        ] {
            assert_eq!(rig.get(path).await.items().len(), expected, "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_not_understood_is_refused_with_a_hint() {
    let rig = Rig::trusted();
    for (query, detail) in [
        ("events?limit=1000000000", "`1000000000` is not a value of `limit`"),
        ("events?limit=-1", "`-1` is not a value of `limit`"),
        ("events?limit=0", "`0` is not a value of `limit`"),
        ("events?limit=10.5", "`10.5` is not a value of `limit`"),
        ("events?limit=9223372036854775808", "`9223372036854775808` is not a value of `limit`"),
        ("events?limit=", "`` is not a value of `limit`"),
        ("events?limit=5&limit=6", "`limit` is given twice"),
        ("events?offset=-1", "`offset` is not a parameter here"),
        ("events?state=dying", "`dying` is not a value of `state`"),
        ("events?source=No%20Name", "`No Name` is not a value of `source`"),
        ("events?since=yesterday", "`yesterday` is not a value of `since`"),
        ("events?order=up", "`up` is not a value of `order`"),
        ("deliveries?state=lost", "`lost` is not a value of `state`"),
        ("deliveries?event=evt_1", "`evt_1` is not a value of `event`"),
        ("dead?state=dead", "`state` is not a parameter here"),
        ("ledger?verify=yes", "`yes` is not a value of `verify`"),
        ("sources?limit=1", "`limit` is not a parameter here"),
        ("audit?after=x", "`x` is not a value of `after`"),
    ] {
        let answer = rig.get(&format!("/api/v1/{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        let problem = answer.json();
        assert_eq!(problem["detail"], detail, "{query}");
        assert_eq!(problem["code"], "bad_query");
        assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{query}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    let cursor = rig.get("/api/v1/events?after=nonsense").await;
    assert_eq!((cursor.status.as_u16(), cursor.json()["code"].as_str()), (400, Some("invalid")));
    let long = rig.get(&format!("/api/v1/events?type={}", "a".repeat(60_000))).await;
    assert_eq!(long.status, 400);
    for unknown in [
        "events/evt_0000000000000",
        "events/nonsense",
        "events/%FF",
        "events/evt_0000000000000/body",
        "nothing",
        "../admin",
    ] {
        assert_eq!(rig.get(&format!("/api/v1/{unknown}")).await.status, 404, "{unknown}");
    }
}
