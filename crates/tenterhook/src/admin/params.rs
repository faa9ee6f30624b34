//! Query strings, read strictly: an unknown key, one given twice, or a value that is none is refused with a hint, because
//! a filter that is silently ignored redrives everything.

use std::str::FromStr;

use http::Uri;

use super::problem::Problem;
use crate::model::Timestamp;

/// Items on a page, where nothing is asked for.
const LIMIT_DEFAULT: u32 = 100;

/// Items on a page, at most.
pub(super) const LIMIT_MAX: u32 = 1000;

/// The longest query string and the longest value, in bytes.
const QUERY_BYTES_MAX: usize = 8 * 1024;
const VALUE_BYTES_MAX: usize = 1024;

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads them; only `known` keys may occur.
    pub(super) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let query = uri.query().unwrap_or_default();
        if query.len() > QUERY_BYTES_MAX {
            return Err(bad("the query string is too long", format!("at most {QUERY_BYTES_MAX} bytes")));
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&&*key) {
                let shown: String = key.chars().take(60).collect();
                let hint = if known.is_empty() {
                    "none are".to_owned()
                } else {
                    format!("known are `{}`", known.join("`, `"))
                };
                return Err(bad(format!("`{shown}` is not a parameter here"), hint));
            }
            if pairs.iter().any(|(seen, _)| *seen == key) {
                return Err(bad(format!("`{key}` is given twice"), "once is enough"));
            }
            if value.len() > VALUE_BYTES_MAX {
                return Err(bad(format!("`{key}` is too long"), format!("at most {VALUE_BYTES_MAX} bytes")));
            }
            pairs.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    pub(super) fn parsed<T: FromStr>(&self, key: &str, expected: &str) -> Result<Option<T>, Problem> {
        self.text(key).map(|text| parse(key, &text, expected)).transpose()
    }

    /// A value that is one of a few words.
    pub(super) fn one_of<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, Problem> {
        self.text(key).map(|text| word(key, &text, words)).transpose()
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, Problem> {
        Ok(self.one_of(key, &[("true", true), ("false", false)])?.unwrap_or(false))
    }

    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let expected = "a whole number from 1 to 1000";
        match self.parsed::<u32>("limit", expected)? {
            None => Ok(LIMIT_DEFAULT),
            Some(limit @ 1..=LIMIT_MAX) => Ok(limit),
            Some(limit) => Err(refused("limit", &limit.to_string(), expected)),
        }
    }

    pub(super) fn time(&self, key: &str, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
        self.text(key).map(|text| time(key, &text, now)).transpose()
    }
}

/// Reads a value, or says what was expected.
pub(super) fn parse<T: FromStr>(key: &str, text: &str, expected: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| refused(key, text, expected))
}

/// Reads one of a few words.
pub(super) fn word<T: Copy>(key: &str, text: &str, words: &[(&str, T)]) -> Result<T, Problem> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        refused(key, text, &known.join(", "))
    })
}

/// Reads a time: RFC 3339, or how long ago (`90m`, `7d`).
pub(super) fn time(key: &str, text: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    if let Ok(ago) = tenterhook_verify::spec::parse_duration(text) {
        return Ok(now.minus(ago));
    }
    let time: jiff::Timestamp = parse(key, text, "an RFC 3339 time, or how long ago (`90m`, `7d`)")?;
    Ok(Timestamp::from_millis(time.as_millisecond()))
}

fn refused(key: &str, text: &str, expected: &str) -> Problem {
    let shown: String = text.chars().take(60).collect();
    bad(format!("`{shown}` is not a value of `{key}`"), format!("expected {expected}"))
}

fn bad(detail: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem::bad_request("bad_query", detail, hint)
}
