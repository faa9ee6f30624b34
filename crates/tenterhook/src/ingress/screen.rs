//! Everything that can be judged from the head of a request, before a byte of its body is read.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method};
use http_body::Body;
use ipnet::IpNet;

use crate::net::listener::Peer;
use crate::source::Source;

use super::door::Door;
use super::journal::Visit;
use super::reply::Rejection;

/// Only `POST` brings events; handshakes come as their providers send them.
pub(super) fn method(method: &Method, source: &Source) -> Result<(), Rejection> {
    if source.handshakes.takes(method) { Ok(()) } else { Err(Rejection::method(source)) }
}

/// No transfer coding but `chunked`, said once. The parser also takes it as the last of several codings; a proxy in front
/// of us may then see another body, and no provider sends one.
pub(super) fn coding(head: &Parts) -> Result<(), Rejection> {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Rejection::coding()),
    }
}

/// Exactly one host, well formed, without user info, and the same wherever it is said. Proxies in front of us route by
/// it, so a request that is ambiguous about it is refused.
pub(super) fn host(head: &Parts) -> Result<(), Rejection> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    let in_uri = head.uri.authority();
    let said = match (host, in_uri) {
        _ if another.is_some() => return Err(Rejection::host("more than one `Host`")),
        (None, None) => return Err(Rejection::host("no `Host`")),
        // HTTP/2 says it in `:authority`; HTTP/1.1 has to say it in `Host`, whatever the target says.
        (None, Some(_)) if head.version < http::Version::HTTP_2 => return Err(Rejection::host("no `Host`")),
        (None, Some(authority)) => authority.clone(),
        (Some(host), _) => {
            Authority::try_from(host.as_bytes()).map_err(|_| Rejection::host("`Host` is malformed"))?
        }
    };
    if !is_plain(&said) {
        return Err(Rejection::host("`Host` is malformed"));
    }
    if in_uri.is_some_and(|authority| *authority != said) {
        return Err(Rejection::host("the target and `Host` name different hosts"));
    }
    Ok(())
}

/// A name or an address, and perhaps a port: no user info, and no comma that a proxy may have joined two hosts with.
fn is_plain(authority: &Authority) -> bool {
    let host = authority.host();
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_host = host.starts_with('[') || (!host.is_empty() && host.bytes().all(of_name));
    // What follows the host is all that is left: with user info before it, this is no port.
    match authority.as_str().strip_prefix(host) {
        Some("") => is_host,
        Some(port) => is_host && port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()),
        None => false,
    }
}

/// The sender's address: the socket's, or, behind trusted proxies, the rightmost `X-Forwarded-For` hop that is not one
/// of them. A hop that is not an address is nobody: then the proxy that passed it on counts.
pub(super) fn address(headers: &HeaderMap, peer: Peer, trusted_proxies: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted_proxies.iter().any(|proxies| proxies.contains(&address));
    let mut address = peer.address.ip().to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>();
    let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        if !is_trusted(address) {
            break;
        }
        match parse_hop(hop) {
            Some(hop) => address = hop,
            None => break,
        }
    }
    address
}

/// An address, an IPv4 address with a port, or a bracketed IPv6 address with or without one. No zones, no octal.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let bare = match hop.strip_prefix('[') {
        Some(bracketed) => {
            let (inside, after) = bracketed.split_once(']')?;
            let port = after.strip_prefix(':').unwrap_or("0");
            if (!after.is_empty() && !after.starts_with(':')) || port.parse::<u16>().is_err() {
                return None;
            }
            return inside.parse::<std::net::Ipv6Addr>().ok().map(|ip| IpAddr::V6(ip).to_canonical());
        }
        None => match hop.split_once(':') {
            Some((v4, port)) if !port.contains(':') => port.parse::<u16>().ok().map(|_| v4)?,
            _ => hop,
        },
    };
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// What the source says about addresses, rates, lengths and headers.
///
/// A handshake that comes without a signature cannot be told from a forged event before its body is there.
pub(super) fn source<B>(door: &Door, head: &Parts, body: &B, visit: &Visit) -> Result<(), Rejection>
where
    B: Body<Data = Bytes>,
{
    let limits = &door.source.limits;
    let address = visit.source_ip;
    if !limits.allow_from.is_empty() && !limits.allow_from.iter().any(|net| net.contains(&address)) {
        return Err(Rejection::address());
    }
    door.take_unverified(address, visit.received_at)?;
    if body.size_hint().lower() > limits.body_bytes_max {
        return Err(Rejection::too_large(limits.body_bytes_max));
    }
    let (source, now) = (&door.source, visit.judged_at.to_system());
    if head.method != Method::POST || source.handshakes.may_come_unproven(&source.verifier) {
        return Ok(());
    }
    source.verifier.screen(&head.headers, now).map_err(Rejection::unverified)
}
