//! Reads and assembles JSON text without parsing it into values.
//!
//! A value that is found is a slice of its text. An assembled text shares the bytes of its large parts: a result of one
//! megabyte exists once, however many steps read it.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::TaskId;
use crate::model::workflow::{JsonPath, Segment};

/// Shorter parts are copied, because a separate chunk costs more.
const SHARE_FROM: usize = 512;

/// The number of characters of a value that a message shows.
const SHOWN: usize = 40;

/// Bytes in chunks, which share large parts with the results that they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkedBytes {
    first: Bytes,
    rest: Vec<Bytes>,
}

impl ChunkedBytes {
    /// The chunks, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts().map(Bytes::len).sum()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes in one piece. Copies if there are several chunks.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut text = Vec::with_capacity(self.len());
        self.parts().for_each(|part| text.extend_from_slice(part));
        text.into()
    }
}

impl From<Bytes> for ChunkedBytes {
    fn from(text: Bytes) -> Self {
        Self { first: text, rest: Vec::new() }
    }
}

/// Writes a JSON text from its beginning to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Splicer {
    done: Vec<Bytes>,
    text: Vec<u8>,
}

impl Splicer {
    /// Reserves memory for bytes to be copied.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
    }

    /// Adds text.
    pub(super) fn text(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Adds text that shares its bytes with a result.
    pub(super) fn shared(&mut self, text: &Bytes) {
        if text.len() < SHARE_FROM {
            self.text(text);
        } else {
            self.flush();
            self.done.push(text.clone());
        }
    }

    /// Adds a text as a JSON string.
    pub(super) fn string(&mut self, text: &str) {
        // Writing into memory cannot fail, and a text always has a JSON form.
        let _ = serde_json::to_writer(&mut self.text, text);
    }

    /// Adds an id as a JSON string.
    pub(super) fn id(&mut self, id: TaskId) {
        let mut text = [b'"'; uuid::fmt::Hyphenated::LENGTH + 2];
        id.0.hyphenated().encode_lower(&mut text[1..]);
        self.text(&text);
    }

    /// Whether this is the last byte so far.
    pub(super) fn ends_with(&self, byte: u8) -> bool {
        let last = self.text.last().or_else(|| self.done.last().and_then(|part| part.last()));
        last == Some(&byte)
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.done.push(std::mem::take(&mut self.text).into());
        }
    }

    /// Makes clones cheap: a long text is shared from now on.
    pub(super) fn share(&mut self) {
        if self.text.len() >= SHARE_FROM {
            self.flush();
        }
    }

    /// The text.
    pub(super) fn finish(mut self) -> ChunkedBytes {
        if self.done.is_empty() {
            return Bytes::from(self.text).into();
        }
        self.flush();
        let mut parts = self.done.into_iter();
        ChunkedBytes { first: parts.next().unwrap_or_default(), rest: parts.collect() }
    }
}

/// A path that does not exist in the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// The number of segments that were found.
    pub(super) found: usize,
    /// The value at the end of those segments.
    pub(super) what: String,
}

/// The part of `text` at `path`. Takes time linear in the text.
pub(super) fn resolve(text: &Bytes, path: &JsonPath) -> Result<Bytes, Missing> {
    let mut here: &[u8] = text.trim_ascii();
    for (depth, segment) in path.segments().iter().enumerate() {
        let mut reader = serde_json::Deserializer::from_slice(here);
        let next = match (segment, here.first()) {
            (Segment::Key(key), Some(b'{')) => reader.deserialize_map(MemberVisitor(key)),
            (Segment::Index(index), Some(b'[')) => reader.deserialize_seq(ElementVisitor(*index)),
            _ => Ok(None),
        };
        match next {
            Ok(Some(next)) => here = next.get().as_bytes(),
            _ => return Err(Missing { found: depth, what: describe(here) }),
        }
    }
    Ok(text.slice_ref(here))
}

/// Finds a member of an object: the last one of its name, as Python does.
struct MemberVisitor<'k>(&'k str);

impl<'de> Visitor<'de> for MemberVisitor<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(hit) = map.next_key_seed(KeyMatches(self.0))? {
            if hit {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct KeyMatches<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for KeyMatches<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyMatches<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// Finds one element of a list.
struct ElementVisitor(usize);

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        for _ in 0..self.0 {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = list.next_element()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

/// The elements of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Elements {
    /// All of them, in order.
    All(Vec<Bytes>),
    /// The number of elements, which is over the limit.
    TooMany(usize),
    /// A description of the value, which is not a list.
    NotAList(String),
}

/// The elements of the list `text`, up to `limit` of them.
pub(super) fn elements(text: &Bytes, limit: usize) -> Elements {
    let here = text.trim_ascii();
    if here.first() != Some(&b'[') {
        return Elements::NotAList(describe(here));
    }
    match serde_json::Deserializer::from_slice(here).deserialize_seq(ElementsVisitor(limit)) {
        Ok((_, count)) if count > limit => Elements::TooMany(count),
        Ok((found, _)) => {
            Elements::All(found.into_iter().map(|element| text.slice_ref(element.get().as_bytes())).collect())
        }
        Err(_) => Elements::NotAList(describe(here)),
    }
}

struct ElementsVisitor(usize);

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while found.len() < self.0 {
            match list.next_element()? {
                Some(element) => found.push(element),
                None => break,
            }
        }
        let mut count = found.len();
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((found, count))
    }
}

/// Describes a JSON text in a few words.
pub(super) fn describe(text: &[u8]) -> String {
    let whole = String::from_utf8_lossy(text);
    match text.first() {
        Some(b'{') => match serde_json::Deserializer::from_slice(text).deserialize_map(KeysVisitor) {
            Ok((_, 0)) => "an empty object".to_owned(),
            Ok((keys, count)) => {
                let more = if count > keys.len() { format!(" and {} more", count - keys.len()) } else { String::new() };
                format!("an object with {}{more}", keys.join(", "))
            }
            Err(error) => format!("not JSON ({error})"),
        },
        Some(b'[') => match serde_json::Deserializer::from_slice(text).deserialize_seq(ElementsVisitor(0)) {
            Ok((_, 0)) => "an empty list".to_owned(),
            Ok((_, 1)) => "a list of 1 element".to_owned(),
            Ok((_, count)) => format!("a list of {count} elements"),
            Err(error) => format!("not JSON ({error})"),
        },
        Some(b'"') if whole.chars().count() > SHOWN => {
            format!("the text {}…\"", whole.chars().take(SHOWN).collect::<String>())
        }
        Some(b'"') => format!("the text {whole}"),
        Some(b'n' | b't' | b'f') => whole.chars().take(SHOWN).collect(),
        Some(_) => format!("the number {}", whole.chars().take(SHOWN).collect::<String>()),
        None => "nothing".to_owned(),
    }
}

/// The first keys of an object, and how many there are.
struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = (Vec<String>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut keys, mut count) = (Vec::new(), 0);
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<IgnoredAny>()?;
            count += 1;
            if keys.len() < 6 {
                keys.push(key.chars().take(SHOWN).collect());
            }
        }
        Ok((keys, count))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn at(text: &'static str, path: &str) -> Result<Bytes, Missing> {
        resolve(&Bytes::from_static(text.as_bytes()), &path.parse().expect("a path"))
    }

    #[test]
    fn what_a_path_leads_to_is_a_slice_of_the_text() {
        let text = r#" {"rows": [{"id": 1.50}, {"id": 123456789012345678901234567890}], "a\u0062": "x", "n": null} "#;
        for (path, found) in [
            ("rows[0].id", "1.50"),
            ("rows[1].id", "123456789012345678901234567890"),
            ("ab", "\"x\""),
            ("n", "null"),
            ("rows[0]", r#"{"id": 1.50}"#),
            ("", text.trim()),
        ] {
            assert_eq!(at(text, path), Ok(Bytes::from_static(found.as_bytes())), "{path}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_says_what_is_there_instead() {
        let text = r#"{"rows": [], "one": [7], "t": "short", "f": 2.5, "n": null, "e": {}}"#;
        for (path, found, what) in [
            ("row", 0, "an object with rows, one, t, f, n, e"),
            ("rows[0].id", 1, "an empty list"),
            ("rows.x", 1, "an empty list"),
            ("one[1]", 1, "a list of 1 element"),
            ("t.x", 1, "the text \"short\""),
            ("f[0]", 1, "the number 2.5"),
            ("n.x.y", 1, "null"),
            ("e.x", 1, "an empty object"),
        ] {
            assert_eq!(at(text, path), Err(Missing { found, what: what.to_owned() }), "{path}");
        }
    }

    #[test]
    fn a_list_gives_its_elements_in_order_or_how_many_are_too_many() {
        let text = Bytes::from_static(b"[1, [2, 3], {\"a\": []} ]");
        let Elements::All(found) = elements(&text, 3) else { panic!("refused") };
        assert_eq!(found, [&b"1"[..], b"[2, 3]", b"{\"a\": []}"]);
        assert_eq!(elements(&text, 2), Elements::TooMany(3));
        assert_eq!(elements(&Bytes::from_static(b"{\"a\":1}"), 9), Elements::NotAList("an object with a".to_owned()));
        assert_eq!(elements(&Bytes::from_static(b"[]"), 0), Elements::All(Vec::new()));
    }

    #[test]
    fn what_is_broken_is_described_as_that() {
        for (text, what) in [
            ("[1,", "not JSON (EOF while parsing a value at line 1 column 3)"),
            ("[1 2]", "not JSON (expected `,` or `]` at line 1 column 4)"),
            ("{\"a\"", "not JSON (EOF while parsing an object at line 1 column 4)"),
            ("", "nothing"),
        ] {
            let text = Bytes::from_static(text.as_bytes());
            assert_eq!(elements(&text, 9), Elements::NotAList(what.to_owned()));
        }
    }

    #[test]
    fn large_parts_are_shared_and_small_ones_copied() {
        let large = Bytes::from(vec![b'1'; SHARE_FROM]);
        let mut splicer = Splicer::default();
        splicer.text(b"[");
        splicer.shared(&large);
        splicer.text(b",");
        splicer.shared(&Bytes::from_static(b"2"));
        splicer.text(b"]");
        let params = splicer.finish();
        assert_eq!(params.parts().count(), 3);
        assert_eq!(params.parts().nth(1).map(|it| it.as_ptr()), Some(large.as_ptr()));
        assert_eq!((params.len(), params.clone().into_bytes().len()), (SHARE_FROM + 4, SHARE_FROM + 4));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c\"\\\\é]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-c\"é]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect()))
            ]
        })
    }

    proptest! {
        #[test]
        fn a_path_finds_what_indexing_finds(
            value in json(),
            segments in proptest::collection::vec(
                prop_oneof![
                    "[a-c\"é]{0,2}".prop_map(|key| Segment::Key(key.into())),
                    (0..4usize).prop_map(Segment::Index)
                ], 0..4)
        ) {
            let mut expected = Some(&value);
            for segment in &segments {
                expected = expected.and_then(|value| match segment {
                    Segment::Key(key) => value.as_object().and_then(|it| it.get(&**key)),
                    Segment::Index(index) => value.as_array().and_then(|it| it.get(*index)),
                });
            }
            let found = resolve(&value.to_string().into(), &JsonPath::from(segments));
            let found = found.ok().map(|text| serde_json::from_slice::<Value>(&text).expect("JSON"));
            prop_assert_eq!(found.as_ref(), expected);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in any::<Vec<u8>>(), path in "[a-c.\\[\\]0-2]{0,6}") {
            let text = Bytes::from(text);
            if let Ok(path) = path.parse() {
                let _ = resolve(&text, &path);
            }
            let _ = (elements(&text, 2), describe(&text));
        }
    }
}
