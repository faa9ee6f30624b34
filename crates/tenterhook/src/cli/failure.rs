//! How a command fails: an exit code that scripts can rely on, one line that says what is wrong, and a hint.

use std::fmt;

/// The exit codes of the command line. 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Invalid, or a check failed.
    Invalid = 1,
    /// Wrong usage or a wrong config.
    Usage = 2,
    /// The gateway cannot be reached.
    Unreachable = 3,
    /// What was named does not exist.
    NotFound = 4,
    /// Our own fault, or the machine's.
    Internal = 70,
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One line; empty when everything has been said already.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl Failure {
    /// Something is wrong with what was asked or configured.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A failure with this exit code.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: String::new() }
    }

    /// The command has printed what there is to say; only the exit code is left.
    #[must_use]
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// The same failure with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n\nhint: {}", self.hint) }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Internal, format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // A closed pipe is the reader's decision (`… | head`), not a failure worth a line.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::silent(Exit::Internal);
        }
        Self::new(Exit::Internal, error.to_string())
    }
}
