//! Where a value, or a mistake, stands.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where a value is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    #[default]
    Default,
    /// The file.
    File {
        /// Counted from 1.
        line: usize,
        /// Characters of the line, counted from 1.
        column: usize,
        /// The first byte of the value.
        start: usize,
        /// The byte behind it.
        end: usize,
    },
    /// This environment variable.
    Variable(String),
}

impl Origin {
    /// In words; the file is that of the loaded configuration.
    #[must_use]
    pub fn describe(&self, file: Option<&Path>) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File { line, .. } => {
                format!("{}:{line}", file.unwrap_or_else(|| Path::new(super::CONFIG_FILE)).display())
            }
            Self::Variable(name) => name.clone(),
        }
    }
}

/// Where a mistake is. In the order in which they are reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigPlace {
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Characters of the line, counted from 1.
        column: usize,
        /// Its bytes in the file.
        span: Range<usize>,
    },
    /// In an environment variable of this name.
    Variable(String),
    /// In the defaults, on a machine for which they are not made.
    Defaults,
}

impl ConfigPlace {
    fn order(&self) -> (u8, usize, &str) {
        match self {
            Self::File { span, .. } => (0, span.start, ""),
            Self::Variable(name) => (1, 0, name),
            Self::Defaults => (2, 0, ""),
        }
    }
}

impl PartialOrd for ConfigPlace {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ConfigPlace {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl fmt::Display for ConfigPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column, .. } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {}", name.escape_debug()),
            Self::Defaults => f.write_str("the defaults"),
        }
    }
}
