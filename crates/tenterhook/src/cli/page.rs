//! Lists of the admin API: fetched page by page, printed as a table or as one JSON object a line.

use serde::Deserialize;
use serde_json::Value;

use super::failure::Failure;
use super::gateway::Gateway;
use super::output;

/// Items a request asks for at most.
const PAGE: usize = 500;

/// One page as the API gives it.
#[derive(Deserialize)]
pub struct Page {
    /// The items.
    pub items: Vec<Value>,
    /// The cursor of the next page.
    #[serde(default)]
    pub next: Option<String>,
}

/// Up to `limit` items of a list.
pub async fn fetch(
    gateway: &Gateway,
    path: &str,
    query: &[(&str, String)],
    limit: usize,
) -> Result<Vec<Value>, Failure> {
    let mut items = Vec::new();
    let mut after = String::new();
    while items.len() < limit {
        let mut query = query.to_vec();
        query.push(("limit", PAGE.min(limit - items.len()).to_string()));
        query.push(("after", after));
        let page: Page = gateway.get(path, &query).await?;
        items.extend(page.items);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    items.truncate(limit);
    Ok(items)
}

/// A column: its title, and where its text is in an item (a JSON pointer).
pub type Column = (&'static str, &'static str);

/// Prints items as a table of these columns, or as they are.
pub fn print(items: &[Value], as_json: bool, columns: &[Column]) -> Result<(), Failure> {
    if as_json {
        for item in items {
            output::json(item)?;
        }
        return Ok(());
    }
    let titles: Vec<_> = columns.iter().map(|(title, _)| *title).collect();
    let rows =
        items.iter().map(|item| columns.iter().map(|(_, place)| text(item, place)).collect::<Vec<_>>());
    Ok(output::table(&titles, rows)?)
}

/// What stands at a JSON pointer, as text; `-` for nothing.
#[must_use]
pub fn text(item: &Value, place: &str) -> String {
    match item.pointer(place) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => items.iter().map(|item| text(item, "")).collect::<Vec<_>>().join("; "),
        Some(other) => other.to_string(),
    }
}
