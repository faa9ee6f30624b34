//! The events that commands send where nobody gives a body: the catalog's samples, and what `--set` changes in them. It
//! does not know how they are signed.

use std::time::SystemTime;

use serde_json::{Map, Value};
use tenterhook_verify::Provider;
use tenterhook_verify::provider::Sample;

use super::failure::Failure;
use super::signing::closest;

/// The longest list that `--set` makes, in items.
const ITEMS_MAX: usize = 10_000;

/// The sample event of that type; the provider's first for `None`.
pub fn sample_of<'p>(provider: &'p Provider, event: Option<&str>) -> Result<&'p Sample, Failure> {
    let found = match event {
        Some(wanted) => provider.samples.iter().find(|sample| sample.event_type == wanted),
        None => provider.samples.first(),
    };
    found.ok_or_else(|| {
        let wanted = event.map_or_else(String::new, |event| format!(" of type `{event}`"));
        let near = near(provider, event.unwrap_or_default());
        let all = format!(
            "`tenterhook providers {}` lists its samples; or give a body with `--body FILE`",
            provider.name
        );
        let hint = if near.is_empty() { all } else { format!("did you mean {}? {all}", near.join(", ")) };
        Failure::usage(format!("the provider `{}` has no sample event{wanted}", provider.name)).hint(hint)
    })
}

/// The shortest sample event of a provider: what a load is made of is filled up to the length that is asked for.
pub fn shortest(provider: &Provider) -> Result<&Sample, Failure> {
    match provider.samples.iter().min_by_key(|sample| sample.fill("", 0).1.len()) {
        Some(sample) => Ok(sample),
        None => sample_of(provider, None),
    }
}

/// The types that look like what was asked for: those that contain its words, else the one that reads most like it.
fn near(provider: &Provider, wanted: &str) -> Vec<String> {
    const NEAR_MAX: usize = 5;
    let types = || provider.samples.iter().map(|sample| sample.event_type.as_str());
    let wanted = wanted.to_lowercase();
    let words = || wanted.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2);
    let shared = |kind: &str| words().filter(|word| kind.to_lowercase().contains(*word)).count();
    let most = types().map(shared).max().unwrap_or(0);
    let found: Vec<&str> = if most > 0 {
        types().filter(|kind| shared(kind) == most).take(NEAR_MAX).collect()
    } else {
        closest(&wanted, types()).into_iter().collect()
    };
    found.into_iter().map(|kind| format!("`{kind}`")).collect()
}

/// Seconds since 1970.
#[must_use]
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A body with values set in it: in JSON by paths such as `data.lines[0].amount`, in a form by the names of its fields.
pub fn changed(body: Vec<u8>, is_form: bool, set: &[(String, String)]) -> Result<Vec<u8>, Failure> {
    if set.is_empty() {
        return Ok(body);
    }
    if is_form {
        return Ok(form(&body, set));
    }
    let mut json: Value = serde_json::from_slice(&body)
        .map_err(|_| Failure::usage("`--set` changes JSON and forms, and this body is neither"))?;
    for (path, value) in set {
        let steps = steps(path)?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.clone()));
        *place(&mut json, path, &steps)? = value;
    }
    Ok(json.to_string().into_bytes())
}

fn form(body: &[u8], set: &[(String, String)]) -> Vec<u8> {
    let mut pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    for (name, value) in set {
        match pairs.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => old.clone_from(value),
            None => pairs.push((name.clone(), value.clone())),
        }
    }
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
}

/// One step of a path.
#[derive(Debug, PartialEq)]
enum Step<'p> {
    /// Into the member of that name. Of an array, where it is a number: into that item.
    Member(&'p str),
    /// Into the item of that number, written `[0]`.
    Item(usize),
}

/// The steps of `a.b[0].c`, or of the JSON pointer `/a/b/0/c`.
fn steps(path: &str) -> Result<Vec<Step<'_>>, Failure> {
    let broken = || {
        Failure::usage(format!("`{path}` is no path into JSON")).hint("write it as `data.lines[0].amount`")
    };
    if let Some(pointer) = path.strip_prefix('/') {
        return Ok(pointer.split('/').map(Step::Member).collect());
    }
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, items) = part.split_at(part.find('[').unwrap_or(part.len()));
        if !name.is_empty() {
            steps.push(Step::Member(name));
        } else if items.is_empty() || !steps.is_empty() {
            return Err(broken());
        }
        for item in items.split_inclusive(']') {
            let number = item.strip_prefix('[').and_then(|item| item.strip_suffix(']'));
            steps.push(Step::Item(number.and_then(|number| number.parse().ok()).ok_or_else(broken)?));
        }
    }
    Ok(steps)
}

/// Where the steps lead; what is not there yet is made, and nothing that holds a value is made into something else.
fn place<'j>(mut here: &'j mut Value, path: &str, steps: &[Step<'_>]) -> Result<&'j mut Value, Failure> {
    let mut walked = String::new();
    for step in steps {
        let blocked = |what: &str| {
            let at = if walked.is_empty() { "the body".to_owned() } else { format!("`{walked}`") };
            Failure::usage(format!("`--set {path}` leads through {at}, which is {what}"))
        };
        if here.is_null() {
            *here = match step {
                Step::Member(_) => Value::Object(Map::new()),
                Step::Item(_) => Value::Array(Vec::new()),
            };
        }
        let number = match step {
            Step::Item(number) => Ok(*number),
            Step::Member(name) => name.parse::<usize>(),
        };
        here = match (here, step, number) {
            (Value::Object(members), Step::Member(name), _) => members.entry(*name).or_insert(Value::Null),
            (Value::Array(items), _, Ok(number)) => {
                let length = items.len();
                if number == length && length < ITEMS_MAX {
                    items.push(Value::Null);
                }
                items
                    .get_mut(number)
                    .ok_or_else(|| blocked(&format!("a list of {length} items; the next is `[{length}]`")))?
            }
            (Value::Array(_), _, Err(_)) => return Err(blocked("a list: write `[0]`")),
            (Value::Object(_), _, _) => return Err(blocked("an object: write a name")),
            (Value::String(_), _, _) => return Err(blocked("a text")),
            (Value::Number(_), _, _) => return Err(blocked("a number")),
            (Value::Bool(_), _, _) => return Err(blocked("true or false")),
            (Value::Null, _, _) => return Err(blocked("null")),
        };
        match step {
            Step::Item(number) => walked.push_str(&format!("[{number}]")),
            Step::Member(name) if walked.is_empty() => walked.push_str(name),
            Step::Member(name) => walked.push_str(&format!(".{name}")),
        }
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(body: &str, is_form: bool, set: &[(&str, &str)]) -> Result<String, String> {
        let set: Vec<_> = set.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        let changed = changed(body.as_bytes().to_vec(), is_form, &set).map_err(|failure| failure.message)?;
        Ok(String::from_utf8(changed).unwrap())
    }

    const BODY: &str = r#"{"data":{"amount":1,"lines":[{"id":"a"}]}}"#;

    #[test]
    fn values_are_set_where_a_path_leads() {
        for (path, value, expected) in [
            ("data.amount", "4200", r#"{"data":{"amount":4200,"lines":[{"id":"a"}]}}"#),
            ("data.amount", "true", r#"{"data":{"amount":true,"lines":[{"id":"a"}]}}"#),
            ("data.lines[0].id", "b", r#"{"data":{"amount":1,"lines":[{"id":"b"}]}}"#),
            ("/data/lines/0/id", "\"7\"", r#"{"data":{"amount":1,"lines":[{"id":"7"}]}}"#),
            ("data.lines[1].id", "b", r#"{"data":{"amount":1,"lines":[{"id":"a"},{"id":"b"}]}}"#),
            ("data.new.deep", "x y", r#"{"data":{"amount":1,"lines":[{"id":"a"}],"new":{"deep":"x y"}}}"#),
            ("data.new[0]", "1", r#"{"data":{"amount":1,"lines":[{"id":"a"}],"new":[1]}}"#),
            ("data", "null", r#"{"data":null}"#),
        ] {
            assert_eq!(set(BODY, false, &[(path, value)]).as_deref(), Ok(expected), "{path}");
        }
        assert_eq!(set("a=1", false, &[]).as_deref(), Ok("a=1"), "nothing to set asks for no JSON");
        assert_eq!(set("a=1&b=2", true, &[("b", "x y"), ("c", "&")]).as_deref(), Ok("a=1&b=x+y&c=%26"));
    }

    #[test]
    fn a_path_that_leads_nowhere_says_where_it_ends() {
        for (path, said) in [
            ("data.amount.more", "`--set data.amount.more` leads through `data.amount`, which is a number"),
            (
                "data.lines[0].id[1]",
                "`--set data.lines[0].id[1]` leads through `data.lines[0].id`, which is a text",
            ),
            (
                "data.lines[7].id",
                "`--set data.lines[7].id` leads through `data.lines`, which is a list of 1 items; the next is `[1]`",
            ),
            (
                "data.lines.id",
                "`--set data.lines.id` leads through `data.lines`, which is a list: write `[0]`",
            ),
            ("data[0]", "`--set data[0]` leads through `data`, which is an object: write a name"),
            ("data..amount", "`data..amount` is no path into JSON"),
            ("data[x]", "`data[x]` is no path into JSON"),
            ("", "`` is no path into JSON"),
        ] {
            assert_eq!(set(BODY, false, &[(path, "1")]), Err(said.to_owned()));
        }
        assert!(set("a=1", false, &[("a", "1")]).is_err(), "text that is no JSON");
    }
}
