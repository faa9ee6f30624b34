//! A client that sends exactly the bytes it is told, and reads exactly what comes back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing in these tests takes longer, unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One parsed answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Sends `bytes` on a connection of its own and reads until the peer closes or has nothing more to say for a while.
pub(crate) async fn talk(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // The peer may have refused and closed before it has read everything.
    let _ = socket.write_all(bytes.as_ref()).await;
    let mut text = Vec::new();
    // Our side is done: the peer answers what it has got and closes.
    let _ = socket.shutdown().await;
    let _ =
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut text)).await.expect("the peer never closed");
    String::from_utf8_lossy(&text).into_owned()
}

/// Sends one request and reads one answer.
pub(crate) async fn ask(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let _ = socket.write_all(bytes.as_ref()).await;
    read_answer(&mut socket).await.expect("no answer")
}

/// Reads one answer with its body; `None` when the peer closes instead.
pub(crate) async fn read_answer<T: AsyncRead + Unpin>(socket: &mut T) -> Option<Answer> {
    tokio::time::timeout(PATIENCE, read_one(socket)).await.expect("no answer in time")
}

async fn read_one<T: AsyncRead + Unpin>(socket: &mut T) -> Option<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) if head.is_empty() => return None,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    let mut answer = parse_head(&String::from_utf8_lossy(&head));
    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.unwrap();
    answer.body = String::from_utf8(body).unwrap();
    Some(answer)
}

fn parse_head(head: &str) -> Answer {
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap();
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    Answer {
        status: status.unwrap_or_else(|| panic!("not an answer: {head:?}")),
        headers: headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
        body: String::new(),
    }
}

/// Whether the peer closes within our patience, whatever it says before.
pub(crate) async fn closes<T: AsyncRead + AsyncWrite + Unpin>(socket: &mut T) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest)).await.is_ok()
}

/// How many answers a raw transcript holds.
pub(crate) fn answers_in(transcript: &str) -> usize {
    transcript.matches("HTTP/1.1 ").count() + transcript.matches("HTTP/1.0 ").count()
}
