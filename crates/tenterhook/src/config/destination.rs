//! Builds `[destinations.NAME]`: what the destination is, and the lane it is delivered to in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tenterhook_verify::{Secret, Verifier};

use super::problem::{Findings, shown};
use super::secrets::{Resolver, Rules};
use super::section::Section;
use super::url;
use crate::destination::command::CommandSettings;
use crate::destination::http::HttpSettings;
use crate::dispatcher::LanePolicy;
use crate::model::SourceName;
use crate::policy::backoff::RetryPolicy;
use crate::policy::breaker::{BreakerPolicy, FailureRate};

/// How to get a signing secret.
const MAKE_SIGNING_SECRET: &str = "make one: `echo whsec_$(openssl rand -base64 32)`";

/// What a destination of any kind needs, checked, before it is connected.
pub(super) struct Settings {
    pub(super) kind: KindSettings,
    pub(super) lane: LanePolicy,
    pub(super) target: String,
}

/// By kind.
pub(super) enum KindSettings {
    Http(Box<HttpSettings>),
    Command(CommandSettings),
}

/// Sources whose events go to one destination, for `resign = "provider"`.
pub(super) type Senders = Vec<(SourceName, Arc<Verifier>)>;

/// Builds the settings of one destination; `None` where something about it is wrong.
pub(super) fn settings(
    section: Section<'_>,
    senders: &Senders,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> Option<Settings> {
    match section.text("type")?.as_str() {
        "command" => command(section, resolver, findings),
        _ => http(section, senders, resolver, findings),
    }
}

fn http(
    section: Section<'_>,
    senders: &Senders,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> Option<Settings> {
    let url = section
        .node("url")
        .and_then(|node| url::without_credentials(&section.at("url"), node, resolver, findings));
    let proxy = match section.node("proxy") {
        Some(node) => url::resolved(&section.at("proxy"), node, resolver, findings).map(|proxy| proxy.text),
        None => None,
    };
    let lane = lane(section, findings);
    let path = format!("{}.batch", section.path());
    let batch = section.has("batch").then(|| section.inner("batch", &path));
    let connect_timeout = section.set_duration("connect_timeout");
    if section.has("connect_timeout") && connect_timeout > lane.timeout {
        findings.problem(&section.at("connect_timeout"), "is longer than `timeout`", "");
    }
    let directory = resolver.directory;
    let settings = HttpSettings {
        timeout: lane.timeout,
        connect_timeout: connect_timeout.min(lane.timeout),
        signing_secret: signing_secret(section, resolver, findings),
        headers: headers(section, resolver, findings),
        ca_file: section.file("ca_file", directory),
        client_certificate_file: section.file("client_certificate_file", directory),
        proxy,
        allow_private: section.flag("allow_private"),
        resign: resign(section, senders, findings),
        dead_statuses: section
            .integers::<u16>("dead_statuses")
            .into_iter()
            .filter_map(|status| StatusCode::from_u16(status).ok())
            .collect(),
        batch: batch.is_some(),
        url: url.as_ref()?.text.clone(),
    };
    check_files(section, directory, &["ca_file", "client_certificate_file"], findings);
    Some(Settings {
        kind: KindSettings::Http(Box::new(settings)),
        lane: LanePolicy { batch_max: batch.and_then(|batch| batch.integer("max")).unwrap_or(1), ..lane },
        target: format!("http {}", url::target(&url?)),
    })
}

/// A file that is named has to be there now: at three in the morning is too late.
pub(super) fn check_files(section: Section<'_>, directory: &Path, keys: &[&str], findings: &mut Findings) {
    for name in keys {
        if let Some(path) = section.file(name, directory)
            && !path.is_file()
        {
            let message = format!("there is no file `{}`", shown(&path.display().to_string()));
            findings.problem(&section.at(name), message, "a relative path starts at the config file");
        }
    }
}

fn command(section: Section<'_>, resolver: &mut Resolver<'_>, findings: &mut Findings) -> Option<Settings> {
    let words = section.texts("command");
    if words.is_empty() && section.has("command") {
        let hint = "write program and arguments: `[\"./deploy.sh\", \"--now\"]`";
        findings.problem(&section.at("command"), "the list is empty", hint);
    }
    let retry_codes: Vec<i32> = section.integers("retry_codes");
    let dead_codes: Vec<i32> = section.integers("dead_codes");
    if let Some(code) = dead_codes.iter().find(|code| retry_codes.contains(code) || **code == 75) {
        let hint = "75 always asks for a retry; any other code is in one of the lists at most";
        findings.problem(&section.at("dead_codes"), format!("{code} asks for a retry as well"), hint);
    }
    if let Some(directory) = section.file("directory", resolver.directory)
        && !directory.is_dir()
    {
        let message = format!("there is no directory `{}`", shown(&directory.display().to_string()));
        findings.problem(&section.at("directory"), message, "a relative path starts at the config file");
    }
    let lane = lane(section, findings);
    let target = format!("command {}", words.first()?);
    let settings = CommandSettings {
        command: words,
        timeout: lane.timeout,
        directory: section.file("directory", resolver.directory).or_else(|| here(resolver.directory)),
        environment: environment(section, resolver, findings),
        retry_codes,
        dead_codes,
    };
    Some(Settings { kind: KindSettings::Command(settings), lane, target })
}

/// The directory of the config file, where it is not the working directory anyway.
fn here(directory: &Path) -> Option<std::path::PathBuf> {
    (!directory.as_os_str().is_empty()).then(|| directory.to_owned())
}

fn environment(
    section: Section<'_>,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for (name, place, node) in section.entries("environment") {
        let shape = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(shape) || name.starts_with("TENTERHOOK_") {
            let hint = "letters, digits and `_`; names that start with `TENTERHOOK_` are ours";
            findings.problem(&place, "cannot be the name of a variable here", hint);
        }
        if let Some(value) = resolver.text(&place, node, findings) {
            if value.text.contains('\0') {
                findings.problem(&place, "holds a zero byte", "");
            }
            environment.insert(name.to_owned(), value.text);
        }
    }
    environment
}

fn signing_secret(
    section: Section<'_>,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> Option<Secret> {
    let node = section.node("signing_secret")?;
    let place = section.at("signing_secret");
    let rules = Rules { hint: MAKE_SIGNING_SECRET, ..Rules::default() };
    let items = [(place.clone(), node)];
    let secret = resolver.secrets(&place, &items, rules, findings).pop()?;
    let key = secret.expose().strip_prefix(b"whsec_").and_then(|text| BASE64.decode(text).ok());
    if !key.is_some_and(|key| (24..=64).contains(&key.len())) {
        findings.problem(
            &place,
            "a signing secret is `whsec_` and base64 of 24 to 64 bytes",
            MAKE_SIGNING_SECRET,
        );
        return None;
    }
    Some(secret)
}

fn headers(section: Section<'_>, resolver: &mut Resolver<'_>, findings: &mut Findings) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, place, node) in section.entries("headers") {
        let header = name.parse::<HeaderName>().ok();
        if let Some(message) = header.as_ref().map_or(Some("cannot be the name of a header"), refused_header)
        {
            findings.problem(&place, message, "choose another name");
        }
        let Some(value) = resolver.text(&place, node, findings) else { continue };
        if value.reference.is_none() && header.as_ref().is_some_and(carries_credentials) {
            let hint = "put the whole value into the environment and write `env:NAME`";
            findings.problem(&place, "a credential stands here literally", hint);
        }
        match (header, HeaderValue::try_from(&value.text)) {
            (Some(header), Ok(mut text)) => {
                text.set_sensitive(value.reference.is_some());
                headers.insert(header, text);
            }
            (_, Err(_)) => {
                findings.problem(&place, "the value cannot stand in a header", "one line of visible text");
            }
            (None, Ok(_)) => {}
        }
    }
    headers
}

/// Headers that the delivery itself sets.
fn refused_header(name: &HeaderName) -> Option<&'static str> {
    let name = name.as_str();
    let framing = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"];
    let ours = name.starts_with("tenterhook-")
        || ["webhook-id", "webhook-timestamp", "webhook-signature", "traceparent"].contains(&name);
    (framing.contains(&name) || ours).then_some("this header is set by the delivery itself")
}

fn carries_credentials(name: &HeaderName) -> bool {
    let name = name.as_str();
    ["authorization", "cookie", "token", "secret", "password", "api-key", "apikey"]
        .iter()
        .any(|word| name.contains(word))
}

/// `resign = "provider"`: the verifiers of the sources that send here. Only a shared secret can sign afresh.
fn resign(
    section: Section<'_>,
    senders: &Senders,
    findings: &mut Findings,
) -> BTreeMap<SourceName, Arc<Verifier>> {
    if section.text("resign").is_none() {
        return BTreeMap::new();
    }
    let place = section.at("resign");
    if !section.flag("trusted") {
        findings.problem(
            &place,
            "signing afresh vouches in the provider's name, and this destination is not `trusted`",
            "add `trusted = true` if it may receive that",
        );
    }
    for (source, verifier) in senders {
        if let Some(reason) = cannot_resign(verifier) {
            let message = format!("source `{source}` sends here, and {reason}");
            findings.problem(&place, message, "remove `resign`, or route that source elsewhere");
        }
    }
    senders.iter().cloned().collect()
}

fn cannot_resign(verifier: &Verifier) -> Option<&'static str> {
    let scheme = verifier.scheme();
    if scheme.is_unsigned() {
        Some("it verifies nothing, so there is no signature to make afresh")
    } else if scheme.is_asymmetric() {
        Some("its provider signs with a private key that only the provider has")
    } else if scheme.is_token() {
        Some("its provider sends a token and signs nothing")
    } else if scheme.signs_inside() {
        Some("its provider signs inside the body or the URL, and these go on as they came")
    } else if verifier.secrets().is_empty() {
        Some("it has no secret to sign with")
    } else {
        None
    }
}

fn lane(section: Section<'_>, findings: &mut Findings) -> LanePolicy {
    LanePolicy {
        concurrency: section.integer("concurrency").unwrap_or(1),
        rate: section.rate("rate"),
        timeout: section.set_duration("timeout"),
        retry: retry(section, findings),
        breaker: breaker(section),
        batch_max: 1,
    }
}

fn retry(section: Section<'_>, findings: &mut Findings) -> RetryPolicy {
    let path = format!("{}.retry", section.path());
    let retry = section.inner("retry", &path);
    let policy = RetryPolicy {
        base: retry.set_duration("base"),
        cap: retry.set_duration("cap"),
        jitter: retry.decimal("jitter").unwrap_or_default(),
        attempts_max: retry.integer("attempts_max").unwrap_or(1),
    };
    if policy.base > policy.cap {
        findings.problem(&retry.at("base"), "`base` is longer than `cap`", "");
    }
    policy
}

fn breaker(section: Section<'_>) -> BreakerPolicy {
    let path = format!("{}.breaker", section.path());
    let breaker = section.inner("breaker", &path);
    let rate_path = format!("{path}.rate");
    let rate = breaker.has("rate").then(|| breaker.inner("rate", &rate_path));
    BreakerPolicy {
        failures: breaker.integer("failures").unwrap_or(1),
        rate: rate.map(|rate| FailureRate {
            share: rate.decimal("share").unwrap_or(1.0),
            window: rate.set_duration("window"),
            attempts_min: rate.integer("attempts_min").unwrap_or(1),
        }),
        probe_every: breaker.set_duration("probe_every"),
        successes: breaker.integer("successes").unwrap_or(1),
    }
}
