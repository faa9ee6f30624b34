//! What a command learns about an event through its environment. Knows names and bounds; starts nothing.

use std::collections::BTreeMap;

use crate::destination::metadata;
use crate::model::Message;

/// The longest value, in bytes. Linux refuses a variable of 128 KiB.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// The variables of one event, fit to be handed over: no NUL, no value beyond its bound.
pub(super) fn variables(message: &Message) -> Vec<(String, String)> {
    let mut variables: Vec<_> = metadata::facts(message)
        .into_iter()
        .map(|(name, value)| (format!("TENTERHOOK_{}", name.replace('-', "_").to_uppercase()), fit(&value)))
        .collect();
    variables.push(("TENTERHOOK_TRACEPARENT".to_owned(), metadata::traceparent(message).into_owned()));
    if let Some(headers) = headers(message) {
        variables.push(("TENTERHOOK_HEADERS".to_owned(), headers));
    }
    variables
}

fn fit(value: &str) -> String {
    let mut fitting = value.replace('\0', "");
    let mut end = fitting.len().min(VALUE_BYTES_MAX);
    while !fitting.is_char_boundary(end) {
        end -= 1;
    }
    fitting.truncate(end);
    fitting
}

/// The provider's headers as a JSON object, values of one name joined with `, `. A cut object would be none, so one
/// that is too long is left out.
fn headers(message: &Message) -> Option<String> {
    let mut joined = BTreeMap::<&str, String>::new();
    for (name, value) in &message.headers {
        let all = joined.entry(name.as_str()).or_default();
        if !all.is_empty() {
            all.push_str(", ");
        }
        all.push_str(&String::from_utf8_lossy(value.as_bytes()));
    }
    serde_json::to_string(&joined).ok().filter(|text| text.len() <= VALUE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_loses_its_nul_bytes_and_ends_at_its_bound() {
        assert_eq!(fit("a\0b\r\n$(c)"), "ab\r\n$(c)");
        assert_eq!(fit(&"x".repeat(200_000)).len(), VALUE_BYTES_MAX);
        assert_eq!(fit(&"€".repeat(200_000)).len(), VALUE_BYTES_MAX / 3 * 3);
    }
}
