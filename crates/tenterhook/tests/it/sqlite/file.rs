//! The file: whose it is, who holds it, what survives in it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;

use tenterhook::model::{Accepted, Clock, DeadReason, DeliveryState, Lease, Origin, Timestamp, Verdict};
use tenterhook::store::sqlite::{SqliteSettings, SqliteStore};
use tenterhook::store::{Store, StoreErrorKind};
use tenterhook::telemetry::metrics::Metrics;

use super::{Bench, DAY, HOUR, MINUTE, START, accept, accept_new, draft, lease, prune, settlement};

#[tokio::test]
async fn a_second_open_is_refused_and_names_the_pid() {
    let bench = Bench::new();
    let store = bench.open();
    let refused = bench.try_open().expect_err("held");
    assert_eq!(refused.kind, StoreErrorKind::Locked);
    assert!(refused.message.contains(&std::process::id().to_string()), "{refused}");
    store.close().await.expect("closes");
    bench.open();
}

#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    let bench = Bench::new();
    let store = bench.open();
    accept_new(&store, draft("a", "{}", START)).await;
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let path = format!("{}{suffix}", bench.path().display());
        let mode = std::fs::metadata(&path).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
}

#[tokio::test]
async fn files_of_others_and_of_newer_versions_are_left_untouched() {
    let bench = Bench::new();
    let foreign = bench.dir.path().join("foreign.db");
    Connection::open(&foreign)
        .and_then(|conn| {
            conn.execute_batch("PRAGMA user_version=1; CREATE TABLE t(a); INSERT INTO t VALUES(1)")
        })
        .expect("a foreign database");
    let text = bench.dir.path().join("notes.txt");
    std::fs::write(&text, "not a database, but somebody's notes").expect("writes");
    let newer = bench.dir.path().join("newer.db");
    bench.open_at(&newer).expect("a store").close().await.expect("closes");
    Connection::open(&newer)
        .and_then(|conn| conn.execute_batch("PRAGMA user_version=99; PRAGMA wal_checkpoint(TRUNCATE)"))
        .expect("from the future");
    for path in [foreign, text, newer] {
        let before = std::fs::read(&path).expect("reads");
        let refused = bench.open_at(&path).expect_err("refused");
        assert_eq!(refused.kind, StoreErrorKind::Incompatible, "{}", path.display());
        assert_eq!(std::fs::read(&path).expect("reads"), before, "{} was touched", path.display());
    }
}

#[tokio::test]
async fn a_store_killed_while_it_was_created_is_created_anew() {
    let empty = |_: &Path| {};
    // What a failed first commit leaves: a header, and nothing in it.
    let header = |path: &Path| {
        let created = Connection::open(path).and_then(|conn| conn.execute_batch("VACUUM"));
        created.expect("an empty database");
        assert!(std::fs::metadata(path).expect("is there").len() > 0);
    };
    let leave: [&dyn Fn(&Path); 2] = [&empty, &header];
    for leave in leave {
        let bench = Bench::new();
        std::fs::write(bench.path(), "").expect("an empty file");
        leave(&bench.path());
        let store = bench.open();
        accept_new(&store, draft("a", "{}", START)).await;
        store.close().await.expect("closes");
        let version: i64 = Connection::open(bench.path())
            .and_then(|conn| conn.query_row("PRAGMA user_version", [], |row| row.get(0)))
            .expect("a version");
        assert_eq!(version, 3);
    }
}

#[tokio::test]
async fn everything_is_there_after_a_kill() {
    let bench = Bench::new();
    let store = bench.open();
    let first = accept_new(&store, draft("a", "{\"n\":1}", START)).await;
    let second = accept_new(&store, draft("b", "{\"n\":2}", START).ordered("k")).await;
    let leases = lease(&store, START, 1).await.leases;
    store.settle(vec![settlement(&leases[0], Verdict::Complete, START)]).await.expect("settles");
    let ledger = store.stats(START).await.expect("stats").ledger;
    let copy = bench.crash("killed.db");
    let killed = bench.open_at(&copy).expect("opens after a kill");
    for id in [first, second] {
        let before = store.event(id).await.expect("reads").expect("is there");
        assert_eq!(killed.event(id).await.expect("reads"), Some(before));
        let payload = store.payload(id, None).await.expect("reads");
        assert!(payload.is_some());
        assert_eq!(killed.payload(id, None).await.expect("reads"), payload);
    }
    assert_eq!(killed.stats(START).await.expect("stats").ledger, ledger);
    assert_eq!(killed.recount().await.expect("recounts"), ledger);
    assert!(ledger.is_balanced() && ledger.owed == 2 && ledger.delivered == 1, "{ledger:?}");
    for (key, body) in [("a", "{\"n\":1}"), ("b", "{\"n\":2}")] {
        let again = accept(&killed, draft(key, body, START)).await.expect("answers");
        assert!(matches!(again, Accepted::Duplicate(_)), "{again:?}");
    }
    let third = accept_new(&killed, draft("c", "{}", START)).await;
    assert!(third > second);
}

#[tokio::test]
async fn opening_ends_the_leases_of_the_former_process_with_their_attempts_counted() {
    let bench = Bench::new();
    let mut path = bench.path();
    let mut store = bench.open();
    accept_new(&store, draft("a", "{}", START)).await;
    for attempt in 1..=3 {
        let leases = lease(&store, START, 1).await.leases;
        assert_eq!(leases[0].message.attempt, attempt, "a crash loop counts its attempts");
        drop(store);
        path = bench.path();
        store = bench.open_at(&path).expect("opens");
    }
    assert!(lease(&store, START, 1).await.leases.is_empty());
    let dead = store.deliveries(Default::default()).await.expect("lists").items.remove(0);
    assert_eq!(dead.state, DeliveryState::Dead);
    assert_eq!(dead.dead_reason, Some(DeadReason::LeaseExpired));
    assert!(path.exists());
}

#[tokio::test]
async fn keys_survive_a_restart_through_runs_and_tail() {
    let bench = Bench::new();
    let store = bench.open();
    // One run and a tail: 67,000 keys, in batches that share commits.
    let batch = |from: u32| {
        (from..from + 1000)
            .map(|n| {
                draft(&n.to_string(), "{}", START)
                    .with(|parts| {
                        parts.provider_event_id = None;
                    })
                    .submission()
            })
            .collect::<Vec<_>>()
    };
    for from in (0..67_000).step_by(1000) {
        store.accept(batch(from)).await.expect("accepted");
    }
    store.close().await.expect("closes");
    let runs: i64 = Connection::open(bench.path())
        .and_then(|conn| conn.query_row("SELECT sum(length(pairs))/16 FROM dedupe_run", [], |row| row.get(0)))
        .expect("runs");
    assert!((65_536..67_000).contains(&runs), "{runs} keys in runs");
    let store = bench.open();
    assert_eq!(store.stats(START).await.expect("stats").dedupe_keys, 67_000);
    for n in [0, 1, 40_000, 65_535, 66_999] {
        let again = accept(&store, draft(&n.to_string(), "{}", START)).await.expect("answers");
        assert!(matches!(again, Accepted::Duplicate(_)), "{n}: {again:?}");
    }
    accept_new(&store, draft("67000", "{}", START)).await;
}

#[tokio::test]
async fn a_jump_of_the_clock_between_two_runs_removes_nothing_for_an_hour() {
    let retention = tenterhook::store::Retention { events: DAY, dead: None, audit: DAY, rows_max: 100 };
    for (confirm, wait) in [(true, MINUTE), (false, HOUR)] {
        let bench = Bench::new();
        let store = bench.open();
        let id = accept_new(&store, draft("a", "{}", START)).await;
        let leases = lease(&store, START, 1).await.leases;
        store.settle(vec![settlement(&leases[0], Verdict::Complete, START)]).await.expect("settles");
        drop(store);
        bench.clock.advance(DAY * 30);
        let store = bench.open();
        assert_eq!(prune(&store, retention, bench.now()).await.events, 0);
        let again = accept(&store, draft("a", "{}", bench.now())).await.expect("answers");
        assert!(
            matches!(again, Accepted::Duplicate(_)),
            "a key was forgotten by a doubtful clock: {again:?}"
        );
        bench.clock.advance(wait);
        if confirm {
            store.confirm_clock().await.expect("confirms");
        }
        assert_eq!(prune(&store, retention, bench.now()).await.events, 1);
        assert_eq!(store.event(id).await.expect("reads"), None);
        accept_new(&store, draft("a", "{}", bench.now())).await;
    }
}

#[tokio::test]
async fn a_second_start_does_not_end_the_doubt_about_a_clock_that_leapt() {
    let retention = tenterhook::store::Retention { events: DAY, dead: None, audit: DAY, rows_max: 100 };
    let bench = Bench::new();
    let store = bench.open();
    accept_new(&store, draft("a", "{}", START)).await;
    let leases = lease(&store, START, 1).await.leases;
    store.settle(vec![settlement(&leases[0], Verdict::Complete, START)]).await.expect("settles");
    drop(store);
    bench.clock.advance(DAY * 30);
    for _ in 0..3 {
        let store = bench.open();
        accept_new(&store, draft(&bench.now().rfc3339(), "{}", bench.now())).await;
        assert_eq!(prune(&store, retention, bench.now()).await.events, 0);
        let again = accept(&store, draft("a", "{}", bench.now())).await.expect("answers");
        assert!(matches!(again, Accepted::Duplicate(_)), "forgotten by a doubtful clock: {again:?}");
        drop(store);
        bench.clock.advance(MINUTE);
    }
    let store = bench.open();
    bench.clock.advance(HOUR);
    assert_eq!(prune(&store, retention, bench.now()).await.events, 1, "an hour has passed");
    accept_new(&store, draft("a", "{}", bench.now())).await;
}

#[tokio::test]
async fn a_clock_that_was_set_right_is_doubted_when_it_leaps_again() {
    let retention = tenterhook::store::Retention { events: DAY, dead: None, audit: DAY, rows_max: 100 };
    let bench = Bench::new();
    for (n, now) in [START, START.plus(DAY * 30), START.plus(MINUTE), START.plus(DAY * 30)].iter().enumerate()
    {
        bench.clock.set(*now);
        let store = bench.open();
        prune(&store, retention, bench.now()).await;
        accept_new(&store, draft(&n.to_string(), "{}", bench.now())).await;
        let again = accept(&store, draft("0", "{}", bench.now())).await.expect("answers");
        assert!(matches!(again, Accepted::Duplicate(_)), "start {n}: {again:?}");
    }
}

#[tokio::test]
async fn ids_and_due_times_do_not_follow_a_clock_that_went_back() {
    let bench = Bench::new();
    bench.clock.set(START.plus(DAY * 365));
    let store = bench.open();
    let first = accept_new(&store, draft("a", "{}", bench.now())).await;
    drop(store);
    bench.clock.set(START);
    let store = bench.open();
    let second = accept_new(&store, draft("b", "{}", START)).await;
    assert!(second > first);
    let due: Vec<_> = store.deliveries(Default::default()).await.expect("lists").items;
    let latest = START.plus(HOUR * 6);
    assert!(due.iter().all(|delivery| delivery.at <= latest), "{due:?}");
}

/// A clock on a machine that can tell two processes how far their clocks are apart.
struct OnMachine {
    now: Timestamp,
    boot: &'static str,
    up: Duration,
}

impl Clock for OnMachine {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn origin(&self) -> Option<Origin> {
        Some(Origin { boot: self.boot.to_owned(), at: self.now.minus(self.up) })
    }
}

/// When a delivery is due that was to wait a minute, seen by a process that starts 10 s later with its clock `ahead`
/// by so many hours (or behind).
async fn due_after_a_step(boot: &'static str, ahead: i64) -> i64 {
    let bench = Bench::new();
    let open = |clock| {
        SqliteStore::open(SqliteSettings::new(bench.path()), Arc::new(clock), Arc::new(Metrics::default()))
            .expect("opens")
    };
    let store = open(OnMachine { now: START, boot: "first", up: HOUR });
    accept_new(&store, draft("a", "{}", START)).await;
    let leases = lease(&store, START, 1).await.leases;
    let retry = Verdict::Retry { at: START.plus(MINUTE) };
    store.settle(vec![settlement(&leases[0], retry, START)]).await.expect("settles");
    store.close().await.expect("closes");
    let later = Duration::from_secs(10);
    let now = Timestamp::from_millis(START.plus(later).millis() + ahead * 3_600_000);
    let store = open(OnMachine { now, boot, up: HOUR + later });
    let due = store.deliveries(Default::default()).await.expect("lists").items.remove(0);
    due.at.millis() - now.millis()
}

#[tokio::test]
async fn a_backoff_goes_on_across_a_restart_with_a_clock_that_was_stepped() {
    for ahead in [0, -2, 24, 24 * 3652] {
        let left_ms = due_after_a_step("first", ahead).await;
        assert!((50_000..=50_050).contains(&left_ms), "{ahead} h: {left_ms} ms");
    }
}

#[tokio::test]
async fn a_second_start_after_a_clock_went_back_leaves_due_times_alone() {
    let bench = Bench::new();
    let open = |now, up| {
        let clock = Arc::new(OnMachine { now, boot: "first", up });
        SqliteStore::open(SqliteSettings::new(bench.path()), clock, Arc::new(Metrics::default()))
            .expect("opens")
    };
    let store = open(START, HOUR);
    accept_new(&store, draft("a", "{}", START)).await;
    store.close().await.expect("closes");
    let back = START.minus(DAY);
    for nth in 0..3 {
        let later = Duration::from_secs(10 * nth);
        let store = open(back.plus(later), HOUR + later);
        let now = back.plus(later);
        if nth == 0 {
            let lent = accept_new(&store, draft("b", "{}", now)).await;
            let leases = lease(&store, now, 2).await.leases;
            let of_b = leases.iter().find(|lease| lease.delivery.event == lent).expect("leased");
            let retry = Verdict::Retry { at: now.plus(MINUTE) };
            store.settle(vec![settlement(of_b, retry, now)]).await.expect("settles");
        }
        let listed = store.deliveries(Default::default()).await.expect("lists").items;
        let latest = listed.iter().map(|delivery| delivery.at).max().expect("some");
        assert!(
            latest >= back.plus(MINUTE),
            "start {nth}: due at {latest:?}, not at {:?}",
            back.plus(MINUTE)
        );
        store.close().await.expect("closes");
    }
}

#[tokio::test]
async fn after_another_boot_a_clock_that_went_back_holds_nothing_up() {
    let left_ms = due_after_a_step("second", -2).await;
    assert!((50_000..=60_050).contains(&left_ms), "{left_ms} ms");
    assert_eq!(due_after_a_step("second", 0).await, 50_000);
}

#[tokio::test]
async fn a_kill_spends_no_attempt_of_leases_that_were_only_taken_ahead() {
    let bench = Bench { begun_max: Some(2), ..Bench::new() };
    let mut store = bench.open();
    for key in ["a", "b", "c", "d", "e"] {
        accept_new(&store, draft(key, "{}", START)).await;
    }
    // Attempts in all, and of the budget, when each is leased again. The first kill leaves two that were begun and three
    // that were taken ahead; the second one five of the same moment, of which nobody knows which were begun.
    let first = [(1, 1), (1, 1)];
    let ahead = [(1, 1), (1, 1), (1, 1)];
    for (now, limit, expected) in [(0, 2, &first[..]), (1, 3, &ahead[..])] {
        let leases = lease(&store, START.plus(Duration::from_millis(now)), limit).await.leases;
        assert_eq!(counted(&leases), expected);
    }
    for expected in [[(2, 2), (2, 2), (2, 1), (2, 1), (2, 1)], [(3, 3), (3, 3), (3, 2), (3, 2), (3, 2)]] {
        drop(store);
        store = bench.open();
        let leases = lease(&store, START.plus(Duration::from_millis(2)), 10).await.leases;
        assert_eq!(counted(&leases), expected);
    }
    drop(store);
    store = bench.open();
    let ledger = store.stats(START).await.expect("stats").ledger;
    assert_eq!(
        (ledger.dead, ledger.pending),
        (2, 3),
        "the budget of three is spent by those that were begun"
    );
}

fn counted(leases: &[Lease]) -> Vec<(u32, u32)> {
    leases.iter().map(|lease| (lease.message.attempt, lease.attempt_of_budget)).collect()
}

#[tokio::test]
async fn an_empty_database_with_a_wal_beside_it_is_refused_and_left_as_it_is() {
    let bench = Bench::new();
    let store = bench.open();
    accept_new(&store, draft("a", "{}", START)).await;
    let copy = bench.crash("cut.db");
    let wal = format!("{}-wal", copy.display());
    std::fs::write(&copy, "").expect("cuts");
    let before = std::fs::read(&wal).expect("reads");
    let refused = bench.open_at(&copy).expect_err("refused");
    assert_eq!(refused.kind, StoreErrorKind::Corrupt, "{refused}");
    assert_eq!(std::fs::read(&wal).expect("reads"), before);
}
