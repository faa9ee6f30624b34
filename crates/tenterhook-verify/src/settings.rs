//! What a scheme has to know about a source beside its secrets: an id, an audience, a registered URL. The scheme declares
//! the names; whoever configures a source can so be told which are missing and which mean nothing.

use std::collections::BTreeMap;

use crate::SpecError;

/// One setting that a scheme understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name, as written in a config: `webhook_id`.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: SettingKind,
    /// Whether nothing verifies without it.
    pub required: bool,
    /// What it is and where the provider shows it, one line.
    pub help: &'static str,
}

/// The form of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// One text that is not empty.
    Text,
    /// An absolute `http` or `https` URL.
    Url,
    /// One or more texts.
    List,
    /// Texts by name.
    Table,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingValue {
    /// For [`SettingKind::Text`] and [`SettingKind::Url`].
    Text(String),
    /// For [`SettingKind::List`].
    List(Vec<String>),
    /// For [`SettingKind::Table`].
    Table(BTreeMap<String, String>),
}

/// The settings of one source, by name. They hold no secrets and may be printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<String, SettingValue>,
}

impl Settings {
    /// The same settings with one more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<SettingValue>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A text or a URL; `None` where it is not set.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name)? {
            SettingValue::Text(text) => Some(text),
            SettingValue::List(_) | SettingValue::Table(_) => None,
        }
    }

    /// A list; empty where it is not set.
    #[must_use]
    pub fn list(&self, name: &str) -> &[String] {
        match self.values.get(name) {
            Some(SettingValue::List(texts)) => texts,
            _ => &[],
        }
    }

    /// A text of a table.
    #[must_use]
    pub fn entry(&self, name: &str, key: &str) -> Option<&str> {
        match self.values.get(name)? {
            SettingValue::Table(table) => table.get(key).map(String::as_str),
            SettingValue::Text(_) | SettingValue::List(_) => None,
        }
    }

    /// Holds the settings against what a scheme declares; all problems at once, each under the setting's name.
    pub(crate) fn check(&self, declared: &[Setting]) -> Result<(), Vec<SpecError>> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, message: String, hint: String| {
            problems.push(SpecError { key: key.to_owned(), message, hint });
        };
        for setting in declared {
            match self.values.get(setting.name) {
                None if setting.required => {
                    problem(setting.name, format!("`{}` is not set", setting.name), setting.help.to_owned());
                }
                None => {}
                Some(value) if !setting.kind.takes(value) => {
                    let message = format!("`{}` is not {}", setting.name, setting.kind.describe());
                    problem(setting.name, message, setting.help.to_owned());
                }
                Some(_) => {}
            }
        }
        for name in self.values.keys() {
            if !declared.iter().any(|setting| setting.name == name) {
                let known: Vec<String> =
                    declared.iter().map(|setting| format!("`{}`", setting.name)).collect();
                let hint = if known.is_empty() {
                    "remove it; the scheme takes no settings".to_owned()
                } else {
                    format!("the scheme takes {}", known.join(", "))
                };
                problem(name, format!("`{name}` means nothing to this scheme"), hint);
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

impl SettingKind {
    fn takes(self, value: &SettingValue) -> bool {
        match (self, value) {
            (Self::Text, SettingValue::Text(text)) => !text.is_empty(),
            (Self::Url, SettingValue::Text(text)) => ["https://", "http://"]
                .iter()
                .any(|scheme| text.len() > scheme.len() && text.starts_with(scheme)),
            (Self::List, SettingValue::List(texts)) => {
                !texts.is_empty() && texts.iter().all(|text| !text.is_empty())
            }
            (Self::Table, SettingValue::Table(table)) => !table.is_empty(),
            _ => false,
        }
    }

    /// The form in words, behind "is not".
    fn describe(self) -> &'static str {
        match self {
            Self::Text => "a text, or is empty",
            Self::Url => "an absolute URL",
            Self::List => "a list of texts, or is empty",
            Self::Table => "a table of texts, or is empty",
        }
    }
}

impl From<&str> for SettingValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for SettingValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<String>> for SettingValue {
    fn from(texts: Vec<String>) -> Self {
        Self::List(texts)
    }
}

impl From<BTreeMap<String, String>> for SettingValue {
    fn from(table: BTreeMap<String, String>) -> Self {
        Self::Table(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: [Setting; 2] = [
        Setting { name: "webhook_id", kind: SettingKind::Text, required: true, help: "the id" },
        Setting { name: "callback_url", kind: SettingKind::Url, required: false, help: "the URL" },
    ];

    fn keys(settings: &Settings) -> Vec<String> {
        let problems = settings.check(&DECLARED).err().unwrap_or_default();
        assert!(problems.iter().all(|problem| !problem.hint.is_empty()), "{problems:?}");
        problems.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn what_is_missing_malformed_or_unknown_is_told_together() {
        let settings = Settings::default();
        assert_eq!(keys(&settings), ["webhook_id"]);
        let settings = settings.with("callback_url", "hooks.example.com").with("webhok_id", "1");
        assert_eq!(keys(&settings), ["webhook_id", "callback_url", "webhok_id"]);
        let settings = Settings::default().with("webhook_id", vec!["1".to_owned()]);
        assert_eq!(keys(&settings), ["webhook_id"]);
        let settings = Settings::default().with("webhook_id", "1").with("callback_url", "https://a.example");
        assert_eq!(keys(&settings), [""; 0]);
    }

    #[test]
    fn a_setting_is_read_in_its_own_form_only() {
        let table = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let settings = Settings::default().with("a", "1").with("b", vec!["2".to_owned()]).with("c", table);
        assert_eq!((settings.text("a"), settings.text("b")), (Some("1"), None));
        assert_eq!((settings.list("b").len(), settings.list("a").len()), (1, 0));
        assert_eq!((settings.entry("c", "k"), settings.entry("c", "l")), (Some("v"), None));
    }
}
