//! SIGSTOP beyond the lease, SIGCONT: when the gateway goes on, every lease of its attempts under way is over, and their
//! settlements come while it leases anew. Nothing is invisible for longer, a late settlement changes nothing.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use rustix::process::Signal;
use tokio::sync::Semaphore;

use super::attempts::{self, Known, RECORDED};
use super::handling;
use super::life::{self, GRACE};
use crate::broken::Bug;
use crate::lab::handler::Received;
use crate::lab::{Gateway, Handler, Lab, Load, PATIENCE, Site, judge};
use crate::rig::Tally;

/// Gateways that are paused in one round, each once: a pause takes long and nothing else. Fewer are enough to see a bug.
pub(super) const PAUSES: u64 = 20;
pub(super) const PAUSES_OF_CONTROL: u64 = 4;

/// Gateways that work at the same time.
const AT_WORK: usize = 3;

/// The timeout of the destination, and the lease, which is ten seconds longer.
const TIMEOUT: Duration = Duration::from_millis(300);
const LEASE: Duration = Duration::from_millis(10_300);

/// Attempts at the same time.
const CONCURRENCY: u64 = 64;

/// Senders, and the most events that are acknowledged before a pause: together fewer than [`CONCURRENCY`], so that
/// nothing has to wait for a slot unless more is sent afterwards.
const SENDERS: usize = 6;
const EVENTS_MAX: usize = 50;

pub(super) async fn round(lab: Lab, seed: u64, bug: Option<Bug>) -> anyhow::Result<Tally> {
    let at_work = Arc::new(Semaphore::new(AT_WORK));
    let pauses = if bug.is_some() { PAUSES_OF_CONTROL } else { PAUSES };
    let one = |number| {
        let first = number == 0;
        tokio::spawn(pause(lab.clone(), seed.wrapping_add(number), bug, first, Arc::clone(&at_work)))
    };
    let mut tally = Tally::of(pauses);
    for found in try_join_all((0..pauses).map(one)).await? {
        tally.add(found?);
    }
    Ok(tally)
}

async fn pause(
    lab: Lab,
    seed: u64,
    bug: Option<Bug>,
    and_a_second: bool,
    at_work: Arc<Semaphore>,
) -> anyhow::Result<Tally> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tally = Tally::default();
    // Some answers come after the timeout.
    let handler = Handler::answering(handling::slow_and_failing(seed, 8, 400)).await?;
    let mut site = site(&lab, &handler.url())?;
    if let Some(bug) = bug {
        site = site.broken(&lab, bug);
    }
    let permit = at_work.acquire().await?;
    let gateway = site.start().await?;
    let load = Load::start(SENDERS, &format!("p{seed}"));
    load.aim(Some(&gateway.at));
    load.acked(random.usize(10..EVENTS_MAX), PATIENCE).await;
    // Where more is sent after the pause, what was lost may have to queue; where not, it has to come at once.
    let busy = random.bool();
    if !busy {
        load.stop();
    }
    tokio::time::sleep(Duration::from_millis(random.u64(..60))).await;
    gateway.signal(Signal::STOP)?;
    let stopped = Instant::now();
    drop(permit);
    if and_a_second {
        second_is_refused(&site, &gateway, &mut tally).await?;
    }
    let whole = LEASE + Duration::from_millis(random.u64(100..2000));
    tokio::time::sleep_until((stopped + whole).into()).await;
    let permit = at_work.acquire().await?;
    gateway.signal(Signal::CONT)?;
    let resumed = Resumed::now(site.path())?;
    nothing_is_overdue(&gateway, &resumed, &mut tally).await?;
    let journal = load.finish().await?;
    tally.add(judge::settled(&gateway, &journal, &handler).await?);
    let (lost, said_lost) = (gateway.stop().await?, site.kept()?);
    drop(permit);
    tally.check(lost.success(), || format!("the gateway ended with {lost}"));
    let is = |line: &serde_json::Value, event: &str| line["message"] == event;
    let late = said_lost.iter().filter(|line| is(line, "lease_lost")).count();
    tally.count("late settlements refused", late as u64);
    let said: Vec<_> = said_lost.into_iter().filter(|line| is(line, RECORDED)).collect();
    let received = handler.journal();
    let events = attempts::recorded(site.database()).await?;
    let known = Known {
        received: &received,
        said: &said,
        unknown_max: attempts::at_once(CONCURRENCY),
        lease: Some(LEASE),
    };
    attempts::judge(&mut tally, &events, &known);
    if !busy {
        resumed.redelivered_in_time(&events, &received, &mut tally);
    }
    Ok(tally)
}

fn site(lab: &Lab, url: &str) -> anyhow::Result<Site> {
    let destination = format!(
        "timeout = \"{}ms\"\nconcurrency = {CONCURRENCY}\nbreaker = {{ failures = 100000 }}\n\
         retry = {{ base = \"50ms\", cap = \"500ms\", attempts_max = 500 }}",
        TIMEOUT.as_millis()
    );
    Ok(Site::simple(lab, None, url, &destination)?.keeping(RECORDED).keeping("lease_lost"))
}

/// The store of a gateway that stands still is still held: a second one could take its leases.
async fn second_is_refused(site: &Site, first: &Gateway, tally: &mut Tally) -> anyhow::Result<()> {
    let pid = first.pid()?.to_string();
    match site.start().await {
        Ok(second) => {
            second.kill().await?;
            tally.violations.push("a second gateway got the store of one that is paused".to_owned());
        }
        Err(error) => {
            let why = error.to_string();
            tally.check(why.contains(&pid), || format!("the second gateway does not name {pid}: {why}"));
        }
    }
    Ok(())
}

/// Looks from the moment of going on until every lease of before has to be seen to be over.
async fn nothing_is_overdue(gateway: &Gateway, resumed: &Resumed, tally: &mut Tally) -> anyhow::Result<()> {
    let mut look = tokio::time::interval(Duration::from_millis(100));
    loop {
        look.tick().await;
        let (asked, machine) = (jiff::Timestamp::now(), resumed.stalls.allowance());
        for (id, until) in life::leased(gateway).await? {
            let over = until.max(resumed.wall);
            let late = asked.duration_since(over).as_secs_f64();
            if late > 0.0 {
                tally.worst("lease_seen_over_after_ms", late * 1000.0);
            }
            tally.check(late <= (GRACE + machine).as_secs_f64(), || {
                format!("{id}: its lease ended at {until}, and still at {asked} nobody has noticed")
            });
        }
        if resumed.at.elapsed() > GRACE + Duration::from_millis(300) {
            return Ok(());
        }
    }
}

/// When the gateway went on, and how evenly the machine has run since.
struct Resumed {
    at: Instant,
    wall: jiff::Timestamp,
    stalls: Stalls,
}

impl Resumed {
    fn now(directory: &Path) -> anyhow::Result<Self> {
        let stalls = Stalls::watch(directory)?;
        Ok(Self { at: Instant::now(), wall: jiff::Timestamp::now(), stalls })
    }

    /// The attempt after a lost one came within the lease of that one, or of going on, and [`GRACE`].
    fn redelivered_in_time(
        &self,
        events: &[tenterhook::store::EventDetail],
        received: &[Received],
        tally: &mut Tally,
    ) {
        let came: std::collections::HashMap<(&str, u32), Instant> =
            received.iter().map(|it| ((it.header("webhook-id"), it.attempt()), it.at)).collect();
        for event in events {
            let id = event.summary.id.to_string();
            let Some(delivery) = event.deliveries.first() else { continue };
            let is_lost = |number: &u32| delivery.attempts.iter().all(|it| it.number != *number);
            for lost in (1..delivery.summary.attempts).filter(is_lost) {
                let pair = (came.get(&(id.as_str(), lost)), came.get(&(id.as_str(), lost + 1)));
                let (Some(before), Some(after)) = pair else { continue };
                let over = (*before + LEASE).max(self.at);
                let late = after.saturating_duration_since(over);
                tally.worst("redelivered_after_lease_ms", late.as_secs_f64() * 1000.0);
                tally.check(late <= GRACE + self.stalls.allowance(), || {
                    format!("{id}: attempt {} came {late:?} after the lease of the one before", lost + 1)
                });
            }
        }
    }
}

/// The longest time for which this process itself was not run, or the disk took for a few bytes: what the machine is to
/// blame for.
struct Stalls {
    longest: Arc<Mutex<Duration>>,
    stop: Arc<AtomicBool>,
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// A settlement, a lease and an attempt come one after the other, and each may meet a stall.
const STEPS: u32 = 3;

impl Stalls {
    /// Watches from now on; the disk is that of `directory`.
    fn watch(directory: &Path) -> anyhow::Result<Self> {
        const EVERY: Duration = Duration::from_millis(20);
        let (longest, stop) = (Arc::<Mutex<Duration>>::default(), Arc::<AtomicBool>::default());
        let (kept, stopped) = (Arc::clone(&longest), Arc::clone(&stop));
        let mut file = tempfile::tempfile_in(directory)?;
        std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let before = Instant::now();
                std::thread::sleep(EVERY);
                // A disk that refuses is the gateway's trouble, and judged there.
                let _ = file.write_all(b"still alive").and_then(|()| file.sync_data());
                let stall = before.elapsed().saturating_sub(EVERY);
                let mut longest = kept.lock().unwrap_or_else(PoisonError::into_inner);
                *longest = stall.max(*longest);
            }
        });
        Ok(Self { longest, stop })
    }

    fn allowance(&self) -> Duration {
        STEPS * *self.longest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
