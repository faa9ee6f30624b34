//! Recorded requests, run through the same verifier as everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tenterhook_verify::provider::catalog;
use tenterhook_verify::vectors::{self, Vector, VectorResult};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// The project's own vectors, by provider: `tests/vectors/PROVIDER.json`.
fn own() -> BTreeMap<String, Vec<Vector>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            files.insert(name, vectors::parse(&text).unwrap());
        }
    }
    files
}

fn failures<'v>(vectors: impl Iterator<Item = &'v Vector>) -> (usize, Vec<VectorResult>) {
    let results: Vec<_> = vectors.map(Vector::run).collect();
    (results.len(), results.into_iter().filter(|result| !result.pass).collect())
}

/// Stricter than what a vector of others can ask for: the reason has to be the one that was foreseen, too.
#[test]
fn the_projects_own_vectors_all_come_to_the_verdict_and_the_reason_that_were_foreseen() {
    let results: Vec<_> = own().values().flatten().map(Vector::run).collect();
    let others: Vec<_> =
        results.iter().filter(|result| !result.pass || result.got != result.expected).collect();
    assert!(results.len() >= 150, "only {} vectors were found", results.len());
    assert!(others.is_empty(), "{} of {}: {others:#?}", others.len(), results.len());
}

/// What a vector is a case of: its name up to the colon.
fn kind(vector: &Vector) -> &str {
    vector.name.split_once(": ").map_or("", |(kind, _)| kind)
}

#[test]
fn every_provider_of_the_catalog_has_vectors_of_every_kind() {
    let files = own();
    for provider in catalog() {
        let name = &provider.name;
        let vectors = files.get(name).map_or(&[][..], Vec::as_slice);
        assert!(vectors.iter().all(|vector| vector.provider == *name), "{name}: of another provider");
        assert!(vectors.iter().all(|vector| !vector.origin.is_empty()), "{name}: of no origin");
        let names: BTreeSet<&str> = vectors.iter().map(|vector| vector.name.as_str()).collect();
        assert_eq!(names.len(), vectors.len(), "{name}: two of one name");
        // A token covers nothing that could be tampered with, and who signs nothing has no secret either.
        let secret = !provider.scheme.is_unsigned();
        let schemes: Vec<_> = std::iter::once(&provider.scheme)
            .chain(provider.alternatives.iter().map(|(_, scheme)| scheme))
            .collect();
        let signed = schemes.iter().any(|scheme| !scheme.is_unsigned() && !scheme.is_token());
        // Plivo signs a nonce, which never grows old; SNS and PayPal deliver again for days with the same time.
        let ages = !["aws-sns", "paypal", "plivo"].contains(&name.as_str());
        for (wanted, taken, refused) in [
            ("valid", true, false),
            ("tampered", false, signed),
            ("wrong secret", false, secret),
            ("malformed", false, secret),
            ("rotation", secret, secret),
            ("stale", false, ages && schemes.iter().any(|scheme| scheme.signs_time())),
        ] {
            let of_kind = |valid: bool| {
                let fitting = vectors.iter().filter(|vector| kind(vector) == wanted);
                fitting.filter(|vector| (vector.expect == "valid") == valid).count()
            };
            assert_eq!((of_kind(true) > 0, of_kind(false) > 0), (taken, refused), "{name}: {wanted}");
        }
    }
    for name in files.keys() {
        assert!(catalog().iter().any(|provider| provider.name == *name), "vectors of nobody: {name}");
    }
}

#[test]
fn every_scheme_that_can_be_chosen_has_vectors_that_it_takes_and_vectors_that_it_refuses() {
    for provider in catalog() {
        let text = std::fs::read_to_string(folder().join(format!("{}.json", provider.name))).unwrap();
        let vectors: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        for (scheme, _) in &provider.alternatives {
            let of_scheme = |valid: bool| {
                let fitting = vectors.iter().filter(|vector| vector["scheme"] == scheme.as_str());
                fitting.filter(|vector| (vector["expect"] == "valid") == valid).count()
            };
            assert!(of_scheme(true) > 0 && of_scheme(false) > 0, "{}: {scheme}", provider.name);
        }
    }
}

/// Vectors of a folder beside the checkout, where there is one, in addition: what is published there is not ours to
/// copy. They carry no coverage: without them this runs the project's own once more, and says so.
#[test]
fn the_projects_own_vectors_pass_together_with_any_beside_the_checkout() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let places = [root.join("../shared/vectors.json"), root.join("../../shared/vectors.json")];
    let beside = places.iter().find_map(|place| std::fs::read_to_string(place).ok());
    let beside = beside.map_or_else(Vec::new, |text| vectors::parse(&text).unwrap());
    let of_catalog = |vector: &&Vector| catalog().iter().any(|provider| provider.name == vector.provider);
    let beside: Vec<_> = beside.iter().filter(of_catalog).collect();
    let files = own();
    let own: Vec<_> = files.values().flatten().collect();
    println!("{} of the project's own, {} beside the checkout", own.len(), beside.len());
    let (run, failures) = failures(own.into_iter().chain(beside));
    assert!(run > 0 && failures.is_empty(), "{} of {run}: {failures:#?}", failures.len());
}
