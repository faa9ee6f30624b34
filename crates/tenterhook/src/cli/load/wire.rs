//! HTTP/1.1 by hand, for both sides: one request at a time on a connection that stays, nothing allocated once its
//! buffer has grown. Knows only what the peers of a load say: heads of any kind, bodies with a `Content-Length`.

use std::io;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest head or body that is read, in bytes.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// A connection with what has been read of the next message.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// A message at the beginning of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The status, where it is an answer.
    pub(super) status: u16,
    /// Head and body, in bytes.
    pub(super) length: usize,
    /// The peer closes after it.
    pub(super) closes: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 4096], filled: 0 })
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Waits for one whole message; `None` where the peer closed between two. It stays until [`Wire::consume`].
    pub(super) async fn message(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some(message) = parse(&self.buffer[..self.filled])? {
                return Ok(Some(message));
            }
            if self.filled == self.buffer.len() {
                if self.filled >= BYTES_MAX {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
                }
                self.buffer.resize(self.filled * 2, 0);
            }
            match self.stream.read(&mut self.buffer[self.filled..]).await? {
                0 if self.filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.filled += read,
            }
        }
    }

    /// The bytes of a message.
    pub(super) fn bytes(&self, message: Message) -> &[u8] {
        &self.buffer[..message.length]
    }

    /// Lets go of a message.
    pub(super) fn consume(&mut self, message: Message) {
        self.buffer.copy_within(message.length..self.filled, 0);
        self.filled -= message.length;
    }
}

/// The message at the beginning of `bytes`, once it is whole.
fn parse(bytes: &[u8]) -> io::Result<Option<Message>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..end];
    let status = match head {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', a, b, c, ..] => {
            [a, b, c].iter().fold(0u16, |status, digit| status * 10 + u16::from(**digit & 15))
        }
        _ => 0,
    };
    let mut message = Message { status, length: end + 4, closes: false };
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some((name, value)) = split(line) else { continue };
        // By length first: most headers are none of the three.
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length =
                    std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<usize>().ok());
                message.length += length.filter(|length| *length <= BYTES_MAX).ok_or_else(unreadable)?;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => return Err(unreadable()),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                message.closes = value.trim_ascii().eq_ignore_ascii_case(b"close");
            }
            _ => {}
        }
    }
    Ok((bytes.len() >= message.length).then_some(message))
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    Some((&line[..colon], &line[colon + 1..]))
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message whose length is not a plain `Content-Length`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nconnection: close\r\n\r\nhello";
        for cut in 0..answer.len() {
            assert_eq!(parse(&answer[..cut]).unwrap(), None, "{cut}");
        }
        let whole = Message { status: 202, length: answer.len(), closes: true };
        assert_eq!(parse(answer).unwrap(), Some(whole));
        let request = b"POST / HTTP/1.1\r\nhost: x\r\n\r\nPOST";
        assert_eq!(parse(request).unwrap(), Some(Message { status: 0, length: 28, closes: false }));
        parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap_err();
        parse(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n").unwrap_err();
    }
}
