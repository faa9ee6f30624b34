//! What a selection selects and what a change applies to. Pure: rows come as arguments.

use super::{Change, Selection};
use crate::model::{DeliveryId, DeliveryState, SourceName, Timestamp};

/// The columns of a delivery, and of its event, that a selection looks at.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The delivery.
    pub id: &'a DeliveryId,
    /// Where it stands.
    pub state: DeliveryState,
    /// The source of its event.
    pub source: &'a SourceName,
    /// The type of its event.
    pub event_type: &'a str,
    /// When its event was received.
    pub received_at: Timestamp,
}

impl Selection {
    /// Whether every filter lets it pass. `limit` is the caller's business.
    #[must_use]
    pub fn selects(&self, candidate: &Candidate<'_>) -> bool {
        let Candidate { id, state, source, event_type, received_at } = *candidate;
        self.ids.as_ref().is_none_or(|ids| ids.contains(id))
            && self.event.is_none_or(|event| event == id.event)
            && self.state.is_none_or(|wanted| wanted == state)
            && self.source.as_ref().is_none_or(|wanted| wanted == source)
            && self.destination.as_ref().is_none_or(|wanted| *wanted == id.destination)
            && self.event_type.as_ref().is_none_or(|glob| glob_matches(glob, event_type))
            && self.since.is_none_or(|since| received_at >= since)
            && self.until.is_none_or(|until| received_at < until)
            && self.not_to.as_ref().is_none_or(|known| !known.contains(&id.destination))
            && self.after_id.as_ref().is_none_or(|after| id > after)
    }
}

impl Change {
    /// Whether it can change a delivery in that state, selected like this.
    #[must_use]
    pub fn applies_to(self, state: DeliveryState, selection: &Selection) -> bool {
        match (self, state) {
            (Self::DryRun, _)
            | (Self::Requeue { .. }, DeliveryState::Dead | DeliveryState::Delivered)
            | (Self::DeadLetter, DeliveryState::Pending)
            | (Self::Forget, DeliveryState::Dead) => true,
            (Self::Forget, DeliveryState::Pending) => selection.not_to.is_some(),
            _ => false,
        }
    }
}

/// Whether an event type matches a glob: `*` matches any characters, and `a` also matches `a.b`.
///
/// Takes time in proportion to the product of the lengths, never more.
#[must_use]
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let mut pieces = glob.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return ends_a_word(rest);
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return ends_with_word(rest, piece);
        }
        let Some(found) = rest.find(piece) else { return false };
        rest = &rest[found + piece.len()..];
    }
    true
}

fn ends_a_word(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('.')
}

/// Whether `last` occurs in `rest` where nothing, or a `.`, follows.
fn ends_with_word(rest: &str, last: &str) -> bool {
    last.is_empty()
        || rest.char_indices().any(|(at, _)| rest[at..].strip_prefix(last).is_some_and(ends_a_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_what_people_expect() {
        for (glob, text, expected) in [
            ("*", "", true),
            ("*", "a.b", true),
            ("", "", true),
            ("", "a", false),
            ("push", "push", true),
            ("push", "pushed", false),
            ("pull_request", "pull_request.opened", true),
            ("pull_request.opened", "pull_request", false),
            ("payment_intent.*", "payment_intent.succeeded", true),
            ("payment_intent.*", "payment_intent", false),
            ("*.paid", "invoice.paid", true),
            ("*.paid", "invoice.paid.late", true),
            ("*.paid", "invoice.paidly", false),
            ("*.paid", "a.paidly.paid.x", true),
            ("*aa", "aaa.x", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("**", "x", true),
            ("ä*", "äö", true),
        ] {
            assert_eq!(glob_matches(glob, text), expected, "`{glob}` on `{text}`");
        }
    }
}
