//! Every provider of the catalog, configured as `init` writes it: its sample is signed by its own scheme, sent over a socket,
//! taken once, and with one bit changed refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tenterhook::config::{self, init};
use tenterhook::source::Source;
use tenterhook_verify::{Provider, Request, Secret, catalog};

use super::support::{Gateway, NOW, Post};

/// A secret in the provider's own form: that of a request of its vectors, where it is long enough for a config.
fn secret_of(provider: &Provider) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tenterhook-verify/tests/vectors")
        .join(format!("{}.json", provider.name));
    let vectors: Vec<serde_json::Value> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let usual = vectors.iter().filter(|vector| vector["expect"] == "valid" && vector.get("scheme").is_none());
    let secret = |vector: &serde_json::Value| {
        let named = || vector.pointer("/params/key_ids")?.as_object()?.values().next()?.as_str();
        let found = ["/secret", "/secrets/0"].iter().find_map(|place| vector.pointer(place)?.as_str());
        let found = found.or_else(named)?;
        (found.len() >= 16).then(|| found.to_owned())
    };
    usual.filter_map(secret).next().unwrap_or_else(|| "0123456789abcdef0123456789abcdef".to_owned())
}

/// The source that `init` writes for a provider; `None` where its key is a public one, with which nobody can sign.
fn source(provider: &Provider, directory: &Path) -> Option<Source> {
    let start = init::start(provider, "http://127.0.0.1:3000/hooks");
    let path = directory.join(format!("{}.toml", provider.name));
    fs::write(&path, &start.config).unwrap();
    let secret = secret_of(provider);
    let environment: BTreeMap<_, _> =
        start.variables.iter().map(|(name, _)| (name.clone(), secret.clone())).collect();
    let config = config::load(&path, &environment, NOW).ok()?;
    let source = config.sources.first()?;
    if !provider.handshakes.learn() {
        return Some(Source::clone(source));
    }
    // Its key comes by a handshake.
    let verifier = source.verifier.with_secrets(vec![Secret::new(secret)]).unwrap();
    Some(Source { verifier, ..Source::clone(source) })
}

/// The provider's first sample as it arrives; `None` where the scheme cannot sign.
fn sample(source: &Source) -> Option<Post> {
    let provider = source.provider?;
    let now = u64::try_from(NOW.millis() / 1000).unwrap();
    let (headers, body) = provider.samples.first()?.fill("0123456789abcdef0123456789abcdef", now);
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(&value).unwrap());
    }
    let url = source.public_url.as_deref();
    let request = Request { method: &Method::POST, url, headers: &map, body: body.as_bytes() };
    let sealed = source.verifier.seal(&request, Some("msg_1"), NOW.to_system()).ok()?;
    let query = sealed.url.as_deref().and_then(|url| url.split_once('?'));
    let target = query.map_or_else(|| source.path.clone(), |(_, query)| format!("{}?{query}", source.path));
    for name in sealed.headers.keys() {
        map.remove(name);
    }
    let mut post = Post::to(&target, sealed.body.unwrap_or_else(|| body.into_bytes()));
    for (name, value) in map.iter().chain(&sealed.headers) {
        post = post.with(name.as_str(), value.as_bytes());
    }
    Some(post)
}

#[tokio::test]
async fn every_provider_is_taken_as_init_configures_it_and_refused_with_a_bit_changed() {
    let directory = tempfile::tempdir().unwrap();
    let mut sources: Vec<Source> = catalog().iter().filter_map(|it| source(it, directory.path())).collect();
    // No handler runs here whose answer could be passed on.
    sources.iter_mut().for_each(|source| source.respond = None);
    let gateway = Gateway::start(sources.clone()).await;
    let (mut taken, mut wrong) = (0, Vec::new());
    for source in &sources {
        let Some(post) = sample(source).filter(|_| !source.verifier.scheme().is_unsigned()) else { continue };
        let answer = gateway.ask(post.bytes()).await;
        if answer.status != 202 {
            wrong.push(format!("{}: {} {}", source.name, answer.status, answer.body));
            continue;
        }
        taken += 1;
        // A token proves nothing about a body, and some sign only a few of its fields.
        let anywhere = "json:/any".parse().unwrap();
        if source.verifier.scheme().covers(&anywhere) && !post.body.is_empty() {
            let mut changed = post.clone();
            let middle = changed.body.len() / 2;
            changed.body[middle] ^= 1;
            let answer = gateway.ask(changed.bytes()).await;
            if !matches!(answer.status, 400 | 401) {
                wrong.push(format!("{}, changed: {} {}", source.name, answer.status, answer.body));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(taken >= 80, "only {taken} providers could sign");
}
