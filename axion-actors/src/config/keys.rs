//! The one list of settings: the macro that makes fields, defaults and descriptions of it, and the
//! keys by which they are found.

use super::value::{Given, Kind, Value, Wrong};
use super::{CONFIG, Config, WORKER, WorkerConfig};
use crate::model::{PoolId, PoolKind};

/// Makes a struct of settings with its defaults, and the descriptions of its keys, of one list.
macro_rules! settings {
    (
        $(#[$outer:meta])*
        pub struct $type:ident, described by $keys:ident;
        $($(#[doc = $doc:literal])+ $name:ident: $field:ty = $default:expr, $kind:expr $(, or $absent:literal)?;)+
        $(sections { $($(#[doc = $about:literal])+ $section:ident: $table:ty;)+ })?
    ) => {
        $(#[$outer])*
        pub struct $type {
            $(
                $(#[doc = $doc])+
                ///
                #[doc = concat!("Default: `", stringify!($default), "`.")]
                pub $name: $field,
            )+
            $($($(#[doc = $about])+ pub $section: $table,)+)?
        }

        impl Default for $type {
            fn default() -> Self {
                Self { $($name: $default,)+ $($($section: <$table>::default(),)+)? }
            }
        }

        static $keys: &[$crate::config::keys::Spec<$type>] = &[$($crate::config::keys::Spec {
            name: stringify!($name),
            meaning: concat!($($doc),+),
            kind: $kind,
            absent: settings!(@absent $($absent)?),
            get: |it| $crate::config::value::Field::value(&it.$name),
            set: |it, value| match $crate::config::value::Field::take(value) {
                Some(value) => {
                    it.$name = value;
                    true
                }
                None => false,
            },
        }),+];
    };
    (@absent) => { None };
    (@absent $absent:literal) => { Some($absent) };
}
pub(super) use settings;

/// The description of one setting of a struct.
pub(super) struct Spec<T: 'static> {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) kind: Kind,
    pub(super) absent: Option<&'static str>,
    pub(super) get: fn(&T) -> Value,
    pub(super) set: fn(&mut T, Value) -> bool,
}

/// A setting by its name: what it means, what it takes, and its place in a [`Config`].
#[derive(Clone, Copy)]
pub struct Key(KeyScope);

#[derive(Clone, Copy)]
enum KeyScope {
    Engine(&'static Spec<Config>),
    Worker(PoolKind, &'static Spec<WorkerConfig>),
}

/// The value of a setting is not one that it takes. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the setting takes no such value")]
pub struct NotTaken;

/// The tables of a file: one per pool, of its processes.
#[must_use]
pub fn section(pool: PoolKind) -> &'static str {
    match pool {
        PoolKind::Cpu => "cpu_bound_worker",
        PoolKind::Io => "io_bound_worker",
    }
}

/// The table of a file in which the settings of a pool's processes stand.
#[must_use]
pub fn worker_section(pool: PoolId) -> String {
    match pool {
        PoolId::CPU => section(PoolKind::Cpu).to_owned(),
        PoolId::IO => section(PoolKind::Io).to_owned(),
        pool => format!("pools.{pool}"),
    }
}

impl Key {
    /// All there are, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        let workers =
            PoolKind::ALL.into_iter().flat_map(|pool| WORKER.iter().map(move |it| KeyScope::Worker(pool, it)));
        CONFIG.iter().map(KeyScope::Engine).chain(workers).map(Self)
    }

    /// The key of this name; one in a section is named `section.key`.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::all().find(|key| key.name() == name)
    }

    /// Its full name.
    #[must_use]
    pub fn name(self) -> String {
        self.section()
            .map_or_else(|| self.short_name().to_owned(), |section| format!("{section}.{}", self.short_name()))
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(self) -> String {
        format!("AXION_{}", self.name().replace('.', "_").to_ascii_uppercase())
    }

    /// The table of the file in which it stands, if any.
    #[must_use]
    pub fn section(self) -> Option<&'static str> {
        match self.0 {
            KeyScope::Engine(_) => None,
            KeyScope::Worker(pool, _) => Some(section(pool)),
        }
    }

    /// Its name within its table.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        match self.0 {
            KeyScope::Engine(spec) => spec.name,
            KeyScope::Worker(_, spec) => spec.name,
        }
    }

    /// What it is for.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self.0 {
            KeyScope::Engine(spec) => spec.meaning.trim(),
            KeyScope::Worker(_, spec) => spec.meaning.trim(),
        }
    }

    /// What it takes.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.0 {
            KeyScope::Engine(spec) => spec.kind,
            KeyScope::Worker(_, spec) => spec.kind,
        }
    }

    /// The word for not setting it, "none" or "auto", if that is possible.
    #[must_use]
    pub fn absent(self) -> Option<&'static str> {
        match self.0 {
            KeyScope::Engine(spec) => spec.absent,
            KeyScope::Worker(_, spec) => spec.absent,
        }
    }

    /// What may be given, in words.
    #[must_use]
    pub fn allowed(self) -> String {
        self.or_absent(self.kind().allowed())
    }

    /// The same for readers who know how times and sizes are written.
    #[must_use]
    pub fn allowed_briefly(self) -> String {
        self.or_absent(self.kind().briefly())
    }

    fn or_absent(self, kind: String) -> String {
        self.absent().map_or_else(|| kind.clone(), |absent| format!("{kind}; or \"{absent}\""))
    }

    /// Its value in a configuration.
    #[must_use]
    pub fn get(self, config: &Config) -> Value {
        match self.0 {
            KeyScope::Engine(spec) => (spec.get)(config),
            KeyScope::Worker(pool, spec) => (spec.get)(config.worker(pool)),
        }
    }

    /// Its default: [`Value::Absent`] if that follows the machine.
    #[must_use]
    pub fn default_value(self) -> Value {
        if self.absent() == Some("auto") { Value::Absent } else { self.get(&Config::default()) }
    }

    /// Sets it. [`Value::Absent`] brings the default back to one that follows the machine.
    ///
    /// # Errors
    /// If the value is not of the setting's kind.
    pub fn set(self, config: &mut Config, value: Value) -> Result<(), NotTaken> {
        let automatic = value == Value::Absent && self.absent() == Some("auto");
        let taken = self.put(config, value) || (automatic && self.put(config, self.get(&Config::default())));
        if taken { Ok(()) } else { Err(NotTaken) }
    }

    fn put(self, config: &mut Config, value: Value) -> bool {
        match self.0 {
            KeyScope::Engine(spec) => (spec.set)(config, value),
            KeyScope::Worker(PoolKind::Cpu, spec) => (spec.set)(&mut config.cpu_bound_worker, value),
            KeyScope::Worker(PoolKind::Io, spec) => (spec.set)(&mut config.io_bound_worker, value),
        }
    }

    /// Reads what somebody wrote.
    ///
    /// # Errors
    /// If it is of another kind or out of range.
    pub fn read(self, given: Given<'_>) -> Result<Value, Wrong> {
        match (self.absent(), given) {
            (Some(absent), Given::Text(text) | Given::Plain(text)) if text.trim().eq_ignore_ascii_case(absent) => {
                Ok(Value::Absent)
            }
            _ => self.kind().read(given),
        }
    }

    /// Whether it takes a value.
    ///
    /// # Errors
    /// If the value is of another kind or out of range.
    pub fn check(self, value: &Value) -> Result<(), Wrong> {
        match (value, self.absent()) {
            (Value::Absent, Some(_)) => Ok(()),
            _ => self.kind().check(value),
        }
    }

    /// A value as people write it, without quotes.
    #[must_use]
    pub fn text(self, value: &Value) -> String {
        match (value, self.absent()) {
            (Value::Absent, Some(absent)) => absent.to_owned(),
            _ => self.kind().text(value),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.name())
    }
}
