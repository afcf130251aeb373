//! Paths into a JSON value: `rows[0].id`, `["odd key"].x`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// The key of an object's member.
    Key(Box<str>),
    /// The index of a list's element, from 0.
    Index(usize),
}

/// A path into a JSON value. The empty path means the whole value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct JsonPath(Vec<Segment>);

/// A text that is not a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a path, at character {at}: {what}; paths look like rows[0].id or [\"odd key\"].x")]
pub struct PathError {
    /// The text.
    pub text: String,
    /// The position of the error, counted in characters from 1.
    pub at: usize,
    /// The error.
    pub what: &'static str,
}

impl JsonPath {
    /// The segments, outermost first.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The path of the first `count` segments.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        Self(self.0[..count.min(self.0.len())].to_vec())
    }
}

impl From<Vec<Segment>> for JsonPath {
    fn from(segments: Vec<Segment>) -> Self {
        Self(segments)
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(['.', '[', ']', '"'])
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if is_plain(key) => {
                    write!(f, "{}{key}", if place == 0 { "" } else { "." })?;
                }
                Segment::Key(key) => write!(f, "[{}]", serde_json::Value::from(&**key))?,
            }
        }
        Ok(())
    }
}

impl FromStr for JsonPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut segments = Vec::new();
        let mut rest = text;
        let wrong = |rest: &str, what| PathError {
            text: text.to_owned(),
            at: text[..text.len() - rest.len()].chars().count() + 1,
            what,
        };
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix("[\"") {
                let mut values = serde_json::Deserializer::from_str(&rest[1..]).into_iter::<String>();
                let Some(Ok(key)) = values.next() else { return Err(wrong(inside, "the quoted key does not end")) };
                let Some(after) = rest[1 + values.byte_offset()..].strip_prefix(']') else {
                    return Err(wrong(inside, "missing ] after the key"));
                };
                segments.push(Segment::Key(key.into()));
                rest = after;
            } else if let Some(inside) = rest.strip_prefix('[') {
                let Some((digits, after)) = inside.split_once(']') else {
                    return Err(wrong(inside, "missing ] after the index"));
                };
                let Ok(index) = digits.parse() else {
                    return Err(wrong(inside, "an index is a whole number from 0"));
                };
                segments.push(Segment::Index(index));
                rest = after;
            } else {
                let key = match (segments.is_empty(), rest.strip_prefix('.')) {
                    (true, None) => rest,
                    (true, Some(_)) => return Err(wrong(rest, "a path must not begin with a dot")),
                    (false, Some(key)) => key,
                    (false, None) => return Err(wrong(rest, "missing dot before the key")),
                };
                let end = key.find(['.', '[']).unwrap_or(key.len());
                if end == 0 || key[..end].contains([']', '"']) {
                    return Err(wrong(key, "missing key, or a key that must be quoted"));
                }
                segments.push(Segment::Key(key[..end].into()));
                rest = &key[end..];
            }
        }
        Ok(Self(segments))
    }
}

/// As text.
impl Serialize for JsonPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JsonPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_read_as_people_write_them() {
        let path: JsonPath = r#"rows[0].id["odd.key\""][3].x"#.parse().expect("a path");
        let key = |text: &str| Segment::Key(text.into());
        assert_eq!(
            path.segments(),
            [key("rows"), Segment::Index(0), key("id"), key("odd.key\""), Segment::Index(3), key("x")]
        );
        assert!("".parse::<JsonPath>().expect("whole").segments().is_empty());
        for (text, at) in [(".a", 1), ("a..b", 3), ("a[", 3), ("a[x]", 3), ("a[-1]", 3), ("a]", 1), ("a[0]b", 5)] {
            assert_eq!(text.parse::<JsonPath>().expect_err(text).at, at, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_displayed_path_is_read_back(
            segments in proptest::collection::vec(
                prop_oneof![
                    any::<String>().prop_map(|key| Segment::Key(key.into())),
                    any::<usize>().prop_map(Segment::Index)
                ], 0..6)
        ) {
            let path = JsonPath::from(segments);
            prop_assert_eq!(path.to_string().parse::<JsonPath>(), Ok(path));
        }

        #[test]
        fn l8_no_text_makes_the_reader_panic(text in any::<String>()) {
            let _ = text.parse::<JsonPath>();
        }
    }
}
