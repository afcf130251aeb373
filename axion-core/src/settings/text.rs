//! Configurations as text: the configuration in use, the commented defaults, and the tables of the documentation.

use std::fmt::Write;

use axion_actors::config::{BUILT_IN_SECTIONS, Config, Key, Kind, Value, WorkerRange};
use axion_actors::model::PoolId;
use serde_json::json;

use super::{LoadedConfig, Origin, RESERVED_VARIABLES};

/// The length of the template's lines.
const WIDTH: usize = 100;

const TEMPLATE_HEAD: &str = "\
# The configuration of Axion. Every key stands here with its default, switched off by a `#`: take the
# `#` away and change the value. Times are seconds or texts such as \"500ms\", \"1.5s\", \"10m\"; sizes are
# bytes or texts such as \"64KiB\", \"200M\", \"1.5G\". Environment variables go before this file:
# AXION_CPU_BOUND_COUNT=4, AXION_CPU_BOUND_WORKER_NICE=5. `axion config check` says what is wrong with
# it, `axion config show --origin` what holds and why.
";

const TEMPLATE_POOL: &str = "
# A pool beside `cpu` and `io`, with workers of its own. Tasks choose it by its name, as in `axion run
# --pool gpu`. Beside these keys, it takes those of [cpu_bound_worker].
#
# [pools.gpu]
";

impl LoadedConfig {
    /// The settings as a configuration file, optionally with a comment on each value's origin.
    #[must_use]
    pub fn to_toml(&self, origins: bool) -> String {
        let lines: Vec<_> = Key::of(&self.config)
            .map(|key| (key, format!("{} = {}", key.short_name(), literal(key, &key.get(&self.config)))))
            .collect();
        let width = lines.iter().map(|(_, line)| line.chars().count()).filter(|it| *it <= WIDTH / 2).max();
        let width = width.unwrap_or_default();
        let mut text = String::new();
        let mut section = None;
        for (key, line) in lines {
            start_section(&mut text, &mut section, key);
            let _ = match origins {
                true => writeln!(text, "{line:width$}  # {}", self.origin(key).describe(self.file.as_deref())),
                false => writeln!(text, "{line}"),
            };
        }
        text
    }

    /// The settings as JSON: times in seconds, sizes in bytes, `null` for "none". Optionally, each value is an object
    /// with its origin.
    #[must_use]
    pub fn to_json(&self, origins: bool) -> serde_json::Value {
        let mut settings = serde_json::Map::new();
        for key in Key::of(&self.config) {
            let value = json_value(key, &key.get(&self.config));
            let entry = if origins { json!({"value": value, "origin": self.json_origin(key)}) } else { value };
            let section = key.section().unwrap_or_default();
            let mut names = section.split('.').filter(|name| !name.is_empty());
            let table = names
                .try_fold(&mut settings, |table, name| table.entry(name).or_insert_with(|| json!({})).as_object_mut());
            if let Some(table) = table {
                table.insert(key.short_name().to_owned(), entry);
            }
        }
        settings.into()
    }

    fn json_origin(&self, key: Key) -> serde_json::Value {
        match self.origin(key) {
            Origin::Default => json!({"from": "default"}),
            Origin::File { line, column, .. } => {
                let path = self.file.as_ref().map(|it| it.display().to_string());
                json!({"from": "file", "path": path, "line": line, "column": column})
            }
            Origin::Variable(name) => json!({"from": "variable", "name": name}),
        }
    }
}

/// A configuration file with every key, its meaning and its default, all commented out.
#[must_use]
pub fn config_template() -> String {
    let mut text = TEMPLATE_HEAD.to_owned();
    let mut section = None;
    for key in Key::all() {
        start_section(&mut text, &mut section, key);
        let sentence = format!("{} Takes {}.", key.meaning(), key.allowed_briefly());
        let _ =
            writeln!(text, "\n{}#{} = {}", comment(&sentence), key.short_name(), literal(key, &key.default_value()));
    }
    pool_template(&mut text);
    text
}

fn start_section(text: &mut String, section: &mut Option<String>, key: Key) {
    let new = key.section();
    if let Some(name) = new.as_ref().filter(|_| new != *section) {
        let _ = writeln!(text, "\n[{name}]");
        *section = new;
    }
}

/// An example of a named pool. It is a comment, because it would declare a pool.
fn pool_template(text: &mut String) {
    text.push_str(TEMPLATE_POOL);
    let worker_keys = worker_keys();
    for key in Key::of_pool(PoolId::CPU).filter(|key| !worker_keys.contains(&key.short_name())) {
        let sentence = format!("{} Takes {}.", key.meaning(), key.allowed_briefly());
        let value = literal(key, &key.default_value());
        let _ = writeln!(text, "#\n{}# {} = {value}", comment(&sentence), key.short_name());
    }
}

/// The keys of the tables of the built-in pools' processes.
fn worker_keys() -> Vec<&'static str> {
    let [cpu, _] = BUILT_IN_SECTIONS;
    Key::all().filter(|key| key.section().as_deref() == Some(cpu)).map(Key::short_name).collect()
}

fn comment(sentence: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in sentence.split_whitespace() {
        if line.chars().count() + word.chars().count() + 1 > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = "#".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}

/// The tables of `docs/reference/configuration.md`, in Markdown: keys, keys of the sections, reserved variables.
#[must_use]
pub fn config_reference() -> String {
    let row = |key: Key| {
        let default = literal(key, &key.default_value());
        format!("| `{}` | `{default}` | {} | {} |\n", key.short_name(), key.allowed_briefly(), key.meaning())
    };
    let head = "| key | default | takes | meaning |\n| --- | --- | --- | --- |\n";
    let mut text = head.to_owned();
    text.extend(Key::all().filter(|key| key.section().is_none()).map(row));
    let [first, last] = BUILT_IN_SECTIONS;
    let _ = writeln!(text, "\nIn the tables `[{first}]` and `[{last}]`:\n");
    text.push_str(head);
    text.extend(Key::all().filter(|key| key.section().as_deref() == Some(first)).map(row));
    let _ = writeln!(
        text,
        "\nIn a table `[pools.NAME]`, which declares the pool NAME. It also takes the keys of `[{first}]`:\n"
    );
    text.push_str(head);
    let worker_keys = worker_keys();
    text.extend(Key::of_pool(PoolId::CPU).filter(|key| !worker_keys.contains(&key.short_name())).map(row));
    text.push_str("\nVariables that begin with `AXION_` and set no key:\n\n| variable | what for |\n| --- | --- |\n");
    text.extend(RESERVED_VARIABLES.iter().map(|(name, meaning)| format!("| `{name}` | {meaning} |\n")));
    text
}

/// A value as it is written in a file.
fn literal(key: Key, value: &Value) -> String {
    let quoted = |text: String| toml::Value::String(text).to_string();
    match (key.kind(), value) {
        (Kind::Size { .. }, Value::Whole(_)) => {
            let text = key.text(value);
            if text.bytes().all(|it| it.is_ascii_digit()) { text } else { quoted(text) }
        }
        (_, Value::Flag(_) | Value::Whole(_) | Value::Number(_)) => key.text(value),
        (_, Value::Texts(texts)) => {
            let texts = texts.iter().map(|(name, text)| (name.clone(), toml::Value::String(text.clone())));
            toml::Value::Table(texts.collect()).to_string()
        }
        (_, Value::Workers(WorkerRange { min, max: None })) => format!("{{ min = {min} }}"),
        (_, Value::Workers(WorkerRange { min, max: Some(max) })) if max == min => min.to_string(),
        (_, Value::Workers(WorkerRange { min, max: Some(max) })) => format!("{{ min = {min}, max = {max} }}"),
        (_, Value::Absent | Value::Time(_) | Value::Name(_) | Value::Path(_)) => quoted(key.text(value)),
    }
}

fn json_value(key: Key, value: &Value) -> serde_json::Value {
    match value {
        Value::Absent if key.absent() == Some("auto") => json!("auto"),
        Value::Absent => serde_json::Value::Null,
        Value::Flag(flag) => json!(flag),
        // No setting is wider than 64 bits.
        Value::Whole(number) => i64::try_from(*number).map_or_else(|_| json!(number.to_string()), |it| json!(it)),
        Value::Number(number) => json!(number),
        Value::Time(time) => json!(time.as_secs_f64()),
        Value::Name(name) => json!(name),
        Value::Path(path) => json!(path.display().to_string()),
        Value::Texts(texts) => json!(texts),
        Value::Workers(WorkerRange { min, max: Some(max) }) => json!({"min": min, "max": max}),
        Value::Workers(WorkerRange { min, max: None }) => json!({"min": min, "max": "auto"}),
    }
}

/// The template without its comment signs. Tests check that it contains the defaults.
#[cfg(test)]
pub(super) fn switched_on(template: &str) -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|it: char| it.is_ascii_lowercase()) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    template.lines().map(on).collect()
}

/// The settings of a program without file and variables.
impl From<Config> for LoadedConfig {
    fn from(config: Config) -> Self {
        Self { config, file: None, warnings: Vec::new(), origins: std::collections::BTreeMap::new() }
    }
}
