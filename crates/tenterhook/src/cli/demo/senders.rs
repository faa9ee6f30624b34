//! The providers of the demo: their sources, secrets and events, and the ways in which their requests go wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use tenterhook_verify::{Request, Secret, Verifier, provider};

use super::super::failure::{Exit, Failure};
use super::super::sample::seconds;
use super::super::signing::fresh_id;
use super::follow::{Screen, show_news};
use crate::model::EventId;
use crate::server::Server;

/// A provider of the demo and the handler that its events go to.
struct Sender {
    provider: &'static str,
    handler: &'static str,
}

const SENDERS: [Sender; 5] = [
    Sender { provider: "stripe", handler: "works" },
    Sender { provider: "github", handler: "recovers" },
    Sender { provider: "shopify", handler: "never" },
    Sender { provider: "slack", handler: "works" },
    Sender { provider: "standard-webhooks", handler: "works" },
];

/// What is done to a request on its way.
#[derive(Clone, Copy)]
enum Twist {
    None,
    /// The very same bytes once more.
    Again,
    /// A byte of the body is changed after signing.
    Tampered,
    /// Signed an hour ago.
    Stale,
    /// Not signed at all.
    Unsigned,
}

/// The secrets, by the environment variables that the config names. Made anew for each run.
pub(super) fn secrets() -> Result<BTreeMap<String, String>, Failure> {
    let mut secrets = BTreeMap::new();
    for sender in &SENDERS {
        let random = fresh_id()?;
        let secret = if sender.provider == "standard-webhooks" {
            format!("whsec_{}", data_encoding::BASE64.encode(random.as_bytes()))
        } else {
            random
        };
        secrets.insert(variable(sender.provider), secret);
    }
    Ok(secrets)
}

fn variable(provider: &str) -> String {
    format!("DEMO_{}_SECRET", provider.to_uppercase().replace('-', "_"))
}

/// The demo's config. It is a real one: people look into it.
pub(super) fn config(application: SocketAddr) -> String {
    let mut text = "# The config of `tenterhook demo`.\n\
        [server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nadmin_auth = \"none\"\n\
        log = { filter = \"off\" }\n\n\
        [store]\nurl = \"sqlite:tenterhook.db\"\n"
        .to_owned();
    for sender in &SENDERS {
        let (provider, secret) = (sender.provider, variable(sender.provider));
        text += &format!("\n[sources.{provider}]\nprovider = \"{provider}\"\nsecrets = [\"env:{secret}\"]\n");
    }
    for handler in ["works", "recovers", "never"] {
        // Real defaults go on for three days; a demo gives up after three attempts.
        text += &format!(
            "\n[destinations.{handler}]\ntype = \"http\"\nurl = \"http://{application}/{handler}\"\n\
             retry = {{ base = \"500ms\", attempts_max = 3 }}\n"
        );
    }
    for sender in &SENDERS {
        text += &format!(
            "\n[[routes]]\nsource = \"{}\"\ndestination = \"{}\"\n",
            sender.provider, sender.handler
        );
    }
    text
}

/// Sends the demo's events and shows each answer; the accepted events' ids.
pub(super) async fn send_all(
    server: &Server,
    secrets: &BTreeMap<String, String>,
    screen: &mut Screen,
) -> Result<Vec<EventId>, Failure> {
    let client = reqwest::Client::new();
    let mut accepted = Vec::new();
    for sender in &SENDERS {
        for sample in 0..2 {
            let request = Prepared::new(server, sender, secrets, sample)?;
            accepted.extend(request.send(&client, server, Twist::None, screen).await?);
            if sample == 0 {
                let twist = match sender.provider {
                    "stripe" => Twist::Stale,
                    "github" => Twist::Tampered,
                    "slack" => Twist::Unsigned,
                    _ => Twist::Again,
                };
                request.send(&client, server, twist, screen).await?;
            }
            show_news(server.gateway(), &accepted, screen).await?;
        }
    }
    Ok(accepted)
}

/// An event, ready to be signed.
struct Prepared {
    provider: &'static str,
    event_type: String,
    url: String,
    id: String,
    headers: HeaderMap,
    body: String,
    verifier: Verifier,
    now: SystemTime,
}

impl Prepared {
    fn new(
        server: &Server,
        sender: &Sender,
        secrets: &BTreeMap<String, String>,
        sample: usize,
    ) -> Result<Self, Failure> {
        let broken = |what: &str| {
            Failure::new(Exit::Internal, format!("the demo's `{}` has no {what}", sender.provider))
        };
        let entry = provider::provider(sender.provider).ok_or_else(|| broken("catalog entry"))?;
        let secret = secrets.get(&variable(sender.provider)).ok_or_else(|| broken("secret"))?;
        let sample = entry.samples.get(sample).or(entry.samples.first()).ok_or_else(|| broken("sample"))?;
        let verifier = Verifier::new(entry.scheme.clone(), vec![Secret::new(secret.as_bytes())])
            .map_err(|_| broken("usable secret"))?;
        let (id, now) = (fresh_id()?, server.gateway().clock().now().to_system());
        let mut headers = HeaderMap::new();
        let (written, body) = sample.fill(&id, seconds(now));
        for (name, value) in written {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
                headers.insert(name, value);
            }
        }
        Ok(Self {
            provider: sender.provider,
            event_type: sample.event_type.clone(),
            url: format!("http://{}/webhooks/{}", server.ingress(), sender.provider),
            body,
            id,
            headers,
            verifier,
            now,
        })
    }

    async fn send(
        &self,
        client: &reqwest::Client,
        server: &Server,
        twist: Twist,
        screen: &mut Screen,
    ) -> Result<Option<EventId>, Failure> {
        let signed_at = match twist {
            Twist::Stale => self.now - Duration::from_secs(3600),
            _ => self.now,
        };
        let request = Request {
            method: &Method::POST,
            url: Some(&self.url),
            headers: &self.headers,
            body: self.body.as_bytes(),
        };
        let failed = |why: String| Failure::new(Exit::Internal, why);
        let mut headers = self.headers.clone();
        if !matches!(twist, Twist::Unsigned) {
            let signature = self.verifier.sign(&request, Some(&self.id), signed_at);
            headers.extend(signature.map_err(|error| failed(error.to_string()))?);
        }
        let mut body = self.body.clone();
        if matches!(twist, Twist::Tampered) {
            body.push(' ');
        }
        let response = client.post(&self.url).headers(headers).body(body).send().await;
        let response = response.map_err(|error| failed(error.to_string()))?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|error| failed(error.to_string()))?;
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let reason = server.gateway().rejections().recent(1).first().map_or("", |rejected| rejected.reason);
        let what = match (status, twist) {
            (200 | 202, _) => answer["status"].as_str().unwrap_or_default().to_owned(),
            _ => format!("rejected: {reason}"),
        };
        let why = match twist {
            Twist::None => "",
            Twist::Again => "the same request once more",
            Twist::Tampered => "one byte changed on the way",
            Twist::Stale => "signed an hour ago",
            Twist::Unsigned => "no signature",
        };
        screen.received(
            server.gateway().clock().now(),
            self.provider,
            &self.event_type,
            status,
            &what,
            why,
        )?;
        Ok(match (status, answer["id"].as_str()) {
            (202, Some(id)) => id.parse().ok(),
            _ => None,
        })
    }
}
