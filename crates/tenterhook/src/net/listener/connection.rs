//! One connection, from the handshake to the end: HTTP/1.1 or HTTP/2, with a watchdog beside it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::io::{Activity, Watched};
use super::{ListenerSettings, Peer, Shared};

/// The longest head of a request, and the most that is read ahead of a body.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Requests at the same time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;
/// What HTTP/2 peers may send ahead of us reading it, per stream and per connection: memory that no budget counts.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 128 * 1024;
/// Streams that a peer reset, or that we reset for its errors, before the connection is given up (rapid reset).
const RESET_STREAMS_MAX: usize = 20;
const ERROR_RESET_STREAMS_MAX: usize = 128;
/// How often a watchdog looks whether idle connections have to give way.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs one connection to its end. Errors of a peer end here: they are its own trouble and not worth a line.
pub(super) async fn run<S, F, B>(socket: TcpStream, address: SocketAddr, shared: Arc<Shared<S>>)
where
    S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let _ = socket.set_nodelay(true);
    let peer = Peer { address, tls: shared.settings.tls.is_some() };
    let Some(tls) = &shared.settings.tls else {
        return drive(socket, peer, shared).await;
    };
    let acceptor = tokio_rustls::TlsAcceptor::from(tls.load_full());
    let handshake = tokio::time::timeout(shared.settings.header_timeout, acceptor.accept(socket));
    let handshake = tokio::select! {
        () = shared.stop.cancelled() => return,
        handshake = handshake => handshake,
    };
    match handshake {
        Ok(Ok(stream)) => drive(stream, peer, shared).await,
        Ok(Err(error)) => tracing::debug!(source_ip = %address.ip(), error = %error, "tls_handshake_failed"),
        Err(_) => tracing::debug!(source_ip = %address.ip(), "tls_handshake_timeout"),
    }
}

async fn drive<T, S, F, B>(stream: T, peer: Peer, shared: Arc<Shared<S>>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let activity = Arc::new(Activity::new());
    let settings = &shared.settings;
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity), settings.write_timeout));
    let service = service_fn(|request: Request<Incoming>| {
        // Everything is begun here and not in the future, so that the watchdog never sees a gap.
        let busy = Busy::begin(&activity);
        if request.version() == Version::HTTP_2 {
            activity.is_certainly_h2();
        }
        let service = shared.service.clone();
        answer(async move { service(request, peer).await }, busy, settings.request_timeout)
    });
    // hyper wants the service's future to own what it uses; `answer` does, and the closure is only borrowed here.
    let builder = builder();
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut draining = false;
    let mut look_at = Instant::now() + LOOK_EVERY.min(settings.header_timeout);
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = &mut connection => return,
            () = tokio::time::sleep_until(look_at) => {
                let crowded = shared.crowded.load(Ordering::Relaxed);
                match watch(&activity, settings, crowded) {
                    Watch::LookAgain(at) => look_at = at,
                    // An idle HTTP/2 peer is told (GOAWAY) and has a moment to hear it.
                    Watch::Close if activity.is_h2() && !draining => {
                        draining = true;
                        connection.as_mut().graceful_shutdown();
                        look_at = Instant::now() + LOOK_EVERY;
                    }
                    Watch::Close => return,
                }
            }
        }
    }
}

enum Watch {
    LookAgain(Instant),
    Close,
}

fn watch(activity: &Activity, settings: &ListenerSettings, crowded: bool) -> Watch {
    let now = Instant::now();
    let next_look = now + LOOK_EVERY.min(settings.header_timeout);
    // Not at once even then: a peer that has just got its answer may be sending the next request.
    let idle_timeout = if crowded { settings.idle_timeout.min(LOOK_EVERY) } else { settings.idle_timeout };
    match activity.deadline(settings.header_timeout, idle_timeout) {
        None => Watch::LookAgain(next_look),
        Some(deadline) if deadline <= now => Watch::Close,
        Some(deadline) => Watch::LookAgain(deadline.min(next_look)),
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The watchdog keeps the time: hyper's own timer cannot tell an idle connection from a slow head.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        // A sender that ends its side after the request still gets its answer.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(HEAD_BYTES_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(ERROR_RESET_STREAMS_MAX);
    builder
}

/// Runs the service for one request; a panic, or too long a silence, becomes an answer.
async fn answer<B>(
    service: impl Future<Output = Response<B>>,
    busy: Busy,
    timeout: Option<Duration>,
) -> Result<Response<Served<B>>, Infallible> {
    let service = AssertUnwindSafe(service).catch_unwind();
    let outcome = match timeout {
        Some(timeout) => {
            tokio::time::timeout(timeout, service).await.map_err(|_| StatusCode::REQUEST_TIMEOUT)
        }
        None => Ok(service.await),
    };
    let response = match outcome {
        Ok(Ok(response)) => response.map(|body| Served { content: Content::Service(body), busy }),
        Ok(Err(_panic)) => {
            tracing::error!("service_panicked");
            plain(StatusCode::INTERNAL_SERVER_ERROR, busy)
        }
        Err(status) => plain(status, busy),
    };
    if response.headers().get(CONNECTION).is_some_and(|value| value.as_bytes() == b"close") {
        response.body().busy.0.expect_more_from_peer();
    }
    Ok(response)
}

/// An answer of our own: the service has none.
fn plain<B>(status: StatusCode, busy: Busy) -> Response<Served<B>> {
    let title = status.canonical_reason().unwrap_or_default();
    let text = format!(r#"{{"type":"about:blank","title":"{title}","status":{}}}"#, status.as_u16());
    let mut response = Response::new(Served { content: Content::Own(Full::new(Bytes::from(text))), busy });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A request being answered, until the last byte of its response was taken or the connection is gone.
struct Busy(Arc<Activity>);

impl Busy {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.begin();
        Self(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A response body that keeps its connection busy.
struct Served<B> {
    content: Content<B>,
    busy: Busy,
}

enum Content<B> {
    Service(B),
    Own(Full<Bytes>),
}

impl<B> Body for Served<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.get_mut().content {
            Content::Service(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Content::Own(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Service(body) => body.is_end_stream(),
            Content::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Service(body) => body.size_hint(),
            Content::Own(body) => body.size_hint(),
        }
    }
}
