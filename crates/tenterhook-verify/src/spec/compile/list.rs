//! The list grammar of a signature header, from its words.

use super::{Problems, SchemeSpec};
use crate::scheme::list::{ListRule, ListTime};

/// The outer `Option` is failure, the inner one absence.
#[expect(clippy::option_option, reason = "a list may rightly be absent, and may be wrong")]
pub(super) fn rule(spec: &SchemeSpec, problems: &mut Problems) -> Option<Option<ListRule>> {
    let in_list = spec.timestamp.as_ref().and_then(|timestamp| timestamp.list.as_deref());
    let Some(list) = &spec.list else {
        if in_list.is_some() {
            problems.add(
                "timestamp.list",
                "`timestamp.list` without `list`",
                "describe the list: `list = { items = \",\", … }`",
            );
        }
        return Some(None);
    };
    let before = problems.0.len();
    let separators = [("list.groups", &list.groups), ("list.items", &list.items), ("list.kv", &list.kv)];
    for (key, _) in separators.iter().filter(|(_, text)| text.as_deref() == Some("")) {
        problems.add(key, "an empty separator", "name the separator, or leave the key out");
    }
    if list.items.is_none() {
        problems.add("list.items", "`list.items` is not set", "name the separator of the items, such as `,`");
    }
    match (&list.kv, &list.signature) {
        (Some(_), None) => {
            problems.add(
                "list.signature",
                "`list.signature` is not set",
                "name the key of a signature, such as `v1`",
            );
        }
        (None, Some(_)) => {
            problems.add(
                "list.kv",
                "`list.signature` without `list.kv`",
                "name what stands between key and value, such as `=`",
            );
        }
        _ => {}
    }
    if let (Some(one), Some(other)) = (in_list, list.timestamp.as_deref())
        && one != other
    {
        problems.add("list.timestamp", "`list.timestamp` and `timestamp.list` differ", "set one of them");
    }
    let timestamp = match (in_list.or(list.timestamp.as_deref()), &list.kv) {
        (Some(key), Some(_)) => Some(ListTime::Key(key.to_owned())),
        (Some(index), None) => match index.parse() {
            Ok(index) => Some(ListTime::Index(index)),
            Err(_) => {
                let message = format!("`{index}` is not a position");
                problems.add(
                    "list.timestamp",
                    message,
                    "without `kv` it is the position of the timestamp: `0`",
                );
                None
            }
        },
        (None, _) => None,
    };
    if problems.0.len() > before {
        return None;
    }
    Some(Some(ListRule {
        groups: list.groups.clone(),
        items: list.items.clone()?,
        kv: list.kv.clone(),
        signature: list.signature.clone().unwrap_or_default(),
        timestamp,
    }))
}
