//! The samples of the catalog: what an entry says of ids and types has to be found in the events that it shows.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tenterhook_verify::provider::{Provider, Sample, catalog};
use tenterhook_verify::{Locator, Request};

const ID: &str = "5b1f8a52-5f0c-4b57-9f5e-0f9d4c1f7a11";

/// Headers and body of a sample, filled in.
fn filled(sample: &Sample) -> (HeaderMap, String) {
    let (headers, body) = sample.fill(ID, 1_790_000_000);
    let header = |(name, value): (String, String)| {
        (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
    };
    (headers.into_iter().map(header).collect(), body)
}

fn samples() -> impl Iterator<Item = (&'static Provider, &'static Sample)> {
    catalog().iter().flat_map(|provider| provider.samples.iter().map(move |sample| (provider, sample)))
}

#[test]
fn every_sample_has_the_type_that_it_says_and_the_id_that_its_provider_promises() {
    let mut wrong = Vec::new();
    for (provider, sample) in samples() {
        let (headers, body) = filled(sample);
        let url = Some("https://hooks.example.com/in");
        let request = Request { method: &Method::POST, url, headers: &headers, body: body.as_bytes() };
        let kind = provider.event_type(&request).unwrap_or_else(|| "unknown".to_owned());
        if kind != sample.event_type {
            wrong.push(format!("{}: `{kind}` instead of `{}`", provider.name, sample.event_type));
        }
        // Some have an id for some kinds of events only.
        let somewhere = provider.samples.iter().any(|sample| {
            let (headers, body) = filled(sample);
            let request = Request { method: &Method::POST, url, headers: &headers, body: body.as_bytes() };
            provider.event_id.find(&request).is_some()
        });
        let of_signature =
            provider.event_id.alternatives.iter().flatten().any(|place| provider.scheme.covers(place));
        if !somewhere && !provider.event_id.is_empty() && !of_signature {
            wrong.push(format!("{}: no id in any sample", provider.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn two_samples_with_different_ids_are_different_events() {
    for (provider, sample) in samples() {
        let id = |text: &str| {
            let (headers, body) = sample.fill(text, 1_790_000_000);
            let header = |(name, value): (String, String)| {
                (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
            };
            let headers: HeaderMap = headers.into_iter().map(header).collect();
            let request =
                Request { method: &Method::POST, url: None, headers: &headers, body: body.as_bytes() };
            provider.event_id.find(&request).map(|(id, _)| id)
        };
        if let (Some(one), Some(other)) = (id("1"), id("2")) {
            assert!(one != other, "{}: {}: always `{one}`", provider.name, sample.event_type);
        }
    }
}

#[test]
fn every_sample_that_says_that_it_is_json_is_json() {
    for (provider, sample) in samples() {
        let (headers, body) = filled(sample);
        if headers.get("content-type").is_some_and(|kind| kind == "application/json") {
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(&body);
            assert!(parsed.is_ok(), "{}: {}: {parsed:?}", provider.name, sample.event_type);
        }
    }
}

#[test]
fn every_place_of_a_sample_is_filled_in() {
    for (provider, sample) in samples() {
        let (headers, body) = filled(sample);
        let text = format!("{headers:?}{body}");
        for place in ["{id}", "{number}", "{now}", "{time}", "{time_ms}", "{type}", "{>"] {
            assert!(!text.contains(place), "{}: {}: `{place}`", provider.name, sample.event_type);
        }
    }
}

#[test]
fn the_most_used_events_have_samples() {
    let all: Vec<_> =
        samples().map(|(provider, sample)| format!("{} {}", provider.name, sample.event_type)).collect();
    assert!(all.len() >= 240, "{} samples", all.len());
    for wanted in [
        "github push",
        "github workflow_run.completed",
        "stripe checkout.session.completed",
        "stripe invoice.payment_failed",
        "shopify app/uninstalled",
        "shopify customers/data_request",
        "twilio received",
        "slack /deploy",
        "gitlab Merge Request Hook",
        "paddle subscription.canceled",
        "adyen CHARGEBACK",
        "clerk user.deleted",
    ] {
        assert!(all.iter().any(|known| known == wanted), "{wanted}");
    }
}

#[test]
fn what_a_provider_is_known_by_is_not_taken_out_of_a_list() {
    for provider in catalog() {
        for place in provider.event_id.alternatives.iter().flatten() {
            let listed = matches!(place, Locator::Json(pointer) if pointer.split('/').any(|token| token.parse::<usize>().is_ok()));
            assert!(!listed, "{}: {place}", provider.name);
        }
    }
}
