//! Consistency of the list of settings, and the checks.

use super::*;
use crate::model::PoolId;

#[test]
fn the_defaults_are_valid_and_those_of_c0_4_and_c1_4() {
    let config = Config::default();
    assert_eq!(config.problems(), []);
    assert_eq!((config.cpu_bound_count, config.cpu_bound_task_limit, config.io_bound_task_limit), (1, 1, 20));
    assert_eq!((config.input_queue_size, config.output_queue_size), (1000, 10_000));
    assert_eq!((config.log_level, config.queue_poll_timeout), (LogFilter::Info, Duration::from_secs(1)));
    assert_eq!((config.max_queue_full_retries, config.enable_metrics), (3, true));
    assert_eq!(config.health_check_interval, Duration::from_millis(200));
    assert_eq!(config.io_bound_count as usize, (processors() - 1).clamp(1, 4096));
}

#[test]
fn every_key_has_a_name_and_a_variable_of_its_own_and_is_found_by_it() {
    let mut names: Vec<String> = Key::all().map(Key::name).collect();
    let mut variables: Vec<String> = Key::all().map(Key::variable).collect();
    for key in Key::all() {
        assert_eq!(Key::find(&key.name()).map(Key::name), Some(key.name()));
        assert!(!key.meaning().is_empty() && !key.allowed().is_empty(), "{key:?}");
    }
    let count = names.len();
    names.sort();
    names.dedup();
    variables.sort();
    variables.dedup();
    assert_eq!((names.len(), variables.len()), (count, count));
    assert!(Key::find("nice").is_none(), "it is of a section");
    assert_eq!(Key::find("io_bound_worker.nice").map(Key::variable).as_deref(), Some("AXION_IO_BOUND_WORKER_NICE"));
}

#[test]
fn every_default_is_one_that_its_key_takes_reads_and_writes() {
    let config = Config::default();
    for key in Key::all() {
        let value = key.get(&config);
        assert_eq!(key.check(&value), Ok(()), "{key:?}");
        assert_eq!(key.read(Given::Plain(&key.text(&value))), Ok(value.clone()), "{key:?}");
        let mut copy = config.clone();
        assert_eq!(key.set(&mut copy, key.default_value()), Ok(()), "{key:?}");
        assert_eq!(copy, config, "{key:?}");
        assert_eq!(key.set(&mut copy, Value::Texts(BTreeMap::new())).is_ok(), key.short_name() == "env", "{key:?}");
        assert_eq!(key.read(Given::Other("a list")), Err(Wrong::Kind("a list".to_owned())), "{key:?}");
    }
}

#[test]
fn every_choice_is_taken_by_every_one_of_its_names_in_any_case() {
    fn all<T: value::Choice>(name: &str) {
        let key = Key::find(name).expect("a key");
        assert!(T::ALL.len() > 1);
        for one in names::<T>() {
            assert!(key.allowed().contains(&format!("\"{one}\"")), "{}", key.allowed());
            for text in [one.to_owned(), one.to_uppercase(), one.to_lowercase()] {
                assert_eq!(key.read(Given::Text(&text)), Ok(Value::Name(one.to_owned())));
            }
            let mut config = Config::default();
            key.set(&mut config, Value::Name(one.to_owned())).expect("set");
            assert_eq!(key.get(&config), Value::Name(one.to_owned()));
        }
        assert_eq!(key.read(Given::Text("parralel")), Err(Wrong::Kind("\"parralel\"".to_owned())));
    }
    all::<EngineKind>("engine");
    all::<ScalingPolicy>("autoscaler");
    all::<LogFilter>("log_level");
}

#[test]
fn c1_4_the_number_of_cpu_workers_is_one_unless_it_is_automatic() {
    let count = Key::find("cpu_bound_count").expect("a key");
    assert_eq!((count.default_value(), count.absent()), (Value::Whole(1), Some("auto")));
    let mut config = Config { cpu_bound_count: 7, ..Config::default() };
    count.set(&mut config, count.read(Given::Text("auto")).expect("read")).expect("set");
    assert_eq!(config.cpu_bound_count as usize, processors());
    let on_machine = Key::find("io_bound_count").expect("a key");
    assert_eq!(on_machine.default_value(), Value::Absent);
}

#[test]
fn text_in_a_file_is_no_number_and_text_in_a_variable_is_what_it_looks_like() {
    let count = Key::find("cpu_bound_count").expect("a key");
    assert_eq!(count.read(Given::Text("4")), Err(Wrong::Kind("\"4\"".to_owned())));
    assert_eq!(count.read(Given::Plain("4")), Ok(Value::Whole(4)));
    assert_eq!(count.read(Given::Plain("4.5")), Err(Wrong::Kind("\"4.5\"".to_owned())));
    assert_eq!(count.read(Given::Whole(5000)), Err(Wrong::Range("5000".to_owned())));
    let metrics = Key::find("enable_metrics").expect("a key");
    assert_eq!(
        (metrics.read(Given::Plain("0")), metrics.read(Given::Plain("TRUE"))),
        (Ok(Value::Flag(false)), Ok(Value::Flag(true)))
    );
    let grace = Key::find("cancel_grace").expect("a key");
    for given in [Given::Whole(2), Given::Number(2.0), Given::Text("2"), Given::Text("2000ms"), Given::Plain("2s")] {
        assert_eq!(grace.read(given), Ok(Value::Time(Duration::from_secs(2))));
    }
    assert_eq!(grace.read(Given::Whole(-1)), Err(Wrong::Range("-1".to_owned())));
    assert_eq!(grace.read(Given::Text("none")), Err(Wrong::Kind("\"none\"".to_owned())), "it is not optional");
    let env = Key::find("cpu_bound_worker.env").expect("a key");
    assert!(matches!(env.read(Given::Plain("{\"A\": \"1\"}")), Ok(Value::Texts(it)) if it["A"] == "1"));
    assert!(matches!(env.read(Given::Plain("{\"A=\": \"1\"}")), Err(Wrong::Range(_))));
}

type Spoil = fn(&mut Config);

#[test]
fn a_setting_out_of_range_is_refused_by_name() {
    let cases: [(&str, Spoil); 19] = [
        ("wait_spin", |c| c.wait_spin = Duration::from_secs(1)),
        ("input_queue_size", |c| c.input_queue_size = 0),
        ("output_queue_size", |c| c.output_queue_size = 0),
        ("output_queue_bytes", |c| c.output_queue_bytes = 0),
        ("input_queue_bytes", |c| c.input_queue_bytes = 1),
        ("cpu_bound_count", |c| c.cpu_bound_count = 4097),
        ("cpu_bound_task_limit", |c| c.cpu_bound_task_limit = 0),
        ("io_bound_task_limit", |c| c.io_bound_task_limit = 513),
        ("frame_limit", |c| c.frame_limit = 10),
        ("start_timeout", |c| c.start_timeout = Duration::ZERO),
        ("io_bound_max", |c| {
            (c.cpu_bound_count, c.io_bound_count) = (0, 0);
            (c.cpu_bound_max, c.io_bound_max) = (Some(0), Some(0));
        }),
        ("cpu_bound_max", |c| (c.cpu_bound_count, c.cpu_bound_max) = (3, Some(2))),
        ("io_bound_async_limit", |c| (c.io_bound_task_limit, c.io_bound_async_limit) = (400, 113)),
        ("max_cpu_percent", |c| c.max_cpu_percent = Some(f64::NAN)),
        ("enable_metrics", |c| (c.enable_metrics, c.max_memory_percent) = (false, Some(90.0))),
        ("health_check_interval", |c| c.health_check_interval = Duration::ZERO),
        ("io_bound_worker.nice", |c| c.io_bound_worker.nice = 20),
        ("cpu_bound_worker.max_tasks_per_worker", |c| c.cpu_bound_worker.max_tasks_per_worker = Some(0)),
        ("io_bound_soft_timeout", |c| {
            (c.io_bound_soft_timeout, c.io_bound_timeout) =
                (Some(Duration::from_secs(2)), Some(Duration::from_secs(2)));
        }),
    ];
    for (key, spoil) in cases {
        let mut config = Config::default();
        spoil(&mut config);
        let error = config.validate().expect_err(key);
        assert_eq!(error.key, key);
        assert!(error.to_string().contains(&error.allowed), "{error}");
    }
}

#[test]
fn all_that_is_wrong_is_told_and_nothing_that_follows_from_it() {
    let config = Config { cpu_bound_count: 5000, cpu_bound_max: Some(3), input_queue_size: 0, ..Config::default() };
    let keys: Vec<String> = config.problems().into_iter().map(|it| it.key).collect();
    assert_eq!(keys, ["cpu_bound_count", "input_queue_size"]);
}

#[test]
fn coroutines_have_places_of_their_own_where_workers_have_threads() {
    let coroutines = |config: &Config, pool| config.pool_settings()[pool].coroutines;
    let mut config = Config { cpu_bound_task_limit: 4, ..Config::default() };
    assert_eq!((coroutines(&config, PoolId::CPU), coroutines(&config, PoolId::IO)), (0, 200));
    config.io_bound_task_limit = 1;
    assert_eq!(coroutines(&config, PoolId::IO), 0);
}
