//! The refused requests of late, bounded: what `GET /api/v1/rejections` shows. Nothing that was sent is kept but the
//! address.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::model::{SourceName, Timestamp};

/// One refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRequest {
    /// When.
    pub at: Timestamp,
    /// The source, where the path was one's.
    pub source: Option<SourceName>,
    /// The answer's status.
    pub status: u16,
    /// The stable reason code (`signature_mismatch`, `too_large`, …).
    pub reason: &'static str,
    /// One sentence, no secret, nothing from the body.
    pub detail: String,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The correlation id of the answer.
    pub correlation_id: String,
}

/// The last [`Rejections::MAX`] of them.
#[derive(Debug, Default)]
pub struct Rejections {
    kept: Mutex<VecDeque<RejectedRequest>>,
}

impl Rejections {
    /// How many are kept.
    pub const MAX: usize = 1000;

    /// The longest `detail` that is kept, in characters.
    pub const DETAIL_MAX: usize = 500;

    /// Keeps one, and forgets the oldest beyond [`Self::MAX`].
    pub fn push(&self, mut rejected: RejectedRequest) {
        if let Some((end, _)) = rejected.detail.char_indices().nth(Self::DETAIL_MAX) {
            rejected.detail.truncate(end);
        }
        let forgotten = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let forgotten = if kept.len() >= Self::MAX { kept.pop_front() } else { None };
            kept.push_back(rejected);
            forgotten
        };
        // Freed outside the lock: a flood of refusals waits for nothing but the swap.
        drop(forgotten);
    }

    /// The kept ones, newest first.
    #[must_use]
    pub fn recent(&self, limit: usize) -> Vec<RejectedRequest> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(number: i64) -> RejectedRequest {
        RejectedRequest {
            at: Timestamp::from_millis(number),
            source: None,
            status: 404,
            reason: "unknown_source",
            detail: "ä".repeat(2000),
            address: None,
            correlation_id: number.to_string(),
        }
    }

    #[test]
    fn the_newest_are_kept_and_shown_first() {
        let rejections = Rejections::default();
        for number in 0..1500 {
            rejections.push(rejected(number));
        }
        let recent = rejections.recent(usize::MAX);
        assert_eq!(recent.len(), Rejections::MAX);
        assert_eq!(recent[0].correlation_id, "1499");
        assert_eq!(recent[999].correlation_id, "500");
        assert_eq!(recent[0].detail.chars().count(), Rejections::DETAIL_MAX);
        assert_eq!(rejections.recent(2).len(), 2);
    }
}
