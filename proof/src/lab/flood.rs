//! A sender that costs little: HTTP/1.1 by hand over kept connections, closed loop (as fast as answers come) or open loop
//! (at a rate, whatever comes back). Latency counts from when a request was due, so that a sender that waits hides
//! nothing. It does not know what the answers should be.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use tenterhook_verify::{Request, Secret, Verifier, provider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Addresses, SECRET};

/// No answer after this long: nobody knows what became of it.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How often an open loop looks what is due.
const TICK: Duration = Duration::from_millis(1);

/// What became of one request.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Which event.
    pub n: u64,
    /// The status; 0: none came.
    pub status: u16,
    /// Whether `Retry-After` was with it.
    pub retry_after: bool,
    /// When the request was due.
    pub due: Instant,
    /// From then to the answer.
    pub took: Duration,
}

impl Answer {
    /// Whether it is a receipt.
    #[must_use]
    pub fn acked(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Makes the requests of one series: `PREFIX-0`, `PREFIX-1`, …, signed the way GitHub does.
pub struct Stamp {
    verifier: Verifier,
    prefix: String,
    path: String,
    body_bytes: usize,
    spoil: bool,
}

impl Stamp {
    /// For the source at `/webhooks/SOURCE`, with bodies of about `body_bytes`.
    pub fn new(source: &str, prefix: &str, body_bytes: usize) -> anyhow::Result<Self> {
        let entry = provider::provider("github").context("github is in the catalog")?;
        let scheme = entry.scheme(None).context("github has a scheme")?.clone();
        let verifier = Verifier::new(scheme, vec![Secret::new(SECRET)])
            .map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
        let (prefix, path) = (prefix.to_owned(), format!("/webhooks/{source}"));
        Ok(Self { verifier, prefix, path, body_bytes, spoil: false })
    }

    /// The same with signatures that do not fit.
    #[must_use]
    pub fn spoiled(self) -> Self {
        Self { spoil: true, ..self }
    }

    /// The provider's id of the n-th event.
    #[must_use]
    pub fn id(&self, n: u64) -> String {
        format!("{}-{n}", self.prefix)
    }

    /// Which event has that id, if it is one of the series.
    #[must_use]
    pub fn number(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&self.prefix)?.strip_prefix('-')?.parse().ok()
    }

    /// The body of the n-th event.
    #[must_use]
    pub fn body(&self, n: u64) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(n ^ 0x5eed);
        let mut body =
            format!(r#"{{"ref":"refs/heads/main","event":"{}","padding":""#, self.id(n)).into_bytes();
        let padding = self.body_bytes.saturating_sub(body.len() + 2);
        body.extend(std::iter::repeat_with(|| random.alphanumeric() as u8).take(padding));
        body.extend_from_slice(b"\"}");
        body
    }

    /// The whole n-th request.
    fn request(&self, n: u64) -> Option<Vec<u8>> {
        let (body, headers) = (self.body(n), http::HeaderMap::new());
        let request = Request { method: &http::Method::POST, url: None, headers: &headers, body: &body };
        let signature = self.verifier.sign(&request, None, SystemTime::now()).ok()?;
        let mut text = format!(
            "POST {} HTTP/1.1\r\nhost: rig\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             x-github-event: push\r\nx-github-delivery: {}\r\n",
            self.path,
            body.len(),
            self.id(n)
        )
        .into_bytes();
        for (name, value) in &signature {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            if self.spoil
                && let Some(last) = text.last_mut()
            {
                *last = if *last == b'0' { b'1' } else { b'0' };
            }
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(&body);
        Some(text)
    }
}

/// Connections to one gateway, and the next event to send over them.
pub struct Flood {
    stamp: Arc<Stamp>,
    to: SocketAddr,
    connections_max: usize,
    idle: Mutex<Vec<TcpStream>>,
    open: AtomicUsize,
    next: AtomicU64,
    unsent: AtomicU64,
}

impl Flood {
    /// To the gateway at `at`, beginning with event `first`.
    pub fn new(
        at: &Addresses,
        stamp: Arc<Stamp>,
        first: u64,
        connections_max: usize,
    ) -> anyhow::Result<Arc<Self>> {
        let to = at.ingress.strip_prefix("http://").context("http")?.parse()?;
        Ok(Arc::new(Self {
            stamp,
            to,
            connections_max,
            idle: Mutex::default(),
            open: AtomicUsize::new(0),
            next: AtomicU64::new(first),
            unsent: AtomicU64::new(0),
        }))
    }

    /// The number of the next event.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Requests of open loops that were due and found every connection in use.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// `senders`, each of which sends the next event as soon as the last one is answered, for so long.
    pub async fn closed(self: &Arc<Self>, senders: usize, lasting: Duration) -> Vec<Answer> {
        let end = Instant::now() + lasting;
        self.closed_while(senders, move |_| Instant::now() < end).await
    }

    /// The same until `more` (told the number of the next event) says no.
    pub async fn closed_while(
        self: &Arc<Self>,
        senders: usize,
        more: impl Fn(u64) -> bool + Clone + Send + 'static,
    ) -> Vec<Answer> {
        let mut work = JoinSet::new();
        for _ in 0..senders {
            let (flood, more) = (Arc::clone(self), more.clone());
            work.spawn(async move {
                let mut answers = Vec::new();
                while more(flood.next()) {
                    let n = flood.next.fetch_add(1, Ordering::Relaxed);
                    answers.push(flood.send(n, Instant::now()).await);
                }
                answers
            });
        }
        work.join_all().await.concat()
    }

    /// So many a second for so long, whatever is answered; returns when every answer is there.
    pub async fn open(self: &Arc<Self>, per_second: f64, lasting: Duration) -> Vec<Answer> {
        let (start, total) = (Instant::now(), (per_second * lasting.as_secs_f64()) as u64);
        let answers = Arc::new(Mutex::new(Vec::new()));
        let mut work = JoinSet::new();
        let mut tick = tokio::time::interval(TICK);
        let mut sent = 0;
        while sent < total {
            tick.tick().await;
            let due = ((start.elapsed().as_secs_f64() * per_second) as u64).min(total);
            for number in sent..due {
                let due = start + Duration::from_secs_f64(number as f64 / per_second);
                if self.open.load(Ordering::Relaxed) >= self.connections_max && self.no_idle() {
                    self.unsent.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let n = self.next.fetch_add(1, Ordering::Relaxed);
                let (flood, answers) = (Arc::clone(self), Arc::clone(&answers));
                work.spawn(async move {
                    let answer = flood.send(n, due).await;
                    answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                });
            }
            sent = due;
            while work.try_join_next().is_some() {}
        }
        while work.join_next().await.is_some() {}
        std::mem::take(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends one event and waits for its answer.
    pub async fn send(&self, n: u64, due: Instant) -> Answer {
        let mut answer = Answer { n, status: 0, retry_after: false, due, took: ANSWER_MAX };
        let Some(request) = self.stamp.request(n) else { return answer };
        let heard = tokio::time::timeout(ANSWER_MAX, self.exchange(&request)).await;
        if let Ok(Ok(head)) = heard {
            (answer.status, answer.retry_after) = (head.status, head.retry_after);
        }
        answer.took = due.elapsed();
        answer
    }

    /// Over an idle connection; where that one turns out to be closed, over a fresh one.
    async fn exchange(&self, request: &[u8]) -> anyhow::Result<Head> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(stream) = kept {
            match self.over(stream, request).await {
                Ok(head) => return Ok(head),
                Err(error) if error.downcast_ref::<Closed>().is_none() => return Err(error),
                Err(_) => {}
            }
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        match TcpStream::connect(self.to).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                self.over(stream, request).await
            }
            Err(error) => {
                self.open.fetch_sub(1, Ordering::Relaxed);
                Err(error.into())
            }
        }
    }

    async fn over(&self, mut stream: TcpStream, request: &[u8]) -> anyhow::Result<Head> {
        let heard = speak(&mut stream, request).await;
        match &heard {
            Ok(head) if head.keep => self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(stream),
            _ => {
                self.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
        heard
    }

    fn no_idle(&self) -> bool {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// What matters of a response.
struct Head {
    status: u16,
    retry_after: bool,
    keep: bool,
    length: usize,
    /// Where the body begins.
    end: usize,
}

/// The connection was closed before a byte of the answer: an idle one that the gateway had given up.
#[derive(Debug, thiserror::Error)]
#[error("closed")]
struct Closed;

async fn speak(stream: &mut TcpStream, request: &[u8]) -> anyhow::Result<Head> {
    stream.write_all(request).await.map_err(|_| Closed)?;
    let mut heard = Vec::with_capacity(1024);
    loop {
        let more = stream.read_buf(&mut heard).await;
        let more = match more {
            Ok(0) | Err(_) if heard.is_empty() => return Err(Closed.into()),
            more => more?,
        };
        anyhow::ensure!(more > 0, "the answer was cut off");
        if let Some(head) = head(&heard)
            && heard.len() >= head.end + head.length
        {
            return Ok(head);
        }
    }
}

fn head(heard: &[u8]) -> Option<Head> {
    let end = heard.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&heard[..end]).ok()?;
    let status = text.get(9..12)?.parse().ok()?;
    let mut head = Head { status, retry_after: false, keep: true, length: 0, end };
    for (name, value) in text.lines().skip(1).filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("content-length") {
            head.length = value.parse().ok()?;
        } else if name.eq_ignore_ascii_case("retry-after") {
            head.retry_after = value.parse::<u32>().is_ok_and(|seconds| seconds > 0);
        } else if name.eq_ignore_ascii_case("connection") {
            head.keep = !value.eq_ignore_ascii_case("close");
        }
    }
    Some(head)
}
