//! Connections without TLS and without a proxy: what a handler beside the gateway speaks, and so what every event may
//! pay for. Nothing but a pool and a guarded connect. Knows nothing of requests.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use super::client::{IDLE_CONNECTIONS_MAX, IDLE_TIMEOUT};
use super::guard::{Guard, GuardError};

/// After so much silence TCP asks whether the other side is there, again after as much more.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Questions without an answer after which a connection counts as lost.
const KEEPALIVE_RETRIES: u32 = 3;

/// A pool of such connections.
pub(super) type Plain = Client<Connect, Full<Bytes>>;

/// A pool that resolves names through `guard`. `connect_timeout` is for a connection as a whole, its name included.
pub(super) fn build(guard: Guard, connect_timeout: Duration) -> Plain {
    let mut http = HttpConnector::new_with_resolver(guard);
    http.set_nodelay(true);
    http.set_keepalive(Some(KEEPALIVE));
    http.set_keepalive_interval(Some(KEEPALIVE));
    http.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .build(Connect { http, timeout: connect_timeout })
}

/// Connects, within a time.
#[derive(Clone)]
pub(super) struct Connect {
    http: HttpConnector<Guard>,
    timeout: Duration,
}

type Boxed<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl Service<Uri> for Connect {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Boxed<Self::Response, BoxError>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, timeout) = (self.http.call(uri), self.timeout);
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => Ok(connected?),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time").into()),
            }
        })
    }
}

impl Service<Name> for Guard {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = GuardError;
    type Future = Boxed<Self::Response, GuardError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GuardError>> {
        Poll::Ready(Ok(()))
    }

    /// Port 0 stands for the port of the URL.
    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.clone();
        Box::pin(async move {
            let found = guard.addresses(name.as_str()).await?;
            Ok(found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect::<Vec<_>>().into_iter())
        })
    }
}
