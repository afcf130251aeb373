//! Tables of a flow's keys and their values. The reader's checks and the JSON Schema are both made from them.

mod check;
mod json_schema;
mod keys;

pub(super) use self::check::{check, check_part, check_steps, read_memory, read_rate, read_size, read_time};
pub use self::json_schema::schema;

/// The part of a flow that a table outside a file describes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// The workflow.
    Flow,
    /// A step, without its task.
    Step,
}

impl Part {
    /// The keys that such a table may have.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Flow => &["name", "on_failure", "stop_running", "impossible", "upstream", "limits"],
            Self::Step => &["params", "run_if", "when", "map_over", "dynamic", "keep_result"],
        }
    }
}

/// The type of a value.
#[derive(Debug)]
pub(super) enum Schema {
    /// A text that is not empty.
    Text,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// The name of a pool.
    Pool,
    /// True or false.
    Flag,
    /// A whole number in this range.
    Count(u64, u64),
    /// A number in this range.
    Number(f64, f64),
    /// A number of seconds, or a text such as `1.5s` or `10m`.
    Time,
    /// A number in percent, or a size as a text such as `200M`.
    Memory,
    /// A whole number of bytes, or a text such as `200M`.
    Size,
    /// A text such as `10/s`.
    Rate,
    /// A text that is a path into a JSON value.
    Path,
    /// Any value.
    Any,
    /// A table with any keys, in which `{"$ref": …}` and `{"$param": …}` may replace values.
    Params,
    /// A list of such values.
    List(&'static Schema),
    /// A table with known keys.
    Table(&'static TableSchema),
    /// Either of the two.
    Either(&'static Schema, &'static Schema),
}

/// A table with known keys.
#[derive(Debug)]
pub(super) struct TableSchema {
    /// The name in the schema.
    pub(super) name: &'static str,
    /// The description.
    pub(super) about: &'static str,
    /// The keys.
    pub(super) fields: &'static [FieldSchema],
    /// Keys of which exactly one is required. An empty list means no such rule.
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
