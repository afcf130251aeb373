//! Values of settings: what each kind allows, and how values are read and written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::MAX_WORKERS;
use super::pools::WorkerRange;
use super::text::{parse_size, parse_time, size_text, time_text};

/// A setting's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value: "none", or "auto".
    Absent,
    /// True or false.
    Flag(bool),
    /// A whole number: a count, or bytes.
    Whole(i128),
    /// Any number.
    Number(f64),
    /// A duration.
    Time(Duration),
    /// One of several names.
    Name(String),
    /// A file or folder.
    Path(PathBuf),
    /// Texts by name.
    Texts(BTreeMap<String, String>),
    /// Bounds of a number of workers.
    Workers(WorkerRange),
}

/// The kinds of settings.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// True or false.
    Flag,
    /// A whole number.
    Whole {
        /// The smallest allowed number.
        least: i128,
        /// The largest allowed number.
        most: i128,
    },
    /// A number of bytes.
    Size {
        /// The smallest allowed number.
        least: u64,
        /// The largest allowed number.
        most: u64,
    },
    /// A duration.
    Time {
        /// The shortest allowed duration.
        least: Duration,
        /// The longest allowed duration.
        most: Duration,
    },
    /// A number above 0, up to 100.
    Percent,
    /// One of these names, in any case.
    OneOf(fn() -> Vec<&'static str>),
    /// A folder.
    Path,
    /// A program: a path, or a name on the `PATH`.
    Program,
    /// Environment variables: texts by name.
    Variables,
    /// A number of workers, or its bounds.
    Workers,
}

/// A value that a user wrote, with the type that its form shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Given<'a> {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Whole(i128),
    /// A number with a fraction.
    Number(f64),
    /// Text.
    Text(&'a str),
    /// Text whose form does not show its type, as in an environment variable.
    Plain(&'a str),
    /// A value of a type that no setting accepts, by the name of the type.
    Other(&'static str),
}

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The value has another kind. The text describes what was found.
    Kind(String),
    /// The value has the right kind and is out of its range.
    Range(String),
}

/// The longest time that can be set. A longer one is a typing mistake.
pub(super) const LONGEST: Duration = Duration::from_secs(1_000_000 * 3600);

impl Kind {
    /// Reads a value that a user wrote.
    ///
    /// # Errors
    /// If the value has another kind or is out of range.
    pub fn read(self, given: Given<'_>) -> Result<Value, Wrong> {
        let value = match (self, given) {
            (_, Given::Plain(text)) => self.read_plain(text),
            (Self::Flag, Given::Flag(flag)) => Some(Value::Flag(flag)),
            (Self::Whole { .. } | Self::Size { .. }, Given::Whole(number)) => Some(Value::Whole(number)),
            (Self::Time { .. }, Given::Whole(_) | Given::Number(_)) => match seconds(given) {
                Some(time) => Some(Value::Time(time)),
                None => return Err(Wrong::Range(given.shown())),
            },
            (Self::Workers, Given::Whole(number)) => match u32::try_from(number) {
                Ok(count) => Some(Value::Workers(WorkerRange::exactly(count))),
                Err(_) => return Err(Wrong::Range(given.shown())),
            },
            (Self::Percent, Given::Whole(_) | Given::Number(_)) => Some(Value::Number(number(given))),
            (
                Self::Size { .. } | Self::Time { .. } | Self::OneOf(_) | Self::Path | Self::Program | Self::Workers,
                Given::Text(text),
            ) => self.read_plain(text),
            _ => None,
        };
        let value = value.ok_or_else(|| Wrong::Kind(given.shown()))?;
        self.check(&value)?;
        Ok(value)
    }

    fn read_plain(self, text: &str) -> Option<Value> {
        // A file name may begin or end with spaces.
        let text = if matches!(self, Self::Path | Self::Program) { text } else { text.trim() };
        match self {
            Self::Flag => match text.to_ascii_lowercase().as_str() {
                "true" | "1" => Some(Value::Flag(true)),
                "false" | "0" => Some(Value::Flag(false)),
                _ => None,
            },
            Self::Whole { .. } => text.parse().ok().map(Value::Whole),
            Self::Size { .. } => parse_size(text).map(|bytes| Value::Whole(bytes.into())),
            Self::Time { .. } => parse_time(text).map(Value::Time),
            Self::Percent => text.parse().ok().map(Value::Number),
            Self::OneOf(names) => {
                let name = names().into_iter().find(|name| name.eq_ignore_ascii_case(text))?;
                Some(Value::Name(name.to_owned()))
            }
            Self::Path | Self::Program => (!text.is_empty()).then(|| Value::Path(text.into())),
            Self::Variables => serde_json::from_str(text).ok().map(Value::Texts),
            Self::Workers => WorkerRange::parse(text).map(Value::Workers),
        }
    }

    /// Checks whether a value has this kind and is in its range.
    ///
    /// # Errors
    /// If the value has another kind or is out of range.
    pub fn check(self, value: &Value) -> Result<(), Wrong> {
        let holds = match (self, value) {
            (Self::Whole { least, most }, Value::Whole(number)) => (least..=most).contains(number),
            (Self::Size { least, most }, Value::Whole(number)) => {
                (i128::from(least)..=i128::from(most)).contains(number)
            }
            (Self::Time { least, most }, Value::Time(time)) => (least..=most).contains(time),
            (Self::Percent, Value::Number(number)) => *number > 0.0 && *number <= 100.0,
            (Self::Variables, Value::Texts(texts)) => texts.iter().all(|(name, text)| can_be_variable(name, text)),
            (Self::Workers, Value::Workers(workers)) => workers.is_valid(),
            (Self::OneOf(names), Value::Name(name)) => names().contains(&name.as_str()),
            (Self::Flag, Value::Flag(_)) | (Self::Path | Self::Program, Value::Path(_)) => true,
            _ => return Err(Wrong::Kind(self.text(value))),
        };
        if holds { Ok(()) } else { Err(Wrong::Range(self.text(value))) }
    }

    /// A value as people write it, without quotes.
    #[must_use]
    pub fn text(self, value: &Value) -> String {
        match (self, value) {
            (_, Value::Absent) => "none".to_owned(),
            (Self::Size { .. }, Value::Whole(bytes)) => {
                u64::try_from(*bytes).map_or_else(|_| bytes.to_string(), size_text)
            }
            (_, Value::Whole(number)) => number.to_string(),
            (_, Value::Flag(flag)) => flag.to_string(),
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Time(time)) => time_text(*time),
            (_, Value::Name(name)) => name.clone(),
            (_, Value::Path(path)) => path.display().to_string(),
            (_, Value::Texts(texts)) => serde_json::to_string(texts).unwrap_or_default(),
            (_, Value::Workers(workers)) => workers.to_string(),
        }
    }

    /// The allowed values, in words.
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Size { .. } => self.briefly().replacen("a size", "a number of bytes or a text such as \"200M\"", 1),
            Self::Time { .. } => self.briefly().replacen("a time", "a number of seconds or a text such as \"1.5s\"", 1),
            _ => self.briefly(),
        }
    }

    /// The allowed values, for readers who know how times and sizes are written.
    #[must_use]
    pub fn briefly(self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Whole { least, most } => {
                format!("a whole number, {}", range(least, (most < i64::MAX.into()).then_some(most)))
            }
            Self::Size { least, most } => {
                format!("a size, {}", range(size_text(least), (most < i64::MAX as u64).then(|| size_text(most))))
            }
            Self::Time { least, most } => {
                format!("a time, {}", range(time_text(least), (most < LONGEST).then(|| time_text(most))))
            }
            Self::Percent => "a number above 0, up to 100".to_owned(),
            Self::OneOf(names) => {
                let names: Vec<String> = names().iter().map(|name| format!("\"{name}\"")).collect();
                format!("one of {}", names.join(", "))
            }
            Self::Path => "a folder's path".to_owned(),
            Self::Program => "a program's path, or a name on the PATH".to_owned(),
            Self::Workers => {
                format!("a whole number, 0 to {MAX_WORKERS}, or bounds such as {{ min = 0, max = 4 }} or \"0-4\"")
            }
            Self::Variables => "a table of texts such as { OMP_NUM_THREADS = \"1\" }".to_owned(),
        }
    }
}

fn range<T: std::fmt::Display>(least: T, most: Option<T>) -> String {
    most.map_or_else(|| format!("{least} or more"), |most| format!("{least} to {most}"))
}

#[expect(clippy::cast_precision_loss, reason = "a number so large is out of range in any case")]
fn number(given: Given<'_>) -> f64 {
    match given {
        Given::Whole(whole) => whole as f64,
        Given::Number(number) => number,
        _ => f64::NAN,
    }
}

fn seconds(given: Given<'_>) -> Option<Duration> {
    match given {
        Given::Whole(whole) => Some(Duration::from_secs(u64::try_from(whole).ok()?)),
        other => Duration::try_from_secs_f64(number(other)).ok(),
    }
}

/// Whether the system accepts this as an environment variable.
#[must_use]
pub fn can_be_variable(name: &str, text: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !text.contains('\0')
}

impl Given<'_> {
    /// A description of the value.
    fn shown(self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) | Self::Plain(text) => format!("{text:?}"),
            Self::Other(name) => name.to_owned(),
        }
    }
}

/// A type of field in the configuration, with its conversion to and from a value.
pub(super) trait Field: Sized {
    fn value(&self) -> Value;
    fn take(value: Value) -> Option<Self>;
}

impl<T: Field> Field for Option<T> {
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Absent, Field::value)
    }

    fn take(value: Value) -> Option<Self> {
        if value == Value::Absent { Some(None) } else { T::take(value).map(Some) }
    }
}

/// A type whose values are a few names.
pub(super) trait Choice: Copy + 'static {
    const ALL: &'static [Self];
    fn name(self) -> &'static str;
}

/// The names of a choice.
pub(super) fn names<T: Choice>() -> Vec<&'static str> {
    T::ALL.iter().map(|it| it.name()).collect()
}

macro_rules! fields {
    ({ $($type:ty: $variant:ident;)+ } choices { $($choice:ty;)+ } whole { $($whole:ty;)+ }) => {
        $(impl Field for $type {
            fn value(&self) -> Value {
                Value::$variant(self.clone())
            }
            fn take(value: Value) -> Option<Self> {
                match value { Value::$variant(it) => Some(it), _ => None }
            }
        })+
        $(impl Field for $whole {
            fn value(&self) -> Value {
                // No integer type of a setting is wider than 64 bits.
                Value::Whole(i128::try_from(*self).unwrap_or(i128::MAX))
            }
            fn take(value: Value) -> Option<Self> {
                match value { Value::Whole(it) => it.try_into().ok(), _ => None }
            }
        })+
        $(impl Choice for $choice {
            const ALL: &'static [Self] = &<$choice>::ALL;
            fn name(self) -> &'static str {
                <$choice>::name(self)
            }
        }
        impl Field for $choice {
            fn value(&self) -> Value {
                Value::Name(<$choice>::name(*self).to_owned())
            }
            fn take(value: Value) -> Option<Self> {
                match value {
                    Value::Name(name) => <$choice>::ALL.into_iter().find(|it| <$choice>::name(*it) == name),
                    _ => None,
                }
            }
        })+
    };
}

fields! {
    {
        bool: Flag;
        f64: Number;
        Duration: Time;
        PathBuf: Path;
        BTreeMap<String, String>: Texts;
        WorkerRange: Workers;
    }
    choices { crate::model::PoolKind; super::EngineKind; super::ScalingPolicy; super::LogFilter; }
    whole { u32; u64; usize; i32; }
}
