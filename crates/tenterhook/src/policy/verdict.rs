//! What becomes of a delivery after an attempt.

use std::time::Duration;

use fastrand::Rng;

use super::backoff::{RetryPolicy, delay_after};
use crate::model::{DeadReason, Outcome, Timestamp, Verdict};

/// How long a delivery rests that could not be tried for a reason of ours. It spends nothing of its budget, so this is
/// only about how soon a mended reason is noticed.
pub const REST_NOT_TRIED: Duration = Duration::from_secs(10);

/// Judges attempt number `attempt` of a budget (from 1).
#[must_use]
pub fn verdict(
    policy: &RetryPolicy,
    attempt: u32,
    outcome: &Outcome,
    now: Timestamp,
    rng: &mut Rng,
) -> Verdict {
    match outcome {
        Outcome::Delivered => Verdict::Complete,
        Outcome::Rejected => Verdict::DeadLetter { reason: DeadReason::Rejected },
        Outcome::NotTried => Verdict::Release { at: now.plus(REST_NOT_TRIED) },
        Outcome::Failed { .. } if attempt >= policy.attempts_max => {
            Verdict::DeadLetter { reason: DeadReason::AttemptsExhausted }
        }
        Outcome::Failed { after, .. } => {
            Verdict::Retry { at: now.plus(delay_after(policy, attempt, *after, rng)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FailureKind;

    #[test]
    fn each_outcome_has_its_verdict() {
        let policy = RetryPolicy { jitter: 0.0, attempts_max: 3, ..RetryPolicy::default() };
        let now = Timestamp::from_millis(1_000);
        let check = |attempt, outcome: Outcome, expected: Verdict| {
            let judged = verdict(&policy, attempt, &outcome, now, &mut Rng::with_seed(1));
            assert_eq!(judged, expected, "{outcome:?} at attempt {attempt}");
        };
        let failed = |after: Option<u64>| Outcome::Failed {
            kind: FailureKind::Server,
            after: after.map(Duration::from_secs),
        };
        check(1, Outcome::Delivered, Verdict::Complete);
        check(1, Outcome::Rejected, Verdict::DeadLetter { reason: DeadReason::Rejected });
        check(1, failed(None), Verdict::Retry { at: Timestamp::from_millis(2_000) });
        check(2, failed(None), Verdict::Retry { at: Timestamp::from_millis(3_000) });
        check(2, failed(Some(60)), Verdict::Retry { at: Timestamp::from_millis(61_000) });
        check(3, failed(Some(60)), Verdict::DeadLetter { reason: DeadReason::AttemptsExhausted });
        check(99, Outcome::NotTried, Verdict::Release { at: Timestamp::from_millis(11_000) });
    }
}
