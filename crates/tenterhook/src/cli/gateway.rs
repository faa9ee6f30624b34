//! The gateway as commands see it: a running one over its admin API, or a stopped store opened in this process. Both
//! answer the same requests with the same shapes, because the second is the same router without a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt;

use super::Global;
use super::failure::{Exit, Failure};
use super::reference;
use crate::admin::auth::Auth;
use crate::admin::{self, AdminState};
use crate::config::{self, Endpoints};
use crate::model::{Clock, SystemClock};
use crate::ops::Ops;
use crate::store::sqlite::{SqliteSettings, SqliteStore};
use crate::store::{Store, StoreErrorKind};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::rejections::Rejections;

/// How long an answer may take: bulk changes work in slices, but on a busy disk.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Who answers.
pub enum Gateway {
    /// A running gateway.
    Running {
        /// The client.
        client: reqwest::Client,
        /// Its admin API.
        url: String,
        /// The bearer token.
        token: Option<String>,
    },
    /// A stopped one's store, held by this process.
    Stopped {
        /// The admin API, without a listener.
        router: axum::Router,
        /// To be closed.
        store: Arc<dyn Store>,
    },
}

impl Gateway {
    /// Finds out who answers: `--admin-url` is taken at its word; otherwise the config says where the store is, and
    /// whoever holds its lock answers. The store is opened here only when this process got that lock.
    pub fn find(global: &Global) -> Result<Self, Failure> {
        if let Some(url) = &global.admin_url {
            return Self::running(global, url.trim_end_matches('/').to_owned());
        }
        let environment = super::environment();
        let endpoints = config::endpoints(&global.config, &environment).map_err(|error| {
            Failure::usage(error.to_string())
                .hint("name the config with `--config FILE`, or the gateway with `--admin-url URL`")
        })?;
        match open(&endpoints)? {
            Some(stopped) => Ok(stopped),
            None => Self::running(global, format!("http://{}", endpoints.admin_listen)),
        }
    }

    fn running(global: &Global, url: String) -> Result<Self, Failure> {
        let token = global.token.as_deref().map(reference::secret_text).transpose()?;
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        Ok(Self::Running { client, url, token })
    }

    /// Whether a running gateway answers.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// GET: `query` are pairs; empty values are left out.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, Failure> {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
            pairs.append_pair(name, value);
        }
        let query = pairs.finish();
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        self.ask(Method::GET, &target, None).await
    }

    /// POST of a JSON body.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body =
            serde_json::to_vec(body).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, Failure> {
        let bytes = self.exchange(method, target, body).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(
                Exit::Internal,
                format!("the answer to `{target}` is not what this version expects: {error}"),
            )
        })
    }

    /// GET of something that is not JSON.
    pub async fn bytes(&self, path: &str) -> Result<bytes::Bytes, Failure> {
        self.exchange(Method::GET, path, None).await
    }

    async fn exchange(
        &self,
        method: Method,
        target: &str,
        body: Option<Vec<u8>>,
    ) -> Result<bytes::Bytes, Failure> {
        let (status, bytes) = match self {
            Self::Running { client, url, token } => {
                let mut request = client.request(method, format!("{url}{target}"));
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                if let Some(body) = body {
                    request = request.header(http::header::CONTENT_TYPE, "application/json").body(body);
                }
                let unreachable = |error: reqwest::Error| {
                    let why = std::error::Error::source(&error)
                        .map_or_else(|| error.to_string(), ToString::to_string);
                    Failure::new(Exit::Unreachable, format!("no answer from the gateway at `{url}`: {why}"))
                        .hint("is it running? `--admin-url URL` names another one")
                };
                let response = request.send().await.map_err(unreachable)?;
                (response.status(), response.bytes().await.map_err(unreachable)?)
            }
            Self::Stopped { router, .. } => {
                let request = Request::builder()
                    .method(method)
                    .uri(target)
                    .header(http::header::HOST, "localhost")
                    .header(http::header::CONTENT_TYPE, "application/json")
                    .body(body.map_or_else(Body::empty, Body::from))
                    .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
                let response = match router.clone().oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                let status = response.status();
                let collected = response.into_body().collect().await;
                (
                    status,
                    collected.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?.to_bytes(),
                )
            }
        };
        if status.is_success() { Ok(bytes) } else { Err(refused(status, &bytes)) }
    }

    /// Closes a store that was opened here.
    pub async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Running { .. } => Ok(()),
            Self::Stopped { store, .. } => {
                store.close().await.map_err(|error| Failure::new(Exit::Internal, error.to_string()))
            }
        }
    }
}

/// Opens the store of a stopped gateway; `None` when somebody holds it, or when it is not one that can be opened twice.
fn open(endpoints: &Endpoints) -> Result<Option<Gateway>, Failure> {
    let Some(path) = endpoints.store_url.strip_prefix("sqlite:") else { return Ok(None) };
    if !std::path::Path::new(path).exists() {
        return Ok(None);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let metrics = Arc::new(Metrics::new());
    let store = match SqliteStore::open(SqliteSettings::new(path), Arc::clone(&clock), Arc::clone(&metrics)) {
        Ok(store) => Arc::new(store) as Arc<dyn Store>,
        Err(error) if error.kind == StoreErrorKind::Locked => return Ok(None),
        Err(error) => return Err(Failure::usage(error.to_string())),
    };
    let router = admin::router(AdminState {
        ops: Arc::new(Ops::new(Arc::clone(&store), Arc::clone(&clock))),
        live: None,
        metrics,
        rejections: Arc::new(Rejections::default()),
        auth: Arc::new(Auth::trusted("cli")),
        clock,
    });
    Ok(Some(Gateway::Stopped { router, store }))
}

/// A refusal in the words of the gateway (RFC 9457).
fn refused(status: StatusCode, bytes: &[u8]) -> Failure {
    let problem: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
    let mut message = text("detail");
    if message.is_empty() {
        message = text("title");
    }
    if message.is_empty() {
        message = format!("the gateway answered {status}");
    }
    let exit = match status {
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::SERVICE_UNAVAILABLE => Exit::Unreachable,
        status if status.is_client_error() => Exit::Usage,
        _ => Exit::Internal,
    };
    let mut hint = text("hint");
    if hint.is_empty() && status == StatusCode::UNAUTHORIZED {
        hint = "name the token with `--token env:NAME`".to_owned();
    }
    Failure::new(exit, message).hint(hint)
}
