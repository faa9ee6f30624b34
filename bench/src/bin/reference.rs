//! What the gateway is measured against: `bare` reads the body and answers 202 (what HTTP costs); `bound` also checks
//! GitHub's signature and appends the body to one file, and answers only after an fdatasync that covers it (what HTTP,
//! the check and the disk cost). Both have the allocator, the HTTP library and the rule for threads of the gateway.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use anyhow::Context;
use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use axum::serve::ListenerExt;
use bytes::Bytes;
use clap::{Parser, Subcommand};
use data_encoding::HEXLOWER_PERMISSIVE;
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests that may wait for the disk; beyond it 503.
const WAITING_MAX: usize = 8192;

#[derive(Parser)]
struct Args {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// Worker threads; 0: the gateway's own rule
    #[arg(long, default_value_t = 0)]
    workers: usize,
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand)]
enum Kind {
    Bare,
    Bound {
        /// The file that bodies are appended to
        #[arg(long)]
        file: PathBuf,
        /// The environment variable that holds the secret
        #[arg(long)]
        secret_env: String,
    },
}

/// A body, and who waits for it to be on the disk.
type Record = (Bytes, oneshot::Sender<()>);

struct Bound {
    key: hmac::Key,
    disk: SyncSender<Record>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = if args.workers == 0 { cores } else { args.workers };
    let router = match args.kind {
        Kind::Bare => Router::new().fallback(post(bare)),
        Kind::Bound { file, secret_env } => {
            let secret = std::env::var(secret_env).context("the secret")?;
            let file = File::options().append(true).create(true).open(file).context("open the file")?;
            let (disk, waiting) = sync_channel(WAITING_MAX);
            std::thread::Builder::new().name("disk".to_owned()).spawn(move || write(file, &waiting))?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            Router::new().fallback(post(bound)).with_state(Arc::new(Bound { key, disk }))
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await?.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let mut asked_to_end = signal(SignalKind::terminate())?;
        tokio::select! {
            served = async { axum::serve(listener, router).await } => served.context("serve"),
            _ = asked_to_end.recv() => Ok(()),
        }
    })
}

async fn bare(_body: Bytes) -> StatusCode {
    StatusCode::ACCEPTED
}

async fn bound(State(bound): State<Arc<Bound>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature =
        headers.get("x-hub-signature-256").and_then(|value| value.as_bytes().strip_prefix(b"sha256="));
    let tag = signature.and_then(|hex| HEXLOWER_PERMISSIVE.decode(hex).ok());
    if tag.is_none_or(|tag| hmac::verify(&bound.key, &body, &tag).is_err()) {
        return StatusCode::UNAUTHORIZED;
    }
    let (done, durable) = oneshot::channel();
    match bound.disk.try_send((body, done)) {
        Ok(()) => {}
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return StatusCode::SERVICE_UNAVAILABLE,
    }
    match durable.await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Takes what waits, writes it with one call, syncs once, answers everybody. After a failure nothing is answered any
/// more: those who wait get 503.
fn write(mut file: File, waiting: &Receiver<Record>) {
    let mut buffer = Vec::new();
    let mut answers = Vec::new();
    while let Ok(first) = waiting.recv() {
        buffer.clear();
        for (body, done) in std::iter::once(first).chain(waiting.try_iter().take(WAITING_MAX)) {
            buffer.extend_from_slice(&(body.len() as u64).to_le_bytes());
            buffer.extend_from_slice(&body);
            answers.push(done);
        }
        if file.write_all(&buffer).and_then(|()| file.sync_data()).is_err() {
            return;
        }
        for done in answers.drain(..) {
            let _ = done.send(());
        }
    }
}
