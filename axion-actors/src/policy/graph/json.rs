//! Reads and assembles JSON text without parsing it into values.
//!
//! A value that is found is a slice of its text. An assembled text shares the bytes of its large parts: a result of one
//! megabyte exists once, however many steps read it.

use std::fmt;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::TaskId;
use crate::model::workflow::{JsonPath, Segment};

/// Shorter parts are copied, because a separate chunk costs more.
const SHARE_FROM: usize = 512;

/// The number of characters of a value that a message shows.
const SHOWN: usize = 40;

/// The number of an object's keys that a message shows.
const SHOWN_KEYS: usize = 6;

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
    match resolve_all(text, &[path]).pop() {
        Some(found) => found,
        None => Err(Missing { found: 0, what: "nothing".to_owned() }),
    }
}

/// The parts of `text` at all of these paths, in their order. Reads each container that they lead through once.
pub(super) fn resolve_all(text: &Bytes, paths: &[&JsonPath]) -> Vec<Result<Bytes, Missing>> {
    #[cfg(test)]
    tests::READS.set(tests::READS.get() + 1);
    let mut found: Vec<Option<Result<Bytes, Missing>>> = vec![None; paths.len()];
    // Not by recursion: a path, and a text, may be of any depth.
    let mut remaining: Vec<(&[u8], usize, Vec<usize>)> = vec![(text.trim_ascii(), 0, (0..paths.len()).collect())];
    while let Some((here, depth, those)) = remaining.pop() {
        let mut inside = Inside::default();
        for path in those {
            match paths[path].segments().get(depth) {
                None => found[path] = Some(Ok(text.slice_ref(here))),
                Some(segment) => inside.add(segment, path),
            }
        }
        let mut missing = inside.read(here, |value, those| remaining.push((value.get().as_bytes(), depth + 1, those)));
        if let Some(last) = missing.pop() {
            let what = describe(here);
            missing.iter().for_each(|path| found[*path] = Some(Err(Missing { found: depth, what: what.clone() })));
            found[last] = Some(Err(Missing { found: depth, what }));
        }
    }
    let none = || Err(Missing { found: 0, what: "nothing".to_owned() });
    found.into_iter().map(|found| found.unwrap_or_else(none)).collect()
}

/// The members and elements of one container that paths lead through.
#[derive(Default)]
struct Inside<'p, 'de> {
    keys: FxHashMap<&'p str, usize>,
    indices: FxHashMap<usize, usize>,
    /// The paths through each of them, and its value.
    groups: Vec<(Vec<usize>, Option<&'de RawValue>)>,
}

impl<'p, 'de> Inside<'p, 'de> {
    fn add(&mut self, segment: &'p Segment, path: usize) {
        let next = self.groups.len();
        let group = match segment {
            Segment::Key(key) => *self.keys.entry(key).or_insert(next),
            Segment::Index(index) => *self.indices.entry(*index).or_insert(next),
        };
        if group == next {
            self.groups.push((Vec::new(), None));
        }
        self.groups[group].0.push(path);
    }

    /// Finds the values in the container `here`. Returns the paths of those that are not there.
    fn read(mut self, here: &'de [u8], mut found: impl FnMut(&'de RawValue, Vec<usize>)) -> Vec<usize> {
        let mut reader = serde_json::Deserializer::from_slice(here);
        let read = match here.first() {
            Some(b'{') if !self.keys.is_empty() => reader.deserialize_map(MembersVisitor(&mut self)),
            Some(b'[') if !self.indices.is_empty() => reader.deserialize_seq(ElementsAtVisitor(&mut self)),
            _ => Ok(()),
        };
        let mut missing = Vec::new();
        for (those, value) in self.groups {
            match value.filter(|_| read.is_ok()) {
                Some(value) => found(value, those),
                None => missing.extend(those),
            }
        }
        missing
    }
}

/// Finds members of an object: of each name the last one, as Python does.
struct MembersVisitor<'a, 'p, 'de>(&'a mut Inside<'p, 'de>);

impl<'de> Visitor<'de> for MembersVisitor<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(group) = map.next_key_seed(GroupOfKey(&self.0.keys))? {
            match group {
                Some(group) => self.0.groups[group].1 = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct GroupOfKey<'a, 'p>(&'a FxHashMap<&'p str, usize>);

impl<'de> DeserializeSeed<'de> for GroupOfKey<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for GroupOfKey<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(key).copied())
    }
}

/// Finds elements of a list.
struct ElementsAtVisitor<'a, 'p, 'de>(&'a mut Inside<'p, 'de>);

impl<'de> Visitor<'de> for ElementsAtVisitor<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for index in 0.. {
            let there = match self.0.indices.get(&index) {
                Some(group) => {
                    let element = list.next_element()?;
                    self.0.groups[*group].1 = element;
                    element.is_some()
                }
                None => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !there {
                break;
            }
        }
        Ok(())
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

/// Describes a value in a few words, as [`describe`] describes its text, whatever its size.
pub(super) fn describe_value(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(list) => describe_list(list.len()),
        serde_json::Value::Object(members) => {
            let keys: Vec<String> =
                members.keys().take(SHOWN_KEYS).map(|key| key.chars().take(SHOWN).collect()).collect();
            describe_object(&keys, members.len())
        }
        short => describe(short.to_string().as_bytes()),
    }
}

fn describe_list(count: usize) -> String {
    match count {
        0 => "an empty list".to_owned(),
        1 => "a list of 1 element".to_owned(),
        count => format!("a list of {count} elements"),
    }
}

/// `keys`: the first of them.
fn describe_object(keys: &[String], count: usize) -> String {
    if count == 0 {
        return "an empty object".to_owned();
    }
    let more = if count > keys.len() { format!(" and {} more", count - keys.len()) } else { String::new() };
    format!("an object with {}{more}", keys.join(", "))
}

/// Describes a JSON text in a few words.
pub(super) fn describe(text: &[u8]) -> String {
    let whole = String::from_utf8_lossy(text);
    match text.first() {
        Some(b'{') => match serde_json::Deserializer::from_slice(text).deserialize_map(KeysVisitor) {
            Ok((keys, count)) => describe_object(&keys, count),
            Err(error) => format!("not JSON ({error})"),
        },
        Some(b'[') => match serde_json::Deserializer::from_slice(text).deserialize_seq(ElementsVisitor(0)) {
            Ok((_, count)) => describe_list(count),
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
            if keys.len() < SHOWN_KEYS {
                keys.push(key.chars().take(SHOWN).collect());
            }
        }
        Ok((keys, count))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    thread_local! {
        /// How often this thread has read a text.
        pub(in super::super) static READS: Cell<usize> = const { Cell::new(0) };
    }

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
        fn paths_together_find_what_each_finds_alone(
            value in json(),
            paths in proptest::collection::vec("([a-c]|\\[[0-3]\\])(\\.[a-c]|\\[[0-3]\\]){0,3}", 0..8)
        ) {
            let text = value.to_string().into();
            let paths: Vec<JsonPath> = paths.iter().map(|path| path.parse().expect("a path")).collect();
            let together = resolve_all(&text, &paths.iter().collect::<Vec<_>>());
            let alone: Vec<_> = paths.iter().map(|path| resolve(&text, path)).collect();
            prop_assert_eq!(together, alone);
        }

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
