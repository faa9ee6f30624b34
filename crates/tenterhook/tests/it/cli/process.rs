//! The process: configs refused in no time, reload, signals.

use std::time::Duration;

use rustix::process::Signal;

use crate::rig::sender::{SECRET, Sender};
use crate::rig::{Gateway, Site};

const CONFIG: &str = "[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n";

async fn status(gateway: &Gateway, source: &str, secret: &str, id: &str) -> u16 {
    let url = format!("{}/webhooks/{source}", gateway.at.ingress);
    Sender::with_secret("github", secret).github(&url, id, b"{}").await.unwrap().0.as_u16()
}

/// Waits until the log holds `text`, `times` times.
async fn logged(gateway: &Gateway, text: &str, times: usize) {
    let deadline = tokio::time::Instant::now() + crate::rig::PATIENCE;
    let mut look = tokio::time::interval(Duration::from_millis(10));
    while gateway.log().matches(text).count() < times {
        look.tick().await;
        assert!(tokio::time::Instant::now() < deadline, "`{text}` was never logged:\n{}", gateway.log());
    }
}

#[tokio::test]
async fn a_wrong_config_is_refused_within_a_second_with_every_problem() {
    let site = Site::new(
        "[sources.stripe]\nprovider = \"strpe\"\nsecrets = [\"hunter2hunter2hunter2\"]\ncolour = 1\n",
    );
    let began = tokio::time::Instant::now();
    let output = site.command(&["serve"]).output().await.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    for told in ["`strpe`", "did you mean `stripe`", "colour", "secrets[0]"] {
        assert!(err.contains(told), "{told} is not in\n{err}");
    }
    assert!(!err.contains("hunter2"), "{err}");
}

#[tokio::test]
async fn a_reload_rotates_a_secret_and_a_bad_file_changes_nothing() {
    let site = Site::new(&CONFIG.replace("env:RIG_SECRET", "file:secret"));
    std::fs::write(site.path().join("secret"), format!("{SECRET}\n")).unwrap();
    let gateway = site.start().await;
    assert_eq!(status(&gateway, "github", SECRET, "1").await, 202);

    let good = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), format!("{good}\n[sources.broken]\n")).unwrap();
    gateway.signal(Signal::HUP);
    logged(&gateway, "config_reload_refused", 1).await;
    assert_eq!(status(&gateway, "github", SECRET, "2").await, 202);

    let renewed = "another-secret-for-the-rigs-only-987";
    std::fs::write(site.path().join("secret"), renewed).unwrap();
    std::fs::write(site.config(), good.replace("[sources.github]", "[sources.renamed]")).unwrap();
    gateway.signal(Signal::HUP);
    logged(&gateway, "config_reloaded", 1).await;
    assert_eq!(status(&gateway, "renamed", renewed, "3").await, 202);
    assert_eq!(status(&gateway, "renamed", SECRET, "4").await, 401);
    assert_eq!(status(&gateway, "github", renewed, "5").await, 404);

    std::fs::write(site.config(), good.replace("tenterhook.db", "other.db")).unwrap();
    gateway.signal(Signal::HUP);
    logged(&gateway, "config_reload_refused", 2).await;
    assert!(gateway.log().contains("store.url"), "{}", gateway.log());
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn neither_a_file_size_signal_nor_an_interrupt_costs_an_event() {
    let site = Site::new(CONFIG).env("RIG_SECRET", SECRET);
    let gateway = site.start().await;
    gateway.signal(Signal::XFSZ);
    assert_eq!(status(&gateway, "github", SECRET, "1").await, 202);
    gateway.signal(Signal::INT);
    assert!(gateway.ended().await.success());
    let gateway = site.start().await;
    assert_eq!(status(&gateway, "github", SECRET, "1").await, 200);
    assert!(gateway.stop().await.success());
}
