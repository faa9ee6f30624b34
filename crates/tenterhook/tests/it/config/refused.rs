//! Wrong configs: each prints what is wrong, where, and what to do.

use super::{Bench, SMALL, refusal};

#[test]
fn ten_problems_are_told_at_once() {
    insta::assert_snapshot!(refusal(r#"
[server]
listen = "8080"
grace = 25
[stores]
url = "memory:"
[sources.stripe]
provder = "stripe"
secrets = ["env:STRIPE_WEBHOOK_SECRETS"]
[sources.github]
provider = "gihub"
secrets = ["whsec_literal_value"]
[destinations.app]
type = "htp"
[destinations.deploy]
type = "command"
command = ["./deploy.sh"]
url = "http://example.com"
[[routes]]
source = "strip"
destination = "app"
priority = "urgent"
[[routes]]
destination = "app"
"#), @r#"
    tenterhook.toml:3: server.listen: expected an address with a port, such as `127.0.0.1:8080` or `[::1]:8080`
    tenterhook.toml:4: server.grace: expected a duration such as `"30s"`, found an integer
      hint: say the unit, too: `"30s"`
    tenterhook.toml:5: stores: unknown section
      hint: did you mean `store`?
    tenterhook.toml:7: sources.stripe: neither `provider` nor `verify` says who signs the requests
      hint: add `provider = "stripe"`, or `verify = { … }` for a provider of your own
    tenterhook.toml:8: sources.stripe.provder: unknown key
      hint: did you mean `provider`?
    tenterhook.toml:9: sources.stripe.secrets[0]: the environment variable `STRIPE_WEBHOOK_SECRETS` is not set
      hint: did you mean `env:STRIPE_WEBHOOK_SECRET`?
    tenterhook.toml:11: sources.github.provider: unknown provider `gihub`
      hint: did you mean `github`?
    tenterhook.toml:12: sources.github.secrets[0]: a secret stands here literally: a config holds references only
      hint: put it into the environment and write `env:NAME`, or into a file and write `file:PATH`
    tenterhook.toml:14: destinations.app.type: `htp` is none of `http`, `command`
      hint: did you mean `http`?
    tenterhook.toml:18: destinations.deploy.url: a key of `type = "http"` only
      hint: this destination has `type = "command"`
    tenterhook.toml:20: routes[0].source: unknown source `strip`
      hint: did you mean `stripe`?
    tenterhook.toml:22: routes[0].priority: `urgent` is none of `high`, `normal`, `low`
    tenterhook.toml:23: routes[1]: `source` is missing
      hint: add `source = "stripe"`, with a value of your own
    13 problems in `tenterhook.toml`
    "#);
}

#[test]
fn a_syntax_error_is_told_with_its_line() {
    insta::assert_snapshot!(refusal("[server]\nlisten = 127.0.0.1:8080\n\n[store\nurl = \"memory:\"\n"), @r#"
    tenterhook.toml:2: not valid TOML: invalid float, expected nothing
      hint: write text between double quotes: `key = "value"`
    tenterhook.toml:4: not valid TOML: unclosed table, expected `]`
    2 problems in `tenterhook.toml`
    "#);
}

#[test]
fn a_table_written_twice_is_told() {
    insta::assert_snapshot!(refusal("[store]\nurl = \"memory:\"\n[store]\nretention = \"1d\"\n"), @r"
    tenterhook.toml:3: not valid TOML: duplicate key
      hint: the same key or table is written twice: keep one of them
    1 problem in `tenterhook.toml`
    ");
}

#[test]
fn a_missing_file_names_the_way_to_make_one() {
    let bench = Bench::new();
    let error =
        tenterhook::config::load(&bench.path("nowhere.toml"), &bench.environment, super::NOW).err().unwrap();
    insta::assert_snapshot!(bench.neutral(&error.to_string()), @r"
    nowhere.toml: cannot read the config: entity not found
      hint: `tenterhook init` writes one; `--config PATH` names another
    1 problem in `nowhere.toml`
    ");
}

#[test]
fn bytes_that_are_not_text_are_told_with_their_line() {
    let bench = Bench::new().file("latin1.toml", b"[server]\n# caf\xe9\n");
    let error =
        tenterhook::config::load(&bench.path("latin1.toml"), &bench.environment, super::NOW).err().unwrap();
    insta::assert_snapshot!(bench.neutral(&error.to_string()), @r"
    latin1.toml:2: not UTF-8 text
      hint: save the file as UTF-8
    1 problem in `latin1.toml`
    ");
}

#[test]
fn an_unknown_section_is_told() {
    insta::assert_snapshot!(refusal(&format!("listen = \"127.0.0.1:1\"\n{SMALL}\n[source.x]\nprovider = \"stripe\"\n[zebra]\n")), @r"
    tenterhook.toml:1: listen: unknown section
      hint: `listen` is a key of `[server]`
    tenterhook.toml:15: source: unknown section
      hint: did you mean `sources`?
    tenterhook.toml:17: zebra: unknown section
      hint: one of `server`, `store`, `admin_tokens`, `sources`, `destinations`, `routes`
    3 problems in `tenterhook.toml`
    ");
}

#[test]
fn an_unknown_key_is_told_at_any_depth() {
    insta::assert_snapshot!(refusal(&format!("{SMALL}\n[server.log]\nfilters = \"info\"\n[destinations.app.breaker]\nfailure = 3\n[sources.stripe.response]\ncode = 200\n")), @r"
    tenterhook.toml:15: server.log.filters: unknown key
      hint: did you mean `filter`?
    tenterhook.toml:17: destinations.app.breaker.failure: unknown key
      hint: did you mean `failures`?
    tenterhook.toml:19: sources.stripe.response.code: unknown key
      hint: one of `status`, `body`, `content_type`
    3 problems in `tenterhook.toml`
    ");
}

#[test]
fn wrong_types_say_what_was_expected() {
    insta::assert_snapshot!(refusal(&SMALL.replace("provider = \"stripe\"", "provider = true\nevents = \"invoice.*\"\nduplicate_result = \"yes\"\nbody_bytes_max = 1.5\nrate = 100\nconflict_status = \"409\"\nallow_from = [10]")), @r#"
    tenterhook.toml:3: sources.stripe.provider: expected text, found `true` or `false`
      hint: write it between double quotes
    tenterhook.toml:4: sources.stripe.events: expected a list, found text
      hint: write it between `[` and `]`
    tenterhook.toml:5: sources.stripe.duplicate_result: expected `true` or `false`, found text
      hint: write it without quotes
    tenterhook.toml:6: sources.stripe.body_bytes_max: expected a size such as `"5MiB"`, found a decimal number
      hint: write it between double quotes
    tenterhook.toml:7: sources.stripe.rate: expected a rate such as `100/s`, or `{ rate = "100/s", burst = 200 }`
    tenterhook.toml:8: sources.stripe.conflict_status: expected a whole number from 200 to 499, found text
      hint: write it without quotes
    tenterhook.toml:9: sources.stripe.allow_from[0]: expected an address or a network such as `"10.0.0.0/8"`, found an integer
      hint: write it between double quotes
    7 problems in `tenterhook.toml`
    "#);
}

#[test]
fn values_out_of_range_say_the_range() {
    insta::assert_snapshot!(refusal(&SMALL.replace("provider = \"stripe\"", "provider = \"stripe\"\nbody_bytes_max = \"1TiB\"\nconflict_status = 500\nwindow = \"1s\"\nrate = \"0/s\"")), @r"
    tenterhook.toml:4: sources.stripe.body_bytes_max: out of range: from 1B to 256MiB
    tenterhook.toml:4: sources.stripe.body_bytes_max: 1TiB for one body is more than `server.unverified_bytes_max` allows for all together
      hint: raise that one, or lower this
    tenterhook.toml:5: sources.stripe.conflict_status: out of range: from 200 to 499
    tenterhook.toml:6: sources.stripe.window: out of range: from 1m to 366d
    tenterhook.toml:7: sources.stripe.rate: out of range: from 1/h to 1000000/s
    5 problems in `tenterhook.toml`
    ");
}

#[test]
fn a_tolerance_of_zero_or_less_or_over_a_day_is_refused() {
    for (tolerance, expected) in [
        ("\"0s\"", "out of range: from 1s to 1d"),
        ("\"25h\"", "out of range: from 1s to 1d"),
        ("\"-5m\"", "expected a duration"),
        ("0", "found an integer"),
        ("\"\"", "expected a duration"),
        ("\"5 parsecs\"", "expected a duration"),
    ] {
        let wrong = refusal(
            &SMALL
                .replace("provider = \"stripe\"", &format!("provider = \"stripe\"\ntolerance = {tolerance}")),
        );
        assert!(
            wrong.contains("tenterhook.toml:4: sources.stripe.tolerance: ") && wrong.contains(expected),
            "{wrong}"
        );
    }
}

#[test]
fn a_source_without_a_scheme_is_refused() {
    insta::assert_snapshot!(refusal(&SMALL.replace("provider = \"stripe\"\n", "")), @r#"
    tenterhook.toml:2: sources.stripe: neither `provider` nor `verify` says who signs the requests
      hint: add `provider = "stripe"`, or `verify = { … }` for a provider of your own
    1 problem in `tenterhook.toml`
    "#);
}

#[test]
fn provider_and_verify_together_are_refused() {
    insta::assert_snapshot!(refusal(&SMALL.replace("provider = \"stripe\"", "provider = \"stripe\"\nverify = \"none\"")), @r"
    tenterhook.toml:4: sources.stripe.verify: a source has either a `provider` or a scheme of its own in `verify`
      hint: remove one of them
    1 problem in `tenterhook.toml`
    ");
}

#[test]
fn a_scheme_that_the_provider_does_not_have_is_refused() {
    let github = SMALL.replace("provider = \"stripe\"", "provider = \"github\"\nscheme = \"github-sha2\"");
    insta::assert_snapshot!(refusal(&github), @"
    tenterhook.toml:4: sources.stripe.scheme: GitHub has no scheme called `github-sha2`
      hint: did you mean `github-sha1`?
    1 problem in `tenterhook.toml`
    ");
}

#[test]
fn a_scheme_that_signs_the_url_needs_one() {
    let twilio = SMALL.replace("provider = \"stripe\"", "provider = \"twilio\"");
    insta::assert_snapshot!(refusal(&twilio), @r#"
    tenterhook.toml:2: sources.stripe: `public_url` is missing: this scheme signs the URL
      hint: add `public_url = "https://…"`, exactly as it is configured at the provider
    1 problem in `tenterhook.toml`
    "#);
    assert_eq!(
        refusal(
            &twilio.replace("\"twilio\"", "\"twilio\"\npublic_url = \"https://example.com/webhooks/stripe\"")
        ),
        "loaded"
    );
}

#[test]
fn an_environment_that_the_provider_does_not_have_is_refused() {
    let wise = SMALL.replace(
        "provider = \"stripe\"\nsecrets = [\"env:STRIPE_WEBHOOK_SECRET\"]",
        "provider = \"wise\"\nenvironment = \"staging\"",
    );
    insta::assert_snapshot!(refusal(&wise), @"
    tenterhook.toml:4: sources.stripe.environment: `staging` is no environment of Wise
      hint: one of `production`, `sandbox`
    1 problem in `tenterhook.toml`
    ");
    assert_eq!(refusal(&wise.replace("staging", "sandbox")), "loaded");
    assert_eq!(refusal(&wise.replace("environment = \"staging\"", "")), "loaded");
}

#[test]
fn wrong_places_in_a_request_are_refused() {
    insta::assert_snapshot!(refusal(&SMALL.replace("provider = \"stripe\"", "provider = \"stripe\"\nevent_id = [\"json:/id\", \"jason:/id\"]\nevent_type = []")), @"
    tenterhook.toml:4: sources.stripe.event_id: `jason:` is not a place in a request
      hint: write `header:NAME`, `json:/POINTER`, `form:FIELD` or `query:NAME`
    tenterhook.toml:5: sources.stripe.event_type: the list is empty
      hint: a place is `header:NAME`, `json:/pointer`, `form:NAME` or `query:NAME`
    2 problems in `tenterhook.toml`
    ");
}

#[test]
fn names_and_paths_that_cannot_be_are_refused() {
    insta::assert_snapshot!(refusal(&format!("{SMALL}\n[sources.Stripe]\nprovider = \"stripe\"\nsecrets = [\"env:PARTNER_SECRET\"]\n[sources.health]\nprovider = \"stripe\"\nsecrets = [\"env:PARTNER_SECRET\"]\n[sources.a]\nprovider = \"stripe\"\npath = \"/healthz\"\nsecrets = [\"env:PARTNER_SECRET\"]\n[sources.b]\nprovider = \"stripe\"\npath = \"hooks/../b\"\nsecrets = [\"env:PARTNER_SECRET\"]\n[sources.c]\nprovider = \"stripe\"\npath = \"/webhooks/stripe\"\nsecrets = [\"env:PARTNER_SECRET\"]\n")), @r"
    tenterhook.toml:14: sources.Stripe: `Stripe` cannot be a name: use 1 to 64 of `a-z`, `0-9`, `-` and `_`, starting with a letter or digit
    tenterhook.toml:17: sources.health: a source cannot be called `health`
      hint: `/webhooks/health` answers health checks: choose another name
    tenterhook.toml:22: sources.a.path: `/healthz` is taken by the gateway itself
    tenterhook.toml:26: sources.b.path: expected a plain path such as `/webhooks/stripe`
    tenterhook.toml:30: sources.c.path: source `stripe` is already at `/webhooks/stripe`
      hint: give one of them a `path` of its own
    5 problems in `tenterhook.toml`
    ");
}

#[test]
fn routes_to_nowhere_are_refused() {
    insta::assert_snapshot!(refusal(&format!("{SMALL}\n[[routes]]\nsource = [\"stripe\", \"github\"]\ndestination = \"ap\"\n[sources.other]\nprovider = \"stripe\"\nsecrets = [\"env:PARTNER_SECRET\"]\nunmatched = \"deliver:apps\"\n")), @r"
    tenterhook.toml:15: routes[1].source[1]: unknown source `github`
      hint: one of `stripe`, `other`
    tenterhook.toml:16: routes[1].destination: unknown destination `ap`
      hint: did you mean `app`?
    tenterhook.toml:20: sources.other.unmatched: unknown destination `apps`
      hint: did you mean `app`?
    3 problems in `tenterhook.toml`
    ");
}

#[test]
fn a_destination_that_lacks_its_key_is_refused() {
    insta::assert_snapshot!(refusal(&SMALL.replace("url = \"http://127.0.0.1:3000/hooks\"", "")), @r#"
    tenterhook.toml:6: destinations.app: `url` is missing
      hint: add `url = "http://127.0.0.1:3000/hooks"`, with a value of your own
    1 problem in `tenterhook.toml`
    "#);
    insta::assert_snapshot!(refusal(&SMALL.replace("type = \"http\"", "")), @r"
    tenterhook.toml:6: destinations.app: `type` is missing
      hint: one of `http`, `command`
    1 problem in `tenterhook.toml`
    ");
}

#[test]
fn urls_are_checked_and_hold_no_credentials() {
    let url = |url: &str| refusal(&SMALL.replace("http://127.0.0.1:3000/hooks", url));
    insta::assert_snapshot!(url("ftp://example.com/x"), @r"
    tenterhook.toml:8: destinations.app.url: expected a URL that starts with `http://` or `https://`
    1 problem in `tenterhook.toml`
    ");
    let with_credentials = "https://me:hunter2hunter2@example.com/x";
    insta::assert_snapshot!(url(with_credentials), @r#"
    tenterhook.toml:8: destinations.app.url: a user name or password stands in the URL
      hint: take them out and write `headers = { authorization = "env:NAME" }`
    1 problem in `tenterhook.toml`
    "#);
    let bench = Bench::new().with("URL", with_credentials);
    let by_reference = SMALL.replace("http://127.0.0.1:3000/hooks", "env:URL");
    assert_eq!(bench.refusal(&by_reference), url(with_credentials), "behind a reference as well");
}

#[test]
fn credentials_of_a_proxy_stand_behind_a_reference() {
    let proxy = |url: &str| SMALL.replace("type = \"http\"", &format!("type = \"http\"\nproxy = \"{url}\""));
    let with_credentials = "http://me:hunter2hunter2@proxy.example.com:3128";
    insta::assert_snapshot!(refusal(&proxy(with_credentials)), @r"
    tenterhook.toml:8: destinations.app.proxy: credentials stand in the URL literally
      hint: put the whole URL into the environment and write `env:NAME`
    1 problem in `tenterhook.toml`
    ");
    let bench = Bench::new().with("PROXY", with_credentials);
    let config = bench.load(&proxy("env:PROXY")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.masked["destinations"]["app"]["proxy"]["value"], "***");
    assert!(!config.masked.to_string().contains("hunter2"));
}

#[test]
fn a_literal_credential_in_a_header_is_refused() {
    insta::assert_snapshot!(refusal(&format!("{SMALL}\n[destinations.app.headers]\nauthorization = \"Bearer abcdefgh\"\nx-team = \"payments\"\nwebhook-id = \"1\"\n\"x y\" = \"1\"\n")), @r"
    tenterhook.toml:15: destinations.app.headers.authorization: a credential stands here literally
      hint: put the whole value into the environment and write `env:NAME`
    tenterhook.toml:17: destinations.app.headers.webhook-id: this header is set by the delivery itself
      hint: choose another name
    tenterhook.toml:18: destinations.app.headers.x y: cannot be the name of a header
      hint: choose another name
    3 problems in `tenterhook.toml`
    ");
}

#[test]
fn a_signing_secret_has_its_form() {
    let signed = SMALL.replace("type = \"http\"", "type = \"http\"\nsigning_secret = \"env:PARTNER_SECRET\"");
    insta::assert_snapshot!(refusal(&signed), @r"
    tenterhook.toml:8: destinations.app.signing_secret: a signing secret is `whsec_` and base64 of 24 to 64 bytes
      hint: make one: `echo whsec_$(openssl rand -base64 32)`
    1 problem in `tenterhook.toml`
    ");
    assert_eq!(refusal(&signed.replace("PARTNER_SECRET", "APP_SIGNING_SECRET")), "loaded");
}

#[test]
fn signing_afresh_needs_trust_and_a_shared_secret() {
    let wise = "provider = \"wise\"\nenvironment = \"sandbox\"";
    let resign = SMALL.replace("type = \"http\"", "type = \"http\"\nresign = \"provider\"");
    insta::assert_snapshot!(refusal(&resign), @r"
    tenterhook.toml:8: destinations.app.resign: signing afresh vouches in the provider's name, and this destination is not `trusted`
      hint: add `trusted = true` if it may receive that
    1 problem in `tenterhook.toml`
    ");
    let asymmetric = resign
        .replace("resign", "trusted = true\nresign")
        .replace("provider = \"stripe\"\nsecrets = [\"env:STRIPE_WEBHOOK_SECRET\"]", wise);
    insta::assert_snapshot!(refusal(&asymmetric), @r"
    tenterhook.toml:9: destinations.app.resign: source `stripe` sends here, and its provider signs with a private key that only the provider has
      hint: remove `resign`, or route that source elsewhere
    1 problem in `tenterhook.toml`
    ");
    let token = resign
        .replace("resign", "trusted = true\nresign")
        .replace("provider = \"stripe\"", "verify = { header = \"X-Token\", algorithm = \"token\" }");
    insta::assert_snapshot!(refusal(&token), @"
    tenterhook.toml:9: destinations.app.resign: source `stripe` sends here, and its provider sends a token and signs nothing
      hint: remove `resign`, or route that source elsewhere
    1 problem in `tenterhook.toml`
    ");
    let by_query = token.replace("header = \"X-Token\"", "signature = \"query:token\"");
    assert_eq!(refusal(&by_query), refusal(&token), "wherever the token is");
    let open = resign
        .replace("resign", "trusted = true\nresign")
        .replace("provider = \"stripe\"", "verify = \"none\"\nallow_unsigned = true");
    insta::assert_snapshot!(refusal(&open), @r"
    tenterhook.toml:10: destinations.app.resign: source `stripe` sends here, and it verifies nothing, so there is no signature to make afresh
      hint: remove `resign`, or route that source elsewhere
    1 problem in `tenterhook.toml`
    ");
    assert_eq!(refusal(&resign.replace("resign", "trusted = true\nresign")), "loaded");
}

#[test]
fn contradictions_within_a_destination_are_refused() {
    insta::assert_snapshot!(refusal(&SMALL.replace("type = \"http\"", "type = \"http\"\ntimeout = \"1s\"\nretry = { base = \"2h\", cap = \"1h\" }\nca_file = \"nowhere.pem\"\ndead_statuses = [200]")), @r"
    tenterhook.toml:9: destinations.app.retry.base: `base` is longer than `cap`
    tenterhook.toml:10: destinations.app.ca_file: there is no file `nowhere.pem`
      hint: a relative path starts at the config file
    tenterhook.toml:11: destinations.app.dead_statuses[0]: out of range: from 300 to 599
    3 problems in `tenterhook.toml`
    ");
    insta::assert_snapshot!(refusal(&SMALL.replace("type = \"http\"\nurl = \"http://127.0.0.1:3000/hooks\"", "type = \"command\"\ncommand = []\ndirectory = \"nowhere\"\nretry_codes = [3]\ndead_codes = [3, 256]\nenvironment = { \"A B\" = \"1\", TENTERHOOK_X = \"1\" }")), @r#"
    tenterhook.toml:8: destinations.app.command: the list is empty
      hint: write program and arguments: `["./deploy.sh", "--now"]`
    tenterhook.toml:9: destinations.app.directory: there is no directory `nowhere`
      hint: a relative path starts at the config file
    tenterhook.toml:11: destinations.app.dead_codes[1]: out of range: from 1 to 255
    tenterhook.toml:11: destinations.app.dead_codes: 3 asks for a retry as well
      hint: 75 always asks for a retry; any other code is in one of the lists at most
    4 problems in `tenterhook.toml`
    "#);
}

#[test]
fn an_open_admin_listener_is_refused_off_loopback() {
    let admin = |server: &str| refusal(&format!("[server]\n{server}\n{SMALL}"));
    insta::assert_snapshot!(admin("admin_listen = \"0.0.0.0:8081\"\nadmin_auth = \"none\""), @r#"
    tenterhook.toml:3: server.admin_auth: `admin_auth = "none"` is allowed on a loopback address only
      hint: add `[[admin_tokens]]` with `name`, `role` and `token = "env:NAME"`
    1 problem in `tenterhook.toml`
    "#);
    insta::assert_snapshot!(admin("admin_listen = \"0.0.0.0:8081\""), @r#"
    tenterhook.toml:2: server.admin_listen: the admin listener needs tokens, and there are none
      hint: add `[[admin_tokens]]` with `name`, `role` and `token = "env:NAME"`
    1 problem in `tenterhook.toml`
    "#);
    insta::assert_snapshot!(admin("admin_auth = \"tokens\""), @r#"
    tenterhook.toml:2: server.admin_auth: the admin listener needs tokens, and there are none
      hint: add `[[admin_tokens]]` with `name`, `role` and `token = "env:NAME"`
    1 problem in `tenterhook.toml`
    "#);
    insta::assert_snapshot!(admin("admin_listen = \"127.0.0.1:8080\""), @r"
    tenterhook.toml:2: server.admin_listen: is the same address as `listen`
      hint: the admin listener needs a port of its own
    1 problem in `tenterhook.toml`
    ");
}

#[test]
fn admin_tokens_are_long_and_distinct() {
    let tokens = "[[admin_tokens]]\nname = \"ops\"\nrole = \"operator\"\ntoken = \"env:ADMIN_TOKEN\"\n[[admin_tokens]]\nname = \"ops\"\nrole = \"root\"\ntoken = \"env:ADMIN_TOKEN\"\n[[admin_tokens]]\nname = \"short\"\ntoken = \"env:SHORT\"\n[[admin_tokens]]\ntoken = \"0123456789abcdef0123456789abcdef\"\n";
    insta::assert_snapshot!(Bench::new().with("SHORT", "0123456789abcdef").refusal(&format!("{SMALL}\n{tokens}")), @r#"
    tenterhook.toml:19: admin_tokens[1].name: another admin token has the same name
      hint: the audit trail could not tell them apart
    tenterhook.toml:20: admin_tokens[1].role: `root` is none of `viewer`, `operator`
    tenterhook.toml:21: admin_tokens[1].token: another entry has the same token
      hint: make one for each
    tenterhook.toml:24: admin_tokens[2].token: the secret is 16 bytes long: at least 32 are needed
      hint: make one: `openssl rand -hex 32`
    tenterhook.toml:25: admin_tokens[3]: `name` is missing
      hint: add `name = "ops"`, with a value of your own
    tenterhook.toml:26: admin_tokens[3].token: a secret stands here literally: a config holds references only
      hint: put it into the environment and write `env:NAME`, or into a file and write `file:PATH`
    6 problems in `tenterhook.toml`
    "#);
}

#[test]
fn a_store_that_cannot_be_is_refused() {
    let store = |url: &str| refusal(&format!("[store]\nurl = \"{url}\"\n{SMALL}"));
    insta::assert_snapshot!(store("postgres://localhost/x"), @r"
    tenterhook.toml:2: store.url: expected `sqlite:PATH` or `memory:`
    1 problem in `tenterhook.toml`
    ");
    insta::assert_snapshot!(store("sqlite:nowhere/x.db"), @r"
    tenterhook.toml:2: store.url: the directory of the store does not exist
      hint: create it first
    1 problem in `tenterhook.toml`
    ");
    insta::assert_snapshot!(store("sqlite:."), @r"
    tenterhook.toml:2: store.url: the path of the store is a directory
      hint: name a file in it
    1 problem in `tenterhook.toml`
    ");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let huge = SMALL.replace("provider = \"stripe\"", "provider = \"stripe\"\nbody_bytes_max = \"200MiB\"");
    insta::assert_snapshot!(refusal(&huge), @r"
    tenterhook.toml:4: sources.stripe.body_bytes_max: 200MiB for one body is more than `server.unverified_bytes_max` allows for all together
      hint: raise that one, or lower this
    1 problem in `tenterhook.toml`
    ");
    insta::assert_snapshot!(refusal(&format!("{SMALL}\n[server.log]\nfilter = \"tenterhook=loud\"\n")), @r"
    tenterhook.toml:15: server.log.filter: is not a log filter
      hint: such as `info`, `warn` or `info,tenterhook=debug`
    1 problem in `tenterhook.toml`
    ");
}

#[test]
fn an_answer_of_the_handler_needs_exactly_one_handler_that_can_give_it() {
    let asking = SMALL.replace("provider = \"stripe\"", "provider = \"stripe\"\nrespond = \"handler\"");
    let with = |more: &str| refusal(&format!("{asking}{more}"));
    insta::assert_snapshot!(with("events = [\"a\"]\n[[routes]]\nsource = \"stripe\"\nevents = [\"b\"]\ndestination = \"app\"\n"), @"loaded");
    insta::assert_snapshot!(with("[destinations.log]\ntype = \"http\"\nurl = \"http://127.0.0.1:1/\"\n[[routes]]\nsource = \"stripe\"\ndestination = \"log\"\n"), @r#"
    tenterhook.toml:4: sources.stripe.respond: the events of this source go to `app`, `log`, and only one of them can answer
      hint: leave it the routes to the one that answers
    1 problem in `tenterhook.toml`
    "#);
    insta::assert_snapshot!(refusal(asking.split("[[routes]]").next().unwrap()), @r#"
    tenterhook.toml:4: sources.stripe.respond: no route says whose answer it is
      hint: add `[[routes]]` with `source = "stripe"` and the `destination` that answers
    1 problem in `tenterhook.toml`
    "#);
    insta::assert_snapshot!(refusal(&asking.replace("url = ", "batch = { max = 2 }\nurl = ")), @r#"
    tenterhook.toml:4: sources.stripe.respond: `app` takes batches, and answers them as a whole
      hint: remove `batch` from `destinations.app`, or route this source to another one
    1 problem in `tenterhook.toml`
    "#);
    let command = asking.replace(
        "type = \"http\"\nurl = \"http://127.0.0.1:3000/hooks\"",
        "type = \"command\"\ncommand = [\"cat\"]",
    );
    insta::assert_snapshot!(refusal(&command), @r#"
    tenterhook.toml:4: sources.stripe.respond: `app` is no HTTP destination: it has no answer to pass on
      hint: route this source to a destination with `type = "http"`
    1 problem in `tenterhook.toml`
    "#);
    insta::assert_snapshot!(refusal(&asking.replace("\"handler\"", "\"handle\"")), @r#"
    tenterhook.toml:4: sources.stripe.respond: `handle` is none of `receipt`, `handler`
      hint: did you mean `handler`?
    1 problem in `tenterhook.toml`
    "#);
}

#[test]
fn a_section_of_the_wrong_shape_is_refused() {
    insta::assert_snapshot!(refusal("server = 1\n[sources]\nprovider = \"stripe\"\n[routes]\nsource = \"stripe\"\n[[destinations]]\ntype = \"http\"\n"), @r"
    tenterhook.toml:1: server: expected a table, found an integer
      hint: write `[server]` on a line of its own, its keys below
    tenterhook.toml:3: sources.provider: expected a table, found text
      hint: write `[sources.provider]` on a line of its own, its keys below
    tenterhook.toml:4: routes: expected `[[routes]]`, found a table
      hint: each entry starts with a line `[[routes]]`
    tenterhook.toml:6: destinations: expected a table, found a list
      hint: write `[destinations]` on a line of its own, its keys below
    4 problems in `tenterhook.toml`
    ");
}

/// Nothing that is written makes the loader panic: a good config, cut and torn in every way that a seeded tearing finds.
#[test]
fn no_text_makes_it_panic() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let bench = Bench::new();
    let good = tenterhook::config::reference::example().replace("exec:", "env:");
    let lines: Vec<&str> =
        good.lines().filter(|line| !line.starts_with("# ") || line.contains('=')).collect();
    for _ in 0..300 {
        let mut text: Vec<String> =
            lines.iter().map(|line| line.trim_start_matches("# ").to_owned()).collect();
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(..text.len());
            match rng.u8(..5) {
                0 => drop(text.remove(at)),
                1 => text[at] = text[at].replace('"', ""),
                2 => text[at] = text[at].chars().rev().collect(),
                3 => text[at].push_str(["é", "\u{0}", " = ", "[[", "{}", "-1", "\"\"\""][rng.usize(..7)]),
                _ => text.insert(at, lines[rng.usize(..lines.len())].to_owned()),
            }
        }
        let _ = bench.load(&text.join("\n"));
    }
}
