//! Orders: what people do to many deliveries at once, in slices, so that a hundred thousand dead letters hold up
//! neither the store's writer nor the events that arrive meanwhile.

use std::fmt::Write as _;

use super::Ops;
use crate::model::{DeliveryId, DeliveryState};
use crate::store::{Change, Selection, StoreError};

/// Deliveries changed in one transaction.
const SLICE: u32 = 500;

/// The longest subject of an audit line, in characters.
const SUBJECT_MAX: usize = 400;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Dead letters are made pending again, with a new budget.
    Redrive {
        /// Also behind newer delivered ones of the same ordering key.
        out_of_order: bool,
    },
    /// Delivered and dead ones are made pending again, with a new budget.
    Replay {
        /// Also behind newer delivered ones of the same ordering key.
        out_of_order: bool,
    },
    /// Pending ones are given up: dead, as `cancelled`.
    Cancel,
    /// Dead letters are removed, and only counted any more. With `not_to` in the selection this is the purge of
    /// orphans: also pending ones, of destinations that are gone.
    Purge,
}

impl Verb {
    /// The stable text: what the audit trail says.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redrive { .. } => "redrive",
            Self::Replay { .. } => "replay",
            Self::Cancel => "cancel",
            Self::Purge => "purge",
        }
    }

    fn change(self) -> Change {
        match self {
            Self::Redrive { out_of_order } | Self::Replay { out_of_order } => {
                Change::Requeue { out_of_order }
            }
            Self::Cancel => Change::DeadLetter,
            Self::Purge => Change::Forget,
        }
    }

    /// The states that the verb applies to.
    fn states(self, orphans: bool) -> &'static [DeliveryState] {
        match self {
            Self::Redrive { .. } => &[DeliveryState::Dead],
            Self::Replay { .. } => &[DeliveryState::Delivered, DeliveryState::Dead],
            Self::Cancel => &[DeliveryState::Pending],
            Self::Purge if orphans => &[DeliveryState::Dead, DeliveryState::Pending],
            Self::Purge => &[DeliveryState::Dead],
        }
    }

    /// Whether ones that were overtaken by newer deliveries of their ordering key are left alone.
    fn keeps_order(self) -> bool {
        matches!(self, Self::Redrive { out_of_order: false } | Self::Replay { out_of_order: false })
    }
}

/// An order for a selection of deliveries.
#[derive(Clone, Debug)]
pub struct Order {
    /// What to do.
    pub verb: Verb,
    /// To which. Its `limit` is not looked at; its `state` narrows the states of the verb.
    pub selection: Selection,
    /// Only say how many it would be.
    pub dry_run: bool,
    /// Change at most about so many in this call, and say where to go on. A dry run always counts all.
    pub deliveries_max: Option<u64>,
    /// Who says so, for the audit trail.
    pub actor: String,
}

/// What came of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Deliveries changed, or that would be.
    pub changed: u64,
    /// Deliveries left alone because newer ones of their ordering key are delivered already.
    pub out_of_order: u64,
    /// Where to go on (`selection.after_id`), when `deliveries_max` ended the call early.
    pub next: Option<DeliveryId>,
}

impl Ops {
    /// Carries out an order, one slice after another, each audited in its own transaction. When it fails, or its caller
    /// goes away, the slices before stay done, and the same order again does the rest.
    ///
    /// # Errors
    /// The store's.
    pub async fn order(&self, order: Order) -> Result<Report, StoreError> {
        let states = order.verb.states(order.selection.not_to.is_some());
        let wanted = match order.selection.state {
            Some(state) if !states.contains(&state) => return Ok(Report::default()),
            Some(state) => vec![state],
            None => states.to_vec(),
        };
        if order.dry_run {
            return self.count(&order, &wanted).await;
        }
        let mut selection = order.selection.clone();
        // Several states go in one pass, in id order: a second pass would see what the first one did.
        selection.state = if let [only] = wanted[..] { Some(only) } else { None };
        let report = self.carry_out(&order, selection).await?;
        tracing::info!(
            actor = order.actor,
            action = order.verb.as_str(),
            deliveries = report.changed,
            out_of_order = report.out_of_order,
            "operator_change"
        );
        Ok(report)
    }

    async fn carry_out(&self, order: &Order, mut selection: Selection) -> Result<Report, StoreError> {
        let subject = describe(&order.selection);
        let mut report = Report::default();
        loop {
            let left = order.deliveries_max.map_or(u64::MAX, |max| max.saturating_sub(report.changed));
            if left == 0 {
                report.next = selection.after_id;
                return Ok(report);
            }
            selection.limit = u32::try_from(left).unwrap_or(SLICE).min(SLICE);
            let by = self.entry(&order.actor, order.verb.as_str(), subject.clone());
            let changed = self.store.change(selection.clone(), order.verb.change(), by).await?;
            report.changed += changed.count;
            report.out_of_order += changed.out_of_order;
            let Some(next) = changed.next else { return Ok(report) };
            selection.after_id = Some(next);
        }
    }

    /// What the order would do, counted with the store's own dry run, state by state.
    async fn count(&self, order: &Order, states: &[DeliveryState]) -> Result<Report, StoreError> {
        let mut report = Report::default();
        for state in states {
            let mut selection = Selection { state: Some(*state), limit: SLICE, ..order.selection.clone() };
            loop {
                let by = self.entry(&order.actor, "dry_run", String::new());
                let counted = self.store.change(selection.clone(), Change::DryRun, by).await?;
                let left_alone = if order.verb.keeps_order() { counted.out_of_order } else { 0 };
                report.changed += counted.count.saturating_sub(left_alone);
                report.out_of_order += left_alone;
                let Some(next) = counted.next else { break };
                selection.after_id = Some(next);
            }
        }
        Ok(report)
    }
}

/// One line for the audit trail: the filters as written.
fn describe(selection: &Selection) -> String {
    let mut line = String::new();
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let space = if line.is_empty() { "" } else { " " };
            // Writing to a `String` does not fail.
            let _ = write!(line, "{space}{name}={value}");
        }
    };
    if let Some(ids) = &selection.ids {
        let shown: Vec<String> = ids.iter().take(3).map(ToString::to_string).collect();
        let more = if ids.len() > 3 { format!(" and {} more", ids.len() - 3) } else { String::new() };
        say("ids", Some(format!("{}{more}", shown.join(","))));
    }
    say("event", selection.event.map(|event| event.to_string()));
    say("state", selection.state.map(|state| state.as_str().to_owned()));
    say("source", selection.source.as_ref().map(ToString::to_string));
    say("destination", selection.destination.as_ref().map(ToString::to_string));
    say("type", selection.event_type.clone());
    say("since", selection.since.map(crate::model::Timestamp::rfc3339));
    say("until", selection.until.map(crate::model::Timestamp::rfc3339));
    say("orphaned", selection.not_to.as_ref().map(|_| "true".to_owned()));
    if line.is_empty() {
        line.push_str("all");
    }
    line.chars().filter(|char| !char.is_control()).take(SUBJECT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_line_names_the_filters() {
        assert_eq!(describe(&Selection::default()), "all");
        let selection = Selection {
            source: "stripe".parse().ok(),
            event_type: Some("invoice.*\r\n".to_owned()),
            ..Selection::default()
        };
        assert_eq!(describe(&selection), "source=stripe type=invoice.*");
    }
}
