//! What a command gets, what its end means, and that nothing it does outlives or holds up its attempt.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tenterhook::destination::Destination;
use tenterhook::destination::command::{CommandDestination, CommandSettings};
use tenterhook::model::{FailureKind, Message, Outcome, Reply};
use tokio::time::Instant;

use super::{PATIENCE, deliver, failed, message};

fn settings(command: &[&str]) -> CommandSettings {
    CommandSettings {
        command: command.iter().map(|&argument| argument.to_owned()).collect(),
        timeout: PATIENCE,
        directory: None,
        environment: BTreeMap::new(),
        retry_codes: vec![9],
        dead_codes: vec![9, 65],
    }
}

/// Runs a script, which is argument 2 of `sh`, with `$1` and so on from `arguments`.
fn script(text: &str, arguments: &[&str]) -> CommandSettings {
    settings(&[&["sh", "-c", text, "sh"], arguments].concat())
}

async fn run(settings: CommandSettings) -> Reply {
    deliver(&CommandDestination::new(settings).unwrap(), message(b"{}")).await
}

/// Whether a process is there and no zombie.
fn is_alive(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain: {what}");
}

fn pid_in(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn every_exit_has_one_meaning() {
    for (text, outcome, status) in [
        ("exit 0", Outcome::Delivered, 0),
        ("exit 75", failed(FailureKind::Server), 75),
        ("exit 1", failed(FailureKind::Server), 1),
        ("exit 65", Outcome::Rejected, 65),
        ("exit 9", failed(FailureKind::Server), 9),
        ("kill -9 $$", failed(FailureKind::Server), 137),
        ("kill -SEGV $$", failed(FailureKind::Server), 139),
    ] {
        let reply = run(script(text, &[])).await;
        assert_eq!((reply.outcome, reply.status), (outcome, Some(status)), "{text}: {}", reply.excerpt);
    }
}

#[tokio::test]
async fn output_is_kept_and_a_json_object_is_the_result() {
    let reply = run(script("echo '{\"deployed\":3}'; echo warning >&2", &[])).await;
    assert_eq!(
        (reply.result.as_deref(), reply.excerpt.as_str()),
        (Some("{\"deployed\":3}"), "{\"deployed\":3}\\n")
    );
    let reply = run(script("echo '{\"deployed\":3}'; printf 'no\\033[2J' >&2; exit 1", &[])).await;
    assert_eq!((reply.result, reply.excerpt.as_str()), (None, "no\\u{1b}[2J"));
}

#[tokio::test]
async fn what_a_sender_wrote_is_data_and_nothing_else() {
    let directory = TempDir::new().unwrap();
    let canary = directory.path().join("canary");
    let seen = directory.path().join("seen");
    let hostile =
        format!("{{\"ref\":\"$(touch {0}); `touch {0}` | x\n#;%0a --output={0}\"}}\0\u{1}", canary.display());
    let text = "cat > \"$1\"; printf %s \"$TENTERHOOK_EVENT_TYPE\" > \"$1.type\"";
    let destination = CommandDestination::new(script(text, &[seen.to_str().unwrap()])).unwrap();
    for value in [hostile.as_str(), "--upload-pack=x", "", "-", "a\0b", &"v".repeat(200_000)] {
        let message = Message {
            body: hostile.clone().into(),
            event_type: value.to_owned(),
            provider_event_id: Some(value.to_owned()),
            original_url: value.to_owned(),
            ..message(b"")
        };
        let reply = deliver(&destination, message).await;
        assert_eq!(reply.outcome, Outcome::Delivered, "{}", reply.excerpt);
        assert_eq!(fs::read(&seen).unwrap(), hostile.as_bytes(), "the body is not what was signed");
        let mut expected = value.replace('\0', "");
        expected.truncate(64 * 1024);
        assert_eq!(fs::read_to_string(seen.with_extension("type")).unwrap(), expected);
    }
    assert!(!canary.exists());
}

#[tokio::test]
async fn the_environment_holds_what_was_meant_and_nothing_else() {
    let mut settings = script("env", &[]);
    settings.environment = BTreeMap::from([("APP_TOKEN".to_owned(), "s3cret-s3cret".to_owned())]);
    let directory = TempDir::new().unwrap();
    let dump = directory.path().join("env");
    settings.command =
        ["sh", "-c", "/usr/bin/env > \"$1\"; echo \"$APP_TOKEN\"", "sh", dump.to_str().unwrap()]
            .map(ToOwned::to_owned)
            .to_vec();
    let mut sent = message(b"{}");
    sent.headers.insert("content-type", "application/json".parse().unwrap());
    let reply = deliver(&CommandDestination::new(settings).unwrap(), sent).await;
    assert_eq!(reply.excerpt, "***\\n", "a configured value came back");
    let dumped = fs::read_to_string(&dump).unwrap();
    let variables: BTreeMap<_, _> = dumped.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(variables["TENTERHOOK_EVENT_ID"], message(b"").id.to_string());
    assert_eq!(variables["TENTERHOOK_PROVIDER_EVENT_ID"], "pe_1");
    assert_eq!(variables["TENTERHOOK_ATTEMPT"], "1");
    assert_eq!(variables["TENTERHOOK_HEADERS"], "{\"content-type\":\"application/json\"}");
    assert_eq!(variables["APP_TOKEN"], "s3cret-s3cret");
    // What a shell sets for itself is no inheritance.
    let others: Vec<_> = variables
        .keys()
        .filter(|name| !name.starts_with("TENTERHOOK_"))
        .filter(|name| !["APP_TOKEN", "PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(!dumped.contains("CARGO"), "the gateway's own environment went along");
}

#[tokio::test]
async fn a_command_may_leave_its_input_unread() {
    let destination = CommandDestination::new(settings(&["true"])).unwrap();
    let large = Message { body: vec![b'x'; 4 << 20].into(), ..message(b"") };
    assert_eq!(deliver(&destination, large).await.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_command_that_closes_its_streams_is_still_waited_for() {
    let reply = run(script("exec <&- >&- 2>&-; sleep 0.2; exit 65", &[])).await;
    assert_eq!(reply.outcome, Outcome::Rejected);
}

#[tokio::test]
async fn after_the_timeout_the_whole_group_is_gone_even_if_it_ignores_sigterm() {
    let directory = TempDir::new().unwrap();
    let (leader, child) = (directory.path().join("leader"), directory.path().join("child"));
    let text = "trap '' TERM; echo $$ > \"$1\"; sh -c 'trap \"\" TERM; echo $$ > \"$0\"; while :; do sleep 0.05; done' \"$2\" & \
        while :; do sleep 0.05; done";
    let mut settings = script(text, &[leader.to_str().unwrap(), child.to_str().unwrap()]);
    settings.timeout = Duration::from_millis(300);
    let started = Instant::now();
    let reply = run(settings).await;
    assert_eq!((reply.outcome, reply.status), (failed(FailureKind::Timeout), None), "{}", reply.excerpt);
    assert!(started.elapsed() < Duration::from_millis(2300), "held up for {:?}", started.elapsed());
    for pid in [pid_in(&leader), pid_in(&child)] {
        assert!(!pid.is_empty());
        wait_until("the group ends", || !is_alive(&pid)).await;
    }
}

#[tokio::test]
async fn a_command_that_heeds_sigterm_ends_at_once() {
    let mut settings = script("trap 'echo tidied >&2; exit 0' TERM; while :; do sleep 0.01; done", &[]);
    settings.timeout = Duration::from_millis(200);
    let reply = run(settings).await;
    assert_eq!(reply.outcome, failed(FailureKind::Timeout), "too late is too late");
    assert!(reply.excerpt.contains("tidied"), "{}", reply.excerpt);
    assert!(reply.took < Duration::from_secs(1), "{:?}", reply.took);
}

#[tokio::test]
async fn a_child_that_stays_behind_with_the_output_holds_nothing_up() {
    let directory = TempDir::new().unwrap();
    let left = directory.path().join("left");
    for (text, dies) in
        [("sleep 60 & echo $! > \"$1\"", true), ("setsid sleep 60 & echo $! > \"$1\"; sleep 0.2", false)]
    {
        let started = Instant::now();
        let reply = run(script(text, &[left.to_str().unwrap()])).await;
        assert_eq!(reply.outcome, Outcome::Delivered, "{text}");
        assert!(started.elapsed() < Duration::from_secs(5), "{text}: held up for {:?}", started.elapsed());
        let pid = pid_in(&left);
        if dies {
            wait_until("the child ends", || !is_alive(&pid)).await;
        } else {
            assert!(is_alive(&pid), "what left the group is nobody's to kill");
            std::process::Command::new("kill").arg(pid.trim()).status().unwrap();
        }
    }
}

#[tokio::test]
async fn an_endless_writer_is_bounded_and_killed() {
    let mut settings = settings(&["sh", "-c", "yes 10GiB"]);
    settings.timeout = Duration::from_millis(300);
    let reply = run(settings).await;
    assert_eq!(reply.outcome, failed(FailureKind::Timeout));
    assert!(reply.excerpt.len() <= 1024 && reply.excerpt.contains("10GiB"), "{}", reply.excerpt);
    let reply = run(script("head -c 3000000 /dev/zero | tr '\\0' x", &[])).await;
    assert_eq!(reply.outcome, Outcome::Delivered, "much output is no failure");
    assert!(reply.excerpt.ends_with("(truncated)"), "{}", reply.excerpt);
}

#[tokio::test]
async fn a_dropped_attempt_kills_the_group() {
    let directory = TempDir::new().unwrap();
    let child = directory.path().join("child");
    let destination =
        CommandDestination::new(script("sleep 60 & echo $! > \"$1\"; wait", &[child.to_str().unwrap()]))
            .unwrap();
    tokio::select! {
        reply = deliver(&destination, message(b"{}")) => panic!("ended: {reply:?}"),
        () = wait_until("the child starts", || pid_in(&child).ends_with('\n')) => {}
    }
    let pid = pid_in(&child);
    wait_until("the child ends", || !is_alive(&pid)).await;
}

#[tokio::test]
async fn a_program_that_cannot_start_is_no_attempt_and_fails_the_check() {
    let directory = TempDir::new().unwrap();
    let plain = directory.path().join("plain");
    fs::write(&plain, "#!/bin/sh\n").unwrap();
    for program in ["/nonexistent/program", "no-such-program-anywhere", plain.to_str().unwrap()] {
        let destination = CommandDestination::new(settings(&[program])).unwrap();
        let reply = deliver(&destination, message(b"{}")).await;
        assert_eq!(reply.outcome, Outcome::NotTried, "{program}: {}", reply.excerpt);
        let wrong = destination.check().await.unwrap_err();
        assert!(!wrong.refuses_start && wrong.message.contains(program), "{wrong}");
    }
    assert_eq!(CommandDestination::new(settings(&["sh"])).unwrap().check().await, Ok(()));
}

#[tokio::test]
async fn a_relative_program_is_found_in_the_directory() {
    let directory = TempDir::new().unwrap();
    let program = directory.path().join("hook.sh");
    fs::write(&program, "#!/bin/sh\npwd\n").unwrap();
    std::process::Command::new("chmod").arg("+x").arg(&program).status().unwrap();
    let mut settings = settings(&["./hook.sh"]);
    settings.directory = Some(directory.path().to_owned());
    let destination = CommandDestination::new(settings).unwrap();
    assert_eq!(destination.check().await, Ok(()));
    let reply = deliver(&destination, message(b"{}")).await;
    assert_eq!(reply.outcome, Outcome::Delivered, "{}", reply.excerpt);
    let real = directory.path().canonicalize().unwrap();
    assert_eq!(reply.excerpt, format!("{}\\n", real.display()));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refuse = |settings: CommandSettings| {
        assert!(CommandDestination::new(settings).unwrap_err().refuses_start);
    };
    refuse(settings(&[]));
    refuse(settings(&[""]));
    refuse(settings(&["a\0b"]));
    for (name, value) in [("", "x"), ("A=B", "x"), ("TENTERHOOK_SOURCE", "x"), ("A", "x\0")] {
        let mut settings = settings(&["true"]);
        settings.environment.insert(name.to_owned(), value.to_owned());
        refuse(settings);
    }
}
