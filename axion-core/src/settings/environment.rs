//! The layer of the environment variables.

use std::ffi::{OsStr, OsString};

use axion_actors::config::{Given, Key, Kind, Value};

use super::origin::{ConfigPlace, Origin};
use super::problem::{ConfigProblem, ConfigProblemKind};
use super::{Layer, nearest};

const PREFIX: &str = "AXION_";

/// Variables that begin with `AXION_` and set no key, with what they are for. A `*` at the end stands
/// for anything.
pub const RESERVED_VARIABLES: &[(&str, &str)] = &[
    ("AXION_CONFIG", "the configuration file"),
    ("AXION_LOG", "how much the program `axion` logs, before `-v` and `log_level`"),
    ("AXION_WORKER", "set by the engine in its workers, to find them again"),
    ("AXION_BENCH_*", "read by the benches of Axion itself"),
    ("AXION_TEST_*", "read by the tests of Axion itself"),
    ("AXION_PORT", "set by Kubernetes for a service named axion"),
    ("AXION_PORT_*", "the same"),
    ("AXION_SERVICE_*", "the same"),
];

/// Reads what the variables say. One that is empty counts as not set.
pub(super) fn read(variables: &[(OsString, OsString)]) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || value.is_empty() || is_reserved(&name) {
            continue;
        }
        let place = ConfigPlace::Variable(name.to_string());
        let Some(key) = Key::all().find(|key| key.variable() == name) else {
            layer
                .problems
                .push(ConfigProblem { place, kind: ConfigProblemKind::UnknownVariable { advice: advice(&name) } });
            continue;
        };
        match read_value(key, value) {
            Some(Ok(value)) => layer.values.push((key, value, Origin::Variable(name.to_string()))),
            Some(Err(wrong)) => layer.problems.push(ConfigProblem::wrong(place, key, wrong)),
            None => layer.problems.push(ConfigProblem { place, kind: ConfigProblemKind::NotText }),
        }
    }
    layer
}

/// `None` if the value is not text and has to be.
fn read_value(key: Key, value: &OsStr) -> Option<Result<Value, axion_actors::config::Wrong>> {
    match (key.kind(), value.to_str()) {
        (_, Some(text)) => Some(key.read(Given::Plain(text))),
        (Kind::Path | Kind::Program, None) => Some(Ok(Value::Path(value.into()))),
        (_, None) => None,
    }
}

fn is_reserved(name: &str) -> bool {
    RESERVED_VARIABLES.iter().any(|(reserved, _)| match reserved.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *reserved,
    })
}

fn advice(name: &str) -> String {
    let reserved = RESERVED_VARIABLES.iter().map(|(name, _)| (*name).to_owned()).filter(|it| !it.ends_with('*'));
    match nearest::nearest(name, Key::all().map(Key::variable).chain(reserved)) {
        Some(near) => format!("did you mean {near}?"),
        None => {
            "`axion config init -` lists all keys; the variable of a key is AXION_ and its name in capitals".to_owned()
        }
    }
}
