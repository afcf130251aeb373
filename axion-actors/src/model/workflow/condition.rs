//! Conditions on the results of other steps.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::template::Reference;

/// A test of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Equal. Numbers are compared by value, everything else by its JSON.
    #[serde(rename = "==")]
    Eq,
    /// Not equal.
    #[serde(rename = "!=")]
    Ne,
    /// Less: two numbers or two texts.
    #[serde(rename = "<")]
    Lt,
    /// Less or equal.
    #[serde(rename = "<=")]
    Le,
    /// Greater.
    #[serde(rename = ">")]
    Gt,
    /// Greater or equal.
    #[serde(rename = ">=")]
    Ge,
    /// Equal to one of the elements of the given list.
    #[serde(rename = "in")]
    In,
    /// The value exists.
    #[serde(rename = "exists")]
    Exists,
    /// Truthy as in Python: not null, false, 0 or empty.
    #[serde(rename = "truthy")]
    Truthy,
}

impl Op {
    /// All operators.
    pub const ALL: [Self; 9] =
        [Self::Eq, Self::Ne, Self::Lt, Self::Le, Self::Gt, Self::Ge, Self::In, Self::Exists, Self::Truthy];

    /// The symbol in texts.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::In => "in",
            Self::Exists => "exists",
            Self::Truthy => "truthy",
        }
    }

    /// Whether the operator compares with a given value.
    #[must_use]
    pub fn takes_value(self) -> bool {
        !matches!(self, Self::Exists | Self::Truthy)
    }
}

/// One test of one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// The tested value.
    pub of: Reference,
    /// The operator.
    pub op: Op,
    /// The value to compare with; `Null` if the operator takes none.
    pub value: Value,
}

/// A condition on the results of other steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// One test.
    Test(Test),
    /// All conditions hold. True for an empty list.
    All(Vec<Condition>),
    /// At least one condition holds. False for an empty list.
    Any(Vec<Condition>),
    /// The condition does not hold.
    Not(Box<Condition>),
}

/// Conditions as JSON in every format, because other formats may not support recursive types.
pub(super) mod as_json {
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::value::{RawValue, to_raw_value};

    use super::Condition;

    pub(in crate::model::workflow) fn serialize<S: Serializer>(
        condition: &Option<Condition>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = condition.as_ref().map(to_raw_value).transpose().map_err(S::Error::custom)?;
        match serializer.is_human_readable() {
            true => text.serialize(serializer),
            false => text.as_deref().map(RawValue::get).serialize(serializer),
        }
    }

    pub(in crate::model::workflow) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Condition>, D::Error> {
        let text = match deserializer.is_human_readable() {
            true => Option::<Box<RawValue>>::deserialize(deserializer)?.map(|it| it.get().to_owned()),
            false => Option::<String>::deserialize(deserializer)?,
        };
        text.map(|text| serde_json::from_str(&text).map_err(D::Error::custom)).transpose()
    }
}

impl Condition {
    /// Compares a value with another.
    #[must_use]
    pub fn test(of: Reference, op: Op, value: impl Into<Value>) -> Self {
        Self::Test(Test { of, op, value: value.into() })
    }

    /// Tests whether the value exists and is truthy, as in Python.
    #[must_use]
    pub fn truthy(of: Reference) -> Self {
        Self::test(of, Op::Truthy, Value::Null)
    }

    /// Tests whether the value exists.
    #[must_use]
    pub fn exists(of: Reference) -> Self {
        Self::test(of, Op::Exists, Value::Null)
    }

    /// This condition and all conditions inside it, with their depth from 1.
    pub fn parts(&self) -> impl Iterator<Item = (&Self, usize)> {
        let mut left = vec![(self, 1)];
        std::iter::from_fn(move || {
            let (next, depth) = left.pop()?;
            match next {
                Self::Test(_) => {}
                Self::All(parts) | Self::Any(parts) => left.extend(parts.iter().rev().map(|part| (part, depth + 1))),
                Self::Not(part) => left.push((part, depth + 1)),
            }
            Some((next, depth))
        })
    }

    /// The tests in the condition.
    pub fn tests(&self) -> impl Iterator<Item = &Test> {
        self.parts().filter_map(|(part, _)| match part {
            Self::Test(test) => Some(test),
            _ => None,
        })
    }

    /// The references in the condition.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.tests().map(|test| &test.of)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.op {
            op if op.takes_value() => write!(f, "{} {} {}", self.of, op.symbol(), self.value),
            op => write!(f, "{} {}", self.of, op.symbol()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, word: &str, parts: &[Self]| {
            write!(f, "{word}(")?;
            for (place, part) in parts.iter().enumerate() {
                write!(f, "{}{part}", if place == 0 { "" } else { ", " })?;
            }
            f.write_str(")")
        };
        match self {
            Self::Test(test) => test.fmt(f),
            Self::All(parts) => list(f, "all", parts),
            Self::Any(parts) => list(f, "any", parts),
            Self::Not(part) => write!(f, "not({part})"),
        }
    }
}
