//! Recorded requests, run through the same verifier as everything else.

use std::collections::BTreeMap;
use std::path::Path;

use tenterhook_verify::provider::catalog;
use tenterhook_verify::vectors::{self, Vector, VectorResult};

/// The project's own vectors, by provider: `tests/vectors/PROVIDER.json`.
fn own() -> BTreeMap<String, Vec<Vector>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
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

#[test]
fn the_projects_own_vectors_all_pass() {
    let files = own();
    let (run, failures) = failures(files.values().flatten());
    assert!(run >= 60, "{run} vectors were found");
    assert!(failures.is_empty(), "{} of {run}: {failures:#?}", failures.len());
}

#[test]
fn every_provider_of_the_catalog_has_vectors_that_it_takes_and_vectors_that_it_refuses() {
    let files = own();
    for provider in catalog() {
        let vectors = files.get(&provider.name).map_or(&[][..], Vec::as_slice);
        assert!(vectors.iter().all(|vector| vector.provider == provider.name), "{}", provider.name);
        let taken = vectors.iter().filter(|vector| vector.run().expected == "valid").count();
        let refused = vectors.len() - taken;
        assert!(taken > 0 && refused > 0, "{}: {taken} taken, {refused} refused", provider.name);
    }
    for name in files.keys() {
        assert!(catalog().iter().any(|provider| provider.name == *name), "vectors of nobody: {name}");
    }
}

/// In addition: vectors of a folder beside the checkout, where there is one. What is published there is not ours to
/// copy, and nothing above depends on it.
#[test]
fn vectors_beside_the_checkout_pass_where_there_are_any() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let places = [root.join("../shared/vectors.json"), root.join("../../shared/vectors.json")];
    let Some(text) = places.iter().find_map(|place| std::fs::read_to_string(place).ok()) else {
        println!("there are none beside this checkout: only the project's own were run");
        return;
    };
    let known = |vector: &&Vector| catalog().iter().any(|provider| provider.name == vector.provider);
    let vectors = vectors::parse(&text).unwrap();
    let (run, failures) = failures(vectors.iter().filter(known));
    assert!(run > 0 && failures.is_empty(), "{} of {run}: {failures:#?}", failures.len());
}
