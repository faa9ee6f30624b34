//! `tenterhook catch`: a local receiver that prints what arrives. For looking at deliveries, not for keeping them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use clap::Args;
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use tokio::net::TcpListener;

use super::{output, reference};
use crate::destination::http::Signer;
use crate::model::{Clock, SystemClock, Timestamp};

/// The largest body that is taken, in bytes.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What is shown of a body, in characters of text or bytes of anything else.
const SHOWN_CHARS_MAX: usize = 4096;
const SHOWN_BYTES_MAX: usize = 256;

/// What is shown of a header's value, in characters.
const VALUE_CHARS_MAX: usize = 200;

/// An older signature is still shown as valid, with its age.
const OLD_S: u64 = 300;

/// Receives on loopback and prints what arrives, one block a request; answers 200
#[derive(Args, Debug)]
pub struct CatchArgs {
    /// The port; 0 for any free one
    #[arg(long, default_value_t = 3000, value_name = "N")]
    port: u16,
    /// The first K requests are answered 500, to watch them come again
    #[arg(long, default_value_t = 0, value_name = "K")]
    fail_first: u32,
    /// Where the destination's `signing_secret` is (`env:NAME`, `file:PATH`): `webhook-signature` is then verified
    #[arg(long, value_name = "REF")]
    secret: Option<String>,
}

/// Runs until Ctrl-C.
pub async fn run(args: CatchArgs) -> anyhow::Result<()> {
    let signer = match &args.secret {
        Some(place) => Some(read_secret(place)?),
        None => None,
    };
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)))
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on port {}: {error}", args.port))?;
    output::note(format!("listening on http://{} (Ctrl-C ends it)", listener.local_addr()?));
    let receiver = Receiver::new(args.fail_first, signer, Box::new(output::line));
    tokio::select! {
        served = serve(listener, receiver) => served,
        stopped = tokio::signal::ctrl_c() => Ok(stopped?),
    }
}

fn read_secret(place: &str) -> anyhow::Result<Signer> {
    let secret = reference::secret(place).map_err(|failure| anyhow::anyhow!("{}", failure.message))?;
    Signer::new(&secret).map_err(|error| anyhow::anyhow!("{error}; {}", error.hint))
}

type Print = Box<dyn Fn(String) -> std::io::Result<()> + Send + Sync>;

/// What the receiver remembers: how many came, and how to show them.
struct Receiver {
    caught: AtomicU32,
    fail_first: u32,
    signer: Option<Signer>,
    clock: SystemClock,
    print: Print,
}

impl Receiver {
    fn new(fail_first: u32, signer: Option<Signer>, print: Print) -> Self {
        Self { caught: AtomicU32::new(0), fail_first, signer, clock: SystemClock::start(), print }
    }
}

async fn serve(listener: TcpListener, receiver: Receiver) -> anyhow::Result<()> {
    let router = Router::new().fallback(receive).with_state(Arc::new(receiver));
    Ok(axum::serve(listener, router).await?)
}

async fn receive(State(receiver): State<Arc<Receiver>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let number = receiver.caught.fetch_add(1, Ordering::SeqCst).saturating_add(1);
    let status =
        if number <= receiver.fail_first { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    let verdict =
        receiver.signer.as_ref().map(|signer| verdict(signer, &head.headers, &body, receiver.clock.now()));
    // A closed stdout is no reason to stop answering.
    let _ = (receiver.print)(block(number, &head, &body, status, verdict.as_deref()));
    status.into_response()
}

/// One request as people read it.
fn block(number: u32, head: &Parts, body: &Bytes, status: StatusCode, verdict: Option<&str>) -> String {
    let mut text = format!(
        "#{number} {} {} → {}\n",
        head.method,
        output::printable(&head.uri.to_string()),
        status.as_u16()
    );
    let mut others = 0;
    for (name, value) in &head.headers {
        if is_interesting(name.as_str()) {
            let value: String =
                String::from_utf8_lossy(value.as_bytes()).chars().take(VALUE_CHARS_MAX).collect();
            let _ = writeln!(text, "  {name}: {}", output::printable(&value));
        } else {
            others += 1;
        }
    }
    if others > 0 {
        let _ = writeln!(text, "  (and {others} more headers)");
    }
    if let Some(verdict) = verdict {
        let _ = writeln!(text, "  signature: {verdict}");
    }
    text.push_str(&shown(body));
    text
}

fn is_interesting(name: &str) -> bool {
    name.starts_with("webhook-")
        || name.starts_with("tenterhook-")
        || matches!(name, "content-type" | "traceparent" | "user-agent")
}

fn shown(body: &Bytes) -> String {
    if body.is_empty() {
        return "  (no body)\n".to_owned();
    }
    let pretty = serde_json::from_slice::<serde_json::Value>(body)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .ok()
        .or_else(|| String::from_utf8(body.to_vec()).ok());
    let mut shown = String::new();
    let truncated = match pretty {
        Some(text) => {
            let kept: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            for line in kept.lines() {
                let _ = writeln!(shown, "  {}", output::printable(line));
            }
            kept.len() < text.len()
        }
        None => {
            for row in body[..body.len().min(SHOWN_BYTES_MAX)].chunks(32) {
                let _ = writeln!(shown, "  {}", data_encoding::HEXLOWER.encode(row));
            }
            body.len() > SHOWN_BYTES_MAX
        }
    };
    if truncated {
        let _ = writeln!(shown, "  … ({} bytes in all)", body.len());
    }
    shown
}

/// Whether the request is signed by the destination's secret.
fn verdict(signer: &Signer, headers: &HeaderMap, body: &[u8], now: Timestamp) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(time), Some(signatures)) =
        (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"))
    else {
        return "missing".to_owned();
    };
    let Ok(timestamp) = time.parse::<i64>() else { return "the timestamp is not a number".to_owned() };
    let expected = signer.sign(id, timestamp, body);
    let fits = signatures.split(' ').any(|candidate| {
        aws_lc_rs::constant_time::verify_slices_are_equal(candidate.as_bytes(), expected.as_bytes()).is_ok()
    });
    let age_s = now.since(Timestamp::from_millis(timestamp.saturating_mul(1000))).as_secs();
    match fits {
        false => "does not fit".to_owned(),
        true if age_s > OLD_S => format!("valid, but {age_s} s old"),
        true => "valid".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tenterhook_verify::Secret;

    use super::*;

    #[tokio::test]
    async fn what_arrives_is_printed_and_the_first_ones_fail() {
        let signer = Signer::new(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let now = SystemClock::start().now().millis() / 1000;
        let signature = signer.sign("evt_1", now, b"{\"a\":1}");
        let printed = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&printed);
        let print: Print = Box::new(move |text| {
            sink.lock().unwrap().push(text);
            Ok(())
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks?x=1", listener.local_addr().unwrap());
        let server = tokio::spawn(serve(listener, Receiver::new(1, Some(signer), print)));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut statuses = Vec::new();
        for body in [&b"{\"a\":1}"[..], b"{\"a\":2}", b"\xff\x00\x1b[2J"] {
            let request = client.post(&url).header("webhook-id", "evt_1").header("webhook-timestamp", now);
            let sent = request.header("webhook-signature", &signature).body(body).send().await.unwrap();
            statuses.push(sent.status().as_u16());
        }
        server.abort();
        assert_eq!(statuses, [500, 200, 200]);
        let printed = printed.lock().unwrap();
        assert!(printed[0].starts_with("#1 POST /hooks?x=1 → 500\n"), "{}", printed[0]);
        assert!(printed[0].contains("  signature: valid\n  {\n    \"a\": 1\n  }\n"), "{}", printed[0]);
        assert!(printed[1].contains("  signature: does not fit\n"), "{}", printed[1]);
        assert!(printed[2].ends_with("  ff001b5b324a\n"), "{}", printed[2]);
    }

    #[test]
    fn a_long_body_is_shown_in_part() {
        let text = shown(&Bytes::from("x".repeat(100_000)));
        assert!(text.len() < 5000 && text.ends_with("… (100000 bytes in all)\n"));
        let binary = shown(&Bytes::from(vec![0xff; 100_000]));
        assert!(binary.len() < 1000 && binary.ends_with("… (100000 bytes in all)\n"));
    }
}
