//! Form bodies and query strings: fields in order, counted before anything is done with them. A field that a scheme reads
//! must not be there twice, because two readers would choose differently.

use std::borrow::Cow;

use http::{HeaderMap, header};

use super::multipart;
use crate::error::{Reason, VerifyError, refuse};
use crate::request::{Request, single_header};

/// More fields than any provider sends.
pub(crate) const FIELDS_MAX: usize = 1_000;

/// A field: name and value, decoded.
pub(crate) type Field<'f> = (Cow<'f, str>, Cow<'f, str>);

/// What the body says it is. Said twice it is not chosen from, but counts as nothing.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    single_header(headers, &header::CONTENT_TYPE).ok().flatten().unwrap_or_default()
}

/// Whether the body says that it is a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let kind = content_type(headers).split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The fields of a form or a query, as they come.
pub(crate) fn fields(text: &[u8]) -> Result<Vec<Field<'_>>, VerifyError> {
    let mut fields = Vec::new();
    for field in form_urlencoded::parse(text) {
        if fields.len() >= FIELDS_MAX {
            return Err(refuse(Reason::MalformedContent, format!("more than {FIELDS_MAX} form parameters")));
        }
        fields.push(field);
    }
    Ok(fields)
}

/// The value of a field; `None` where it is absent or empty.
pub(crate) fn one<'f>(fields: &'f [Field<'_>], name: &str) -> Result<Option<&'f str>, VerifyError> {
    let mut values = fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_ref());
    let value = values.next();
    if values.next().is_some() {
        return Err(refuse(Reason::MalformedContent, format!("the field `{name}` is there twice")));
    }
    Ok(value.filter(|value| !value.is_empty()))
}

/// The value of a field that has to be there.
pub(crate) fn required<'f>(
    fields: &'f [Field<'_>],
    name: &str,
    reason: Reason,
) -> Result<&'f str, VerifyError> {
    one(fields, name)?.ok_or_else(|| refuse(reason, format!("the field `{name}` is missing or empty")))
}

/// The value of a field of the body, be it a form or multipart; `None` where it is absent or empty.
pub(crate) fn body_field(request: &Request<'_>, name: &str) -> Result<Option<String>, VerifyError> {
    let Some(boundary) = multipart::boundary(request.headers)? else {
        return Ok(one(&fields(request.body)?, name)?.map(str::to_owned));
    };
    let span = multipart::span(request.body, &boundary, name)?;
    let bytes = span.and_then(|span| request.body.get(span)).filter(|bytes| !bytes.is_empty());
    let not_text = |_| refuse(Reason::MalformedContent, format!("the field `{name}` is not UTF-8"));
    bytes.map(|bytes| std::str::from_utf8(bytes).map(str::to_owned).map_err(not_text)).transpose()
}

/// The form or query with some fields set: those of the same name are taken out, the new ones stand at the end.
pub(crate) fn with_fields(text: &[u8], set: &[(&str, &str)]) -> String {
    let kept = form_urlencoded::parse(text).filter(|(name, _)| set.iter().all(|(other, _)| name != other));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).extend_pairs(set).finish()
}

/// The query of a URL, without `?` and without a fragment.
pub(crate) fn query(url: &str) -> &str {
    let url = url.split('#').next().unwrap_or(url);
    url.split_once('?').map_or("", |(_, query)| query)
}

/// The URL without query and fragment.
pub(crate) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_capped() {
        let text = "a=1&".repeat(FIELDS_MAX + 1);
        assert_eq!(fields(text.as_bytes()).unwrap_err().reason, Reason::MalformedContent);
        assert_eq!(fields(&text.as_bytes()[4..]).unwrap().len(), FIELDS_MAX);
    }

    #[test]
    fn a_field_that_is_there_twice_is_not_chosen_from() {
        let fields = fields(b"a=1&b=&c=2&c=2").unwrap();
        assert_eq!(one(&fields, "a"), Ok(Some("1")));
        assert_eq!((one(&fields, "b"), one(&fields, "d")), (Ok(None), Ok(None)));
        assert_eq!(one(&fields, "c").unwrap_err().reason, Reason::MalformedContent);
        assert_eq!(
            required(&fields, "b", Reason::MissingSignature).unwrap_err().reason,
            Reason::MissingSignature
        );
    }

    #[test]
    fn fields_are_replaced_and_the_rest_is_kept() {
        assert_eq!(with_fields(b"a=1&sig=x&b=%26", &[("sig", "y z")]), "a=1&b=%26&sig=y+z");
        assert_eq!(with_fields(b"", &[("sig", "1")]), "sig=1");
    }

    #[test]
    fn an_url_is_split_at_its_query() {
        assert_eq!((query("https://a.example/x?b=1?2#c"), query("https://a.example/x#?b")), ("b=1?2", ""));
        assert_eq!(without_query("https://a.example/x?b=1#c"), "https://a.example/x");
    }
}
