//! Checks whether a configuration is valid: each setting alone, and all settings together.

use std::fmt::Display;

use super::keys::Key;
use super::value::Wrong;
use super::{Config, MAX_SLOTS, MAX_WORKERS, POOLS, PoolConfig};
use crate::model::{PoolId, PoolKind};

/// A setting with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid value {value} for `{key}`: expected {allowed}")]
pub struct ConfigError {
    /// The name of the setting.
    pub key: String,
    /// The given value.
    pub value: String,
    /// The allowed values.
    pub allowed: String,
    /// The other settings that the value conflicts with, if it is valid alone.
    pub with: Vec<String>,
}

impl ConfigError {
    /// A setting whose value is invalid alone.
    pub fn new(key: impl Into<String>, value: impl Display, allowed: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.to_string(), allowed: allowed.into(), with: Vec::new() }
    }

    fn with<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.with = keys.into_iter().map(Into::into).collect();
        self
    }
}

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that is out of its range, with the allowed range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// All mistakes: settings out of their range, and settings that conflict.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut found: Vec<ConfigError> = Key::of(self)
            .filter_map(|key| match key.check(&key.get(self)) {
                Ok(()) => None,
                Err(Wrong::Kind(text) | Wrong::Range(text)) => Some(ConfigError::new(key.name(), text, key.allowed())),
            })
            .collect();
        // An invalid setting is not compared with others.
        let together = combinations(self).into_iter().filter(|it| !takes_part(it, &found));
        let together: Vec<_> = together.collect();
        found.extend(together);
        found
    }
}

fn takes_part(problem: &ConfigError, found: &[ConfigError]) -> bool {
    found.iter().any(|it| it.key == problem.key || problem.with.contains(&it.key))
}

/// The conflicts among settings that are valid alone.
fn combinations(config: &Config) -> Vec<ConfigError> {
    let mut found = Vec::new();
    let bounds = [
        ("cpu_bound_max", config.cpu_bound_max, "cpu_bound_count", config.cpu_bound_count),
        ("io_bound_max", config.io_bound_max, "io_bound_count", config.io_bound_count),
    ];
    for (key, most, count, least) in bounds {
        if let Some(most) = most.filter(|most| *most < least) {
            let allowed = format!("{least} (`{count}`) to {MAX_WORKERS}");
            found.push(ConfigError::new(key, most, allowed).with([count]));
        }
    }
    if config.pool_settings().values().all(|pool| pool.workers.most == 0) {
        let allowed = "at least 1, or `cpu_bound_max` at least 1: an engine without workers runs nothing";
        let others = ["cpu_bound_max", "io_bound_count", "cpu_bound_count"];
        found.push(ConfigError::new("io_bound_max", 0, allowed).with(others));
    }
    let room = i128::from(MAX_SLOTS) - i128::from(config.io_bound_task_limit);
    if i128::from(config.io_bound_async_limit) > room {
        let allowed = format!("0 to {room}: together with `io_bound_task_limit` at most {MAX_SLOTS}");
        let error = ConfigError::new("io_bound_async_limit", config.io_bound_async_limit, allowed);
        found.push(error.with(["io_bound_task_limit"]));
    }
    let thresholds = [("max_cpu_percent", config.max_cpu_percent), ("max_memory_percent", config.max_memory_percent)];
    let thresholds: Vec<_> = thresholds.iter().filter(|(_, it)| it.is_some()).map(|(key, _)| *key).collect();
    if let ([first, ..], false) = (&thresholds[..], config.enable_metrics) {
        let allowed = format!("true, when `{first}` is set: it needs what is measured");
        found.push(ConfigError::new("enable_metrics", false, allowed).with(thresholds));
    }
    let limits = [
        ("cpu_bound_soft_timeout", config.cpu_bound_soft_timeout, "cpu_bound_timeout", config.cpu_bound_timeout),
        ("io_bound_soft_timeout", config.io_bound_soft_timeout, "io_bound_timeout", config.io_bound_timeout),
    ];
    for (key, soft, other, hard) in limits {
        if let (Some(soft), Some(hard)) = (soft, hard)
            && soft >= hard
        {
            let allowed = format!("shorter than `{other}` ({}), or it never speaks", super::text::time_text(hard));
            found.push(ConfigError::new(key, super::text::time_text(soft), allowed).with([other]));
        }
    }
    for (pool, settings) in &config.pools {
        found.extend(pool_problems(config, *pool, settings));
    }
    found
}

/// The conflicts in a named pool whose settings are valid alone.
fn pool_problems(config: &Config, pool: PoolId, settings: &PoolConfig) -> Vec<ConfigError> {
    let key = |name: &str| format!("{POOLS}.{pool}.{name}");
    let mut found = Vec::new();
    if let Some(allowed) = why_reserved(config, pool) {
        found.push(ConfigError::new(format!("{POOLS}.{pool}"), pool, allowed));
    }
    let room = MAX_SLOTS - settings.task_limit.unwrap_or(1).min(MAX_SLOTS);
    match settings.async_limit {
        Some(limit) if settings.kind == PoolKind::Cpu && limit > 0 => {
            let allowed = "0 or \"auto\" in a pool of the kind \"cpu\", which runs no coroutines beside its tasks";
            found.push(ConfigError::new(key("async_limit"), limit, allowed).with([key("kind")]));
        }
        Some(limit) if limit > room => {
            let allowed = format!("0 to {room}: together with `task_limit` at most {MAX_SLOTS}");
            found.push(ConfigError::new(key("async_limit"), limit, allowed).with([key("task_limit")]));
        }
        _ => {}
    }
    if let (Some(soft), Some(hard)) = (settings.soft_timeout, settings.timeout)
        && soft >= hard
    {
        let allowed = format!("shorter than `timeout` ({})", super::text::time_text(hard));
        let error = ConfigError::new(key("soft_timeout"), super::text::time_text(soft), allowed);
        found.push(error.with([key("timeout")]));
    }
    found
}

/// The reason why no pool can have this name.
fn why_reserved(config: &Config, pool: PoolId) -> Option<String> {
    if PoolId::BUILT_IN.contains(&pool) {
        let keys = format!("`{pool}_bound_count`, `{pool}_bound_max` and [{}]", super::worker_section(pool));
        return Some(format!("another name: every engine has the pool `{pool}`, which is set by {keys}"));
    }
    if pool.name() == "process" {
        return Some("another name: `process_pool` is the status of all pools together".to_owned());
    }
    // The two pools would share their environment variables.
    let folded = |pool: PoolId| pool.name().replace('-', "_");
    let twin = config.pools.keys().find(|other| **other < pool && folded(**other) == folded(pool))?;
    Some(format!("another name: it differs from `{twin}` in `-` and `_` only"))
}
