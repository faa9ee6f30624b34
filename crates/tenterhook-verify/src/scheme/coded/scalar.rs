//! A scalar of a JSON text as the text that a scheme signs. Strings, integers and booleans only: two fractions may read
//! alike, and nothing else has one form.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// The text of a string, an integer or a boolean; empty for `null`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scalar(pub(crate) String);

impl Scalar {
    /// The text; `None` where it is empty.
    pub(crate) fn text(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.is_empty())
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor).map(Self)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an integer or a boolean")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Ok(String::new())
    }
}

/// The members of a flat JSON object in their order; `None` where the text is none, a value is no scalar, or there are
/// more than `members_max`.
pub(crate) fn object(text: &[u8], members_max: usize) -> Option<Vec<(Cow<'static, str>, Cow<'static, str>)>> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let members = deserializer.deserialize_map(ObjectVisitor { members_max }).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

struct ObjectVisitor {
    members_max: usize,
}

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Vec<(Cow<'static, str>, Cow<'static, str>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a flat object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, Scalar(value))) = map.next_entry::<String, Scalar>()? {
            if members.len() == self.members_max {
                return Err(A::Error::custom("more members than any provider sends"));
            }
            members.push((Cow::Owned(name), Cow::Owned(value)));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_one_form_is_a_scalar() {
        let read = |text: &str| serde_json::from_str::<Scalar>(text).ok().map(|scalar| scalar.0);
        for (text, expected) in [
            ("\"a\\u00fc\"", Some("aü")),
            ("-7", Some("-7")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("true", Some("true")),
            ("null", Some("")),
            ("1.0", None),
            ("1e3", None),
            ("[]", None),
            ("{}", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_object_is_flat_or_nothing() {
        let read = |text: &str| object(text.as_bytes(), 2).map(|members| members.len());
        for (text, expected) in [
            (r#"{"a":"1","b":2}"#, Some(2)),
            ("{}", Some(0)),
            (r#"{"a":"1","b":2,"c":3}"#, None),
            (r#"{"a":[]}"#, None),
            (r#"{"a":1}x"#, None),
            ("[]", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
