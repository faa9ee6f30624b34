//! Who may ask for what: bearer tokens with roles, or an open listener on loopback that lets no web page in. Keeps hashes
//! of tokens only, and compares them in constant time.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Uri, header};

use super::AdminState;
use super::api::routes::Access;
use super::problem::Problem;
use super::throttle::Throttle;
use crate::net::listener::Peer;

/// Who may use the admin API.
#[derive(Debug)]
pub struct Auth {
    mode: Mode,
    throttle: Throttle,
}

#[derive(Debug)]
enum Mode {
    /// `admin_auth = "none"`: whoever reaches the loopback listener, but no web page.
    Open,
    /// `[[admin_tokens]]`.
    Tokens(Vec<Token>),
    /// The caller is this very process.
    Trusted(Caller),
}

/// One token's hash and role.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its name, for the audit trail.
    pub name: String,
    /// May it change things.
    pub operator: bool,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
}

/// Who asks, once it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's name; `anonymous` on an open listener; what [`Auth::trusted`] was given.
    pub name: Arc<str>,
    /// May change things.
    pub operator: bool,
}

impl Auth {
    /// For a listener on loopback without tokens: `Host` has to be a loopback name (no DNS rebinding), a foreign
    /// `Origin` is refused, and a write needs `content-type: application/json`, which no form of a web page can send.
    #[must_use]
    pub fn open() -> Self {
        Self::of(Mode::Open)
    }

    /// Bearer tokens. Viewers read; operators also change. Without any token nobody may do anything.
    #[must_use]
    pub fn tokens(tokens: Vec<Token>) -> Self {
        Self::of(Mode::Tokens(tokens))
    }

    /// For calls within this process, by an operator of that name.
    #[must_use]
    pub fn trusted(name: &str) -> Self {
        Self::of(Mode::Trusted(Caller { name: name.into(), operator: true }))
    }

    fn of(mode: Mode) -> Self {
        Self { mode, throttle: Throttle::default() }
    }

    /// The SHA-256 of a token, as [`Token`] keeps it.
    #[must_use]
    pub fn hash(token: &[u8]) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
        hash
    }
}

/// Lets a request through to its handler, with its [`Caller`] attached, or refuses it.
pub(super) async fn guard(
    State((state, access)): State<(Arc<AdminState>, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    match admit(&state, access, &request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// The caller; `None` for a stranger at a route that is for anybody.
fn admit(state: &AdminState, access: Access, request: &Request) -> Result<Option<Caller>, Problem> {
    let identified = match &state.auth.mode {
        Mode::Trusted(caller) => Ok(caller.clone()),
        Mode::Open => open(request),
        Mode::Tokens(_)
            if access == Access::Anybody && !request.headers().contains_key(header::AUTHORIZATION) =>
        {
            return Ok(None);
        }
        Mode::Tokens(tokens) => by_token(tokens, request.headers())
            .ok_or_else(|| unauthorized(state, request.extensions().get::<Peer>())),
    };
    match identified {
        Ok(caller) if access == Access::Operator && !caller.operator => {
            Err(Problem::new(StatusCode::FORBIDDEN, "forbidden").because(
                format!("the token `{}` is a viewer's and may only read", caller.name),
                "use a token with `role = \"operator\"`",
            ))
        }
        Ok(caller) => Ok(Some(caller)),
        // A health check by a load balancer names whatever host it likes, and is told nothing but up or down.
        Err(_) if access == Access::Anybody => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// Compares with every token, whether or not one has matched already.
fn by_token(tokens: &[Token], headers: &HeaderMap) -> Option<Caller> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("bearer ".len())?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return None;
    }
    let hash = Auth::hash(token.trim_ascii());
    let mut found = None;
    for known in tokens {
        if constant_time::verify_slices_are_equal(&known.sha256, &hash).is_ok() {
            found = Some(known);
        }
    }
    found.map(|token| Caller { name: token.name.as_str().into(), operator: token.operator })
}

/// 401, the same for a missing, malformed and wrong token; 429 when an address guesses too often.
fn unauthorized(state: &AdminState, peer: Option<&Peer>) -> Problem {
    let address: Option<IpAddr> = peer.map(|peer| peer.address.ip());
    match state.auth.throttle.failed(address, state.clock.now()) {
        Ok(()) => {
            tracing::warn!(source_ip = ?address, "admin_unauthorized");
            Problem::new(StatusCode::UNAUTHORIZED, "unauthorized").because(
                "this needs a valid admin token",
                "send `authorization: Bearer TOKEN` with a token of `[[admin_tokens]]`",
            )
        }
        Err(wait) => Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures")
            .because("too many failed attempts from this address", "the right token is still accepted")
            .retry_after(wait.as_secs().saturating_add(1)),
    }
}

/// An open listener: whatever runs on this machine may ask, but no web page that a browser on it shows.
fn open(request: &Request) -> Result<Caller, Problem> {
    let refused =
        |code, detail: &str, hint: &str| Problem::new(StatusCode::FORBIDDEN, code).because(detail, hint);
    let Some(host) = host_of(request.uri(), request.headers()).filter(|host| is_loopback(host.host())) else {
        return Err(refused(
            "host_not_loopback",
            "without admin tokens, the host asked for has to be `localhost` or a loopback address",
            "ask `http://127.0.0.1:PORT`, or configure `[[admin_tokens]]`",
        ));
    };
    let foreign = |origin: &[u8]| {
        let own = [format!("http://{host}"), format!("https://{host}")];
        !own.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(origin))
    };
    let reads = *request.method() == Method::GET || *request.method() == Method::HEAD;
    let from_another_site = request
        .headers()
        .get("sec-fetch-site")
        .is_some_and(|site| !reads && site != "same-origin" && site != "none");
    let origins = request.headers().get_all(header::ORIGIN);
    if origins.iter().any(|origin| foreign(origin.as_bytes())) || from_another_site {
        return Err(refused("foreign_origin", "the request comes from a web page of another origin", ""));
    }
    if !reads && !is_json(request.headers()) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "json_required").because(
            "without admin tokens, a change needs `content-type: application/json`",
            "add `-H 'content-type: application/json'`",
        ));
    }
    Ok(Caller { name: "anonymous".into(), operator: true })
}

/// The host that was asked for, where the request names exactly one.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut named = headers.get_all(header::HOST).iter();
    let header = match (named.next(), named.next()) {
        (Some(host), None) => Some(Authority::try_from(host.as_bytes()).ok()?),
        (None, _) => None,
        (Some(_), Some(_)) => return None,
    };
    match (uri.authority(), header) {
        (Some(authority), Some(header)) if *authority != header => None,
        (Some(authority), _) => Some(authority.clone()),
        (None, header) => header,
    }
    .filter(|authority| !authority.as_str().contains('@'))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}
