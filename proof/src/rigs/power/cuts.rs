//! Rounds of power cuts: one gateway under load on a disk whose power is cut again and again. A cut makes an image and
//! leaves the disk as it is, so that the same gateway goes on to the next one.

use std::time::Instant;

use super::look::{self, Before, DESTINATION, LATENCY_MAX};
use super::mount;
use super::rack::{Rack, Wreck, aside};
use super::senders::Senders;
use crate::broken::Bug;
use crate::lab::load::Sender;
use crate::lab::{Gateway, Handler, Lab, Site, judge};
use crate::rig::Tally;

/// Cuts in one round.
const CUTS: u64 = 25;
/// Acknowledgements between two cuts, at most.
const EVENTS: usize = 400;
/// Cuts in one round over something broken.
const CONTROL_CUTS: u64 = 10;
/// The share of cuts in which something broken has to lose what it acknowledged.
const LOSSES: f64 = 0.9;

const LYING_FSYNC: &str = include_str!("../../../shim/lying_fsync.c");

/// What is wrong on purpose.
#[derive(Clone, Copy)]
pub(super) enum Wrong {
    /// The gateway's fsync does nothing and reports success.
    LyingFsync,
    /// The gateway answers before it commits.
    EarlyAck,
}

/// One round over the real gateway.
pub(super) async fn round(lab: Lab, seed: u64) -> anyhow::Result<Tally> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut scene = Scene::set(&lab, seed, None, &mut random).await?;
    let sender = Sender::new()?;
    let mut tally = Tally::default();
    for number in 1..=CUTS {
        let drain = number == CUTS;
        let cut = scene.cut(&mut random, &mut tally).await?;
        let database = cut.wreck.database();
        let file_first = random.bool();
        let mut found = Tally::default();
        if file_first {
            found.add(look::at_file(&database, &cut.acked).await);
        }
        let delivered = drain.then(|| look::delivered_until(&scene.handler, cut.taken));
        let before = Before { acked: &cut.acked, journal: scene.senders.journal(), delivered };
        found.add(look::through_gateway(&lab, database.clone(), before, &sender, &mut random).await?);
        if !file_first {
            found.add(look::at_file(&database, &cut.acked).await);
        }
        aside(move || cut.wreck.clear()).await?;
        tally.check(found.violations.is_empty(), || format!("cut {number} of {CUTS}:"));
        tally.add(found);
        tally.done += 1;
    }
    scene.senders.aim(Some(&scene.gateway.at));
    let journal = scene.senders.finish().await?;
    let as_duplicate = |word: &(u16, String)| word.1 == "duplicate";
    let duplicates = journal.events().into_values().filter_map(|it| it.acked).filter(as_duplicate).count();
    tally.count("first acknowledged as a duplicate", duplicates as u64);
    tally.add(judge::settled(&scene.gateway, &journal, &scene.handler).await?);
    tally.count("flushes", scene.rack.disk().flushes());
    scene.gateway.kill().await?;
    aside(move || scene.rack.dismantle()).await?;
    Ok(tally)
}

/// One round over something broken: it is caught where nearly every cut loses what was acknowledged.
pub(super) async fn control(lab: Lab, seed: u64, wrong: Wrong) -> anyhow::Result<Tally> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut scene = Scene::set(&lab, seed, Some(wrong), &mut random).await?;
    let (mut tally, mut lossy) = (Tally::default(), 0);
    for _ in 0..CONTROL_CUTS {
        let cut = scene.cut(&mut random, &mut tally).await?;
        let found = look::at_file(&cut.wreck.database(), &cut.acked).await;
        let lost = found.counts.get("acknowledged events lost").copied().unwrap_or_default();
        lossy += u64::from(lost > 0);
        tally.count("acknowledged events looked for", cut.acked.len() as u64);
        tally.count("acknowledged events lost", lost);
        aside(move || cut.wreck.clear()).await?;
        tally.done += 1;
    }
    tally.count("cuts that lost acknowledged events", lossy);
    tally.check((lossy as f64) < LOSSES * CONTROL_CUTS as f64, || {
        format!("{lossy} of {CONTROL_CUTS} cuts lost acknowledged events")
    });
    scene.gateway.kill().await?;
    aside(move || scene.rack.dismantle()).await?;
    Ok(tally)
}

/// A gateway under load on a disk. The fields go in this order: the gateway first.
struct Scene {
    gateway: Gateway,
    senders: Senders,
    handler: Handler,
    _site: Site,
    rack: Rack,
}

/// A cut that happened.
struct Cut {
    /// What had been acknowledged before.
    acked: Vec<String>,
    /// When.
    taken: Instant,
    /// What is left.
    wreck: Wreck,
}

impl Scene {
    async fn set(
        lab: &Lab,
        seed: u64,
        wrong: Option<Wrong>,
        random: &mut fastrand::Rng,
    ) -> anyhow::Result<Self> {
        let latency = LATENCY_MAX.mul_f64(random.f64());
        let rack = aside(move || Rack::new(latency)).await?;
        let handler = Handler::start().await?;
        let mut site = Site::simple(lab, Some(&rack.database()), &handler.url(), DESTINATION)?;
        match wrong {
            None => {}
            Some(Wrong::EarlyAck) => site = site.broken(lab, Bug::AckBeforeCommit),
            Some(Wrong::LyingFsync) => {
                let shim = rack.room().at("lying_fsync.so");
                mount::compile(LYING_FSYNC, &["-shared", "-fPIC"], &shim)?;
                site = site.env("LD_PRELOAD", shim);
            }
        }
        let gateway = site.start().await?;
        Ok(Self { gateway, senders: Senders::start(seed), handler, _site: site, rack })
    }

    /// Cuts the power at a random moment under full load; the load rests while the image is looked at.
    async fn cut(&mut self, random: &mut fastrand::Rng, tally: &mut Tally) -> anyhow::Result<Cut> {
        self.senders.aim(Some(&self.gateway.at));
        self.senders.moment(random, EVENTS).await?;
        // In this order: what is acknowledged after this line is not asked for.
        let acked = self.senders.journal().acked_ids();
        let image = self.rack.disk().cut(random);
        let taken = Instant::now();
        self.senders.aim(None);
        tally.count("unflushed writes kept", image.kept);
        tally.count("unflushed writes torn", image.torn);
        tally.count("unflushed writes dropped", image.dropped);
        let unflushed = image.kept + image.torn + image.dropped > 0;
        tally.count("cuts with unflushed writes", u64::from(unflushed));
        let (file, at) = (self.rack.room().at("image"), self.rack.room().at("cut"));
        let wreck = aside(move || Wreck::open(&image, file, &at)).await?;
        Ok(Cut { acked, taken, wreck })
    }
}
