//! `exec:COMMAND ARGS…`: the standard output of a secret manager's own command. No shell, ten seconds, bounded output.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::problem::shown;
use super::secrets::without_final_newline;

/// How long a command may take: a config has to be refused within seconds, also when a secret manager hangs.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is wrong, and a hint.
type Refusal = (String, String);

/// Runs a command and returns what it wrote, without one final newline. Its errors are not shown: they may hold secrets.
pub(super) fn run(
    command: &str,
    directory: &Path,
    environment: &BTreeMap<String, String>,
    bytes_max: usize,
) -> Result<Vec<u8>, Refusal> {
    let words = words(command)?;
    let Some((program, arguments)) = words.split_first() else {
        return Err(("`exec:` names no command".to_owned(), "write `exec:COMMAND ARGS…`".to_owned()));
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| {
            let message = format!("cannot run `{}`: {}", shown(program), error.kind());
            (message, "the command is looked up in `PATH` and not given to a shell".to_owned())
        })?;
    wait(child, program, bytes_max)
}

fn wait(mut child: Child, program: &str, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let group = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
    let (done, result) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = child.stdout.take().map(|out| out.take(bytes_max as u64 + 1).read_to_end(&mut bytes));
        let too_long = bytes.len() > bytes_max;
        if too_long {
            // It may write for ever; what it says beyond the bound is of no use.
            let _ = child.kill();
        }
        let status = child.wait();
        // Nobody listens any more once the time is over.
        let _ = done.send((read.is_some_and(|read| read.is_ok()), too_long, bytes, status));
    });
    let name = shown(program);
    let hint = || "run it by hand, as the user that runs the gateway, to see what it says".to_owned();
    let Ok((read, too_long, bytes, status)) = result.recv_timeout(TIMEOUT) else {
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        return Err((format!("`{name}` did not end within {} s", TIMEOUT.as_secs()), hint()));
    };
    match status {
        _ if too_long => Err((format!("`{name}` wrote more than {bytes_max} bytes"), hint())),
        Ok(status) if status.success() && read => Ok(without_final_newline(bytes)),
        Ok(status) => Err((format!("`{name}` failed: {status}"), hint())),
        Err(error) => Err((format!("`{name}` failed: {}", error.kind()), hint())),
    }
}

/// Splits at spaces; quotes of either kind hold a word together. Nothing else is special.
fn words(command: &str) -> Result<Vec<String>, Refusal> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for character in command.chars() {
        match (quote, character) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, c @ ('"' | '\'')) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        Some(open) => Err((format!("a quote `{open}` is not closed in `exec:`"), String::new())),
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_here(command: &str) -> Result<Vec<u8>, Refusal> {
        let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        run(command, Path::new("/"), &environment, 1000)
    }

    #[test]
    fn words_are_split_at_spaces_and_held_together_by_quotes() {
        assert_eq!(
            words("op  read 'a b' \"c 'd'\" e\"f\"g ''").unwrap(),
            ["op", "read", "a b", "c 'd'", "efg", ""]
        );
        assert!(words("op 'a").is_err());
    }

    #[test]
    fn the_output_counts_without_its_final_newline() {
        assert_eq!(run_here("printf 'abc\\n'"), Ok(b"abc".to_vec()));
        assert_eq!(run_here("echo $HOME ;"), Ok(b"$HOME ;".to_vec()), "no shell");
    }

    #[test]
    fn a_failing_missing_or_talkative_command_is_refused_without_its_words() {
        for (command, expected) in [
            ("false", "`false` failed: exit status: 1"),
            ("no-such-command-here x", "cannot run `no-such-command-here`: entity not found"),
            ("yes", "`yes` wrote more than 1000 bytes"),
            ("", "`exec:` names no command"),
        ] {
            assert_eq!(run_here(command).unwrap_err().0, expected);
        }
    }
}
