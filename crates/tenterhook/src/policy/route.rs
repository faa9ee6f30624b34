//! Which events go where.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use tenterhook_verify::{Locators, Request};

use crate::model::{DestinationName, NewDelivery, OnDead, Priority};

/// The longest ordering key that is kept as it is, in bytes. A sender decides how long the value is that a key is taken
/// from, and every delivery keeps its key: a longer one is kept as its digest, which is equal where the values are.
const ORDERING_KEY_BYTES_MAX: usize = 256;

/// A glob on event types: `*` matches any characters, and `pull_request` also matches `pull_request.opened`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(String);

impl Glob {
    /// Takes the pattern as written.
    #[must_use]
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `event_type` fits: as a whole, or as far as its first dots (`pull_request` fits `pull_request.opened`).
    /// Takes time linear in the product of both lengths at worst, whatever the pattern.
    #[must_use]
    pub fn matches(&self, event_type: &str) -> bool {
        let mut rest = event_type;
        loop {
            if fits(self.0.as_bytes(), rest.as_bytes()) {
                return true;
            }
            // A pattern that ends in `*` already fits whatever follows.
            match rest.rfind('.') {
                Some(dot) if !self.0.contains('*') => rest = &rest[..dot],
                _ => return false,
            }
        }
    }
}

/// Greedy matching with one place to come back to: the last `*`.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((after_star, taken)) = star {
            star = Some((after_star, taken + 1));
            p = after_star;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// One `[[routes]]` entry, for one source.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which event types; empty: all.
    pub events: Vec<Glob>,
    /// Where to.
    pub destination: DestinationName,
    /// How urgent.
    pub priority: Priority,
    /// Deliveries with equal keys go one after another. A key of over 256 bytes is kept as `sha256:` and its digest.
    pub ordering_key: Option<Locators>,
    /// What a dead letter does to the ones behind it.
    pub on_dead: OnDead,
}

/// The deliveries that an event is owed: every matching route applies; of several to one destination the first in file
/// order sets priority and ordering key.
#[must_use]
pub fn route(routes: &[Route], request: &Request<'_>, event_type: &str) -> Vec<NewDelivery> {
    let mut deliveries: Vec<NewDelivery> = Vec::new();
    for route in routes {
        let matching = route.events.is_empty() || route.events.iter().any(|glob| glob.matches(event_type));
        if !matching || deliveries.iter().any(|known| known.destination == route.destination) {
            continue;
        }
        let key = route.ordering_key.as_ref().and_then(|locators| locators.find(request));
        deliveries.push(NewDelivery {
            destination: route.destination.clone(),
            priority: route.priority,
            ordering_key: key.map(|(text, _)| bounded(text)),
            on_dead: route.on_dead,
        });
    }
    deliveries
}

fn bounded(key: String) -> String {
    if key.len() <= ORDERING_KEY_BYTES_MAX {
        return key;
    }
    format!("sha256:{}", HEXLOWER.encode(digest(&SHA256, key.as_bytes()).as_ref()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use proptest::prelude::*;

    use super::*;

    /// The definition, as slow as it is plain.
    fn fits_by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skipped| fits_by_definition(rest, &text[skipped..])),
            Some((byte, rest)) => text.first() == Some(byte) && fits_by_definition(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn the_quick_matcher_says_what_the_definition_says(pattern in "[ab.*]{0,8}", text in "[ab.]{0,10}") {
            prop_assert_eq!(
                fits(pattern.as_bytes(), text.as_bytes()),
                fits_by_definition(pattern.as_bytes(), text.as_bytes())
            );
        }

        #[test]
        fn a_plain_glob_fits_itself_and_what_follows_a_dot(kind in "[a-z_]{1,10}", action in "[a-z.]{0,10}") {
            let glob = Glob::new(kind.clone());
            prop_assert!(glob.matches(&kind));
            let dotted = format!("{kind}.{action}");
            let run_on = format!("{kind}x{action}");
            prop_assert!(glob.matches(&dotted));
            prop_assert!(!glob.matches(&run_on));
        }
    }

    #[test]
    fn globs_match_whole_types_and_their_beginnings_up_to_a_dot() {
        for (pattern, event_type, expected) in [
            ("*", "anything.at.all", true),
            ("payment_intent.*", "payment_intent.succeeded", true),
            ("payment_intent.*", "payment_intent", false),
            ("pull_request", "pull_request.opened", true),
            ("pull_request", "pull_request", true),
            ("pull_request", "pull_request_review.submitted", false),
            ("invoice.paid", "invoice.paid", true),
            ("invoice.paid", "invoice.paid.twice", true),
            ("*.paid", "invoice.paid", true),
            ("*.paid", "invoice.paid.twice", false),
            ("a*b*c", "a-b-b-c", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(event_type), expected, "{pattern} on {event_type}");
        }
    }

    #[test]
    fn a_hostile_pattern_and_type_take_no_time() {
        let pattern = Glob::new("*a".repeat(500) + "b");
        assert!(!pattern.matches(&"a".repeat(20_000)));
    }

    #[test]
    fn every_matching_route_applies_once_per_destination_and_the_first_decides() {
        let route_to = |events: &[&str], destination: &str, priority| Route {
            events: events.iter().map(|glob| Glob::new(*glob)).collect(),
            destination: destination.parse().unwrap(),
            priority,
            ordering_key: None,
            on_dead: OnDead::Continue,
        };
        let routes = [
            route_to(&["invoice.*"], "app", Priority::High),
            route_to(&[], "app", Priority::Low),
            route_to(&[], "archive", Priority::Low),
            route_to(&["charge.*"], "other", Priority::Normal),
        ];
        let headers = HeaderMap::new();
        let request = Request { method: &Method::POST, url: None, headers: &headers, body: b"{}" };
        let owed = |event_type: &str| {
            let deliveries = route(&routes, &request, event_type);
            deliveries.iter().map(|it| (it.destination.to_string(), it.priority)).collect::<Vec<_>>()
        };
        let (app, archive) = ("app".to_owned(), "archive".to_owned());
        assert_eq!(owed("invoice.paid"), [(app.clone(), Priority::High), (archive.clone(), Priority::Low)]);
        assert_eq!(owed("customer.created"), [(app, Priority::Low), (archive, Priority::Low)]);
    }

    /// The ordering key of a delivery by `locators`, for a request with this body.
    fn ordering_key(locators: Locators, body: &str) -> Option<String> {
        let by_key = Route {
            events: Vec::new(),
            destination: "app".parse().unwrap(),
            priority: Priority::Normal,
            ordering_key: Some(locators),
            on_dead: OnDead::Continue,
        };
        let headers = HeaderMap::new();
        let request = Request { method: &Method::POST, url: None, headers: &headers, body: body.as_bytes() };
        route(&[by_key], &request, "any").remove(0).ordering_key
    }

    #[test]
    fn a_long_ordering_key_is_kept_as_its_digest_and_still_tells_keys_apart() {
        let place = |text: &str| text.parse().unwrap();
        let by_customer = || Locators { alternatives: vec![vec![place("json:/c")]] };
        let key = |value: &str| ordering_key(by_customer(), &format!("{{\"c\":\"{value}\"}}"));
        assert_eq!(key("cus_1").as_deref(), Some("cus_1"));
        assert_eq!(key(&"x".repeat(256)), Some("x".repeat(256)), "just fits");
        assert_eq!(key(""), None);
        // `printf 'x%.0s' $(seq 257) | sha256sum`
        let digest = "sha256:15eb95a462ee20bd91a415ae2d4aed341288186ddaa2b37908f7d592f0c3f85f";
        assert_eq!(key(&"x".repeat(257)).as_deref(), Some(digest));
        // The bound is on bytes: 129 of these characters are 258.
        assert!(key(&"é".repeat(129)).unwrap().starts_with("sha256:"));

        let long = "x".repeat(1 << 20);
        assert_eq!(key(&long), key(&long), "equal values, equal keys");
        assert_ne!(key(&format!("{long}a")), key(&format!("{long}b")), "they differ in the last byte only");
        assert_eq!(key(&long).unwrap().len(), 71);

        // Of a composite the whole counts, not each part.
        let both = Locators { alternatives: vec![vec![place("json:/c"), place("json:/d")]] };
        let body = format!("{{\"c\":\"{}\",\"d\":\"{}\"}}", "x".repeat(200), "y".repeat(200));
        assert!(ordering_key(both, &body).unwrap().starts_with("sha256:"));
    }
}
