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
//!   of ext4 that races with the shutdown can report success and lose its write (its journal is aborted, and what it had
//!   not committed by then is dropped in silence). How many there were is counted, and the rig sends them again.
//!
//! That this is the file system's doing, and not the gateway's, was tried with a program of thirty lines that appends
//! 4 KiB after 4 KiB to a file, each followed by fdatasync, on Linux 6.18: of what had returned before the call began,
//! none was lost in 160 shutdowns; what was on its way when it began was told a success that was none in 12 of 40. With
//! fsync for fdatasync it was 20 of 40, with the blocks set aside before 17 of 40, so neither matters; where blocks that
//! had been written before were written again, none of 40. A power cut has no such window, and `cuts` asks for everything.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::look::{self, DESTINATION};
use super::mount::{self, Mounted};
use super::rack::{Room, aside, database_on};
use super::senders::{ON_THEIR_WAY, Senders};
use crate::broken::Bug;
use crate::lab::load::{Sender, Sent, body};
use crate::lab::measure::monotonic;
use crate::lab::{Gateway, Handler, Journal, Lab, PATIENCE, Site, judge, until};
use crate::rig::Tally;

/// Shutdowns in one round.
const SHUTDOWNS: u64 = 10;
/// Acknowledgements between two shutdowns, at most.
const EVENTS: usize = 200;

const SHUTDOWN_FS: &str = include_str!("../../../shim/shutdown_fs.c");

/// One round over the real gateway, or over one with a bug.
pub(super) async fn round(lab: Lab, seed: u64, bug: Option<Bug>) -> anyhow::Result<Tally> {
    let mut random = fastrand::Rng::with_seed(seed);
    let room = aside(Room::new).await?;
    let (file, helper, at) = (room.ext4()?, room.at("shutdown_fs"), room.at("store"));
    mount::compile(SHUTDOWN_FS, &[], &helper)?;
    let mut store = mounted(&file, &at).await?;
    let handler = Handler::start().await?;
    let mut site = Site::simple(&lab, Some(&database_on(&store)), &handler.url(), DESTINATION)?;
    if let Some(bug) = bug {
        site = site.broken(&lab, bug);
    }
    let senders = Senders::start(seed);
    let sender = Sender::new()?;
    let (mut tally, mut acked, mut last) = (Tally::default(), Vec::new(), None::<Down>);
    for _ in 0..SHUTDOWNS {
        let mut gateway = site.start().await?;
        let known = senders.journal();
        look::ledger(&gateway, acked.len(), known.events().len() + ON_THEIR_WAY, &mut tally).await?;
        if let Some(last) = &last {
            last.tell_again(known, &gateway, &sender, &mut tally).await;
        }
        senders.aim(Some(&gateway.at));
        senders.moment(&mut random, EVENTS).await?;
        let refused = refusals(&senders);
        let down = Down::now(&helper, &at)?;
        if bug.is_none() {
            notices(&mut gateway, &senders, refused, &mut tally).await?;
        }
        senders.aim(None);
        gateway.kill().await?;
        acked = down.owed(senders.journal());
        last = Some(down);
        aside(move || store.undo()).await?;
        store = mounted(&file, &at).await?;
        tally.add(look::at_file(&database_on(&store), &acked).await);
        tally.done += 1;
    }
    if bug.is_none() {
        let gateway = site.start().await?;
        if let Some(last) = &last {
            last.tell_again(senders.journal(), &gateway, &sender, &mut tally).await;
        }
        senders.aim(Some(&gateway.at));
        let journal = senders.finish().await?;
        tally.add(judge::settled(&gateway, &journal, &handler).await?);
        gateway.kill().await?;
    }
    aside(move || {
        store.undo()?;
        room.leave()
    })
    .await?;
    Ok(tally)
}

/// The gateway is to notice that its file system is dead, and to say so.
async fn notices(
    gateway: &mut Gateway,
    senders: &Senders,
    refused: u64,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let noticed = || async { Ok((refusals(senders) > refused).then_some(())) };
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
    Ok(())
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

    /// What was acknowledged before it.
    fn owed(&self, journal: &Journal) -> Vec<String> {
        let is_owed = |sent: &Sent| sent.acked_within.is_some_and(|(_, answered)| answered < self.began);
        journal.events().into_iter().filter(|(_, sent)| is_owed(sent)).map(|(id, _)| id).collect()
    }

    /// Sends once more what was acknowledged while it went down, so that the next look can ask for it, too. By now every
    /// answer of the gateway that was killed has been noted.
    async fn tell_again(&self, journal: &Journal, gateway: &Gateway, sender: &Sender, tally: &mut Tally) {
        for (id, sent) in journal.events() {
            let Some((asked, _)) = sent.acked_within.filter(|(_, answered)| *answered >= self.began) else {
                continue;
            };
            tally.count("acknowledged while the file system went down", 1);
            let invented =
                asked > self.done && sent.acked.as_ref().is_some_and(|(_, word)| word == "accepted");
            tally.check(!invented, || format!("accepted by a dead file system: {id}: {sent:?}"));
            let answer = sender.send(&gateway.at, &id, &body(&id), PATIENCE).await;
            match &answer {
                Some((200..300, word)) if word["status"] == "accepted" => {
                    tally.count("of these, lost", 1);
                }
                Some((200..300, _)) => {}
                _ => tally.violations.push(format!("not taken after a restart: {id}: {answer:?}")),
            }
        }
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
