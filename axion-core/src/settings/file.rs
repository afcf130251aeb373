//! The layer of the configuration file.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use axion_actors::config::{BUILT_IN_SECTIONS, Given, Key, Kind, POOLS, Value, WorkerRange, can_be_variable};
use axion_actors::model::PoolId;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::origin::{ConfigPlace, Origin};
use super::problem::{ConfigProblem, ConfigProblemKind, LoadError, NamedBy, SourceText};
use super::{Layer, advice};

/// The maximum size of a file (L9).
const MAX_BYTES: u64 = 1 << 20;

/// Reads a file into memory.
pub(super) fn open(path: &Path, named_by: NamedBy) -> Result<SourceText, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), named_by, source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(LoadError::TooLarge { path: path.to_owned(), named_by, limit: MAX_BYTES });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|it| **it == b'\n').count() + 1;
        LoadError::NotText { path: path.to_owned(), named_by, line }
    })?;
    Ok(SourceText { path: path.to_owned(), text })
}

/// Parses a file.
pub(super) fn read(source: &SourceText) -> Layer {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let mut reader = TableReader { source, layer: Layer::default() };
    reader.top(table.get_ref());
    // Values and mistakes on a line with a syntax error are not reliable, so they are dropped.
    let lines: Vec<Range<usize>> =
        errors.iter().map(|error| lines_of(&source.text, &error.span().unwrap_or_default())).collect();
    let clear = |at: usize| !lines.iter().any(|line| line.contains(&at));
    reader.layer.values.retain(|(_, _, origin)| !matches!(origin, Origin::File { start, .. } if !clear(*start)));
    reader.layer.problems.retain(|it| !matches!(&it.place, ConfigPlace::File { span, .. } if !clear(span.start)));
    for error in errors {
        let span = error.span().unwrap_or_default();
        let kind = ConfigProblemKind::Syntax { message: error.message().to_owned() };
        reader.layer.problems.push(ConfigProblem { place: source.place(span), kind });
    }
    reader.layer
}

/// The whole lines that contain these bytes.
fn lines_of(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text[..text.floor_char_boundary(span.start)].rfind('\n').map_or(0, |at| at + 1);
    let end = text.ceil_char_boundary(span.end);
    start..text[end..].find('\n').map_or(text.len(), |at| end + at) + 1
}

struct TableReader<'a> {
    source: &'a SourceText,
    layer: Layer,
}

impl TableReader<'_> {
    fn top(&mut self, table: &DeTable<'_>) {
        for (name, value) in table {
            match name.get_ref().as_ref() {
                POOLS => self.pools(value),
                section if BUILT_IN_SECTIONS.contains(&section) => self.section(section, value, |section, name| {
                    Key::all().find(|key| key.short_name() == name && key.section().as_deref() == Some(section))
                }),
                _ => {
                    let find = |name: &str| Key::all().find(|key| key.short_name() == name && key.section().is_none());
                    self.entry(None, find, name, value);
                }
            }
        }
    }

    /// Reads the tables of the named pools.
    fn pools(&mut self, value: &Spanned<DeValue<'_>>) {
        let DeValue::Table(table) = value.get_ref() else { return self.no_table(POOLS, value) };
        for (name, value) in table {
            match PoolId::named(name.get_ref()) {
                Ok(pool) => {
                    self.layer.pools.push((pool, self.source.origin(name.span())));
                    self.section(&format!("{POOLS}.{pool}"), value, |_, name| Key::find_in_pool(pool, name));
                }
                Err(error) => {
                    let name_in_full = format!("{POOLS}.{}", name.get_ref().escape_debug());
                    let kind = ConfigProblemKind::UnknownKey { name: name_in_full, advice: error.to_string() };
                    self.problem(name.span(), kind);
                }
            }
        }
    }

    /// Reads a table of settings.
    fn section(&mut self, section: &str, value: &Spanned<DeValue<'_>>, find: impl Fn(&str, &str) -> Option<Key>) {
        let DeValue::Table(table) = value.get_ref() else { return self.no_table(section, value) };
        for (name, value) in table {
            self.entry(Some(section), |name| find(section, name), name, value);
        }
    }

    fn no_table(&mut self, section: &str, value: &Spanned<DeValue<'_>>) {
        let found = given(value.get_ref()).1.to_owned();
        let allowed =
            if section == POOLS { "tables: [pools.NAME]".to_owned() } else { format!("a table: [{section}]") };
        self.problem(value.span(), ConfigProblemKind::WrongKind { key: section.to_owned(), found, allowed });
    }

    fn entry(
        &mut self,
        table: Option<&str>,
        find: impl Fn(&str) -> Option<Key>,
        name: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let key = find(name.get_ref());
        let Some(key) = key else {
            let advice = advice::unknown_key(name.get_ref(), table);
            let name_in_full = table.map_or_else(String::new, |table| format!("{table}.")) + name.get_ref();
            // The display may interpret control characters.
            let name_in_full = name_in_full.escape_debug().to_string();
            self.problem(name.span(), ConfigProblemKind::UnknownKey { name: name_in_full, advice });
            return;
        };
        let read = match (key.kind(), value.get_ref()) {
            (Kind::Variables, DeValue::Table(table)) => self.texts(key, table).map(Value::Texts),
            (Kind::Workers, DeValue::Table(table)) => self.workers(key, table, value.span()),
            (_, found) => match key.read(given(found).0) {
                Ok(value) => Some(self.in_folder(key, value)),
                Err(wrong) => {
                    self.layer.problems.push(ConfigProblem::wrong(self.source.place(value.span()), key, wrong));
                    None
                }
            },
        };
        if let Some(read) = read {
            self.layer.values.push((key, read, self.source.origin(value.span())));
        }
    }

    /// The texts of a table, if all of its values are texts.
    fn texts(&mut self, key: Key, table: &DeTable<'_>) -> Option<BTreeMap<String, String>> {
        let mut texts = BTreeMap::new();
        for (name, value) in table {
            let entry = format!("{}.{}", key.name(), name.get_ref());
            let allowed = "a text, in quotes".to_owned();
            match value.get_ref() {
                DeValue::String(text) if can_be_variable(name.get_ref(), text) => {
                    texts.insert(name.get_ref().to_string(), text.to_string());
                }
                DeValue::String(text) => {
                    let allowed = "a name without \"=\" and a text without null characters".to_owned();
                    self.problem(
                        name.span(),
                        ConfigProblemKind::OutOfRange { key: entry, value: format!("{text:?}"), allowed },
                    );
                }
                other => {
                    let found = given(other).1.to_owned();
                    self.problem(value.span(), ConfigProblemKind::WrongKind { key: entry, found, allowed });
                }
            }
        }
        (texts.len() == table.len()).then_some(texts)
    }

    /// The bounds of a number of workers, if they are valid.
    fn workers(&mut self, key: Key, table: &DeTable<'_>, span: Range<usize>) -> Option<Value> {
        let mut workers = WorkerRange::default();
        let mut right = true;
        for (name, value) in table {
            let number = match value.get_ref() {
                DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
                _ => None,
            };
            match (name.get_ref().as_ref(), value.get_ref(), number) {
                ("min", _, Some(number)) => workers.min = number,
                ("max", _, Some(number)) => workers.max = Some(number),
                ("max", DeValue::String(text), _) if text.eq_ignore_ascii_case("auto") => workers.max = None,
                ("min" | "max", found, None) => {
                    let (name, allowed) = (format!("{}.{}", key.name(), name.get_ref()), "a whole number".to_owned());
                    let found = given(found).1.to_owned();
                    self.problem(value.span(), ConfigProblemKind::WrongKind { key: name, found, allowed });
                    right = false;
                }
                _ => {
                    let name_in_full = format!("{}.{}", key.name(), name.get_ref().escape_debug());
                    let advice = "the bounds are `min` and `max`".to_owned();
                    self.problem(name.span(), ConfigProblemKind::UnknownKey { name: name_in_full, advice });
                    right = false;
                }
            }
        }
        let workers = right.then_some(Value::Workers(workers))?;
        if let Err(wrong) = key.check(&workers) {
            self.layer.problems.push(ConfigProblem::wrong(self.source.place(span), key, wrong));
            return None;
        }
        Some(workers)
    }

    /// Paths in a file are relative to the folder of the file.
    fn in_folder(&self, key: Key, value: Value) -> Value {
        let on_path = |path: &Path| matches!(key.kind(), Kind::Program) && path.components().count() == 1;
        match (value, self.source.path.parent()) {
            (Value::Path(path), Some(folder)) if !on_path(&path) => Value::Path(folder.join(path)),
            (value, _) => value,
        }
    }

    fn problem(&mut self, span: Range<usize>, kind: ConfigProblemKind) {
        self.layer.problems.push(ConfigProblem { place: self.source.place(span), kind });
    }
}

/// A value in the form that the keys read, and the name of its type.
fn given<'a>(value: &'a DeValue<'_>) -> (Given<'a>, &'static str) {
    match value {
        DeValue::String(text) => (Given::Text(text), "a text"),
        DeValue::Integer(number) => {
            let whole = i128::from_str_radix(number.as_str(), number.radix());
            (whole.map_or(Given::Other("a number so large"), Given::Whole), "a number")
        }
        DeValue::Float(number) => {
            (number.as_str().parse().map_or(Given::Other("this number"), Given::Number), "a number")
        }
        DeValue::Boolean(flag) => (Given::Flag(*flag), "true or false"),
        DeValue::Datetime(_) => (Given::Other("a date"), "a date"),
        DeValue::Array(_) => (Given::Other("a list"), "a list"),
        DeValue::Table(_) => (Given::Other("a table"), "a table"),
    }
}
