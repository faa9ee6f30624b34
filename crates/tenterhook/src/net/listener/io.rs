//! A socket that watches itself: what its peer has done of late, a deadline on writes, and an end that lets the peer
//! read its answer. Knows nothing of HTTP but the first bytes of HTTP/2.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long, and for how many bytes, we listen to a peer that still sends although it has its answer. Closing at once
/// would reset the connection, and the reset can overtake the answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: u64 = 8 << 20;

/// What hyper answers to a head that is too long, and what we say where it is not: a `Content-Length` that hyper keeps
/// for itself (2^64 - 1, 2^64 - 2) ends in the same error. Of the same length, since it takes the other's place.
const TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\n";
const BAD_LENGTH: &[u8] = b"HTTP/1.1 400 Bad Request (length impossible)\r\n";
/// A head with fewer bytes and lines than these is not too long.
const HEAD_BYTES_SMALL: usize = 32 * 1024;
const HEAD_LINES_SMALL: usize = 100;

/// What one connection is doing, written by its socket and its requests, read by its watchdog.
#[derive(Debug)]
pub(super) struct Activity {
    started: Instant,
    /// Requests being answered.
    busy: AtomicU32,
    /// When the last request ended, in milliseconds since `started`.
    idle_since_ms: AtomicU64,
    /// When the first byte after that came, likewise, plus one; 0: none yet.
    first_byte_ms: AtomicU64,
    /// The peer speaks HTTP/2.
    h2: AtomicBool,
    /// The peer may still be sending when we close.
    linger: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            busy: AtomicU32::new(0),
            idle_since_ms: AtomicU64::new(0),
            first_byte_ms: AtomicU64::new(0),
            h2: AtomicBool::new(false),
            linger: AtomicBool::new(false),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A request begins.
    pub(super) fn begin(&self) {
        self.busy.fetch_add(1, Ordering::AcqRel);
    }

    /// A request has its answer.
    pub(super) fn end(&self) {
        // Never 0: that is the mark of a connection that has had no request yet.
        self.idle_since_ms.store(self.now_ms().max(1), Ordering::Release);
        self.first_byte_ms.store(0, Ordering::Release);
        self.busy.fetch_sub(1, Ordering::AcqRel);
    }

    /// The answer was given without reading all that the peer sends.
    pub(super) fn expect_more_from_peer(&self) {
        self.linger.store(true, Ordering::Release);
    }

    /// A request of HTTP/2 has come, also where its preface came in pieces.
    pub(super) fn is_certainly_h2(&self) {
        self.h2.store(true, Ordering::Release);
    }

    pub(super) fn is_h2(&self) -> bool {
        self.h2.load(Ordering::Acquire)
    }

    /// When this connection has to go; `None` while it answers a request (which has its own bounds).
    ///
    /// HTTP/1: headers that have begun have `header`, counted from their first byte, and so have the first ones,
    /// counted from the connection's beginning. HTTP/2 frames come at any time and prove nothing, so only requests
    /// count there.
    pub(super) fn deadline(&self, header: Duration, idle: Duration) -> Option<Instant> {
        if self.busy.load(Ordering::Acquire) > 0 {
            return None;
        }
        let idle_since_ms = self.idle_since_ms.load(Ordering::Acquire);
        let first_byte_ms = self.first_byte_ms.load(Ordering::Acquire);
        let (from_ms, allowed) = match first_byte_ms {
            // Who has not said a word yet is no better than an idle one, where places are wanted.
            0 if idle_since_ms == 0 => (0, header.min(idle)),
            _ if idle_since_ms == 0 && !self.is_h2() => (0, header),
            0 => (idle_since_ms, idle),
            _ if self.is_h2() => (idle_since_ms, idle),
            at_ms => (at_ms - 1, header),
        };
        Some(self.started + Duration::from_millis(from_ms) + allowed)
    }

    fn saw_bytes(&self, bytes: &[u8]) {
        if self.idle_since_ms.load(Ordering::Acquire) == 0 && bytes.starts_with(b"PRI ") {
            self.h2.store(true, Ordering::Release);
        }
        if self.first_byte_ms.load(Ordering::Acquire) == 0 {
            self.first_byte_ms.store(self.now_ms() + 1, Ordering::Release);
        }
    }

    /// Whether the peer is owed a moment to read its answer: it was cut short, or what it sent was no request.
    fn lingers(&self) -> bool {
        self.linger.load(Ordering::Acquire)
            || (!self.is_h2() && self.first_byte_ms.load(Ordering::Acquire) > 0)
    }
}

/// A socket with its [`Activity`].
pub(super) struct Watched<T> {
    inner: T,
    activity: Arc<Activity>,
    write_timeout: Duration,
    /// Runs while a write waits for the peer.
    write_deadline: Option<Pin<Box<Sleep>>>,
    peer_is_done: bool,
    /// Bytes and lines that came while no request was being answered.
    head: (usize, usize),
    linger: Option<Pin<Box<Sleep>>>,
    lingered_bytes: u64,
}

impl<T> Watched<T> {
    pub(super) fn new(inner: T, activity: Arc<Activity>, write_timeout: Duration) -> Self {
        Self {
            inner,
            activity,
            write_timeout,
            write_deadline: None,
            peer_is_done: false,
            head: (0, 0),
            linger: None,
            lingered_bytes: 0,
        }
    }

    /// Counts what belongs to a head.
    fn saw_head(&mut self, bytes: &[u8]) {
        if self.activity.busy.load(Ordering::Acquire) > 0 {
            self.head = (0, 0);
            return;
        }
        self.head.0 += bytes.len();
        self.head.1 += memchr::memchr_iter(b'\n', bytes).count();
    }

    /// The answer to put in the place of hyper's own to a head that it calls too long and that is not.
    fn corrected(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let rest = bytes.strip_prefix(TOO_LARGE)?;
        let is_small = self.head.0 < HEAD_BYTES_SMALL && self.head.1 < HEAD_LINES_SMALL;
        is_small.then(|| [BAD_LENGTH, rest].concat())
    }

    /// Passes a write's result on, unless it has waited for too long.
    fn bounded<R>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if result.is_ready() {
            self.write_deadline = None;
            return result;
        }
        let timeout = self.write_timeout;
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its answer")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let room = buffer.remaining() > 0;
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        match &buffer.filled()[filled..] {
            [] => self.peer_is_done |= room,
            bytes => {
                self.activity.saw_bytes(bytes);
                self.saw_head(bytes);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let corrected = self.corrected(bytes);
        let bytes = corrected.as_deref().unwrap_or(bytes);
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.bounded(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        if let Some(corrected) = first.and_then(|first| self.corrected(first)) {
            return self.poll_write(cx, &corrected);
        }
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.bounded(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.bounded(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            let result = Pin::new(&mut self.inner).poll_shutdown(cx);
            ready!(self.bounded(cx, result))?;
            if self.peer_is_done || !self.activity.lingers() {
                return Poll::Ready(Ok(()));
            }
            self.linger = Some(Box::pin(tokio::time::sleep(LINGER)));
        }
        let mut scratch = [0; 8 * 1024];
        while self.lingered_bytes < LINGER_BYTES_MAX {
            if let Some(deadline) = &mut self.linger
                && deadline.as_mut().poll(cx).is_ready()
            {
                break;
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.lingered_bytes += buffer.filled().len() as u64,
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
