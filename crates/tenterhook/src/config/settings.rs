//! `settings = { … }` and `verify_token`: what a scheme and the handshakes of its provider have to know beside the secrets.
//! Which names a scheme takes is checked where they are declared, in `tenterhook-verify`.

use serde::Deserialize;
use tenterhook_verify::handshake::HandshakeSpec;
use tenterhook_verify::settings::SettingValue;
use tenterhook_verify::{HandshakeSettings, Handshakes, Provider, Scheme, Settings};

use super::file::{Node, Value};
use super::problem::Findings;
use super::secrets::{Resolver, Rules};
use super::section::Section;
use crate::source::KeyCredentials;

/// Settings that are for handshakes; all others are the scheme's.
const OF_HANDSHAKES: [&str; 4] = ["allowed_origins", "key_name", "service_ids", "topics"];

/// The handshakes: the provider's own, or those that the source writes.
pub(super) fn handshakes(
    provider: Option<&'static Provider>,
    section: Section<'_>,
    findings: &mut Findings,
) -> Handshakes {
    let of_catalog = || provider.map(|entry| entry.handshakes.clone()).unwrap_or_default();
    let Some(node) = section.node("handshake") else { return of_catalog() };
    let place = section.at("handshake");
    let specs: Result<Vec<HandshakeSpec>, _> =
        node.items().iter().map(|item| HandshakeSpec::deserialize(item.to_toml())).collect();
    let specs = match specs {
        Ok(specs) => specs,
        Err(error) => {
            let message = error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ");
            findings.problem(&place, format!("not a handshake: {}", message.trim()), "");
            return Handshakes::default();
        }
    };
    HandshakeSpec::compile(&specs).unwrap_or_else(|errors| {
        for error in errors {
            findings.problem(&place, format!("`{}`: {}", error.key, error.message), error.hint);
        }
        Handshakes::default()
    })
}

/// Settings that say who asks for keys.
const OF_CREDENTIALS: [&str; 2] = ["client_id", "secret"];

/// By what the provider knows its customer, where keys are configured by nobody and given to customers only.
pub(super) fn credentials(
    scheme: Option<&Scheme>,
    has_keys: bool,
    section: Section<'_>,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> Option<KeyCredentials> {
    if !scheme.is_some_and(Scheme::fetches_with_credentials) {
        return None;
    }
    let entries = section.entries("settings");
    let written = |wanted: &str| entries.iter().find(|(name, ..)| *name == wanted);
    let (client_id, secret) = (written("client_id"), written("secret"));
    if client_id.is_none() || secret.is_none() {
        if !has_keys || client_id.is_some() || secret.is_some() {
            findings.problem(
                &section.at("settings"),
                "`client_id` and `secret` are missing: the provider gives its keys to its customers only",
                "add `settings = { client_id = \"…\", secret = \"env:NAME\" }`, both as the provider's dashboard shows them",
            );
        }
        return None;
    }
    let (_, id_place, id_node) = client_id?;
    let client_id = id_node.text().filter(|text| !text.is_empty()).map(str::to_owned);
    if client_id.is_none() {
        findings.problem(id_place, "expected a text", "the client id of the account");
    }
    let (_, place, node) = secret?;
    let secret = resolver.secret(place, node, Rules::default(), findings)?;
    Some(KeyCredentials { client_id: client_id?, secret })
}

/// Reads both.
pub(super) fn read(
    scheme: Option<&Scheme>,
    handshakes: &Handshakes,
    section: Section<'_>,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> (Settings, HandshakeSettings) {
    let has_handshakes = !handshakes.is_empty();
    let declared = scheme.map(Scheme::settings).unwrap_or_default();
    let mut settings = Settings::default();
    let mut handshake = HandshakeSettings::default();
    let with_credentials = scheme.is_some_and(Scheme::fetches_with_credentials);
    for (name, place, node) in section.entries("settings") {
        if with_credentials && OF_CREDENTIALS.contains(&name) {
            continue;
        }
        let Some(value) = value_of(node) else {
            findings.problem(
                &place,
                format!("expected text, a list of texts or a table of texts, found {}", node.value.kind()),
                "such as `topics = [\"…\"]`",
            );
            continue;
        };
        // Topics are the scheme's concern as well as a handshake's.
        if OF_HANDSHAKES.contains(&name) && declared.iter().any(|setting| setting.name == name) {
            settings = settings.with(name, value.clone());
        }
        match value {
            value if !OF_HANDSHAKES.contains(&name) => settings = settings.with(name, value),
            _ if !has_handshakes => {
                let hint = "remove it: only providers that ask something before they send have it";
                findings.problem(&place, "means nothing to this source", hint);
            }
            SettingValue::List(texts) if name == "topics" => handshake.topics = texts,
            SettingValue::List(texts) if name == "allowed_origins" => handshake.allowed_origins = texts,
            SettingValue::List(texts) if name == "service_ids" => handshake.service_ids = texts,
            SettingValue::Text(text) if name == "key_name" => handshake.key_name = Some(text),
            _ => {
                let expected = if name == "key_name" { "text" } else { "a list of texts" };
                let message = format!("expected {expected}, found {}", node.value.kind());
                findings.problem(&place, message, "");
            }
        }
    }
    let is_for_everybody = scheme.is_some_and(Scheme::fetches_keys)
        && declared.iter().any(|setting| setting.name == "topics")
        && handshake.topics.is_empty();
    if is_for_everybody {
        findings.problem(
            &section.place(),
            "`settings.topics` is missing: the provider signs for all its customers, and anybody's message would verify",
            "add `settings = { topics = [\"arn:…\"] }` with the topics that you subscribed to",
        );
    }
    // Braintree says in its answer by which key it was made: the one that the scheme knows already.
    handshake.key_name = handshake.key_name.or_else(|| settings.text("public_key").map(str::to_owned));
    handshake.verify_token = section.node("verify_token").and_then(|node| {
        let place = section.at("verify_token");
        if !has_handshakes {
            findings.warning(&place, "has no effect: this provider asks for no token", "remove it");
        }
        resolver.secret(&place, node, Rules::default(), findings)
    });
    (settings, handshake)
}

fn value_of(node: &Node) -> Option<SettingValue> {
    let texts =
        |nodes: &[Node]| nodes.iter().map(|node| node.text().map(str::to_owned)).collect::<Option<_>>();
    match &node.value {
        Value::Text(text) => Some(SettingValue::Text(text.clone())),
        Value::List(nodes) => texts(nodes).map(SettingValue::List),
        Value::Table(table) => {
            let entry = |(name, node): &(String, Node)| Some((name.clone(), node.text()?.to_owned()));
            table.0.iter().map(entry).collect::<Option<_>>().map(SettingValue::Table)
        }
        _ => None,
    }
}
