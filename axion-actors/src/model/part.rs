//! Parts: bytes that a worker keeps by their hash, such as a function's code and the values that it uses.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use twox_hash::XxHash3_128;
use uuid::Uuid;

use super::payload::Payload;

/// The identity of a part: a hash of its bytes. A worker that has the part does not receive it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartId(pub [u8; 16]);

/// The namespace of the hashes of small parts. Other uses of the same hash give other ids.
const SMALL: Uuid = Uuid::from_u128(0x0a71_0f5e_6b0c_4d1e_9c55_35aa_77ef_2b90);
/// Parts of at least this size have a fast hash.
const LARGE: usize = 64 << 10;

impl PartId {
    /// The identity of these bytes.
    ///
    /// Large parts have a hash that an adversary could make collide. Only the caller makes parts, and a collision would
    /// only mix up values of its own.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.len() < LARGE { Self(*Uuid::new_v5(&SMALL, bytes).as_bytes()) } else { Self(fingerprint(bytes)) }
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).simple().fmt(f)
    }
}

/// A fast hash of 128 bits. Equal bytes have equal hashes; it does not resist an adversary.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> [u8; 16] {
    XxHash3_128::oneshot(bytes).to_be_bytes()
}

/// A part: opaque bytes, and their identity. Cheap to clone.
#[derive(Clone)]
pub struct Part(Arc<Inner>);

struct Inner {
    id: PartId,
    bytes: Payload,
    is_secret: bool,
    /// The number of functions that need it and that waiting tasks have, in all engines.
    waiting: AtomicUsize,
}

impl Part {
    /// The part of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Payload>) -> Self {
        let bytes = bytes.into();
        Self::with_id(PartId::of(&bytes), bytes, false)
    }

    /// A part that only workers see: facts and records leave it out (L17). Its identity is random, because a hash of a
    /// short secret would tell the secret.
    #[must_use]
    pub fn secret(bytes: impl Into<Payload>) -> Self {
        Self::with_id(PartId(*Uuid::new_v4().as_bytes()), bytes.into(), true)
    }

    fn with_id(id: PartId, bytes: Payload, is_secret: bool) -> Self {
        Self(Arc::new(Inner { id, bytes, is_secret, waiting: AtomicUsize::new(0) }))
    }

    /// The identity.
    #[must_use]
    pub fn id(&self) -> PartId {
        self.0.id
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Payload {
        &self.0.bytes
    }

    /// Whether facts and records leave it out.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.0.is_secret
    }

    /// Whether a waiting task needs it. Its bytes then count in the queue already.
    #[must_use]
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }

    /// A function that needs it begins to wait.
    pub(crate) fn begin_to_wait(&self) {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// A function that needs it waits no more.
    pub(crate) fn cease_to_wait(&self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Part {}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<the part {} of {} bytes>", self.id(), self.bytes().len())
    }
}

impl Serialize for Part {
    /// The bytes. The identity follows from them. A secret part has none here; functions leave it out.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_secret() { Payload::default().serialize(serializer) } else { self.bytes().serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Payload::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_are_the_same_part_whatever_their_size() {
        for size in [0, 10, LARGE - 1, LARGE, LARGE + 1] {
            let part = Part::new(vec![1; size]);
            assert_eq!(part, Part::new(vec![1; size]));
            assert_eq!(part.id(), PartId::of(part.bytes()));
            assert_ne!(part, Part::new(vec![1; size + 1]));
            assert_ne!(part, Part::new(vec![2; size.max(1)]));
        }
    }

    #[test]
    fn l17_a_secret_part_is_not_known_by_its_bytes() {
        let part = Part::secret("key");
        assert_ne!(part, Part::secret("key"));
        assert_ne!(part.id(), PartId::of(b"key"));
        assert_eq!((part.bytes().as_ref(), part.is_secret()), (&b"key"[..], true));
        let stored = serde_json::to_string(&part).expect("it can be stored");
        assert_eq!(stored, serde_json::to_string(&Part::new("")).expect("it can be stored"));
    }
}
