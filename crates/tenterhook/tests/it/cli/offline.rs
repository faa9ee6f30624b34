//! What a stopped gateway's store answers, and what takes a running one.

use crate::rig::Site;
use crate::rig::sender::SECRET;

const CONFIG: &str = "[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n";

async fn run(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = site.command(arguments).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn init_writes_a_config_that_checks_and_never_overwrites_one() {
    let directory = tempfile::tempdir().unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tenterhook"));
        let output = command
            .args(arguments)
            .current_dir(&directory)
            .env("STRIPE_WEBHOOK_SECRET", "whsec_a_secret_of_the_cli_tests")
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run(&["init"]).await.0, Some(2), "without a terminal there is nobody to ask");
    assert_eq!(run(&["init", "stripe"]).await.0, Some(0));
    assert_eq!(run(&["check"]).await, (Some(0), String::new()));
    let (code, err) = run(&["init", "github"]).await;
    assert!(code == Some(2) && err.contains("is there already"), "{err}");
    assert_eq!(run(&["init", "strip"]).await.0, Some(4));
}

#[tokio::test]
async fn a_stopped_store_is_read_and_a_second_gateway_is_refused_with_the_pid() {
    let site = Site::new(CONFIG).env("RIG_SECRET", SECRET);
    // There is no database yet: nothing to open, so somebody would have to run.
    assert_eq!(run(&site, &["ledger"]).await.0, Some(3));
    let gateway = site.start().await;
    let (code, _, err) = run(&site, &["serve"]).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains(&gateway.pid().to_string()), "{err}");
    assert!(gateway.stop().await.success());
    let (code, out, err) = run(&site, &["ledger", "--json"]).await;
    assert!(code == Some(0) && out.contains("\"balanced\":true"), "{out}{err}");
    assert_eq!(run(&site, &["events", "show", "evt_0000000000000"]).await.0, Some(4));
    assert_eq!(run(&site, &["sources"]).await.0, Some(2), "only a running gateway knows");
}
