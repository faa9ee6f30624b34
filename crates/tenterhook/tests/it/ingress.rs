//! The way in, over real sockets: what is answered, what is stored, and what no peer can do to us.

mod answers;
mod authenticity;
mod catalog;
mod dedupe;
mod framing;
mod h2;
mod handshakes;
mod health;
mod kept;
mod keys;
mod limits;
mod listener;
mod log;
mod oracles;
mod registration;
mod reload;
mod said;
mod support;
mod wire;

/// Waits for a condition that something else brings about; fails when it does not.
async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(wire::PATIENCE, waiting).await.expect("it never came true");
}
