//! Registering a source at a provider that brings its key, as a person does it: the binary, a window, a kill, a rotation.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Response};
use rustix::process::Signal;
use tenterhook::model::SystemClock;
use tenterhook_verify::{Request, Secret, Verifier, provider};

use crate::rig::{Gateway, PATIENCE, Site};

const FIRST: &str = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81";
const SECOND: &str = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl";
const SOURCES: &str = "[sources.asana]\nprovider = \"asana\"\n[sources.notion]\nprovider = \"notion\"\n";

/// One of the two providers.
struct Provider {
    name: &'static str,
    gateway: String,
}

impl Provider {
    fn of(name: &'static str, gateway: &Gateway) -> Self {
        Self { name, gateway: gateway.at.ingress.clone() }
    }

    async fn send(&self, headers: HeaderMap, body: String) -> Response {
        let url = format!("{}/webhooks/{}", self.gateway, self.name);
        Client::new().post(url).headers(headers).body(body).send().await.unwrap()
    }

    /// Brings a key.
    async fn brings(&self, key: &str) -> Response {
        let mut headers = HeaderMap::new();
        let body = match self.name {
            "notion" => format!("{{\"verification_token\":\"{key}\"}}"),
            _ => {
                headers.insert("x-hook-secret", HeaderValue::from_str(key).unwrap());
                "{}".to_owned()
            }
        };
        self.send(headers, body).await
    }

    /// Sends an event that is signed with a key; its status.
    async fn event(&self, key: &str, number: u32) -> u16 {
        let scheme = provider::provider(self.name).unwrap().scheme.clone();
        let verifier = Verifier::new(scheme, vec![Secret::new(key)]).unwrap();
        let body = format!("{{\"id\":\"{number}\",\"type\":\"page.created\"}}");
        let (headers, method) = (HeaderMap::new(), reqwest::Method::POST);
        let request = Request { method: &method, url: None, headers: &headers, body: body.as_bytes() };
        let signed = verifier.sign(&request, None, SystemClock::wall().to_system()).unwrap();
        self.send(signed, body).await.status().as_u16()
    }
}

/// `tenterhook sources pending …` against a running gateway.
async fn pending(site: &Site, gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = site.command(&["sources", "pending"]);
    let output = command.args(arguments).args(["--admin-url", &gateway.at.admin]).output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

async fn opened(site: &Site, gateway: &Gateway, arguments: &[&str]) {
    let (code, said) = pending(site, gateway, arguments).await;
    assert_eq!(code, Some(0), "{said}");
}

/// Everything that a gateway says of itself.
async fn said(gateway: &Gateway) -> String {
    let mut said = gateway.log();
    for path in
        ["/metrics", "/api/v1/config", "/api/v1/sources", "/api/v1/audit", "/api/v1/rejections", "/readyz"]
    {
        said.push_str(&gateway.admin_text(path).await);
    }
    said
}

#[tokio::test]
async fn a_key_is_learnt_in_its_window_counts_at_once_and_outlives_a_kill() {
    let site = Site::new(SOURCES);
    let gateway = site.start().await;
    assert!(gateway.log().contains("no key yet"), "{}", gateway.log());
    for (name, key) in [("asana", FIRST), ("notion", SECOND)] {
        let provider = Provider::of(name, &gateway);
        assert_eq!(provider.brings(key).await.status(), 401, "{name}: no window is open");
        assert_eq!(provider.event(key, 1).await, 401);
        opened(&site, &gateway, &[name]).await;
        let answer = provider.brings(key).await;
        assert_eq!(answer.status(), 200, "{name}");
        let echoed = answer.headers().get("x-hook-secret").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(echoed, (name == "asana").then(|| key.to_owned()));
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(
            provider.brings("somebody-elses-key-0123456789").await.status(),
            401,
            "{name}: one a window"
        );
        assert_eq!(provider.event(key, 2).await, 202, "{name}");
        assert_eq!(provider.event("somebody-elses-key-0123456789", 3).await, 401);
        let file = site.path().join(format!("tenterhook.db.keys/{name}.json"));
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let sources = gateway.admin("/api/v1/sources").await;
    for source in sources["items"].as_array().unwrap() {
        assert_eq!((&source["secrets_live"], &source["secrets_learnt"]), (&1.into(), &1.into()), "{source}");
        assert!(!source["warnings"].to_string().contains("no key yet"), "{source}");
        assert!(source["registration_until"].is_null(), "{source}");
    }
    let audit = gateway.admin_text("/api/v1/audit").await;
    assert!(audit.contains("asana: a key from 127.0.0.1") && audit.contains("asana: opened"), "{audit}");

    let before = said(&gateway).await;
    gateway.signal(Signal::KILL);
    gateway.ended().await;
    let gateway = site.start().await;
    for (name, key) in [("asana", FIRST), ("notion", SECOND)] {
        let provider = Provider::of(name, &gateway);
        assert_eq!(provider.event(key, 4).await, 202, "{name} after a kill");
        assert_eq!(
            provider.brings(&format!("{key}{key}")).await.status(),
            401,
            "{name}: no window outlives it"
        );
    }
    let said = before + &said(&gateway).await;
    assert!(!said.contains(FIRST) && !said.contains(SECOND), "{said}");
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn a_key_rotates_by_another_window_and_the_former_one_ends_as_ordered() {
    let site = Site::new(SOURCES);
    let gateway = site.start().await;
    let asana = Provider::of("asana", &gateway);
    let keys = [
        "one-key-0123456789abcdef",
        "two-key-0123456789abcdef",
        "three-key-0123456789abcdef",
        "four-key-0123456789abcdef",
    ];
    for (number, (key, arguments)) in (0..).zip(keys.iter().zip([
        vec!["asana"],
        vec!["asana", "--former", "always"],
        vec!["asana", "--former", "0s"],
    ])) {
        opened(&site, &gateway, &arguments).await;
        assert_eq!(asana.brings(key).await.status(), 200);
        assert_eq!(asana.event(key, number).await, 202);
    }
    assert_eq!(asana.event(keys[0], 10).await, 401, "ended with the third");
    assert_eq!(asana.event(keys[1], 11).await, 401);
    opened(&site, &gateway, &["asana", "--for", "1h"]).await;
    assert_eq!(asana.brings(keys[3]).await.status(), 200);
    assert_eq!(
        (asana.event(keys[2], 12).await, asana.event(keys[3], 13).await),
        (202, 202),
        "both, for a day"
    );

    opened(&site, &gateway, &["asana"]).await;
    opened(&site, &gateway, &["asana", "--close"]).await;
    assert_eq!(asana.brings(keys[0]).await.status(), 401);
    // A reload reads the same keys again, and closes no window.
    opened(&site, &gateway, &["asana"]).await;
    let reload = site.command(&["reload", "--admin-url", &gateway.at.admin]).output().await.unwrap();
    assert!(reload.status.success(), "{}", gateway.log());
    assert_eq!(asana.event(keys[3], 14).await, 202);
    assert_eq!(asana.brings(keys[0]).await.status(), 200);
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn a_kill_around_the_answer_leaves_a_key_that_counts_or_none() {
    let site = Site::new(SOURCES);
    for round in 0..4 {
        let gateway = site.start().await;
        opened(&site, &gateway, &["asana", "--former", "0s"]).await;
        let key = format!("the-key-of-round-{round}-0123456789");
        let asana = Provider::of("asana", &gateway);
        let asked = {
            let (asana, key) = (Provider { ..asana }, key.clone());
            tokio::spawn(async move {
                let mut headers = HeaderMap::new();
                headers.insert("x-hook-secret", HeaderValue::from_str(&key).unwrap());
                let url = format!("{}/webhooks/asana", asana.gateway);
                Client::new().post(url).headers(headers).send().await.map(|answer| answer.status().as_u16())
            })
        };
        let file = site.path().join("tenterhook.db.keys/asana.json");
        let is_written = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&key));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut look = tokio::time::interval(Duration::from_millis(1));
        while !is_written() {
            look.tick().await;
            assert!(tokio::time::Instant::now() < deadline, "never written:\n{}", gateway.log());
        }
        // Now, or a moment before the sender is answered, or a moment after.
        gateway.signal(Signal::KILL);
        gateway.ended().await;
        let answered = asked.await.unwrap();
        assert!(answered.is_err() || answered.is_ok_and(|status| status == 200));
        let gateway = site.start().await;
        assert_eq!(Provider::of("asana", &gateway).event(&key, round).await, 202, "round {round}");
        assert!(gateway.stop().await.success());
    }
}

#[tokio::test]
async fn what_cannot_be_awaited_is_refused_with_a_way_out() {
    let github = "[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n";
    let site = Site::new(&format!("{SOURCES}{github}")).env("RIG_SECRET", "0123456789abcdef0123456789abcdef");
    let gateway = site.start().await;
    for (arguments, exit, told) in [
        (&["nobody"][..], 4, "no such source"),
        (&["github"], 2, "its provider brings no key"),
        (&["asana", "--for", "soon"], 2, "`--for soon` is no time"),
        (&["asana", "--for", "2d"], 2, "out of range"),
    ] {
        let (code, said) = pending(&site, &gateway, arguments).await;
        assert_eq!(code, Some(exit), "{arguments:?}: {said}");
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
    assert!(gateway.stop().await.success());
    let offline = site.command(&["sources", "pending", "asana"]).output().await.unwrap();
    assert_eq!(offline.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&offline.stderr).contains("only a running gateway"));

    std::fs::create_dir_all(site.path().join("tenterhook.db.keys")).unwrap();
    std::fs::write(site.path().join("tenterhook.db.keys/asana.json"), "{\"keys\":[{\"key\":\"hunter2")
        .unwrap();
    let damaged = site.command(&["check"]).output().await.unwrap();
    let said = String::from_utf8([damaged.stdout, damaged.stderr].concat()).unwrap();
    assert_eq!(damaged.status.code(), Some(2), "{said}");
    assert!(
        said.contains("asana.json") && said.contains("restore the file") && !said.contains("hunter2"),
        "{said}"
    );
}
