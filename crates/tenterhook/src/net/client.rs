//! The HTTP client of a destination: one URL, no redirects, no decompression, no proxy that nobody configured, every
//! name through the guard. Knows sockets and TLS; knows nothing of deliveries or how an answer is judged.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body::Frame;
use http_body_util::Full;
use hyper::body::Incoming;
use reqwest::{Certificate, Identity, Proxy, Url, redirect};

use super::guard::Guard;
use super::plain::{self, Plain};

/// Idle connections are given up before common servers do so themselves (Node and uvicorn after 5 s): a request that
/// meets a closing connection would be a failed attempt for nothing.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Idle connections kept for the next attempts.
pub(super) const IDLE_CONNECTIONS_MAX: usize = 32;

/// What a handler is told of us where the provider said nothing of itself.
const AGENT: &str = concat!("tenterhook/", env!("CARGO_PKG_VERSION"));

/// How to reach one place, read and checked once; clients are built from it.
pub struct ClientPlan {
    url: Url,
    uri: Uri,
    connect_timeout: Duration,
    roots: Roots,
    identity: Option<Identity>,
    proxy: Option<Proxy>,
    guard: Guard,
}

enum Roots {
    /// The system's own and these.
    System(Vec<Certificate>),
    /// Nothing is spoken to over TLS: a machine without root certificates is fine.
    None,
}

/// What a client needs besides the URL.
#[derive(Clone, Copy, Debug)]
pub struct ClientSettings<'s> {
    /// For the connection alone: name, TCP, TLS.
    pub connect_timeout: Duration,
    /// Root certificates besides the system's, PEM.
    pub ca_file: Option<&'s Path>,
    /// Client certificate and key, PEM in one file.
    pub client_certificate_file: Option<&'s Path>,
    /// Every request goes through this proxy, which is taken at its word and resolves the names itself.
    pub proxy: Option<&'s str>,
}

/// Why there can be no client. One line, no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Debug for ClientPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientPlan").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl ClientPlan {
    /// Reads the files and checks all of it.
    pub fn new(url: &Url, settings: &ClientSettings<'_>, guard: Guard) -> Result<Self, ClientError> {
        let proxy_url = settings.proxy.map(parse_proxy).transpose()?;
        let speaks_tls =
            url.scheme() == "https" || proxy_url.as_ref().is_some_and(|url| url.scheme() == "https");
        let extra = settings.ca_file.map(read_roots).transpose()?.unwrap_or_default();
        let roots = if speaks_tls { Roots::System(extra) } else { Roots::None };
        let identity = settings.client_certificate_file.map(read_identity).transpose()?;
        let proxy = match proxy_url {
            Some(url) => Some(Proxy::all(url).map_err(|_| bad_proxy())?),
            None => None,
        };
        let uri = url.as_str().parse().map_err(|_| ClientError {
            message: "`url` holds characters that no request can hold".to_owned(),
            hint: "percent-encode them".to_owned(),
        })?;
        Ok(Self {
            url: url.clone(),
            uri,
            connect_timeout: settings.connect_timeout,
            roots,
            identity,
            proxy,
            guard,
        })
    }

    /// A client with a connection pool of its own.
    pub fn build(&self) -> Result<Client, ClientError> {
        let is_plain = self.proxy.is_none() && matches!(self.roots, Roots::None);
        Ok(if is_plain {
            let plain = plain::build(self.guard.clone(), self.connect_timeout);
            Client(Kind::Plain(self.uri.clone(), Box::new(plain)))
        } else {
            Client(Kind::Full(self.url.clone(), self.build_full()?))
        })
    }

    fn build_full(&self) -> Result<reqwest::Client, ClientError> {
        let mut builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .user_agent(AGENT);
        builder = match &self.roots {
            Roots::System(extra) if extra.is_empty() => builder,
            Roots::System(extra) => builder.tls_certs_merge(extra.iter().cloned()),
            Roots::None => builder.tls_certs_only([]),
        };
        if let Some(identity) = &self.identity {
            builder = builder.identity(identity.clone());
        }
        builder = match &self.proxy {
            // The proxy is an address that the operator chose, and it resolves the destination's name itself.
            Some(proxy) => builder.proxy(proxy.clone()),
            None => builder.no_proxy().dns_resolver(self.guard.clone()),
        };
        builder.build().map_err(|error| ClientError {
            message: format!("the TLS setup does not work: {}", causes(error.source())),
            hint: "install the system's root certificates (package `ca-certificates`), or name a `ca_file`"
                .to_owned(),
        })
    }
}

/// A client for one URL.
pub struct Client(Kind);

enum Kind {
    /// Without TLS and without a proxy: the short way.
    Plain(Uri, Box<Plain>),
    /// With all that there is.
    Full(Url, reqwest::Client),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Sends one POST, and returns when the head of the answer is there.
    pub async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Response<AnswerBody>, RequestError> {
        match &self.0 {
            Kind::Plain(uri, plain) => {
                let mut request = Request::new(Full::new(body));
                *request.method_mut() = Method::POST;
                *request.uri_mut() = uri.clone();
                *request.headers_mut() = headers;
                let headers = request.headers_mut();
                headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
                headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
                let answer = plain.request(request).await.map_err(RequestError::plain)?;
                Ok(answer.map(AnswerBody::Plain))
            }
            Kind::Full(url, client) => {
                let request = client.post(url.clone()).headers(headers).body(body).send();
                let answer: Response<reqwest::Body> = request.await.map_err(RequestError::full)?.into();
                Ok(answer.map(AnswerBody::Full))
            }
        }
    }
}

/// The body of an answer. Dropped before its end, it takes the connection with it.
#[derive(Debug)]
pub enum AnswerBody {
    /// Without TLS and proxy.
    Plain(Incoming),
    /// With either.
    Full(reqwest::Body),
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = RequestError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestError>>> {
        match self.get_mut() {
            Self::Plain(body) => {
                let broken =
                    |error| RequestError { cause: Cause::Itself(Box::new(error)), is_connect: false };
                Pin::new(body).poll_frame(context).map_err(broken)
            }
            Self::Full(body) => Pin::new(body).poll_frame(context).map_err(RequestError::full),
        }
    }
}

/// Why there is no answer, or no end of it. Its causes say what happened; the URL (which may carry a token) is in none.
#[derive(Debug)]
pub struct RequestError {
    cause: Cause,
    is_connect: bool,
}

/// What the library says.
#[derive(Debug)]
enum Cause {
    Itself(Box<dyn Error + Send + Sync>),
    /// The outermost error repeats what was asked, and is passed over.
    Of(Box<reqwest::Error>),
}

impl Cause {
    fn get(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Itself(error) => Some(error.as_ref()),
            Self::Of(error) => error.source(),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.causes())
    }
}

impl RequestError {
    fn plain(error: hyper_util::client::legacy::Error) -> Self {
        let is_connect = error.is_connect();
        Self { cause: Cause::Itself(Box::new(error)), is_connect }
    }

    fn full(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let is_connect = error.is_connect();
        Self { cause: Cause::Of(Box::new(error)), is_connect }
    }

    /// No connection came about.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.is_connect
    }

    /// The first cause of that type.
    #[must_use]
    pub fn cause<E: Error + 'static>(&self) -> Option<&E> {
        chain(self.cause.get()).find_map(<dyn Error>::downcast_ref)
    }

    /// What all causes say, each once.
    #[must_use]
    pub fn causes(&self) -> String {
        causes(self.cause.get())
    }
}

fn chain<'e>(first: Option<&'e (dyn Error + 'static)>) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(first, |error| {
        let error: &'e (dyn Error + 'static) = *error;
        error.source()
    })
}

fn causes(first: Option<&(dyn Error + 'static)>) -> String {
    let mut text = String::new();
    for cause in chain(first) {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&said);
        }
    }
    if text.is_empty() { "the request could not be made".to_owned() } else { text }
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, ClientError> {
    std::fs::read(path).map_err(|error| ClientError {
        message: format!("cannot read the {what} `{}`: {error}", path.display()),
        hint: "check the path and its permissions".to_owned(),
    })
}

fn read_roots(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let pem = read(path, "root certificates")?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ClientError {
            message: format!("`{}` holds no certificate", path.display()),
            hint: "`ca_file` is PEM: `-----BEGIN CERTIFICATE-----`".to_owned(),
        }),
    }
}

fn read_identity(path: &Path) -> Result<Identity, ClientError> {
    let pem = read(path, "client certificate")?;
    Identity::from_pem(&pem).map_err(|_| ClientError {
        message: format!("`{}` is not a client certificate with its key", path.display()),
        hint: "put the certificate chain and the private key into one PEM file".to_owned(),
    })
}

fn bad_proxy() -> ClientError {
    ClientError {
        message: "`proxy` is not the URL of a proxy".to_owned(),
        hint: "write it as `http://proxy.example.com:3128`".to_owned(),
    }
}

fn parse_proxy(text: &str) -> Result<Url, ClientError> {
    let url = Url::parse(text).map_err(|_| bad_proxy())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(bad_proxy()) }
}
