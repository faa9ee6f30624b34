//! The files that are written from the table of keys, and the examples, are current and work.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tenterhook::config::{self, init, reference};
use tenterhook_verify::catalog;

use super::{Bench, NOW};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Compares a generated file with what is kept; `UPDATE=1` writes it instead.
pub(super) fn check_current(file: &str, generated: &str) {
    let path = repository().join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, generated).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == generated, "`{file}` is not current: run the tests of `config` with UPDATE=1");
}

#[test]
fn the_example_is_current() {
    check_current("tenterhook.example.toml", &reference::example());
}

#[test]
fn the_reference_is_current() {
    check_current("docs/reference/config.md", &reference::page());
}

#[test]
fn the_example_loads_without_a_warning() {
    let bench = Bench::new();
    assert_eq!(bench.warnings(&reference::example()), "");
}

/// Commented-out lines are right, too: with all of them in use only contradictions and missing files are left.
#[test]
fn the_example_with_every_line_in_use_has_no_key_or_value_that_is_wrong() {
    let text: Vec<String> = reference::example()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| is_key(key)) =>
            {
                rest.to_owned()
            }
            _ => line.to_owned(),
        })
        .collect();
    insta::assert_snapshot!(Bench::new().refusal(&text.join("\n")), @"
    tenterhook.toml:45: server.tls.certificate_file: there is no file `tls/chain.pem`
      hint: a relative path starts at the config file
    tenterhook.toml:47: server.tls.key_file: there is no file `tls/key.pem`
      hint: a relative path starts at the config file
    tenterhook.toml:80: admin_tokens[0].token: the environment variable `TENTERHOOK_ADMIN_TOKEN` is not set
      hint: set it for this process; `export` makes a shell variable one of the environment
    tenterhook.toml:91: sources.stripe.public_keys[0]: cannot read `partner.pem`: entity not found
      hint: a relative path starts at the config file
    tenterhook.toml:96: sources.stripe.scheme: Stripe has no scheme called `github-sha1`
      hint: it has one scheme only: remove this key
    tenterhook.toml:99: sources.stripe.verify: a source has either a `provider` or a scheme of its own in `verify`
      hint: remove one of them
    tenterhook.toml:116: sources.stripe.verify_token: the environment variable `META_VERIFY_TOKEN` is not set
      hint: set it for this process; `export` makes a shell variable one of the environment
    tenterhook.toml:196: destinations.app.resign: signing afresh vouches in the provider's name, and this destination is not `trusted`
      hint: add `trusted = true` if it may receive that
    tenterhook.toml:200: destinations.app.headers.authorization: the environment variable `APP_AUTHORIZATION` is not set
      hint: set it for this process; `export` makes a shell variable one of the environment
    tenterhook.toml:206: destinations.app.ca_file: there is no file `tls/private-ca.pem`
      hint: a relative path starts at the config file
    tenterhook.toml:208: destinations.app.client_certificate_file: there is no file `tls/client.pem`
      hint: a relative path starts at the config file
    tenterhook.toml:260: destinations.deploy.directory: there is no directory `/srv/deploy`
      hint: a relative path starts at the config file
    tenterhook.toml:262: destinations.deploy.environment.DEPLOY_TOKEN: the environment variable `DEPLOY_TOKEN` is not set
      hint: set it for this process; `export` makes a shell variable one of the environment
    13 problems in `tenterhook.toml`
    ");
}

fn is_key(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[test]
fn every_example_config_loads_without_a_warning() {
    let mut names = Vec::new();
    for entry in fs::read_dir(repository().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).unwrap();
            let environment = environment_for(&text);
            match config::load(&path, &environment, NOW) {
                Ok(config) => assert_eq!(config.warnings, [], "{}", path.display()),
                Err(error) => panic!("{error}"),
            }
            names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    names.sort();
    assert!(names.len() >= 6, "{names:?}");
}

/// A value for every variable that a config refers to.
fn environment_for(text: &str) -> BTreeMap<String, String> {
    text.split("env:")
        .skip(1)
        .map(|rest| {
            let name: String = rest
                .chars()
                .take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_')
                .collect();
            let value = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
            (name, value.to_owned())
        })
        .collect()
}

#[test]
fn init_writes_a_config_that_loads_for_every_provider() {
    for provider in catalog() {
        let start = init::start(provider, "http://127.0.0.1:3000/hooks");
        let mut bench = Bench::new();
        for (name, _) in &start.variables {
            bench = bench.with(name, &secret_of(&provider.name));
        }
        let refusal = bench.refusal(&start.config);
        assert_eq!(refusal, "loaded", "{}:\n{}", provider.name, start.config);
    }
}

/// A secret in the provider's own form: that of a request of its vectors, where it is long enough for a config.
fn secret_of(provider: &str) -> String {
    let file = repository().join(format!("crates/tenterhook-verify/tests/vectors/{provider}.json"));
    let vectors: Vec<serde_json::Value> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let usual = vectors.iter().filter(|vector| vector["expect"] == "valid" && vector.get("scheme").is_none());
    let secret = |vector: &serde_json::Value| {
        let places = ["/secret", "/secrets/0", "/public_key_pem"];
        let named = || vector.pointer("/params/key_ids")?.as_object()?.values().next()?.as_str();
        let found = places.iter().find_map(|place| vector.pointer(place)?.as_str()).or_else(named)?;
        (found.len() >= 16).then(|| found.to_owned())
    };
    let found = usual.filter_map(secret).next();
    found.unwrap_or_else(|| "0123456789abcdef0123456789abcdef".to_owned())
}

#[test]
fn init_for_stripe_reads_like_this() {
    let stripe = tenterhook_verify::provider::provider("stripe").unwrap();
    let start = init::start(stripe, "http://127.0.0.1:3000/hooks");
    insta::assert_snapshot!(start.config, @r#"
    # Receives webhooks of Stripe and delivers them to your application.
    # Every other key, with its default: tenterhook.example.toml, docs/reference/config.md.

    [server]
    listen = "127.0.0.1:8080"         # where Stripe sends to, behind your HTTPS proxy
    admin_listen = "127.0.0.1:8081"   # admin API, console, metrics

    [store]
    url = "sqlite:tenterhook.db"      # beside this file

    [sources.stripe]                  # receives at /webhooks/stripe
    provider = "stripe"
    secrets = ["env:STRIPE_WEBHOOK_SECRET"]   # several while you rotate; never the secret itself

    [destinations.app]
    type = "http"
    url = "http://127.0.0.1:3000/hooks"
    # signing_secret = "env:APP_SIGNING_SECRET"   # whsec_…: signs what your application receives

    [[routes]]
    source = "stripe"
    destination = "app"
    # events = ["…"]                  # globs on the event type; all, unless you say so
    "#);
    assert_eq!(start.path, "/webhooks/stripe");
    assert_eq!(start.variables[0].0, "STRIPE_WEBHOOK_SECRET");
}
