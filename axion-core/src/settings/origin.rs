//! The origins of values and the places of mistakes.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The origin of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The default.
    #[default]
    Default,
    /// The configuration file.
    File {
        /// The line, counted from 1.
        line: usize,
        /// The column in characters, counted from 1.
        column: usize,
        /// The first byte of the value.
        start: usize,
        /// The first byte after the value.
        end: usize,
    },
    /// The environment variable with this name.
    Variable(String),
}

impl Origin {
    /// The origin in words. `file` is the file of the loaded configuration.
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

/// The place of a mistake. The order of places is the order of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigPlace {
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column in characters, counted from 1.
        column: usize,
        /// The bytes in the file.
        span: Range<usize>,
    },
    /// In the environment variable with this name.
    Variable(String),
    /// In the defaults, on a machine that they do not fit.
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
