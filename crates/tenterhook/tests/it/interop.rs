//! The official SDKs from npm and PyPI against the gateway, both ways. `./scripts/test` installs them; without them
//! these tests fail and say so.

mod resign;
mod samples;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use data_encoding::BASE64;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::rig::Site;
use crate::rig::handler::Handler;

const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One SDK, with the source that it speaks to.
struct Case {
    script: &'static str,
    sdk: &'static str,
    source: &'static str,
    secret: &'static str,
    content_type: &'static str,
    body: &'static str,
    headers: &'static [(&'static str, &'static str)],
}

const JSON_BODY: &str = r#"{"id":"evt_1PqW","object":"event","type":"invoice.paid","data":{"é":"✓"}}"#;
const FORM_BODY: &str =
    "MessageSid=SM0123456789abcdef&MessageStatus=delivered&To=%2B15558675310&Body=Hi+there%21";

const CASES: &[Case] = &[
    Case {
        script: "sdk.mjs",
        sdk: "stripe",
        source: "stripe",
        secret: "whsec_a_secret_of_the_interop_tests",
        ..JSON
    },
    Case {
        script: "sdk.py",
        sdk: "stripe",
        source: "stripe",
        secret: "whsec_a_secret_of_the_interop_tests",
        ..JSON
    },
    Case {
        script: "sdk.mjs",
        sdk: "github",
        source: "github",
        secret: "a secret of the interop tests",
        headers: &[("x-github-event", "push")],
        ..JSON
    },
    Case { script: "sdk.mjs", sdk: "svix", source: "svix", secret: STANDARD_SECRET, ..JSON },
    Case { script: "sdk.mjs", sdk: "standard-webhooks", source: "standard", secret: STANDARD_SECRET, ..JSON },
    Case { script: "sdk.py", sdk: "standard-webhooks", source: "standard", secret: STANDARD_SECRET, ..JSON },
    Case {
        script: "sdk.py",
        sdk: "twilio",
        source: "twilio",
        secret: "0123456789abcdef0123456789abcdef",
        content_type: "application/x-www-form-urlencoded",
        body: FORM_BODY,
        ..JSON
    },
];

const JSON: Case = Case {
    script: "",
    sdk: "",
    source: "",
    secret: "",
    content_type: "application/json",
    body: JSON_BODY,
    headers: &[],
};

const TWILIO_URL: &str = "https://hooks.example.com/webhooks/twilio?account=1";

const CONFIG: &str = r#"
[sources.stripe]
provider = "stripe"
secrets = ["env:STRIPE"]
[sources.github]
provider = "github"
secrets = ["env:GITHUB"]
[sources.svix]
provider = "svix"
secrets = ["env:STANDARD"]
[sources.standard]
provider = "standard-webhooks"
secrets = ["env:STANDARD"]
[sources.twilio]
provider = "twilio"
secrets = ["env:TWILIO"]
public_url = "https://hooks.example.com/webhooks/twilio"
"#;

fn site(more: &str) -> Site {
    let secret = |source| CASES.iter().find(|case| case.source == source).unwrap().secret;
    Site::new(&format!("{CONFIG}{more}"))
        .env("STRIPE", secret("stripe"))
        .env("GITHUB", secret("github"))
        .env("TWILIO", secret("twilio"))
        .env("STANDARD", STANDARD_SECRET)
        .env("APP", STANDARD_SECRET)
}

#[tokio::test]
async fn requests_signed_by_the_official_sdks_are_accepted() {
    let site = site("");
    let gateway = site.start().await;
    for (number, case) in CASES.iter().enumerate() {
        let signed = ask(case, json!({ "do": "sign", "id": format!("msg_{number}") })).await;
        let target = format!("{}/webhooks/{}?account=1", gateway.at.ingress, case.source);
        for (tampered, expected) in [(true, 401), (false, 202)] {
            let body = if tampered { format!("{}&x=1", case.body) } else { case.body.to_owned() };
            let mut request = reqwest::Client::new().post(&target).header("content-type", case.content_type);
            for (name, value) in signed["headers"].as_object().unwrap() {
                request = request.header(name, value.as_str().unwrap());
            }
            for (name, value) in case.headers {
                request = request.header(*name, *value);
            }
            let response = request.body(body).send().await.unwrap();
            let status = response.status().as_u16();
            let answer = response.text().await.unwrap();
            // Two SDKs sign the same Stripe and Standard Webhooks body: the second one's id is known already.
            let fine = status == expected || (!tampered && status == 200);
            assert!(fine, "{} {}: {status} {answer}\n{}", case.script, case.sdk, gateway.log());
        }
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn requests_signed_by_the_sign_command_are_accepted_by_the_official_sdks() {
    let site = site("");
    for case in CASES {
        let provider = if case.source == "standard" { "standard-webhooks" } else { case.source };
        let body = site.path().join("body");
        std::fs::write(&body, case.body).unwrap();
        let header = format!("content-type: {}", case.content_type);
        let output = site
            .command(&[
                "sign",
                "--provider",
                provider,
                "--secret",
                "env:SIGN_SECRET",
                "--json",
                "--id",
                "msg_1",
            ])
            .args(["--url", TWILIO_URL, "--header", &header, "--body"])
            .arg(&body)
            .env("SIGN_SECRET", case.secret)
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let headers: Value = serde_json::from_slice(&output.stdout).unwrap();
        let verdict = ask(case, json!({ "do": "verify", "headers": headers })).await;
        assert_eq!(verdict["ok"], true, "{} {}: {verdict}", case.script, case.sdk);
    }
}

#[tokio::test]
async fn what_a_destination_receives_is_verified_by_the_standard_webhooks_library() {
    let handler = Handler::start().await;
    let site = site(&format!(
        "[destinations.app]\ntype = \"http\"\nurl = \"{}\"\nsigning_secret = \"env:APP\"\n\
         [[routes]]\nsource = \"stripe\"\ndestination = \"app\"\n",
        handler.url()
    ));
    let gateway = site.start().await;
    let stripe = &CASES[0];
    let signed = ask(stripe, json!({ "do": "sign" })).await;
    let response = reqwest::Client::new()
        .post(format!("{}/webhooks/stripe", gateway.at.ingress))
        .header("stripe-signature", signed["headers"]["stripe-signature"].as_str().unwrap())
        .body(stripe.body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    let received = handler.journal_of(1).await.remove(0);
    assert_eq!(received.body, stripe.body);
    let mut headers = json!({});
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers[name] = json!(received.header(name));
    }
    for case in CASES.iter().filter(|case| case.source == "standard") {
        let verdict = ask(case, json!({ "do": "verify", "headers": headers, "body": stripe.body })).await;
        assert_eq!(verdict["ok"], true, "{}: {verdict}", case.script);
    }
}

/// Asks an SDK: what the case says, and `more`.
async fn ask(case: &Case, more: Value) -> Value {
    let body = more["body"].as_str().unwrap_or(case.body);
    let mut asked = json!({
        "sdk": case.sdk,
        "secret": case.secret,
        "body_b64": BASE64.encode(body.as_bytes()),
        "url": TWILIO_URL,
        "now": now(),
    });
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    run(case.script, &asked).await
}

fn now() -> u64 {
    u64::try_from(tenterhook::model::SystemClock::wall().millis() / 1000).unwrap()
}

async fn run(script: &str, asked: &Value) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = root.join("tests/interop");
    let (program, installed): (PathBuf, PathBuf) = if script.ends_with(".mjs") {
        ("node".into(), directory.join("node_modules"))
    } else {
        let python = root.join("../../.venv/bin/python");
        (python.clone(), python)
    };
    assert!(installed.exists(), "the SDKs are not installed: run ./scripts/test, which installs them");
    let mut child = Command::new(program)
        .arg(directory.join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{script}: {error}: {stderr}"))
}
