//! Pools by name: `[pools.NAME]`, their variables, and their mistakes.

use axion_actors::config::{PoolConfig, WorkerRange};
use axion_actors::model::PoolKind;

use super::*;

fn pool(name: &str) -> PoolId {
    PoolId::named(name).expect("a name")
}

prop_compose! {
    pub(super) fn some_pool()(
        kind in prop::sample::select(PoolKind::ALL.to_vec()),
        min in 0..5u32,
        more in prop::option::of(0..5u32),
        task_limit in prop::option::of(1..100u32),
        timeout in prop::option::of(some_time()),
        python in prop::option::of("/[^\0]{0,20}"),
        worker in some_worker(),
    ) -> PoolConfig {
        let workers = WorkerRange { min, max: more.map(|more| min + more) };
        PoolConfig { kind, workers, task_limit, timeout, python: python.map(PathBuf::from), worker, ..PoolConfig::default() }
    }
}

fn of<'a>(loaded: &'a LoadedConfig, name: &str) -> &'a PoolConfig {
    &loaded.config.pools[&pool(name)]
}

#[test]
fn a_table_declares_a_pool_with_every_setting_of_pools_and_of_their_processes() {
    let keys: Vec<Key> = Key::of_pool(pool("gpu")).collect();
    assert!(keys.len() > WORKER_KEYS && keys.iter().all(|key| key.section().as_deref() == Some("pools.gpu")));
    let plain = loaded("[pools.gpu]\n", &[]);
    assert_eq!(of(&plain, "gpu"), &PoolConfig::default());
    for key in keys {
        let (in_file, text) = match key.short_name() {
            "async_limit" => ("7".to_owned(), "7".to_owned()),
            _ => other_value(key),
        };
        // Coroutines exist only in pools of the kind `io`.
        let kind = if key.short_name() == "async_limit" { "kind = \"io\"\n" } else { "" };
        let from_file = loaded(&format!("[pools.gpu]\n{kind}{} = {in_file}\n", key.short_name()), &[]);
        let from_variable = loaded(&format!("[pools.gpu]\n{kind}"), &[(&key.variable(), &text)]);
        assert_eq!(from_file.config, from_variable.config, "{key:?}");
        assert_ne!(from_file.config, plain.config, "{key:?}");
        assert!(matches!(from_file.origin(key), Origin::File { line: 2.., .. }), "{key:?}");
        assert_eq!(from_variable.origin(key), Origin::Variable(key.variable()));
        assert_eq!(Key::find(&key.name()).map(Key::name), Some(key.name()));
    }
}

/// The settings of processes, which every pool has.
const WORKER_KEYS: usize = 6;

#[test]
fn workers_are_a_number_or_bounds() {
    let range = |min, max| WorkerRange { min, max };
    let cases = [
        ("2", range(2, Some(2))),
        ("{ min = 1, max = 4 }", range(1, Some(4))),
        ("{ max = 4 }", range(0, Some(4))),
        ("{ min = 3 }", range(3, None)),
        ("{ min = 3, max = \"auto\" }", range(3, None)),
        ("\"1-4\"", range(1, Some(4))),
        ("0", range(0, Some(0))),
    ];
    for (text, expected) in cases {
        let read = loaded(&format!("[pools.gpu]\nworkers = {text}\n"), &[]);
        assert_eq!(of(&read, "gpu").workers, expected, "{text}");
    }
    let bounds = loaded("[pools.gpu]\nworkers.min = 1\nworkers.max = 3\n[pools.web]\nkind = \"io\"\n", &[]);
    let settings = bounds.config.pool_settings();
    assert_eq!((settings[pool("gpu")].workers.least, settings[pool("gpu")].workers.most), (1, 3));
    let web = &settings[pool("web")];
    assert_eq!((web.kind, web.slots, web.coroutines, web.workers.least), (PoolKind::Io, 20, 200, 0));
    assert_eq!(settings.names(), [PoolId::CPU, PoolId::IO, pool("gpu"), pool("web")]);
}

#[test]
fn a_variable_sets_a_declared_pool_or_declares_one() {
    let declared = loaded("[pools.gpu-a100]\n", &[("AXION_POOLS_GPU_A100_WORKERS", "0-2")]);
    assert_eq!(of(&declared, "gpu-a100").workers, WorkerRange { min: 0, max: Some(2) });
    let new = loaded("", &[("AXION_POOLS_BIG_BOX_SOFT_TIMEOUT", "5s"), ("AXION_POOLS_BIG_BOX_KIND", "io")]);
    assert_eq!(of(&new, "big_box").soft_timeout, Some(Duration::from_secs(5)));
    assert_eq!(of(&new, "big_box").kind, PoolKind::Io);
    for variable in ["AXION_POOLS_GPU", "AXION_POOLS_GPU_WORKER", "AXION_POOLS__KIND", "AXION_POOLS_9_KIND"] {
        let all = warned("", &[(variable, "1")]);
        assert!(all[0].contains("unknown setting"), "{all:?}");
    }
}

#[test]
fn mistakes_in_a_pool_are_reported_at_their_places() {
    let cases = [
        ("[pools.gpu]\nworker = 2", "2:1: unknown key `pools.gpu.worker`: did you mean `workers`?"),
        ("[pools.gpu]\nlog_level = \"INFO\"", "2:1: unknown key `pools.gpu.log_level`: `log_level` belongs above"),
        (
            "[pools.gpu]\nkind = \"gpu\"",
            "2:8: invalid value \"gpu\" for `pools.gpu.kind`: expected one of \"cpu\", \"io\"",
        ),
        ("[pools.gpu]\nworkers = -1", "2:11: invalid value -1 for `pools.gpu.workers`: expected a whole number, 0 to"),
        ("[pools.gpu]\nworkers = { min = 3, max = 2 }", "2:11: invalid value 3-2 for `pools.gpu.workers`: expected"),
        ("[pools.gpu]\nworkers = { least = 3 }", "2:13: unknown key `pools.gpu.workers.least`: the bounds are `min`"),
        (
            "[pools.gpu]\nworkers.min = \"x\"",
            "2:15: invalid value a text for `pools.gpu.workers.min`: expected a whole",
        ),
        ("[pools.GPU]", "1:8: unknown key `pools.GPU`: invalid pool name \"GPU\": expected 1 to 32 of a-z"),
        ("pools = 3", "1:9: invalid value a number for `pools`: expected tables: [pools.NAME]"),
        ("pools.gpu = 3", "1:13: invalid value a number for `pools.gpu`: expected a table: [pools.gpu]"),
        ("[pools.cpu]\nworkers = 2", "1:8: invalid value cpu for `pools.cpu`: expected another name: every engine has"),
        ("[pools.process]", "1:8: invalid value process for `pools.process`: expected another name"),
        (
            "[pools.a-b]\n[pools.a_b]",
            "2:8: invalid value a_b for `pools.a_b`: expected another name: it differs from `a-b`",
        ),
        ("[pools.gpu]\nasync_limit = 5", "2:15: invalid value 5 for `pools.gpu.async_limit`: expected 0 or \"auto\""),
        (
            "[pools.web]\nkind = \"io\"\ntask_limit = 500\nasync_limit = 13",
            "4:15: invalid value 13 for `pools.web.async",
        ),
        ("[pools.gpu]\ntimeout = 1\nsoft_timeout = 1", "3:16: invalid value 1s for `pools.gpu.soft_timeout`: expected"),
    ];
    for (text, wanted) in cases {
        let found = one_refusal(text);
        assert!(found.contains(wanted), "{text}: {found}\nis not: {wanted}");
    }
}

#[test]
fn an_engine_without_built_in_workers_runs_the_tasks_of_its_named_pools() {
    let text = "cpu_bound_count = 0\ncpu_bound_max = 0\nio_bound_count = 0\nio_bound_max = 0\n";
    assert!(load(text, &[]).is_err(), "it has no workers at all");
    assert!(load(&format!("{text}[pools.gpu]\nworkers = 1\n"), &[]).is_ok());
}

#[test]
fn the_settings_of_a_pool_are_shown_with_their_origins() {
    let read = loaded("[pools.gpu]\nworkers = { min = 1, max = 4 }\n", &[("AXION_POOLS_GPU_NICE", "5")]);
    let shown = read.to_toml(true);
    let (_, section) = shown.split_once("[pools.gpu]\n").expect("its table");
    assert!(section.contains("workers = { min = 1, max = 4 }") && section.contains("axion.toml:2"), "{section}");
    assert!(section.contains("AXION_POOLS_GPU_NICE"), "{section}");
    let json = read.to_json(false);
    assert_eq!(json["pools"]["gpu"]["workers"], serde_json::json!({"min": 1, "max": 4}));
    assert_eq!(json["pools"]["gpu"]["nice"], 5);
    assert_eq!(read.to_json(true)["pools"]["gpu"]["nice"]["origin"]["from"], "variable");
}
