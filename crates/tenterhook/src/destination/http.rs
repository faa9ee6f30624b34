//! Delivers to an HTTP handler. Knows the headers a handler sees and how an answer is read; knows nothing of retries.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tenterhook_verify::{Secret, Verifier};

use crate::model::SourceName;

/// Everything an HTTP destination needs, checked.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where to.
    pub url: String,
    /// The whole attempt, from connect to the last byte that is read.
    pub timeout: Duration,
    /// For the connection alone.
    pub connect_timeout: Duration,
    /// `whsec_` + base64 of 24–64 bytes: signs every delivery in the Standard Webhooks scheme.
    pub signing_secret: Option<Secret>,
    /// Headers added to every delivery. Values may be secrets.
    pub headers: HeaderMap,
    /// Extra root certificates, PEM.
    pub ca_file: Option<PathBuf>,
    /// Client certificate and key, PEM in one file.
    pub client_certificate_file: Option<PathBuf>,
    /// Through this proxy.
    pub proxy: Option<String>,
    /// A name may resolve to a private or link-local address.
    pub allow_private: bool,
    /// Signs each attempt afresh in the provider's own scheme, by source.
    pub resign: BTreeMap<SourceName, Arc<Verifier>>,
    /// Statuses that refuse for good, besides 410.
    pub dead_statuses: Vec<StatusCode>,
    /// Events are sent in batches in one request.
    pub batch: bool,
}
