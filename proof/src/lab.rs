//! What every rig works with: the binary under proof, a site to run it on, a handler and senders that keep journals, and
//! a judge that compares them with the ledger. It does not know any fault.

pub mod counter;
pub mod fill;
pub mod flood;
pub mod gateway;
pub mod handler;
pub mod judge;
pub mod load;
pub mod measure;
pub mod sink;
pub mod slow;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

pub use counter::Counter;
pub use flood::{Flood, Stamp};
pub use gateway::{Addresses, Gateway, Launch, Site};
pub use handler::Handler;
pub use load::{Answer, Journal, Load, Sender};

/// How long anything may take on a busy machine before it counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The secret of the rigs' sources; its variable is `RIG_SECRET`.
pub const SECRET: &str = "a-secret-for-the-rigs-only-0123456789";

/// A client for plain HTTP. Root certificates would take longer to read than a gateway to start.
pub fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?)
}

/// Which binary is proved.
#[derive(Clone, Debug)]
pub struct Lab {
    binary: PathBuf,
    prove: PathBuf,
}

impl Lab {
    /// Over the gateway's binary at `binary`.
    pub fn new(binary: &Path) -> anyhow::Result<Self> {
        let found = binary.canonicalize().with_context(|| {
            format!("there is no gateway at `{}`; build it with `cargo build --release`", binary.display())
        })?;
        Ok(Self { binary: found, prove: std::env::current_exe()? })
    }

    /// The gateway's binary.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// This binary: `prove gateway --bug …` is a broken gateway.
    #[must_use]
    pub fn prove(&self) -> &Path {
        &self.prove
    }
}

/// Looks every few milliseconds until `found` gives something; `what` is said where it never does.
pub async fn until<T, F: Future<Output = anyhow::Result<Option<T>>>>(
    what: &str,
    patience: Duration,
    mut found: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut look = tokio::time::interval(Duration::from_millis(10));
    loop {
        look.tick().await;
        if let Some(it) = found().await? {
            return Ok(it);
        }
        let late = tokio::time::Instant::now() > deadline;
        anyhow::ensure!(!late, "{what}: not within {} s", patience.as_secs());
    }
}
