//! Names of sources and destinations: short, lower case, safe in paths, labels and environment variables.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Text that cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be a name: use 1 to 64 of `a-z`, `0-9`, `-` and `_`, starting with a letter or digit")]
pub struct NameError(String);

fn check(text: &str) -> Result<Arc<str>, NameError> {
    let shape = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let starts_well = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    if starts_well && text.len() <= NAME_BYTES_MAX && text.bytes().all(shape) {
        Ok(Arc::from(text))
    } else {
        Err(NameError(text.chars().take(80).collect()))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a source, as in `[sources.NAME]`.
    SourceName
}
name! {
    /// The name of a destination, as in `[destinations.NAME]`.
    DestinationName
}
