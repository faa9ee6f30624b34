//! Redrive, replay, purge, cancel: exactly what was said, in slices, counted alike with and without a dry run.

use serde_json::{Value, json};
use tenterhook::model::Clock as _;

use super::rig::{Rig, dead, delivered, submission};

/// 1300 events for `app`: 1200 dead, 100 pending; 20 for `gone`, which is not configured: 5 dead, 15 pending.
async fn backlog(rig: Rig) -> Rig {
    rig.accept(0, 1300, &["app"]).await;
    rig.accept(5000, 20, &["gone"]).await;
    assert_eq!(rig.settle("app", 1000, dead).await, 1000);
    assert_eq!(rig.settle("app", 200, dead).await, 200);
    assert_eq!(rig.settle("gone", 5, dead).await, 5);
    rig
}

async fn counts(rig: &Rig) -> Value {
    let ledger = rig.get("/api/v1/ledger?verify=true").await.json();
    assert_eq!(ledger["balanced"], true);
    assert_eq!(ledger["verified"]["matches"], true, "{ledger}");
    ledger["deliveries"].clone()
}

/// Asks with `dry_run` first: it changes nothing, and says what the real run then does.
async fn order(rig: &Rig, path: &str, body: Value) -> u64 {
    let before = counts(rig).await;
    let mut dry = body.clone();
    dry["dry_run"] = json!(true);
    let dry = rig.post(path, dry).await.json();
    assert_eq!(counts(rig).await, before, "a dry run changed something");
    let real = rig.post(path, body.clone()).await.json();
    assert_eq!(
        (&dry["changed"], &dry["out_of_order"]),
        (&real["changed"], &real["out_of_order"]),
        "{path} {body}"
    );
    assert_eq!((&dry["dry_run"], &real["dry_run"]), (&json!(true), &json!(false)));
    real["changed"].as_u64().unwrap()
}

#[tokio::test]
async fn a_redrive_of_more_than_a_slice_takes_all_that_a_dry_run_counted() {
    for rig in Rig::each() {
        let rig = backlog(rig).await;
        assert_eq!(
            order(&rig, "/api/v1/dead/redrive", json!({"destination": "app", "type": "invoice"})).await,
            600
        );
        assert_eq!(order(&rig, "/api/v1/dead/redrive", json!({"destination": "app"})).await, 600);
        assert_eq!(order(&rig, "/api/v1/dead/redrive", json!({"all": true})).await, 5);
        assert_eq!(
            counts(&rig).await,
            json!({"owed": 1320, "delivered": 0, "pending": 1320, "leased": 0, "dead": 0, "purged": 0})
        );
        let audited: u64 = rig
            .get("/api/v1/audit")
            .await
            .items()
            .iter()
            .map(|entry| {
                assert_eq!(entry["action"], "redrive");
                entry["count"].as_u64().unwrap()
            })
            .sum();
        assert_eq!(audited, 1205, "every change is audited, and no dry run");
    }
}

#[tokio::test]
async fn a_limited_order_says_where_to_go_on() {
    for rig in Rig::each() {
        let rig = backlog(rig).await;
        let (mut changed, mut after, mut calls) = (0, Value::Null, 0);
        loop {
            let answer = rig
                .post("/api/v1/dead/redrive", json!({"destination": "app", "limit": 501, "after": after}))
                .await
                .json();
            changed += answer["changed"].as_u64().unwrap();
            calls += 1;
            after = answer["next"].clone();
            if after.is_null() {
                break;
            }
            assert_eq!(answer["changed"], 501);
        }
        assert_eq!((changed, calls), (1200, 3));
    }
}

#[tokio::test]
async fn purge_takes_dead_letters_and_of_orphans_also_what_is_pending() {
    for rig in Rig::each() {
        let rig = backlog(rig).await;
        assert_eq!(order(&rig, "/api/v1/dead/purge", json!({"orphaned": true})).await, 20);
        let id = rig.get("/api/v1/dead?limit=1").await.items()[0]["id"].clone();
        assert_eq!(order(&rig, "/api/v1/dead/purge", json!({"ids": [id]})).await, 1);
        assert_eq!(order(&rig, "/api/v1/dead/purge", json!({"ids": [id]})).await, 0, "it is gone");
        assert_eq!(order(&rig, "/api/v1/dead/purge", json!({"source": "stripe"})).await, 1199);
        assert_eq!(
            counts(&rig).await,
            json!({"owed": 1320, "delivered": 0, "pending": 100, "leased": 0, "dead": 0, "purged": 1220})
        );
    }
}

#[tokio::test]
async fn cancel_gives_up_what_is_pending() {
    for rig in Rig::each() {
        let rig = backlog(rig).await;
        assert_eq!(order(&rig, "/api/v1/deliveries/cancel", json!({"destination": "app"})).await, 100);
        let newest = rig.get("/api/v1/dead?destination=app&limit=100").await.items();
        assert!(newest.iter().all(|letter| letter["dead_reason"] == "cancelled"));
        assert_eq!(counts(&rig).await["dead"], 1305);
    }
}

#[tokio::test]
async fn replay_takes_delivered_and_dead_ones_as_asked() {
    for rig in Rig::each() {
        let ids = rig.accept(1, 4, &["app", "crm"]).await;
        rig.settle("app", 3, delivered).await;
        rig.settle("crm", 2, dead).await;
        let one = format!("/api/v1/events/{}/replay", ids[0]);
        assert_eq!(order(&rig, &one, json!({"destination": "crm"})).await, 1);
        assert_eq!(order(&rig, &one, json!({})).await, 1, "the delivered one; the other is pending by now");
        assert_eq!(order(&rig, "/api/v1/replay", json!({"all": true, "state": "delivered"})).await, 2);
        assert_eq!(order(&rig, "/api/v1/replay", json!({"source": "stripe"})).await, 1);
        assert_eq!(counts(&rig).await["pending"], 8);
        assert_eq!(rig.post("/api/v1/events/evt_0000000000000/replay", json!({})).await.status, 404);
    }
}

#[tokio::test]
async fn what_was_overtaken_is_left_alone_unless_asked_for() {
    for rig in Rig::each() {
        let ordered = |number| submission(number, &["app"], rig.clock.now(), Some("customer 7"));
        rig.accept_these(vec![ordered(1), ordered(2), ordered(3)]).await;
        rig.settle("app", 1, dead).await;
        rig.settle("app", 1, delivered).await;
        rig.settle("app", 1, delivered).await;
        let body = json!({"all": true});
        assert_eq!(order(&rig, "/api/v1/dead/redrive", body.clone()).await, 0);
        assert_eq!(rig.post("/api/v1/dead/redrive", body.clone()).await.json()["out_of_order"], 1);
        assert_eq!(order(&rig, "/api/v1/replay", body).await, 1, "only the newest may go again");
        rig.settle("app", 1, delivered).await;
        assert_eq!(order(&rig, "/api/v1/dead/redrive", json!({"all": true, "out_of_order": true})).await, 1);
    }
}

#[tokio::test]
async fn an_order_that_says_too_little_or_something_else_is_refused() {
    let rig = backlog(Rig::trusted()).await;
    let before = counts(&rig).await;
    for (path, body, detail) in [
        ("dead/redrive", json!({}), "nothing says which deliveries"),
        ("dead/purge", json!({"dry_run": true}), "nothing says which deliveries"),
        (
            "dead/redrive",
            json!({"all": true, "source": "stripe"}),
            "`all` and a filter contradict each other",
        ),
        ("dead/redrive", json!({"all": true, "state": "dead"}), "`state` means nothing to a redrive"),
        ("dead/redrive", json!({"orphaned": true}), "`orphaned` means nothing to a redrive"),
        ("dead/purge", json!({"all": true, "out_of_order": true}), "`out_of_order` means nothing to a purge"),
        ("dead/redrive", json!({"ids": []}), "`ids` has to name 1 to 1000 deliveries"),
        (
            "dead/redrive",
            json!({"ids": vec!["evt_0000000000000/app"; 1001]}),
            "`ids` has to name 1 to 1000 deliveries",
        ),
        ("dead/redrive", json!({"ids": ["evt_x"]}), "`evt_x` is not a value of `ids`"),
        ("dead/redrive", json!({"all": true, "limit": 0}), "`limit` is 0"),
        ("replay", json!({"all": true, "state": "pending"}), "`pending` is not a value of `state`"),
    ] {
        let answer = rig.post(&format!("/api/v1/{path}"), body.clone()).await;
        assert_eq!(answer.status, 400, "{path} {body}");
        assert_eq!(answer.json()["detail"], detail, "{path} {body}");
    }
    for (path, body) in [
        ("dead/redrive", r#"{"all": true, "dryrun": true}"#),
        ("dead/redrive", r#"{"all": true, "dry_run": true, "dry_run": false}"#),
        ("dead/redrive", r#"{"all": "true"}"#),
        ("dead/redrive", r#"{"all": true, "limit": -1}"#),
        ("dead/redrive", r#"{"all": true, "limit": 1.5}"#),
        ("dead/redrive", "[]"),
        ("dead/redrive", "all"),
        ("dead/redrive?dry_run=true", r#"{"all": true}"#),
        ("reload", r#"{"force": true}"#),
    ] {
        let request = super::rig::request(http::Method::POST, &format!("/api/v1/{path}"), None, body);
        let answer = super::rig::ask(&rig.router, request).await;
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
    }
    let long = super::rig::request(http::Method::POST, "/api/v1/dead/redrive", None, &" ".repeat(300_000));
    assert_eq!(super::rig::ask(&rig.router, long).await.status, 413);
    assert_eq!(counts(&rig).await, before, "a refused order changed something");
}
