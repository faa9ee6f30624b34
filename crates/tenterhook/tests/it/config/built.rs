//! What a correct config becomes.

use std::time::Duration;

use tenterhook::model::{OnConflict, OnDead, OnDuplicateOfDead, OnRepeat, Priority};
use tenterhook::policy::backoff::RetryPolicy;
use tenterhook::policy::breaker::BreakerPolicy;
use tenterhook::source::{IdRule, Unmatched};

use super::{Bench, SMALL, built};

const FULL: &str = r#"
[server]
listen = "0.0.0.0:8443"
trusted_proxies = ["10.0.0.0/8", "::1"]
unverified_bytes_max = "64MiB"
rate_per_address = { rate = "60/m", burst = 30 }
[store]
url = "memory:"
retention = "7d"
dead_retention = "90d"
max_bytes = "1GiB"
[[admin_tokens]]
name = "ops"
role = "operator"
token = "env:ADMIN_TOKEN"
[sources.stripe]
provider = "stripe"
secrets = ["env:STRIPE_WEBHOOK_SECRET"]
tolerance = "10m"
window = "30d"
on_repeat = "duplicate"
on_conflict = "deliver"
conflict_status = 409
on_duplicate_of_dead = "report"
duplicate_result = true
response = { status = 200, body = "ok" }
body_bytes_max = 1000
rate = "100/s"
allow_from = ["192.0.2.1"]
forward_headers = ["Authorization"]
events = ["invoice.*"]
event_id = ["json:/id", "header:X-Id"]
unmatched = "deliver:deploy"
[sources.partner]
path = "/in/partner"
verify = { header = "X-Partner-Signature", mac = "hmac-sha256", encoding = "hex", prefix = "sha256=", content = "{t}.{body}", timestamp = { header = "X-Partner-Time", tolerance = "5m" } }
event_type = "header:X-Partner-Event"
secrets = ["env:PARTNER_SECRET"]
[destinations.app]
type = "http"
url = "https://app.example.com/hooks?x=1"
timeout = "20s"
signing_secret = "env:APP_SIGNING_SECRET"
headers = { authorization = "env:PARTNER_SECRET", x-team = "payments" }
dead_statuses = [404]
concurrency = 4
rate = "50/s"
batch = { max = 20 }
retry = { base = "2s", cap = "1h", jitter = 0, attempts_max = 5 }
breaker = { failures = 3, rate = { share = 0.5 }, probe_every = "5s", successes = 1 }
[destinations.deploy]
type = "command"
command = ["./deploy.sh", "--now"]
dead_codes = [3]
[[routes]]
source = ["stripe", "partner"]
events = ["invoice.paid", "payment_intent.*"]
destination = "app"
priority = "high"
ordering_key = "json:/data/object/customer"
on_dead = "hold"
[[routes]]
source = "partner"
destination = "app"
"#;

#[test]
fn every_default_is_the_documented_one() {
    let config = built(SMALL);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.admin_listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.server.grace, Duration::from_secs(25));
    assert_eq!(config.server.unverified_bytes_max, 128 << 20);
    assert!(config.admin.open);
    assert_eq!(config.store.retention.events, Duration::from_secs(30 * 86400));
    assert_eq!(config.store.retention.dead, None);
    let source = &config.sources[0];
    assert_eq!(source.path, "/webhooks/stripe");
    assert_eq!(source.limits.body_bytes_max, 5 << 20);
    assert_eq!(source.dedupe.window, Duration::from_secs(7 * 86400));
    assert_eq!(source.dedupe.on_repeat, OnRepeat::Deliver);
    assert_eq!(source.unmatched, Unmatched::Ignore);
    let app = config.destinations.values().next().unwrap();
    assert_eq!(app.lane.retry, RetryPolicy::default());
    assert_eq!(app.lane.breaker, BreakerPolicy::default());
    assert_eq!(app.lane.batch_max, 1);
    assert_eq!(app.lane.timeout, Duration::from_secs(30));
    assert_eq!(app.target, "http http://127.0.0.1:3000/hooks");
    assert!(config.warnings.is_empty());
}

#[test]
fn the_store_is_beside_the_config() {
    let bench = Bench::new();
    let config = bench.load(SMALL).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.store.url, format!("sqlite:{}", bench.path("tenterhook.db").display()));
}

#[test]
fn every_key_of_a_source_is_taken() {
    let config = built(FULL);
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert_eq!(config.store.retention.dead, Some(Duration::from_secs(90 * 86400)));
    assert_eq!(config.store.bytes_max, Some(1 << 30));
    assert!(!config.admin.open && config.admin.tokens[0].operator);
    let [stripe, partner] = config.sources.as_slice() else { panic!("two sources") };
    assert_eq!(stripe.dedupe.window, Duration::from_secs(30 * 86400));
    assert_eq!(stripe.dedupe.on_repeat, OnRepeat::Duplicate);
    assert_eq!(stripe.dedupe.on_conflict, OnConflict::Deliver);
    assert_eq!(stripe.dedupe.on_duplicate_of_dead, OnDuplicateOfDead::Report);
    assert_eq!(stripe.response.conflict_status.map(|status| status.as_u16()), Some(409));
    assert_eq!(stripe.response.status.map(|status| status.as_u16()), Some(200));
    assert_eq!(stripe.response.body, Some(("ok".to_owned(), "text/plain".to_owned())));
    assert!(stripe.response.duplicate_result);
    assert_eq!(stripe.limits.body_bytes_max, 1000);
    assert_eq!(stripe.limits.rate_per_address.map(|rate| (rate.per_second, rate.burst)), Some((1.0, 30)));
    assert_eq!(stripe.limits.allow_from[0].to_string(), "192.0.2.1/32");
    assert_eq!(stripe.forward_headers, ["authorization"]);
    assert!(matches!(&stripe.event_id, IdRule::Located(places) if places.alternatives[0].len() == 2));
    assert_eq!(stripe.unmatched, Unmatched::Deliver("deploy".parse().unwrap()));
    assert_eq!(partner.path, "/in/partner");
    assert!(partner.provider.is_none() && partner.event_id == IdRule::Automatic);
    assert_eq!(partner.dedupe.window, Duration::from_secs(7 * 86400));
}

#[test]
fn every_key_of_destinations_and_routes_is_taken() {
    let config = built(FULL);
    let app = &config.destinations[&"app".parse().unwrap()];
    assert_eq!(app.destination.kind(), "http");
    assert_eq!(app.target, "http https://app.example.com/hooks", "no query");
    assert_eq!((app.lane.concurrency, app.lane.batch_max), (4, 20));
    assert_eq!(app.lane.timeout, Duration::from_secs(20));
    assert_eq!(app.lane.retry.attempts_max, 5);
    assert_eq!(app.lane.breaker.rate.map(|rate| rate.share), Some(0.5));
    let deploy = &config.destinations[&"deploy".parse().unwrap()];
    assert_eq!((deploy.destination.kind(), deploy.target.as_str()), ("command", "command ./deploy.sh"));
    assert_eq!(deploy.lane.timeout, Duration::from_secs(300));
    assert_eq!(config.sources[0].routes.len(), 1);
    let [first, second] = config.sources[1].routes.as_slice() else { panic!("two routes") };
    assert_eq!((first.priority, first.on_dead), (Priority::High, OnDead::Hold));
    assert!(first.ordering_key.is_some());
    assert_eq!((second.priority, second.on_dead), (Priority::Normal, OnDead::Continue));
    assert!(second.events.is_empty());
}

#[test]
fn the_masked_config_shows_what_holds_and_hides_secrets() {
    let config = built(FULL);
    let masked = &config.masked;
    assert_eq!(masked["sources"]["stripe"]["secrets"][0]["value"], "***");
    assert_eq!(masked["sources"]["stripe"]["secrets"][0]["ref"], "env:STRIPE_WEBHOOK_SECRET");
    assert_eq!(masked["destinations"]["app"]["headers"]["authorization"]["value"], "***");
    assert_eq!(masked["destinations"]["app"]["headers"]["x-team"], "payments");
    assert_eq!(masked["server"]["grace"], "25s", "a default");
    assert_eq!(masked["destinations"]["deploy"]["retry"]["attempts_max"], 27, "a default");
    let text = masked.to_string();
    for (_, value) in Bench::new().environment.iter().filter(|(name, _)| *name != "PATH") {
        assert!(!text.contains(value), "{text}");
    }
}

#[test]
fn what_should_be_known_is_warned_about() {
    let loose = format!(
        "[server]\nlisten = \"0.0.0.0:8080\"\nadmin_auth = \"none\"\n{SMALL}\n[[routes]]\nsource = \"stripe\"\nevents = [\"invoice.*\"]\ndestination = \"app\"\n[sources.lonely]\nprovider = \"stripe\"\nsecrets = [\"env:PARTNER_SECRET\"]\n[destinations.unused]\ntype = \"http\"\nurl = \"http://127.0.0.1:1\"\n[[admin_tokens]]\nname = \"x\"\ntoken = \"env:ADMIN_TOKEN\"\n"
    );
    insta::assert_snapshot!(Bench::new().warnings(&loose), @r#"
    tenterhook.toml:2: server.listen: plain HTTP on an address that is not loopback: webhooks belong on HTTPS
      hint: set `server.tls`, or put a proxy in front and name it in `server.trusted_proxies`
    tenterhook.toml:3: server.admin_auth: `admin_auth = "none"`: the `admin_tokens` are not asked for
      hint: write `admin_auth = "tokens"`
    tenterhook.toml:17: routes[1]: never acts: `routes[0]` already sends these events of `stripe` to `app`
      hint: put it before that one, or remove it
    tenterhook.toml:21: sources.lonely: no route takes its events: they are recorded as ignored
      hint: add `[[routes]]` with `source` and `destination`
    tenterhook.toml:24: destinations.unused: no route leads here
      hint: add `[[routes]]` with `destination = "unused"`
    "#);
}

#[test]
fn settings_that_surprise_together_are_warned_about() {
    let odd = SMALL
        .replace("provider = \"stripe\"", "provider = \"github\"\ntolerance = \"5m\"")
        .replace("[[routes]]", "[[routes]]\non_dead = \"hold\"");
    insta::assert_snapshot!(Bench::new().warnings(&odd), @"
    tenterhook.toml:4: sources.stripe.tolerance: has no effect: this scheme signs no timestamp
      hint: remove it
    tenterhook.toml:12: routes[0].on_dead: has no effect: without an `ordering_key` nothing waits behind anything
      hint: add one, or remove this
    ");
    let short = SMALL.replace("provider = \"stripe\"", "provider = \"stripe\"\nwindow = \"1h\"");
    insta::assert_snapshot!(Bench::new().warnings(&short), @r"
    tenterhook.toml:4: sources.stripe.window: is shorter than the provider goes on retrying (3d)
      hint: a late retry would be taken for a new event: make it longer, or remove it
    ");
}

#[test]
fn a_route_that_is_narrower_and_comes_first_is_not_warned_about() {
    let narrow_first = SMALL.replace("[[routes]]", "[[routes]]\nsource = \"stripe\"\nevents = [\"invoice.*\"]\ndestination = \"app\"\npriority = \"high\"\n[[routes]]");
    assert_eq!(Bench::new().warnings(&narrow_first), "");
}

#[test]
fn a_reload_refuses_by_name_what_only_a_start_can_change() {
    let bench = Bench::new();
    let load = |text: &str| bench.load(text).unwrap_or_else(|error| panic!("{error}"));
    let first = load(SMALL);
    let same = load(&SMALL.replace("app", "application"));
    assert_eq!(first.unreloadable(&same), []);
    let other = load(&format!(
        "{SMALL}\n[server]\nlisten = \"127.0.0.1:9\"\nworkers = 2\n[store]\nurl = \"memory:\"\n"
    ));
    let problems: Vec<String> =
        first.unreloadable(&other).iter().map(|problem| problem.render("tenterhook.toml".as_ref())).collect();
    insta::assert_snapshot!(problems.join("\n"), @r"
    tenterhook.toml:15: server.listen: cannot change while the gateway runs
      hint: restart it, or undo the change
    tenterhook.toml:16: server.workers: cannot change while the gateway runs
      hint: restart it, or undo the change
    tenterhook.toml:18: store.url: cannot change while the gateway runs
      hint: restart it, or undo the change
    ");
}

#[test]
fn commands_find_a_gateway_without_its_secrets() {
    let bench = Bench::new().with("TENTERHOOK__SERVER__ADMIN_LISTEN", "127.0.0.1:9");
    let wrong_elsewhere =
        "[store]\nurl = \"sqlite:x.db\"\n[sources.stripe]\nsecrets = [\"env:NOT_SET_HERE\"]\n";
    let bench = bench.file("tenterhook.toml", wrong_elsewhere);
    let found = tenterhook::config::endpoints(&bench.path("tenterhook.toml"), &bench.environment).unwrap();
    assert_eq!(found.store_url, format!("sqlite:{}", bench.path("x.db").display()));
    assert_eq!(found.admin_listen.to_string(), "127.0.0.1:9");
    let bench = bench.file("tenterhook.toml", "[store]\nurl = 7\n");
    let refused =
        tenterhook::config::endpoints(&bench.path("tenterhook.toml"), &bench.environment).unwrap_err();
    assert_eq!(refused.problems.len(), 1, "{refused}");
}

/// `respond = "handler"` of a provider: by when it is answered, and with what where the handler says nothing.
fn answers(provider: &str, more: &str) -> (u128, u16, Option<String>, String) {
    let config = built(&format!(
        "[sources.it]\nprovider = \"{provider}\"\nsecrets = [\"env:APP_SIGNING_SECRET\"]\nrespond = \"handler\"\n{more}\n\
         [destinations.app]\ntype = \"http\"\nurl = \"http://127.0.0.1:3000/hooks\"\n\
         [[routes]]\nsource = \"it\"\ndestination = \"app\"\n"
    ));
    let respond = config.sources[0].respond.clone().unwrap();
    assert_eq!(respond.waiting_max, 100);
    let content_type = respond.fallback.content_type.map(|value| value.to_str().unwrap().to_owned());
    let body = String::from_utf8(respond.fallback.body.to_vec()).unwrap();
    (respond.timeout.as_millis(), respond.fallback.status.as_u16(), content_type, body)
}

#[test]
fn a_provider_that_waits_is_answered_in_its_time_and_with_what_promises_nothing() {
    let url = "public_url = \"https://hooks.example.com/webhooks/it\"";
    let text = |text: &str| Some(text.to_owned());
    for (provider, more, expected) in [
        ("slack", "", (2_500, 200, None, "")),
        ("twilio", url, (14_500, 200, text("text/xml"), "<Response/>")),
        ("supabase", "", (4_500, 503, None, "")),
        ("shopify", "", (4_500, 200, None, "")),
        ("stripe", "", (5_000, 200, None, "")),
        ("slack", "respond_timeout = \"1s\"", (1_000, 200, None, "")),
        (
            "supabase",
            "response = { status = 200, body = \"{}\", content_type = \"application/json\" }",
            (4_500, 200, text("application/json"), "{}"),
        ),
        (
            "slack",
            "response = { body = \"working on it\" }",
            (2_500, 200, text("text/plain"), "working on it"),
        ),
    ] {
        let (timeout, status, content_type, body) = expected;
        assert_eq!(
            answers(provider, more),
            (timeout, status, content_type, body.to_owned()),
            "{provider} {more}"
        );
    }
}

#[test]
fn what_a_receipt_cannot_do_is_told() {
    let bench = Bench::new();
    let supabase =
        SMALL.replace("provider = \"stripe\"", "provider = \"supabase\"\nrespond_timeout = \"1s\"");
    insta::assert_snapshot!(bench.warnings(&supabase), @r#"
    tenterhook.toml:3: sources.stripe.provider: Supabase Auth hooks acts on what its answer says, and a receipt says nothing
      hint: add `respond = "handler"`
    tenterhook.toml:4: sources.stripe.respond_timeout: has no effect: this source answers with a receipt
      hint: add `respond = "handler"`, or remove this
    "#);
    let slack = SMALL.replace(
        "provider = \"stripe\"",
        "provider = \"slack\"\nrespond = \"handler\"\nrespond_timeout = \"3s\"\nduplicate_result = true",
    );
    insta::assert_snapshot!(bench.warnings(&slack), @r#"
    tenterhook.toml:5: sources.stripe.respond_timeout: the provider has given up by then: it waits for 3s
      hint: remove it, or make it shorter than that
    tenterhook.toml:6: sources.stripe.duplicate_result: has no effect: with `respond = "handler"` a duplicate is answered what the handler had answered
      hint: remove it
    "#);
}
