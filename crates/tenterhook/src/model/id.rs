//! Ids: 63-bit integers that sort by time, and their public text.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use data_encoding::{BASE32HEX_NOPAD, Encoding};

use super::name::DestinationName;
use super::time::Timestamp;

/// Ids count milliseconds from 2023-01-01T00:00:00Z, which leaves 43 bits of milliseconds (till 2301) over a counter
/// of 20 bits.
const EPOCH_MS: i64 = 1_672_531_200_000;
const COUNTER_BITS: u32 = 20;

/// The id of an event: milliseconds since 2023 in the upper 43 bits, a counter in the lower 20. Its text is `evt_`
/// and 13 characters of lower-case base32hex, which sort like the ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(i64);

impl EventId {
    /// From the stored integer.
    #[must_use]
    pub const fn from_raw(raw: i64) -> Self {
        Self(raw)
    }

    /// The stored integer.
    #[must_use]
    pub const fn raw(self) -> i64 {
        self.0
    }

    /// The smallest id of that millisecond: a bound for range queries.
    #[must_use]
    pub fn floor_of(time: Timestamp) -> Self {
        Self(time.millis().saturating_sub(EPOCH_MS).clamp(0, (1 << 43) - 1) << COUNTER_BITS)
    }

    /// The id after `last` for an event of `now`: never goes back, also when the clock does.
    #[must_use]
    pub fn next(last: Self, now: Timestamp) -> Self {
        Self(Self::floor_of(now).0.max(last.0.saturating_add(1)))
    }

    /// When the id was made, to the millisecond.
    #[must_use]
    pub fn time(self) -> Timestamp {
        Timestamp::from_millis((self.0 >> COUNTER_BITS) + EPOCH_MS)
    }
}

/// Made once: building the tables takes longer than using them.
static BASE32_LOWER: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = BASE32HEX_NOPAD.specification();
    spec.symbols = spec.symbols.to_ascii_lowercase();
    spec.encoding().unwrap_or(BASE32HEX_NOPAD)
});

/// Characters after `evt_`: 64 bits, five at a time.
const DIGITS: usize = 13;

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; DIGITS];
        BASE32_LOWER.encode_mut(&self.0.to_be_bytes(), &mut digits);
        f.write_str("evt_")?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id: expected {1}")]
pub struct ParseIdError(String, &'static str);

impl FromStr for EventId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let refusal = || ParseIdError(text.chars().take(64).collect(), "`evt_` and 13 characters");
        let digits = text.strip_prefix("evt_").filter(|digits| digits.len() == DIGITS).ok_or_else(refusal)?;
        let bytes = BASE32_LOWER.decode(digits.as_bytes()).map_err(|_| refusal())?;
        let raw = i64::from_be_bytes(bytes.try_into().map_err(|_| refusal())?);
        if raw < 0 { Err(refusal()) } else { Ok(Self(raw)) }
    }
}

/// One event owed to one destination. Its text is `evt_…/NAME`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeliveryId {
    /// The event.
    pub event: EventId,
    /// The destination it is owed to.
    pub destination: DestinationName,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.event, self.destination)
    }
}

impl FromStr for DeliveryId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let refusal = || ParseIdError(text.chars().take(64).collect(), "`evt_…/destination`");
        let (event, destination) = text.split_once('/').ok_or_else(refusal)?;
        Ok(Self { event: event.parse()?, destination: destination.parse().map_err(|_| refusal())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_like_their_text_and_never_go_back() {
        let now = Timestamp::from_millis(1_764_000_000_000);
        let first = EventId::next(EventId::from_raw(0), now);
        let second = EventId::next(first, now);
        let after_a_step_back = EventId::next(second, Timestamp::from_millis(1_600_000_000_000));
        assert!(first < second && second < after_a_step_back);
        assert!(first.to_string() < second.to_string());
        assert_eq!(first.time(), now);
    }

    #[test]
    fn text_and_id_are_mirrors_and_junk_is_refused() {
        let id = EventId::next(EventId::from_raw(0), Timestamp::from_millis(1_764_000_000_000));
        assert_eq!(id.to_string().parse::<EventId>(), Ok(id));
        for junk in ["", "evt_", "evt_0", "evt_zzzzzzzzzzzzz", "msg_0000000000000", "evt_vvvvvvvvvvvvu"] {
            assert!(junk.parse::<EventId>().is_err(), "{junk}");
        }
    }
}
