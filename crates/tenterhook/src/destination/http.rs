//! Delivers to an HTTP handler. Knows the headers a handler sees and how an answer is read; knows nothing of retries.

mod batch;
mod exchange;
mod headers;
mod pass_on;
mod signing;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use reqwest::Url;
use tenterhook_verify::{Request, Secret, Verifier};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use self::batch::Said;
use self::exchange::{Answer, NoAnswer, Rest, exchange};
use self::pass_on::pass_on;
pub(crate) use self::signing::Signer;
use super::answer::{self, ANSWER_BYTES_MAX, Masks, RESULT_BYTES_MAX};
use super::{CheckError, Destination};
use crate::model::{Clock, FailureKind, HandlerAnswer, Message, Outcome, Reply, SourceName};
use crate::net::client::{Client, ClientError, ClientPlan, ClientSettings};
use crate::net::guard::{Guard, GuardError, Names, SystemNames};

/// Everything an HTTP destination needs, checked.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where to.
    pub url: String,
    /// The whole attempt, from connect to the last byte that is read.
    pub timeout: Duration,
    /// For the connection alone.
    pub connect_timeout: Duration,
    /// `whsec_` + base64 of 24–64 bytes: signs every delivery in the Standard Webhooks scheme.
    pub signing_secret: Option<Secret>,
    /// Headers added to every delivery. Values may be secrets.
    pub headers: HeaderMap,
    /// Extra root certificates, PEM.
    pub ca_file: Option<PathBuf>,
    /// Client certificate and key, PEM in one file.
    pub client_certificate_file: Option<PathBuf>,
    /// Through this proxy.
    pub proxy: Option<String>,
    /// A name may resolve to a private or link-local address.
    pub allow_private: bool,
    /// Signs each attempt afresh in the provider's own scheme, by source.
    pub resign: BTreeMap<SourceName, Arc<Verifier>>,
    /// Statuses that refuse for good, besides 410.
    pub dead_statuses: Vec<StatusCode>,
    /// Events are sent in batches in one request.
    pub batch: bool,
}

/// An HTTP destination, connected and ready.
///
/// What a handler sees, and what its answer means:
/// - a POST of the exact bytes that were signed, with the provider's own headers (but for those of the connection and
///   those that could be taken for ours), the facts as `tenterhook-event-id` and so on, a `traceparent`, and the
///   configured headers
/// - `webhook-id` and `webhook-timestamp` always, `webhook-signature` with a `signing_secret` (or where `resign` makes
///   one); what the provider sent under these names is found under `tenterhook-original-webhook-*`
/// - 2xx delivers; 410 and `dead_statuses` refuse for good; 429 asks for less; other 4xx, 5xx, 3xx (redirects are not
///   followed) and broken answers are failures. A final answer has to be a valid and complete message, but it may be
///   longer than the 64 KiB that are read
/// - through a `proxy` the proxy resolves names, so that the private-address guard is the proxy's business
/// - in a batch every item has to be named in the answer: a 2xx without a `results` list (also an empty one) confirms
///   nothing, and every event of it is tried again
pub struct HttpDestination {
    settings: HttpSettings,
    url: Url,
    clock: Arc<dyn Clock>,
    guard: Guard,
    plan: ClientPlan,
    client: ArcSwap<Client>,
    signer: Option<Signer>,
    masks: Masks,
}

impl fmt::Debug for HttpDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpDestination").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl HttpDestination {
    /// Checks the settings and reads the files they name. `clock` dates signatures.
    pub fn new(settings: HttpSettings, clock: Arc<dyn Clock>) -> Result<Self, CheckError> {
        Self::with_names(settings, clock, Arc::new(SystemNames))
    }

    /// The same, resolving names through `names`.
    pub fn with_names(
        settings: HttpSettings,
        clock: Arc<dyn Clock>,
        names: Arc<dyn Names>,
    ) -> Result<Self, CheckError> {
        let url = parse(&settings.url)?;
        check_headers(&settings)?;
        let signer = settings.signing_secret.as_ref().map(Signer::new).transpose()?;
        let guard = Guard::new(names, settings.allow_private);
        let client_settings = ClientSettings {
            connect_timeout: settings.connect_timeout,
            ca_file: settings.ca_file.as_deref(),
            client_certificate_file: settings.client_certificate_file.as_deref(),
            proxy: settings.proxy.as_deref(),
        };
        let plan = ClientPlan::new(&url, &client_settings, guard.clone())?;
        let client = ArcSwap::from_pointee(plan.build()?);
        let secrets = settings.signing_secret.iter().map(Secret::expose);
        let masks = Masks::new(settings.headers.values().map(HeaderValue::as_bytes).chain(secrets));
        Ok(Self { settings, url, clock, guard, plan, client, signer, masks })
    }

    /// Tries once. The answer, where there is one: what it means is in the reply.
    async fn deliver_one(&self, message: &Message) -> (Reply, Option<Answer>) {
        let started = Instant::now();
        let headers = match self.headers(message) {
            Ok(headers) => headers,
            Err(text) => return (reply(Outcome::NotTried, None, text, started), None),
        };
        match self.exchange(headers, message.body.clone(), started, ANSWER_BYTES_MAX).await {
            Ok(answer) => {
                let outcome = answer.outcome(&self.settings.dead_statuses, self.clock.now());
                let result = (outcome == Outcome::Delivered && answer.rest == Rest::Whole)
                    .then(|| answer::result(&answer.body, &self.masks))
                    .flatten();
                let said = reply(outcome, Some(answer.status), answer.excerpt(&self.masks), started);
                (Reply { result, ..said }, Some(answer))
            }
            Err(none) => (reply(none.outcome, None, none.text, started), None),
        }
    }

    async fn deliver_batch(&self, batch: &[Message]) -> Vec<Reply> {
        let started = Instant::now();
        let same = |reply: Reply| vec![reply; batch.len()];
        let Ok(body) = batch::body(batch) else {
            return same(reply(Outcome::NotTried, None, "the batch could not be written", started));
        };
        let headers = self.batch_headers(batch, &body);
        // Room for one item of the answer per event.
        let answer_bytes_max = ANSWER_BYTES_MAX + batch.len() * RESULT_BYTES_MAX;
        match self.exchange(headers, body, started, answer_bytes_max).await {
            Ok(answer) => self.judge_batch(batch, &answer, started),
            Err(none) => same(reply(none.outcome, None, none.text, started)),
        }
    }

    fn judge_batch(&self, batch: &[Message], answer: &Answer, started: Instant) -> Vec<Reply> {
        let outcome = answer.outcome(&self.settings.dead_statuses, self.clock.now());
        let status = Some(answer.status);
        if outcome != Outcome::Delivered {
            return vec![reply(outcome, status, answer.excerpt(&self.masks), started); batch.len()];
        }
        let items = batch::results(&answer.body).unwrap_or_default();
        let failed = |kind| Outcome::Failed { kind, after: None };
        let show = |reason: String| answer::excerpt(reason.as_bytes(), false, &self.masks);
        let judge = |message| match batch::said(&items, message) {
            Said::Ok => reply(Outcome::Delivered, status, "ok", started),
            // The receiver is well, it is this event that it cannot take now: nothing for the breaker to count.
            Said::Retry(reason) => reply(failed(FailureKind::Client), status, show(reason), started),
            Said::Reject(reason) => reply(Outcome::Rejected, status, show(reason), started),
            Said::Nothing => reply(
                failed(FailureKind::Protocol),
                status,
                "the answer's `results` do not name this event",
                started,
            ),
        };
        batch.iter().map(judge).collect()
    }

    async fn exchange(
        &self,
        headers: HeaderMap,
        body: Bytes,
        started: Instant,
        answer_bytes_max: usize,
    ) -> Result<Answer, NoAnswer> {
        let client = self.client.load_full();
        let deadline = started + self.settings.timeout;
        let answer = exchange(&client, (headers, body), deadline, answer_bytes_max).await?;
        if let Rest::Broken(_) = answer.rest {
            self.forget_connections(&client);
        }
        Ok(answer)
    }

    /// Whoever breaks the rules once does not get another request on the same connection: what it sent may end in the
    /// middle of something that looks like the next answer.
    fn forget_connections(&self, used: &Arc<Client>) {
        if let Ok(fresh) = self.plan.build() {
            self.client.compare_and_swap(used, Arc::new(fresh));
        }
    }

    /// The headers of one event, or why they cannot be made.
    fn headers(&self, message: &Message) -> Result<HeaderMap, String> {
        let mut headers = headers::forwarded(message);
        headers::add_facts(&mut headers, message);
        let id = message.id.to_string();
        let resigned = match self.settings.resign.get(&message.source) {
            Some(verifier) => Some(self.resign(verifier, &mut headers, message)?),
            None => None,
        };
        self.sign(&mut headers, &id, &message.body);
        if let Some(resigned) = resigned {
            merge_resigned(&mut headers, &resigned);
        }
        self.configured(&mut headers);
        Ok(headers)
    }

    fn batch_headers(&self, batch: &[Message], body: &Bytes) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("tenterhook-batch", HeaderValue::from(batch.len()));
        self.sign(&mut headers, &batch::id(batch), body);
        self.configured(&mut headers);
        headers
    }

    fn sign(&self, headers: &mut HeaderMap, id: &str, body: &[u8]) {
        let timestamp = self.clock.now().millis() / 1000;
        let [id_name, timestamp_name, signature_name] = headers::WEBHOOK;
        headers.insert(id_name, headers::value_of(id, false));
        headers.insert(timestamp_name, HeaderValue::from(timestamp));
        if let Some(signer) = &self.signer {
            headers.insert(signature_name, signer.sign(id, timestamp, body));
        }
    }

    /// Signs afresh as the provider would, for the destination's own URL. The id is the provider's own, but where the
    /// scheme's id header is `webhook-id`, which is always ours.
    fn resign(
        &self,
        verifier: &Verifier,
        headers: &mut HeaderMap,
        message: &Message,
    ) -> Result<HeaderMap, String> {
        let names = verifier.scheme().signature_headers();
        for name in &names {
            headers.remove(name);
        }
        let ours = message.id.to_string();
        let id = match &message.provider_event_id {
            Some(id) if !names.contains(&headers::WEBHOOK[0]) => id,
            _ => &ours,
        };
        let request =
            Request { method: &Method::POST, url: Some(self.url.as_str()), headers, body: &message.body };
        let signed = verifier.sign(&request, Some(id), self.clock.now().to_system());
        signed.map_err(|error| format!("cannot sign afresh for `{}`: {error}", message.source))
    }

    fn configured(&self, headers: &mut HeaderMap) {
        for name in self.settings.headers.keys() {
            headers::set(headers, name, self.settings.headers.get_all(name).iter().cloned());
        }
    }
}

#[async_trait]
impl Destination for HttpDestination {
    fn kind(&self) -> &'static str {
        "http"
    }

    async fn deliver(&self, batch: &[Message]) -> Vec<Reply> {
        if self.settings.batch {
            let requests = batch::requests(batch).into_iter().map(|request| self.deliver_batch(request));
            join_all(requests).await.into_iter().flatten().collect()
        } else {
            join_all(batch.iter().map(async |message| self.deliver_one(message).await.0)).await
        }
    }

    async fn ask(&self, message: &Message) -> (Option<Reply>, Option<HandlerAnswer>) {
        if self.settings.batch {
            return (self.deliver(std::slice::from_ref(message)).await.pop(), None);
        }
        let (reply, answer) = self.deliver_one(message).await;
        let confirming = answer.filter(|_| reply.outcome == Outcome::Delivered);
        (Some(reply), confirming.and_then(|answer| pass_on(answer, &self.masks)))
    }

    /// Resolves the name through the guard and opens a TCP connection (to the proxy, where there is one).
    async fn check(&self) -> Result<(), CheckError> {
        let url = match &self.settings.proxy {
            Some(proxy) => &parse_any(proxy)?,
            None => &self.url,
        };
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        let down = |what: String| {
            CheckError::down(what, "deliveries wait until it can be reached; is the address right?")
        };
        let look_up = async {
            // A proxy is an address that the operator chose.
            let guard = if self.settings.proxy.is_some() { &self.guard.permissive() } else { &self.guard };
            match guard.addresses(host).await {
                Err(private @ GuardError::Private { .. }) => Err(CheckError::wrong(
                    private.to_string(),
                    "if that is meant, set `allow_private = true`",
                )),
                Err(unknown) => Err(down(unknown.to_string())),
                Ok(addresses) => {
                    let targets: Vec<_> = addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
                    let connected = TcpStream::connect(&targets[..]).await;
                    connected
                        .map(drop)
                        .map_err(|error| down(format!("cannot connect to `{host}:{port}`: {error}")))
                }
            }
        };
        match timeout(self.settings.connect_timeout, look_up).await {
            Ok(found) => found,
            Err(_) => Err(down(format!("cannot connect to `{host}:{port}` in time"))),
        }
    }
}

impl From<ClientError> for CheckError {
    fn from(error: ClientError) -> Self {
        Self::wrong(error.message, error.hint)
    }
}

/// A provider that signs in the Standard Webhooks scheme shares our header names: both signatures stand in one list,
/// over the same id and time.
fn merge_resigned(headers: &mut HeaderMap, resigned: &HeaderMap) {
    let [id, timestamp, signature] = headers::WEBHOOK;
    let both = match (headers.get(&signature), resigned.get(&signature)) {
        (Some(ours), Some(theirs)) if same(headers, resigned, &id) && same(headers, resigned, &timestamp) => {
            HeaderValue::from_bytes(&[theirs.as_bytes(), b" ", ours.as_bytes()].concat()).ok()
        }
        _ => None,
    };
    for name in resigned.keys() {
        headers::set(headers, name, resigned.get_all(name).iter().cloned());
    }
    if let Some(both) = both {
        headers.insert(signature, both);
    }
}

fn same(left: &HeaderMap, right: &HeaderMap, name: &HeaderName) -> bool {
    left.get(name) == right.get(name)
}

fn reply(outcome: Outcome, status: Option<StatusCode>, excerpt: impl AsRef<str>, started: Instant) -> Reply {
    Reply {
        outcome,
        status: status.map(|status| i32::from(status.as_u16())),
        excerpt: answer::printable(excerpt.as_ref(), false),
        result: None,
        took: started.elapsed(),
    }
}

fn parse_any(text: &str) -> Result<Url, CheckError> {
    let refusal =
        || CheckError::wrong("`url` is not an http or https URL", "such as `http://127.0.0.1:3000/hooks`");
    let url = Url::parse(text).map_err(|_| refusal())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(refusal()) }
}

fn parse(text: &str) -> Result<Url, CheckError> {
    let url = parse_any(text)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(CheckError::wrong(
            "`url` holds a user name or password",
            "secrets are references: use `headers = { authorization = \"env:NAME\" }`",
        ));
    }
    Ok(url)
}

fn check_headers(settings: &HttpSettings) -> Result<(), CheckError> {
    if let Some(name) = settings.headers.keys().find(|name| !headers::is_settable(name)) {
        return Err(CheckError::wrong(
            format!("`headers` cannot set `{name}`"),
            "the gateway sets it itself",
        ));
    }
    if settings.batch && !settings.resign.is_empty() {
        return Err(CheckError::wrong(
            "`resign` does not go with `batch`",
            "a provider signs one event; use `signing_secret` for batches",
        ));
    }
    Ok(())
}
