//! Reads a body, exactly as it arrives, within its limits. Nobody has vouched for it yet.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;

use crate::source::SourceLimits;

use super::budget::{Budget, Share};
use super::reply::Rejection;

/// The most that is set aside at once for a body that has only announced its length.
const CAPACITY_MAX: u64 = 64 * 1024;

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
    let announced = body.size_hint().lower().min(CAPACITY_MAX);
    let mut bytes: Vec<u8> = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Rejection::broken_body(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if (bytes.len() + data.len()) as u64 > bytes_max {
            return Err(Rejection::too_large(bytes_max));
        }
        if !share.grow(data.len() as u64) {
            return Err(Rejection::no_memory());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Bytes::from(bytes))
}
