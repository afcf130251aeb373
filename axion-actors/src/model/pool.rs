//! Pools by name: the names, the small numbers that stand for them, and a map from pools to values.
//!
//! The process interns each pool name once, in a bounded table that only grows (L9). A [`PoolId`] is the index of a
//! name in that table. The engine's maps are dense vectors indexed by that number, so no lookup compares the text of a
//! name.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Index, IndexMut};
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The maximum length of a pool's name, in bytes.
const LONGEST_NAME: usize = 32;
/// The maximum number of names that a process can intern besides `cpu` and `io`.
const MAX_NAMES: u16 = 1000;

/// The names besides `cpu` and `io`, in the order of interning. A name is never removed.
static NAMES: [OnceLock<Box<str>>; MAX_NAMES as usize] = [const { OnceLock::new() }; MAX_NAMES as usize];

/// How the workers of a pool run their tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolKind {
    /// For CPU-bound tasks: by default, each worker runs one task at a time.
    #[default]
    Cpu,
    /// For I/O-bound tasks: each worker runs many tasks at a time, in threads or as coroutines.
    Io,
}

impl PoolKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Io];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Io => "io",
        }
    }
}

impl fmt::Display for PoolKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A pool, identified by its name: `cpu`, `io`, or the NAME of a `[pools.NAME]` table in the configuration.
///
/// ```
/// # use axion_actors::model::PoolId;
/// let gpu: PoolId = "gpu".parse()?;
/// assert_eq!(gpu.name(), "gpu");
/// assert_eq!("cpu".parse(), Ok(PoolId::CPU));
/// assert!("GPU 0".parse::<PoolId>().is_err());
/// # Ok::<(), axion_actors::model::PoolNameError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolId(u16);

/// A text that is not a valid pool name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolNameError {
    /// The text has invalid characters or is too long.
    #[error("invalid pool name {0:?}: expected 1 to {LONGEST_NAME} of a-z, 0-9, `_` and `-`, beginning with a letter")]
    Invalid(String),
    /// The process cannot intern more names.
    #[error("too many pool names: this process has used {MAX_NAMES} names before {0:?}")]
    TooMany(String),
}

impl PoolId {
    /// The pool `cpu`, which every engine has.
    pub const CPU: Self = Self(0);
    /// The pool `io`, which every engine has.
    pub const IO: Self = Self(1);
    /// The pools that every engine has.
    pub const BUILT_IN: [Self; 2] = [Self::CPU, Self::IO];

    /// Returns the pool with this name, and interns the name if it is new.
    ///
    /// # Errors
    /// If the text is not a valid pool name, or the process cannot intern more names.
    pub fn named(name: &str) -> Result<Self, PoolNameError> {
        if let Some(built_in) = Self::BUILT_IN.into_iter().find(|pool| pool.name() == name) {
            return Ok(built_in);
        }
        if !is_valid(name) {
            return Err(PoolNameError::Invalid(name.to_owned()));
        }
        // Every thread fills the places in the same order, so no name is stored twice.
        let place = NAMES.iter().position(|place| &**place.get_or_init(|| name.into()) == name);
        let number = place.and_then(|at| u16::try_from(at + Self::BUILT_IN.len()).ok());
        number.map(Self).ok_or_else(|| PoolNameError::TooMany(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CPU => "cpu",
            Self::IO => "io",
            // An id exists only for an interned name.
            Self(number) => NAMES[usize::from(number) - Self::BUILT_IN.len()].get().map_or("", |name| name),
        }
    }

    fn index(self) -> usize {
        self.0.into()
    }
}

fn is_valid(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    name.len() <= LONGEST_NAME
        && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && name.bytes().all(letters)
}

impl From<PoolKind> for PoolId {
    /// The built-in pool of this kind.
    fn from(kind: PoolKind) -> Self {
        match kind {
            PoolKind::Cpu => Self::CPU,
            PoolKind::Io => Self::IO,
        }
    }
}

impl FromStr for PoolId {
    type Err = PoolNameError;

    fn from_str(name: &str) -> Result<Self, PoolNameError> {
        Self::named(name)
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Orders `cpu`, `io`, then the others by name, whatever the order of interning.
impl Ord for PoolId {
    fn cmp(&self, other: &Self) -> Ordering {
        let is_named = |pool: &Self| pool.index() >= Self::BUILT_IN.len();
        match (is_named(self), is_named(other)) {
            (true, true) => self.name().cmp(other.name()),
            _ => self.0.cmp(&other.0),
        }
    }
}

impl PartialOrd for PoolId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for PoolId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for PoolId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// A map from the pools of an engine to values, indexed by the pool's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolMap<T>(Vec<Option<T>>);

impl<T> PoolMap<T> {
    /// An empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Inserts the value of a pool and returns the previous one.
    pub fn insert(&mut self, pool: PoolId, value: T) -> Option<T> {
        if self.0.len() <= pool.index() {
            self.0.resize_with(pool.index() + 1, || None);
        }
        self.0[pool.index()].replace(value)
    }

    /// The value of a pool, or `None` if the map does not contain the pool.
    #[must_use]
    pub fn get(&self, pool: PoolId) -> Option<&T> {
        self.0.get(pool.index())?.as_ref()
    }

    /// The value of a pool, mutable.
    pub fn get_mut(&mut self, pool: PoolId) -> Option<&mut T> {
        self.0.get_mut(pool.index())?.as_mut()
    }

    /// Whether the map contains this pool.
    #[must_use]
    pub fn contains(&self, pool: PoolId) -> bool {
        self.get(pool).is_some()
    }

    /// The value of a pool, mutable. Inserts the default value if there is none.
    pub fn or_default(&mut self, pool: PoolId) -> &mut T
    where
        T: Default,
    {
        if self.0.len() <= pool.index() {
            self.0.resize_with(pool.index() + 1, || None);
        }
        self.0[pool.index()].get_or_insert_default()
    }

    /// The pools in the map.
    pub fn ids(&self) -> impl Iterator<Item = PoolId> {
        self.iter().map(|(pool, _)| pool)
    }

    /// The pools and their values.
    pub fn iter(&self) -> impl Iterator<Item = (PoolId, &T)> {
        self.0.iter().enumerate().filter_map(|(at, value)| Some((id(at), value.as_ref()?)))
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter().flatten()
    }

    /// The values, mutable.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }

    /// A map with the same pools and other values.
    pub fn map<U>(&self, mut change: impl FnMut(PoolId, &T) -> U) -> PoolMap<U> {
        let changed = self.0.iter().enumerate().map(|(at, value)| Some(change(id(at), value.as_ref()?)));
        PoolMap(changed.collect())
    }

    /// The pools, for a message.
    #[must_use]
    pub fn names(&self) -> Vec<PoolId> {
        let mut pools: Vec<PoolId> = self.ids().collect();
        pools.sort_unstable();
        pools
    }
}

/// The pool at an index of the map.
fn id(place: usize) -> PoolId {
    // A map has no more entries than there are ids.
    PoolId(u16::try_from(place).unwrap_or(u16::MAX))
}

impl<T> Default for PoolMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> FromIterator<(PoolId, T)> for PoolMap<T> {
    fn from_iter<I: IntoIterator<Item = (PoolId, T)>>(pairs: I) -> Self {
        let mut map = Self::new();
        for (pool, value) in pairs {
            map.insert(pool, value);
        }
        map
    }
}

/// Panics if the pool is missing: a task's pool is checked when the task is submitted.
impl<T> Index<PoolId> for PoolMap<T> {
    type Output = T;

    fn index(&self, pool: PoolId) -> &T {
        match self.get(pool) {
            Some(value) => value,
            None => panic!("the engine has no pool {pool}"),
        }
    }
}

impl<T> IndexMut<PoolId> for PoolMap<T> {
    fn index_mut(&mut self, pool: PoolId) -> &mut T {
        match self.get_mut(pool) {
            Some(value) => value,
            None => panic!("the engine has no pool {pool}"),
        }
    }
}

impl<T: Serialize> Serialize for PoolMap<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.names().into_iter().map(|pool| (pool, &self[pool])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(name: &str) -> PoolId {
        name.parse().expect("a name")
    }

    #[test]
    fn a_name_is_interned_once_and_the_built_in_ones_have_fixed_numbers() {
        assert_eq!((pool("cpu"), pool("io")), (PoolId::CPU, PoolId::IO));
        assert_eq!(pool("gpu"), pool("gpu"));
        assert_ne!(pool("gpu"), pool("gpu-2"));
        assert_eq!(pool("gpu-2").to_string(), "gpu-2");
    }

    #[test]
    fn an_invalid_name_is_refused() {
        for name in ["", "GPU", "2gpu", "-gpu", "_gpu", "g pu", "gpü", "g.pu", &"g".repeat(33)] {
            assert_eq!(PoolId::named(name), Err(PoolNameError::Invalid(name.to_owned())));
        }
        for name in ["g", "gpu_a100-80gb", &"g".repeat(32)] {
            assert_eq!(pool(name).name(), name);
        }
    }

    #[test]
    fn pools_are_ordered_by_name_after_the_built_in_ones() {
        let mut pools = [pool("zeta"), pool("alpha"), PoolId::IO, PoolId::CPU];
        pools.sort_unstable();
        assert_eq!(pools.map(PoolId::name), ["cpu", "io", "alpha", "zeta"]);
    }

    #[test]
    fn a_map_holds_a_value_for_each_pool_and_is_written_by_name() {
        let mut map: PoolMap<u32> = [(pool("zeta"), 3), (PoolId::CPU, 1), (pool("alpha"), 2)].into_iter().collect();
        assert_eq!(map.insert(pool("zeta"), 4), Some(3));
        assert_eq!((map[pool("zeta")], map.get(PoolId::IO)), (4, None));
        let json = serde_json::to_string(&map.map(|pool, value| format!("{pool}{value}"))).expect("JSON");
        assert_eq!(json, r#"{"cpu":"cpu1","alpha":"alpha2","zeta":"zeta4"}"#);
        let read: PoolId = serde_json::from_str("\"alpha\"").expect("a name");
        assert_eq!(read, pool("alpha"));
        assert!(serde_json::from_str::<PoolId>("\"No\"").is_err());
    }
}
