//! Which URLs may be fetched: https, on a host of a list that the catalog names, without a port, credentials, or anything
//! that two readers of URLs would take differently.

/// The longest URL that is considered, in bytes.
const URL_BYTES_MAX: usize = 2048;

/// A list of hosts. `*` within a pattern stands for one or more letters, digits and `-` of one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hosts {
    patterns: Vec<String>,
}

impl Hosts {
    /// A list out of its patterns; the problem otherwise.
    pub(crate) fn new(patterns: &[String]) -> Result<Self, String> {
        if patterns.is_empty() {
            return Err("no host is named".to_owned());
        }
        for pattern in patterns {
            let labels: Vec<&str> = pattern.split('.').collect();
            let sound = |label: &&str| {
                !label.is_empty()
                    && label.bytes().all(|byte| byte == b'*' || is_of_label(byte))
                    && label.matches('*').count() <= 1
            };
            // The registered name itself is never a pattern.
            let fixed = labels.iter().rev().take(2).all(|label| !label.contains('*'));
            if labels.len() < 2 || !labels.iter().all(sound) || !fixed {
                return Err(format!("`{pattern}` is no list of hosts of one owner"));
            }
        }
        Ok(Self { patterns: patterns.to_vec() })
    }

    /// Whether `url` may be fetched.
    pub(crate) fn allow(&self, url: &str) -> bool {
        https_host(url).is_some_and(|host| self.patterns.iter().any(|pattern| fits(pattern, host)))
    }
}

/// The host of a plain https URL: `https://HOST/…` or `https://HOST`, the host in lower case letters, digits, `-` and `.`,
/// everything printable ASCII without a backslash, quotes or angle brackets.
pub(crate) fn https_host(url: &str) -> Option<&str> {
    let plain =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'^' | b'`');
    if url.len() > URL_BYTES_MAX || !url.bytes().all(plain) {
        return None;
    }
    let rest = url.strip_prefix("https://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = &rest[..end];
    let sound = host.split('.').all(|label| !label.is_empty() && label.bytes().all(is_of_label));
    (sound && host.contains('.')).then_some(host)
}

fn is_of_label(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

/// Label by label, so that no `*` ever spans a dot.
pub(crate) fn fits(pattern: &str, host: &str) -> bool {
    let (mut wanted, mut found) = (pattern.split('.'), host.split('.'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if label_fits(wanted, found) => {}
            _ => return false,
        }
    }
}

fn label_fits(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == label,
        Some((head, tail)) => {
            label.len() > head.len() + tail.len() && label.starts_with(head) && label.ends_with(tail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(patterns: &[&str]) -> Result<Hosts, String> {
        Hosts::new(&patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_https_on_the_very_hosts_of_the_list_may_be_fetched() {
        let hosts = hosts(&["sns.*.amazonaws.com", "api.paypal.com"]).unwrap();
        for url in [
            "https://sns.us-east-1.amazonaws.com/x.pem",
            "https://api.paypal.com",
            "https://api.paypal.com?a=b",
        ] {
            assert!(hosts.allow(url), "{url}");
        }
        for url in [
            "http://api.paypal.com/",
            "HTTPS://api.paypal.com/",
            "https://API.paypal.com/",
            "https://api.paypal.com:443/",
            "https://api.paypal.com:8443/",
            "https://api.paypal.com./",
            "https://api.paypal.com@evil.example/",
            "https://evil.example/@api.paypal.com/",
            "https://evil.example#api.paypal.com/",
            "https://evil.example\\api.paypal.com/",
            "https://api.paypal.com\\@evil.example/",
            "https://api.paypal.com%2eevil.example/",
            "https://api.paypal.com.evil.example/",
            "https://evilapi.paypal.com/",
            "https://evilpaypal.com/",
            "https://sns.amazonaws.com/x.pem",
            "https://sns..amazonaws.com/x.pem",
            "https://sns.a.b.amazonaws.com/x.pem",
            "https://sns.us-east-1.amazonaws.com.evil.example/x.pem",
            "https:///api.paypal.com/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https:// api.paypal.com/",
            "https://api.paypal.com/a b",
            "https://api.paypal.com/\r\nHost: evil.example",
            "",
        ] {
            assert!(!hosts.allow(url), "{url}");
        }
        assert!(!hosts.allow(&format!("https://api.paypal.com/{}", "a".repeat(URL_BYTES_MAX))));
    }

    #[test]
    fn a_pattern_cannot_stand_for_somebody_elses_hosts() {
        for pattern in [
            "*.com",
            "*",
            "api.*",
            "a.*.com",
            "",
            "com",
            "a..com",
            "A.example.com",
            "a.*b*.example.com",
            "x/y.com",
        ] {
            assert!(hosts(&[pattern]).is_err(), "{pattern}");
        }
        assert!(hosts(&[]).is_err());
    }
}
