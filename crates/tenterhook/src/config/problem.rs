//! What is wrong with a config, and how that reads. Knows lines and names; knows no key and no rule.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong (or worth knowing) in a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the file, counted from 1; `None` for a problem of the environment or of the file as a whole.
    pub line: Option<usize>,
    /// The TOML path, such as `sources.stripe.secrets[0]`; the variable for an override; empty for the whole file.
    pub key: String,
    /// What is wrong, one line, no secret.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl Problem {
    /// As people read it: `tenterhook.toml:12: sources.stripe.secrets[0]: …`, then an indented hint.
    #[must_use]
    pub fn render(&self, file: &Path) -> String {
        let mut text = match self.line {
            Some(line) => format!("{}:{line}: ", file.display()),
            None if self.is_of_the_environment() => "environment: ".to_owned(),
            None => format!("{}: ", file.display()),
        };
        if !self.key.is_empty() {
            text.push_str(&self.key);
            text.push_str(": ");
        }
        text.push_str(&self.message);
        if !self.hint.is_empty() {
            text.push_str("\n  hint: ");
            text.push_str(&self.hint);
        }
        text
    }

    fn is_of_the_environment(&self) -> bool {
        self.key.starts_with(super::overrides::PREFIX)
    }
}

/// Every problem of a config at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// All of them, in file order.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// Every problem with its line and hint, then how many there are.
    #[must_use]
    pub fn render(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ConfigError {
    /// Every problem with its line and hint, then how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{}", problem.render(&self.path))?;
        }
        match self.problems.len() {
            1 => write!(f, "1 problem in `{}`", self.path.display()),
            count => write!(f, "{count} problems in `{}`", self.path.display()),
        }
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// On this line of the file, counted from 1.
    Line(usize),
    /// In this environment variable.
    Variable(String),
}

/// Gathers problems and warnings while a config is checked and built.
#[derive(Default)]
pub(super) struct Findings {
    /// What refuses the config.
    pub(super) problems: Vec<Problem>,
    /// What is allowed but should be known.
    pub(super) warnings: Vec<Problem>,
}

impl Findings {
    /// Records a problem. One per place is enough: a second one there is usually a consequence of the first.
    pub(super) fn problem(&mut self, at: &Place, message: impl Into<String>, hint: impl Into<String>) {
        let problem = at.problem(message.into(), hint.into());
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Records a warning.
    pub(super) fn warning(&mut self, at: &Place, message: impl Into<String>, hint: impl Into<String>) {
        let warning = at.problem(message.into(), hint.into());
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// A TOML path with the place where it was written.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The TOML path.
    pub(super) key: String,
    /// Where it, or the closest table around it, was written; `None` where nothing of it was.
    pub(super) origin: Option<Origin>,
}

impl Place {
    fn problem(&self, message: String, hint: String) -> Problem {
        let (line, key) = match &self.origin {
            Some(Origin::Line(line)) => (Some(*line), self.key.clone()),
            Some(Origin::Variable(name)) => (None, name.clone()),
            None => (None, self.key.clone()),
        };
        Problem { line, key, message, hint }
    }
}

/// The candidate that `written` was probably meant to be.
pub(super) fn closest<'c>(written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(written, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// `did you mean …`, or else the whole list, where that is short enough to be read.
pub(super) fn suggestion(written: &str, candidates: &[&str]) -> String {
    const LISTED_MAX: usize = 12;
    if let Some(meant) = closest(written, candidates.iter().copied()) {
        return format!("did you mean `{meant}`?");
    }
    match candidates.len() {
        0 => "there is none to name".to_owned(),
        count if count <= LISTED_MAX => format!("one of {}", quoted(candidates)),
        count => format!("one of {} and {} more", quoted(&candidates[..LISTED_MAX]), count - LISTED_MAX),
    }
}

/// `` `a`, `b`, `c` ``
pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Text of a user, made fit for one line of an error: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let mut short: String =
        text.chars().take(SHOWN_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().count() > SHOWN_MAX {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_a_foreign_word_is_not() {
        let known = ["secrets", "provider", "path"];
        assert_eq!(closest("secret", known), Some("secrets"));
        assert_eq!(closest("provder", known), Some("provider"));
        assert_eq!(closest("zebra", known), None);
        assert_eq!(suggestion("zebra", &known), "one of `secrets`, `provider`, `path`");
    }

    #[test]
    fn what_is_shown_is_one_short_line() {
        assert_eq!(shown("a\nb"), "a\u{fffd}b");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 61);
    }
}
