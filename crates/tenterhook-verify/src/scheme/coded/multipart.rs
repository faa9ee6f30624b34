//! One field of a `multipart/form-data` body (RFC 7578): strictly, since a part that two readers find in different places
//! must not be chosen from. Knows nothing of files; they are passed over.

use std::ops::Range;

use http::HeaderMap;

use super::form::content_type;
use crate::error::{Reason, VerifyError, refuse};

/// More parts than any provider sends.
const PARTS_MAX: usize = 1_000;
/// The longest boundary of RFC 2046.
const BOUNDARY_BYTES_MAX: usize = 70;
/// The longest head of a part.
const HEAD_BYTES_MAX: usize = 4_096;

/// The boundary; `None` where the body is of another kind.
pub(crate) fn boundary(headers: &HeaderMap) -> Result<Option<String>, VerifyError> {
    let mut parameters = parameters(content_type(headers));
    if !parameters.next().is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/form-data")) {
        return Ok(None);
    }
    let boundary = one(parameters, "boundary").filter(|boundary| boundary.len() <= BOUNDARY_BYTES_MAX);
    boundary.map(Some).ok_or_else(|| malformed("the boundary is missing, there twice or too long"))
}

/// Where the content of the part of that name stands in the body; `None` where there is no such part.
pub(crate) fn span(body: &[u8], boundary: &str, name: &str) -> Result<Option<Range<usize>>, VerifyError> {
    let first = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    let mut at = if body.starts_with(first.as_bytes()) {
        first.len()
    } else {
        find(body, 0, between.as_bytes()).ok_or_else(|| malformed("no part begins"))? + between.len()
    };
    let mut found = None;
    for _ in 0..PARTS_MAX {
        let rest = body.get(at..).unwrap_or_default();
        if rest.starts_with(b"--") {
            return Ok(found);
        }
        if !rest.starts_with(b"\r\n") {
            return Err(malformed("a boundary stands alone on its line"));
        }
        let end = find(body, at, between.as_bytes()).ok_or_else(|| malformed("a part does not end"))?;
        let head_end = find(body, at, b"\r\n\r\n").filter(|head_end| head_end + 4 <= end);
        let head_end = head_end.ok_or_else(|| malformed("a part has no content"))?;
        if head_end - at > HEAD_BYTES_MAX {
            return Err(malformed("the head of a part is too long"));
        }
        if part_name(body.get(at..head_end).unwrap_or_default())?.as_deref() == Some(name) {
            if found.is_some() {
                return Err(malformed("a field is there twice"));
            }
            found = Some(head_end + 4..end);
        }
        at = end + between.len();
    }
    Err(malformed("more parts than any provider sends"))
}

/// The name of a part out of its head.
fn part_name(head: &[u8]) -> Result<Option<String>, VerifyError> {
    let head = std::str::from_utf8(head).map_err(|_| malformed("the head of a part is not UTF-8"))?;
    let mut dispositions = head.split("\r\n").filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let disposition = dispositions.next();
    if dispositions.next().is_some() {
        return Err(malformed("a part says twice what it is"));
    }
    Ok(disposition.and_then(|value| one(parameters(value), "name")))
}

/// The one parameter of that name.
fn one<'p>(parameters: impl Iterator<Item = &'p str>, name: &str) -> Option<String> {
    let mut values = parameters.filter_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim_end().eq_ignore_ascii_case(name).then(|| unquoted(value.trim_start()))
    });
    let value = values.next()?;
    if values.next().is_some() { None } else { value.filter(|value| !value.is_empty()) }
}

/// The pieces of a header between its `;`, of which those in quotes are none.
fn parameters(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(move |c: char| {
            let ends = c == ';' && !quoted;
            if c == '"' && !escaped {
                quoted = !quoted;
            }
            escaped = c == '\\' && quoted && !escaped;
            ends
        })
        .map(str::trim)
}

/// A value without its quotes; `None` where it is escaped or half quoted.
fn unquoted(value: &str) -> Option<String> {
    let bare = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    (!bare.contains(['"', '\\'])).then(|| bare.to_owned())
}

/// Where `needle` stands in `text` from `at` on.
fn find(text: &[u8], at: usize, needle: &[u8]) -> Option<usize> {
    text.get(at..)?.windows(needle.len()).position(|window| window == needle).map(|place| place + at)
}

fn malformed(what: &str) -> VerifyError {
    refuse(Reason::MalformedContent, format!("the multipart body: {what}"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    fn field(body: &str, name: &str) -> Result<Option<String>, Reason> {
        let found = span(body.as_bytes(), "x-y", name).map_err(|error| error.reason)?;
        Ok(found.map(|range| body[range].to_owned()))
    }

    fn part(disposition: &str, content: &str) -> String {
        format!(
            "--x-y\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n"
        )
    }

    #[test]
    fn a_field_is_found_between_others_and_files() {
        let body = [
            part("name=\"a\"; filename=\"name=json; x\"", "\u{1}--x-\r\n--x"),
            part("name=\"json\"", "{}\r\n"),
            part("name=b", ""),
            "--x-y--\r\n".to_owned(),
        ]
        .concat();
        assert_eq!(field(&body, "json"), Ok(Some("{}\r\n".to_owned())));
        assert_eq!(field(&body, "b"), Ok(Some(String::new())));
        assert_eq!(field(&body, "c"), Ok(None));
        assert_eq!(field(&format!("preamble\r\n{body}"), "b"), Ok(Some(String::new())));
    }

    #[test]
    fn what_is_not_sound_is_refused() {
        let json = part("name=\"json\"", "{}");
        for body in [
            "",
            "--x-y",
            "--x-y\r\n\r\n",
            &json,
            &format!("{json}{json}--x-y--"),
            &format!("{json}--x-yz--"),
            "--x-y\r\nContent-Disposition: form-data; name=\"json\"\r\n--x-y--",
            &format!("{}--x-y--", part("name=a", "").repeat(PARTS_MAX)),
        ] {
            assert_eq!(field(body, "json"), Err(Reason::MalformedContent), "{body:.80}");
        }
    }

    #[test]
    fn a_name_that_is_written_in_two_ways_is_no_name() {
        for disposition in ["name=a; name=json", "name=\"js\\on\"", "name=\"json", "nome=json"] {
            let body = format!("{}--x-y--", part(disposition, "{}"));
            assert_eq!(field(&body, "json"), Ok(None), "{disposition}");
        }
    }

    #[test]
    fn the_boundary_is_read_with_and_without_quotes() {
        for (value, expected) in [
            ("multipart/form-data; boundary=abc", Ok(Some("abc".to_owned()))),
            ("Multipart/Form-Data; charset=utf-8; boundary=\"a;b\"", Ok(Some("a;b".to_owned()))),
            ("application/json", Ok(None)),
            ("multipart/form-data", Err(Reason::MalformedContent)),
            ("multipart/form-data; boundary=a; boundary=b", Err(Reason::MalformedContent)),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(boundary(&headers).map_err(|error| error.reason), expected, "{value}");
        }
    }
}
