//! The keys of a flow and what they may hold, as tables: the one source of the reader's checks and
//! of the JSON Schema.

mod check;
mod json_schema;
mod keys;

pub(super) use self::check::{check, check_part, check_steps, read_memory, read_rate, read_size, read_time};
pub use self::json_schema::schema;

/// What can be said of a workflow or a step that is not in a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// The workflow.
    Flow,
    /// A step, beside its task.
    Step,
}

impl Part {
    /// The keys that say it.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Flow => &["name", "on_failure", "stop_running", "impossible", "upstream", "limits"],
            Self::Step => &["params", "run_if", "when", "map_over", "dynamic", "keep_result"],
        }
    }
}

/// What a value may be.
#[derive(Debug)]
pub(super) enum Schema {
    /// Any text that is not empty.
    Text,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// The name of a pool.
    Pool,
    /// True or false.
    Flag,
    /// A whole number between these.
    Count(u64, u64),
    /// A number between these.
    Number(f64, f64),
    /// Seconds, or a text such as `1.5s` or `10m`.
    Time,
    /// Per cent as a number, or bytes as a text such as `200M`.
    Memory,
    /// Bytes as a whole number, or a text such as `200M`.
    Size,
    /// A text such as `10/s`.
    Rate,
    /// Text that is a path into a JSON value.
    Path,
    /// Anything.
    Any,
    /// A table with any keys, in which `{"$ref": …}` and `{"$param": …}` may stand for values.
    Params,
    /// A list of these.
    List(&'static Schema),
    /// A table with known keys.
    Table(&'static TableSchema),
    /// The one or the other.
    Either(&'static Schema, &'static Schema),
}

/// A table with known keys.
#[derive(Debug)]
pub(super) struct TableSchema {
    /// Its name in the schema.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) about: &'static str,
    /// Its keys.
    pub(super) fields: &'static [FieldSchema],
    /// Exactly one of these keys is there; none of them: no such rule.
    pub(super) one_of: &'static [&'static str],
}

/// A key.
#[derive(Debug)]
pub(super) struct FieldSchema {
    pub(super) name: &'static str,
    pub(super) shape: Schema,
    pub(super) required: bool,
    pub(super) about: &'static str,
}
