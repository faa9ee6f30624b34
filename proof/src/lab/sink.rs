//! Receivers that are no good: one accepts and never answers, one answers a byte a second. Each attempt is a connection
//! of its own. They do not know what is sent to them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How it misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Takes everything, says nothing.
    BlackHole,
    /// Answers one byte a second.
    Drip,
}

/// Such a receiver. Its server ends when it is dropped.
pub struct Sink {
    address: SocketAddr,
    attempts: Arc<Mutex<Vec<Instant>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Sink {
    /// Starts one.
    pub async fn start(manner: Manner) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let attempts = Arc::<Mutex<Vec<Instant>>>::default();
        let noted = Arc::clone(&attempts);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                tokio::spawn(misbehave(stream, manner));
            }
        });
        Ok(Self { address, attempts, server })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// When each attempt began.
    #[must_use]
    pub fn attempts(&self) -> Vec<Instant> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Until the other end has had enough.
async fn misbehave(stream: TcpStream, manner: Manner) {
    let (mut read, mut write) = stream.into_split();
    let drip = async {
        if manner == Manner::Drip {
            let answer =
                b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".iter().chain(std::iter::repeat(&b'.'));
            for byte in answer {
                if write.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        std::future::pending::<()>().await;
    };
    let gone = async {
        let mut taken = vec![0; 64 * 1024];
        while read.read(&mut taken).await.is_ok_and(|some| some > 0) {}
    };
    tokio::select! {
        () = drip => {}
        () = gone => {}
    }
}
