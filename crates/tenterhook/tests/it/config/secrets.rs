//! References to secrets: what is refused, and that no secret is ever told.

use super::{Bench, SMALL};

fn secret(reference: &str) -> String {
    SMALL.replace("\"env:STRIPE_WEBHOOK_SECRET\"", reference)
}

#[test]
fn a_literal_secret_is_refused_and_not_repeated() {
    insta::assert_snapshot!(Bench::new().refusal(&secret("\"sk_live_canary_0123456789\"")), @r"
    tenterhook.toml:4: sources.stripe.secrets[0]: a secret stands here literally: a config holds references only
      hint: put it into the environment and write `env:NAME`, or into a file and write `file:PATH`
    1 problem in `tenterhook.toml`
    ");
    insta::assert_snapshot!(Bench::new().refusal(&secret("\"${STRIPE_WEBHOOK_SECRET}\"")), @r"
    tenterhook.toml:4: sources.stripe.secrets[0]: `${…}` is not resolved here
      hint: write `env:NAME` instead of `${NAME}`
    1 problem in `tenterhook.toml`
    ");
    insta::assert_snapshot!(Bench::new().refusal(&secret("\"\"")), @r"
    tenterhook.toml:4: sources.stripe.secrets[0]: the reference to a secret is empty
      hint: put it into the environment and write `env:NAME`, or into a file and write `file:PATH`
    1 problem in `tenterhook.toml`
    ");
    insta::assert_snapshot!(Bench::new().refusal(&secret("7")), @r#"
    tenterhook.toml:4: sources.stripe.secrets[0]: expected a reference to a secret, found an integer
      hint: write `"env:NAME"`, or `{ ref = "env:NAME", not_after = "2026-12-24" }`
    1 problem in `tenterhook.toml`
    "#);
}

#[test]
fn a_secret_that_is_none_is_refused() {
    for (value, expected) in [
        ("", "the secret is empty"),
        ("   ", "the secret is nothing but whitespace"),
        ("\n", "the secret is nothing but whitespace"),
        ("changeme", "the secret is a placeholder"),
        ("secret", "the secret is a placeholder"),
        ("Password", "the secret is a placeholder"),
        ("test_secret", "the secret is a placeholder"),
        ("whsec_", "the secret is a placeholder"),
        ("${STRIPE_SECRET_OF_PRODUCTION}", "the secret holds an unresolved `${…}`"),
        ("env:STRIPE_SECRET_OF_PRODUCTION", "the secret is itself a reference: it is not followed"),
        ("0123456789abcde", "the secret is 15 bytes long: at least 16 are needed"),
        ("0123456789abcdef ", "the secret starts or ends with whitespace"),
    ] {
        let wrong = Bench::new().with("S", value).refusal(&secret("\"env:S\""));
        assert!(
            wrong.contains(&format!("tenterhook.toml:4: sources.stripe.secrets[0]: {expected}")),
            "{value:?}: {wrong}"
        );
    }
    assert_eq!(Bench::new().with("S", "0123456789abcdef").refusal(&secret("\"env:S\"")), "loaded");
}

/// Found by the attack cases: the length of the text was counted, and not that of the key in it.
#[test]
fn a_long_text_with_a_short_key_in_it_is_refused() {
    let section = "[sources.std]\nprovider = \"standard-webhooks\"\nsecrets = [\"env:S\"]\n";
    let wrong = Bench::new().with("S", "whsec_MDEyMzQ1Njc=").refusal(section);
    assert!(
        wrong.contains("secrets[0]: the secret holds a key of 8 bytes: at least 16 are needed"),
        "{wrong}"
    );
    assert!(!wrong.contains("MDEyMzQ1Njc"), "{wrong}");
    assert_eq!(Bench::new().with("S", "whsec_MDEyMzQ1Njc4OWFiY2RlZg==").refusal(section), "loaded");
}

#[test]
fn a_reference_that_leads_nowhere_is_refused() {
    insta::assert_snapshot!(Bench::new().refusal(&secret("\"env:STRIPE_WEBHOOK_SECRTE\", \"file:nowhere\", \"file:.\", \"exec:false\"")), @r"
    tenterhook.toml:4: sources.stripe.secrets[0]: the environment variable `STRIPE_WEBHOOK_SECRTE` is not set
      hint: did you mean `env:STRIPE_WEBHOOK_SECRET`?
    tenterhook.toml:4: sources.stripe.secrets[1]: cannot read `nowhere`: entity not found
      hint: a relative path starts at the config file
    tenterhook.toml:4: sources.stripe.secrets[2]: `.` is not a regular file
    tenterhook.toml:4: sources.stripe.secrets[3]: `false` failed: exit status: 1
      hint: run it by hand, as the user that runs the gateway, to see what it says
    4 problems in `tenterhook.toml`
    ");
    insta::assert_snapshot!(Bench::new().refusal(&secret("\"env:\", \"exec:\"")), @r"
    tenterhook.toml:4: sources.stripe.secrets[0]: what follows `env:` is not an environment variable that is set
      hint: write `env:NAME`, with the name of a variable and not its value
    tenterhook.toml:4: sources.stripe.secrets[1]: `exec:` names no command
      hint: write `exec:COMMAND ARGS…`
    2 problems in `tenterhook.toml`
    ");
}

#[test]
fn a_file_counts_without_its_final_newline() {
    let bench = Bench::new().file("key", "0123456789abcdef\n");
    let config = bench.load(&secret("\"file:key\"")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.sources[0].verifier.secrets()[0].expose(), b"0123456789abcdef");
    let bench = Bench::new().file("key", "0123456789abcdef\n\n");
    assert!(bench.refusal(&secret("\"file:key\"")).contains("starts or ends with whitespace"));
}

#[test]
fn a_command_says_a_secret_and_sees_none_of_the_others() {
    let script = "#!/bin/sh\necho \"$1-0123456789abcdef-$HOME-$PARTNER_SECRET-$TENTERHOOK__SERVER__GRACE\"\n";
    let bench = Bench::new()
        .with("HOME", "/home/me")
        .with("TENTERHOOK__SERVER__GRACE", "1s")
        .file("vault", script)
        .executable("vault");
    let text = secret("\"exec:./vault 'a b'\", \"env:PARTNER_SECRET\"");
    let config = bench.load(&text).unwrap_or_else(|error| panic!("{error}"));
    let said = config.sources[0].verifier.secrets()[0].expose();
    assert_eq!(String::from_utf8_lossy(said), "a b-0123456789abcdef-/home/me--");
}

#[test]
fn dates_decide_which_secrets_count() {
    let now_and_then = secret(
        r#"{ ref = "env:STRIPE_WEBHOOK_SECRET", not_after = "2026-12-24" }, { ref = "env:PARTNER_SECRET", not_before = 2026-12-20, created = "2026-11-20" }"#,
    );
    assert_eq!(Bench::new().warnings(&now_and_then), "");
    let over = secret(r#"{ ref = "env:STRIPE_WEBHOOK_SECRET", not_after = "2026-11-24" }"#);
    insta::assert_snapshot!(Bench::new().refusal(&over), @r"
    tenterhook.toml:4: sources.stripe.secrets: no secret counts now: each is past its `not_after` or before its `not_before`
      hint: add the secret that the provider signs with today
    1 problem in `tenterhook.toml`
    ");
    let half_over = secret(
        r#"{ ref = "env:PARTNER_SECRET", not_after = "2026-11-25" }, { ref = "env:STRIPE_WEBHOOK_SECRET", created = "2026-08-01" }"#,
    );
    insta::assert_snapshot!(Bench::new().warnings(&half_over), @r"
    tenterhook.toml:4: sources.stripe.secrets[0]: this secret does not count any more
      hint: remove it
    tenterhook.toml:4: sources.stripe.secrets[1]: this secret is 116 days old
      hint: rotate it: add the new secret beside this one, then change it at the provider
    ");
    let wrong = secret(
        r#"{ ref = "env:STRIPE_WEBHOOK_SECRET", not_after = "24.12.2026", expires = "x" }, { not_before = "2026-01-02" }"#,
    );
    insta::assert_snapshot!(Bench::new().refusal(&wrong), @r#"
    tenterhook.toml:4: sources.stripe.secrets[0].expires: unknown key
      hint: one of `ref`, `id`, `not_before`, `not_after`, `created`
    tenterhook.toml:4: sources.stripe.secrets[1]: `ref` is missing
      hint: add `ref = "env:STRIPE_WEBHOOK_SECRET"`, with a value of your own
    tenterhook.toml:4: sources.stripe.secrets[0].not_after: expected a date
      hint: a day such as `2026-12-24`, or a moment such as `2026-12-24T12:00:00Z`
    3 problems in `tenterhook.toml`
    "#);
}

#[test]
fn a_source_without_secrets_is_refused() {
    insta::assert_snapshot!(Bench::new().refusal(&SMALL.replace("secrets = [\"env:STRIPE_WEBHOOK_SECRET\"]", "")), @r#"
    tenterhook.toml:2: sources.stripe: `secrets` is missing
      hint: add `secrets = ["env:STRIPE_SECRET"]` and set that variable
    1 problem in `tenterhook.toml`
    "#);
    insta::assert_snapshot!(Bench::new().refusal(&secret("")), @r#"
    tenterhook.toml:4: sources.stripe.secrets: the list is empty
      hint: add `secrets = ["env:STRIPE_SECRET"]` and set that variable
    1 problem in `tenterhook.toml`
    "#);
}

/// A secret in every place where one might be written or resolved by mistake is in no error, warning or masked config.
#[test]
fn no_message_ever_holds_a_secret() {
    const CANARY: &str = "canary_7f3a9c_DO_NOT_PRINT";
    let lower = format!("\"{CANARY}\"");
    let bench = || {
        Bench::new()
            .with("CANARY", CANARY)
            .with("CANARY_SPACE", &format!("{CANARY} "))
            .with("CANARY_DOLLAR", &format!("${{{CANARY}}}"))
            .with("CANARY_SHORT", "canary_")
            .with("CANARY_IN_URL", &format!("https://me:{CANARY}@example.com/"))
            .with("CANARY_URL", &format!("https://example.com/{CANARY}"))
            .file("canary", CANARY)
            .file("canary.sh", format!("#!/bin/sh\necho {CANARY} >&2; echo {CANARY}; exit 1\n"))
    };
    let places = [
        secret(&lower),
        secret(CANARY),
        secret(&format!("\"env:{CANARY}\"")),
        secret(&format!("\"exec:sh -c {CANARY}\"")),
        secret("\"exec:sh canary.sh\""),
        secret(&format!("{{ ref = {lower} }}")),
        secret(&format!("{{ reff = {lower} }}")),
        secret(&format!("[{lower}]")),
        secret("\"env:CANARY_SPACE\", \"env:CANARY_DOLLAR\""),
        SMALL.replace("secrets = [\"env:STRIPE_WEBHOOK_SECRET\"]", &format!("secrets = {lower}")),
        SMALL.replace("secrets = [\"env:STRIPE_WEBHOOK_SECRET\"]", &format!("secret = {lower}")),
        SMALL.replace("secrets = [\"env:STRIPE_WEBHOOK_SECRET\"]", &format!("secrets = [{lower}")),
        SMALL.replace("type = \"http\"", &format!("type = \"http\"\nsigning_secret = {lower}")),
        SMALL.replace("type = \"http\"", "type = \"http\"\nsigning_secret = \"env:CANARY\""),
        SMALL
            .replace("type = \"http\"", &format!("type = \"http\"\nheaders = {{ authorization = {lower} }}")),
        SMALL.replace(
            "type = \"http\"",
            &format!("type = \"http\"\nproxy = \"http://me:{CANARY}@127.0.0.1:1\""),
        ),
        SMALL.replace("http://127.0.0.1:3000/hooks", &format!("http://me:{CANARY}@127.0.0.1:1")),
        SMALL.replace("http://127.0.0.1:3000/hooks", "env:CANARY_IN_URL"),
        format!("{SMALL}\n[[admin_tokens]]\nname = \"x\"\ntoken = {lower}\n"),
        format!("{SMALL}\n[[admin_tokens]]\nname = \"x\"\ntoken = \"env:CANARY\"\n"),
    ];
    for (index, text) in places.iter().enumerate() {
        let wrong = bench().refusal(text);
        assert_ne!(wrong, "loaded", "place {index}");
        assert!(!wrong.contains(CANARY), "place {index}: {wrong}");
    }
    let good = SMALL.replace("STRIPE_WEBHOOK_SECRET", "CANARY").replace(
        "\"http://127.0.0.1:3000/hooks\"",
        "\"env:CANARY_URL\"\nheaders = { authorization = \"env:CANARY\" }",
    );
    let config = bench().load(&good).unwrap_or_else(|error| panic!("{error}"));
    assert!(!config.masked.to_string().contains(CANARY), "{}", config.masked);
    let target = &config.destinations.values().next().unwrap().target;
    assert_eq!(target, "http env:CANARY_URL");
}
