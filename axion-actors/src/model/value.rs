//! Values: parameters, arguments and results. Scripts use JSON, functions use pickles.
//!
//! The engine never reads a pickle. It concatenates values and reads their descriptions. The format is in
//! `docs/internals/wire-protocol.md`, section "Functions".

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::payload::Payload;

const DESCRIBED: u8 = 2;
const LIST: u8 = 3;
const FILLED: u8 = 4;

/// The bytes before a description: the tag, whether the description is JSON, and its size.
const HEAD: usize = 1 + 1 + 8;

/// A JSON text as a task returned it. The engine does not parse it, so numbers keep all their digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(pub Bytes);

/// A result that does not have the requested shape.
#[derive(Debug, thiserror::Error)]
#[error("the task's result cannot be read: {0}")]
pub struct JsonError(#[from] serde_json::Error);

impl Json {
    /// The text, or a placeholder if the worker sent invalid UTF-8.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("\"<not UTF-8>\"")
    }

    /// Parses the value into any type that serde can read.
    ///
    /// # Errors
    /// If the value has another shape.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        Ok(serde_json::from_slice(&self.0)?)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// The result of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A script's result, or plain data that a step's function returned.
    Json(Json),
    /// The pickled result of a function.
    Pickle(Pickle),
}

impl Data {
    /// The result of a function. A step's plain data is JSON. Everything else is a pickle, whose first byte never
    /// begins a JSON text.
    #[must_use]
    pub fn of_function(data: Payload) -> Self {
        match data.first() {
            Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => Self::Json(Json(data.into_bytes())),
            _ => Self::Pickle(Pickle(data)),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Json(Json(bytes)) => bytes,
            Self::Pickle(Pickle(payload)) => payload,
        }
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// A description of the value, if it has no JSON form.
    pub fn json(&self) -> Result<Json, String> {
        match self {
            Self::Json(json) => Ok(json.clone()),
            Self::Pickle(pickle) => pickle.json(),
        }
    }

    /// The value as a function receives it: the pickle without its description, or the JSON text.
    #[must_use]
    pub fn whole(&self) -> Bytes {
        match self {
            Self::Json(json) => json.0.clone(),
            Self::Pickle(pickle) => pickle.packed().into_bytes(),
        }
    }
}

impl From<Json> for Data {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

impl From<Pickle> for Data {
    fn from(pickle: Pickle) -> Self {
        Self::Pickle(pickle)
    }
}

/// The pickled result of a function. The engine never reads it. A step's result can carry a description.
#[derive(Clone, PartialEq, Eq)]
pub struct Pickle(pub Payload);

impl fmt::Debug for Pickle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<a pickle of {} bytes>", self.0.len())
    }
}

impl Pickle {
    /// A pickle with a description: its JSON form, or a text that says what the value is.
    #[must_use]
    pub fn described(json: Result<&Json, &str>, packed: &Bytes) -> Self {
        let (is_json, text) = match json {
            Ok(json) => (1, &json.0[..]),
            Err(words) => (0, words.as_bytes()),
        };
        let mut whole = Vec::with_capacity(HEAD + text.len() + packed.len());
        whole.extend_from_slice(&[DESCRIBED, is_json]);
        whole.extend_from_slice(&(text.len() as u64).to_le_bytes());
        whole.extend_from_slice(text);
        whole.extend_from_slice(packed);
        Self(whole.into())
    }

    /// The JSON form.
    ///
    /// # Errors
    /// A text that says what the value is, if it has no JSON form.
    pub fn json(&self) -> Result<Json, String> {
        match self.parts() {
            Some((true, text, _)) => Ok(Json(text)),
            Some((false, text, _)) => Err(String::from_utf8_lossy(&text).into_owned()),
            None => Err("a pickle that a function outside a workflow returned".to_owned()),
        }
    }

    /// Whether it has a description. Only results of steps have one.
    #[must_use]
    pub fn is_described(&self) -> bool {
        self.parts().is_some()
    }

    /// The pickle without its description.
    #[must_use]
    pub fn packed(&self) -> Payload {
        self.parts().map_or_else(|| self.0.clone(), |(_, _, packed)| packed)
    }

    /// The description and the pickle. `None` if there is no description or its header is invalid (L8).
    fn parts(&self) -> Option<(bool, Bytes, Payload)> {
        let (head, _) = self.0.split_first_chunk::<HEAD>()?;
        let [DESCRIBED, is_json, size @ ..] = *head else { return None };
        let end = HEAD.checked_add(usize::try_from(u64::from_le_bytes(size)).ok()?)?;
        (end <= self.0.len()).then(|| (is_json == 1, self.0.slice(HEAD..end).into_bytes(), self.0.slice(end..)))
    }
}

/// Combines values into one, which Python reads as a list.
#[must_use]
pub fn list(values: &[Bytes]) -> Bytes {
    let mut whole = head(LIST, values);
    values.iter().for_each(|value| whole.extend_from_slice(value));
    whole.into()
}

/// The header of arguments whose holes are filled with `parts`.
#[must_use]
pub fn filled(parts: &[Bytes]) -> Vec<u8> {
    head(FILLED, parts)
}

fn head(tag: u8, parts: &[Bytes]) -> Vec<u8> {
    let mut head = Vec::with_capacity(1 + 4 + 8 * parts.len());
    head.push(tag);
    // The parts are bounded far below 2³².
    head.extend_from_slice(&u32::try_from(parts.len()).unwrap_or(u32::MAX).to_le_bytes());
    parts.iter().for_each(|part| head.extend_from_slice(&(part.len() as u64).to_le_bytes()));
    head
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_description_is_read_without_reading_the_pickle() {
        let packed = Bytes::from_static(b"\x80packed");
        let with_json = Pickle::described(Ok(&Json("[1]".into())), &packed);
        assert_eq!((with_json.json(), with_json.packed()), (Ok(Json("[1]".into())), packed.clone().into()));
        let without = Pickle::described(Err("a lock"), &packed);
        assert_eq!((without.json(), without.packed()), (Err("a lock".to_owned()), packed.clone().into()));
        let bare = Pickle(packed.clone().into());
        assert!(bare.json().is_err_and(|words| words.contains("outside a workflow")));
        assert_eq!(*bare.packed(), packed);
        assert_eq!(
            list(&["1".into(), packed])[..],
            *b"\x03\x02\0\0\0\x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\x001\x80packed"
        );
    }

    proptest! {
        #[test]
        fn l8_no_bytes_make_the_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..40), described: bool) {
            if let (true, Some(first)) = (described, bytes.first_mut()) {
                *first = DESCRIBED;
            }
            let pickle = Pickle(bytes.into());
            let _ = pickle.json();
            prop_assert!(pickle.packed().len() <= pickle.0.len());
        }
    }
}
