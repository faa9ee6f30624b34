//! `TENTERHOOK__…` in the environment.

use super::{Bench, SMALL};

#[test]
fn the_environment_overrides_single_values_of_every_depth() {
    let bench = Bench::new()
        .with("TENTERHOOK__SERVER__LISTEN", "127.0.0.1:9999")
        .with("TENTERHOOK__SERVER__WORKERS", "3")
        .with("TENTERHOOK__SERVER__LOG__FORMAT", "json")
        .with("TENTERHOOK__STORE__URL", "memory:")
        .with("TENTERHOOK__SOURCES__MY_SHOP__RATE", "5/s")
        .with("TENTERHOOK__SOURCES__MY_SHOP__DUPLICATE_RESULT", "true")
        .with("TENTERHOOK__DESTINATIONS__APP__RETRY__JITTER", "0.5")
        .with("TENTERHOOK__DESTINATIONS__APP__SIGNING_SECRET", "env:APP_SIGNING_SECRET")
        .with("TENTERHOOK_TOKEN", "not an override");
    let config = bench
        .load(&SMALL.replace("stripe]", "my-shop]").replace("source = \"stripe\"", "source = \"my-shop\""));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.server.listen.port(), 9999);
    assert_eq!(config.server.workers, 3);
    assert!(config.server.log.json);
    assert_eq!(config.store.url, "memory:");
    assert_eq!(config.sources[0].limits.rate.map(|rate| rate.burst), Some(5));
    assert!(config.sources[0].response.duplicate_result);
    assert_eq!(config.destinations.values().next().unwrap().lane.retry.jitter, 0.5);
    assert_eq!(config.masked["destinations"]["app"]["signing_secret"]["ref"], "env:APP_SIGNING_SECRET");
}

#[test]
fn an_override_that_names_nothing_is_refused() {
    let bench = Bench::new()
        .with("TENTERHOOK__SERVR__LISTEN", "x")
        .with("TENTERHOOK__SERVER__LISTN", "x")
        .with("TENTERHOOK__SERVER", "x")
        .with("TENTERHOOK__SERVER__LISTEN__X", "x")
        .with("TENTERHOOK__SOURCES__STRIP__RATE", "1/s")
        .with("TENTERHOOK__SOURCES__STRIPE__SECRETS", "env:X")
        .with("TENTERHOOK__ROUTES__0__SOURCE", "x")
        .with("TENTERHOOK__", "x");
    insta::assert_snapshot!(bench.refusal(SMALL), @r"
    environment: TENTERHOOK__: no section is called ``
      hint: one of `server`, `store`, `admin_tokens`, `sources`, `destinations`, `routes`
    environment: TENTERHOOK__ROUTES__0__SOURCE: `routes` is a list, which the environment cannot change
      hint: change it in the file
    environment: TENTERHOOK__SERVER: it names no key of `server`
      hint: the form is `TENTERHOOK__SECTION__KEY` or `TENTERHOOK__SECTION__NAME__KEY`
    environment: TENTERHOOK__SERVER__LISTEN__X: `listen` is a single value: nothing comes after it
    environment: TENTERHOOK__SERVER__LISTN: no key is called `listn`
      hint: did you mean `listen`?
    environment: TENTERHOOK__SERVR__LISTEN: no section is called `servr`
      hint: did you mean `server`?
    environment: TENTERHOOK__SOURCES__STRIPE__SECRETS: `secrets` is not a single value, and the environment can set nothing else
      hint: change it in the file
    environment: TENTERHOOK__SOURCES__STRIP__RATE: no source is called `strip`
      hint: did you mean `stripe`?
    8 problems in `tenterhook.toml`
    ");
}

#[test]
fn a_wrong_value_names_the_variable_and_not_a_line() {
    let bench = Bench::new()
        .with("TENTERHOOK__SERVER__WORKERS", "many")
        .with("TENTERHOOK__SERVER__LISTEN", "8080")
        .with("TENTERHOOK__STORE__RETENTION", "1s")
        .with("TENTERHOOK__DESTINATIONS__APP__SIGNING_SECRET", "whsec_canary_0123456789abcdef");
    insta::assert_snapshot!(bench.refusal(SMALL), @r"
    environment: TENTERHOOK__SERVER__LISTEN: expected an address with a port, such as `127.0.0.1:8080` or `[::1]:8080`
    environment: TENTERHOOK__SERVER__WORKERS: expected a whole number from 0 to 1024, found text
    environment: TENTERHOOK__STORE__RETENTION: out of range: from 1m to 3650d
    environment: TENTERHOOK__DESTINATIONS__APP__SIGNING_SECRET: a secret stands here literally: a config holds references only
      hint: put it into the environment and write `env:NAME`, or into a file and write `file:PATH`
    4 problems in `tenterhook.toml`
    ");
}

#[test]
fn names_that_are_spelled_alike_cannot_be_told_apart() {
    let twice = format!(
        "{SMALL}\n[destinations.a-b]\ntype = \"http\"\nurl = \"http://127.0.0.1:1\"\n[destinations.a_b]\ntype = \"http\"\nurl = \"http://127.0.0.1:2\"\n"
    );
    let bench = Bench::new().with("TENTERHOOK__DESTINATIONS__A_B__TIMEOUT", "1s");
    insta::assert_snapshot!(bench.refusal(&twice), @r"
    environment: TENTERHOOK__DESTINATIONS__A_B__TIMEOUT: it could mean `a-b`, `a_b`
      hint: rename one of them, or set the value in the file
    1 problem in `tenterhook.toml`
    ");
}
