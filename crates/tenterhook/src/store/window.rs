//! How long a key is remembered: one rule, so that every backend forgets at the same moment. Knows no clock.

use std::time::Duration;

use crate::model::Timestamp;

/// When the key of an event received at `born` is forgotten: at the end of its generation plus the window.
///
/// A generation is an eighth of the window, counted from the Unix epoch, so a key lives at least the window and at
/// most an eighth of it longer, nine generations are alive at a time, and each is dropped as a whole. A key is known
/// while `now < forgotten_at`.
#[must_use]
pub fn forgotten_at(born: Timestamp, window: Duration) -> Timestamp {
    let generation_ms = i64::try_from(window.as_millis() / 8).unwrap_or(i64::MAX).max(1);
    let ends = born.millis().div_euclid(generation_ms).saturating_add(1).saturating_mul(generation_ms);
    Timestamp::from_millis(ends).plus(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lives_at_least_its_window_and_at_most_an_eighth_longer() {
        let window = Duration::from_secs(7 * 24 * 3600);
        for born in [0, 1, 75_599_999, 75_600_000, 1_764_000_000_123].map(Timestamp::from_millis) {
            let life = forgotten_at(born, window).since(born);
            assert!(life >= window && life <= window + window / 8, "{born:?}: {life:?}");
        }
    }

    #[test]
    fn at_most_nine_generations_are_alive() {
        let window = Duration::from_secs(8);
        let now = Timestamp::from_millis(1_764_000_000_123);
        let mut alive: Vec<_> = (0..100)
            .map(|ago| forgotten_at(now.minus(Duration::from_millis(ago * 100)), window))
            .filter(|end| *end > now)
            .collect();
        alive.dedup();
        assert_eq!(alive.len(), 9);
    }

    #[test]
    fn extreme_windows_do_not_overflow() {
        let now = Timestamp::from_millis(1_764_000_000_123);
        assert!(forgotten_at(now, Duration::ZERO) > now);
        assert_eq!(forgotten_at(now, Duration::MAX), Timestamp::from_millis(i64::MAX));
    }
}
