//! Facts: the numbered changes of the engine's state (L13).
//!
//! Facts are complete: folding all facts of an engine restores its state (`policy/fold.rs`). The facts of one engine
//! have consecutive numbers. Each fact carries two times: wall time, and the engine's tick.
//!
//! Clients read facts as JSON: `{"id", "at", "tick", "event", …}`, with the fields of the kind beside them. On disk,
//! [`wire::facts`](crate::wire) encodes each kind with a stable code and a version. The version increases with every
//! change of the kind's fields.

mod kinds;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::kinds::{FactKind, KIND_TABLE, KindInfo};
use super::fresh::fresh_uuid;
use super::ids::TaskId;
use super::time::Tick;
use super::workflow::Step;

/// One run of an engine, from its start to its end. Without a store the number is random, so that no fact id is used
/// twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// A random incarnation.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the random half of the id")]
    pub fn random() -> Self {
        // 62 random bits; the two above them are the id's variant.
        Self(fresh_uuid().as_u128() as u64 & (u64::MAX >> 2))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The public id of a fact. Displays as `incarnation.number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactId {
    /// The engine's incarnation.
    pub incarnation: Incarnation,
    /// The number of the fact in that incarnation, from 1, without gaps.
    pub number: u64,
}

impl fmt::Display for FactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.number)
    }
}

/// A text that is not a fact id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid fact id {0:?}: expected two numbers with a dot between, such as `7.1042`")]
pub struct FactIdError(String);

impl FromStr for FactId {
    type Err = FactIdError;

    fn from_str(text: &str) -> Result<Self, FactIdError> {
        let read = || {
            let (incarnation, number) = text.split_once('.')?;
            Some(Self { incarnation: Incarnation(incarnation.parse().ok()?), number: number.parse().ok()? })
        };
        read().ok_or_else(|| FactIdError(text.to_owned()))
    }
}

impl Serialize for FactId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FactId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A change of the engine's state, with the time of the decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Fact {
    /// The id.
    pub id: FactId,
    /// The wall time.
    pub at: Timestamp,
    /// The engine's clock, which also counts while the machine sleeps and is never set.
    pub tick: Tick,
    /// The change.
    #[serde(flatten)]
    pub kind: FactKind,
}

impl Fact {
    /// Builds a fact from its parts.
    #[must_use]
    pub fn new(id: FactId, at: Timestamp, tick: Tick, kind: FactKind) -> Self {
        Self { id, at, tick, kind }
    }

    /// The size in bytes, for bounded buffers.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.kind.payload()
    }
}

fn steps_weight(steps: &[Step]) -> usize {
    steps.iter().map(|step| size_of::<Step>() + step.task().weight()).sum()
}

impl FactKind {
    /// The bytes that the kind holds outside the `Fact` itself.
    fn payload(&self) -> usize {
        match self {
            Self::TaskAccepted { task } => task.weight() + size_of::<super::TaskOptions>(),
            Self::TaskFinished { record } => record.weight(),
            Self::TaskRetrying { ended, .. } | Self::TaskRerun { ended, .. } => ended.weight(),
            Self::PoolUnavailable { error, .. } => error.weight(),
            Self::TaskBlocked { by, .. } => by.payload(),
            Self::RevokeOrdered { tasks, .. } => tasks.len() * size_of::<TaskId>(),
            Self::StepChanged { step, .. } | Self::StepAdmitted { step, .. } => step.len(),
            Self::StepBlocked { step, by, .. } => step.len() + size_of_val(&**by) + by.payload(),
            Self::WorkflowAccepted { spec, .. } => steps_weight(&spec.steps),
            Self::StepsAdded { steps, .. } => steps_weight(steps),
            Self::WorkflowFinished { record, .. } => record.weight(),
            _ => 0,
        }
    }

    /// The task that the fact concerns, if any.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Self::TaskAccepted { task } => Some(task.id()),
            Self::TaskFinished { record } => Some(record.id),
            Self::TaskHeld { task, .. }
            | Self::TaskDue { task }
            | Self::TaskBlocked { task, .. }
            | Self::TaskAdmitted { task }
            | Self::SlotsReserved { task, .. }
            | Self::TaskSent { task, .. }
            | Self::TaskReturned { task, .. }
            | Self::TaskRetrying { task, .. }
            | Self::TaskRerun { task, .. }
            | Self::CancelRequested { task, .. }
            | Self::InterruptOrdered { task, .. }
            | Self::KillOrdered { task, .. }
            | Self::KillSpared { task, .. }
            | Self::RecordDropped { task, .. }
            | Self::StepChanged { task, .. }
            | Self::StepBlocked { task, .. }
            | Self::StepAdmitted { task, .. } => Some(*task),
            _ => None,
        }
    }
}

/// Reads the JSON form. The fields `id`, `at`, `tick` and `event` may come in any order, but values that come before
/// `event` lose the exact spelling of their numbers.
impl<'de> Deserialize<'de> for Fact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Fact;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a fact: an object with `id`, `at`, `tick` and `event`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fact, A::Error> {
                let (mut id, mut at, mut tick, mut early) = (None, None, None, serde_json::Map::new());
                while let Some(name) = map.next_key::<String>()? {
                    match &*name {
                        "id" => id = Some(map.next_value()?),
                        "at" => at = Some(map.next_value()?),
                        "tick" => tick = Some(map.next_value()?),
                        "event" => {
                            let event: String = map.next_value()?;
                            let (Some(id), Some(at), Some(tick), true) = (id, at, tick, early.is_empty()) else {
                                early.insert(name, event.into());
                                continue;
                            };
                            let kind = FactKind::of_fields(&event, MapAccessDeserializer::new(map))?;
                            return Ok(Fact { id, at, tick, kind });
                        }
                        _ => {
                            early.insert(name, map.next_value()?);
                        }
                    }
                }
                let missing = A::Error::missing_field;
                let event = early.remove("event").ok_or_else(|| missing("event"))?;
                let event = event.as_str().ok_or_else(|| A::Error::custom("`event` is not a string"))?;
                let kind = FactKind::of_fields(event, serde_json::Value::Object(early)).map_err(A::Error::custom)?;
                let (id, at) = (id.ok_or_else(|| missing("id"))?, at.ok_or_else(|| missing("at"))?);
                Ok(Fact { id, at, tick: tick.ok_or_else(|| missing("tick"))?, kind })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}
