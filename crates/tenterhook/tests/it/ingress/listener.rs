//! The accept loop: bounds, TLS, HTTP/2, and a stop that loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use rustls::pki_types::{CertificateDer, ServerName};
use tenterhook::net::listener::{ListenerSettings, Peer, serve};
use tenterhook::net::tls::server_config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::h2::h2_get;
use super::log::Log;
use super::wire::{PATIENCE, answers_in, ask, closes, read_answer, talk};

/// A listener that serves `/`, `/panic` and `/wait`.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// Ends one `/wait` each.
    release: Arc<Notify>,
    /// Ticks when a `/wait` has begun.
    waiting: Arc<Notify>,
}

pub(super) async fn start(settings: ListenerSettings, grace: Duration) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, release, waiting) =
        (CancellationToken::new(), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inner_release, inner_waiting) = (Arc::clone(&release), Arc::clone(&waiting));
    let service = move |request: Request<Incoming>, peer: Peer| {
        let (release, waiting) = (Arc::clone(&inner_release), Arc::clone(&inner_waiting));
        async move {
            match request.uri().path() {
                "/panic" => panic!("on purpose"),
                "/wait" => {
                    waiting.notify_one();
                    release.notified().await;
                }
                "/big" => return Response::new(Full::new(Bytes::from(vec![b'x'; 64 << 20]))),
                _ => {}
            }
            let version = if request.version() == Version::HTTP_2 { "h2" } else { "h1" };
            Response::new(Full::new(Bytes::from(format!("{version} {} {}", peer.tls, peer.address.ip()))))
        }
    };
    let task = tokio::spawn(serve(listener, settings, service, stop.clone(), grace));
    Running { address, stop, task, release, waiting }
}

pub(super) fn quick() -> ListenerSettings {
    ListenerSettings {
        header_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(400),
        write_timeout: Duration::from_millis(300),
        ..ListenerSettings::default()
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: gw\r\n\r\n";
const GET_WAIT: &str = "GET /wait HTTP/1.1\r\nHost: gw\r\n\r\n";
pub(super) const GRACE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_service_is_told_who_asks() {
    let running = start(ListenerSettings::default(), GRACE).await;
    assert_eq!(ask(running.address, GET).await.body, "h1 false 127.0.0.1");
}

#[tokio::test]
async fn a_panic_is_answered_500_and_the_loop_goes_on() {
    let running = start(ListenerSettings::default(), GRACE).await;
    let answer = ask(running.address, "GET /panic HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("connection")), (500, Some("close")));
    assert_eq!(ask(running.address, GET).await.status, 200);
}

#[tokio::test]
async fn silence_and_slow_headers_are_cut_off_and_whole_requests_are_not() {
    let running = start(quick(), GRACE).await;
    for beginning in ["", "P", "PRI * HT", "GET / HTTP/1.1\r\nHost: gw\r\n"] {
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        socket.write_all(beginning.as_bytes()).await.unwrap();
        assert!(closes(&mut socket).await, "{beginning:?} is still open");
    }
    // A drip of bytes does not prolong it.
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    let drip = async {
        loop {
            if socket.write_all(b"G").await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, drip).await.expect("a drip keeps the connection open");
    assert_eq!(ask(running.address, GET).await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let running = start(quick(), GRACE).await;
    let mut busy = TcpStream::connect(running.address).await.unwrap();
    busy.write_all(GET_WAIT.as_bytes()).await.unwrap();
    running.waiting.notified().await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    idle.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut idle).await.unwrap().status, 200);
    assert!(closes(&mut idle).await);
    // By now the busy one is older than every timeout.
    running.release.notify_one();
    assert_eq!(read_answer(&mut busy).await.unwrap().status, 200);
    busy.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut busy).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off() {
    let running = start(quick(), Duration::from_secs(3600)).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    socket.write_all(b"GET /big HTTP/1.1\r\nHost: gw\r\n\r\n").await.unwrap();
    let mut beginning = [0; 15];
    socket.read_exact(&mut beginning).await.unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200 OK");
    running.stop.cancel();
    // The stop waits for this response (see the grace below), so it returns only because the response was given up.
    tokio::time::timeout(PATIENCE, running.task).await.expect("still writing").unwrap();
    let mut body = Vec::new();
    let _ = socket.read_to_end(&mut body).await;
    assert!(body.len() < 64 << 20);
}

#[tokio::test]
async fn beyond_the_cap_connections_wait_and_idle_ones_give_way() {
    let settings = ListenerSettings { connections_max: 2, ..ListenerSettings::default() };
    let running = start(settings, GRACE).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        socket.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(read_answer(&mut socket).await.unwrap().status, 200);
        idle.push(socket);
    }
    assert_eq!(ask(running.address, GET).await.status, 200, "the third had to wait for the idle timeout");
    let mut still_open = 0;
    for mut socket in idle {
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_millis(50), socket.read(&mut byte)).await;
        still_open += usize::from(read.is_err());
    }
    assert!(still_open < 2, "no idle connection gave way");
}

/// Runs itself again in a process of its own, which can then use up its descriptors without harm to other tests.
#[test]
fn accepting_rests_while_there_are_no_descriptors_and_goes_on_by_itself() {
    const CHILD: &str = "TENTERHOOK_TEST_WITHOUT_DESCRIPTORS";
    if std::env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(run_out_of_descriptors());
    }
    let name = "ingress::listener::accepting_rests_while_there_are_no_descriptors_and_goes_on_by_itself";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
}

async fn run_out_of_descriptors() {
    let (log, _guard) = Log::begin();
    let settings = ListenerSettings { header_timeout: Duration::from_secs(3600), ..Default::default() };
    let running = start(settings, GRACE).await;
    let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let mut sockets = Vec::new();
    while let Ok(socket) = TcpStream::connect(running.address).await {
        sockets.push(socket);
        assert!(sockets.len() < 64);
    }
    super::until(|| async { log.text().contains("accept_failed") }).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let failures = log.text().matches("accept_failed").count();
    assert_eq!(failures, 1, "it says so once and does not spin");
    // Nobody of them has said a word: they do not keep their places until their headers are overdue.
    super::until(|| async { log.text().contains("accept_resumed") }).await;
    sockets.truncate(sockets.len() / 2);
    assert_eq!(ask(running.address, GET).await.status, 200);
}

#[tokio::test]
async fn a_stop_lets_requests_in_flight_end_and_takes_no_new_ones() {
    let running = start(ListenerSettings::default(), GRACE).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    socket.write_all(GET_WAIT.as_bytes()).await.unwrap();
    running.waiting.notified().await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    idle.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut idle).await.unwrap().status, 200);

    running.stop.cancel();
    assert!(closes(&mut idle).await, "an idle connection outlives the stop");
    assert!(!running.task.is_finished());
    running.release.notify_one();
    let answer = read_answer(&mut socket).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    tokio::time::timeout(PATIENCE, running.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_its_grace() {
    let running = start(ListenerSettings::default(), Duration::from_millis(50)).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    socket.write_all(GET_WAIT.as_bytes()).await.unwrap();
    running.waiting.notified().await;
    running.stop.cancel();
    tokio::time::timeout(PATIENCE, running.task).await.unwrap().unwrap();
    assert!(closes(&mut socket).await);
}

#[tokio::test]
async fn a_second_stop_drops_everything_at_once() {
    let running = start(ListenerSettings::default(), Duration::from_secs(3600)).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    socket.write_all(GET_WAIT.as_bytes()).await.unwrap();
    running.waiting.notified().await;
    running.stop.cancel();
    running.task.abort();
    assert!(closes(&mut socket).await);
}

#[tokio::test]
async fn a_silent_service_is_answered_408_where_a_timeout_is_set() {
    let settings =
        ListenerSettings { request_timeout: Some(Duration::from_millis(50)), ..ListenerSettings::default() };
    let running = start(settings, GRACE).await;
    assert_eq!(ask(running.address, GET_WAIT).await.status, 408);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let running = start(ListenerSettings::default(), GRACE).await;
    assert_eq!(answers_in(&talk(running.address, GET.repeat(40)).await), 40);
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_refused_while_reading() {
    let running = start(ListenerSettings::default(), GRACE).await;
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "a".repeat(70 * 1024));
    for headers in [many, long] {
        let transcript = talk(running.address, format!("GET / HTTP/1.1\r\nHost: gw\r\n{headers}\r\n")).await;
        assert!(transcript.starts_with("HTTP/1.1 431 "), "{transcript:?}");
        assert_eq!(answers_in(&transcript), 1);
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_served_from_the_next_connection_on() {
    let (first, first_der) = certificate();
    let (second, second_der) = certificate();
    let slot = Arc::new(ArcSwap::from_pointee(first));
    let settings = ListenerSettings { tls: Some(Arc::clone(&slot)), ..ListenerSettings::default() };
    let running = start(settings, GRACE).await;

    let mut old = tls_connect(running.address, &first_der, b"http/1.1").await.unwrap();
    slot.store(Arc::new(second));
    assert!(tls_connect(running.address, &first_der, b"http/1.1").await.is_err(), "still the old one");
    let new = tls_connect(running.address, &second_der, b"h2").await.unwrap();
    assert_eq!(h2_get(new, "https://gw.test/").await, "h2 true 127.0.0.1", "ALPN chose HTTP/2");
    old.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut old).await.unwrap().body, "h1 true 127.0.0.1");
}

#[tokio::test]
async fn a_tls_handshake_that_hangs_or_is_none_is_given_up() {
    let settings =
        ListenerSettings { tls: Some(Arc::new(ArcSwap::from_pointee(certificate().0))), ..quick() };
    let running = start(settings, GRACE).await;
    for beginning in ["", "\x16\x03\x01", GET] {
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        socket.write_all(beginning.as_bytes()).await.unwrap();
        assert!(closes(&mut socket).await, "{beginning:?}");
    }
}

fn certificate() -> (rustls::ServerConfig, CertificateDer<'static>) {
    let signed = rcgen::generate_simple_self_signed(vec!["gw.test".to_owned()]).unwrap();
    let key = signed.signing_key.serialize_pem();
    (server_config(signed.cert.pem().as_bytes(), key.as_bytes()).unwrap(), signed.cert.der().clone())
}

/// A TLS client that trusts exactly one certificate.
async fn tls_connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    alpn: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("gw.test").unwrap();
    connector.connect(name, TcpStream::connect(address).await?).await
}
