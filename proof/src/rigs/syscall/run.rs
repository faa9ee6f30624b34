//! One injection, from the start of the gateway to the comparison of the journals. What must hold, whichever call fails:
//!
//! - every request is answered in time: 2xx, or 503 with a sensible Retry-After;
//! - what was answered 2xx is there with its body, and is delivered;
//! - after an fsync that failed nothing is acknowledged until the database was opened anew and synced;
//! - no panic, and no end but the documented one: status 70;
//! - once the calls succeed again, so does every event that was refused: in the same process, or after a restart where
//!   that one ended.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::board::{Board, Seen};
use super::plan::Injection;
use crate::broken::Bug;
use crate::lab::measure::monotonic;
use crate::lab::{Addresses, Gateway, Handler, Journal, Lab, Launch, Sender, Site, judge, load, until};
use crate::rig::Tally;

/// `server.commit_timeout` of the gateway.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(2);
/// How much later an answer may come: the machine is busy with other things, too.
const MARGIN: Duration = Duration::from_secs(6);
/// How long a gateway may take to do without a restart once the trouble is over; a stall that was begun takes 5 s.
const HEALING: Duration = Duration::from_secs(20);
/// How long a disk that refuses everything is watched, where that is what is looked at.
const WATCHED: Duration = Duration::from_secs(5);
/// `server.grace` of the gateway.
const GRACE: Duration = Duration::from_secs(10);
/// Connections.
const SENDERS: usize = 6;
/// Events on each; the first one sends one more, twice.
const EVENTS: usize = 4;

/// What the injections of a round share.
pub(super) struct Scene {
    lab: Lab,
    shim: PathBuf,
    /// A store as a killed gateway left it.
    template: PathBuf,
    /// The events in it.
    known: Vec<String>,
    /// Calls that a run on it makes when nothing fails, by name; and those of a run that creates its store, until it is
    /// ready.
    calls: [BTreeMap<&'static str, u64>; 2],
    bug: Option<Bug>,
}

impl Scene {
    /// Makes the store to begin with, and counts the calls of a run without failures.
    pub(super) async fn set(
        lab: Lab,
        shim: PathBuf,
        template: PathBuf,
        bug: Option<Bug>,
    ) -> anyhow::Result<Self> {
        let mut scene = Self { lab, shim, template, known: Vec::new(), calls: Default::default(), bug: None };
        let handler = Handler::answering(|_| StatusCode::SERVICE_UNAVAILABLE.into()).await?;
        let (site, board) = scene.site(&handler, None)?;
        let gateway = site.start().await?;
        scene.calls[1] = board.read()?.calls;
        let sender = Sender::new()?;
        for number in 0..5 {
            let id = format!("before-{number}");
            let answer = sender.ask(&gateway.at, &id, &load::body(&id), HEALING).await;
            anyhow::ensure!(answer.is_some_and(|it| it.status == 202), "{}", gateway.log_tail());
            scene.known.push(id);
        }
        gateway.kill().await?;
        super::copy_store(site.database(), &scene.template)?;
        let handler = Handler::start().await?;
        let (site, board) = scene.site(&handler, None)?;
        super::copy_store(&scene.template, site.database())?;
        let gateway = site.start().await?;
        let senders = senders()?;
        send_all(&gateway.at, &senders, &scene.journal(), "count").await;
        gateway.stop().await?;
        scene.calls[0] = board.read()?.calls;
        scene.bug = bug;
        Ok(scene)
    }

    fn site(&self, handler: &Handler, injection: Option<Injection>) -> anyhow::Result<(Site, Board)> {
        let config = format!(
            "[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n\
             [destinations.app]\ntype = \"http\"\nurl = \"{}\"\nconcurrency = 4\n\
             retry = {{ base = \"100ms\", cap = \"1s\" }}\n\
             [[routes]]\nsource = \"github\"\ndestination = \"app\"\n",
            handler.url()
        );
        let (commit, grace) = (COMMIT_TIMEOUT.as_secs(), GRACE.as_secs());
        let server = format!("commit_timeout = \"{commit}s\"\ngrace = \"{grace}s\"\n");
        let mut site = Site::new(&self.lab, None, &server, &config)?;
        let board = Board::new(site.path().join("board"))?;
        let database = site.database().to_owned();
        site =
            site.env("LD_PRELOAD", &self.shim).env("FAULT_STORE", database).env("FAULT_BOARD", &board.path);
        if let Some(it) = injection {
            let calls = self.calls[usize::from(it.fresh)].get(it.call).copied().unwrap_or_default();
            anyhow::ensure!(calls > 0, "a run without failures never calls {}", it.call);
            let k = (it.k - 1) % calls + 1;
            let sticky = if it.sticky { "1" } else { "0" };
            site = site.env("FAULT_CALL", it.call).env("FAULT_K", k.to_string());
            site = site.env("FAULT_KIND", it.kind).env("FAULT_STICKY", sticky);
        }
        if let Some(bug) = self.bug {
            site = site.broken(&self.lab, bug);
        }
        Ok((site, board))
    }

    /// A journal that knows what is in the store already.
    fn journal(&self) -> Journal {
        let journal = Journal::default();
        for id in &self.known {
            journal.note(id, Some(&(202, serde_json::Value::Null)), Instant::now());
        }
        journal
    }
}

/// Runs one.
pub(super) async fn inject(
    scene: &Scene,
    injection: Injection,
    seed: u64,
    place: usize,
) -> anyhow::Result<Tally> {
    let handler = Handler::start().await?;
    let (site, board) = scene.site(&handler, Some(injection))?;
    let journal = if injection.fresh { Journal::default() } else { scene.journal() };
    if !injection.fresh {
        super::copy_store(&scene.template, site.database())?;
    }
    let mut run = Run { site, board, journal, handler, tally: Tally::default(), senders: senders()? };
    let prefix = format!("s{seed}-{place}");
    let ended = match run.site.launch(crate::lab::PATIENCE).await? {
        Launch::Ready(gateway) => run.troubled(*gateway, injection, &prefix).await?,
        Launch::Ended { status, said } => {
            run.tally.count("starts refused", 1);
            run.no_panic(&said);
            Some((status, said))
        }
    };
    let fired = run.board.read()?.fired;
    if let Some((status, log)) = ended {
        let expected = status.success() || (status.code() == Some(70) && fired > 0);
        run.tally.check(expected, || format!("it ended with {status}:\n{log}"));
    }
    if fired == 0 {
        // Commits group by chance: this time there were fewer calls. It does not count.
        run.tally.count("not reached", 1);
    } else {
        run.tally.done = 1;
        let times = if injection.sticky { "sticky" } else { "once" };
        run.tally.count(&format!("{} {} {times}", injection.call, injection.kind), 1);
    }
    run.healed(&prefix).await
}

/// One injection under way.
struct Run {
    site: Site,
    board: Board,
    journal: Journal,
    handler: Handler,
    tally: Tally,
    senders: Vec<Arc<Sender>>,
}

impl Run {
    /// The gateway while a call fails, and after that until it is stopped. How it ended.
    async fn troubled(
        &mut self,
        mut gateway: Gateway,
        injection: Injection,
        prefix: &str,
    ) -> anyhow::Result<Option<(ExitStatus, String)>> {
        let ready_at = monotonic();
        let said = send_all(&gateway.at, &self.senders, &self.journal, prefix).await;
        // A sample of those that never succeed again is watched for longer: the third I/O error ends the process.
        if injection.sticky && injection.k.is_multiple_of(4) && self.board.read()?.fired > 0 {
            let deadline = Instant::now() + WATCHED;
            while gateway.has_ended()?.is_none() && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let seen = self.board.read()?;
        self.board.heal()?;
        self.answers(&said, &seen, ready_at);
        let again = self.accepted_again(&mut gateway, prefix).await;
        if gateway.has_ended()?.is_none() {
            gateway.signal(rustix::process::Signal::TERM)?;
        }
        let ended = ended(&mut gateway).await?;
        let log = gateway.log();
        self.no_panic(&log);
        if ended.code() == Some(70) {
            self.tally.count("ended with 70", 1);
            // What it said last is read by a task of its own.
            let why =
                until("it says why", MARGIN, async || Ok(gateway.log().contains("error: ").then_some(())));
            let said_why = why.await.is_ok();
            self.tally.check(said_why, || format!("it ended without saying why:\n{}", gateway.log_tail()));
        } else {
            self.tally.check(again, || {
                format!("healed, and refused for {} s:\n{}", HEALING.as_secs(), gateway.log_tail())
            });
        }
        for it in said.iter().filter(|it| it.answer.is_none()) {
            self.tally.check(ended.code() == Some(70), || format!("no answer: {}", it.id));
        }
        Ok(Some((ended, gateway.log_tail())))
    }

    /// What was answered while the call failed.
    fn answers(&mut self, said: &[Said], seen: &Seen, ready_at: u64) {
        let Seen { sync_failed_at, reopened_at, resynced_at, .. } = *seen;
        for it in said {
            let limit = COMMIT_TIMEOUT + MARGIN;
            let took = Duration::from_nanos(it.ended_at - it.began_at);
            self.tally.check(took <= limit, || format!("{} was answered after {took:?}", it.id));
            self.tally.worst("answer_ms", took.as_secs_f64() * 1000.0);
            let Some(answer) = &it.answer else { continue };
            self.tally.check(answer.is_proper(), || format!("{} was answered {answer:?}", it.id));
            let acked = (200..300).contains(&answer.status);
            self.tally.count(if acked { "acknowledged in trouble" } else { "refused in trouble" }, 1);
            if acked && sync_failed_at > ready_at && it.began_at > sync_failed_at {
                let anew = reopened_at > 0 && resynced_at > 0 && resynced_at < it.ended_at;
                self.tally.check(anew, || {
                    let since = |at: u64| at.saturating_sub(sync_failed_at) / 1000;
                    format!(
                        "{} was acknowledged {} µs after a failed fsync; opened anew after {} µs, synced after {} µs",
                        it.id,
                        since(it.ended_at),
                        since(reopened_at),
                        since(resynced_at)
                    )
                });
            }
        }
    }

    /// The same bytes again, as every sender does: each has to be accepted, or known.
    async fn accepted_again(&mut self, gateway: &mut Gateway, prefix: &str) -> bool {
        let began = Instant::now();
        let deadline = began + HEALING;
        for id in ids(prefix) {
            while !is_acked(&self.journal, &id) {
                if Instant::now() > deadline || !matches!(gateway.has_ended(), Ok(None)) {
                    return false;
                }
                let body = load::body(&id);
                let started = Instant::now();
                let answer = self.senders[0].ask(&gateway.at, &id, &body, COMMIT_TIMEOUT + MARGIN).await;
                note(&self.journal, &id, answer.as_ref(), started);
                if answer.is_none_or(|it| it.status >= 300) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        self.tally.worst("healing_ms", began.elapsed().as_secs_f64() * 1000.0);
        true
    }

    /// A new process without failures: it takes what is missing, and has everything that was acknowledged.
    async fn healed(mut self, prefix: &str) -> anyhow::Result<Tally> {
        self.board.heal()?;
        let mut gateway = self.site.start().await?;
        let again = self.accepted_again(&mut gateway, prefix).await;
        self.tally.check(again, || format!("refused after a restart:\n{}", gateway.log_tail()));
        self.tally.add(judge::settled(&gateway, &self.journal, &self.handler).await?);
        let log = gateway.log();
        self.no_panic(&log);
        let ended = gateway.stop().await?;
        self.tally.check(ended.success(), || format!("without failures it ended with {ended}:\n{log}"));
        Ok(self.tally)
    }

    fn no_panic(&mut self, log: &str) {
        let line = log.lines().find(|line| line.contains("panicked"));
        self.tally.check(line.is_none(), || format!("a panic: {}", line.unwrap_or_default()));
    }
}

/// How it ends, which it has to within the grace of a stop.
async fn ended(gateway: &mut Gateway) -> anyhow::Result<ExitStatus> {
    let deadline = Instant::now() + GRACE + MARGIN;
    loop {
        if let Some(status) = gateway.has_ended()? {
            return Ok(status);
        }
        anyhow::ensure!(Instant::now() < deadline, "it does not stop:\n{}", gateway.log_tail());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One request and its answer, with times of the monotonic clock in ns.
struct Said {
    id: String,
    began_at: u64,
    ended_at: u64,
    answer: Option<load::Answer>,
}

/// Sends every event once, and one twice, over several connections.
async fn send_all(at: &Addresses, senders: &[Arc<Sender>], journal: &Journal, prefix: &str) -> Vec<Said> {
    let sending = senders.iter().enumerate().map(|(number, sender)| async move {
        let mut said = Vec::new();
        for id in ids_of(prefix, number) {
            let body = load::body(&id);
            let (began, began_at) = (Instant::now(), monotonic());
            let answer = sender.ask(at, &id, &body, COMMIT_TIMEOUT + MARGIN * 2).await;
            let ended_at = monotonic();
            note(journal, &id, answer.as_ref(), began);
            said.push(Said { id, began_at, ended_at, answer });
        }
        said
    });
    futures_util::future::join_all(sending).await.into_iter().flatten().collect()
}

fn senders() -> anyhow::Result<Vec<Arc<Sender>>> {
    (0..SENDERS).map(|_| Ok(Arc::new(Sender::new()?))).collect()
}

/// What one connection sends: the first one sends its last event twice.
fn ids_of(prefix: &str, number: usize) -> Vec<String> {
    let mut ids: Vec<_> = (0..EVENTS).map(|count| format!("{prefix}-{number}-{count}")).collect();
    if number == 0 {
        ids.extend([format!("{prefix}-twice"), format!("{prefix}-twice")]);
    }
    ids
}

fn ids(prefix: &str) -> Vec<String> {
    (0..SENDERS).flat_map(|number| ids_of(prefix, number)).collect()
}

fn note(journal: &Journal, id: &str, answer: Option<&load::Answer>, began: Instant) {
    let answer = answer.map(|it| (it.status, it.body.clone()));
    journal.note(id, answer.as_ref(), began);
}

fn is_acked(journal: &Journal, id: &str) -> bool {
    journal.events().get(id).is_some_and(|it| it.acked.is_some())
}
