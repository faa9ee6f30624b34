//! Recorded requests, run through the same verifier as everything else.

use std::path::Path;

use tenterhook_verify::vectors;

const OURS: &[&str] =
    &["github", "shopify", "slack", "standard-webhooks", "stripe", "svix", "twilio", "wise"];

/// Vectors of a checkout beside ours, where there is one; what is published there is not ours to copy.
#[test]
fn the_vectors_beside_the_checkout_all_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let places = [root.join("../shared/vectors.json"), root.join("../../shared/vectors.json")];
    let Some(text) = places.iter().find_map(|place| std::fs::read_to_string(place).ok()) else { return };
    let mut failures = Vec::new();
    let mut run = 0;
    for vector in
        vectors::parse(&text).unwrap().iter().filter(|vector| OURS.contains(&vector.provider.as_str()))
    {
        run += 1;
        let result = vector.run();
        if !result.pass {
            failures.push(result);
        }
    }
    assert!(run > 0);
    assert!(failures.is_empty(), "{} of {run}: {failures:#?}", failures.len());
}
