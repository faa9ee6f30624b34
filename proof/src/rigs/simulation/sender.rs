//! The providers of a simulated world. Each event is sent again and again until it is acknowledged; around it come
//! duplicates, conflicts, forgeries, and ids that are nearly the same. Every answer is judged at once against the book.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::future::join_all;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::Value;
use tenterhook::model::{Clock, EventId, OnRepeat};
use tenterhook::net::listener::Peer;
use tenterhook::store::Store;

use super::fault::Fault;
use super::letter::{Letter, Manner};
use super::settings::{SOURCES, TYPES};
use super::site::Site;
use super::world::World;

/// Bodies of conflicts kept per key, at most.
const CONFLICTS_KEPT: u32 = 8;

/// How far a time may be off where a signature covers it, and how roughly it is written.
const TOLERANCE: Duration = Duration::from_secs(300);
const ROUGHLY: Duration = Duration::from_secs(2);

/// An answer that arrived.
struct Answer {
    status: StatusCode,
    body: Value,
    retry_after: Option<u64>,
    /// How far the wall clock of the gateway was off.
    skew: Duration,
}

/// A letter with a random body. It is remembered as sent.
pub(super) fn write(world: &World, source: usize, pid: String, kind: &'static str, key: &str) -> Letter {
    let padding: String = {
        let mut rng = world.rng();
        let length = rng.usize(0..40);
        std::iter::repeat_with(|| rng.alphanumeric()).take(length).collect()
    };
    let body = format!(r#"{{"id":"{pid}","type":"{kind}","key":"{key}","padding":"{padding}"}}"#);
    let letter = Letter { source, pid, kind, body: body.into() };
    remember(world, &letter, key);
    letter
}

fn remember(world: &World, letter: &Letter, key: &str) {
    let mut book = world.book();
    let sent = book.sent.entry((letter.source, letter.pid.clone())).or_default();
    (sent.kind, sent.key) = (letter.kind, key.to_owned());
    sent.bodies.push(letter.body.clone());
}

/// One event and what comes with it.
pub(super) async fn work(
    site: Arc<Site>,
    number: u64,
    begins: Duration,
    flood: Option<&'static str>,
) -> anyhow::Result<()> {
    let world = &site.world;
    tokio::time::sleep(begins).await;
    let (source, kind, key) = {
        let mut rng = world.rng();
        let key = if flood.is_some() { 0 } else { rng.u8(0..3) };
        (rng.usize(..SOURCES.len()), flood.unwrap_or(TYPES[rng.usize(..TYPES.len())]), format!("key-{key}"))
    };
    let letter = write(world, source, format!("id-{number}"), kind, &key);
    forge(&site, &letter).await?;
    let together = companions(world, &letter, &key);
    for done in join_all(together.iter().map(|letter| until_acked(&site, letter))).await {
        done?;
    }
    if world.strikes(Fault::Conflict) {
        until_acked(&site, &write(world, source, letter.pid.clone(), kind, &key)).await?;
    }
    if !letter.signs_all() && world.strikes(Fault::Replayed) {
        let again = Letter { pid: format!("{}-replayed", letter.pid), ..letter.clone() };
        remember(world, &again, &key);
        until_acked(&site, &again).await?;
    }
    if world.strikes(Fault::LateDuplicate) {
        let longest = world.settings.chaos.as_millis() as u64 / 2;
        let rest = world.between(0, longest);
        tokio::time::sleep(rest).await;
        until_acked(&site, &letter).await?;
    }
    Ok(())
}

/// The letter, and what is sent at the same moment.
fn companions(world: &World, letter: &Letter, key: &str) -> Vec<Letter> {
    let mut together = vec![letter.clone()];
    if world.strikes(Fault::DuplicateBurst) {
        together.resize(world.rng().usize(2..6), letter.clone());
    }
    if world.strikes(Fault::NearId) {
        let (pid, upper) = (&letter.pid, world.rng().bool());
        let near = if upper { pid.to_uppercase() } else { format!("{pid}x") };
        together.push(write(world, letter.source, near, letter.kind, key));
    }
    if world.strikes(Fault::OtherSource) {
        // The very same bytes, even.
        let same = Letter { source: (letter.source + 1) % SOURCES.len(), ..letter.clone() };
        remember(world, &same, key);
        together.push(same);
    }
    if world.strikes(Fault::Conflict) {
        together.push(write(world, letter.source, letter.pid.clone(), letter.kind, key));
    }
    together
}

/// Forgeries under an id that somebody will use: a body that nobody signed, and a secret that is good no more.
async fn forge(site: &Site, letter: &Letter) -> anyhow::Result<()> {
    let world = &site.world;
    if world.strikes(Fault::Forged) {
        let body = Bytes::from(format!("{{\"forged\":\"{}\"}}", letter.pid));
        let forged = Letter { body, ..letter.clone() };
        let answer = try_once(site, &forged, &site.sender_secret(), &letter.body, Manner::Whole).await?;
        judge_refusal(world, &forged, answer.as_ref());
    }
    if world.strikes(Fault::RetiredSecret) {
        let answer = try_once(site, letter, &site.retired_secret(), &letter.body, Manner::Whole).await?;
        judge_refusal(world, letter, answer.as_ref());
    }
    Ok(())
}

/// Sends until the answer is 2xx, and once more where that answer is lost.
async fn until_acked(site: &Site, letter: &Letter) -> anyhow::Result<()> {
    let world = &site.world;
    loop {
        if world.is_broken() {
            return Ok(());
        }
        let manner = manner(world);
        let answer = try_once(site, letter, &site.sender_secret(), &letter.body, manner).await?;
        if let Some(answer) = answer {
            let status = answer.status;
            judge(site, letter, answer, manner).await;
            if status.is_success() && !world.strikes(Fault::LostAck) {
                return Ok(());
            }
        }
        // Long worlds have patient senders, or they would do nothing else.
        let longest = (world.settings.chaos.as_millis() as u64 / 50).max(20_000);
        let rest = if world.is_healing() { world.between(500, 5000) } else { world.between(100, longest) };
        tokio::time::sleep(rest).await;
    }
}

fn manner(world: &World) -> Manner {
    if world.strikes(Fault::TornBody) {
        Manner::Torn
    } else if world.strikes(Fault::SlowBody) {
        Manner::Dripping
    } else if world.strikes(Fault::StuckBody) {
        Manner::Stuck
    } else {
        Manner::Whole
    }
}

/// One request; `None` where there is no answer.
async fn try_once(
    site: &Site,
    letter: &Letter,
    secret: &str,
    signed: &Bytes,
    manner: Manner,
) -> anyhow::Result<Option<Answer>> {
    let world = &site.world;
    let Some(process) = site.process() else { return Ok(None) };
    let request = letter.request(world, secret, signed, manner)?;
    let (now, wrong) = (world.now(), process.clock.wall_now());
    let skew = now.since(wrong).max(wrong.since(now));
    let peer = Peer { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), tls: false };
    let patience =
        if world.strikes(Fault::SenderHangsUp) { world.between(0, 3000) } else { Duration::from_secs(3600) };
    let response = tokio::select! {
        biased;
        () = process.dead.cancelled() => return Ok(None),
        response = process.ingress.receive(request, peer) => response,
        () = tokio::time::sleep(patience) => return Ok(None),
    };
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let status = response.status();
    let bytes = response.into_body().collect().await.context("the answer's body")?.to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    world.trace("answered", u64::from(status.as_u16()), letter.pid.len() as u64);
    Ok(Some(Answer { status, body, retry_after, skew }))
}

/// What is not authentic is refused, and all refusals of authenticity are 401.
fn judge_refusal(world: &World, letter: &Letter, answer: Option<&Answer>) {
    let Some(answer) = answer else { return };
    let stale = letter.signs_all() && answer.skew + ROUGHLY > TOLERANCE;
    let refused =
        answer.status == StatusCode::UNAUTHORIZED || (stale && answer.status == StatusCode::BAD_REQUEST);
    world.check(refused, "R8", || format!("a forgery of `{}` is answered {}", letter.pid, answer.status));
}

/// What the answer to an authentic request has to be.
async fn judge(site: &Site, letter: &Letter, answer: Answer, manner: Manner) {
    let (world, status) = (&site.world, answer.status);
    let told =
        || format!("`{}` at {} ({manner:?}) is answered {status}", letter.pid, SOURCES[letter.source].0);
    if status.is_success() {
        return judge_receipt(site, letter, &answer, manner).await;
    }
    let is_stale = letter.signs_all() && answer.skew + ROUGHLY > TOLERANCE;
    let fits = match status {
        StatusCode::SERVICE_UNAVAILABLE => answer.retry_after.is_some_and(|it| (1..=300).contains(&it)),
        StatusCode::BAD_REQUEST => manner == Manner::Torn || is_stale,
        StatusCode::REQUEST_TIMEOUT => manner == Manner::Stuck,
        _ => false,
    };
    world.check(fits, "answers", told);
}

async fn judge_receipt(site: &Site, letter: &Letter, answer: &Answer, manner: Manner) {
    let world = &site.world;
    let word = answer.body["status"].as_str().unwrap_or_default().to_owned();
    let told = || format!("`{}` at {} is answered {}", letter.pid, SOURCES[letter.source].0, answer.body);
    let whole = matches!(manner, Manner::Whole | Manner::Dripping);
    world.check(whole, "R2", || format!("{} although it never arrived whole", told()));
    let too_old = letter.signs_all() && answer.skew > TOLERANCE + ROUGHLY;
    world.check(!too_old, "tolerance", || format!("{} with a clock off by {:?}", told(), answer.skew));
    let id: Option<EventId> = answer.body["id"].as_str().and_then(|id| id.parse().ok());
    let gone = {
        let book = world.book();
        let Some(event) = id.and_then(|id| book.events.get(&id)) else {
            return world.check(false, "R1", || format!("{}, and nothing is durable", told()));
        };
        let (mine, same) =
            (event.source == letter.source && event.pid == letter.pid, event.body == letter.body);
        let repeats = event.source == letter.source && world.settings.dedupe.on_repeat == OnRepeat::Duplicate;
        let (status, fits) = match word.as_str() {
            "accepted" => (StatusCode::ACCEPTED, mine && same),
            "duplicate" => (StatusCode::OK, same && (mine || repeats)),
            "conflict" => (StatusCode::OK, mine && !same),
            _ => (StatusCode::IM_A_TEAPOT, false),
        };
        let about = || format!("{}, which is `{}` at {}", told(), event.pid, SOURCES[event.source].0);
        world.check(fits && answer.status == status, "R5, R6", about);
        event.gone
    };
    if let (false, "conflict", Some(id)) = (gone, word.as_str(), id) {
        let kept = conflict_is_kept(site, letter, id).await;
        world.check(kept, "conflict", || format!("{}, and the body is not kept", told()));
    }
}

async fn conflict_is_kept(site: &Site, letter: &Letter, id: EventId) -> bool {
    for number in 1..=CONFLICTS_KEPT {
        match site.disk.payload(id, Some(number)).await {
            Ok(Some(payload)) if payload.body == letter.body => return true,
            Ok(Some(_)) => {}
            _ => return false,
        }
    }
    true
}
