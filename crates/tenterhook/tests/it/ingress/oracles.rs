//! Every handshake of the catalog over a socket: granted in the provider's own shape, and refused in every other. A refusal
//! says the same few words whatever was asked, so nothing that a stranger chose is ever signed or repeated.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use tenterhook::ingress::{Confirm, IngressSettings, KeepError, KeepKey, LearntKey};
use tenterhook::model::{Registration, Timestamp};
use tenterhook::source::Source;
use tenterhook_verify::handshake::HandshakeSpec;
use tenterhook_verify::{HandshakeSettings, Provider, Request, Secret, Settings, Verifier};

use super::support::{Gateway, NOW, Post, catalog, custom};
use super::wire::Answer;

/// What a refusal may say.
const TOLD: [&str; 4] = [
    "this handshake is not granted",
    "the request is not authentic",
    "the timestamp is missing, malformed or outside the tolerance",
    "the request does not hold what its signature covers, or too much of it",
];

/// Does everything that a handshake asks for, and remembers it.
#[derive(Debug, Default)]
struct Willing {
    confirmed: Mutex<Vec<String>>,
    learnt: Mutex<usize>,
}

#[async_trait]
impl Confirm for Willing {
    async fn confirm(&self, url: &str) -> Result<(), String> {
        self.confirmed.lock().unwrap().push(url.to_owned());
        Ok(())
    }
}

#[async_trait]
impl KeepKey for Willing {
    async fn keep(&self, _: LearntKey) -> Result<(), KeepError> {
        *self.learnt.lock().unwrap() += 1;
        Ok(())
    }
}

async fn gateway(source: Source, now: Timestamp, is_pending: bool) -> (Gateway, Arc<Willing>) {
    let willing = Arc::new(Willing::default());
    let settings = IngressSettings {
        confirm: Some(Arc::clone(&willing) as Arc<dyn Confirm>),
        keeper: Some(Arc::clone(&willing) as Arc<dyn KeepKey>),
        ..IngressSettings::default()
    };
    let name = source.name.clone();
    let gateway = Gateway::start_with(vec![source], settings).await;
    gateway.clock.set(now);
    if is_pending {
        gateway.ingress.registrations().open(&name, Registration::default(), now);
    }
    (gateway, willing)
}

/// Refused in the words of every refusal, with nothing of what was asked in it, and nothing done or stored.
fn refused(case: &str, answer: &Answer, asked: &str, gateway: &Gateway, willing: &Willing) {
    assert!((400..500).contains(&answer.status), "{case}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{case}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{case}");
    let problem: BTreeMap<String, Value> = serde_json::from_str(&answer.body).unwrap();
    let known = ["correlation_id", "detail", "status", "title", "type"];
    assert!(problem.keys().eq(known), "{case}: {answer:?}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(TOLD.contains(&detail) || detail.starts_with("only POST"), "{case}: {detail}");
    let usual =
        ["content-", "cache-", "x-content-type", "tenterhook-correlation", "allow", "date", "connection"];
    for (name, value) in &answer.headers {
        let name = name.to_ascii_lowercase();
        assert!(usual.iter().any(|known| name.starts_with(known)), "{case}: {name}: {value}");
        assert!(asked.len() < 4 || !value.contains(asked), "{case}: {name}: {value}");
    }
    assert!(gateway.stored().is_empty(), "{case}");
    assert!(willing.confirmed.lock().unwrap().is_empty() && *willing.learnt.lock().unwrap() == 0, "{case}");
}

/// Granted as text or JSON that nobody takes for a page.
fn granted(case: &str, answer: &Answer) {
    assert!((200..300).contains(&answer.status), "{case}: {answer:?}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{case}");
    let kind = answer.header("content-type");
    let is_plain = matches!(kind, Some("text/plain; charset=utf-8" | "application/json"));
    assert!(is_plain || answer.body.is_empty(), "{case}: {answer:?}");
}

fn providers() -> Vec<&'static Provider> {
    tenterhook_verify::catalog().iter().filter(|provider| !provider.handshakes.is_empty()).collect()
}

fn vectors(provider: &Provider) -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../tenterhook-verify/tests/vectors/{}.json", provider.name));
    let all: Vec<Value> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    all.into_iter().filter(|vector| vector["name"].as_str().unwrap().starts_with("handshake: ")).collect()
}

fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    value.as_array().into_iter().flatten().filter_map(text).collect()
}

/// The source that a recorded handshake was asked of.
fn source_of(vector: &Value) -> Source {
    let provider = catalog(vector["provider"].as_str().unwrap());
    let scheme = provider.scheme(vector["scheme"].as_str()).unwrap().clone();
    let params = &vector["params"];
    let mut secrets: Vec<_> =
        ["secret", "public_key_pem"].iter().filter_map(|name| vector[name].as_str()).collect();
    secrets.extend(params["auth_header"].as_str().or(params["query_secret"].as_str()));
    let mut secrets: Vec<_> = secrets.into_iter().map(Secret::new).collect();
    secrets.extend(texts(&vector["secrets"]).into_iter().map(Secret::new));
    let settings = scheme.settings().iter().fold(Settings::default(), |settings, setting| {
        match (&params[setting.name], texts(&params[setting.name])) {
            (Value::String(text), _) => settings.with(setting.name, text.as_str()),
            (Value::Array(_), texts) => settings.with(setting.name, texts),
            _ => settings,
        }
    });
    let verifier = Verifier::new(scheme, secrets).unwrap().with_settings(settings).unwrap();
    let handshake_settings = HandshakeSettings {
        verify_token: params["verify_token"].as_str().map(Secret::new),
        topics: texts(&params["pending_topics"]),
        allowed_origins: texts(&params["allowed_origins"]),
        service_ids: texts(&params["service_ids"]),
        key_name: params["public_key"].as_str().map(str::to_owned),
        pending: false,
    };
    let url = params["callback_url"].as_str().or(vector["url"].as_str());
    let asked_at = target(vector["url"].as_str().unwrap_or(IN)).split('?').next().unwrap();
    let is_elsewhere = provider.handshakes.paths().any(|path| path == asked_at);
    Source {
        provider: Some(provider),
        handshakes: provider.handshakes.clone(),
        handshake_settings,
        path: if is_elsewhere { "/in" } else { asked_at }.to_owned(),
        public_url: url.map(|url| url.split('?').next().unwrap().to_owned()),
        ..custom("asked", verifier)
    }
}

/// Path and query of a URL.
fn target(url: &str) -> &str {
    let rest = url.split_once("://").unwrap().1;
    rest.find('/').map_or("/", |start| &rest[start..])
}

fn bytes(method: &str, post: &Post) -> Vec<u8> {
    let mut bytes = post.head(method);
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", post.body.len()).as_bytes());
    bytes.extend_from_slice(&post.body);
    bytes
}

#[tokio::test]
async fn every_recorded_handshake_is_answered_over_a_socket_as_its_provider_wants_it_or_refused() {
    let mut count = 0;
    for provider in providers() {
        let recorded = vectors(provider);
        let is_granted = |vector: &&Value| vector["expect"].as_str().unwrap().starts_with("challenge:");
        assert!(recorded.iter().any(|vector| is_granted(&vector)), "{}: none is granted", provider.name);
        for vector in &recorded {
            count += 1;
            run(vector).await;
        }
    }
    assert!(count >= 85, "{count}");
}

async fn run(vector: &Value) {
    let case = format!("{} {}", vector["provider"], vector["name"]);
    let is_pending = vector["params"]["handshake_pending"] == true;
    let now = Timestamp::from_millis(vector["now_unix"].as_i64().unwrap_or(NOW.millis() / 1000) * 1000);
    let (gateway, willing) = gateway(source_of(vector), now, is_pending).await;
    let body = BASE64.decode(vector["body_b64"].as_str().unwrap().as_bytes()).unwrap();
    let mut post = Post::to(target(vector["url"].as_str().unwrap_or(IN)), body);
    for (name, value) in vector["headers"].as_object().unwrap() {
        post = post.with(name, value.as_str().unwrap());
    }
    let answer = gateway.ask(bytes(vector["method"].as_str().unwrap(), &post)).await;
    match vector["expect"].as_str().unwrap().split_once(':') {
        Some(("challenge", wanted)) => {
            granted(&case, &answer);
            let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
            assert!(
                answer.body == wanted || (parsed(wanted).is_some() && parsed(&answer.body) == parsed(wanted)),
                "{case}: {answer:?}"
            );
        }
        _ => refused(&case, &answer, "<script>", &gateway, &willing),
    }
}

/// One request of a handshake, place by place.
#[derive(Clone)]
struct Asked {
    method: String,
    path: String,
    places: Vec<(String, String)>,
}

impl Asked {
    /// In the provider's own shape, with `challenge` and what the source is configured with.
    fn of(spec: &HandshakeSpec, challenge: &str) -> Self {
        let mut places: Vec<_> = spec
            .when
            .iter()
            .map(|(at, wanted)| {
                (at.clone(), if wanted == "*" { challenge.to_owned() } else { wanted.clone() })
            })
            .collect();
        for (at, setting) in &spec.expect {
            places.retain(|(known, _)| known != at);
            places.push((at.clone(), configured(setting).to_owned()));
        }
        if let Some(at) = spec.challenge.as_ref().filter(|at| !spec.expect.contains_key(*at)) {
            places.retain(|(known, _)| known != at);
            places.push((at.clone(), challenge.to_owned()));
        }
        let path = spec.path.clone().unwrap_or_else(|| "/in".to_owned());
        Self { method: spec.method.clone().unwrap_or_else(|| "POST".to_owned()), path, places }
    }

    fn setting(mut self, at: &str, value: &str) -> Self {
        self.places.retain(|(known, _)| known != at);
        self.places.push((at.to_owned(), value.to_owned()));
        self
    }

    fn kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.places.iter().filter_map(move |(at, value)| Some((at.strip_prefix(kind)?, value.as_str())))
    }

    /// Without a signature.
    fn post(&self) -> Post {
        let form =
            |kind| form_urlencoded::Serializer::new(String::new()).extend_pairs(self.kind(kind)).finish();
        let (query, mut body) = (form("query:"), form("form:").into_bytes());
        let mut object = Value::Null;
        self.kind("json:").for_each(|(pointer, value)| put(&mut object, pointer, value));
        if object != Value::Null {
            body = object.to_string().into_bytes();
        }
        let target = if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) };
        self.kind("header:").fold(Post::to(&target, body), |post, (name, value)| post.with(name, value))
    }

    /// Signed by the source's own scheme; `None` where its key is a public one.
    fn signed(&self, source: &Source) -> Option<Post> {
        let mut post = self.post();
        let mut headers = HeaderMap::new();
        for (name, value) in self.kind("header:") {
            headers.append(name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?);
        }
        let url = format!("https://hooks.example.com{}", post.target);
        let method: Method = self.method.parse().unwrap();
        let request = Request { method: &method, url: Some(&url), headers: &headers, body: &post.body };
        let sealed = source.verifier.seal(&request, Some("m-1"), NOW.to_system()).ok()?;
        for (name, value) in &sealed.headers {
            post = post.setting(name.as_str(), value.as_bytes());
        }
        if let Some(url) = &sealed.url {
            post.target = target(url).to_owned();
        }
        Some(post)
    }
}

/// Puts a text where a JSON pointer says.
fn put(object: &mut Value, pointer: &str, value: &str) {
    let mut at = object;
    for segment in pointer.split('/').skip(1) {
        at = match segment.parse::<usize>() {
            Ok(0) => {
                if !at.is_array() {
                    *at = json!([{}]);
                }
                &mut at[0]
            }
            _ => {
                if !at.is_object() {
                    *at = json!({});
                }
                &mut at[segment]
            }
        };
    }
    *at = value.into();
}

/// Where handshakes arrive that were recorded without a URL.
const IN: &str = "https://hooks.example.com/in";
const TOKEN: &str = "a-verify-token-0123456789";
const TOPIC: &str = "https://example.com/feed";
const ORIGIN: &str = "sender.example.com";

fn configured(setting: &str) -> &'static str {
    match setting {
        "verify_token" => TOKEN,
        "topics" => TOPIC,
        "allowed_origins" => ORIGIN,
        other => panic!("`{other}` is no setting"),
    }
}

/// A challenge as the provider sends it.
fn challenge_of(spec: &HandshakeSpec) -> &'static str {
    match (spec.characters.as_deref(), &spec.challenge) {
        (_, Some(at)) if spec.expect.contains_key(at) => ORIGIN,
        (Some("digits"), _) => "1158201444",
        (Some("hex"), _) => "20f9f8ed05f77439fe955c977e4c8a53",
        _ => "qgg8vlvZRS6UYooatFL8Aw-1",
    }
}

/// A source with a secret and everything that its handshakes are held against; `None` where its key is a public one.
fn source(provider: &'static Provider) -> Option<Source> {
    let settings = provider.scheme.settings().iter().fold(Settings::default(), |settings, setting| {
        if setting.name == "public_key" { settings.with(setting.name, "key-1") } else { settings }
    });
    let secret = Secret::new("0123456789abcdef0123456789abcdef");
    let verifier = Verifier::new(provider.scheme.clone(), vec![secret]).ok()?.with_settings(settings).ok()?;
    let signs_url = provider.scheme.signs_url();
    let handshake_settings = HandshakeSettings {
        verify_token: Some(Secret::new(TOKEN)),
        topics: vec![TOPIC.to_owned()],
        allowed_origins: vec![ORIGIN.to_owned()],
        service_ids: vec!["6WlbRM7ZkWOKNUqy5cNPlj".to_owned()],
        key_name: Some("key-1".to_owned()),
        pending: false,
    };
    Some(Source {
        provider: Some(provider),
        handshakes: provider.handshakes.clone(),
        handshake_settings,
        path: "/in".to_owned(),
        public_url: signs_url.then(|| "https://hooks.example.com/in".to_owned()),
        ..custom("asked", verifier)
    })
}

/// The handshakes of every provider, as the catalog writes them.
fn written() -> Vec<(String, HandshakeSpec)> {
    #[derive(serde::Deserialize)]
    struct File {
        provider: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        name: String,
        #[serde(default)]
        handshake: Vec<HandshakeSpec>,
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tenterhook-verify/catalog");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let read = |path| toml::from_str::<File>(&fs::read_to_string(path).unwrap()).unwrap().provider;
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .flat_map(read)
        .flat_map(|Entry { name, handshake }| handshake.into_iter().map(move |spec| (name.clone(), spec)))
        .collect()
}

/// What a stranger would like to have signed or repeated.
fn wishes() -> Vec<String> {
    let wishes = [
        "<script>alert(1)</script>",
        "{\"id\":\"evt_1\",\"type\":\"paid\"}",
        "v0:1700000000:{}",
        "caf\u{e9}",
        "",
    ];
    let mut wishes: Vec<String> = wishes.iter().map(ToString::to_string).collect();
    wishes.push("a".repeat(2000));
    wishes.push("ok\r\nset-cookie: a=b".to_owned());
    wishes
}

#[tokio::test]
async fn nothing_that_a_stranger_chose_is_signed_or_repeated() {
    let (mut by_rule, mut public) = (0, Vec::new());
    for (name, spec) in written() {
        let provider = catalog(&name);
        let needs_proof = spec.verify.is_none();
        let Some(source) = source(provider) else {
            public.push(name);
            continue;
        };
        let good = Asked::of(&spec, challenge_of(&spec));
        let signs = |asked: &Asked| if needs_proof { asked.signed(&source) } else { Some(asked.post()) };
        let Some(post) = signs(&good) else {
            public.push(name);
            continue;
        };
        by_rule += 1;
        let case = format!("{name} {} {}", good.method, post.target);
        let is_pending = spec.pending == Some(true) || spec.learn.is_some();
        let (fresh, _) = gateway(source.clone(), NOW, is_pending).await;
        granted(&case, &fresh.ask(bytes(&good.method, &post)).await);
        assert!(fresh.stored().is_empty(), "{case}");

        let (gateway, willing) = gateway(source.clone(), NOW, is_pending).await;
        let mut attempts = Vec::new();
        if let Some(at) = spec.challenge.as_ref().filter(|at| !spec.expect.contains_key(*at)) {
            for wish in wishes().into_iter().filter(|wish| is_a_wish(&spec, at, wish)) {
                attempts.push((signs(&good.clone().setting(at, &wish)), wish));
            }
        }
        for at in spec.expect.keys() {
            attempts
                .push((signs(&good.clone().setting(at, "evil.example.com")), "evil.example.com".to_owned()));
        }
        if needs_proof {
            attempts.push((Some(good.post()), challenge_of(&spec).to_owned()));
        }
        for (post, wish) in attempts {
            let Some(post) = post else { continue };
            let case = format!("{case}, asked for `{wish:.40}`");
            let answer = gateway.ask(bytes(&good.method, &post)).await;
            refused(&case, &answer, &wish, &gateway, &willing);
        }
    }
    public.sort();
    public.dedup();
    assert!(by_rule >= 24, "{by_rule}");
    // With a public key, or a token in the URL, nobody can sign here: their recorded handshakes are run above.
    assert_eq!(public, ["aws-sns", "azure-event-grid", "discord"]);
}

/// Whether a text is none that the provider would send: of a wide class some of the wishes are.
fn is_a_wish(spec: &HandshakeSpec, at: &str, wish: &str) -> bool {
    let class = spec.characters.as_deref().unwrap_or("token");
    let is_of_wide_class = wish == "v0:1700000000:{}" && class == "line";
    // A header cannot hold these at all.
    let is_unsendable =
        at.starts_with("header:") && (wish.contains('\n') || !wish.is_ascii() || wish.is_empty());
    !is_of_wide_class && !is_unsendable
}
