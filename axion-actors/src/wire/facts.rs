//! Facts as bytes: for a journal, and for a second machine.
//!
//! ```text
//! kind u16 | version u16 | length u32 | body
//! ```
//!
//! All numbers are little-endian. The body is what bincode makes of the fact's id, its two times and its fields, in the
//! order of `KIND_TABLE`. A kind's version is raised with every change of its fields, and the reader of the old version
//! is kept. `golden/facts.json` holds the facts of each release, which every later one must read.

use bincode::Options;
use jiff::Timestamp;
use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{Fact, FactId, FactKind, Incarnation, KIND_TABLE, KindInfo, Tick};

/// The bytes before the body.
pub const FACT_HEAD: usize = 8;

/// A fact that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactCodecError {
    /// The bytes end before the fact does.
    #[error("a fact is cut off: {needed} bytes are needed, {found} are there")]
    Truncated {
        /// How many bytes it has, as far as that is known.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// The kind is of a later release.
    #[error("unknown kind of fact {code}: written by a newer release, or not a fact")]
    UnknownKind {
        /// The kind's code.
        code: u16,
    },
    /// The version is of a later release.
    #[error("`{name}` has version {found}, this release reads versions up to {known}: use a newer release")]
    UnknownVersion {
        /// The kind's name.
        name: &'static str,
        /// The version.
        found: u16,
        /// The newest that is known.
        known: u16,
    },
    /// The body is no fact of its kind.
    #[error("the body of `{name}` is malformed: {source}")]
    Malformed {
        /// The kind's name.
        name: &'static str,
        /// What the decoder found.
        source: bincode::Error,
    },
    /// It cannot be written.
    #[error("`{name}` cannot be encoded: {source}")]
    Unwritable {
        /// The kind's name.
        name: &'static str,
        /// What the encoder found.
        source: bincode::Error,
    },
    /// The body does not fit into a frame.
    #[error("`{name}` has {size} bytes, the most is 4 GiB")]
    TooLarge {
        /// The kind's name.
        name: &'static str,
        /// How many bytes the body has.
        size: usize,
    },
}

/// The id and the times of a fact.
#[derive(Serialize, Deserialize)]
struct Head {
    incarnation: Incarnation,
    number: u64,
    seconds: i64,
    nanoseconds: i32,
    tick: Tick,
}

struct FactBody<'a>(&'a FactKind);

impl Serialize for FactBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write_fields(serializer)
    }
}

/// Appends a fact to `out`.
///
/// # Errors
/// If it cannot be written; `out` is then as it was.
pub fn encode_fact(fact: &Fact, out: &mut Vec<u8>) -> Result<(), FactCodecError> {
    let KindInfo { code, version, name, .. } = fact.kind.info();
    let FactId { incarnation, number } = fact.id;
    let (seconds, nanoseconds) = (fact.at.as_second(), fact.at.subsec_nanosecond());
    let head = Head { incarnation, number, seconds, nanoseconds, tick: fact.tick };
    let start = out.len();
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let format = bincode::options().with_fixint_encoding().with_no_limit();
    if let Err(source) = format.serialize_into(&mut *out, &(head, FactBody(&fact.kind))) {
        out.truncate(start);
        return Err(FactCodecError::Unwritable { name, source });
    }
    let size = out.len() - start - FACT_HEAD;
    let Ok(length) = u32::try_from(size) else {
        out.truncate(start);
        return Err(FactCodecError::TooLarge { name, size });
    };
    out[start + 4..start + FACT_HEAD].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Reads the fact at the beginning of `bytes`, and says how many bytes it has.
///
/// # Errors
/// If there is none that this release can read.
pub fn decode_fact(bytes: &[u8]) -> Result<(Fact, usize), FactCodecError> {
    let cut = |needed| FactCodecError::Truncated { needed, found: bytes.len() };
    let (head, rest) = bytes.split_first_chunk::<FACT_HEAD>().ok_or_else(|| cut(FACT_HEAD))?;
    let [c0, c1, v0, v1, l0, l1, l2, l3] = *head;
    let (code, version) = (u16::from_le_bytes([c0, c1]), u16::from_le_bytes([v0, v1]));
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let body = rest.get(..length).ok_or_else(|| cut(FACT_HEAD.saturating_add(length)))?;
    let known = KIND_TABLE.iter().find(|info| info.code == code).ok_or(FactCodecError::UnknownKind { code })?;
    let &KindInfo { name, version: newest, .. } = known;
    if version != newest {
        // No kind has had another version yet; its reader would be here.
        return Err(FactCodecError::UnknownVersion { name, found: version, known: newest });
    }
    let format = bincode::options().with_fixint_encoding().with_limit(length as u64);
    let fact = format.deserialize_seed(BodySeed(code), body);
    Ok((fact.map_err(|source| FactCodecError::Malformed { name, source })?, FACT_HEAD + length))
}

/// Reads the body of a fact of this kind.
struct BodySeed(u16);

impl<'de> DeserializeSeed<'de> for BodySeed {
    type Value = Fact;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fact, D::Error> {
        deserializer.deserialize_tuple(2, self)
    }
}

impl<'de> Visitor<'de> for BodySeed {
    type Value = Fact;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body of a fact")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Fact, A::Error> {
        let missing = |at| A::Error::invalid_length(at, &"the body of a fact");
        let head: Head = parts.next_element()?.ok_or_else(|| missing(0))?;
        let kind = parts.next_element_seed(FieldsSeed(self.0))?.ok_or_else(|| missing(1))?;
        let at = Timestamp::new(head.seconds, head.nanoseconds).map_err(A::Error::custom)?;
        let id = FactId { incarnation: head.incarnation, number: head.number };
        Ok(Fact::new(id, at, head.tick, kind))
    }
}

struct FieldsSeed(u16);

impl<'de> DeserializeSeed<'de> for FieldsSeed {
    type Value = FactKind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FactKind, D::Error> {
        FactKind::read_fields(self.0, deserializer).unwrap_or_else(|| Err(D::Error::custom("unknown kind of fact")))
    }
}

#[cfg(test)]
mod tests;
