//! One event from acceptance to delivery, seen through the API alone; and what it never shows.

use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{Rig, START, ask, dead, delivered, request};

async fn ledger(rig: &Rig) -> Value {
    rig.get("/api/v1/ledger").await.json()
}

#[tokio::test]
async fn the_whole_life_of_an_event_is_seen_by_the_api() {
    for rig in Rig::each() {
        let id = rig.accept(1, 1, &["app"]).await[0].to_string();
        let expected = json!({
            "events": {"accepted": 1, "ignored": 0, "conflicts": 0},
            "deliveries": {"owed": 1, "delivered": 0, "pending": 1, "leased": 0, "dead": 0, "purged": 0},
            "balanced": true,
        });
        assert_eq!(ledger(&rig).await, expected);
        let [listed] = &rig.get("/api/v1/events").await.items()[..] else { panic!("one event") };
        assert_eq!(listed["id"], id.as_str());
        assert_eq!(listed["state"], "pending");
        assert_eq!(listed["received_at"], "2025-11-24T16:00:00.001Z");

        let leases = rig.lease("app", 10).await;
        assert_eq!(ledger(&rig).await["deliveries"]["leased"], 1);
        let [leased] = &rig.get("/api/v1/deliveries?state=leased").await.items()[..] else { panic!("one") };
        assert_eq!(leased["leased_until"], "2025-11-24T16:01:00.001Z");
        rig.store.settle(vec![dead(&leases[0])]).await.unwrap();

        let [letter] = &rig.get("/api/v1/dead").await.items()[..] else { panic!("one dead letter") };
        assert_eq!(letter["id"], format!("{id}/app"));
        assert_eq!(letter["dead_reason"], "attempts_exhausted");
        let shown = rig.get(&format!("/api/v1/events/{id}")).await.json();
        assert_eq!(shown["state"], "dead");
        assert_eq!(shown["event_id"], "evt_provider_1");
        assert_eq!(shown["deliveries"][0]["attempts"], 1);
        let attempt = &shown["deliveries"][0]["attempt_log"][0];
        assert_eq!(
            *attempt,
            json!({"number": 1, "started_at": "2025-11-24T17:00:00.000Z", "took_ms": 12, "status": 500,
            "failure": "server", "verdict": "dead_letter", "excerpt": "<b>broken</b>"})
        );

        let redriven = rig.post("/api/v1/dead/redrive", json!({"event": id})).await.json();
        assert_eq!(redriven, json!({"dry_run": false, "changed": 1, "out_of_order": 0, "next": null}));
        rig.clock.set(START.plus(Duration::from_secs(7200)));
        assert_eq!(rig.settle("app", 10, delivered).await, 1);
        let shown = rig.get(&format!("/api/v1/events/{id}")).await.json();
        assert_eq!(shown["state"], "delivered");
        assert_eq!(shown["deliveries"][0]["attempt_log"][1]["number"], 2);
        assert_eq!(shown["deliveries"][0]["attempt_log"][1]["verdict"], "complete");
        let expected = json!({
            "events": {"accepted": 1, "ignored": 0, "conflicts": 0},
            "deliveries": {"owed": 1, "delivered": 1, "pending": 0, "leased": 0, "dead": 0, "purged": 0},
            "balanced": true,
        });
        assert_eq!(ledger(&rig).await, expected);
        let verified = rig.get("/api/v1/ledger?verify=true").await.json();
        assert_eq!(verified["verified"]["matches"], true);
        assert_eq!(verified["verified"]["deliveries"], expected["deliveries"]);

        let [entry] = &rig.get("/api/v1/audit").await.items()[..] else { panic!("one line") };
        assert_eq!(entry["actor"], "cli");
        assert_eq!(entry["action"], "redrive");
        assert_eq!(entry["subject"], format!("event={id}"));
        assert_eq!(entry["count"], 1);
    }
}

#[tokio::test]
async fn a_body_is_a_download_under_our_own_name_and_never_a_page() {
    let rig = Rig::trusted();
    let id = rig.accept(1, 1, &["app"]).await[0];
    let answer = rig.get(&format!("/api/v1/events/{id}/body")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), r#"{"n":1,"html":"<script>alert(1)</script>"}"#);
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let disposition = format!("attachment; filename=\"{id}.bin\"");
    assert_eq!(answer.header("content-disposition"), Some(&*disposition));
    assert!(answer.header("content-security-policy").is_some_and(|policy| policy.contains("sandbox")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(rig.get(&format!("/api/v1/events/{id}/body?conflict=1")).await.status, 404);
}

#[tokio::test]
async fn no_answer_shows_a_credential() {
    let rig = Rig::trusted();
    let id = rig.accept(1, 1, &["app"]).await[0];
    for path in [
        format!("/api/v1/events/{id}"),
        "/api/v1/events".to_owned(),
        "/api/v1/deliveries".to_owned(),
        "/api/v1/sources".to_owned(),
        "/api/v1/destinations".to_owned(),
        "/api/v1/config".to_owned(),
        "/api/v1/audit".to_owned(),
        "/api/v1/rejections".to_owned(),
        "/metrics".to_owned(),
        "/readyz".to_owned(),
    ] {
        let answer = rig.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains("canary"), "{path} shows {}", answer.text());
    }
    let shown = rig.get(&format!("/api/v1/events/{id}")).await.json();
    assert_eq!(shown["url"], "/webhooks/stripe?token=***");
    let headers = shown["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["authorization", "***"])));
    assert!(headers.contains(&json!(["content-type", "text/html"])));
}

#[tokio::test]
async fn the_gateway_is_seen_with_its_lanes_and_what_it_owes() {
    let rig = Rig::trusted();
    rig.accept(1, 3, &["app", "gone"]).await;
    rig.settle("gone", 1, dead).await;
    let items = rig.get("/api/v1/destinations").await.items();
    let by_name = |name: &str| items.iter().find(|item| item["name"] == name).unwrap().clone();
    let app = by_name("app");
    assert_eq!(app["configured"], true);
    assert_eq!(app["pending"], 3);
    assert_eq!(app["lane"]["breaker"], "open");
    assert_eq!(app["target"], "http://127.0.0.1:3000/hooks");
    assert_eq!(by_name("crm")["lane"], Value::Null);
    let gone = by_name("gone");
    assert_eq!((&gone["configured"], &gone["pending"], &gone["dead"]), (&json!(false), &json!(2), &json!(1)));

    assert_eq!(
        rig.post("/api/v1/destinations/app/pause", json!({})).await.json(),
        json!({"destination": "app", "paused": true})
    );
    assert!(rig.lease("app", 10).await.is_empty(), "paused");
    assert_eq!(rig.post("/api/v1/destinations/app/resume", json!({})).await.json()["paused"], false);
    assert_eq!(rig.lease("app", 10).await.len(), 3);
    assert_eq!(rig.post("/api/v1/destinations/nowhere/pause", json!({})).await.status, 404);
    let tested = rig.post("/api/v1/destinations/app/test", json!({})).await.json();
    assert_eq!((&tested["outcome"], &tested["failure"]), (&json!("failed"), &json!("connect")));
    assert_eq!(rig.post("/api/v1/destinations/nowhere/test", json!({})).await.status, 404);

    assert_eq!(rig.post("/api/v1/reload", json!({})).await.json(), json!({"reloaded": true}));
    *rig.gateway.refuses_reload.lock().unwrap() = Some("tenterhook.toml:3: unknown key".to_owned());
    let refused = rig.post("/api/v1/reload", json!({})).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["code"], "config_refused");
    assert_eq!(refused.json()["detail"], "tenterhook.toml:3: unknown key");
    let actions: Vec<_> =
        rig.get("/api/v1/audit").await.items().iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["reload", "test", "resume", "pause"]);
}

#[tokio::test]
async fn a_stopped_store_shows_its_events_and_says_what_it_cannot_know() {
    let rig = Rig::trusted();
    rig.accept(1, 1, &["app"]).await;
    let stopped = rig.stopped();
    let get = async |path: &str| ask(&stopped, request(http::Method::GET, path, None, "")).await;
    assert_eq!(get("/api/v1/events").await.items().len(), 1);
    let [app] = &get("/api/v1/destinations").await.items()[..] else { panic!("one") };
    assert_eq!((&app["configured"], &app["lane"], &app["pending"]), (&Value::Null, &Value::Null, &json!(1)));
    for path in ["/api/v1/sources", "/api/v1/config"] {
        let answer = get(path).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (409, &json!("not_running")), "{path}");
    }
    let orphans = request(http::Method::POST, "/api/v1/dead/purge", None, r#"{"orphaned": true}"#);
    assert_eq!(
        ask(&stopped, orphans).await.status,
        409,
        "without a config every delivery would be an orphan"
    );
}

#[tokio::test]
async fn readiness_and_metrics_tell_when_the_store_is_gone() {
    let rig = Rig::trusted();
    let ready = rig.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["status"], "ready");
    assert_eq!(ready.json()["lanes"][0][0], "app");
    rig.store.close().await.unwrap();
    let ready = rig.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["store"]["ready"], false);
    let refused = rig.get("/api/v1/events").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, Some("1")));
    let page = rig.get("/metrics").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("tenterhook_store_up 0"));
    assert!(page.text().contains(r#"webhook_received_total{source="stripe"} 0"#));
    assert_eq!(rig.get("/healthz").await.json()["status"], "healthy");
    assert_eq!(rig.get("/webhooks/health").await.json()["timestamp"], "2025-11-24T16:00:00.000Z");
}

#[tokio::test]
async fn the_metrics_page_says_what_the_store_says() {
    let rig = Rig::trusted();
    rig.accept(1, 5, &["app", "crm"]).await;
    rig.settle("app", 2, dead).await;
    rig.settle("crm", 1, delivered).await;
    let page = rig.get("/metrics").await;
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for expected in [
        r#"webhook_dlq_size{destination="app"} 2"#,
        r#"webhook_dlq_size{destination="crm"} 0"#,
        r#"tenterhook_lane_pending{destination="app"} 3"#,
        r#"tenterhook_lane_pending{destination="crm"} 4"#,
        r#"tenterhook_breaker_state{destination="app"} 2"#,
        r#"tenterhook_lane_in_flight{destination="app"} 2"#,
        "tenterhook_dedupe_keys 5",
        "tenterhook_committed_submissions_total 5",
        "tenterhook_store_up 1",
    ] {
        assert!(
            page.text().lines().any(|line| line == expected),
            "{expected} is missing in\n{}",
            page.text()
        );
    }
}
