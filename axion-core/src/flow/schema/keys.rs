//! The keys of a flow.

use super::{FieldSchema, Schema, TableSchema};

/// An optional key.
const fn may(name: &'static str, shape: Schema, about: &'static str) -> FieldSchema {
    FieldSchema { name, shape, required: false, about }
}

/// A required key.
const fn must(name: &'static str, shape: Schema, about: &'static str) -> FieldSchema {
    FieldSchema { name, shape, required: true, about }
}

const MANY: u64 = u32::MAX as u64;

/// The keys of the whole file.
pub(super) static FLOW: TableSchema = TableSchema {
    name: "flow",
    about: "A workflow of Python scripts, as `axion flow` runs it.",
    one_of: &[],
    fields: &[
        may("name", Schema::Text, "What people call it; the file's name if it is left out."),
        may("description", Schema::Text, "What it is for."),
        may(
            "on_failure",
            Schema::Choice(&["continue", "stop"]),
            "What becomes of the rest when a step has failed: run what still can (the default), or cancel what has not started.",
        ),
        may("stop_running", Schema::Flag, "With on_failure = \"stop\": cancel what runs, too."),
        may(
            "impossible",
            Schema::Choice(&["refuse", "cancel"]),
            "What becomes of a step whose needs are more than the limits: the whole flow is refused (the default), or that step is cancelled before anything starts.",
        ),
        may(
            "upstream",
            Schema::Choice(&["names", "ids", "both"]),
            "The keys of params[\"upstream_results\"]: the steps' names (the default), their tasks' ids, or both.",
        ),
        may("limits", Schema::Table(&LIMITS), "What the steps that run at one time may use together."),
        may("params", Schema::Params, "Values that steps take by {\"$param\": \"NAME\"}; --params replaces them."),
        must("steps", Schema::List(&Schema::Table(&STEP)), "The steps, in any order."),
    ],
};

static LIMITS: TableSchema = TableSchema {
    name: "limits",
    about: "What the steps that run at one time may use together.",
    one_of: &[],
    fields: &[
        may("processes", Schema::Count(1, MANY), "Slots of the CPU pool."),
        may("threads", Schema::Count(1, MANY), "Slots of the IO pool."),
        may("cpu", Schema::Number(0.0, 1e9), "Per cent of the machine's processors."),
        may("memory", Schema::Memory, "Per cent of the machine's memory as a number, or bytes as a text: \"2G\"."),
        may("machine_memory", Schema::Size, "The machine's memory, to hold bytes against per cent."),
        may(
            "added_steps",
            Schema::Count(0, 1_000_000),
            "How many steps dynamic steps may add; 10000 if it is left out.",
        ),
        may(
            "elements",
            Schema::Count(1, 1_000_000),
            "How long a list may be that a step is mapped over; 100000 if it is left out.",
        ),
    ],
};

pub(super) static STEP: TableSchema = TableSchema {
    name: "step",
    about: "A script with its place in the workflow.",
    one_of: &[],
    fields: &[
        must("name", Schema::Text, "Its name, its own in the flow, also in lower case."),
        must("script", Schema::Text, "The Python file, from the flow's folder."),
        may("description", Schema::Text, "What it does."),
        may(
            "params",
            Schema::Params,
            "Its parameters. {\"$ref\": \"STEP\", \"path\": \"rows[0].id\"} stands for a part of a step's result and makes the step wait for it; \"default\" beside it is the value if that step has ended without a result; {\"$param\": \"NAME\"} for one of the flow's own.",
        ),
        may(
            "pool",
            Schema::Pool,
            "The pool whose workers run it: cpu (the default) for work that computes, io for work that waits, or one that the configuration declares as [pools.NAME].",
        ),
        may("depends_on", Schema::List(&Schema::Text), "The steps it waits for, beside those it refers to."),
        may(
            "run_if",
            Schema::Choice(&["all_succeeded", "any_succeeded", "all_done", "any_failed"]),
            "Which ends of those let it run; all_succeeded if it is left out.",
        ),
        may("when", Schema::Table(&CONDITION), "Must hold for it to run; else it is skipped."),
        may("map_over", Schema::Table(&MAP), "Runs once for each element of a list."),
        may("dynamic", Schema::Flag, "Whether its result may name further steps to add below it."),
        may("resources", Schema::Table(&RESOURCES), "What it uses while it runs."),
        may("concurrency", Schema::Table(&CONCURRENCY), "At most so many at one time with the same key."),
        may(
            "rate",
            Schema::Either(&Schema::Rate, &Schema::Table(&RATE)),
            "At most so many starts in a time: \"10/s\" for this step alone, or a table with a key that is shared.",
        ),
        may("timeout", Schema::Time, "An attempt that runs so long is killed, with everything it started."),
        may("soft_timeout", Schema::Time, "An attempt that runs so long gets a TimeoutError."),
        may(
            "total_timeout",
            Schema::Time,
            "All attempts together, with the waits between them, may take so long from the first send to a worker.",
        ),
        may("ttl", Schema::Time, "It expires if it has not started so long after it became ready."),
        may(
            "retries",
            Schema::Count(0, 1_000_000),
            "How often it is run again after an exception or a time limit; 0 if it is left out.",
        ),
        may(
            "retry_wait",
            Schema::Time,
            "Always wait so long before a retry, instead of 0.5 s, doubled each time, 30 s at most.",
        ),
        may(
            "max_worker_losses",
            Schema::Count(0, 1000),
            "How often it is run again after its worker died under it; 2 if it is left out.",
        ),
        may("keep_result", Schema::Flag, "Whether the record keeps its result; true if it is left out."),
    ],
};

/// A condition.
static CONDITION: TableSchema = TableSchema {
    name: "condition",
    about: "A question about a step's result, or several: exactly one of ref, all, any and not.",
    one_of: &["ref", "all", "any", "not"],
    fields: &[
        may("ref", Schema::Text, "The step whose result is asked about."),
        may("path", Schema::Path, "Which part of it; the whole if it is left out."),
        may("default", Schema::Any, "What is asked about instead if that step has ended without a result."),
        may(
            "op",
            Schema::Choice(&["==", "!=", "<", "<=", ">", ">=", "in", "exists", "truthy"]),
            "What is asked; truthy if it is left out.",
        ),
        may("value", Schema::Any, "What it is compared with."),
        may("all", Schema::List(&Schema::Table(&CONDITION)), "All of these hold."),
        may("any", Schema::List(&Schema::Table(&CONDITION)), "At least one of these holds."),
        may("not", Schema::Table(&CONDITION), "This does not hold."),
    ],
};

static MAP: TableSchema = TableSchema {
    name: "map_over",
    about: "One instance of the step for each element of a list.",
    one_of: &[],
    fields: &[
        must("ref", Schema::Text, "The step whose result is the list, or has it as a part."),
        may("path", Schema::Path, "Where in the result the list is."),
        may("default", Schema::Any, "The list if that step has ended without a result."),
        may(
            "as",
            Schema::Text,
            "The parameter that carries the element; item if it is left out. Its place is in NAME_index.",
        ),
        may("max_parallel", Schema::Count(1, MANY), "At most so many instances at one time."),
        may(
            "succeed",
            Schema::Either(&Schema::Choice(&["all", "any"]), &Schema::Count(1, 1_000_000)),
            "How many instances must succeed: all (the default), any, or a number.",
        ),
    ],
};

static RESOURCES: TableSchema = TableSchema {
    name: "resources",
    about: "What a step uses while it runs, as its author estimates it.",
    one_of: &[],
    fields: &[
        may("slots", Schema::Count(1, MANY), "Slots of its pool; 1 if it is left out."),
        may("cpu", Schema::Number(0.0, 1e9), "Per cent of the machine's processors."),
        may("memory", Schema::Memory, "Per cent of the machine's memory as a number, or bytes as a text: \"500M\"."),
    ],
};

static CONCURRENCY: TableSchema = TableSchema {
    name: "concurrency",
    about: "A limit on what runs at one time with the same key.",
    one_of: &[],
    fields: &[
        must("key", Schema::Text, "What is shared, such as a host's name."),
        must("max", Schema::Count(1, MANY), "How many."),
    ],
};

static RATE: TableSchema = TableSchema {
    name: "rate",
    about: "A limit on starts in a time with the same key.",
    one_of: &[],
    fields: &[
        must("key", Schema::Text, "What is shared, such as a host's name."),
        must("limit", Schema::Rate, "How many in which time: \"10/s\", \"600/m\", \"5/h\"."),
        may("burst", Schema::Count(1, MANY), "How many may start at once after a pause; 1 if it is left out."),
    ],
};
