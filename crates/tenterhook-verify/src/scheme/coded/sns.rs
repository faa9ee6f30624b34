//! Amazon SNS: the signature stands in the JSON body, over a text of some of its members, and names the certificate that it
//! was made with. The URL of that certificate is held to Amazon's hosts before anything else is done with it.

use std::fmt;

use data_encoding::BASE64;
use http::HeaderName;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{Call, Coded, KeyKind};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::remote::host::Hosts;
use crate::remote::key::Signing;
use crate::remote::{KeyFile, KeyNeed};
use crate::request::Request;
use crate::scheme::content::Content;
use crate::scheme::time::rfc3339;
use crate::scheme::{Covered, Key, Match};
use crate::settings::{Setting, SettingKind};
use crate::verifier::{Facts, Sealed};

/// The hosts that certificates come from.
const HOSTS: [&str; 2] = ["sns.*.amazonaws.com", "sns.*.amazonaws.com.cn"];

/// SNS's scheme.
#[derive(Debug)]
pub(crate) struct SnsScheme {
    hosts: Option<Hosts>,
}

impl SnsScheme {
    pub(crate) fn new() -> Self {
        Self { hosts: Hosts::new(&HOSTS.map(str::to_owned)).ok() }
    }

    /// The certificate that a message names, if it may be fetched at all.
    fn need(&self, message: &Message) -> Result<KeyNeed, VerifyError> {
        let url = message.signing_cert_url.as_deref().unwrap_or_default();
        let path = url.split(['?', '#']).next().unwrap_or_default();
        if self.hosts.as_ref().is_some_and(|hosts| hosts.allow(url)) && path == url && path.ends_with(".pem")
        {
            return Ok(KeyNeed::new(KeyFile::SnsCertificate, url, None));
        }
        Err(refuse(Reason::KeyUrlNotAllowed, "`SigningCertURL` is no certificate on a host of Amazon SNS"))
    }
}

impl Coded for SnsScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::Remote
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    fn settings(&self) -> &'static [Setting] {
        &[Setting {
            name: "topics",
            kind: SettingKind::List,
            required: false,
            help: "the ARNs of the topics that count; without them whoever has a topic of his own can send",
        }]
    }

    fn signs_inside(&self) -> bool {
        true
    }

    fn signs_time(&self) -> bool {
        true
    }

    fn fetches_keys(&self) -> bool {
        true
    }

    fn covers(&self, locator: &Locator) -> bool {
        const COVERED: [&str; 8] = [
            "/Message",
            "/MessageId",
            "/Subject",
            "/SubscribeURL",
            "/Timestamp",
            "/Token",
            "/TopicArn",
            "/Type",
        ];
        matches!(locator, Locator::Json(pointer) if COVERED.contains(&pointer.as_str()))
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let message = Message::read(request.body)?;
        let signing = message.signing()?;
        let need = self.need(&message)?;
        let content = message.content()?;
        let signature = message.signature.as_deref().filter(|text| !text.is_empty());
        let signature =
            signature.ok_or_else(|| refuse(Reason::MissingSignature, "the body has no `Signature`"))?;
        let signature = BASE64
            .decode(signature.as_bytes())
            .map_err(|_| refuse(Reason::MalformedSignature, "`Signature` is not base64"))?;
        let topics = call.settings.list("topics");
        let topic = message.topic_arn.as_deref().unwrap_or_default();
        if !topics.is_empty() && !topics.iter().any(|known| known == topic) {
            return Err(refuse(Reason::UnknownTopic, "`TopicArn` is none of the configured topics"));
        }
        let secret_index = call.remote(&need, signing, content.as_bytes(), &signature, facts)?;
        Ok(Match {
            secret_index,
            signed_at: message.timestamp.as_deref().and_then(rfc3339),
            content: Covered::Digest(Content::whole(content.into_bytes()).sha256()),
            content_is_body: false,
        })
    }

    /// Fills in `Signature`, for a message that has all the rest; version 2, since nobody should sign with SHA-1.
    fn sign(&self, request: &Request<'_>, _id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let refusal = |error: VerifyError| SignError(error.detail);
        let message = Message::read(request.body).map_err(refusal)?;
        let content = message.content().map_err(refusal)?;
        self.need(&message).map_err(refusal)?;
        let Ok((_, Key::Remote(key))) = call.signing() else {
            return Err(SignError("SNS messages are signed with a private key; give one".to_owned()));
        };
        let signature = key.sign(Signing::RsaSha256, content.as_bytes()).ok_or_else(|| {
            SignError("a certificate signs nothing; give the private key, as PEM (`PRIVATE KEY`)".to_owned())
        })?;
        let mut body: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(request.body)
            .map_err(|_| SignError("the body is no JSON object".to_owned()))?;
        body.insert("SignatureVersion".to_owned(), "2".into());
        body.insert("Signature".to_owned(), BASE64.encode(&signature).into());
        Ok(Sealed::body(serde_json::Value::Object(body).to_string().into_bytes()))
    }
}

/// The members of a message that count. The last of duplicate members wins, as it does for those who read it later.
#[derive(Default)]
struct Message {
    kind: Option<String>,
    message: Option<String>,
    message_id: Option<String>,
    subject: Option<String>,
    subscribe_url: Option<String>,
    timestamp: Option<String>,
    token: Option<String>,
    topic_arn: Option<String>,
    signature: Option<String>,
    signature_version: Option<String>,
    signing_cert_url: Option<String>,
}

impl Message {
    fn read(body: &[u8]) -> Result<Self, VerifyError> {
        serde_json::from_slice(body)
            .map_err(|_| refuse(Reason::MalformedContent, "the body is no SNS message"))
    }

    fn signing(&self) -> Result<Signing, VerifyError> {
        match self.signature_version.as_deref() {
            Some("1") => Ok(Signing::RsaSha1),
            Some("2") => Ok(Signing::RsaSha256),
            None => Err(refuse(Reason::MissingSignature, "the body has no `SignatureVersion`")),
            Some(_) => Err(refuse(Reason::UnsupportedAlgorithm, "`SignatureVersion` is neither 1 nor 2")),
        }
    }

    /// What is signed: name and value of each member, a line each.
    fn content(&self) -> Result<String, VerifyError> {
        let common = (&self.message, &self.message_id, &self.timestamp, &self.topic_arn, &self.kind);
        let (message, message_id, timestamp, topic_arn, kind) = common;
        let members: Vec<(&str, &Option<String>)> = match kind.as_deref() {
            Some("Notification") => vec![
                ("Message", message),
                ("MessageId", message_id),
                ("Subject", &self.subject),
                ("Timestamp", timestamp),
                ("TopicArn", topic_arn),
                ("Type", kind),
            ],
            Some("SubscriptionConfirmation" | "UnsubscribeConfirmation") => vec![
                ("Message", message),
                ("MessageId", message_id),
                ("SubscribeURL", &self.subscribe_url),
                ("Timestamp", timestamp),
                ("Token", &self.token),
                ("TopicArn", topic_arn),
                ("Type", kind),
            ],
            _ => return Err(refuse(Reason::MalformedContent, "`Type` is none of SNS's")),
        };
        let mut content = String::new();
        for (name, value) in members {
            match value {
                Some(value) => content.push_str(&format!("{name}\n{value}\n")),
                None if name == "Subject" => {}
                None => return Err(refuse(Reason::MalformedContent, format!("the message has no `{name}`"))),
            }
        }
        Ok(content)
    }

    fn member(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "Type" => &mut self.kind,
            "Message" => &mut self.message,
            "MessageId" => &mut self.message_id,
            "Subject" => &mut self.subject,
            "SubscribeURL" => &mut self.subscribe_url,
            "Timestamp" => &mut self.timestamp,
            "Token" => &mut self.token,
            "TopicArn" => &mut self.topic_arn,
            "Signature" => &mut self.signature,
            "SignatureVersion" => &mut self.signature_version,
            // Lambda writes it in its own way.
            "SigningCertURL" | "SigningCertUrl" => &mut self.signing_cert_url,
            _ => return None,
        })
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an SNS message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message, A::Error> {
        let mut message = Message::default();
        let mut named = None;
        while let Some(name) = map.next_key::<String>()? {
            if name.starts_with("SigningCert")
                && named.replace(name.clone()).is_some_and(|other| other != name)
            {
                return Err(de::Error::custom("two spellings of one member"));
            }
            match message.member(&name) {
                Some(member) => *member = map.next_value()?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(message)
    }
}
