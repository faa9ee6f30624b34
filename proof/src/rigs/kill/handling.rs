//! The handlers of this rig: slow and failing, but always the same way for the same attempt, so that a round can be
//! repeated. They know nothing of what is done to the gateway.

use std::time::Duration;

use axum::http::StatusCode;

use crate::lab::handler::{Answer, Received};

/// Three attempts in ten fail, and `slow_tenths` of ten take up to `slow_ms`.
pub(super) fn slow_and_failing(
    seed: u64,
    slow_tenths: u8,
    slow_ms: u64,
) -> impl Fn(&Received) -> Answer + Send + Sync {
    move |received| {
        let mut random = dice(seed, received);
        let status = match random.u8(..10) {
            0..7 => StatusCode::OK,
            7 => StatusCode::INTERNAL_SERVER_ERROR,
            8 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::NOT_FOUND,
        };
        let slow = random.u8(..10) < slow_tenths;
        let after = if slow { Duration::from_millis(random.u64(1..=slow_ms)) } else { Duration::ZERO };
        Answer { status, after }
    }
}

/// Chance that depends on the attempt only.
fn dice(seed: u64, received: &Received) -> fastrand::Rng {
    let event = received.event().bytes().fold(seed, |hash, byte| hash.wrapping_mul(31) ^ u64::from(byte));
    let mut random = fastrand::Rng::with_seed(event.wrapping_add(u64::from(received.attempt()) << 32));
    // Seeds that are close begin alike.
    random.u64(..);
    random
}
