//! What is wrong with a scheme as written: every problem at once, each with its key, its words and its hint.

use tenterhook_verify::SchemeSpec;

/// The keys that are complained about.
fn keys(spec: &str) -> Vec<String> {
    let parsed: SchemeSpec = toml::from_str(spec).unwrap_or_else(|error| panic!("{spec}\n{error}"));
    let errors = parsed.compile().map(drop).expect_err(spec);
    for error in &errors {
        assert!(!error.message.is_empty() && !error.message.ends_with('.'), "{spec}\n{error:?}");
        assert!(!error.hint.is_empty(), "{spec}\n{error:?}");
    }
    errors.into_iter().map(|error| error.key).collect()
}

#[test]
fn each_mistake_is_found_at_its_key() {
    for (spec, expected) in [
        ("", ""),
        ("mac = \"hmac-sha256\"", "header"),
        ("header = \"bad name\"\nmac = \"hmac-sha256\"", "header"),
        ("header = \"X-Sig\"", "mac"),
        ("header = \"X-Sig\"\nmac = \"hmac-md5\"", "mac"),
        ("header = \"X-Sig\"\nalgorithm = \"rot13\"", "algorithm"),
        ("header = \"X-Sig\"\nmac = \"hmac-sha256\"\nalgorithm = \"ed25519\"", "algorithm"),
        ("header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"octal\"", "encoding"),
        (
            "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\ncontent = \"{nonsense}\"",
            "content",
        ),
        ("header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\ncontent = \"{body\"", "content"),
        (
            "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\ncontent = \"{t}.{body}\"",
            "content",
        ),
        ("header = \"X-Sig\"\nmac = \"hmac-sha256\"\nkey = \"base58\"", "key"),
        (
            "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\ncontent = \"{t}.{body}\"\ntimestamp = { header = \"X-T\", unit = \"weeks\" }",
            "timestamp.unit",
        ),
        (
            "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\ncontent = \"{t}.{body}\"\ntimestamp = { header = \"X-T\", tolerance = \"soon\" }",
            "timestamp.tolerance",
        ),
        (
            "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\ncontent = \"{t}.{body}\"\ntimestamp = { header = \"X-T\", tolerance = \"0s\" }",
            "timestamp.tolerance",
        ),
        (
            "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\ncontent = \"{t}.{body}\"\ntimestamp = { header = \"X-T\", tolerance = \"2d\" }",
            "timestamp.tolerance",
        ),
        (
            "header = [\"X-A\", \"X-B\"]\nmac = \"hmac-sha256\"\nencoding = \"hex\"\nslots = { \"X-A\" = \"a\" }",
            "slots",
        ),
        (
            "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\nmacs = { \"md5=\" = \"hmac-md5\" }",
            "macs",
        ),
        (
            "header = \"X-Sig\"\nalgorithm = \"ed25519\"\nencoding = \"hex\"\nmacs = { \"sha1=\" = \"hmac-sha1\" }",
            "macs",
        ),
        ("header = \"X-Sig\"\nalgorithm = \"token\"\nbody_required = true", "body_required"),
        ("header = \"X-Sig\"\nalgorithm = \"token\"\nsignature = \"cookie:a\"", "signature"),
    ] {
        let found = keys(spec);
        let known =
            expected.is_empty() || found.iter().any(|key| key == expected || key.starts_with(expected));
        assert!(known, "{spec}\nexpected `{expected}`, found {found:?}");
    }
}

#[test]
fn several_mistakes_are_told_together() {
    let found =
        keys("header = \"X-Sig\"\nmac = \"hmac-md5\"\nencoding = \"octal\"\ncontent = \"{nonsense}\"");
    assert!(found.len() >= 3, "{found:?}");
}

#[test]
fn an_unknown_key_is_refused() {
    let refused = toml::from_str::<SchemeSpec>("header = \"X-Sig\"\nmack = \"hmac-sha256\"").unwrap_err();
    assert!(refused.to_string().contains("mack"), "{refused}");
}
