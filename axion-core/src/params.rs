//! Parameters from a command line: a JSON text, and values by key on top of it.
//!
//! A value by key is JSON if it reads as JSON, else text. Nothing is lost in between: a number that would not come back
//! as it was written is refused, and so is a value of Python that would become a text.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::json;

/// Python reads no longer whole number from JSON.
const MAX_DIGITS: usize = 4300;

/// Parameters: a JSON text, and members that are set on top of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    document: Option<ParamsText>,
    values: Vec<GivenParam>,
}

/// A text of parameters, and where it is from: the name of an option or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParamsText {
    pub(crate) source: String,
    pub(crate) text: String,
}

/// A parameter that was given by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GivenParam {
    /// As it was written: `-p rows=5`.
    pub(crate) source: String,
    pub(crate) key: String,
    pub(crate) json: String,
    is_text: bool,
}

impl Params {
    /// Parameters as JSON. `source` says where the text is from, for messages.
    ///
    /// # Errors
    /// The mistakes in the text: its syntax, and keys that stand twice in an object.
    pub fn from_json(source: impl Into<String>, text: impl Into<String>) -> Result<Self, Diagnostics> {
        let (source, mut text) = (source.into(), text.into());
        // Some editors begin a file with a byte order mark, which is not JSON.
        if let Some(rest) = text.strip_prefix('\u{feff}') {
            text = rest.to_owned();
        }
        json::check(&source, &text)?;
        Ok(Self { document: Some(ParamsText { source, text }), values: Vec::new() })
    }

    /// Sets a parameter to a value, which is JSON if it reads as JSON, else text. A later value of a key replaces an
    /// earlier one.
    ///
    /// # Errors
    /// If the value would lose something, or looks like a value of Python.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Box<Diagnostic>> {
        let source = format!("-p {key}={value}");
        let json = read_value(value).map_err(|wrong| {
            let text = format!("-s {key}={value}");
            wrong.diagnostic(&format!("{source}: "), &text, |json| format!("-p {key}={json}"))
        })?;
        self.add(GivenParam { source, key: key.to_owned(), json, is_text: false })
    }

    /// Sets a parameter to a text, whatever it looks like.
    ///
    /// # Errors
    /// If [`Params::set`] has set the same one.
    pub fn set_text(&mut self, key: &str, text: &str) -> Result<(), Box<Diagnostic>> {
        let (source, json) = (format!("-s {key}={text}"), json_text(text));
        self.add(GivenParam { source, key: key.to_owned(), json, is_text: true })
    }

    fn add(&mut self, given: GivenParam) -> Result<(), Box<Diagnostic>> {
        if let Some(other) = self.values.iter().find(|it| it.key == given.key && it.is_text != given.is_text) {
            let words = format!("{} and {} set the same parameter", other.source, given.source);
            return Err(Box::new(Diagnostic::elsewhere(words, "").help(Some("leave one of them out".to_owned()))));
        }
        self.values.push(given);
        Ok(())
    }

    /// The parameters as JSON text. What was not set by key is not parsed, so numbers keep all their digits.
    ///
    /// # Errors
    /// If there are values by key, and the text is not an object.
    pub fn to_json(&self) -> Result<String, Box<Diagnostic>> {
        let (source, text) = match &self.document {
            Some(document) => (document.source.as_str(), document.text.as_str()),
            None => ("the parameters", "{}"),
        };
        if self.values.is_empty() {
            return Ok(text.to_owned());
        }
        let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|_| {
            let words = format!("{source} is not a JSON object, so -p and -s cannot add a parameter");
            Box::new(Diagnostic::elsewhere(words, "must be an object"))
        })?;
        let unwritable = |error: serde_json::Error| Box::new(Diagnostic::elsewhere(error.to_string(), ""));
        for given in &self.values {
            members.insert(given.key.clone(), serde_json::from_str(&given.json).map_err(unwritable)?);
        }
        serde_json::to_string(&members).map_err(unwritable)
    }

    pub(crate) fn document(&self) -> Option<&ParamsText> {
        self.document.as_ref()
    }

    pub(crate) fn values(&self) -> &[GivenParam] {
        &self.values
    }
}

/// A value that cannot be taken as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrongValue {
    /// What is wrong with it.
    words: String,
    /// The JSON value that may be meant.
    json: Option<String>,
    /// Whether it may be meant as text.
    maybe_text: bool,
}

impl WrongValue {
    fn new(words: impl Into<String>, json: Option<String>) -> Self {
        Self { words: words.into(), json, maybe_text: true }
    }

    /// The mistake, with how to write what may be meant: the text, or the JSON value.
    /// `before` goes in front of the message.
    pub(crate) fn diagnostic(self, before: &str, text: &str, json: impl Fn(&str) -> String) -> Box<Diagnostic> {
        let value = self.json.map(|value| format!("write {} for the value", json(&value)));
        let text = self.maybe_text.then(|| match value {
            Some(value) => format!("{value}, or {text} for the text"),
            None => format!("write {text} for the text"),
        });
        Box::new(Diagnostic::elsewhere(format!("{before}{}", self.words), "").help(text))
    }
}

/// The value as JSON text.
pub(crate) fn read_value(text: &str) -> Result<String, WrongValue> {
    if let Some(json) = ["True", "False", "None"].iter().zip(["true", "false", "null"]).find(|it| *it.0 == text) {
        return Err(WrongValue::new(format!("{text} is Python, and would be a text"), Some(json.1.to_owned())));
    }
    let Ok(value) = serde_json::from_str::<&RawValue>(text) else { return Ok(json_text(text)) };
    match value.get().as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => read_number(value.get())?,
        _ => json::check("the value", text).map_err(|found| {
            let words = found.all.first().map_or("it is not valid", |it| &it.message);
            WrongValue { maybe_text: false, ..WrongValue::new(words, None) }
        })?,
    }
    Ok(value.get().to_owned())
}

/// Refuses a number that a reader could not give back as it was written. It may be a version (1.10) or a hash (12e4567).
fn read_number(text: &str) -> Result<(), WrongValue> {
    let Some((mantissa, exponent)) = split_number(text) else {
        return match text.len() {
            ..=MAX_DIGITS => Ok(()),
            _ => Err(WrongValue::new(format!("a number of more than {MAX_DIGITS} digits cannot be read"), None)),
        };
    };
    let Some(number) = text.parse().ok().and_then(serde_json::Number::from_f64) else {
        return Err(WrongValue::new("this number is too large: it would be infinite", None));
    };
    let read = with_point(&number.to_string());
    let (digits, kept) = (digits(mantissa), digits(split_number(&read).map_or(&read, |it| it.0)));
    let wrong = |words: &str| Err(WrongValue::new(words, Some(read.clone())));
    match exponent {
        _ if digits != kept => wrong("this number has more digits than can be kept"),
        None if mantissa.ends_with('0') && !mantissa.ends_with(".0") => wrong("this number would lose its last zero"),
        // No hash has a point or a sign.
        Some(exponent) if !mantissa.contains('.') && !exponent.starts_with('-') => {
            wrong("this may be a number or a text, such as a hash")
        }
        _ => Ok(()),
    }
}

/// The mantissa and the exponent of a number; `None` if it is a whole number without an exponent.
fn split_number(text: &str) -> Option<(&str, Option<&str>)> {
    match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => Some((mantissa, Some(exponent))),
        None => text.contains('.').then_some((text, None)),
    }
}

/// The digits that matter.
fn digits(mantissa: &str) -> String {
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

/// A number with a point, which cannot be taken for a hash.
fn with_point(number: &str) -> String {
    match number.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0e{exponent}"),
        _ => number.to_owned(),
    }
}

/// A text as JSON.
pub(crate) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, (String, Option<String>)> {
        read_value(text).map_err(|wrong| (wrong.words, wrong.json))
    }

    #[test]
    fn a_value_is_json_or_text() {
        for json in ["1", "-0.5", "1.0", "2.5e-3", "1e-3", "1.5e3", "true", "null", "[1, 2]", "{\"a\": 1}", "\"x\""] {
            assert_eq!(read(json).as_deref(), Ok(json));
        }
        let huge = "123456789012345678901234567890";
        assert_eq!(read(huge).as_deref(), Ok(huge));
        for text in ["", "x", "007", "1_000", "2026-01-02", "a=b", "true story", "[a-z]*", "+1", "nan"] {
            assert_eq!(read(text), Ok(format!("\"{text}\"")));
        }
    }

    #[test]
    fn a_number_that_would_lose_its_text_is_refused_and_the_number_is_offered() {
        for (text, offered) in [
            ("1.10", Some("1.1")),
            ("0.123456789012345678", Some("0.12345678901234568")),
            ("1e6", Some("1000000.0")),
            ("12e45", Some("1.2e+46")),
            ("1E+30", Some("1.0e+30")),
            ("1e-400", Some("0.0")),
            ("12e4567", None),
            (&"9".repeat(MAX_DIGITS + 1), None),
        ] {
            let (words, json) = read(text).expect_err("it loses something");
            assert_eq!(json.as_deref(), offered, "{text}: {words}");
            // What is offered is accepted.
            assert!(json.is_none_or(|json| read(&json) == Ok(json)), "{text}");
        }
    }

    #[test]
    fn values_of_python_are_refused_with_those_of_json() {
        for (text, json) in [("True", "true"), ("False", "false"), ("None", "null")] {
            assert_eq!(read(text).expect_err("Python").1.as_deref(), Some(json));
        }
        let mut params = Params::default();
        let wrong = params.set("dry_run", "False").expect_err("Python");
        assert_eq!(wrong.message, "-p dry_run=False: False is Python, and would be a text");
        let help = "write -p dry_run=false for the value, or -s dry_run=False for the text";
        assert_eq!(wrong.help.as_deref(), Some(help));
    }

    #[test]
    fn values_by_key_replace_those_of_the_text_and_digits_stay() {
        let mut params = Params::from_json("x", "\u{feff}{\"a\": 1.10, \"b\": 2}").expect("JSON");
        assert_eq!(params.to_json().as_deref(), Ok("{\"a\": 1.10, \"b\": 2}"));
        params.set("b", "[1]").expect("set");
        params.set("b", "x").expect("set again");
        params.set_text("c", "1.10").expect("set");
        assert_eq!(params.to_json().as_deref(), Ok(r#"{"a":1.10,"b":"x","c":"1.10"}"#));
        let twice = params.set("c", "1").expect_err("both");
        assert_eq!(twice.message, "-s c=1.10 and -p c=1 set the same parameter");
        let mut list = Params::from_json("--params", "[1]").expect("JSON");
        list.set("a", "1").expect("set");
        let wrong = list.to_json().expect_err("a list").message;
        assert_eq!(wrong, "--params is not a JSON object, so -p and -s cannot add a parameter");
    }

    #[test]
    fn a_text_with_a_key_twice_or_a_number_without_an_end_is_refused_at_its_place() {
        for (text, place, words) in [
            (r#"{"a": 1, "b": {"c": 1, "c": 2}}"#, (1, 24), "the key `c` stands here twice"),
            (r#"[1, 1e999]"#, (1, 5), "this number is too large"),
            ("{", (1, 1), "x is not JSON, at line 1 column 1"),
        ] {
            let found = Params::from_json("x", text).expect_err("wrong");
            assert_eq!((found.place(&found.all[0]), found.all[0].message.as_str()), (Some(place), words), "{text}");
        }
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(Params::from_json("x", deep).is_err());
    }
}
