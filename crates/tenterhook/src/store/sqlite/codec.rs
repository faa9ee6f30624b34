//! How things are written down: bodies, checksums, and the small enums as integers. Reading never panics:
//! whatever a stored byte says, the answer is a value or `None`.

use std::borrow::Cow;
use std::cell::RefCell;

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::headers;
use crate::model::{
    AdmittedParts, DeadReason, DeliveryState, FailureKind, NewDelivery, Outcome, Priority, Submission,
    Verdict,
};
use crate::store::window::forgotten_at;

/// Bodies shorter than this are stored as they are: compressing them costs more than it saves.
const COMPRESS_BYTES_MIN: usize = 2048;
/// A flipped bit in a stored length must not make us allocate the moon.
const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Matches only, no entropy coding: level 1 made the bodies of the benchmark no smaller, and an accept of 10 KiB took a tenth
/// longer.
const LEVEL: i32 = -2;

/// `payload.enc`: the body as it is.
pub(super) const RAW: i64 = 0;
/// `payload.enc`: one zstd frame.
pub(super) const ZSTD: i64 = 1;

/// A submission made ready in the caller's task, so that the writer only binds and steps.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) parts: AdmittedParts,
    pub(super) deliveries: Vec<NewDelivery>,
    pub(super) headers: Vec<u8>,
    pub(super) enc: i64,
    pub(super) stored: Bytes,
    pub(super) ip: Option<String>,
    pub(super) sum: u64,
    /// When key and repeat digest are forgotten.
    pub(super) forget_at: i64,
}

impl Packed {
    /// Compresses where there is time for it, encodes and sums up. CPU only.
    pub(super) fn new(submission: Submission, compresses: bool) -> Self {
        let parts = submission.admitted.into_parts();
        let headers = headers::encode(&parts.headers);
        let (enc, stored) = if compresses { compress(&parts.body) } else { (RAW, parts.body.clone()) };
        let ip = parts.source_ip.map(|ip| ip.to_string());
        let sum = Summed {
            source: parts.source.as_str(),
            provider: &parts.provider,
            ext_id: parts.provider_event_id.as_deref(),
            event_type: &parts.event_type,
            correlation: &parts.correlation_id,
            url: &parts.original_url,
            received: parts.received_at.millis(),
            digest: &parts.body_digest,
            headers: &headers,
            body: &parts.body,
        }
        .sum();
        let forget_at = forgotten_at(parts.received_at, parts.dedupe.window).millis();
        Self { deliveries: submission.deliveries, headers, enc, stored, ip, sum, forget_at, parts }
    }

    /// Roughly what it takes on disk, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        (self.stored.len() + self.headers.len() + self.parts.original_url.len() + 512) as u64
    }
}

/// What a row's checksum covers: all that a handler is given, and what duplicates are judged by.
pub(super) struct Summed<'a> {
    pub(super) source: &'a str,
    pub(super) provider: &'a str,
    pub(super) ext_id: Option<&'a str>,
    pub(super) event_type: &'a str,
    pub(super) correlation: &'a str,
    pub(super) url: &'a str,
    pub(super) received: i64,
    pub(super) digest: &'a [u8],
    pub(super) headers: &'a [u8],
    pub(super) body: &'a [u8],
}

impl Summed<'_> {
    pub(super) fn sum(&self) -> u64 {
        let mut hasher = Xxh3::new();
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(self.source.as_bytes());
        field(self.provider.as_bytes());
        field(self.ext_id.unwrap_or_default().as_bytes());
        field(&[u8::from(self.ext_id.is_some())]);
        field(self.event_type.as_bytes());
        field(self.correlation.as_bytes());
        field(self.url.as_bytes());
        field(&self.received.to_le_bytes());
        field(self.digest);
        field(self.headers);
        field(self.body);
        hasher.digest()
    }
}

/// Ties a checksum to its row, so that two rows that change places are noticed. The id is known only in the writer.
pub(super) fn bind(sum: u64, id: i64) -> i64 {
    (sum ^ xxh3_64(&id.to_le_bytes())).cast_signed()
}

/// The checksum of a conflict's headers and body.
pub(super) fn conflict_sum(headers: &[u8], body: &[u8], digest: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    for bytes in [headers, body, digest] {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hasher.digest()
}

fn compress(body: &Bytes) -> (i64, Bytes) {
    thread_local! {
        // A compressor is a megabyte of tables: one per thread, not one per request.
        static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    }
    if body.len() < COMPRESS_BYTES_MIN {
        return (RAW, body.clone());
    }
    let packed = COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        slot.as_mut().and_then(|compressor| compressor.compress(body).ok())
    });
    match packed {
        Some(mut packed) if packed.len() < body.len() - body.len() / 8 => {
            packed.shrink_to_fit();
            (ZSTD, Bytes::from(packed))
        }
        _ => (RAW, body.clone()),
    }
}

/// The original bytes, or `None` when they cannot be had back. `len` is the stored length, not to be trusted.
pub(super) fn decompress(enc: i64, stored: &[u8], len: i64) -> Option<Bytes> {
    let len = u64::try_from(len).ok().filter(|len| *len <= BODY_BYTES_MAX)?;
    let body = match enc {
        RAW => Bytes::copy_from_slice(stored),
        ZSTD => {
            // The frame says its own length; only when both agree is anything allocated.
            let framed = zstd::zstd_safe::get_frame_content_size(stored).ok().flatten();
            if framed.is_some_and(|framed| framed != len) {
                return None;
            }
            Bytes::from(zstd::bulk::decompress(stored, usize::try_from(len).ok()?).ok()?)
        }
        _ => return None,
    };
    (body.len() as u64 == len).then_some(body)
}

/// Text as stored, damaged bytes replaced: for lists, which show what there is.
pub(super) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// `delivery.state`.
pub(super) const PENDING: i64 = 0;
pub(super) const LEASED: i64 = 1;
pub(super) const DELIVERED: i64 = 2;
pub(super) const DEAD: i64 = 3;
pub(super) const PURGED: i64 = 4;

pub(super) fn state_of(stored: i64) -> DeliveryState {
    match stored {
        PENDING => DeliveryState::Pending,
        LEASED => DeliveryState::Leased,
        DELIVERED => DeliveryState::Delivered,
        PURGED => DeliveryState::Purged,
        // What no version ever wrote is shown as given up, so that a person looks at it.
        _ => DeliveryState::Dead,
    }
}

pub(super) fn state_code(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Pending => PENDING,
        DeliveryState::Leased => LEASED,
        DeliveryState::Delivered => DELIVERED,
        DeliveryState::Dead => DEAD,
        DeliveryState::Purged => PURGED,
    }
}

pub(super) fn priority_code(priority: Priority) -> i64 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

pub(super) fn priority_of(stored: i64) -> Priority {
    match stored {
        0 => Priority::High,
        2 => Priority::Low,
        _ => Priority::Normal,
    }
}

pub(super) fn reason_code(reason: DeadReason) -> i64 {
    match reason {
        DeadReason::AttemptsExhausted => 0,
        DeadReason::Rejected => 1,
        DeadReason::LeaseExpired => 2,
        DeadReason::Cancelled => 3,
        DeadReason::Corrupt => 4,
    }
}

pub(super) fn reason_of(stored: i64) -> Option<DeadReason> {
    DeadReason::ALL.into_iter().find(|reason| reason_code(*reason) == stored)
}

pub(super) fn failure_code(outcome: &Outcome) -> Option<i64> {
    let Outcome::Failed { kind, .. } = outcome else { return None };
    Some(match kind {
        FailureKind::Connect => 0,
        FailureKind::Timeout => 1,
        FailureKind::Server => 2,
        FailureKind::Client => 3,
        FailureKind::RateLimited => 4,
        FailureKind::Protocol => 5,
        FailureKind::Internal => 6,
    })
}

pub(super) fn failure_of(stored: i64) -> Option<FailureKind> {
    FailureKind::ALL
        .into_iter()
        .find(|kind| failure_code(&Outcome::Failed { kind: *kind, after: None }) == Some(stored))
}

pub(super) fn verdict_code(verdict: &Verdict) -> i64 {
    match verdict {
        Verdict::Complete => 0,
        Verdict::Retry { .. } => 1,
        Verdict::DeadLetter { .. } => 2,
        Verdict::Release { .. } => 3,
    }
}

pub(super) fn verdict_text(stored: i64) -> &'static str {
    match stored {
        0 => "complete",
        1 => "retry",
        2 => "dead_letter",
        _ => "release",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_bodies_are_refused_and_never_panic() {
        let body = Bytes::from(vec![b'a'; 10_000]);
        let (enc, stored) = compress(&body);
        assert_eq!(enc, ZSTD);
        assert_eq!(decompress(enc, &stored, 10_000), Some(body));
        for wrong in [-1, 0, 9_999, 10_001, i64::MAX] {
            assert_eq!(decompress(enc, &stored, wrong), None, "length {wrong}");
        }
        for at in 0..stored.len() {
            let mut flipped = stored.to_vec();
            flipped[at] ^= 0x55;
            let _ = decompress(enc, &flipped, 10_000);
        }
        assert_eq!(decompress(7, &stored, 10_000), None);
    }

    #[test]
    fn every_enum_comes_back_from_its_integer() {
        for reason in DeadReason::ALL {
            assert_eq!(reason_of(reason_code(reason)), Some(reason));
        }
        for kind in FailureKind::ALL {
            assert_eq!(failure_code(&Outcome::Failed { kind, after: None }).and_then(failure_of), Some(kind));
        }
        for state in [PENDING, LEASED, DELIVERED, DEAD, PURGED] {
            assert_eq!(state_code(state_of(state)), state);
        }
    }
}
