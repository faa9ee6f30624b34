//! The HTTP client that destinations share: no redirects, no decompression, no proxy that nobody configured, every
//! name through the guard. Knows sockets and TLS; knows nothing of headers, deliveries or how an answer is judged.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, Identity, Proxy, Url, redirect};

use super::guard::Guard;

/// Idle connections are given up before common servers do so themselves (Node and uvicorn after 5 s): a request that
/// meets a closing connection would be a failed attempt for nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Idle connections kept for the next attempts.
const IDLE_CONNECTIONS_MAX: usize = 32;

/// How to reach one place, read and checked once; clients are built from it.
pub struct ClientPlan {
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
        Ok(Self { connect_timeout: settings.connect_timeout, roots, identity, proxy, guard })
    }

    /// A client with a connection pool of its own.
    pub fn build(&self) -> Result<Client, ClientError> {
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .user_agent(concat!("tenterhook/", env!("CARGO_PKG_VERSION")));
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
            message: format!("the TLS setup does not work: {}", causes(&error)),
            hint: "install the system's root certificates (package `ca-certificates`), or name a `ca_file`"
                .to_owned(),
        })
    }
}

/// What an error says, its causes included, without the URL (which may carry a token).
#[must_use]
pub fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&said);
        }
        next = cause.source();
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
