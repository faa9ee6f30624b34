//! Rounds of file system shutdowns: the file system of a gateway under load stops, without flushing its log, and every
//! later write fails. Whatever was acknowledged before has to be there when it is mounted again. One store lives through a
//! whole round.
//!
//! What is owed, by when it was answered. The times are those of the call that shuts the file system down:
//!
//! - before it began: everything, byte for byte. Each of these answers rests on an fdatasync that had returned;
//! - to a request that was begun after the call had returned: nothing may be accepted at all. Every write and every
//!   fdatasync fails from then on, and an acknowledgement would be an invention of the gateway's;
//! - in between, to one of the few requests that were on their way: the event is there as a whole or not at all, and
//!   the store is sound. No more can be owed: the gateway knows of its disk only what fdatasync says, and an fdatasync
//!   of ext4 that races with the shutdown can report success and lose its write, also for a program that does nothing
//!   else (its journal is aborted, and what it had not committed by then is dropped in silence). A power cut has no
//!   such window, and `cuts` asks for everything. How many there were is counted, and the rig sends them again.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::look::{self, DESTINATION};
use super::mount::{self, Mounted};
use super::rack::{Room, aside, database_on};
use super::senders::{ON_THEIR_WAY, Senders};
use crate::lab::load::{Sender, body};
use crate::lab::measure::monotonic;
use crate::lab::{Gateway, Handler, Journal, Lab, PATIENCE, Site, judge, until};
use crate::rig::Tally;

/// Shutdowns in one round.
const SHUTDOWNS: u64 = 10;
/// Acknowledgements between two shutdowns, at most.
const EVENTS: usize = 200;

const SHUTDOWN_FS: &str = include_str!("../../../shim/shutdown_fs.c");

/// One round.
pub(super) async fn round(lab: Lab, seed: u64) -> anyhow::Result<Tally> {
    let mut random = fastrand::Rng::with_seed(seed);
    let room = aside(Room::new).await?;
    let (file, helper, at) = (room.ext4()?, room.at("shutdown_fs"), room.at("store"));
    mount::compile(SHUTDOWN_FS, &[], &helper)?;
    let mut store = mounted(&file, &at).await?;
    let handler = Handler::start().await?;
    let site = Site::simple(&lab, Some(&database_on(&store)), &handler.url(), DESTINATION)?;
    let senders = Senders::start(seed);
    let sender = Sender::new()?;
    let (mut tally, mut late) = (Tally::default(), Vec::new());
    for _ in 0..SHUTDOWNS {
        let mut gateway = site.start().await?;
        let known = senders.journal();
        look::ledger(&gateway, known.acked(), known.events().len() + ON_THEIR_WAY, &mut tally).await?;
        tell_again(&gateway, &sender, std::mem::take(&mut late), &mut tally).await;
        senders.aim(Some(&gateway.at));
        senders.moment(&mut random, EVENTS).await?;
        let refused = refusals(&senders);
        let down = Down::now(&helper, &at)?;
        let noticed = || async { Ok((refusals(&senders) > refused).then_some(())) };
        until("a sender is refused on a dead file system", PATIENCE, noticed).await?;
        match gateway.admin_status("/readyz").await {
            Ok(ready) => {
                tally.check(ready == 503, || format!("its file system is dead, and /readyz says {ready}"));
            }
            // It gives up after a few errors, perhaps at this very moment.
            Err(error) => {
                let ended = || std::future::ready(gateway.has_ended());
                until("what does not answer has ended", PATIENCE, ended).await.map_err(|_| error)?;
            }
        }
        senders.aim(None);
        gateway.kill().await?;
        let acked;
        (acked, late) = down.sort(senders.journal(), &mut tally);
        tally.count("acknowledged while the file system went down", late.len() as u64);
        aside(move || store.undo()).await?;
        store = mounted(&file, &at).await?;
        tally.add(look::at_file(&database_on(&store), &acked).await);
        tally.done += 1;
    }
    let gateway = site.start().await?;
    tell_again(&gateway, &sender, late, &mut tally).await;
    senders.aim(Some(&gateway.at));
    let journal = senders.finish().await?;
    tally.add(judge::settled(&gateway, &journal, &handler).await?);
    gateway.kill().await?;
    aside(move || {
        store.undo()?;
        room.leave()
    })
    .await?;
    Ok(tally)
}

/// When the file system went down.
struct Down {
    began: Instant,
    done: Instant,
}

impl Down {
    /// Shuts it down.
    fn now(helper: &Path, at: &Path) -> anyhow::Result<Self> {
        let said = mount::run(&helper.to_string_lossy(), None::<&str>, &[at])?;
        let (now, now_ns) = (Instant::now(), monotonic());
        let times: Result<Vec<u64>, _> = said.split_whitespace().map(str::parse).collect();
        let times = times.ok().filter(|times| times.len() == 2).with_context(|| format!("times: {said}"))?;
        let ago = |ns: u64| now - Duration::from_nanos(now_ns.saturating_sub(ns));
        Ok(Self { began: ago(times[0]), done: ago(times[1]) })
    }

    /// What was acknowledged before it, and while it went down.
    fn sort(&self, journal: &Journal, tally: &mut Tally) -> (Vec<String>, Vec<String>) {
        let (mut before, mut meanwhile) = (Vec::new(), Vec::new());
        for (id, sent) in journal.events() {
            let (Some((_, word)), Some((asked, answered))) = (&sent.acked, sent.acked_within) else {
                continue;
            };
            let invented = asked > self.done && word == "accepted";
            tally.check(!invented, || format!("accepted by a dead file system: {id}: {sent:?}"));
            if answered < self.began { &mut before } else { &mut meanwhile }.push(id);
        }
        (before, meanwhile)
    }
}

/// Sends once more what was acknowledged in the window, so that the end of the round can ask for it, too.
async fn tell_again(gateway: &Gateway, sender: &Sender, late: Vec<String>, tally: &mut Tally) {
    for id in late {
        let answer = sender.send(&gateway.at, &id, &body(&id), PATIENCE).await;
        let told = matches!(answer, Some((200..300, _)));
        tally.check(told, || format!("not taken after a restart: {id}: {answer:?}"));
    }
}

async fn mounted(file: &Path, at: &Path) -> anyhow::Result<Mounted> {
    let (file, at) = (file.to_owned(), at.to_owned());
    aside(move || Mounted::ext4(&file, &at)).await
}

/// Tries of the senders that were not answered 2xx, so far.
fn refusals(senders: &Senders) -> u64 {
    let events = senders.journal().events();
    events.values().map(|it| it.unknown + it.refused.values().sum::<u64>()).sum()
}
