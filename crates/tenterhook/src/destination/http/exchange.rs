//! One request and its answer, or what came instead, read within its bounds. Knows what of an answer can be believed;
//! knows nothing of events.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap};
use http::{Response, StatusCode, Version};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::destination::answer;
use crate::model::{FailureKind, Outcome, Timestamp};
use crate::net::client::{AnswerBody, Client, RequestError};
use crate::net::guard::GuardError;

/// The longest wait that is believed; what asks for more is read as this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// An answer, as far as it was read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) rest: Rest,
}

/// What is known of an answer beyond the bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// The answer was read to its end.
    Whole,
    /// There is more than anybody wants to know.
    Cut,
    /// The answer broke off, or is no valid message.
    Broken(String),
    /// The time was over before the end.
    Late,
}

/// Why there is no answer.
pub(super) struct NoAnswer {
    pub(super) outcome: Outcome,
    pub(super) text: String,
}

impl NoAnswer {
    fn failed(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed { kind, after: None }, text: text.into() }
    }
}

/// Sends one POST and reads the answer, until `deadline` and up to `answer_bytes_max`.
pub(super) async fn exchange(
    client: &Client,
    (headers, body): (HeaderMap, Bytes),
    deadline: Instant,
    answer_bytes_max: usize,
) -> Result<Answer, NoAnswer> {
    let mut response = match timeout_at(deadline, client.post(headers, body)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(no_answer(&error)),
        Err(_) => return Err(NoAnswer::failed(FailureKind::Timeout, "no answer in time")),
    };
    let framing = malformed(&response).map(|what| Rest::Broken(what.to_owned()));
    let mut body = BytesMut::new();
    let rest = match framing {
        Some(broken) => broken,
        None => read(response.body_mut(), &mut body, deadline, answer_bytes_max).await,
    };
    let headers = std::mem::take(response.headers_mut());
    Ok(Answer { status: response.status(), headers, body: body.freeze(), rest })
}

/// Reads the body. Whoever gets anything but [`Rest::Whole`] drops the response, and with it the connection.
async fn read(answer: &mut AnswerBody, body: &mut BytesMut, deadline: Instant, bytes_max: usize) -> Rest {
    loop {
        match timeout_at(deadline, answer.frame()).await {
            Err(_) => return Rest::Late,
            Ok(Some(Err(error))) => return Rest::Broken(error.causes()),
            Ok(None) => return Rest::Whole,
            Ok(Some(Ok(frame))) => {
                // Trailers say nothing that anybody here listens to.
                let Ok(chunk) = frame.into_data() else { continue };
                let room = bytes_max - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return Rest::Cut;
                }
            }
        }
    }
}

/// What the HTTP library lets pass although no honest server sends it: two statements about where the answer ends, one
/// of which would be believed by somebody else.
fn malformed(response: &Response<AnswerBody>) -> Option<&'static str> {
    let headers = response.headers();
    let length = headers.contains_key(header::CONTENT_LENGTH);
    let encoding = headers.contains_key(header::TRANSFER_ENCODING);
    let not_empty = encoding || headers.get_all(header::CONTENT_LENGTH).iter().any(|value| value != "0");
    if response.version() == Version::HTTP_2 {
        None
    } else if length && encoding {
        Some("the answer has both `content-length` and `transfer-encoding`")
    } else if response.status() == StatusCode::NO_CONTENT && not_empty {
        Some("the answer is 204 and has a body")
    } else {
        None
    }
}

fn no_answer(error: &RequestError) -> NoAnswer {
    if let Some(refused) = error.cause::<GuardError>() {
        return match refused {
            GuardError::Private { .. } => NoAnswer {
                outcome: Outcome::NotTried,
                text: format!("{refused}; if that is meant, set `allow_private = true`"),
            },
            GuardError::Unknown { .. } => NoAnswer::failed(FailureKind::Connect, refused.to_string()),
        };
    }
    let text = error.causes();
    if error.is_connect() {
        return NoAnswer::failed(FailureKind::Connect, text);
    }
    match error.cause::<hyper::Error>() {
        Some(broken) if broken.is_parse() || broken.is_parse_status() || broken.is_parse_too_large() => {
            NoAnswer::failed(FailureKind::Protocol, text)
        }
        Some(broken) if is_http2_protocol(broken, &text) => NoAnswer::failed(FailureKind::Protocol, text),
        _ => NoAnswer::failed(FailureKind::Connect, text),
    }
}

/// hyper does not say of an HTTP/2 connection what broke; only its text tells a broken answer from a lost connection.
fn is_http2_protocol(error: &hyper::Error, causes: &str) -> bool {
    error.to_string().contains("http2 error") && !causes.contains("connection")
}

impl Answer {
    /// What came of the attempt. A final word (delivered, refused for good) counts only when the answer is a valid and
    /// complete message; one that is only longer than anybody reads is complete enough.
    pub(super) fn outcome(&self, dead_statuses: &[StatusCode], now: Timestamp) -> Outcome {
        let failed = |kind| Outcome::Failed { kind, after: retry_after(&self.headers, now) };
        let said = match self.status.as_u16() {
            200..=299 => Outcome::Delivered,
            410 => Outcome::Rejected,
            _ if dead_statuses.contains(&self.status) => Outcome::Rejected,
            429 => failed(FailureKind::RateLimited),
            400..=499 => failed(FailureKind::Client),
            500..=599 => failed(FailureKind::Server),
            _ => failed(FailureKind::Protocol),
        };
        match (&self.rest, &said) {
            (Rest::Broken(_), Outcome::Delivered | Outcome::Rejected) => {
                Outcome::Failed { kind: FailureKind::Protocol, after: None }
            }
            (Rest::Late, Outcome::Delivered | Outcome::Rejected) => {
                Outcome::Failed { kind: FailureKind::Timeout, after: None }
            }
            _ => said,
        }
    }

    /// The beginning of the answer, or why it is not one.
    pub(super) fn excerpt(&self, masks: &answer::Masks) -> String {
        let encoding =
            self.headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("unknown"));
        let said = match encoding {
            Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => {
                // Never inflated: a small answer can be a large bomb.
                let size = self.body.len();
                answer::printable(
                    &format!("(encoded as {encoding}, {size} bytes read)"),
                    self.rest == Rest::Cut,
                )
            }
            _ => answer::excerpt(&self.body, self.rest == Rest::Cut, masks),
        };
        match &self.rest {
            Rest::Broken(what) => answer::printable(&format!("broken answer: {what}; {said}"), false),
            Rest::Late => answer::printable(&format!("the answer did not end in time; {said}"), false),
            _ if self.status.is_redirection() => {
                let location = self.headers.get(header::LOCATION).map(header_text).unwrap_or_default();
                answer::printable(&format!("redirect to `{location}` is not followed; {said}"), false)
            }
            Rest::Whole | Rest::Cut => said,
        }
    }
}

fn header_text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// How long the receiver asks to wait: whole seconds or an HTTP date, the longest of several. A wait that is over, or
/// that cannot be read, is no wait; one beyond a year is a year.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let values = headers.get_all(header::RETRY_AFTER).iter();
    values.filter_map(|value| parse_retry_after(value.to_str().ok()?.trim(), now)).max()
}

fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        Timestamp::from_system(httpdate::parse_http_date(text).ok()?).since(now)
    };
    (!wait.is_zero()).then(|| wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms_and_nonsense_is_no_wait() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let seconds = |n| Some(Duration::from_secs(n));
        let cases: &[(&[&str], Option<Duration>)] = &[
            (&["120"], seconds(120)),
            (&[" 7 "], seconds(7)),
            (&["Tue, 14 Nov 2023 22:14:20 GMT"], seconds(60)),
            (&["99999999999999999999"], Some(RETRY_AFTER_MAX)),
            (&["Fri, 31 Dec 9999 23:59:59 GMT"], Some(RETRY_AFTER_MAX)),
            (&["5", "60"], seconds(60)),
            (&["-5", "9"], seconds(9)),
            (&["0"], None),
            (&["-5"], None),
            (&["1e9"], None),
            (&["1.5"], None),
            (&[""], None),
            (&["soon"], None),
            (&["Fri, 01 Jan 1900"], None),
            (&["Mon, 01 Jan 1900 00:00:00 GMT"], None),
            (&["Tue, 14 Nov 2023 22:13:20 GMT"], None),
            (&["Sun, 99 Feb 2023 99:99:99 GMT"], None),
            (&[], None),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append(header::RETRY_AFTER, HeaderValue::from_static(value));
            }
            assert_eq!(retry_after(&headers, now), *expected, "{values:?}");
        }
    }
}
