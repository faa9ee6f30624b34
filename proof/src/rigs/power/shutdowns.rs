//! Rounds of file system shutdowns: the file system of a gateway under load stops, without flushing its log, and every
//! later write fails. Whatever was acknowledged before has to be there when it is mounted again. One store lives through a
//! whole round.
//!
//! What is acknowledged while the file system goes down is not asked for: an fdatasync of ext4 that races with the
//! shutdown can report success and lose its write, also for a program that does nothing else. A power cut has no such
//! window, and `cuts` asks for everything.

use std::path::Path;

use super::look::{self, DESTINATION};
use super::mount::{self, Mounted};
use super::rack::{Room, aside, database_on};
use super::senders::{ON_THEIR_WAY, Senders};
use crate::lab::load::{Sender, body};
use crate::lab::{Gateway, Handler, Lab, PATIENCE, Site, judge, until};
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
        let acked = senders.journal().acked_ids();
        mount::run(&helper.to_string_lossy(), None::<&str>, &[&at])?;
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
        late = senders.journal().acked_ids();
        late.retain(|id| !acked.contains(id));
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
