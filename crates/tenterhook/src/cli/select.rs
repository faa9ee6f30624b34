//! Which events or deliveries a command is about: the filters that lists and changes share.

use clap::Args;
use serde_json::{Map, Value, json};

use super::failure::Failure;

/// Filters; combined with *and*.
#[derive(Args, Debug, Clone, Default)]
pub struct Filters {
    /// Of this source
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Of a type matching this glob
    #[arg(long = "type", value_name = "GLOB")]
    pub event_type: Option<String>,
    /// Received at or after: RFC 3339, or an age such as `2h`
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<String>,
    /// Received before: RFC 3339, or an age such as `10m`
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<String>,
}

impl Filters {
    /// As pairs of a query string.
    #[must_use]
    pub fn query(&self) -> Vec<(&'static str, String)> {
        self.pairs().into_iter().filter_map(|(name, value)| Some((name, value?.clone()))).collect()
    }

    /// As the members of a JSON object.
    #[must_use]
    pub fn object(&self) -> Map<String, Value> {
        self.query().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }

    /// Whether nothing is filtered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs().iter().all(|(_, value)| value.is_none())
    }

    fn pairs(&self) -> [(&'static str, Option<&String>); 4] {
        [
            ("source", self.source.as_ref()),
            ("type", self.event_type.as_ref()),
            ("since", self.since.as_ref()),
            ("until", self.until.as_ref()),
        ]
    }
}

/// A change of everything needs `--all`: an empty filter is more often a slip than a wish.
pub fn require_choice(chosen: bool, all: bool) -> Result<(), Failure> {
    if chosen || all {
        return Ok(());
    }
    Err(Failure::usage("nothing is selected").hint("name ids or a filter, or say `--all`"))
}

/// RFC 3339 as it is; an age as the RFC 3339 time that long ago.
fn time(text: &str) -> Result<String, String> {
    if text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    let age = tenterhook_verify::spec::parse_duration(text)
        .map_err(|_| format!("`{text}` is neither RFC 3339 nor an age such as `2h`"))?;
    Ok(crate::model::SystemClock::wall().minus(age).rfc3339())
}
