//! What is fuzzed, as functions of bytes: each reads whatever it is given as a request, a scheme, a place or a key, and
//! panics where something happens that must not. `fuzz/` runs them under a fuzzer, `hostile.rs` under every test run.
//! Knows no test framework.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tenterhook_verify::provider::{Provider, catalog};
use tenterhook_verify::{
    HandshakeSettings, KeyRing, Locator, Request, Scheme, SchemeSpec, Secret, Settings, Verifier,
};

/// A target by its name.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All of them.
pub(crate) const TARGETS: [Target; 5] =
    [("request", request), ("spec", spec), ("locate", locate), ("key", key), ("handshake", handshake)];

/// Keys of every form; each scheme takes those that fit it.
const SECRETS: [&str; 5] = [
    "a-secret-of-the-fuzz-targets-0123",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "00112233445566778899aabbccddeeff",
    "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----",
];

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

/// Every scheme of the catalog with a key that it takes.
static VERIFIERS: LazyLock<Vec<(&Provider, Verifier)>> = LazyLock::new(|| {
    let verifier = |scheme: &Scheme| {
        let with = |secret: &&str| Verifier::new(scheme.clone(), vec![Secret::new(*secret)]).ok();
        let made =
            SECRETS.iter().find_map(with).or_else(|| Verifier::new(scheme.clone(), Vec::new()).ok())?;
        let settings = [
            ("public_key", "our_key"),
            ("expected_audience", "api://hooks"),
            ("tenant", "11111111-2222"),
            ("expected_email", "push@project.iam.gserviceaccount.com"),
            ("webhook_id", "WH-1"),
        ];
        let declared = |name: &str| scheme.settings().iter().any(|setting| setting.name == name);
        let settings = settings.into_iter().filter(|(name, _)| declared(name));
        let settings =
            settings.fold(Settings::default(), |all, (name, value)| all.with(name, value.to_owned()));
        made.clone().with_settings(settings).ok().or(Some(made))
    };
    let all = catalog().iter().flat_map(|provider| {
        let schemes =
            std::iter::once(&provider.scheme).chain(provider.alternatives.iter().map(|(_, scheme)| scheme));
        schemes.filter_map(move |scheme| Some((provider, verifier(scheme)?)))
    });
    all.collect()
});

/// Takes the next piece of `data`: up to the next line break.
fn piece<'d>(data: &mut &'d [u8]) -> &'d [u8] {
    let mut halves = data.splitn(2, |byte| *byte == b'\n');
    let first = halves.next().unwrap_or_default();
    *data = halves.next().unwrap_or_default();
    first
}

/// The first byte chooses a scheme; then a line for the query, and for each header that the scheme reads; then the body.
pub(crate) fn request(mut data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let (provider, verifier) = &VERIFIERS[usize::from(choice) % VERIFIERS.len()];
    data = rest;
    let url = format!("https://hooks.example.com/in?{}", String::from_utf8_lossy(piece(&mut data)));
    let mut headers = HeaderMap::new();
    for name in verifier.scheme().signature_headers() {
        if let Ok(value) = HeaderValue::from_bytes(piece(&mut data)) {
            headers.append(name, value);
        }
    }
    judge(
        provider,
        verifier,
        &Request { method: &Method::POST, url: Some(&url), headers: &headers, body: data },
    );
}

/// Nothing that was made without the secret verifies, and what the head refuses, the whole does.
fn judge(provider: &Provider, verifier: &Verifier, request: &Request<'_>) {
    let screened = verifier.screen(request.headers, now());
    let verdict = verifier.verify_with(request, &KeyRing::default(), now());
    assert_eq!(verdict.is_ok(), verifier.scheme().is_unsigned(), "{}: forged", provider.name);
    assert!(screened.is_ok() || verdict.is_err(), "{}: the head refuses what verifies", provider.name);
    let explained = verifier.explain(request, now());
    assert_eq!(explained.verdict.err(), verdict.err(), "{}: explained otherwise", provider.name);
    let (id, kind) = provider.locate(request);
    assert_eq!(id, provider.event_id.find(request).map(|(id, _)| id), "{}", provider.name);
    assert_eq!(kind, provider.event_type(request), "{}", provider.name);
}

/// A scheme as TOML up to a line of `---`, and a request for it.
pub(crate) fn spec(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (written, body) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let Ok(spec) = toml::from_str::<SchemeSpec>(written) else { return };
    let scheme = match spec.compile() {
        Ok(scheme) => scheme,
        Err(errors) => {
            assert!(
                errors.iter().all(|error| !error.message.is_empty()),
                "a fault without a word: {errors:?}"
            );
            return;
        }
    };
    for secret in SECRETS {
        let Ok(verifier) = Verifier::new(scheme.clone(), vec![Secret::new(secret)]) else { continue };
        let mut headers = HeaderMap::new();
        for (name, line) in scheme.signature_headers().into_iter().zip(body.lines()) {
            headers.extend(HeaderValue::from_str(line).ok().map(|value| (name, value)));
        }
        let url = Some("https://hooks.example.com/in?a=1");
        let request = Request { method: &Method::POST, url, headers: &headers, body: body.as_bytes() };
        let verdict = verifier.verify(&request, now());
        assert!(verdict.is_err() || scheme.is_token(), "forged: {written}");
        // What it can sign it takes.
        let Ok(sealed) = verifier.seal(&request, Some("msg_1"), now()) else { continue };
        headers.extend(sealed.headers);
        let (body, url) = (sealed.body.unwrap_or_else(|| body.into()), sealed.url.or(url.map(str::to_owned)));
        let sealed = Request { method: &Method::POST, url: url.as_deref(), headers: &headers, body: &body };
        let _ = verifier.verify(&sealed, now());
    }
}

/// A line with a place, and a body.
pub(crate) fn locate(mut data: &[u8]) {
    let line = String::from_utf8_lossy(piece(&mut data));
    let (place, rest) = (line.parse::<Locator>(), data);
    let Ok(place) = place else { return };
    let written = place.to_string().parse::<Locator>().expect("what is written is read");
    assert_eq!(written, place);
    let headers = HeaderMap::new();
    let url = format!("https://hooks.example.com/?{}", String::from_utf8_lossy(rest));
    let request = Request { method: &Method::POST, url: Some(&url), headers: &headers, body: rest };
    let found = place.find(&request);
    assert!(found.is_none_or(|value| !value.is_empty()), "an empty value was found");
}

/// The bytes as the secret of every scheme.
pub(crate) fn key(data: &[u8]) {
    for (provider, verifier) in VERIFIERS.iter() {
        match Verifier::new(verifier.scheme().clone(), vec![Secret::new(data)]) {
            Ok(_) => {
                assert!(!data.is_empty() || verifier.scheme().is_unsigned(), "{}: no key", provider.name);
            }
            Err(errors) => {
                assert!(errors.iter().all(|error| error.key == "secrets"), "{errors:?}");
            }
        }
    }
}

/// As [`request`], for what a provider asks before it sends; the second byte chooses the method.
pub(crate) fn handshake(data: &[u8]) {
    let [choice, method, rest @ ..] = data else { return };
    let (provider, verifier) = &VERIFIERS[usize::from(*choice) % VERIFIERS.len()];
    let method = [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS][usize::from(method % 4)].clone();
    let mut data = rest;
    let url = format!("https://hooks.example.com/in?{}", String::from_utf8_lossy(piece(&mut data)));
    let mut headers = HeaderMap::new();
    for name in ["x-hook-secret", "aeg-event-type", "webhook-request-origin", "x-goog-resource-state"] {
        let name = HeaderName::from_static(name);
        headers.extend(HeaderValue::from_bytes(piece(&mut data)).ok().map(|value| (name, value)));
    }
    let request = Request { method: &method, url: Some(&url), headers: &headers, body: data };
    let settings = HandshakeSettings::default();
    let _ = provider.handshakes.before(&request, verifier, &settings, now());
}
