//! The kernel's OOM killer: a gateway under load in a control group that has less memory than large uploads take, from a
//! stranger who signs wrong.

use std::time::Duration;

use bytes::Bytes;

use super::cage::Cage;
use super::{handling, sigkill};
use crate::lab::{Addresses, Handler, Lab, Load, PATIENCE};
use crate::rig::Tally;

/// OOM kills in one round.
const KILLS: u64 = 10;

/// What the gateway may take, in bytes: enough for the load, less than [`UPLOADS`] take.
const LIMIT: u64 = 64 << 20;

/// Uploads side by side, and the bytes of each.
const UPLOADS: usize = 12;
const UPLOAD_BYTES: usize = 10 << 20;

pub(super) async fn round(lab: Lab, seed: u64) -> anyhow::Result<Tally> {
    let mut random = fastrand::Rng::with_seed(seed);
    let cage = Cage::new(&format!("tenterhook-proof-{}-{seed:x}", std::process::id()), LIMIT)?;
    let handler = Handler::answering(handling::slow_and_failing(seed, 3, 60)).await?;
    let site = sigkill::site(&lab, &handler.url())?.in_group(&cage.procs());
    let load = Load::start(8, &format!("m{seed}"));
    let mut tally = Tally::of(KILLS);
    let upload = Bytes::from(vec![b'x'; UPLOAD_BYTES]);
    for kill in 0..KILLS {
        let gateway = site.start().await?;
        load.aim(Some(&gateway.at));
        load.acked(load.journal.acked() + random.usize(1..60), PATIENCE).await;
        tokio::time::sleep(Duration::from_millis(random.u64(..100))).await;
        let uploads: Vec<_> =
            (0..UPLOADS).map(|_| tokio::spawn(push(gateway.at.clone(), upload.clone()))).collect();
        let status = gateway.ended().await;
        load.aim(None);
        uploads.iter().for_each(tokio::task::JoinHandle::abort);
        let counted = cage.kills()?;
        let status = status?;
        let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
        anyhow::ensure!(
            killed && counted == kill + 1,
            "no OOM kill: {status}, {counted} counted of {}",
            kill + 1
        );
    }
    let tally = sigkill::finish(site, &handler, load, KILLS, std::mem::take(&mut tally)).await?;
    drop(cage);
    Ok(tally)
}

/// Uploads again and again, with a signature that has the right form.
async fn push(at: Addresses, body: Bytes) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    loop {
        let request = client.post(format!("{}/webhooks/github", at.ingress)).body(body.clone());
        let request = request.header("content-type", "application/json").header("x-github-event", "push");
        let request = request.header("x-github-delivery", "a-stranger's");
        let request = request.header("x-hub-signature-256", format!("sha256={}", "0".repeat(64)));
        if request.send().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
