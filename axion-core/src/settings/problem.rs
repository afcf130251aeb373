//! Mistakes in a configuration.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use axion_actors::config::{Key, Wrong};

use super::origin::{ConfigPlace, Origin};
use super::trust::Distrust;
use crate::diagnostics::{Diagnostic, Diagnostics};

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}{named_by}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The source of the file's path.
        named_by: NamedBy,
        /// The reason.
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("the configuration file {}{named_by} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The source of the file's path.
        named_by: NamedBy,
        /// The maximum size.
        limit: u64,
    },
    /// The file is not UTF-8.
    #[error("the configuration file {}{named_by} is not UTF-8 text, at line {line}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The source of the file's path.
        named_by: NamedBy,
        /// The first line that is not UTF-8, counted from 1.
        line: usize,
    },
    /// The file was only found, and others could have written it.
    #[error(
        "the configuration file {} is not used, because {distrust}. If you trust it, name it: `--config FILE`, \
         AXION_CONFIG=FILE; or take the permission away",
        path.display()
    )]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// The reason.
        distrust: Distrust,
    },
    /// The file or a variable has mistakes.
    #[error(transparent)]
    Invalid(InvalidConfig),
}

/// The source of the configuration file's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The program.
    Caller,
    /// The environment variable `AXION_CONFIG`.
    Variable,
    /// The search for `axion.toml`.
    Search,
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller | Self::Search => "",
            Self::Variable => " (named by AXION_CONFIG)",
        })
    }
}

/// All mistakes: first those in the file, in order, then those in variables, by name.
#[derive(Debug)]
pub struct InvalidConfig {
    /// The problems. There is at least one.
    pub problems: Vec<ConfigProblem>,
    /// The file's text, if a file was read.
    pub source: Option<SourceText>,
}

impl InvalidConfig {
    /// The problems at their places in the text of the file.
    #[must_use]
    pub fn diagnostics(&self) -> Diagnostics {
        let (file, text) = self
            .source
            .as_ref()
            .map_or_else(Default::default, |source| (source.path.display().to_string(), source.text.as_str()));
        Diagnostics::new(&file, text, self.problems.iter().map(ConfigProblem::diagnostic).collect())
    }
}

impl std::error::Error for InvalidConfig {}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// A file and its content.
#[derive(Clone, Debug)]
pub struct SourceText {
    /// The file.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

impl SourceText {
    /// The place of these bytes.
    pub(super) fn place(&self, span: Range<usize>) -> ConfigPlace {
        let (line, column) = self.line_and_column(span.start);
        ConfigPlace::File { path: self.path.clone(), line, column, span }
    }

    /// The origin of a value at these bytes.
    pub(super) fn origin(&self, span: Range<usize>) -> Origin {
        let (line, column) = self.line_and_column(span.start);
        Origin::File { line, column, start: span.start, end: span.end }
    }

    fn line_and_column(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(at)];
        let line = before.rsplit_once('\n').map_or(before, |(_, line)| line);
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

/// One mistake and its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {kind}")]
pub struct ConfigProblem {
    /// The place.
    pub place: ConfigPlace,
    /// The mistake.
    pub kind: ConfigProblemKind,
}

/// The kind of a mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}{}", self.title(), self.label(), self.note().map(|it| format!("; {it}")).unwrap_or_default())]
#[non_exhaustive]
pub enum ConfigProblemKind {
    /// The file is not TOML.
    Syntax {
        /// The message of the parser.
        message: String,
    },
    /// The setting does not exist.
    UnknownKey {
        /// The name that was given.
        name: String,
        /// The suggestion.
        advice: String,
    },
    /// The environment variable does not exist.
    UnknownVariable {
        /// The suggestion.
        advice: String,
    },
    /// The value has the wrong type for the setting.
    WrongKind {
        /// The setting.
        key: String,
        /// The given value.
        found: String,
        /// The allowed values.
        allowed: String,
    },
    /// The value is out of the setting's range.
    OutOfRange {
        /// The setting.
        key: String,
        /// The given value.
        value: String,
        /// The allowed values.
        allowed: String,
    },
    /// The value conflicts with other settings.
    Impossible {
        /// The setting.
        key: String,
        /// Its value.
        value: String,
        /// The values that the other settings allow.
        allowed: String,
        /// The other settings, with their values and origins.
        with: Vec<String>,
    },
    /// The value is not UTF-8.
    NotText,
}

impl ConfigProblemKind {
    /// The setting, if it exists.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::WrongKind { key, .. } | Self::OutOfRange { key, .. } | Self::Impossible { key, .. } => Some(key),
            _ => None,
        }
    }

    /// The mistake in one line.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Syntax { .. } => "not TOML".to_owned(),
            Self::UnknownKey { name, .. } => format!("unknown key `{name}`"),
            Self::UnknownVariable { .. } => "unknown setting".to_owned(),
            Self::WrongKind { key, found: value, .. }
            | Self::OutOfRange { key, value, .. }
            | Self::Impossible { key, value, .. } => format!("invalid value {value} for `{key}`"),
            Self::NotText => "invalid value".to_owned(),
        }
    }

    /// The allowed values, for the label at the place.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Syntax { message } => message.clone(),
            Self::UnknownKey { advice, .. } | Self::UnknownVariable { advice } => advice.clone(),
            Self::WrongKind { allowed, .. } | Self::OutOfRange { allowed, .. } | Self::Impossible { allowed, .. } => {
                format!("expected {allowed}")
            }
            Self::NotText => "expected UTF-8 text".to_owned(),
        }
    }

    /// The settings that the value conflicts with.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Impossible { with, .. } if !with.is_empty() => Some(format!("conflicts with {}", with.join(", "))),
            _ => None,
        }
    }
}

impl ConfigProblem {
    fn diagnostic(&self) -> Diagnostic {
        match &self.place {
            ConfigPlace::File { span, .. } => {
                // At least one character, so that the marker is visible.
                let span = span.start..span.end.max(span.start + 1);
                Diagnostic { note: self.kind.note(), ..Diagnostic::new(&span, self.kind.title(), self.kind.label()) }
            }
            ConfigPlace::Variable(_) | ConfigPlace::Defaults => Diagnostic::elsewhere(self.to_string(), ""),
        }
    }

    pub(super) fn wrong(place: ConfigPlace, key: Key, wrong: Wrong) -> Self {
        match wrong {
            Wrong::Kind(found) => {
                let (key, allowed) = (key.name(), key.allowed());
                Self { place, kind: ConfigProblemKind::WrongKind { key, found, allowed } }
            }
            Wrong::Range(value) => Self::out_of_range(place, key, value),
        }
    }

    pub(super) fn out_of_range(place: ConfigPlace, key: Key, value: String) -> Self {
        Self { place, kind: ConfigProblemKind::OutOfRange { key: key.name(), value, allowed: key.allowed() } }
    }
}
