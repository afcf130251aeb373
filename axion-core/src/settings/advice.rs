//! Advice on keys that do not exist.

use axion_actors::config::{BUILT_IN_SECTIONS, Key, POOLS};
use axion_actors::model::PoolId;

use crate::similar::{did_you_mean, nearest};

/// The key that is most similar to an unknown name.
#[must_use]
pub fn nearest_key(name: &str) -> Option<String> {
    nearest(&name.replace('-', "_"), Key::all().map(Key::name))
}

/// A suggestion for a name that is not a key of this table of a file.
pub(super) fn unknown_key(name: &str, table: Option<&str>) -> String {
    let [cpu, io] = BUILT_IN_SECTIONS;
    let elsewhere = Key::all().find(|key| key.short_name() == name && key.section().as_deref() != table);
    match (table, elsewhere.map(Key::section)) {
        (Some(_), Some(None)) => return format!("`{name}` belongs above the first [section] of the file"),
        (None, Some(Some(_))) => {
            return format!("`{name}` is a key of the tables [{cpu}], [{io}] and [{POOLS}.NAME]");
        }
        _ => {}
    }
    let of_pool = table.and_then(|table| table.strip_prefix(POOLS)).is_some();
    let here: Vec<Key> = match of_pool {
        true => Key::of_pool(PoolId::CPU).collect(),
        false => Key::all().filter(|key| key.section().as_deref() == table).collect(),
    };
    let here = here.into_iter().map(|key| key.short_name().to_owned());
    let tables = table.is_none().then_some([cpu, io, POOLS].map(str::to_owned)).into_iter().flatten();
    let similar = did_you_mean(&name.replace('-', "_"), here.chain(tables));
    similar.unwrap_or_else(|| "`axion config init -` lists all keys".to_owned())
}
