//! What may import what: the table of ARCHITECTURE.md as data, held against every `use crate::…` and `crate::…` path.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and the modules it may import. A module may always import itself; `a/b` stands for a file below `a`.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("policy", &["model"]),
    ("net", &["model", "telemetry"]),
    ("telemetry", &["model"]),
    ("source", &["model", "policy"]),
    ("destination", &["model", "net", "telemetry"]),
    ("store", &["model", "telemetry"]),
    ("ingress", &["source", "store", "policy", "model", "net", "telemetry"]),
    ("dispatcher", &["destination", "store", "policy", "model", "telemetry"]),
    ("ops", &["store", "model"]),
    ("config", &["source", "destination", "store", "policy", "model", "dispatcher", "telemetry", "net"]),
    ("admin", &["ops", "telemetry", "model", "net", "store"]),
    ("server", &["*"]),
    ("cli", &["*"]),
    ("lib", &["*"]),
    ("main", &["*"]),
];

/// Files that may reach deeper than their module's row, and why.
const SIBLINGS: &[(&str, &[&str])] =
    &[("destination", &["command", "http"]), ("store", &["memory", "sqlite"])];

#[test]
fn every_module_imports_only_what_its_row_lists() {
    let mut broken = Vec::new();
    for file in sources() {
        let module = module_of(&file);
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == module) else {
            broken.push(format!("{}: the module `{module}` has no row in the table", file.display()));
            continue;
        };
        for (imported, line) in imports(&file) {
            let fine = imported == module || allowed.contains(&"*") || allowed.contains(&imported.as_str());
            if !fine {
                broken.push(format!("{}:{line}: `{module}` may not import `{imported}`", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn destination_kinds_and_store_backends_do_not_know_each_other() {
    let mut broken = Vec::new();
    for (parent, kinds) in SIBLINGS {
        for kind in *kinds {
            for file in sources().into_iter().filter(|file| is_below(file, parent, kind)) {
                let text = fs::read_to_string(&file).unwrap();
                for sibling in kinds.iter().filter(|sibling| *sibling != kind) {
                    if text.contains(&format!("{parent}::{sibling}")) {
                        broken.push(format!("{}: `{kind}` knows `{sibling}`", file.display()));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_file_is_longer_than_700_lines() {
    let tests = rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    let verify = rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tenterhook-verify"));
    let long: Vec<String> = sources()
        .into_iter()
        .chain(tests)
        .chain(verify)
        .map(|file| (fs::read_to_string(&file).unwrap().lines().count(), file))
        .filter(|(lines, _)| *lines > 700)
        .map(|(lines, file)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<PathBuf> {
    rust_files(&root())
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The top-level module a file belongs to: `src/store/sqlite/lease.rs` is of `store`.
fn module_of(file: &Path) -> String {
    let relative = file.strip_prefix(root()).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn is_below(file: &Path, parent: &str, kind: &str) -> bool {
    let relative = file.strip_prefix(root()).unwrap();
    relative.starts_with(Path::new(parent).join(kind))
        || relative == Path::new(parent).join(format!("{kind}.rs"))
}

/// The top-level modules that a file names through `crate::`, with the line of each. Unit tests at the end of a file
/// are not part of the layering.
fn imports(file: &Path) -> BTreeSet<(String, usize)> {
    let text = fs::read_to_string(file).unwrap();
    let mut found = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("#[cfg(test)]") {
            break;
        }
        if line.trim_start().starts_with("//") {
            continue;
        }
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let names = match rest.strip_prefix('{') {
                Some(group) => group.split(',').map(str::trim).collect(),
                None => vec![rest],
            };
            for name in names {
                let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
                if end > 0 {
                    found.insert((name[..end].to_owned(), index + 1));
                }
            }
        }
    }
    found
}
