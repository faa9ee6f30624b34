//! The sample events of the catalog against what the providers publish of them: JSON schemas, and types of their SDKs.

use serde_json::{Value, json};
use tenterhook_verify::catalog;

/// How many samples of each provider are held against its types.
const PUBLISHED: [(&str, usize); 7] = [
    ("discord", 3),
    ("github", 23),
    ("linear", 3),
    ("paddle", 7),
    ("resend", 6),
    ("slack", 5),
    ("stripe", 21),
];

#[tokio::test]
async fn samples_are_what_the_schemas_and_types_of_their_providers_say() {
    let samples: Vec<Value> = catalog()
        .iter()
        .flat_map(|provider| provider.samples.iter().map(move |sample| (provider, sample)))
        .filter_map(|(provider, sample)| {
            let (_, body) = sample.fill("0123456789abcdef0123456789abcdef", super::now());
            let body: Value = serde_json::from_str(&body).ok()?;
            Some(json!({ "provider": provider.name, "type": sample.event_type, "body": body }))
        })
        .collect();
    let verdicts = super::run("samples.mjs", &Value::Array(samples)).await;
    let verdicts = verdicts.as_array().unwrap();
    let wrong: Vec<_> = verdicts.iter().filter(|it| it["problems"] != json!([])).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (provider, least) in PUBLISHED {
        let held = verdicts.iter().filter(|it| it["provider"] == provider).count();
        assert!(held >= least, "only {held} samples of {provider} were held against anything");
    }
}
