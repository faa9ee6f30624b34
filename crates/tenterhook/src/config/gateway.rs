//! Builds `[server]`, `[store]` and `[[admin_tokens]]`.

use std::net::{Ipv4Addr, SocketAddr};

use super::file::Table;
use super::problem::Findings;
use super::schema::{ADMIN_TOKEN, SERVER, STORE};
use super::secrets::{Resolver, Rules};
use super::section::Section;
use super::{AdminSettings, AdminToken, LogSettings, ServerSettings, StoreSettings, TlsSettings, values};
use crate::store::Retention;

/// Shorter tokens are refused, in bytes.
const TOKEN_BYTES_MIN: usize = 32;

/// Rows that one slice of retention removes at most, so that it never holds up an accept for long.
const PRUNED_ROWS_MAX: u32 = 500;

/// Builds `[server]`.
pub(super) fn server(root: &Table, resolver: &Resolver<'_>, findings: &mut Findings) -> ServerSettings {
    let section = Section::new("server", SERVER, root.node("server"));
    let log = section.inner("log", "server.log");
    let settings = ServerSettings {
        listen: socket(root, "listen"),
        admin_listen: socket(root, "admin_listen"),
        tls: tls(section, resolver, findings),
        trusted_proxies: section.networks("trusted_proxies"),
        connections_max: section.integer("connections_max").unwrap_or(1),
        unverified_bytes_max: section.size("unverified_bytes_max").unwrap_or_default(),
        header_timeout: section.set_duration("header_timeout"),
        idle_timeout: section.set_duration("idle_timeout"),
        commit_timeout: section.set_duration("commit_timeout"),
        rate_per_address: section.rate("rate_per_address"),
        key_server: key_server(section, findings),
        grace: section.set_duration("grace"),
        workers: section.integer("workers").unwrap_or_default(),
        log: LogSettings {
            json: log.text("format").as_deref() == Some("json"),
            filter: log.text("filter").unwrap_or_default(),
        },
    };
    check_listeners(section, &settings, findings);
    check_filter(log, &settings.log, findings);
    settings
}

/// An address of `[server]`.
pub(super) fn socket(root: &Table, name: &str) -> SocketAddr {
    let section = Section::new("server", SERVER, root.node("server"));
    let unset = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    section.text(name).and_then(|text| values::socket(&text).ok()).unwrap_or(unset)
}

fn tls(section: Section<'_>, resolver: &Resolver<'_>, findings: &mut Findings) -> Option<TlsSettings> {
    section.node("tls")?;
    let tls = section.inner("tls", "server.tls");
    super::destination::check_files(tls, resolver.directory, &["certificate_file", "key_file"], findings);
    Some(TlsSettings {
        certificate_file: tls.file("certificate_file", resolver.directory)?,
        key_file: tls.file("key_file", resolver.directory)?,
    })
}

/// Whoever answers there decides what is authentic: it is warned about at every start.
fn key_server(section: Section<'_>, findings: &mut Findings) -> Option<String> {
    let url = section.text("key_server")?;
    let message = "keys are taken from a server that stands in for the providers' own: whoever answers there decides \
                   what is authentic";
    findings.warning(&section.at("key_server"), message, "for tests only: remove it");
    Some(url)
}

fn check_listeners(section: Section<'_>, settings: &ServerSettings, findings: &mut Findings) {
    let (listen, admin) = (settings.listen, settings.admin_listen);
    if listen == admin && listen.port() != 0 {
        findings.problem(
            &section.at("admin_listen"),
            "is the same address as `listen`",
            "the admin listener needs a port of its own",
        );
    }
    let is_public = !listen.ip().is_loopback();
    if is_public && settings.tls.is_none() && settings.trusted_proxies.is_empty() {
        findings.warning(
            &section.at("listen"),
            "plain HTTP on an address that is not loopback: webhooks belong on HTTPS",
            "set `server.tls`, or put a proxy in front and name it in `server.trusted_proxies`",
        );
    }
}

fn check_filter(section: Section<'_>, log: &LogSettings, findings: &mut Findings) {
    if tracing_subscriber::EnvFilter::try_new(&log.filter).is_err() {
        let hint = "such as `info`, `warn` or `info,tenterhook=debug`";
        findings.problem(&section.at("filter"), "is not a log filter", hint);
    }
}

/// Builds `[store]`.
pub(super) fn store(root: &Table, resolver: &Resolver<'_>, findings: &mut Findings) -> StoreSettings {
    let section = Section::new("store", STORE, root.node("store"));
    let url = section.text("url").unwrap_or_default();
    let url = match url.strip_prefix("sqlite:") {
        Some(path) => sqlite(section, path, resolver, findings),
        None => url,
    };
    StoreSettings {
        url,
        retention: Retention {
            events: section.set_duration("retention"),
            dead: section.duration("dead_retention"),
            audit: section.set_duration("audit_retention"),
            rows_max: PRUNED_ROWS_MAX,
        },
        bytes_max: section.size("max_bytes"),
    }
}

/// The path, absolute, so that it means the same file from everywhere.
fn sqlite(section: Section<'_>, path: &str, resolver: &Resolver<'_>, findings: &mut Findings) -> String {
    let path = resolver.directory.join(path.trim());
    let path = std::path::absolute(&path).unwrap_or(path);
    if path.is_dir() {
        findings.problem(&section.at("url"), "the path of the store is a directory", "name a file in it");
    } else if path.parent().is_some_and(|parent| !parent.is_dir()) {
        findings.problem(&section.at("url"), "the directory of the store does not exist", "create it first");
    }
    match path.to_str() {
        Some(path) => format!("sqlite:{path}"),
        None => {
            findings.problem(&section.at("url"), "the path of the store is not UTF-8", "");
            String::new()
        }
    }
}

/// Builds `admin_auth` and `[[admin_tokens]]`.
pub(super) fn admin(
    root: &Table,
    server: &ServerSettings,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> AdminSettings {
    let entries = root.entries("admin_tokens");
    let mut tokens: Vec<AdminToken> = Vec::new();
    for (index, node) in entries.iter().enumerate() {
        let path = format!("admin_tokens[{index}]");
        let section = Section::new(&path, ADMIN_TOKEN, Some(node));
        if let Some(token) = token(section, resolver, findings) {
            check_unlike(&token, &tokens, section, findings);
            tokens.push(token);
        }
    }
    let section = Section::new("server", SERVER, root.node("server"));
    let open = match section.text("admin_auth").as_deref() {
        Some("tokens") => false,
        Some(_) => true,
        None => entries.is_empty() && server.admin_listen.ip().is_loopback(),
    };
    check_admin(section, server, open, !entries.is_empty(), findings);
    AdminSettings { open, tokens }
}

fn token(section: Section<'_>, resolver: &mut Resolver<'_>, findings: &mut Findings) -> Option<AdminToken> {
    let place = section.at("token");
    let node = section.node("token")?;
    let has = |name: &str| node.table().is_some_and(|table| table.node(name).is_some());
    if has("not_before") || has("not_after") {
        findings.problem(
            &place,
            "an admin token counts until it is removed",
            "`created` is the one date it may have",
        );
    }
    let items = [(place.clone(), node)];
    let rules =
        Rules { bytes_min: TOKEN_BYTES_MIN, hint: "make one: `openssl rand -hex 32`", ..Rules::default() };
    let secret = resolver.secrets(&place, &items, rules, findings).pop()?;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.expose());
    Some(AdminToken {
        name: section.text("name")?,
        operator: section.text("role").as_deref() == Some("operator"),
        sha256: hash.as_ref().try_into().ok()?,
    })
}

fn check_unlike(token: &AdminToken, others: &[AdminToken], section: Section<'_>, findings: &mut Findings) {
    if others.iter().any(|other| other.name == token.name) {
        let message = "another admin token has the same name";
        findings.problem(&section.at("name"), message, "the audit trail could not tell them apart");
    }
    if others.iter().any(|other| other.sha256 == token.sha256) {
        findings.problem(&section.at("token"), "another entry has the same token", "make one for each");
    }
}

fn check_admin(
    section: Section<'_>,
    server: &ServerSettings,
    open: bool,
    has_tokens: bool,
    findings: &mut Findings,
) {
    let is_loopback = server.admin_listen.ip().is_loopback();
    let add = "add `[[admin_tokens]]` with `name`, `role` and `token = \"env:NAME\"`";
    if open && !is_loopback {
        let message = "`admin_auth = \"none\"` is allowed on a loopback address only";
        findings.problem(&section.at("admin_auth"), message, add);
    } else if open && has_tokens {
        let message = "`admin_auth = \"none\"`: the `admin_tokens` are not asked for";
        findings.warning(&section.at("admin_auth"), message, "write `admin_auth = \"tokens\"`");
    } else if !open && !has_tokens {
        let place =
            if section.has("admin_auth") { section.at("admin_auth") } else { section.at("admin_listen") };
        findings.problem(&place, "the admin listener needs tokens, and there are none", add);
    } else if !is_loopback {
        findings.warning(
            &section.at("admin_listen"),
            "the admin listener is plain HTTP on an address that is not loopback",
            "keep it in a private network, or put a proxy with HTTPS in front",
        );
    }
}
