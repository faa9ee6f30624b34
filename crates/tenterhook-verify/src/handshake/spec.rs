//! The grammar of a handshake, as written in `catalog/*.toml` and in a user's own `handshake = [ … ]`. Serde lives here.
//!
//! ```toml
//! method = "GET"                                 # POST unless set
//! when = { "query:hub.mode" = "subscribe" }      # what makes it this handshake; "*": there, whatever it says
//! absent = ["header:X-Signature"]                # what must not be there
//! # pending = true                               # one only while a registration is pending
//! verify = "none"                                # request (default) | query | learnt | none
//! expect = { "query:hub.verify_token" = "verify_token" }   # verify_token | topics | allowed_origins
//! challenge = "query:hub.challenge"              # what is echoed or signed …
//! characters = "digits"                          # … held to digits | hex | token | word | line
//! length = [1, 128]                              # … and to a length in bytes
//! answer = { text = "{challenge}" }              # or json = { … }; status = 200; headers = { … }
//! # learn = "header:X-Hook-Secret"               # where a key stands, taken only while a registration is pending
//! # confirm = "json:/SubscribeURL"               # where a URL stands that is to be fetched …
//! # hosts = ["sns.*.amazonaws.com"]              # … on one of these hosts
//! # path = "/.well-known/…"                      # at the root of the host, instead of the source's own path
//! # content = "form:bt_payload"                  # what an event signs, if not its body
//! ```
//!
//! An answer may hold `{challenge}`, `{mac:hex}` and `{mac:base64}` (a MAC of the challenge with the source's first live
//! key), `{key_name}` and `{services:sha256}`.

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};

use super::answer::{AnswerRule, Body, Member, Piece, Template};
use super::challenge::{CHALLENGE_BYTES_MAX, Challenge, Characters};
use super::{Action, Handshakes, Proof, Rule, Setting};
use crate::remote::host::Hosts;
use crate::scheme::encoding::Encoding;
use crate::{Locator, SpecError};

/// The most handshakes that one source can have.
const RULES_MAX: usize = 16;

/// The longest challenge that may be signed.
const SIGNED_BYTES_MAX: usize = 128;

/// One handshake as written; [`HandshakeSpec::compile`] checks it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HandshakeSpec {
    /// The method; `POST` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path at the root of the host where it arrives, if not at the source's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Places and what stands there; `*` for anything.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, String>,
    /// Places where nothing stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
    /// Whether it is this handshake only while a registration is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<bool>,
    /// What proves the sender: `request` (default), `query`, `learnt` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// Places and the setting that they must agree with: `verify_token`, `topics`, `allowed_origins`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub expect: BTreeMap<String, String>,
    /// Where the challenge stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// The characters that a challenge may hold; `token` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub characters: Option<String>,
    /// The shortest and the longest challenge, in bytes; 1 to 128 unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<[usize; 2]>,
    /// Where the content stands that an event signs, if it is not the body; needed beside `{mac:…}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Where a key stands that is learnt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learn: Option<String>,
    /// Where a URL stands that is to be fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
    /// The hosts that such a URL may name; `*` stands for one label or a part of one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The answer; `200` without a body unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerSpec>,
}

/// The answer as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerSpec {
    /// The status; 200 unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// A body as plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A body as a JSON object of texts and whole numbers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub json: BTreeMap<String, MemberSpec>,
    /// Further headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// A member of a JSON answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MemberSpec {
    /// A whole number, as it is.
    Number(i64),
    /// A text with places to fill in.
    Text(String),
}

impl HandshakeSpec {
    /// Checks handshakes; all problems at once, each with its key, a message and a hint.
    pub fn compile(specs: &[Self]) -> Result<Handshakes, Vec<SpecError>> {
        let mut problems = Problems(Vec::new());
        if specs.len() > RULES_MAX {
            problems.add("handshake", format!("more than {RULES_MAX} handshakes"), "");
        }
        let rules: Vec<Rule> = specs.iter().filter_map(|spec| spec.rule(&mut problems)).collect();
        if problems.0.is_empty() { Ok(Handshakes::of(rules)) } else { Err(problems.0) }
    }

    fn rule(&self, problems: &mut Problems) -> Option<Rule> {
        let method = self.method(problems);
        let when = self.when.iter().map(|(at, wanted)| {
            let wanted = Some(wanted.clone()).filter(|wanted| wanted != "*");
            Some((problems.locator("when", at)?, wanted))
        });
        let when: Option<Vec<_>> = when.collect();
        let absent: Option<Vec<_>> = self.absent.iter().map(|at| problems.locator("absent", at)).collect();
        let proof = self.proof(problems);
        let expect: Option<Vec<_>> =
            self.expect.iter().map(|(at, name)| setting(at, name, problems)).collect();
        let challenge = self.challenge(problems);
        let action = self.action(problems);
        let content = self.content.as_deref().and_then(|at| problems.locator("content", at));
        let answer = self.answer.clone().unwrap_or_default().rule(problems)?;
        let rule = Rule {
            method: method?,
            path: self.path.clone(),
            when: when?,
            absent: absent?,
            pending: self.pending.unwrap_or_default(),
            proof: proof?,
            expect: expect?,
            challenge: challenge?,
            content,
            action: action?,
            answer,
        };
        check(&rule, problems);
        Some(rule)
    }

    fn method(&self, problems: &mut Problems) -> Option<Method> {
        let name = self.method.as_deref().unwrap_or("POST");
        let methods = [Method::POST, Method::GET, Method::HEAD, Method::OPTIONS];
        let method = methods.into_iter().find(|method| method.as_str() == name);
        if method.is_none() {
            problems.add(
                "method",
                format!("`{name}` is no method of a handshake"),
                "POST, GET, HEAD or OPTIONS",
            );
        }
        method
    }

    fn proof(&self, problems: &mut Problems) -> Option<Proof> {
        match self.verify.as_deref().unwrap_or("request") {
            "request" => Some(Proof::Request),
            "query" => Some(Proof::Query),
            "learnt" => Some(Proof::Learnt),
            "none" => Some(Proof::Nothing),
            other => {
                problems.add("verify", format!("`{other}` proves nothing"), "request, query, learnt or none");
                None
            }
        }
    }

    /// The outer option is empty where there is a problem.
    fn challenge(&self, problems: &mut Problems) -> Option<Option<Challenge>> {
        let Some(at) = self.challenge.as_deref() else {
            if self.characters.is_some() || self.length.is_some() {
                problems.add(
                    "challenge",
                    "`characters` and `length` hold for a `challenge`",
                    "write where it stands",
                );
            }
            return Some(None);
        };
        let name = self.characters.as_deref().unwrap_or("token");
        let Some(characters) = Characters::named(name) else {
            let hint = Characters::NAMES.join(", ");
            problems.add("characters", format!("`{name}` is no class of characters"), hint);
            return None;
        };
        let [length_min, length_max] = self.length.unwrap_or([1, SIGNED_BYTES_MAX]);
        if length_min == 0 || length_min > length_max || length_max > CHALLENGE_BYTES_MAX {
            let hint = format!("two numbers between 1 and {CHALLENGE_BYTES_MAX}, the smaller one first");
            problems.add("length", "not a shortest and a longest length", hint);
        }
        let at = problems.locator("challenge", at)?;
        Some(Some(Challenge { at, characters, length_min, length_max }))
    }

    fn action(&self, problems: &mut Problems) -> Option<Action> {
        match (self.learn.as_deref(), self.confirm.as_deref()) {
            (None, None) => Some(Action::Answer),
            (Some(at), None) => problems.locator("learn", at).map(Action::Learn),
            (None, Some(at)) => {
                let hosts = Hosts::new(&self.hosts);
                if let Err(problem) = &hosts {
                    problems.add(
                        "hosts",
                        problem.clone(),
                        "write the provider's hosts, such as `api.example.com`",
                    );
                }
                Some(Action::Confirm(problems.locator("confirm", at)?, hosts.ok()?))
            }
            (Some(_), Some(_)) => {
                problems.add("learn", "both `learn` and `confirm` are set", "keep one");
                None
            }
        }
    }
}

/// What could make a rule an oracle, or never answer.
fn check(rule: &Rule, problems: &mut Problems) {
    if rule.challenge.is_none() && rule.answer.needs_challenge() {
        problems.add("answer", "no `challenge` is set that it could hold", "write where it stands");
    }
    let too_much = |challenge: &Challenge| {
        !challenge.characters.is_safe_to_sign() || challenge.length_max > SIGNED_BYTES_MAX
    };
    if rule.answer.signs() && rule.challenge.as_ref().is_some_and(too_much) {
        let hint = format!("digits, hex or token, and at most {SIGNED_BYTES_MAX} bytes");
        problems.add("characters", "too much is signed for whoever asks", hint);
    }
    if matches!(rule.action, Action::Confirm(..)) && (rule.proof != Proof::Request || rule.expect.is_empty())
    {
        problems.add(
            "confirm",
            "a URL would be fetched for anybody",
            "verify the request, and expect a topic",
        );
    }
    if matches!(rule.action, Action::Learn(_)) != (rule.proof == Proof::Learnt) {
        problems.add("verify", "`learnt` and `learn` belong together", "set both or none");
    }
    if rule.when.is_empty() && rule.expect.is_empty() && rule.path.is_none() && rule.method == Method::POST {
        problems.add("when", "every POST would be this handshake", "say what tells it from an event");
    }
}

fn setting(at: &str, name: &str, problems: &mut Problems) -> Option<(Locator, Setting)> {
    let setting = match name {
        "verify_token" => Some(Setting::VerifyToken),
        "topics" => Some(Setting::Topics),
        "allowed_origins" => Some(Setting::AllowedOrigins),
        _ => None,
    };
    if setting.is_none() {
        problems.add("expect", format!("`{name}` is no setting"), "verify_token, topics or allowed_origins");
    }
    Some((problems.locator("expect", at)?, setting?))
}

impl AnswerSpec {
    fn rule(&self, problems: &mut Problems) -> Option<AnswerRule> {
        let status = self.status.unwrap_or(200);
        if !(200..=299).contains(&status) {
            problems.add("answer", format!("{status} does not grant a handshake"), "200 to 299");
        }
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, text) in &self.headers {
            match name.parse() {
                Ok(name) => headers.push((name, template(text, problems)?)),
                Err(_) => problems.add(
                    "answer",
                    format!("`{name}` is not a header name"),
                    "letters, digits and `-`",
                ),
            }
        }
        let body = match (&self.text, self.json.is_empty()) {
            (None, true) => Body::Empty,
            (Some(text), true) => Body::Text(template(text, problems)?),
            (None, false) => {
                let members = self.json.iter().map(|(name, member)| {
                    let member = match member {
                        MemberSpec::Number(number) => Member::Number(*number),
                        MemberSpec::Text(text) => Member::Text(template(text, problems)?),
                    };
                    Some((name.clone(), member))
                });
                Body::Json(members.collect::<Option<_>>()?)
            }
            (Some(_), false) => {
                problems.add(
                    "answer",
                    "both `text` and `json` are set",
                    "keep the one that the provider reads",
                );
                return None;
            }
        };
        Some(AnswerRule { status, headers, body })
    }
}

/// Reads `literal{place}literal`.
fn template(text: &str, problems: &mut Problems) -> Option<Template> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, behind)) = rest.split_once('{') {
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        let (name, behind) = behind.split_once('}').unwrap_or((behind, ""));
        let piece = match name.split_once(':') {
            None if name == "challenge" => Some(Piece::Challenge),
            Some(("mac", "hex")) => Some(Piece::Mac(Encoding::Hex)),
            Some(("mac", "base64")) => Some(Piece::Mac(Encoding::Base64)),
            None if name == "key_name" => Some(Piece::KeyName),
            Some(("services", "sha256")) => Some(Piece::Services),
            _ => None,
        };
        if piece.is_none() {
            let hint = "{challenge}, {mac:hex}, {mac:base64}, {key_name} or {services:sha256}";
            problems.add("answer", format!("`{{{name}}}` cannot be filled in"), hint);
        }
        pieces.push(piece?);
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    Some(pieces)
}

/// The problems found so far.
struct Problems(Vec<SpecError>);

impl Problems {
    fn add(&mut self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.0.push(SpecError { key: key.to_owned(), message: message.into(), hint: hint.into() });
    }

    fn locator(&mut self, key: &str, text: &str) -> Option<Locator> {
        text.parse::<Locator>().map_err(|error| self.0.push(SpecError { key: key.to_owned(), ..error })).ok()
    }
}
