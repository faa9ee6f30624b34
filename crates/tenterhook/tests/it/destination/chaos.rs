//! A proxy that spoils connections: cuts them, holds them back, closes half of them. For any test that puts a bad
//! network between two parts.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to connections made from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything passes.
    Clear,
    /// Connections are closed as soon as they are made.
    Refuse,
    /// This many bytes towards the server pass, then both sides are closed.
    CutAfter(usize),
    /// The request passes, the answer does not: the server has acted, and nobody hears of it.
    LoseAnswer,
    /// The answer waits this long.
    Delay(Duration),
    /// This many bytes of the answer pass, then only that direction ends.
    HalfCloseAfter(usize),
}

/// A running proxy. It ends when it is dropped.
pub(crate) struct Chaos {
    /// Where clients connect to.
    pub(crate) address: SocketAddr,
    weather: Arc<Mutex<Weather>>,
    task: JoinHandle<()>,
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Chaos {
    /// Stands in front of `server`.
    pub(crate) async fn before(server: SocketAddr, weather: Weather) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let weather = Arc::new(Mutex::new(weather));
        let shared = Arc::clone(&weather);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let weather = *shared.lock().unwrap();
                tokio::spawn(connection(client, server, weather));
            }
        });
        Self { address, weather, task }
    }

    /// Changes the weather for new connections.
    pub(crate) fn turn(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }
}

async fn connection(mut client: TcpStream, server: SocketAddr, weather: Weather) {
    if weather == Weather::Refuse {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        match weather {
            Weather::CutAfter(bytes) => {
                let mut limited = (&mut from_client).take(bytes as u64);
                let _ = tokio::io::copy(&mut limited, &mut to_server).await;
            }
            _ => {
                let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                let _ = to_server.shutdown().await;
            }
        }
    };
    let down = async {
        match weather {
            Weather::LoseAnswer => {
                let mut first = [0];
                let _ = from_server.read(&mut first).await;
            }
            Weather::HalfCloseAfter(bytes) => {
                let mut limited = (&mut from_server).take(bytes as u64);
                let _ = tokio::io::copy(&mut limited, &mut to_client).await;
                let _ = to_client.shutdown().await;
                std::future::pending::<()>().await;
            }
            Weather::Delay(delay) => {
                let mut buffer = vec![0; 16 * 1024];
                while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                    tokio::time::sleep(delay).await;
                    if to_client.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            }
            _ => {
                let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
            }
        }
    };
    // Whatever ends first ends both, but for the closing of the client's own half.
    match weather {
        Weather::CutAfter(_) => tokio::select! { () = up => {}, () = down => {} },
        _ => {
            tokio::select! { () = down => {}, () = async { up.await; std::future::pending::<()>().await } => {} }
        }
    }
}
