//! The accept loop, for ingress and admin alike: bounds on everything that a peer can make us hold, and a graceful
//! stop. Knows nothing of what is served; the service is a function from a request to a response.
//!
//! | bound | by |
//! |---|---|
//! | connections at the same time | `connections_max`; the rest wait in the kernel's queue, and idle ones give way |
//! | headers | `header_timeout`, 64 KiB, 100 fields; h2: 64 KiB of header list while decoding |
//! | idle connections | `idle_timeout` |
//! | responses that nobody reads | `write_timeout` without progress |
//! | TLS handshakes | `header_timeout` |
//! | h2 streams, resets, windows | constants in [`connection`] |
//! | what is no request at all | hyper answers 400, 414 or 431 by itself, without a body, and hangs up |
//! | file descriptors | accepting backs off, and idle connections give way, while there are none |

mod connection;
mod io;

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long accepting rests when the process is out of file descriptors or memory.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The bounds of one listener.
#[derive(Clone)]
pub struct ListenerSettings {
    /// TLS with a certificate that can be swapped while connections run; `None`: plain.
    pub tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    /// Connections at the same time.
    pub connections_max: u32,
    /// A TLS handshake, and the headers of a request, each have to arrive within this time.
    pub header_timeout: Duration,
    /// A connection without a request is closed after this time.
    pub idle_timeout: Duration,
    /// A peer that takes no byte of a response for this long is cut off.
    pub write_timeout: Duration,
    /// The service has to begin its response within this time, or the answer is 408; `None`: it bounds itself.
    pub request_timeout: Option<Duration>,
}

impl Default for ListenerSettings {
    fn default() -> Self {
        Self {
            tls: None,
            connections_max: 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            request_timeout: None,
        }
    }
}

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address of the socket: a proxy's, where there is one.
    pub address: SocketAddr,
    /// Whether the connection is TLS up to here.
    pub tls: bool,
}

/// What the accept loop and its connections share.
struct Shared<S> {
    settings: ListenerSettings,
    service: S,
    /// Set while there is no room for another connection: idle ones then give way within a second.
    crowded: AtomicBool,
    stop: CancellationToken,
}

/// Serves until `stop` is cancelled; then lets requests in flight end, for at most `grace`, and returns.
///
/// Dropping the future aborts every connection at once: that is what a second stop does. A panic in the service is
/// answered 500 and ends only its own connection.
pub async fn serve<S, F, B>(
    listener: TcpListener,
    settings: ListenerSettings,
    service: S,
    stop: CancellationToken,
    grace: Duration,
) where
    S: Fn(http::Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = http::Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let slots = Arc::new(Semaphore::new(settings.connections_max.max(1) as usize));
    let shared = Arc::new(Shared { settings, service, crowded: AtomicBool::new(false), stop: stop.clone() });
    let mut connections = JoinSet::new();
    let mut is_failing = false;
    loop {
        while connections.try_join_next().is_some() {}
        shared.crowded.store(slots.available_permits() == 0, Ordering::Relaxed);
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // The slot comes first: a connection that has none stays in the kernel's queue and costs nothing here.
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((socket, address, slot)) => {
                if std::mem::take(&mut is_failing) {
                    tracing::info!("accept_resumed");
                }
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    connection::run(socket, address, shared).await;
                    drop(slot);
                });
            }
            Err(error) if is_the_peers_fault(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::error!(error = %error, "accept_failed");
                }
                shared.crowded.store(true, Ordering::Relaxed);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(ACCEPT_BACKOFF) => {}
                }
            }
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(grace, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!(connections = connections.len(), "grace_over");
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(std::io::Error::other)?;
    let (socket, address) = listener.accept().await?;
    Ok((socket, address, slot))
}

/// Errors of one connection that `accept` reports: the next one may well be fine.
fn is_the_peers_fault(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}
