//! The private-address guard: a name that resolves into a private network is refused before anything connects to it.
//! A host written as `localhost` or as an IP address is taken at its word: whoever wrote it meant it. Knows names and
//! addresses; knows nothing of what is sent there, or why.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Addresses of one name that are looked at; a name with more is treated as if it had these.
const ADDRESSES_MAX: usize = 64;

/// Where names become addresses. Tests bring their own.
#[async_trait]
pub trait Names: Send + Sync {
    /// Every address of `name`.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The names of the operating system (`getaddrinfo`).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

#[async_trait]
impl Names for SystemNames {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).take(ADDRESSES_MAX).collect())
    }
}

/// Resolves names, and refuses the ones that lead into a private network.
/// - every address of a name is judged, and one bad address refuses the name: a name that points both ways is how
///   rebinding works
/// - the addresses that were judged are the ones that are connected to
#[derive(Clone)]
pub struct Guard {
    names: Arc<dyn Names>,
    allow_private: bool,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// It leads into a private network.
    #[error("`{name}` resolves to the private address {address}")]
    Private {
        /// The name.
        name: String,
        /// The first private address.
        address: IpAddr,
    },
    /// It has no address, or nobody could say.
    #[error("`{name}` cannot be resolved: {message}")]
    Unknown {
        /// The name.
        name: String,
        /// What the resolver said.
        message: String,
    },
}

impl Guard {
    /// Resolves through `names`; with `allow_private` nothing is refused.
    #[must_use]
    pub fn new(names: Arc<dyn Names>, allow_private: bool) -> Self {
        Self { names, allow_private }
    }

    /// The same names, with nothing refused.
    #[must_use]
    pub fn permissive(&self) -> Self {
        Self { names: Arc::clone(&self.names), allow_private: true }
    }

    /// The addresses of a host as written in a URL (an IPv6 address may stand in brackets).
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, GuardError> {
        if let Some(literal) = literal(host) {
            return Ok(vec![literal]);
        }
        let unknown = |message: String| GuardError::Unknown { name: host.to_owned(), message };
        let mut found = self.names.lookup(host).await.map_err(|error| unknown(error.to_string()))?;
        found.truncate(ADDRESSES_MAX);
        if found.is_empty() {
            return Err(unknown("it has no address".to_owned()));
        }
        if self.allow_private || is_localhost(host) {
            return Ok(found);
        }
        match found.iter().find(|address| !is_public(**address)) {
            Some(address) => Err(GuardError::Private { name: host.to_owned(), address: *address }),
            None => Ok(found),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = guard.addresses(name.as_str()).await?;
            // Port 0 stands for the port of the URL.
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

fn is_localhost(host: &str) -> bool {
    host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost")
}

/// Whether an address is one of the public internet: not private, loopback, link-local, shared (CGNAT), multicast,
/// unspecified, reserved, or a form that hides an IPv4 address of such a kind.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let reserved = match (a, b, c) {
        // This network, private use, loopback, private use again.
        (0 | 10 | 127, ..) | (172, 16..=31, _) | (192, 168, _) => true,
        // Shared address space behind carriers' NAT, link-local (and the metadata services of clouds).
        (100, 64..=127, _) | (169, 254, _) => true,
        // Protocol assignments, documentation, the former 6to4 anycast, benchmarks.
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99) | (198, 18..=19, _) => true,
        // Multicast, reserved, broadcast.
        (224.., ..) => true,
        _ => false,
    };
    // Azure's platform service: a public address that only a machine inside can reach.
    !reserved && address != Ipv4Addr::new(168, 63, 129, 16)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // NAT64: the way of IPv6-only networks to the IPv4 internet.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // 6to4 carries an IPv4 address.
        [0x2002, high, low, ..] => embedded(high, low),
        // Protocol assignments with Teredo, documentation.
        [0x2001, second, ..] if second < 0x200 => false,
        [0x2001, 0xdb8, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Everything else that is global unicast. Outside of it: unspecified, loopback, v4-mapped, unique local,
        // link-local, site-local, multicast.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Vec<IpAddr>);

    #[async_trait]
    impl Names for Fixed {
        async fn lookup(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
            Ok(self.0.clone())
        }
    }

    fn guard(addresses: &[&str], allow_private: bool) -> Guard {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Guard::new(Arc::new(Fixed(addresses)), allow_private)
    }

    #[test]
    fn private_addresses_of_every_kind_are_told_from_public_ones() {
        let private = "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.0.1 169.254.169.254 \
            172.16.0.1 172.31.255.255 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 \
            198.51.100.7 203.0.113.7 224.0.0.1 240.0.0.1 255.255.255.255 168.63.129.16 \
            :: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::7f00:1 64:ff9b::10.0.0.1 64:ff9b:1::1 100::1 2001::1 \
            2001:db8::1 2002:7f00:1::1 2002:c0a8:101::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1";
        for text in private.split_whitespace() {
            assert!(!is_public(text.parse().unwrap()), "{text} counts as public");
        }
        let public = "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.167.1.1 198.17.0.1 \
            223.255.255.255 2606:4700::1111 2a00:1450:4001::1 64:ff9b::8.8.8.8 2002:808:808::1 2001:4860:4860::8888";
        for text in public.split_whitespace() {
            assert!(is_public(text.parse().unwrap()), "{text} counts as private");
        }
    }

    #[tokio::test]
    async fn a_name_with_one_private_address_is_refused_and_names_it() {
        let refusal =
            guard(&["8.8.8.8", "10.0.0.7"], false).addresses("hooks.example.com").await.unwrap_err();
        assert_eq!(refusal.to_string(), "`hooks.example.com` resolves to the private address 10.0.0.7");
        assert!(guard(&["10.0.0.7"], true).addresses("hooks.example.com").await.is_ok());
        assert!(guard(&["8.8.8.8"], false).addresses("hooks.example.com").await.is_ok());
    }

    #[tokio::test]
    async fn localhost_and_addresses_are_taken_at_their_word() {
        let guard = guard(&["127.0.0.1"], false);
        for host in ["localhost", "LOCALHOST.", "10.0.0.1", "[::1]", "169.254.169.254"] {
            assert!(guard.addresses(host).await.is_ok(), "{host}");
        }
        for host in ["localhost.example.com", "notlocalhost", "localhost.localdomain"] {
            assert!(guard.addresses(host).await.is_err(), "{host}");
        }
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_unknown_and_not_private() {
        let refusal = guard(&[], false).addresses("nowhere.example.com").await.unwrap_err();
        assert!(matches!(refusal, GuardError::Unknown { .. }), "{refusal}");
    }
}
