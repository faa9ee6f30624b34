//! `verify`: schemes of one's own, in the grammar of the catalog, and none at all.

use std::fs;
use std::path::Path;

use super::{Bench, SMALL, built, refusal};

/// The small config with a scheme of one's own.
fn own(verify: &str) -> String {
    SMALL.replace("provider = \"stripe\"", &format!("verify = {verify}"))
}

#[test]
fn verify_none_needs_its_second_key() {
    let open = SMALL
        .replace("provider = \"stripe\"\nsecrets = [\"env:STRIPE_WEBHOOK_SECRET\"]", "verify = \"none\"");
    insta::assert_snapshot!(refusal(&open), @r"
    tenterhook.toml:3: sources.stripe.verify: requests of this source are not verified: anybody who knows its URL can send events
      hint: if that is meant, add `allow_unsigned = true` beside it
    1 problem in `tenterhook.toml`
    ");
    let twice = open.replace("verify = \"none\"", "verify = \"none\"\nallow_unsigned = true");
    insta::assert_snapshot!(Bench::new().warnings(&twice), @r"
    tenterhook.toml:3: sources.stripe.verify: requests of this source are not verified: anybody who knows its URL can send events
      hint: use a scheme, or at least `allow_from`
    ");
    assert!(built(&twice).sources[0].verifier.scheme().is_unsigned());
}

#[test]
fn the_second_key_without_the_first_is_warned_about_and_opens_nothing() {
    let closed = SMALL.replace("provider = \"stripe\"", "provider = \"stripe\"\nallow_unsigned = true");
    insta::assert_snapshot!(Bench::new().warnings(&closed), @r"
    tenterhook.toml:4: sources.stripe.allow_unsigned: has no effect: this source has a scheme
      hint: remove it, so that nothing is open should the scheme ever go
    ");
    assert!(!built(&closed).sources[0].verifier.scheme().is_unsigned());
}

#[test]
fn an_empty_or_unknown_scheme_is_refused() {
    insta::assert_snapshot!(refusal(&own("{}")), @r"
    tenterhook.toml:3: sources.stripe.verify: the scheme is empty
      hint: say at least `header` and `mac`, or `algorithm`
    1 problem in `tenterhook.toml`
    ");
    insta::assert_snapshot!(refusal(&own("\"nothing\"")), @r#"
    tenterhook.toml:3: sources.stripe.verify: expected a table or `"none"`
      hint: such as `{ header = "X-Signature", mac = "hmac-sha256" }`
    1 problem in `tenterhook.toml`
    "#);
    insta::assert_snapshot!(refusal(&own("{ heder = \"X-Sig\", mac = \"hmac-sha256\" }")), @r"
    tenterhook.toml:3: sources.stripe.verify.heder: unknown key
      hint: did you mean `header`?
    1 problem in `tenterhook.toml`
    ");
}

#[test]
fn what_the_grammar_refuses_is_told_with_its_own_line() {
    let table = format!(
        "{SMALL}\n[sources.partner]\nsecrets = [\"env:PARTNER_SECRET\"]\n[sources.partner.verify]\nheader = \"X Partner\"\nmac = \"hmac-md5\"\nencoding = \"hex\"\ncontent = \"{{t}}.{{boddy}}\"\n[sources.partner.verify.timestamp]\nheader = \"X-Time\"\ntolerance = \"2d\"\nunit = \"m\"\n[[routes]]\nsource = \"partner\"\ndestination = \"app\"\n"
    );
    insta::assert_snapshot!(refusal(&table), @r"
    tenterhook.toml:17: sources.partner.verify.header: `X Partner` is not a header name
      hint: letters, digits and `-`
    tenterhook.toml:18: sources.partner.verify.mac: `hmac-md5` is not a MAC
      hint: one of `hmac-sha1`, `hmac-sha256`, `hmac-sha384`, `hmac-sha512`
    tenterhook.toml:20: sources.partner.verify.content: `{boddy}` is not a part of a request
      hint: parts are `{body}`, `{t}`, `{method}`, `{url}`, `{header:NAME}`, `{json:/POINTER}`, `{form:FIELD}`, `{query:NAME}`
    tenterhook.toml:23: sources.partner.verify.timestamp.tolerance: `2d` is longer than a day: whoever caught a request could send it again until then
      hint: `5m` is usual; `none` where the provider signs old times
    tenterhook.toml:24: sources.partner.verify.timestamp.unit: `m` is not a unit
      hint: one of `s`, `ms`, `rfc3339`
    5 problems in `tenterhook.toml`
    ");
    let nested = table
        .replace("tolerance", "tolerence")
        .replace("unit = \"m\"", "unit = 1000\nfuture = \"no\"\n[sources.partner.verify.list]\nitem = \",\"");
    insta::assert_snapshot!(refusal(&nested), @r"
    tenterhook.toml:23: sources.partner.verify.timestamp.tolerence: unknown key
      hint: did you mean `tolerance`?
    tenterhook.toml:24: sources.partner.verify.timestamp.unit: expected text, found an integer
      hint: write it between double quotes
    tenterhook.toml:25: sources.partner.verify.timestamp.future: expected `true` or `false`, found text
      hint: write it without quotes
    tenterhook.toml:27: sources.partner.verify.list.item: unknown key
      hint: did you mean `items`?
    4 problems in `tenterhook.toml`
    ");
}

/// Whatever the catalog says of a provider, a user can say, too.
#[test]
fn every_scheme_of_the_catalog_can_be_written_by_a_user() {
    let catalog = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tenterhook-verify/catalog");
    let mut schemes = Vec::new();
    for entry in fs::read_dir(catalog).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let file: toml::Table = text.parse().unwrap();
        for provider in file["provider"].as_array().unwrap() {
            // Three providers sign nothing.
            schemes.extend(provider.get("scheme").cloned());
            let others = provider.get("alternatives").and_then(toml::Value::as_table);
            schemes.extend(others.into_iter().flat_map(|others| others.values().cloned()));
        }
    }
    assert!(schemes.len() >= 8, "{}", schemes.len());
    for scheme in schemes {
        let text = own(&scheme.to_string())
            .replace("secrets", "public_url = \"https://example.com/hooks\"\nsecrets")
            .replace("STRIPE_WEBHOOK_SECRET", "APP_SIGNING_SECRET");
        let said = refusal(&text);
        // The secret of this test is no public key and none in hex, and settings are missing: that is all that may be wrong.
        let of_the_scheme: Vec<&str> =
            said.lines().filter(|line| line.contains("sources.stripe.verify")).collect();
        assert!(of_the_scheme.is_empty(), "{scheme}\n{said}");
        let is_asymmetric = ["ed25519", "rsa-sha256", "ecdsa-p256-sha256"]
            .iter()
            .any(|name| scheme.get("algorithm").and_then(toml::Value::as_str) == Some(*name));
        let wants_more = is_asymmetric || scheme.get("scheme").is_some() || scheme.get("key").is_some();
        assert!(wants_more || said == "loaded", "{scheme}\n{said}");
    }
}

#[test]
fn a_secret_counts_for_the_key_id_that_it_is_given() {
    let text = own("{ header = \"X-Sig\", mac = \"hmac-sha256\", encoding = \"hex\", key_id = \"X-Key\" }")
        .replace(
            "\"env:STRIPE_WEBHOOK_SECRET\"",
            "{ ref = \"env:PARTNER_SECRET\", id = \"k1\" }, \"env:ADMIN_TOKEN\"",
        );
    let config = built(&text);
    let ids: Vec<_> = config.sources[0].verifier.secrets().iter().map(|secret| secret.id()).collect();
    assert_eq!(ids, [Some("k1"), None]);
}
