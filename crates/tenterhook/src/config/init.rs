//! What `tenterhook init` writes: a short, commented, working config for one provider, and what to do next.

use std::fmt::Write;

use tenterhook_verify::Provider;
use tenterhook_verify::settings::{Setting, SettingKind};

/// A config to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The file.
    pub config: String,
    /// Variables that have to be set before the gateway starts: name, and where its value is found.
    pub variables: Vec<(String, String)>,
    /// The path to give to the provider, behind one's own host name.
    pub path: String,
    /// What people get wrong with this provider.
    pub pitfalls: Vec<String>,
}

/// Writes a config for `provider` that delivers to `handler_url`.
#[must_use]
pub fn start(provider: &Provider, handler_url: &str) -> Start {
    let name = &provider.name;
    let mut variables = Vec::new();
    let mut source = format!("provider = \"{name}\"\n");
    let has_secret = !provider.scheme.is_unsigned() && !provider.scheme.fetches_keys();
    let learns = provider.handshakes.learn();
    if learns {
        let _ = writeln!(
            source,
            "# no `secrets`: {} brings its key when the webhook is created there.\n# Before that: tenterhook sources pending {name}",
            provider.display
        );
    }
    if provider.scheme.fetches_with_credentials() {
        let variable = format!("{}_SECRET", name.to_ascii_uppercase().replace(['-', '.'], "_"));
        let _ = writeln!(
            source,
            "settings = {{ client_id = \"change-me\", secret = \"env:{variable}\" }}   # by these the keys are asked for"
        );
        variables
            .push((variable, format!("the API secret that {} shows beside the client id", provider.display)));
    }
    if provider.public_keys.is_empty() && has_secret && !learns {
        let variable = format!("{}_WEBHOOK_SECRET", name.to_ascii_uppercase().replace(['-', '.'], "_"));
        let what = if provider.scheme.is_asymmetric() { "public key" } else { "signing secret" };
        let _ = match &provider.spec.key_id {
            Some(header) => writeln!(
                source,
                "secrets = [{{ ref = \"env:{variable}\", id = \"change-me\" }}]   # id: the key that {header} names"
            ),
            None => writeln!(
                source,
                "secrets = [\"env:{variable}\"]   # several while you rotate; never the secret itself"
            ),
        };
        variables.push((variable, format!("the {what} that {} shows for this endpoint", provider.display)));
    } else if !provider.public_keys.is_empty() {
        let others: Vec<&str> = provider.public_keys.iter().map(|(name, _)| name.as_str()).collect();
        let environment = if others.contains(&"production") { "production" } else { others[0] };
        let _ = writeln!(source, "environment = \"{environment}\"   # one of: {}", others.join(", "));
    }
    if provider.scheme.is_unsigned() {
        source.push_str("verify = \"none\"\nallow_unsigned = true   # it signs nothing: anybody who knows the URL can send\n");
    }
    // Without its topics a source of SNS would take anybody's.
    let is_needed =
        |setting: &&Setting| setting.required || (setting.name == "topics" && provider.scheme.fetches_keys());
    let required: Vec<_> = provider.scheme.settings().iter().filter(is_needed).collect();
    if !required.is_empty() {
        let written: Vec<String> = required.iter().map(|setting| placeholder(setting)).collect();
        let _ = writeln!(source, "settings = {{ {} }}   # change them", written.join(", "));
        for setting in required {
            let _ = writeln!(source, "# {}: {}", setting.name, setting.help);
        }
    }
    if provider.scheme.signs_url() {
        let _ = writeln!(
            source,
            "public_url = \"https://hooks.example.com/webhooks/{name}\"   # change it: exactly as configured at the provider"
        );
    }
    let waits = provider.answer.as_ref().and_then(|answer| Some((answer.reads.as_deref()?, answer.always)));
    match waits {
        Some((what, true)) => {
            let _ = writeln!(source, "respond = \"handler\"   # {what} act on what your application answers");
        }
        Some((what, false)) => {
            let _ = writeln!(
                source,
                "# respond = \"handler\"   # for {what}, which are answered what your application answers"
            );
        }
        None => {}
    }
    let priority = match waits {
        Some((_, true)) => "priority = \"high\"               # somebody waits\n",
        _ => "",
    };
    let config = format!(
        r#"# Receives webhooks of {display} and delivers them to your application.
# Every other key, with its default: tenterhook.example.toml, docs/reference/config.md.

[server]
listen = "127.0.0.1:8080"         # where {display} sends to, behind your HTTPS proxy
admin_listen = "127.0.0.1:8081"   # admin API, console, metrics

[store]
url = "sqlite:tenterhook.db"      # beside this file

[sources.{name}]                  # receives at /webhooks/{name}
{source}
[destinations.app]
type = "http"
url = "{handler_url}"
# signing_secret = "env:APP_SIGNING_SECRET"   # whsec_…: signs what your application receives

[[routes]]
source = "{name}"
destination = "app"
{priority}# events = ["…"]                  # globs on the event type; all, unless you say so
"#,
        display = provider.display,
    );
    Start { config, variables, path: format!("/webhooks/{name}"), pitfalls: provider.pitfalls.clone() }
}

/// A setting as it is to be changed.
fn placeholder(setting: &Setting) -> String {
    let value = match setting.kind {
        SettingKind::Text => "\"change-me\"",
        SettingKind::Url => "\"https://hooks.example.com/change-me\"",
        SettingKind::List => "[\"change-me\"]",
        SettingKind::Table => "{ change-me = \"change-me\" }",
    };
    format!("{} = {value}", setting.name)
}
