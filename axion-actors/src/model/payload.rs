//! Payloads: opaque bytes that are passed on as a whole and may be large.

use std::any::Any;
use std::fmt;
use std::ops::{Deref, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Opaque bytes. Large ones can lie in memory that the engine's process shares with its workers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Payload {
    bytes: Bytes,
    /// The shared memory in which the bytes lie. Only the process port knows its type.
    memory: Option<Arc<dyn Any + Send + Sync>>,
}

impl Payload {
    /// Bytes that lie in shared memory.
    #[must_use]
    pub fn in_memory(bytes: Bytes, memory: Arc<dyn Any + Send + Sync>) -> Self {
        Self { bytes, memory: Some(memory) }
    }

    /// The shared memory in which the bytes lie, if they do and it is of this type.
    #[must_use]
    pub fn memory<T: Any>(&self) -> Option<&T> {
        self.memory.as_ref()?.downcast_ref()
    }

    /// A part of the bytes.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        Self { bytes: self.bytes.slice(range), memory: self.memory.clone() }
    }

    /// The bytes alone. They stay where they are.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl Deref for Payload {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl<T: Into<Bytes>> From<T> for Payload {
    fn from(bytes: T) -> Self {
        Self { bytes: bytes.into(), memory: None }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::raw::serialize(&self.bytes, serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::raw::deserialize(deserializer).map(Self::from)
    }
}
