//! Where ids and types are found in a request.

use http::{HeaderMap, HeaderValue, Method};
use tenterhook_verify::{Locator, Locators, Request};

fn find(locator: &str, body: &str) -> Option<String> {
    let mut headers = HeaderMap::new();
    headers.insert("x-id", HeaderValue::from_static("from-header"));
    let url = Some("https://a.example/hook?id=from%20query&id2=2");
    let request = Request { method: &Method::POST, url, headers: &headers, body: body.as_bytes() };
    locator.parse::<Locator>().unwrap().find(&request)
}

#[test]
fn each_kind_of_place_is_found_and_absence_is_nothing() {
    for (locator, body, expected) in [
        ("header:X-Id", "", Some("from-header")),
        ("header:X-Other", "", None),
        ("json:/id", r#"{"id":"a"}"#, Some("a")),
        ("json:/data/object/id", r#"{"x":[1,{"id":0}],"data":{"object":{"id":42}}}"#, Some("42")),
        ("json:/id", r#"{"id":"first","id":"last"}"#, Some("last")),
        ("json:/id", r#"{"id":{"not":"a scalar"}}"#, None),
        ("json:/id", "not json", None),
        ("form:Sid", "Sid=SM1&Other=2", Some("SM1")),
        ("query:id", "", Some("from query")),
        ("query:none", "", None),
    ] {
        assert_eq!(find(locator, body).as_deref(), expected, "{locator} in {body}");
    }
}

#[test]
fn a_body_nested_without_end_is_nothing_and_no_overflow() {
    let deep = "[".repeat(1_000_000);
    assert_eq!(find("json:/id", &deep), None);
    let deep = format!("{{\"a\":{}1{},\"id\":\"x\"}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(
        find("json:/id", &deep).as_deref(),
        Some("x"),
        "what is passed over is not parsed by recursion"
    );
}

#[test]
fn a_locator_prints_as_it_was_written_and_junk_is_refused() {
    for text in ["header:x-id", "json:/data/id", "form:Sid", "query:id"] {
        assert_eq!(text.parse::<Locator>().unwrap().to_string(), text);
    }
    for junk in ["", "x-id", "cookie:a", "header:", "header:bad name"] {
        assert!(junk.parse::<Locator>().is_err(), "{junk}");
    }
}

#[test]
fn the_first_complete_alternative_wins_and_a_composite_is_joined() {
    let place = |text: &str| text.parse::<Locator>().unwrap();
    let locators = Locators {
        alternatives: vec![
            vec![place("form:MessageSid"), place("form:Missing")],
            vec![place("form:MessageSid"), place("form:MessageStatus")],
        ],
    };
    let headers = HeaderMap::new();
    let body = b"MessageSid=SM1&MessageStatus=sent";
    let request = Request { method: &Method::POST, url: None, headers: &headers, body };
    let (value, places) = locators.find(&request).unwrap();
    assert_eq!((value.as_str(), places.len()), ("SM1:sent", 2));
}
