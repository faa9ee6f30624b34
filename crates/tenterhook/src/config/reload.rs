//! What a reload cannot change: whatever is read at start only is refused by name, so that nothing is silently ignored.

use super::{Config, Problem};

impl Config {
    /// What `next` changes although a running gateway cannot: each as a problem that names the key. Empty: `next` can
    /// replace this config. TLS files are read again on a reload; only switching TLS on or off is not possible.
    #[must_use]
    pub fn unreloadable(&self, next: &Self) -> Vec<Problem> {
        let (server, changed) = (&self.server, &next.server);
        let differences = [
            ("server.listen", server.listen != changed.listen),
            ("server.admin_listen", server.admin_listen != changed.admin_listen),
            ("server.tls", server.tls.is_some() != changed.tls.is_some()),
            ("server.connections_max", server.connections_max != changed.connections_max),
            ("server.header_timeout", server.header_timeout != changed.header_timeout),
            ("server.idle_timeout", server.idle_timeout != changed.idle_timeout),
            ("server.key_server", server.key_server != changed.key_server),
            ("server.workers", server.workers != changed.workers),
            ("server.log", server.log != changed.log),
            ("store.url", self.store.url != next.store.url),
            ("store.max_bytes", self.store.bytes_max != next.store.bytes_max),
        ];
        let problem = |key: &str| Problem {
            line: next.lines.get(key).copied(),
            key: key.to_owned(),
            message: "cannot change while the gateway runs".to_owned(),
            hint: "restart it, or undo the change".to_owned(),
        };
        differences.iter().filter(|(_, differs)| *differs).map(|(key, _)| problem(key)).collect()
    }
}
