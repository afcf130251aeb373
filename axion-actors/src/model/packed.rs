//! What functions take and give, as far as the engine has a part in it: `docs/internals/wire-protocol.md`, "Functions", is the
//! format. It puts values behind one another and reads what is said of them; it never looks into a pickle.

use std::fmt;

use bytes::Bytes;

use super::outcome::Json;

const DESCRIBED: u8 = 2;
const LIST: u8 = 3;
const FILLED: u8 = 4;

/// In front of what a pickle is described by: the tag, whether that is JSON, and its size.
const HEAD: usize = 1 + 1 + 8;

/// What a function returned, pickled. The engine never looks into it; of a step's it may be told what it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Pickle(pub Bytes);

impl fmt::Debug for Pickle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<a pickle of {} bytes>", self.0.len())
    }
}

impl Pickle {
    /// A value with what is known of it: its JSON form, or words for what has none.
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

    /// Its JSON form.
    ///
    /// # Errors
    /// In words what it is, if it has none.
    pub fn json(&self) -> Result<Json, String> {
        match self.parts() {
            Some((true, text, _)) => Ok(Json(text)),
            Some((false, text, _)) => Err(String::from_utf8_lossy(&text).into_owned()),
            None => Err("a pickle, of a function that is not a step".to_owned()),
        }
    }

    /// Whether anything is said of it: of what a step returned.
    #[must_use]
    pub fn is_described(&self) -> bool {
        self.parts().is_some()
    }

    /// The value alone.
    #[must_use]
    pub fn packed(&self) -> Bytes {
        self.parts().map_or_else(|| self.0.clone(), |(_, _, packed)| packed)
    }

    /// What it is described by, and the value. `None` if nothing is said of it, or its head is broken (L8).
    fn parts(&self) -> Option<(bool, Bytes, Bytes)> {
        let (head, _) = self.0.split_first_chunk::<HEAD>()?;
        let [DESCRIBED, is_json, size @ ..] = *head else { return None };
        let end = HEAD.checked_add(usize::try_from(u64::from_le_bytes(size)).ok()?)?;
        (end <= self.0.len()).then(|| (is_json == 1, self.0.slice(HEAD..end), self.0.slice(end..)))
    }
}

/// Values as one, which becomes a list.
#[must_use]
pub fn list(values: &[Bytes]) -> Bytes {
    let mut whole = head(LIST, values);
    values.iter().for_each(|value| whole.extend_from_slice(value));
    whole.into()
}

/// What stands in front of arguments and the values of their holes.
#[must_use]
pub fn filled(parts: &[Bytes]) -> Vec<u8> {
    head(FILLED, parts)
}

fn head(tag: u8, parts: &[Bytes]) -> Vec<u8> {
    let mut head = Vec::with_capacity(1 + 4 + 8 * parts.len());
    head.push(tag);
    // Parts are bounded far below 2³².
    head.extend_from_slice(&u32::try_from(parts.len()).unwrap_or(u32::MAX).to_le_bytes());
    parts.iter().for_each(|part| head.extend_from_slice(&(part.len() as u64).to_le_bytes()));
    head
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_said_of_a_pickle_is_read_without_a_look_into_it() {
        let packed = Bytes::from_static(b"\x80packed");
        let with_json = Pickle::described(Ok(&Json("[1]".into())), &packed);
        assert_eq!((with_json.json(), with_json.packed()), (Ok(Json("[1]".into())), packed.clone()));
        let without = Pickle::described(Err("a lock"), &packed);
        assert_eq!((without.json(), without.packed()), (Err("a lock".to_owned()), packed.clone()));
        let bare = Pickle(packed.clone());
        assert!(bare.json().is_err_and(|words| words.contains("not a step")));
        assert_eq!(bare.packed(), packed);
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
