//! Identities. They are separate types, so that a sequence number cannot be used as an attempt.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fresh::fresh_uuid;
use super::pool::{PoolId, PoolNameError};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The first number.
            pub const FIRST: Self = Self(1);

            /// The next number.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// The number of the process in a worker slot. A replacement has the next one.
    Generation(u32)
);
number!(
    /// One execution of a task, numbered from 1.
    Attempt(u32)
);
number!(
    /// The name of an attempt within one worker process. Attempts are numbered from 1 in the order in which they were
    /// sent, and no number is used twice. Together with the worker's generation, the number fences late messages (L3).
    Seq(u64)
);

/// A task's identity: a UUID v7. The caller generates it, so a submission needs no answer to know the id. Ids sort by
/// time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub Uuid);

impl TaskId {
    /// A new id.
    #[must_use]
    pub fn generate() -> Self {
        Self(fresh_uuid())
    }

    /// The id of the task of an instance, if this is the id of a mapped step's task. `index` is the index of the
    /// element in the list. The id keeps the step's time and replaces the random bits. It depends only on the step and
    /// the index, so a replay makes the same ids.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low half of the id")]
    pub fn instance(self, index: u32) -> Self {
        let id = self.0.as_u128();
        // The finalizer of splitmix64 (Steele, Lea, Flood 2014) is a bijection, so no two instances share an id.
        let mut z = (id as u64) ^ (u64::from(index) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let random = u128::from((z ^ (z >> 31)) & (u64::MAX >> 2));
        let variant = id & (0b11 << 62);
        Self(Uuid::from_u128((id >> 64 << 64) | variant | random))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A machine that runs workers. The engine's own is [`NodeId::LOCAL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u16);

impl NodeId {
    /// The machine of the engine.
    pub const LOCAL: Self = Self(0);
}

/// A worker slot: `cpu-0`, `io-3`, `gpu-0`; on another machine than the engine's `cpu-0@2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId {
    /// The pool.
    pub pool: PoolId,
    /// The index in the pool, from 0.
    pub index: u32,
    /// The machine that it runs on.
    pub node: NodeId,
}

impl WorkerId {
    /// One on the engine's own machine.
    #[must_use]
    pub const fn local(pool: PoolId, index: u32) -> Self {
        Self { pool, index, node: NodeId::LOCAL }
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pool, self.index)?;
        if self.node == NodeId::LOCAL { Ok(()) } else { write!(f, "@{}", self.node.0) }
    }
}

/// A text that is not the id of a worker slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerIdError {
    /// The text is not a pool's name, a hyphen and a number.
    #[error("invalid worker id {0:?}: expected a pool and a number, such as `cpu-0`")]
    Invalid(String),
    /// The name of the pool is invalid.
    #[error(transparent)]
    Pool(#[from] PoolNameError),
}

impl FromStr for WorkerId {
    type Err = WorkerIdError;

    fn from_str(text: &str) -> Result<Self, WorkerIdError> {
        let invalid = || WorkerIdError::Invalid(text.to_owned());
        // A pool's name may also contain hyphens.
        let (pool, place) = text.rsplit_once('-').ok_or_else(invalid)?;
        let (index, node) = match place.split_once('@') {
            Some((index, node)) => (index, NodeId(node.parse().map_err(|_| invalid())?)),
            None => (place, NodeId::LOCAL),
        };
        Ok(Self { index: index.parse().map_err(|_| invalid())?, pool: pool.parse()?, node })
    }
}

impl Serialize for WorkerId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WorkerId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One process in a worker slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerRef {
    /// The slot.
    pub id: WorkerId,
    /// The number of the process in that slot.
    pub generation: Generation,
}

impl fmt::Display for WorkerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (generation {})", self.id, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_id_is_read_back_from_its_text() {
        for text in ["cpu-0", "io-17", "gpu-a100-3", "cpu-0@2"] {
            let id: WorkerId = text.parse().expect("a worker");
            assert_eq!(id.to_string(), text);
            let json = serde_json::to_string(&id).expect("JSON");
            assert_eq!(serde_json::from_str::<WorkerId>(&json).expect("a worker"), id);
        }
        for text in ["", "cpu", "cpu-", "cpu-x", "-1", "CPU-1", "cpu-0@", "cpu-0@x", "cpu@1"] {
            assert!(text.parse::<WorkerId>().is_err(), "{text}");
        }
    }

    #[test]
    fn where_a_worker_runs_costs_no_memory() {
        assert_eq!((size_of::<WorkerId>(), size_of::<WorkerRef>()), (8, 12));
    }
}
