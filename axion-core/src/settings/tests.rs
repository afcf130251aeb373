//! Reading, precedence, mistakes with their places, and the texts that are made from the keys.

mod pools;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use axion_actors::config::{EngineKind, Given, Kind, LogFilter, ScalingPolicy, Value, WorkerConfig};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(CONFIG_FILE);
    std::fs::write(&path, text).expect("written");
    (folder, path)
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<LoadedConfig, LoadError> {
    let (_folder, path) = file(text);
    ConfigLoader::new().file(path).variables(variables.iter().copied()).load()
}

fn loaded(text: &str, variables: &[(&str, &str)]) -> LoadedConfig {
    load(text, variables).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The problems as lines, without the path.
fn refused(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match load(text, variables) {
        Err(LoadError::Invalid(invalid)) => {
            let all = invalid.to_string();
            assert_eq!(all.lines().count(), invalid.problems.len());
            all.lines().map(|line| line.split_once("axion.toml:").map_or(line, |it| it.1).to_owned()).collect()
        }
        other => panic!("{text}: {other:?}"),
    }
}

/// The warnings of a configuration that is used, as lines.
fn warned(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    loaded(text, variables).warnings.iter().map(ToString::to_string).collect()
}

fn one_refusal(text: &str) -> String {
    let mut all = refused(text, &[]);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// A value that is not the default, as text in a file and in a variable.
fn other_value(key: Key) -> (String, String) {
    let texts = |text: &str| (format!("{text:?}"), text.to_owned());
    let same = |text: &str| (text.to_owned(), text.to_owned());
    match (key.kind(), key.short_name()) {
        (Kind::Flag, "enable_metrics") => same("false"),
        (Kind::Flag, _) => same("true"),
        (Kind::Whole { .. }, _) => same("7"),
        (Kind::Size { .. }, _) => texts("3M"),
        (Kind::Time { .. }, "wait_spin") => texts("300us"),
        (Kind::Time { .. }, _) => texts("77s"),
        (Kind::Percent, _) => same("88.5"),
        (Kind::OneOf(names), _) => {
            texts(names().into_iter().find(|name| *name != key.text(&key.get(&Config::default()))).expect("two"))
        }
        (Kind::Path | Kind::Program, _) => texts("/some/where"),
        (Kind::Workers, _) => ("{ min = 3, max = 4 }".to_owned(), "3-4".to_owned()),
        (Kind::Variables, _) => ("{ A = \"1\" }".to_owned(), "{\"A\": \"1\"}".to_owned()),
    }
}

#[test]
fn every_key_can_be_set_in_a_file_and_by_a_variable_and_the_variable_wins() {
    for key in Key::all() {
        let (in_file, plain) = other_value(key);
        let line = match key.section() {
            None => format!("{} = {in_file}\n", key.short_name()),
            Some(section) => format!("[{section}]\n{} = {in_file}\n", key.short_name()),
        };
        let variable = key.variable();
        let from_file = loaded(&line, &[]);
        assert!(matches!(from_file.origin(key), Origin::File { .. }), "{key:?}");
        let from_variable = loaded("", &[(&variable, &plain)]);
        assert_eq!(from_variable.origin(key), Origin::Variable(variable.clone()));
        assert_eq!(from_file.config, from_variable.config, "{key:?}");
        assert_ne!(from_file.config, Config::default(), "{key:?}");
        let default = key.text(&key.get(&Config::default()));
        let both = loaded(&line, &[(&variable, &default)]);
        assert_eq!(both.config, Config::default(), "{key:?}: the variable wins");
        assert_eq!(both.origin(key), Origin::Variable(variable.clone()));
        let dotted = format!("{} = {in_file}\n", key.name());
        assert_eq!(loaded(&dotted, &[]).config, from_file.config, "{key:?}: dotted");
        assert_eq!(loaded(&line, &[(&variable, "")]).config, from_file.config, "{key:?}: empty is not set");
    }
}

#[test]
fn settings_of_the_program_override_all_others() {
    let (_folder, path) = file("cpu_bound_count = 2\ncpu_bound_max = 3\ninput_queue_size = 5\n");
    let builder = EngineBuilder::from_file(&path).expect("loads").cpu_workers(1);
    let text = format!("{builder:?}");
    assert!(text.contains("cpu_bound_count: 1") && text.contains("input_queue_size: 5"), "{text}");
}

#[test]
fn the_template_says_the_defaults_with_and_without_its_comment_signs() {
    let template = config_template();
    assert_eq!(loaded(&template, &[]).config, Config::default());
    let on = text::switched_on(&template);
    let loaded = loaded(&on, &[]);
    assert_eq!(loaded.config, Config::default());
    for key in Key::all() {
        assert!(matches!(loaded.origin(key), Origin::File { .. }), "{key:?} is missing from the template");
    }
    assert!(template.lines().all(|line| line.chars().count() <= 120), "{template}");
}

#[test]
fn the_documentation_lists_the_keys_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/configuration.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let (begin, end) = ("<!-- keys: begin -->\n", "<!-- keys: end -->");
    let (before, rest) = page.split_once(begin).expect("the beginning of the keys");
    let (_, after) = rest.split_once(end).expect("the end of the keys");
    let wanted = format!("{before}{begin}\n{}\n{end}{after}", config_reference());
    if std::env::var_os("AXION_TEST_UPDATE").is_some() {
        std::fs::write(&path, &wanted).expect("written");
    }
    assert!(page == wanted, "docs/reference/configuration.md is out of date: run this test with AXION_TEST_UPDATE=1");
}

#[test]
fn the_file_is_the_nearest_one_upwards_and_not_beyond_a_repository() {
    let root = tempfile::tempdir().expect("a folder");
    let deep = root.path().join("repository/a/b");
    std::fs::create_dir_all(&deep).expect("made");
    let found = |from: &Path| find::upwards(from);
    std::fs::write(root.path().join(CONFIG_FILE), "").expect("written");
    assert_eq!(found(&deep), Some(root.path().join(CONFIG_FILE)));
    std::fs::create_dir(root.path().join("repository/.git")).expect("made");
    assert_eq!(found(&deep), None, "a project takes nothing from outside");
    std::fs::write(root.path().join("repository/axion.toml"), "cpu_bound_count = 3").expect("written");
    assert_eq!(found(&deep), Some(root.path().join("repository/axion.toml")));
    std::fs::create_dir(deep.join(CONFIG_FILE)).expect("made");
    assert_eq!(found(&deep), Some(root.path().join("repository/axion.toml")), "a folder is no file");

    let none: [(&str, &str); 0] = [];
    let read = ConfigLoader::new().search_from(&deep).variables(none).load().expect("loads");
    assert_eq!((read.config.cpu_bound_count, read.file), (3, Some(root.path().join("repository/axion.toml"))));
    let (_folder, other) = file("cpu_bound_count = 4");
    let named = ConfigLoader::new().search_from(&deep).variables([("AXION_CONFIG", &other)]).load().expect("loads");
    assert_eq!(named.config.cpu_bound_count, 4);
    let explicit = ConfigLoader::new().file(&other).variables([("AXION_CONFIG", "/no/such")]).load().expect("loads");
    assert_eq!(explicit.config.cpu_bound_count, 4);
    let nothing = ConfigLoader::new().no_file().variables([("AXION_CONFIG", "/no/such")]).load().expect("loads");
    assert_eq!((nothing.config, nothing.file), (Config::default(), None));
}

#[test]
fn the_error_of_an_unreadable_file_says_where_its_name_came_from() {
    let error = ConfigLoader::new().variables([("AXION_CONFIG", "/no/such.toml")]).load().expect_err("missing");
    assert!(error.to_string().contains("/no/such.toml (named by AXION_CONFIG): No such file"), "{error}");
    let (folder, path) = file("");
    let error = ConfigLoader::new().file(folder.path()).load().expect_err("a folder");
    assert!(matches!(error, LoadError::Unreadable { named_by: NamedBy::Caller, .. }), "{error}");
    std::fs::write(&path, b"a = 1\n# \xff\n").expect("written");
    let error = ConfigLoader::new().file(&path).load().expect_err("not text");
    assert!(error.to_string().ends_with("is not UTF-8 text, at line 2"), "{error}");
    let error = ConfigLoader::new().file("/dev/zero").load().expect_err("endless");
    assert!(matches!(error, LoadError::TooLarge { .. }), "L9: {error}");
}

#[test]
fn a_file_that_was_only_found_is_refused_if_others_can_write_to_it() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = file("cpu_bound_count = 2\n");
    let none: [(&str, &str); 0] = [];
    let found = || ConfigLoader::new().search_from(folder.path()).variables(none).load();
    let set_mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    assert_eq!(found().expect("trusted").file.as_ref(), Some(&path));
    for (place, mode, usual) in [(path.as_path(), 0o666, 0o644), (folder.path(), 0o777, 0o700)] {
        set_mode(place, mode);
        let error = found().expect_err("untrusted");
        assert!(matches!(error, LoadError::Untrusted { distrust: Distrust::WritableByOthers, .. }), "{error}");
        for words in ["every user can write to it", "--config FILE", "AXION_CONFIG"] {
            assert!(error.to_string().contains(words), "{error}");
        }
        // One that is named is used.
        ConfigLoader::new().file(&path).variables(none).load().expect("named");
        ConfigLoader::new().variables([("AXION_CONFIG", &path)]).load().expect("named by the variable");
        set_mode(place, usual);
    }
    set_mode(folder.path(), 0o1777);
    found().expect("nobody can replace a file in a sticky folder");
}

#[test]
fn relative_paths_of_a_file_are_meant_from_where_it_is() {
    let (folder, path) = file("python = \"venv/bin/python\"\nruntime_dir = \"run\"\n[io_bound_worker]\ncwd = \".\"\n");
    let none: [(&str, &str); 0] = [];
    let config = ConfigLoader::new().file(&path).variables(none).load().expect("loads").config;
    assert_eq!(config.python, Some(folder.path().join("venv/bin/python")));
    assert_eq!(config.runtime_dir, Some(folder.path().join("run")));
    assert_eq!(config.io_bound_worker.cwd, Some(folder.path().join(".")));
    assert_eq!(
        loaded("python = \"python3.12\"", &[]).config.python,
        Some("python3.12".into()),
        "looked for on the PATH"
    );
    assert_eq!(loaded("", &[("AXION_PYTHON", "bin/python")]).config.python, Some("bin/python".into()));
}

#[test]
fn unknown_keys_are_refused_with_line_column_and_the_nearest_known_key() {
    let cases = [
        ("\n  cpu_bound_cuont = 2", "2:3: unknown key `cpu_bound_cuont`: did you mean `cpu_bound_count`?"),
        ("log-level = 1", "1:1: unknown key `log-level`: did you mean `log_level`?"),
        ("[cpu_bound_workers]\nnice = 1", "1:2: unknown key `cpu_bound_workers`: did you mean `cpu_bound_worker`?"),
        ("[io_bound_worker]\nnise = 1", "2:1: unknown key `io_bound_worker.nise`: did you mean `nice`?"),
        (
            "nice = 5",
            "1:1: unknown key `nice`: `nice` is a key of the tables [cpu_bound_worker], [io_bound_worker] and [pools.NAME]",
        ),
        (
            "[io_bound_worker]\nlog_level = \"INFO\"",
            "2:1: unknown key `io_bound_worker.log_level`: `log_level` belongs above the first [section] of the file",
        ),
        ("\"\\u001b[2J\" = 1", "1:1: unknown key `\\u{1b}[2J`: `axion config init -` lists all keys"),
        ("zzz = 1", "1:1: unknown key `zzz`: `axion config init -` lists all keys"),
    ];
    for (text, wanted) in cases {
        assert_eq!(one_refusal(text), wanted);
    }
}

#[test]
fn values_of_a_wrong_kind_or_range_are_refused_with_the_allowed_ones() {
    let cases = [
        (
            "cpu_bound_count = \"4\"",
            "1:19: invalid value \"4\" for `cpu_bound_count`: expected a whole number, 0 to 4096; or \"auto\"",
        ),
        (
            "cpu_bound_count = 4.5",
            "1:19: invalid value 4.5 for `cpu_bound_count`: expected a whole number, 0 to 4096; or \"auto\"",
        ),
        (
            "input_queue_size = 0",
            "1:20: invalid value 0 for `input_queue_size`: expected a whole number, 1 to 100000000",
        ),
        ("input_queue_size = -5", "1:20: invalid value -5 for `input_queue_size`: expected a whole number, 1 to"),
        ("# ü\nenable_metrics = 1", "2:18: invalid value 1 for `enable_metrics`: expected true or false"),
        (
            "engine = \"parralel\"",
            "1:10: invalid value \"parralel\" for `engine`: expected one of \"parallel\", \"serial\"",
        ),
        ("log_level = \"LOUD\"", "expected one of \"CRITICAL\", \"ERROR\", \"WARNING\", \"INFO\", \"DEBUG\""),
        ("autoscaler = 'x'", "expected one of \"off\", "),
        (
            "wait_spin = 1",
            "1:13: invalid value 1s for `wait_spin`: expected a number of seconds or a text such as \"1.5s\", 0s to 1ms",
        ),
        ("cancel_grace = 'soon'", "invalid value \"soon\" for `cancel_grace`: expected a number of seconds or a text"),
        (
            "frame_limit = '2G'",
            "invalid value 2GiB for `frame_limit`: expected a number of bytes or a text such as \"200M\", 1MiB to 1GiB",
        ),
        ("max_cpu_percent = nan", "invalid value NaN for `max_cpu_percent`: expected a number above 0, up to 100"),
        ("result_ttl = []", "invalid value a list for `result_ttl`: expected a number of seconds"),
        (
            "cpu_bound_worker = 3",
            "1:20: invalid value a number for `cpu_bound_worker`: expected a table: [cpu_bound_worker]",
        ),
        ("[[io_bound_worker]]", "invalid value a list for `io_bound_worker`: expected a table"),
        ("cpu_bound_worker.env = { \"ü\" = 1 }", "1:32: invalid value a number for `cpu_bound_worker.env.ü`"),
        ("[cpu_bound_worker.env]\nA = 1", "2:5: invalid value a number for `cpu_bound_worker.env.A`: expected a text"),
        ("[cpu_bound_worker.env]\n\"A=B\" = '1'", "2:1: invalid value \"1\" for `cpu_bound_worker.env.A=B`"),
        ("max_restarts = 99999999999999999999999", "invalid value 99999999999999999999999 for `max_restarts`"),
    ];
    for (text, wanted) in cases {
        let found = one_refusal(text);
        assert!(found.contains(wanted), "{text}: {found}\nis not: {wanted}");
    }
}

#[test]
fn all_mistakes_are_reported_in_the_order_of_the_file() {
    let text = "zzz = 1\ncpu_bound_count = -1\nengine = \nlog_level = 'x'\n[io_bound_worker]\nnice = 50\nnice = 3\n";
    let all = refused(text, &[("AXION_ZZZ", "1"), ("AXION_CANCEL_GRACE", "x"), ("HOME", "x")]);
    let starts: Vec<&str> = all.iter().map(|line| line.split_once(": ").expect("a place").0).collect();
    let variables = ["environment variable AXION_CANCEL_GRACE", "environment variable AXION_ZZZ"];
    assert_eq!(starts[..2], ["1:1", "2:19"], "{all:?}");
    assert!(starts[2].starts_with("3:") && all[2].contains("not TOML"), "{all:?}");
    assert_eq!(starts[3], "4:13", "{all:?}");
    assert!(all.iter().any(|line| line.contains("duplicate key")), "{all:?}");
    assert_eq!(starts[starts.len() - 2..], variables, "{all:?}");
}

#[test]
fn conflicting_settings_are_reported_at_both_places() {
    let (_folder, path) = file("cpu_bound_max = 2\ncpu_bound_count = 3\n");
    let none: [(&str, &str); 0] = [];
    let error = ConfigLoader::new().file(&path).variables(none).load().expect_err("impossible").to_string();
    assert!(error.ends_with(&format!("conflicts with cpu_bound_count = 3 ({}:2)", path.display())), "{error}");
    let all = refused("cpu_bound_max = 2\n", &[("AXION_CPU_BOUND_COUNT", "3")]);
    let wanted = "1:17: invalid value 2 for `cpu_bound_max`: expected 3 (`cpu_bound_count`) to 4096; \
                  conflicts with cpu_bound_count = 3 (AXION_CPU_BOUND_COUNT)";
    assert_eq!(all, [wanted]);
    // The key itself has its default, so the message shows the setting that was changed.
    let found = one_refusal("io_bound_task_limit = 400");
    assert!(found.starts_with("1:23: invalid value 200 for `io_bound_async_limit`"), "{found}");
    let found = refused("", &[("AXION_ENABLE_METRICS", "false"), ("AXION_MAX_MEMORY_PERCENT", "90")]);
    assert!(
        found[0].starts_with("environment variable AXION_ENABLE_METRICS: invalid value false for `enable_metrics`"),
        "{found:?}"
    );
    // A value that was refused alone, or could not be read, is not reported again.
    for unreadable in
        ["io_bound_task_limit = 500 x\n", "io_bound_task_limit = 500 500\n", "io_bound_task_limit = 500 = 1\n"]
    {
        let found = one_refusal(unreadable);
        assert!(found.contains("not TOML"), "{found}");
    }
    assert_eq!(refused("io_bound_task_limit = 400\nio_bound_async_limit = 'x'", &[]).len(), 1);
}

#[test]
fn unknown_variables_are_warned_of_with_the_nearest_one_and_reserved_ones_left_alone() {
    let reserved = [
        ("AXION_LOG", "debug"),
        ("AXION_WORKER", "x"),
        ("AXION_TEST_SEED", "1"),
        ("AXION_BENCH_PYTHON", "x"),
        ("AXION_PORT_80_TCP", "x"),
        ("AXION_SERVICE_HOST", "x"),
        // Kubernetes sets these for a service named axion-web.
        ("AXION_WEB_PORT", "tcp://10.0.0.1:80"),
        ("AXION_WEB_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("AXION_WEB_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("AXION_WEB_SERVICE_HOST", "10.0.0.1"),
        ("AXION_WEB_SERVICE_PORT", "80"),
        ("AXION_WEB_SERVICE_PORT_HTTP", "80"),
        ("AXION", "x"),
        ("OTHER", "x"),
    ];
    let read = loaded("", &reserved);
    assert_eq!((read.config, read.warnings), (Config::default(), Vec::new()));
    let cases = [
        ("AXION_CPU_BOUND_CUONT", "did you mean AXION_CPU_BOUND_COUNT?"),
        ("AXION_cpu_bound_count", "did you mean AXION_CPU_BOUND_COUNT?"),
        ("AXION_CONFG", "did you mean AXION_CONFIG?"),
        ("AXION_NOTHING_OF_THE_KIND", "lists all keys"),
    ];
    for (name, advice) in cases {
        let found = warned("", &[(name, "1")]);
        let start = format!("environment variable {name}: unknown setting: ");
        assert!(found[0].starts_with(&start) && found[0].contains(advice), "{found:?}");
    }
    let found = refused("", &[("AXION_CPU_BOUND_COUNT", "four")]);
    assert!(
        found[0]
            .starts_with("environment variable AXION_CPU_BOUND_COUNT: invalid value \"four\" for `cpu_bound_count`")
    );
}

#[test]
fn a_path_in_a_variable_may_be_any_bytes_and_other_values_have_to_be_text() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(vec![b'/', 0xff]);
    let none = ConfigLoader::new().no_file();
    let config = none.clone().variables([("AXION_PYTHON", bytes())]).load().expect("loads").config;
    assert_eq!(config.python, Some(bytes().into()));
    let error = none.variables([("AXION_ENGINE", bytes())]).load().expect_err("not text");
    assert_eq!(error.to_string(), "environment variable AXION_ENGINE: invalid value: expected UTF-8 text");
}

#[test]
fn json_has_numbers_and_origins() {
    let read = loaded("cancel_grace = '1500ms'\n", &[("AXION_FRAME_LIMIT", "2M")]);
    let plain = read.to_json(false);
    assert_eq!((&plain["cancel_grace"], &plain["frame_limit"]), (&1.5.into(), &(2 << 20).into()));
    assert_eq!((&plain["python"], &plain["cpu_bound_max"]), (&serde_json::Value::Null, &"auto".into()));
    assert_eq!(plain["io_bound_worker"]["nice"], 0);
    let full = read.to_json(true);
    assert_eq!(full["cancel_grace"]["origin"]["line"], 1);
    assert_eq!(full["frame_limit"]["origin"]["name"], "AXION_FRAME_LIMIT");
    assert_eq!(full["engine"]["origin"]["from"], "default");
}

fn some_time() -> impl Strategy<Value = Duration> {
    (1_000_000..3_600_000_000_000_u64, 0..3u32).prop_map(|(nanos, digits)| {
        let step = 1000_u64.pow(digits);
        Duration::from_nanos((nanos / step).max(1) * step).max(Duration::from_millis(10))
    })
}

prop_compose! {
    fn some_worker()(
        tasks in prop::option::of(1..i64::MAX as u64),
        max_worker_losses in prop::option::of(any::<u32>()),
        memory in prop::option::of(1..i64::MAX as u64),
        nice in -20..20i32,
        env in prop::collection::btree_map("[^=\0]{1,8}", "[^\0]{0,12}", 0..4),
        cwd in prop::option::of("/[^\0]{0,20}"),
        restore in any::<bool>(),
    ) -> WorkerConfig {
        let cwd = cwd.map(PathBuf::from);
        let task_memory_limit = memory.map(|it| it / 2 + 1);
        WorkerConfig {
            max_tasks_per_worker: tasks,
            max_worker_memory: memory,
            task_memory_limit,
            max_worker_losses,
            nice,
            env,
            cwd,
            restore,
        }
    }
}

prop_compose! {
    fn some_config()(
        counts in (0..4097u32, 0..4097u32, 1..513u32, 1..257u32, 0..257u32),
        most in (prop::option::of(Just(4096u32)), prop::option::of(Just(4096u32))),
        sizes in (1..100_000_000usize, 1024..(1usize << 40), 1..usize::MAX >> 1, (1usize << 20)..(1 << 30)),
        times in (some_time(), some_time(), prop::option::of(some_time()), 0..1_000_001u64),
        names in (0..EngineKind::ALL.len(), 0..LogFilter::ALL.len(), 0..ScalingPolicy::ALL.len()),
        percent in prop::option::of(0.000_001..100.0f64),
        python in prop::option::of("/[^\0]{0,20}"),
        workers in (some_worker(), some_worker()),
        pools in prop::collection::btree_map("[a-z][a-z0-9]{0,3}", pools::some_pool(), 0..3),
    ) -> Config {
        let named = |(name, pool): (String, _)| (PoolId::named(&name).expect("a name"), pool);
        Config {
            pools: pools.into_iter().map(named).collect(),
            cpu_bound_count: counts.0, io_bound_count: counts.1, cpu_bound_task_limit: counts.2,
            io_bound_task_limit: counts.3, io_bound_async_limit: counts.4,
            cpu_bound_max: most.0, io_bound_max: most.1,
            input_queue_size: sizes.0, input_queue_bytes: sizes.1, output_queue_bytes: sizes.2, frame_limit: sizes.3,
            cancel_grace: times.0, health_check_interval: times.1, result_ttl: times.2,
            wait_spin: Duration::from_nanos(times.3),
            engine: EngineKind::ALL[names.0], log_level: LogFilter::ALL[names.1], autoscaler: ScalingPolicy::ALL[names.2],
            max_cpu_percent: percent, python: python.map(PathBuf::from),
            cpu_bound_worker: workers.0, io_bound_worker: workers.1,
            ..Config::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_shown_configuration_reads_back_the_same(config in some_config(), origins in any::<bool>()) {
        prop_assume!(config.problems().is_empty());
        let source = SourceText { path: CONFIG_FILE.into(), text: LoadedConfig::from(config.clone()).to_toml(origins) };
        let read = merge(vec![file::read(&source)], Some(source.clone()));
        let read = read.map_err(|error| TestCaseError::fail(format!("{error}\n{}", source.text)))?;
        prop_assert_eq!(&read.config, &config, "{}", source.text);
    }

    #[test]
    fn no_file_and_no_variable_is_too_odd(text in "(\\PC|\n|[a-z_]+ = |\\[|\\]|\"|'|\\{|\\}|=){0,60}", value in ".{0,12}", number in 0..40usize) {
        let source = SourceText { path: CONFIG_FILE.into(), text };
        let key = Key::all().nth(number).expect("a key");
        let layers = vec![file::read(&source), environment::read(&[(key.variable().into(), value.into())], &[])];
        if let Err(LoadError::Invalid(invalid)) = merge(layers, Some(source.clone())) {
            for problem in invalid.problems {
                if let ConfigPlace::File { span, .. } = problem.place {
                    prop_assert!(span.start <= source.text.len() && span.start <= span.end, "{span:?}");
                }
            }
        }
    }

    #[test]
    fn any_value_of_a_kind_survives_its_text(bytes in 1..i64::MAX as u64, nanos in 0..1_000_000u64) {
        let sizes = Key::find("output_queue_bytes").expect("a key");
        let value = Value::Whole(bytes.into());
        prop_assert_eq!(sizes.read(Given::Plain(&sizes.text(&value))), Ok(value));
        let spin = Key::find("wait_spin").expect("a key");
        let value = Value::Time(Duration::from_nanos(nanos));
        prop_assert_eq!(spin.read(Given::Plain(&spin.text(&value))), Ok(value));
    }
}

#[test]
fn env_tables_keep_their_texts() {
    let read = loaded("[io_bound_worker.env]\nOMP_NUM_THREADS = \"1\"\n\"ODD NAME\" = 'x\"y'\n", &[]);
    let wanted: BTreeMap<String, String> =
        [("OMP_NUM_THREADS", "1"), ("ODD NAME", "x\"y")].map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    assert_eq!(read.config.io_bound_worker.env, wanted);
}
