//! Builds `[sources.NAME]`: scheme, secrets, ids, limits and answers. Knows the rules that take several keys.

use std::str::FromStr;

use http::StatusCode;
use tenterhook_verify::{
    Handshakes, Locator, Locators, Provider, Scheme, Secret, Settings, SpecError, Verifier, provider,
};

use super::file::{Node, Value};
use super::problem::{Findings, Place, closest, quoted, shown, suggestion};
use super::schema::VERIFY;
use super::secrets::{Resolver, Rules, SECRET_BYTES_MIN};
use super::section::Section;
use super::{learnt, respond, settings, values, verify};
use crate::model::{DedupePolicy, DestinationName, OnConflict, OnDuplicateOfDead, OnRepeat, SourceName};
use crate::policy::limit::RatePolicy;
use crate::policy::route::Glob;
use crate::source::{IdRule, ResponsePolicy, Source, SourceLimits, Unmatched};

/// The longest body where neither config nor catalog says anything, in bytes.
const BODY_BYTES_MAX: u64 = 5 * 1024 * 1024;

/// A key is remembered at least this long, unless the config says otherwise.
const WINDOW: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);

/// Builds one source, without its routes. `None` where something about it is wrong; then a problem says what.
pub(super) fn build(
    name: &SourceName,
    section: Section<'_>,
    default_rate_per_address: Option<RatePolicy>,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> Option<Source> {
    let provider = known_provider(section, findings);
    let scheme = match provider {
        Some(provider) => catalog_scheme(provider, section, findings),
        None => own_scheme(section, findings),
    };
    judge_unsigned(scheme.as_ref(), section, findings);
    let handshakes = settings::handshakes(provider, section, findings);
    let keys = keys(provider, scheme.as_ref(), &handshakes, section, resolver, findings);
    let (settings, handshake_settings) =
        settings::read(scheme.as_ref(), &handshakes, section, resolver, findings);
    let has_keys = keys.as_ref().is_some_and(|keys| !keys.is_empty());
    let key_credentials = settings::credentials(scheme.as_ref(), has_keys, section, resolver, findings);
    let mut keys = keys?;
    let secrets_configured = keys.len();
    keys.extend(learnt_keys(name, &handshakes, secrets_configured, section, resolver, findings)?);
    let verifier = verifier(scheme?, keys, settings, section, findings)?;
    let public_url = public_url(&verifier, section, resolver, findings);
    warn_about_odd_pairs(provider, &verifier, section, findings);
    let response = response(section, findings);
    Some(Source {
        name: name.clone(),
        path: section.text("path").unwrap_or_else(|| format!("/webhooks/{name}")),
        provider,
        handshakes,
        handshake_settings,
        key_credentials,
        event_id: event_id(provider, section),
        event_type: section.node("event_type").and_then(locators),
        events: section.texts("events").into_iter().map(Glob::new).collect(),
        routes: Vec::new(),
        unmatched: unmatched(section),
        limits: limits(provider, section, default_rate_per_address),
        dedupe: dedupe(provider, section),
        respond: respond::respond(provider, section, &response, findings),
        response,
        public_url,
        forward_headers: section
            .texts("forward_headers")
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect(),
        secrets_configured,
        verifier,
    })
}

/// The catalog entry that the source names; `None` with `verify`, and where the name is unknown.
fn known_provider(section: Section<'_>, findings: &mut Findings) -> Option<&'static Provider> {
    let signs_nothing = section
        .text("provider")
        .and_then(|name| provider::provider(&name))
        .is_some_and(|entry| entry.scheme.is_unsigned());
    let says_so = section.node("verify").and_then(Node::text) == Some("none");
    if section.has("provider") && section.has("verify") && !(signs_nothing && says_so) {
        findings.problem(
            &section.at("verify"),
            "a source has either a `provider` or a scheme of its own in `verify`",
            "remove one of them",
        );
    }
    let name = section.text("provider")?;
    let found = provider::provider(&name);
    if found.is_none() {
        let names: Vec<&str> = provider::catalog().iter().map(|entry| entry.name.as_str()).collect();
        let hint = match closest(&name, names) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => {
                "`tenterhook providers` lists them; for one of your own write `verify = { … }`".to_owned()
            }
        };
        findings.problem(&section.at("provider"), format!("unknown provider `{}`", shown(&name)), hint);
    }
    found
}

fn catalog_scheme(provider: &Provider, section: Section<'_>, findings: &mut Findings) -> Option<Scheme> {
    let name = section.text("scheme");
    let scheme = provider.scheme(name.as_deref()).cloned();
    if let (None, Some(name)) = (&scheme, name) {
        let others: Vec<&str> = provider.alternatives.iter().map(|(name, _)| name.as_str()).collect();
        let message = format!("{} has no scheme called `{}`", provider.display, shown(&name));
        let hint = if others.is_empty() {
            "it has one scheme only: remove this key".to_owned()
        } else {
            suggestion(&name, &others)
        };
        findings.problem(&section.at("scheme"), message, hint);
    }
    scheme
}

/// `verify = { … }` or `verify = "none"`.
fn own_scheme(section: Section<'_>, findings: &mut Findings) -> Option<Scheme> {
    let Some(node) = section.node("verify") else {
        if !section.has("provider") {
            findings.problem(
                &section.place(),
                "neither `provider` nor `verify` says who signs the requests",
                "add `provider = \"stripe\"`, or `verify = { … }` for a provider of your own",
            );
        }
        return None;
    };
    match node.text() {
        Some("none") => Some(Scheme::unsigned()),
        _ => verify::scheme(&section.at("verify"), node, VERIFY, findings),
    }
}

/// A scheme that verifies nothing, whether written or of the catalog, has to be wanted in so many words.
fn judge_unsigned(scheme: Option<&Scheme>, section: Section<'_>, findings: &mut Findings) {
    let Some(scheme) = scheme else { return };
    let place = section.at(if section.has("verify") { "verify" } else { "provider" });
    let message = "requests of this source are not verified: anybody who knows its URL can send events";
    // A provider that signs nothing has to be taken at that by both keys, like anybody else.
    let says_so = section.node("verify").and_then(Node::text) == Some("none");
    match (scheme.is_unsigned(), says_so && section.flag("allow_unsigned")) {
        (true, true) => findings.warning(&place, message, "use a scheme, or at least `allow_from`"),
        (true, false) => {
            let hint = if says_so {
                "if that is meant, add `allow_unsigned = true` beside it"
            } else {
                "this provider signs nothing: if that is meant, add `verify = \"none\"` and `allow_unsigned = true`"
            };
            findings.problem(&place, message, hint);
        }
        (false, _) if section.flag("allow_unsigned") => findings.warning(
            &section.at("allow_unsigned"),
            "has no effect: this source has a scheme",
            "remove it, so that nothing is open should the scheme ever go",
        ),
        (false, _) => {}
    }
}

/// Secrets and public keys, in the order in which they are written; `None` where one is wrong.
fn keys(
    provider: Option<&'static Provider>,
    scheme: Option<&Scheme>,
    handshakes: &Handshakes,
    section: Section<'_>,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> Option<Vec<(Place, Secret)>> {
    let is_public_key = scheme.is_some_and(Scheme::is_asymmetric);
    let bytes_min = provider.and_then(|entry| entry.secret_bytes_min).unwrap_or(SECRET_BYTES_MIN);
    let items = section.items("secrets");
    let found = resolver.secrets(
        &section.at("secrets"),
        &items,
        Rules { bytes_min, is_public_key, ..Rules::default() },
        findings,
    );
    let complete = found.len() == items.len();
    for ((place, _), secret) in items.iter().zip(found.iter().filter(|_| complete)) {
        long_enough(place, scheme, secret, bytes_min, findings);
    }
    let mut keys: Vec<(Place, Secret)> = items.into_iter().map(|(place, _)| place).zip(found).collect();
    keys.extend(public_keys(scheme, section, resolver, findings)?);
    if let Some(provider) = provider.filter(|_| keys.is_empty() && complete) {
        keys.extend(published_keys(provider, section, findings)?);
    } else if section.has("environment") {
        findings.problem(
            &section.at("environment"),
            "it chooses among the public keys that a provider publishes, and this source has keys of its own",
            "remove it, or the keys",
        );
    }
    let scheme = scheme?;
    let comes_by_itself = scheme.fetches_keys() || (handshakes.learn() && resolver.learnt.is_some());
    if complete && keys.is_empty() && !scheme.is_unsigned() && !comes_by_itself {
        missing_keys(scheme, section, findings);
        return None;
    }
    complete.then_some(keys)
}

/// The keys that the provider brought so far.
fn learnt_keys(
    name: &SourceName,
    handshakes: &Handshakes,
    secrets_configured: usize,
    section: Section<'_>,
    resolver: &Resolver<'_>,
    findings: &mut Findings,
) -> Option<Vec<(Place, Secret)>> {
    let Some(directory) = resolver.learnt.as_deref().filter(|_| handshakes.learn()) else {
        return Some(Vec::new());
    };
    let secrets = match learnt::read(directory, name) {
        Ok(secrets) => secrets,
        Err(message) => {
            let hint = "restore the file; or take it away, and let the provider bring its key anew";
            findings.problem(&section.place(), message, hint);
            return None;
        }
    };
    if secrets_configured == 0 && secrets.is_empty() {
        let hint =
            format!("`tenterhook sources pending {name}`, and then create the webhook at the provider");
        findings.warning(&section.place(), learnt::NO_KEY_YET, hint);
    }
    Some(secrets.into_iter().map(|secret| (section.place(), secret)).collect())
}

/// A long text may hold a short key: what counts is what the MAC is keyed with.
fn long_enough(
    place: &Place,
    scheme: Option<&Scheme>,
    secret: &Secret,
    bytes_min: usize,
    findings: &mut Findings,
) {
    let key_bytes = scheme.and_then(|scheme| scheme.mac_key_bytes(secret));
    if let Some(key_bytes) = key_bytes.filter(|key_bytes| (1..bytes_min).contains(key_bytes)) {
        findings.problem(
            place,
            format!("the secret holds a key of {key_bytes} bytes: at least {bytes_min} are needed"),
            "take a longer one: `openssl rand -base64 32` makes one",
        );
    }
}

fn missing_keys(scheme: &Scheme, section: Section<'_>, findings: &mut Findings) {
    let (key, hint) = if scheme.is_asymmetric() {
        ("public_keys", "add `public_keys = [\"file:partner.pem\"]`".to_owned())
    } else {
        let name = section.path().trim_start_matches("sources.").to_ascii_uppercase().replace('-', "_");
        ("secrets", format!("add `secrets = [\"env:{name}_SECRET\"]` and set that variable"))
    };
    if section.has(key) {
        findings.problem(&section.at(key), "the list is empty", hint);
    } else {
        findings.problem(&section.place(), format!("`{key}` is missing"), hint);
    }
}

/// `public_keys`: the one place where a key may stand literally.
fn public_keys(
    scheme: Option<&Scheme>,
    section: Section<'_>,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> Option<Vec<(Place, Secret)>> {
    let items = section.items("public_keys");
    if let Some(scheme) = scheme
        && !scheme.is_asymmetric()
        && !items.is_empty()
    {
        findings.problem(
            &section.at("public_keys"),
            "this scheme has no public keys: its key is a shared secret",
            "write `secrets = [\"env:NAME\"]`",
        );
        return None;
    }
    let mut keys = Vec::new();
    for (place, node) in &items {
        let resolved = resolver.text(place, node, findings)?;
        keys.push((place.clone(), Secret::new(resolved.text)));
    }
    Some(keys)
}

/// The keys that the provider publishes, of the `environment` that the source names.
fn published_keys(
    provider: &'static Provider,
    section: Section<'_>,
    findings: &mut Findings,
) -> Option<Vec<(Place, Secret)>> {
    if provider.public_keys.is_empty() {
        if section.has("environment") {
            let message = format!("{} publishes no keys to choose from", provider.display);
            findings.problem(&section.at("environment"), message, "remove it");
        }
        return Some(Vec::new());
    }
    let environments: Vec<&str> = provider.public_keys.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = section.text("environment").unwrap_or_else(|| "production".to_owned());
    let keys: Vec<_> = provider
        .public_keys
        .iter()
        .filter(|(name, _)| *name == wanted)
        .map(|(_, pem)| (section.at("environment"), Secret::new(pem.as_str())))
        .collect();
    if keys.is_empty() {
        let message = format!("`{}` is no environment of {}", shown(&wanted), provider.display);
        findings.problem(&section.at("environment"), message, format!("one of {}", quoted(&environments)));
        return None;
    }
    Some(keys)
}

fn verifier(
    scheme: Scheme,
    keys: Vec<(Place, Secret)>,
    settings: Settings,
    section: Section<'_>,
    findings: &mut Findings,
) -> Option<Verifier> {
    let (places, secrets): (Vec<Place>, Vec<Secret>) = keys.into_iter().unzip();
    let refuse = |error: SpecError, findings: &mut Findings| {
        let place = index_of(&error.key).and_then(|index| places.get(index)).cloned();
        findings.problem(&place.unwrap_or_else(|| section.at("secrets")), error.message, error.hint);
    };
    let verifier = match Verifier::new(scheme, secrets) {
        Ok(verifier) => verifier,
        Err(errors) => {
            errors.into_iter().for_each(|error| refuse(error, findings));
            return None;
        }
    };
    let verifier = match verifier.with_settings(settings) {
        Ok(verifier) => verifier,
        Err(errors) => {
            for SpecError { key, message, hint } in errors {
                let written = section.entries("settings").into_iter().find(|(name, ..)| *name == key);
                let place = written.map_or_else(|| section.at("settings"), |(_, place, _)| place);
                findings.problem(&place, message, hint);
            }
            return None;
        }
    };
    Some(match section.duration("tolerance") {
        Some(tolerance) => verifier.with_tolerance(tolerance),
        None => verifier,
    })
}

/// The number in `secrets[1]`.
fn index_of(key: &str) -> Option<usize> {
    key.split_once('[')?.1.split_once(']')?.0.parse().ok()
}

fn public_url(
    verifier: &Verifier,
    section: Section<'_>,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> Option<String> {
    if let Some(node) = section.node("public_url") {
        let url = super::url::resolved(&section.at("public_url"), node, resolver, findings)?;
        return Some(url.text);
    }
    if verifier.scheme().signs_url() {
        findings.problem(
            &section.place(),
            "`public_url` is missing: this scheme signs the URL",
            "add `public_url = \"https://…\"`, exactly as it is configured at the provider",
        );
    }
    None
}

/// Settings that are right one by one and surprise together.
fn warn_about_odd_pairs(
    provider: Option<&'static Provider>,
    verifier: &Verifier,
    section: Section<'_>,
    findings: &mut Findings,
) {
    if section.has("tolerance") && !verifier.scheme().signs_time() {
        findings.warning(
            &section.at("tolerance"),
            "has no effect: this scheme signs no timestamp",
            "remove it",
        );
    }
    let horizon = provider.map(|entry| entry.retry_horizon).unwrap_or_default();
    if section.duration("window").is_some_and(|window| window < horizon) {
        let retries = values::duration_text(u64::try_from(horizon.as_millis()).unwrap_or(u64::MAX));
        findings.warning(
            &section.at("window"),
            format!("is shorter than the provider goes on retrying ({retries})"),
            "a late retry would be taken for a new event: make it longer, or remove it",
        );
    }
}

fn event_id(provider: Option<&'static Provider>, section: Section<'_>) -> IdRule {
    match section.node("event_id") {
        Some(node) if node.text() == Some("digest") => IdRule::Digest,
        Some(node) => locators(node).map_or(IdRule::Automatic, IdRule::Located),
        None => match provider {
            Some(entry) if !entry.event_id.alternatives.is_empty() => IdRule::Located(entry.event_id.clone()),
            _ => IdRule::Automatic,
        },
    }
}

/// One place, or several that all count together.
pub(super) fn locators(node: &Node) -> Option<Locators> {
    let composite: Option<Vec<Locator>> =
        node.items().iter().map(|item| item.text().and_then(|text| text.parse().ok())).collect();
    Some(Locators { alternatives: vec![composite.filter(|places| !places.is_empty())?] })
}

fn unmatched(section: Section<'_>) -> Unmatched {
    let text = section.text("unmatched").unwrap_or_default();
    let named = text.strip_prefix("deliver:").and_then(|name| DestinationName::from_str(name).ok());
    named.map_or(Unmatched::Ignore, Unmatched::Deliver)
}

fn limits(
    provider: Option<&'static Provider>,
    section: Section<'_>,
    default_rate_per_address: Option<RatePolicy>,
) -> SourceLimits {
    let documented = provider.and_then(|entry| entry.body_bytes_max);
    SourceLimits {
        body_bytes_max: section.size("body_bytes_max").or(documented).unwrap_or(BODY_BYTES_MAX),
        rate: section.rate("rate"),
        rate_per_address: section.rate("rate_per_address").or(default_rate_per_address),
        allow_from: section.networks("allow_from"),
        body_timeout: section.set_duration("body_timeout"),
    }
}

fn dedupe(provider: Option<&'static Provider>, section: Section<'_>) -> DedupePolicy {
    let horizon = provider.map_or(WINDOW, |entry| entry.retry_horizon.max(WINDOW));
    let is = |name: &str, value: &str| section.text(name).as_deref() == Some(value);
    DedupePolicy {
        window: section.duration("window").unwrap_or(horizon),
        on_repeat: if is("on_repeat", "duplicate") { OnRepeat::Duplicate } else { OnRepeat::Deliver },
        on_conflict: if is("on_conflict", "deliver") { OnConflict::Deliver } else { OnConflict::Keep },
        on_duplicate_of_dead: if is("on_duplicate_of_dead", "report") {
            OnDuplicateOfDead::Report
        } else {
            OnDuplicateOfDead::Redrive
        },
    }
}

fn response(section: Section<'_>, findings: &mut Findings) -> ResponsePolicy {
    let path = format!("{}.response", section.path());
    let response = section.inner("response", &path);
    let status = |section: Section<'_>, name: &str| {
        section.integer::<u16>(name).and_then(|status| StatusCode::from_u16(status).ok())
    };
    let body = response.node("body").and_then(|node| match &node.value {
        Value::Text(body) => Some(body.clone()),
        other => {
            findings.problem(&response.at("body"), format!("expected text, found {}", other.kind()), "");
            None
        }
    });
    ResponsePolicy {
        status: status(response, "status"),
        body: body.map(|body| (body, response.text("content_type").unwrap_or_default())),
        duplicate_result: section.flag("duplicate_result"),
        conflict_status: status(section, "conflict_status"),
    }
}
