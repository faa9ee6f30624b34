//! One scalar out of a JSON text, by pointer, in one pass and without building a value. What the pointer does not lead
//! through is skipped, and the recursion is as deep as the pointer, not as the text.

#[cfg(feature = "catalog")]
use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The scalar at `pointer`, as text; `None` where there is none, or where the text is not one JSON document. What
/// [`super::scan`] is held against.
#[cfg(test)]
pub(super) fn scalar(text: &[u8], pointer: &str) -> Option<String> {
    let tokens = tokens(pointer);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let found = At { tokens: &tokens }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    found
}

/// The scalars of all items of one array: `pointer` has `*` where the items are. An item without one counts as `None`;
/// what is the same as another item's is told once, and after `max` different ones one more ends the list.
pub(crate) fn each_item(text: &[u8], pointer: &str, max: usize) -> Vec<Option<String>> {
    let tokens = tokens(pointer);
    let mut found = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = Each { tokens: &tokens, max, found: &mut found }.deserialize(&mut deserializer);
    if read.and_then(|()| deserializer.end()).is_err() {
        found.clear();
    }
    found
}

/// The first key of an object that is none of `except`; `None` where the text is not one JSON object with such a key.
#[cfg(feature = "catalog")]
pub(crate) fn first_key(text: &[u8], except: &[String]) -> Option<String> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let found = deserializer.deserialize_map(FirstKey { except }).ok()?;
    deserializer.end().ok()?;
    found
}

#[cfg(feature = "catalog")]
struct FirstKey<'e> {
    except: &'e [String],
}

#[cfg(feature = "catalog")]
impl<'de> Visitor<'de> for FirstKey<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            map.next_value::<IgnoredAny>()?;
            if found.is_none() && !self.except.iter().any(|name| *name == key) {
                found = Some(key.into_owned());
            }
        }
        Ok(found)
    }
}

fn tokens(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect()
}

/// The items of the array that `tokens` lead to from here.
struct Each<'t, 'f> {
    tokens: &'t [String],
    max: usize,
    found: &'f mut Vec<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Each<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Each<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let token = self.tokens.split_first();
        while let Some(wanted) = map.next_key_seed(Named { name: token.map(|(name, _)| name.as_str()) })? {
            match token {
                Some((_, rest)) if wanted => {
                    // The last of duplicate keys wins, as it does in the parsers that handlers use.
                    self.found.clear();
                    map.next_value_seed(Each { tokens: rest, max: self.max, found: &mut *self.found })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((_, rest)) = self.tokens.split_first().filter(|(token, _)| *token == "*") else {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        while let Some(value) = seq.next_element_seed(At { tokens: rest })? {
            if self.found.len() <= self.max && !self.found.contains(&value) {
                self.found.push(value);
            }
        }
        Ok(())
    }
}

/// The value that `tokens` lead to from here.
#[derive(Clone, Copy)]
struct At<'t> {
    tokens: &'t [String],
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl At<'_> {
    /// A scalar counts only where the pointer ends.
    fn leaf(self, text: impl FnOnce() -> String) -> Option<String> {
        self.tokens.is_empty().then(text)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(self.leaf(|| value.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.leaf(|| value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.leaf(|| value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.leaf(|| value.to_string()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let token = self.tokens.split_first();
        while let Some(wanted) = map.next_key_seed(Named { name: token.map(|(name, _)| name.as_str()) })? {
            match token {
                // The last of duplicate keys wins, as it does in the parsers that handlers use.
                Some((_, rest)) if wanted => found = map.next_value_seed(At { tokens: rest })?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let Some((token, rest)) = self.tokens.split_first() else {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        let canonical = token == "0" || !token.starts_with('0');
        let wanted: Option<usize> = token.parse().ok().filter(|_| canonical);
        let mut found = None;
        let mut index = 0;
        loop {
            if Some(index) == wanted {
                let Some(value) = seq.next_element_seed(At { tokens: rest })? else { break };
                found = value;
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
            index += 1;
        }
        Ok(found)
    }
}

/// Whether a key is the wanted one.
struct Named<'n> {
    name: Option<&'n str>,
}

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Named<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(self.name == Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(text: &str) -> Vec<Option<String>> {
        each_item(text.as_bytes(), "/value/*/state", 2)
    }

    #[test]
    fn each_item_counts_and_what_is_missing_counts_too() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            states(r#"{"value":[{"state":"a"},{"state":"a"},{"state":"b"}]}"#),
            [some("a"), some("b")]
        );
        assert_eq!(states(r#"{"value":[{"state":"a"},{"other":1}]}"#), [some("a"), None]);
        assert_eq!(states(r#"{"value":[{"state":"a"},7]}"#), [some("a"), None]);
        assert_eq!(
            states(r#"{"value":[{"state":"a"}],"value":[{"state":"b"}]}"#),
            [some("b")],
            "the last wins"
        );
        for nothing in
            [r#"{"value":[]}"#, r#"{"value":{"state":"a"}}"#, r#"{"value":[{"state":"a"}]"#, "[]", ""]
        {
            assert!(states(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn different_items_end_with_one_more_than_is_wanted() {
        let items: Vec<String> = (0..1_000).map(|state| format!("{{\"state\":{state}}}")).collect();
        assert_eq!(states(&format!("{{\"value\":[{}]}}", items.join(","))).len(), 3);
    }

    #[cfg(feature = "catalog")]
    #[test]
    fn the_first_key_that_is_not_left_out_is_found() {
        let except = ["update_id".to_owned()];
        let key = |text: &str| first_key(text.as_bytes(), &except);
        assert_eq!(key(r#"{"update_id":1,"message":{"x":[]},"more":2}"#).as_deref(), Some("message"));
        assert_eq!(key(r#"{"mess\u0061ge":1}"#).as_deref(), Some("message"));
        for nothing in [r#"{"update_id":1}"#, "{}", "[]", r#"{"message":1"#, r#"{"message":1} x"#] {
            assert_eq!(key(nothing), None, "{nothing}");
        }
    }
}
