//! Where a page ends and the next one begins. A cursor is the text of the last id shown; callers pass it back unread.

use std::str::FromStr;

use super::{StoreError, StoreErrorKind};

/// The most items on a page, and deliveries in one slice of a change.
pub const PAGE_MAX: usize = 1000;

/// How many items a query asks for: none or too many mean [`PAGE_MAX`].
#[must_use]
pub fn page_size(limit: u32) -> usize {
    match usize::try_from(limit) {
        Ok(limit @ 1..=PAGE_MAX) => limit,
        _ => PAGE_MAX,
    }
}

/// Reads a cursor that a page before gave out.
///
/// # Errors
/// `Invalid` for text that no page gives out.
pub fn parse<T: FromStr>(cursor: &str) -> Result<T, StoreError> {
    cursor.parse().map_err(|_| {
        let shown: String = cursor.chars().take(80).collect();
        StoreError::new(StoreErrorKind::Invalid, format!("`{shown}` is not a cursor of this list"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeliveryId, EventId};

    #[test]
    fn the_text_of_an_id_is_a_cursor_and_junk_is_invalid() {
        let id = EventId::from_raw(42);
        assert_eq!(parse::<EventId>(&id.to_string()), Ok(id));
        for junk in ["", "evt_", "42", "evt_zzzzzzzzzzzzz/app"] {
            assert_eq!(parse::<EventId>(junk).map_err(|error| error.kind), Err(StoreErrorKind::Invalid));
            assert_eq!(parse::<DeliveryId>(junk).map_err(|error| error.kind), Err(StoreErrorKind::Invalid));
        }
    }

    #[test]
    fn a_page_has_a_bound() {
        assert_eq!([0, 1, 1000, 1001, u32::MAX].map(page_size), [1000, 1, 1000, 1000, 1000]);
    }
}
