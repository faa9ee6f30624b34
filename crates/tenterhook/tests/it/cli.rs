//! The binary as a user runs it: what it prints, and how it exits.

mod fixture;
mod load;
mod offline;
mod process;

use insta::assert_snapshot;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What a command did.
pub(crate) struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the binary in an empty directory, with a secret in the environment and `input` on stdin.
async fn run(arguments: &[&str], input: &str) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tenterhook"))
        .args(arguments)
        .current_dir(&directory)
        .env("SECRET", "a-secret-of-the-cli-tests")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

const GITHUB: [&str; 4] = ["--provider", "github", "--secret", "env:SECRET"];

#[tokio::test]
async fn what_sign_prints_verify_takes_and_explains_without_telling_secrets() {
    let signed = run(&[&["sign"], &GITHUB[..], &["--body", "-"]].concat(), "{}").await;
    assert_eq!(signed.code, Some(0), "{}", signed.err);
    assert_snapshot!(signed.out, @"x-hub-signature-256: sha256=de150f1a4b50acb0ffe9b89cbbe4dc3b1a1e7804e6d0462d067f02a0ee9f0215");
    let header = signed.out.trim();
    let verify = |body: &'static str| {
        let arguments =
            [&["verify"], &GITHUB[..], &["--body", "-", "--header", header, "--explain"]].concat();
        async move { run(&arguments, body).await }
    };
    let good = verify("{}").await;
    assert_eq!((good.code, good.out.lines().last()), (Some(0), Some("valid")));
    let bad = verify("{} ").await;
    assert_eq!(bad.code, Some(1));
    assert!(bad.out.contains("invalid: signature_mismatch"), "{}", bad.out);
    let expected = run(&[&["sign"], &GITHUB[..], &["--body", "-"]].concat(), "{} ").await.out;
    let expected = expected.trim().rsplit('=').next().unwrap();
    for told in [&good.out, &bad.out, &bad.err] {
        assert!(!told.contains("a-secret-of") && !told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn a_wrong_word_says_what_is_wrong_and_what_to_do() {
    let literal = run(&["sign", "--provider", "github", "--secret", "hunter2hunter2hunter2"], "").await;
    assert_eq!(literal.code, Some(2));
    assert_snapshot!(literal.err, @r"
    error: a secret is given by reference, never on the command line itself

    hint: use `env:NAME`, `file:PATH` or `-` (stdin)
    ");
    let unset = run(&["sign", "--provider", "github", "--secret", "env:NOT_SET"], "").await;
    assert_eq!(unset.code, Some(2));
    assert_snapshot!(unset.err, @r"
    error: the environment variable `NOT_SET` is not set

    hint: export NOT_SET=… before the command
    ");
    let unknown = run(&["sign", "--provider", "guthub", "--secret", "env:SECRET"], "").await;
    assert_eq!(unknown.code, Some(2));
    assert_snapshot!(unknown.err, @r"
    error: there is no provider `guthub` in the catalog

    hint: did you mean `github`?
    ");
    let missing = run(&["providers", "strype"], "").await;
    assert_eq!(missing.code, Some(4));
    assert_snapshot!(missing.err, @r"
    error: there is no provider `strype` in the catalog

    hint: did you mean `stripe`?
    ");
    let sample = run(&[&["sign"], &GITHUB[..], &["--event", "nothing"]].concat(), "").await;
    assert_eq!(sample.code, Some(2));
    assert!(sample.err.contains("has no sample event of type `nothing`"), "{}", sample.err);
    let alone = run(&["ledger"], "").await;
    assert_eq!(alone.code, Some(2));
    assert_snapshot!(alone.err, @r"
    error: tenterhook.toml: cannot read the config: entity not found
      hint: `tenterhook init` writes one; `--config PATH` names another
    1 problem in `tenterhook.toml`

    hint: name the config with `--config FILE`, or the gateway with `--admin-url URL`
    ");
    let nobody = run(&["ledger", "--admin-url", "http://127.0.0.1:1"], "").await;
    assert_eq!(nobody.code, Some(3), "{}", nobody.err);
    assert!(nobody.err.contains("no answer from the gateway at `http://127.0.0.1:1`"), "{}", nobody.err);
    assert_eq!(run(&["no-such-command"], "").await.code, Some(2));
}

#[tokio::test]
async fn providers_are_a_table_for_people_and_one_array_for_programs() {
    let table = run(&["providers"], "").await;
    assert!(table.out.lines().count() >= 9 && table.out.contains("stripe-signature"), "{}", table.out);
    let array = run(&["providers", "--json"], "").await;
    let providers: Vec<serde_json::Value> = serde_json::from_str(&array.out).unwrap();
    assert!(providers.iter().any(|provider| provider["name"] == "twilio" && provider["signs_url"] == true));
}

#[tokio::test]
async fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = run(&["completions", shell], "").await;
        assert!(completions.code == Some(0) && completions.out.contains("tenterhook"), "{shell}");
    }
}
