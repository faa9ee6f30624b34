//! A handler that does exactly as it is told: reads one request as bytes, plays its next part, and remembers all of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What a peer does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Writes these bytes; the connection stays open.
    Say(Vec<u8>),
    /// Writes these bytes and closes the connection.
    SayAndClose(Vec<u8>),
    /// Writes these bytes, and then the same ones again and again.
    SayForEver(Vec<u8>, Vec<u8>),
    /// Says nothing and keeps the connection open.
    BeSilent,
}

impl Part {
    /// An orderly answer.
    pub(crate) fn answer(status: &str, body: &str) -> Self {
        Self::answer_with(status, "", body)
    }

    /// An orderly answer with more header lines, each ending in CRLF.
    pub(crate) fn answer_with(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Say(
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}").into_bytes(),
        )
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Caught {
    /// Which connection brought it, counted from 0.
    pub(crate) connection: usize,
    /// The lines of the head.
    pub(crate) head: Vec<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Caught {
    /// Every value of a header, by its lower-case name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.head.iter().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The only value of a header.
    pub(crate) fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "`{name}` in {:#?}", self.head);
        all[0]
    }
}

/// A running peer. It ends when it is dropped.
pub(crate) struct Peer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    caught: Arc<Mutex<Vec<Caught>>>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// Plays its parts in order, one a request, and the last one for ever.
    pub(crate) async fn playing(parts: impl IntoIterator<Item = Part>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script =
            Script { parts: Arc::new(Mutex::new(parts.into_iter().collect())), caught: Arc::default() };
        let caught = Arc::clone(&script.caught);
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(script.clone().play(connection, stream));
            }
        });
        Self { address, caught, task }
    }

    /// The URL of its handler.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// Every request so far.
    pub(crate) fn caught(&self) -> Vec<Caught> {
        self.caught.lock().unwrap().clone()
    }

    /// The only request.
    pub(crate) fn only(&self) -> Caught {
        let mut caught = self.caught();
        assert_eq!(caught.len(), 1, "{caught:#?}");
        caught.remove(0)
    }

    /// Waits until that many requests have come.
    pub(crate) async fn wait_for(&self, count: usize) {
        tokio::time::timeout(super::PATIENCE, async {
            while self.caught.lock().unwrap().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{} of {count} requests came", self.caught().len()));
    }
}

/// What all connections of a peer share.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) parts: Arc<Mutex<VecDeque<Part>>>,
    pub(crate) caught: Arc<Mutex<Vec<Caught>>>,
}

impl Script {
    /// Plays on one connection until it ends.
    pub(crate) async fn play(self, connection: usize, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut buffer = Vec::new();
        while let Some(caught) = request(&mut stream, &mut buffer, connection).await {
            self.caught.lock().unwrap().push(caught);
            let part = {
                let mut parts = self.parts.lock().unwrap();
                if parts.len() > 1 { parts.pop_front() } else { parts.front().cloned() }
            };
            if !act(&mut stream, part.unwrap_or(Part::BeSilent)).await {
                return;
            }
        }
    }
}

/// Does its part; `false` when the connection is over.
async fn act(stream: &mut (impl AsyncWrite + AsyncRead + Unpin), part: Part) -> bool {
    match part {
        Part::Say(bytes) => stream.write_all(&bytes).await.is_ok(),
        Part::SayAndClose(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            false
        }
        Part::SayForEver(bytes, again) => {
            let mut open = stream.write_all(&bytes).await.is_ok();
            while open {
                open = stream.write_all(&again).await.is_ok();
            }
            false
        }
        Part::BeSilent => {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            false
        }
    }
}

async fn request(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    connection: usize,
) -> Option<Caught> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head: Vec<String> =
        String::from_utf8_lossy(&buffer[..end]).split("\r\n").map(ToOwned::to_owned).collect();
    let mut caught = Caught { connection, head, body: Vec::new() };
    let length = caught.one("content-length").parse::<usize>().unwrap();
    while buffer.len() < end + 4 + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    caught.body = buffer[end + 4..end + 4 + length].to_vec();
    buffer.drain(..end + 4 + length);
    Some(caught)
}
