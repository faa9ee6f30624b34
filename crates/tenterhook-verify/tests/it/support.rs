//! Schemes of every sort with keys that sign, and requests that they signed: what tampering and round trips begin with.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use super::coded;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use tenterhook_verify::provider::catalog;
use tenterhook_verify::{
    Reason, Request, Scheme, SchemeSpec, Secret, Settings, SpecError, Verifier, VerifyError,
};

pub(crate) const SECRET: &str = "a-secret-of-the-verify-tests-0123";
const OTHER: &str = "a-secret-of-somebody-else-altogether";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WHSEC_OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const WHSK: &str = "whsk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
const WHSK_OTHER: &str = "whsk_CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The clock of these tests.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

/// A scheme with two keys, and a request for it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) scheme: Scheme,
    pub(crate) secret: Secret,
    pub(crate) other: Secret,
    pub(crate) settings: Settings,
    pub(crate) url: String,
    /// Before it is signed.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether the scheme reads something out of the body, so that not any body will do.
    pub(crate) reads_body: bool,
    /// Whether the prefix of the signature may be missing.
    pub(crate) prefix_optional: bool,
    /// Whether the sender chooses the MAC, and names it by the prefix.
    pub(crate) mac_by_prefix: bool,
    /// Whether base64url may come with its padding or without.
    pub(crate) padding_optional: bool,
    /// Whether every byte of the body is signed as it stands.
    pub(crate) signs_body: bool,
    /// Whether the signature covers nothing of the body.
    pub(crate) body_is_free: bool,
    /// The name of a scheme that is code.
    pub(crate) coded: Option<String>,
}

impl Case {
    pub(crate) fn verifier(&self) -> Verifier {
        self.verifier_with(vec![self.secret.clone()]).unwrap()
    }

    /// The case's scheme and settings with other secrets.
    pub(crate) fn verifier_with(&self, secrets: Vec<Secret>) -> Result<Verifier, Vec<SpecError>> {
        Verifier::new(self.scheme.clone(), secrets)?.with_settings(self.settings.clone())
    }

    /// Signs `body` for `id` at `now`.
    pub(crate) fn sign(&self, id: &str, body: &[u8], now: SystemTime) -> Signed {
        let verifier = self.verifier();
        let request = Request { method: &Method::POST, url: Some(&self.url), headers: &self.headers, body };
        let made =
            verifier.seal(&request, Some(id), now).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let mut headers = self.headers.clone();
        headers.extend(made.headers.clone());
        let mut names: Vec<HeaderName> = made.headers.keys().cloned().collect();
        names.extend(self.scheme.signature_headers().into_iter().filter(|name| headers.contains_key(name)));
        names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        // What the body says it is, is not signed, and another reader's business.
        // So is where a key would be fetched, once one is configured.
        names.retain(|name| name != "content-type" && name != "paypal-cert-url");
        let (body, url) = (made.body.unwrap_or_else(|| body.to_vec()), made.url);
        let url = url.unwrap_or_else(|| self.url.clone());
        Signed { verifier, names, headers, url, body }
    }

    /// The case's own request, signed.
    pub(crate) fn signed(&self) -> Signed {
        let signed = self.sign("msg_1", &self.body, now());
        assert_eq!(signed.verify(&signed.headers, &signed.body), Ok(()), "{}", self.name);
        signed
    }

    /// Whether nothing is signed, and a secret only shown.
    pub(crate) fn is_token(&self) -> bool {
        self.scheme.is_token()
    }
}

/// A request that verifies.
pub(crate) struct Signed {
    pub(crate) verifier: Verifier,
    /// The headers that the scheme reads.
    pub(crate) names: Vec<HeaderName>,
    pub(crate) headers: HeaderMap,
    pub(crate) url: String,
    pub(crate) body: Vec<u8>,
}

impl Signed {
    /// What screening and verification together say, as a gateway asks them.
    pub(crate) fn judge(&self, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Result<(), VerifyError> {
        let request = Request { method: &Method::POST, url: Some(&self.url), headers, body };
        let verified = self.verifier.verify(&request, now).map(drop);
        if verified.is_ok() {
            self.verifier.screen(headers, now).expect("the head refuses what verifies as a whole");
        }
        verified
    }

    pub(crate) fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Reason> {
        self.judge(headers, body, now()).map_err(|error| error.reason)
    }

    /// With one header set to other bytes, if a header can hold them.
    pub(crate) fn with(&self, name: &HeaderName, value: &[u8]) -> Option<HeaderMap> {
        let mut headers = self.headers.clone();
        headers.insert(name, HeaderValue::from_bytes(value).ok()?);
        Some(headers)
    }
}

/// Two private keys, made once.
struct Keys([Secret; 2]);

fn pem(der: &[u8]) -> Secret {
    Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", BASE64.encode(der)))
}

static RSA: LazyLock<Keys> = LazyLock::new(|| {
    Keys([(); 2].map(|()| pem(RsaKeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap().as_ref())))
});

static P256: LazyLock<Keys> = LazyLock::new(|| {
    let random = aws_lc_rs::rand::SystemRandom::new();
    Keys([(); 2].map(|()| {
        pem(EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap().as_ref())
    }))
});

/// Schemes in the words of the grammar. The key's sort stands in front.
const WRITTEN: &[(&str, &str)] = &[
    (
        "utf8",
        r#"mac = "hmac-sha256"
        encoding = "hex""#,
    ),
    (
        "utf8",
        r#"mac = "hmac-sha1"
        encoding = "base64"
        prefix = "sha1=""#,
    ),
    (
        "utf8",
        r#"mac = "hmac-sha384"
        encoding = "base64url""#,
    ),
    (
        "hex",
        r#"mac = "hmac-sha512"
        encoding = "hex"
        key = "hex""#,
    ),
    (
        "base64",
        r#"mac = "hmac-sha256"
        encoding = "base64"
        key = "base64"
        key_prefix = ["sec_", "whsec_"]"#,
    ),
    (
        "utf8",
        r#"mac = "hmac-sha256"
        encoding = "hex"
        content = "v0:{t}:{header:X-Id}:{body}"
        timestamp = { header = "X-Time", tolerance = "1m" }"#,
    ),
    (
        "utf8",
        r#"mac = "hmac-sha256"
        encoding = "base64"
        content = "{t}.{body}"
        timestamp = { header = "X-Time", unit = "ms" }"#,
    ),
    (
        "utf8",
        r#"mac = "hmac-sha256"
        encoding = "hex"
        content = "{t}|{{{body}}}"
        timestamp = { header = "X-Time", unit = "rfc3339" }"#,
    ),
    (
        "utf8",
        r#"mac = "hmac-sha256"
        encoding = "hex"
        content = "{json:/created}.{body}"
        timestamp = { json = "/created" }"#,
    ),
    (
        "utf8",
        r#"mac = "hmac-sha256"
        encoding = "hex"
        content = "{method}\n{url}\n{query:a}\n{header:X-Id}\n{body}""#,
    ),
    (
        "utf8",
        r#"mac = "hmac-sha256"
        encoding = "hex"
        content = "{body}{t}"
        list = { items = ";" }
        timestamp = { list = "0", unit = "ms" }"#,
    ),
    (
        "utf8",
        r#"mac = "hmac-sha256"
        encoding = "hex"
        content = "{t}.{body}"
        list = { groups = " ", items = ",", kv = "=", signature = "v1", timestamp = "t" }"#,
    ),
    (
        "utf8",
        r#"mac = "hmac-sha256"
        encoding = "hex"
        key_id = "X-Key"
        require = { "X-Version" = "2" }"#,
    ),
    (
        "ed25519",
        r#"algorithm = "ed25519"
        encoding = "hex"
        content = "{t}{body}"
        timestamp = { header = "X-Time", future = false }"#,
    ),
    (
        "rsa",
        r#"algorithm = "rsa-sha256"
        encoding = "base64url""#,
    ),
    (
        "p256",
        r#"algorithm = "ecdsa-p256-sha256"
        encoding = "base64"
        prefix = "p256=""#,
    ),
    ("utf8", r#"algorithm = "token""#),
    (
        "utf8",
        r#"algorithm = "token"
        prefix = "Bearer ""#,
    ),
    ("basic", r#"algorithm = "basic""#),
];

pub(crate) fn keys(sort: &str) -> [Secret; 2] {
    match sort {
        "hex" => ["00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"].map(Secret::new),
        "base64" => ["sec_AAECAwQFBgcICQoLDA0ODw==", "sec_DwECAwQFBgcICQoLDA0OAA=="].map(Secret::new),
        "whsec" => [WHSEC, WHSEC_OTHER].map(Secret::new),
        "ed25519" => [WHSK, WHSK_OTHER].map(Secret::new),
        "basic" => ["user:a-password-of-the-tests", "user:another-password"].map(Secret::new),
        "rsa" => RSA.0.clone(),
        "p256" => P256.0.clone(),
        _ => [SECRET, OTHER].map(Secret::new),
    }
}

fn case(name: String, scheme: Scheme, sort: &str) -> Case {
    let [secret, other] = keys(sort);
    let mut headers = HeaderMap::new();
    for (header, value) in [("content-type", JSON), ("x-id", "msg_1"), ("x-key", "k1")] {
        headers.insert(header, HeaderValue::from_static(value));
    }
    Case {
        name,
        scheme,
        secret: secret.with_id("k1"),
        other: other.with_id("k1"),
        settings: Settings::default(),
        url: "https://hooks.example.com/in?a=1".to_owned(),
        headers,
        body: br#"{"id":"evt_1","created":1790000000,"data":[1,2]}"#.to_vec(),
        reads_body: false,
        prefix_optional: false,
        mac_by_prefix: false,
        padding_optional: false,
        signs_body: true,
        body_is_free: false,
        coded: None,
    }
}

/// The scheme of a provider with the sort of key that it takes; `None` where nothing is signed, or where the signature
/// stands in the body, into which `sign` cannot write.
fn provider_case(name: &str, scheme: &Scheme, spec: &SchemeSpec) -> Option<Case> {
    let in_header =
        !spec.header.is_empty() || spec.algorithm.as_deref() == Some("basic") || spec.scheme.is_some();
    if scheme.is_unsigned() || !in_header {
        return None;
    }
    let fits = |sort: &&&str| {
        let basic = spec.algorithm.as_deref() == Some("basic");
        basic == (**sort == "basic") && Verifier::new(scheme.clone(), keys(sort).to_vec()).is_ok()
    };
    let sort = ["utf8", "whsec", "base64", "hex", "ed25519", "p256", "rsa", "basic"].iter().find(fits)?;
    let mut case = case(name.to_owned(), scheme.clone(), sort);
    if let Some(slot) = spec.slots.values().next() {
        case.secret = case.secret.with_id(slot);
        case.other = case.other.with_id(slot);
    }
    if let Some(pointer) = spec.timestamp.as_ref().and_then(|timestamp| timestamp.json.as_deref()) {
        let field = pointer.trim_start_matches('/');
        let millis = spec.timestamp.as_ref().and_then(|timestamp| timestamp.unit.as_deref()) == Some("ms");
        let zeros = if millis { "000" } else { "" };
        case.body = format!("{{\"id\":\"evt_1\",\"{field}\":1790000000{zeros},\"data\":[1,2]}}").into_bytes();
        case.reads_body = true;
    }
    case.reads_body |= spec.body_required;
    case.prefix_optional = spec.macs.contains_key("");
    case.mac_by_prefix = !spec.macs.is_empty() && !case.prefix_optional;
    case.padding_optional = spec.encoding.as_deref() == Some("base64url");
    match &spec.scheme {
        Some(scheme) => coded::prepared(case, scheme),
        None => Some(case),
    }
}

/// Every scheme of the catalog, and every sort that the grammar can say.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for provider in catalog() {
        cases.extend(provider_case(&provider.name, &provider.scheme, &provider.spec));
        for (name, scheme) in &provider.alternatives {
            let spec = provider.alternative_spec(name).unwrap();
            // Several providers call an alternative `token`.
            let name = if name.contains('-') { name.clone() } else { format!("{} {name}", provider.name) };
            cases.extend(provider_case(&name, scheme, spec));
        }
    }
    let twilio = cases.iter().find(|case| case.name == "twilio").map(|case| case.scheme.clone()).unwrap();
    let mut hashed = case("twilio by the hash of the body".to_owned(), twilio, "utf8");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &hashed.body);
    hashed.url = format!("{}&bodySHA256={}", hashed.url, data_encoding::HEXLOWER.encode(hash.as_ref()));
    hashed.reads_body = true;
    cases.push(hashed);
    for (sort, written) in WRITTEN {
        let header = if *sort == "basic" { "" } else { "header = \"X-Sig\"\n" };
        let written = format!("{header}{written}");
        let mut case = case(written.clone(), compiled(&written), sort);
        case.reads_body = written.contains("json");
        cases.push(case);
    }
    let many = "header = \"X-Sig-*\"\nmac = \"hmac-sha256\"\nencoding = \"base64\"";
    cases.push(case(many.to_owned(), compiled(many), "utf8"));
    cases
}

/// A scheme as written.
pub(crate) fn compiled(written: &str) -> Scheme {
    let spec: SchemeSpec = toml::from_str(written).unwrap_or_else(|error| panic!("{written}\n{error}"));
    spec.compile().unwrap_or_else(|errors| panic!("{written}\n{errors:?}"))
}

static POST: Method = Method::POST;

/// A request to `url`.
pub(crate) fn post<'r>(url: &'r str, headers: &'r HeaderMap, body: &'r [u8]) -> Request<'r> {
    Request { method: &POST, url: Some(url), headers, body }
}

/// Runs `test` on `count` inputs; the seed is printed, and `TENTERHOOK_SEED` repeats it.
pub(crate) fn check<S: Strategy>(
    count: u32,
    inputs: S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let given = std::env::var("TENTERHOOK_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    println!("seed {seed} (TENTERHOOK_SEED={seed} repeats it)");
    let rng_seed = RngSeed::Fixed(seed);
    let config = Config { cases: count, rng_seed, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&inputs, test).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
}
