//! One process in a group of its own, from start to the last member of the group. Knows pipes, signals and time; knows
//! nothing of events.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::destination::answer::ANSWER_BYTES_MAX;

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(1);

/// For what is still in the pipes, or for the kernel to let go of a killed process.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Output that is thrown away at full speed; beyond it the command is slowed down, so that an endless writer does not
/// cost a core until its timeout.
const UNTHROTTLED_BYTES: usize = 4 * 1024 * 1024;

/// A started command.
pub(super) struct Running {
    /// Dropped first: while the child has not been waited for, its id cannot belong to anybody else.
    group: Group,
    child: Child,
}

/// A command that has ended.
pub(super) struct Run {
    pub(super) end: End,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
}

/// How it ended.
pub(super) enum End {
    Exited(i32),
    Signalled(i32),
    TimedOut,
    Lost(io::Error),
}

/// The beginning of an output.
#[derive(Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    pub(super) truncated: bool,
}

/// Kills the process group when it is dropped.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // A group that is gone already is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Running {
    /// Starts `command` with pipes on all three streams.
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { group: Group(pid), child })
    }

    /// Writes `body`, reads the output, and waits for the end: the command's own, or the one after `limit`.
    pub(super) async fn finish(mut self, body: Bytes, limit: Duration) -> Run {
        let deadline = Instant::now() + limit;
        let (mut stdout, mut stderr) = (Output::default(), Output::default());
        let pipes = (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let end = {
            let streams = async {
                tokio::join!(write(pipes.0, &body), read(pipes.1, &mut stdout), read(pipes.2, &mut stderr));
            };
            let ending = self.end(deadline);
            tokio::pin!(streams, ending);
            tokio::select! {
                end = &mut ending => {
                    // The group is gone now. A process that left it may still hold a pipe; nobody waits for that one.
                    let _ = timeout(LAST_WAIT, streams).await;
                    end
                }
                // With its streams closed it may still run.
                () = &mut streams => ending.await,
            }
        };
        Run { end, stdout, stderr }
    }

    /// Waits for the leader of the group, kills what is left of the group, and only then lets the kernel forget the
    /// leader: until then its id is taken, and no stranger can be hit.
    async fn end(&mut self, deadline: Instant) -> End {
        let in_time = timeout_at(deadline, exited(self.group.0)).await.is_ok();
        if !in_time {
            self.group.signal(Signal::TERM);
            let _ = timeout(GRACE, exited(self.group.0)).await;
        }
        self.group.signal(Signal::KILL);
        let Ok(reaped) = timeout(LAST_WAIT, self.child.wait()).await else {
            // It is stuck in the kernel; the runtime reaps it when it comes loose.
            return End::TimedOut;
        };
        self.group.0 = None;
        match reaped {
            _ if !in_time => End::TimedOut,
            Ok(status) => ended(status),
            Err(error) => End::Lost(error),
        }
    }
}

fn ended(status: ExitStatus) -> End {
    match status.code() {
        Some(code) => End::Exited(code),
        None => End::Signalled(status.signal().unwrap_or_default()),
    }
}

/// Returns when the process has ended, without reaping it.
async fn exited(process: Option<Pid>) {
    let Some(process) = process else { return };
    // Asked again and again with a growing pause: a descriptor that tells (pidfd) is not to be had on every system.
    let mut pause = Duration::from_millis(1);
    while !has_ended(process) {
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn has_ended(process: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    // An error means that there is no such child any more.
    !matches!(waitid(WaitId::Pid(process), options), Ok(None))
}

/// A command may take less than the whole body, or none of it.
async fn write(pipe: Option<impl AsyncWrite + Unpin>, body: &[u8]) {
    if let Some(mut pipe) = pipe {
        let _ = pipe.write_all(body).await;
        let _ = pipe.shutdown().await;
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, output: &mut Output) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 16 * 1024];
    let mut thrown_away = 0_usize;
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let room = ANSWER_BYTES_MAX - output.bytes.len();
        let kept = count.min(room);
        output.bytes.extend_from_slice(&buffer[..kept]);
        if kept < count {
            output.truncated = true;
            thrown_away = thrown_away.saturating_add(count - kept);
        }
        if thrown_away > UNTHROTTLED_BYTES {
            sleep(Duration::from_millis(1)).await;
        }
    }
}
