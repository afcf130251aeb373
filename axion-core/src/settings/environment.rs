//! The layer of environment variables.

use std::ffi::{OsStr, OsString};

use axion_actors::config::{Given, Key, Kind, Value};
use axion_actors::model::PoolId;

use super::Layer;
use super::origin::{ConfigPlace, Origin};
use super::problem::{ConfigProblem, ConfigProblemKind};
use crate::similar::nearest;

const PREFIX: &str = "AXION_";
/// The prefix of the variables of named pools.
const POOLS_PREFIX: &str = "AXION_POOLS_";

/// Variables that begin with `AXION_` and set no key, with their purpose. A `*` at the end matches any text.
pub const RESERVED_VARIABLES: &[(&str, &str)] = &[
    ("AXION_CONFIG", "the configuration file"),
    ("AXION_LOG", "how much the program `axion` logs, before `-v` and `log_level`"),
    ("AXION_WORKER", "set by the engine in its workers, to find them again"),
    ("AXION_BENCH_*", "read by the benches of Axion itself"),
    ("AXION_TEST_*", "read by the tests of Axion itself"),
    ("AXION_PORT", "set by Kubernetes for a service named axion, and the like for services named axion-NAME"),
    ("AXION_PORT_*", "the same"),
    ("AXION_SERVICE_*", "the same"),
];

/// Reads the variables. An empty variable counts as not set. An unknown one is only warned of: other programs and Kubernetes
/// set variables, too.
///
/// `declared` contains the named pools of the layers below.
pub(super) fn read(variables: &[(OsString, OsString)], declared: &[PoolId]) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || value.is_empty() || is_reserved(&name) {
            continue;
        }
        let place = ConfigPlace::Variable(name.to_string());
        let Some(key) = key_of(&name, declared) else {
            if !is_service_link(&name) {
                let kind = ConfigProblemKind::UnknownVariable { advice: advice(&name) };
                layer.warnings.push(ConfigProblem { place, kind });
            }
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

/// The key that a variable sets. `AXION_POOLS_GPU_WORKERS` is the key `workers` of the pool `gpu`. The pool is a
/// declared one; otherwise, the variable declares it. If the text can be split in several ways, the longest key
/// applies.
fn key_of(variable: &str, declared: &[PoolId]) -> Option<Key> {
    let known = Key::all().chain(declared.iter().copied().flat_map(Key::of_pool));
    if let Some(key) = known.into_iter().find(|key| key.variable() == variable) {
        return Some(key);
    }
    let rest = variable.strip_prefix(POOLS_PREFIX)?;
    let pool_of = |key: Key| {
        let name = rest.strip_suffix(&key.short_name().to_ascii_uppercase())?.strip_suffix('_')?;
        // Capital letters stand for the small letters of a pool's name. A name with small letters matches no pool.
        (!name.contains(|it: char| it.is_ascii_lowercase())).then(|| name.to_ascii_lowercase())
    };
    let named = Key::of_pool(PoolId::CPU).filter_map(|key| Some((key.short_name(), pool_of(key)?)));
    let (key, pool) = named.max_by_key(|(key, _)| key.len())?;
    Key::find_in_pool(PoolId::named(&pool).ok()?, key)
}

/// `None` if the value is not UTF-8 and must be.
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

/// Whether a variable has the form that Kubernetes gives those of a service, such as `AXION_WEB_PORT_80_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    let is_port = |rest: &str| {
        let mut words = rest.split('_');
        words.next().is_some_and(|number| number.parse::<u16>().is_ok())
            && words.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
    };
    name.ends_with("_PORT")
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT_")
        || name.match_indices("_PORT_").any(|(at, separator)| is_port(&name[at + separator.len()..]))
}

fn advice(name: &str) -> String {
    let reserved = RESERVED_VARIABLES.iter().map(|(name, _)| (*name).to_owned()).filter(|it| !it.ends_with('*'));
    match nearest(name, Key::all().map(Key::variable).chain(reserved)) {
        Some(near) => format!("did you mean {near}?"),
        None => {
            "`axion config init -` lists all keys; the variable of a key is AXION_ and its name in capitals".to_owned()
        }
    }
}
