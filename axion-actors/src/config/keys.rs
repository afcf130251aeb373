//! The macro that makes fields, defaults and descriptions from the list of settings, and the keys that find a setting.

use std::sync::LazyLock;

use super::value::{Given, Kind, Value, Wrong};
use super::{CONFIG, Config, POOL, PoolConfig, WORKER, WorkerConfig};
use crate::model::{PoolId, PoolKind};

/// Makes a struct of settings with its defaults, and the descriptions of its keys, from one list.
macro_rules! settings {
    (
        $(#[$outer:meta])*
        pub struct $type:ident, described by $keys:ident;
        $($(#[doc = $doc:literal])+ $name:ident: $field:ty = $default:expr, $kind:expr
            $(, or $absent:literal $(as $automatic:expr)?)?;)+
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
            info: $crate::config::keys::KeyInfo {
                name: stringify!($name),
                meaning: concat!($($doc),+),
                kind: $kind,
                absent: settings!(@absent $($absent)?),
                automatic: settings!(@automatic $($($automatic)?)?),
            },
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
    (@automatic) => { None };
    (@automatic $automatic:expr) => { Some(|| $crate::config::value::Field::value(&$automatic)) };
}
pub(super) use settings;

/// The description of one setting of a struct, with access to its field.
pub(super) struct Spec<T: 'static> {
    pub(super) info: KeyInfo,
    pub(super) get: fn(&T) -> Value,
    pub(super) set: fn(&mut T, Value) -> bool,
}

/// The parts of a description that do not depend on the struct.
pub(super) struct KeyInfo {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) kind: Kind,
    pub(super) absent: Option<&'static str>,
    /// The value of "auto", if it is not the default.
    pub(super) automatic: Option<fn() -> Value>,
}

/// The values of a pool that the configuration does not have.
static DEFAULT_POOL: LazyLock<PoolConfig> = LazyLock::new(PoolConfig::default);

/// A setting by its name: its meaning, its allowed values, and its place in a [`Config`].
#[derive(Clone, Copy)]
pub struct Key(KeyScope);

#[derive(Clone, Copy)]
enum KeyScope {
    Engine(&'static Spec<Config>),
    /// A setting of a built-in pool's processes.
    BuiltIn(PoolKind, &'static Spec<WorkerConfig>),
    /// A setting of a named pool.
    Pool(PoolId, &'static Spec<PoolConfig>),
    /// A setting of a named pool's processes.
    PoolWorker(PoolId, &'static Spec<WorkerConfig>),
}

/// The value does not fit the setting. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid value for `{key}`: expected {allowed}")]
pub struct InvalidValue {
    /// The name of the setting.
    pub key: String,
    /// The allowed values, in words.
    pub allowed: String,
}

/// The table of a file that contains the tables of the named pools.
pub const POOLS: &str = "pools";

/// The tables of a file for the settings of the built-in pools' processes.
pub const BUILT_IN_SECTIONS: [&str; 2] = ["cpu_bound_worker", "io_bound_worker"];

/// The table of a file for the settings of a pool's processes.
#[must_use]
pub fn worker_section(pool: PoolId) -> String {
    match pool {
        PoolId::CPU => built_in_section(PoolKind::Cpu).to_owned(),
        PoolId::IO => built_in_section(PoolKind::Io).to_owned(),
        pool => format!("{POOLS}.{pool}"),
    }
}

fn built_in_section(kind: PoolKind) -> &'static str {
    let [cpu, io] = BUILT_IN_SECTIONS;
    match kind {
        PoolKind::Cpu => cpu,
        PoolKind::Io => io,
    }
}

impl Key {
    /// The keys that every configuration has, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        let worker = |kind| WORKER.iter().map(move |spec| KeyScope::BuiltIn(kind, spec));
        CONFIG.iter().map(KeyScope::Engine).chain(worker(PoolKind::Cpu)).chain(worker(PoolKind::Io)).map(Self)
    }

    /// The keys of a named pool.
    pub fn of_pool(pool: PoolId) -> impl Iterator<Item = Self> {
        let workers = WORKER.iter().map(move |spec| KeyScope::PoolWorker(pool, spec));
        POOL.iter().map(move |spec| KeyScope::Pool(pool, spec)).chain(workers).map(Self)
    }

    /// The keys of this configuration: the common ones, and those of its named pools.
    pub fn of(config: &Config) -> impl Iterator<Item = Self> {
        Self::all().chain(config.pools.keys().copied().flat_map(Self::of_pool))
    }

    /// The key of this name. A key in a section is named `section.key`, a key of a named pool `pools.NAME.key`.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let of_pool = name.strip_prefix(POOLS).and_then(|rest| rest.strip_prefix('.')?.split_once('.'));
        match of_pool {
            Some((pool, key)) => Self::find_in_pool(PoolId::named(pool).ok()?, key),
            None => Self::all().find(|key| key.name() == name),
        }
    }

    /// The key of a named pool with this short name.
    #[must_use]
    pub fn find_in_pool(pool: PoolId, short_name: &str) -> Option<Self> {
        Self::of_pool(pool).find(|key| key.short_name() == short_name)
    }

    /// The full name.
    #[must_use]
    pub fn name(self) -> String {
        self.section()
            .map_or_else(|| self.short_name().to_owned(), |section| format!("{section}.{}", self.short_name()))
    }

    /// The environment variable that sets the key.
    #[must_use]
    pub fn variable(self) -> String {
        format!("AXION_{}", self.name().replace(['.', '-'], "_").to_ascii_uppercase())
    }

    /// The table of the file that contains the key, if any.
    #[must_use]
    pub fn section(self) -> Option<String> {
        match self.0 {
            KeyScope::Engine(_) => None,
            KeyScope::BuiltIn(kind, _) => Some(built_in_section(kind).to_owned()),
            KeyScope::Pool(pool, _) | KeyScope::PoolWorker(pool, _) => Some(worker_section(pool)),
        }
    }

    fn info(self) -> &'static KeyInfo {
        match self.0 {
            KeyScope::Engine(spec) => &spec.info,
            KeyScope::Pool(_, spec) => &spec.info,
            KeyScope::BuiltIn(_, spec) | KeyScope::PoolWorker(_, spec) => &spec.info,
        }
    }

    /// The name within its table.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        self.info().name
    }

    /// The meaning.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.info().meaning.trim()
    }

    /// The kind of its values.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.info().kind
    }

    /// The word for an absent value, "none" or "auto", if the value may be absent.
    #[must_use]
    pub fn absent(self) -> Option<&'static str> {
        self.info().absent
    }

    /// The allowed values, in words.
    #[must_use]
    pub fn allowed(self) -> String {
        self.or_absent(self.kind().allowed())
    }

    /// The allowed values, for readers who know how times and sizes are written.
    #[must_use]
    pub fn allowed_briefly(self) -> String {
        self.or_absent(self.kind().briefly())
    }

    fn or_absent(self, kind: String) -> String {
        self.absent().map_or_else(|| kind.clone(), |absent| format!("{kind}; or \"{absent}\""))
    }

    /// The value in a configuration. It is the default if the configuration does not have the key's pool.
    #[must_use]
    pub fn get(self, config: &Config) -> Value {
        let of_pool = |pool| config.pools.get(pool).unwrap_or(&DEFAULT_POOL);
        match self.0 {
            KeyScope::Engine(spec) => (spec.get)(config),
            KeyScope::BuiltIn(PoolKind::Cpu, spec) => (spec.get)(&config.cpu_bound_worker),
            KeyScope::BuiltIn(PoolKind::Io, spec) => (spec.get)(&config.io_bound_worker),
            KeyScope::Pool(pool, spec) => (spec.get)(of_pool(&pool)),
            KeyScope::PoolWorker(pool, spec) => (spec.get)(&of_pool(&pool).worker),
        }
    }

    /// The default; [`Value::Absent`] if it depends on the machine.
    #[must_use]
    pub fn default_value(self) -> Value {
        let on_machine = self.absent() == Some("auto") && self.info().automatic.is_none();
        if on_machine { Value::Absent } else { self.get(&Config::default()) }
    }

    /// Sets the value, and adds a named pool that the configuration does not have. [`Value::Absent`] chooses what is
    /// right for the machine, if the setting can be "auto".
    ///
    /// # Errors
    /// If the value is not of the setting's kind.
    pub fn set(self, config: &mut Config, value: Value) -> Result<(), InvalidValue> {
        let is_automatic = value == Value::Absent && self.absent() == Some("auto");
        let automatic = || self.info().automatic.map_or_else(|| self.get(&Config::default()), |automatic| automatic());
        let taken = self.put(config, value) || (is_automatic && self.put(config, automatic()));
        if taken { Ok(()) } else { Err(InvalidValue { key: self.name(), allowed: self.allowed() }) }
    }

    fn put(self, config: &mut Config, value: Value) -> bool {
        match self.0 {
            KeyScope::Engine(spec) => (spec.set)(config, value),
            KeyScope::BuiltIn(PoolKind::Cpu, spec) => (spec.set)(&mut config.cpu_bound_worker, value),
            KeyScope::BuiltIn(PoolKind::Io, spec) => (spec.set)(&mut config.io_bound_worker, value),
            KeyScope::Pool(pool, spec) => (spec.set)(config.pools.entry(pool).or_default(), value),
            KeyScope::PoolWorker(pool, spec) => (spec.set)(&mut config.pools.entry(pool).or_default().worker, value),
        }
    }

    /// Reads a value that a user wrote.
    ///
    /// # Errors
    /// If the value has another kind or is out of range.
    pub fn read(self, given: Given<'_>) -> Result<Value, Wrong> {
        match (self.absent(), given) {
            (Some(absent), Given::Text(text) | Given::Plain(text)) if text.trim().eq_ignore_ascii_case(absent) => {
                Ok(Value::Absent)
            }
            _ => self.kind().read(given),
        }
    }

    /// Checks whether the key accepts a value.
    ///
    /// # Errors
    /// If the value has another kind or is out of range.
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
