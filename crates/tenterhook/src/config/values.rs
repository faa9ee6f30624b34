//! Scalars as people write them: durations, sizes, rates, addresses. Pure; knows no key.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use jiff::civil::Date;

use super::schema::{DAY, HOUR, KIB, MIB, MINUTE, SECOND};
use crate::model::Timestamp;
use crate::policy::limit::RatePolicy;

/// Reads `30s`, `5m`, `100ms`, and says what is wrong otherwise.
pub(super) fn duration(text: &str, min_ms: u64, max_ms: u64) -> Result<Duration, String> {
    let duration = tenterhook_verify::spec::parse_duration(text)
        .map_err(|_| "expected a duration such as `30s` (units `ms`, `s`, `m`, `h`, `d`)".to_owned())?;
    let range = Duration::from_millis(min_ms)..=Duration::from_millis(max_ms);
    if range.contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("out of range: from {} to {}", duration_text(min_ms), duration_text(max_ms)))
    }
}

/// A duration in the largest unit that says it exactly.
pub(super) fn duration_text(millis: u64) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s"), (1, "ms")];
    let unit = units.iter().find(|(size, _)| millis >= *size && millis.is_multiple_of(*size));
    unit.map_or_else(|| "0s".to_owned(), |(size, name)| format!("{}{name}", millis / size))
}

/// Reads `5MiB`, `20GiB`, `512KiB`, `10MB`, `100B`, and plain bytes.
pub(super) fn size(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let expected = || {
        "expected a size such as `5MiB` (units `B`, `KiB`, `MiB`, `GiB`, `TiB`, `KB`, `MB`, `GB`)".to_owned()
    };
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits.parse().map_err(|_| expected())?;
    let unit_bytes = match unit.trim_start() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => 1024 * MIB,
        "TiB" => 1024 * 1024 * MIB,
        _ => return Err(expected()),
    };
    let bytes = number.saturating_mul(unit_bytes);
    if (min..=max).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(format!("out of range: from {} to {}", size_text(min), size_text(max)))
    }
}

/// A size in the largest binary unit that says it exactly.
pub(super) fn size_text(bytes: u64) -> String {
    let units = [(1024 * 1024 * MIB, "TiB"), (1024 * MIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    let unit = units.iter().find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bytes}B"), |(size, name)| format!("{}{name}", bytes / size))
}

/// Reads `100/s`, `600/m`, `5000/h`. The burst is `burst`, or else what a second brings, at least one.
pub(super) fn rate(text: &str, burst: Option<u32>) -> Result<RatePolicy, String> {
    const PER_SECOND_MAX: f64 = 1_000_000.0;
    let expected = || "expected a rate such as `100/s` (per `s`, `m` or `h`)".to_owned();
    let (count, unit) = text.split_once('/').ok_or_else(expected)?;
    let count: u32 = count.trim().parse().map_err(|_| expected())?;
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(expected()),
    };
    let per_second = f64::from(count) / seconds;
    if count == 0 || per_second > PER_SECOND_MAX {
        return Err("out of range: from 1/h to 1000000/s".to_owned());
    }
    // In range by the check above, so the conversion keeps the value.
    let second = per_second.ceil() as u32;
    Ok(RatePolicy { per_second, burst: burst.unwrap_or(second).max(1) })
}

/// Reads an address with a port.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:") {
        return socket(&format!("127.0.0.1:{port}"));
    }
    text.parse()
        .map_err(|_| "expected an address with a port, such as `127.0.0.1:8080` or `[::1]:8080`".to_owned())
}

/// Reads a network, or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "expected an address or a network such as `10.0.0.0/8`".to_owned())
}

/// Reads a date: RFC 3339 with a zone, or a day, which starts at midnight UTC.
pub(super) fn date(text: &str) -> Option<Timestamp> {
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        text.parse::<Date>().ok().filter(|_| text.len() == "2026-12-24".len())?;
        format!("{text}T00:00:00Z").parse().ok()
    })?;
    Some(Timestamp::from_millis(moment.as_millisecond()))
}

/// An `http` or `https` URL, taken apart as far as a config has to know it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url<'t> {
    /// `http` or `https`.
    pub(super) scheme: &'t str,
    /// Everything before an `@`, where there is one: credentials.
    pub(super) credentials: Option<&'t str>,
    /// Host and port.
    pub(super) host: &'t str,
}

/// Reads a URL.
pub(super) fn url(text: &str) -> Result<Url<'_>, String> {
    let expected = || "expected a URL such as `http://127.0.0.1:3000/hooks`".to_owned();
    let (scheme, rest) = text.split_once("://").ok_or_else(expected)?;
    if scheme != "http" && scheme != "https" {
        return Err("expected a URL that starts with `http://` or `https://`".to_owned());
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, authority),
    };
    let parses = text.parse::<http::Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    if parses && !host.is_empty() { Ok(Url { scheme, credentials, host }) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_ranges() {
        assert_eq!(duration("5m", SECOND, DAY), Ok(Duration::from_secs(300)));
        assert_eq!(duration("0s", SECOND, DAY), Err("out of range: from 1s to 1d".to_owned()));
        assert_eq!(duration("2d", SECOND, DAY), Err("out of range: from 1s to 1d".to_owned()));
        for wrong in ["", "5", "-5s", "5 parsecs", "1.5h", "99999999999999999999s"] {
            assert!(duration(wrong, 0, u64::MAX).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_units_and_ranges() {
        assert_eq!(size("5MiB", 1, 256 * MIB), Ok(5 * MIB));
        assert_eq!(size("10 MB", 1, 256 * MIB), Ok(10_000_000));
        assert_eq!(size("512", 1, 256 * MIB), Ok(512));
        assert_eq!(size("1TiB", 1, 256 * MIB), Err("out of range: from 1B to 256MiB".to_owned()));
        for wrong in ["", "5 mib", "MiB", "-1", "1.5MiB"] {
            assert!(size(wrong, 0, u64::MAX).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_are_per_second_minute_or_hour() {
        assert_eq!(rate("100/s", None), Ok(RatePolicy { per_second: 100.0, burst: 100 }));
        assert_eq!(rate("600/m", None), Ok(RatePolicy { per_second: 10.0, burst: 10 }));
        assert_eq!(rate("30/h", Some(5)), Ok(RatePolicy { per_second: 30.0 / 3600.0, burst: 5 }));
        for wrong in ["", "100", "0/s", "-1/s", "100/d", "4000000000/s"] {
            assert!(rate(wrong, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn dates_are_moments_or_days_in_utc() {
        assert_eq!(date("2026-12-24").map(Timestamp::rfc3339).as_deref(), Some("2026-12-24T00:00:00.000Z"));
        assert_eq!(
            date("2026-12-24T10:00:00+01:00").map(Timestamp::rfc3339).as_deref(),
            Some("2026-12-24T09:00:00.000Z")
        );
        assert_eq!(date("24.12.2026"), None);
    }

    #[test]
    fn urls_are_taken_apart() {
        let parsed = url("https://user:pass@example.com:8443/x?y=1").unwrap();
        assert_eq!(parsed, Url { scheme: "https", credentials: Some("user:pass"), host: "example.com:8443" });
        for wrong in ["", "example.com", "ftp://example.com", "http://", "http:///x", "http://a b/"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
