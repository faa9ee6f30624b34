//! Reads a body, exactly as it arrives, within its limits. Nobody has vouched for it yet.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;

use crate::source::SourceLimits;

use super::budget::{Budget, Share};
use super::reply::Rejection;

/// The most that is set aside at once for a body that has only announced its length.
const CAPACITY_MAX: usize = 64 * 1024;

/// The exact bytes, and the share of the budget that they hold. Polling the body for the first time is what sends
/// `100 Continue`. Trailers are not headers: they are read over.
pub(super) async fn read<B>(
    body: B,
    limits: &SourceLimits,
    budget: &Arc<Budget>,
) -> Result<(Bytes, Share), Rejection>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut share = budget.share();
    let collect = collect(body, limits.body_bytes_max, &mut share);
    let bytes =
        tokio::time::timeout(limits.body_timeout, collect).await.map_err(|_| Rejection::slow_body())??;
    Ok((bytes, share))
}

async fn collect<B>(mut body: B, bytes_max: u64, share: &mut Share) -> Result<Bytes, Rejection>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut bytes: Vec<u8> = Vec::with_capacity(announced.unwrap_or(0).min(CAPACITY_MAX));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Rejection::broken_body(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = bytes.len() + data.len();
        if length as u64 > bytes_max {
            return Err(Rejection::too_large(bytes_max));
        }
        if !share.grow(data.len() as u64) || !make_room(&mut bytes, length, announced, share) {
            return Err(Rejection::no_memory());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Bytes::from(bytes))
}

/// Room for `length` bytes; says whether the budget allows it.
///
/// A body of announced length moves at most once: the rest of its room is only addresses until its bytes arrive, so that
/// announcing takes nothing. One of unknown length moves again and again, and while it moves it is there twice: that
/// counts.
fn make_room(bytes: &mut Vec<u8>, length: usize, announced: Option<usize>, share: &mut Share) -> bool {
    if length <= bytes.capacity() {
        return true;
    }
    if let Some(announced) = announced.filter(|announced| *announced >= length) {
        bytes.reserve_exact(announced - bytes.len());
        return true;
    }
    let moved = bytes.len() as u64;
    if !share.grow(moved) {
        return false;
    }
    bytes.reserve(length - bytes.len());
    share.shrink(moved);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_announced_length_moves_once_and_takes_nothing_in_advance() {
        let budget = Budget::new(1 << 20);
        let mut share = budget.share();
        let mut bytes = vec![0; CAPACITY_MAX];
        assert!(make_room(&mut bytes, CAPACITY_MAX + 1, Some(25 << 20), &mut share));
        assert!(bytes.capacity() >= 25 << 20);
        let mut other = budget.share();
        assert!(other.grow(512 * 1024), "an announced length holds nothing of the budget");
    }

    #[test]
    fn a_body_of_unknown_length_counts_twice_while_it_moves() {
        let budget = Budget::new(400 * 1024);
        let mut share = budget.share();
        let mut bytes = vec![0; 200 * 1024];
        bytes.shrink_to_fit();
        let full = bytes.capacity();
        assert!(share.grow(full as u64));
        assert!(
            !make_room(&mut bytes, full + 1, None, &mut share),
            "two of these are more than there may be"
        );
        bytes.truncate(90 * 1024);
        share.shrink(110 * 1024);
        assert!(make_room(&mut bytes, full + 1, None, &mut share));
        assert!(share.grow(10 * 1024), "what was held while it moved is given back");
    }
}
