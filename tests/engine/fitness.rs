//! Guards the layout: which layer may name which.

use std::path::{Path, PathBuf};

fn sources(under: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("listed").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(under), &mut found);
    assert!(!found.is_empty(), "no sources under {under}");
    found.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).expect("read"))).collect()
}

/// Panics with every line of code (not of comments) under a folder that has one of the words.
fn never_names(under: &str, words: &[&str], except: &[&str]) {
    let mut found = Vec::new();
    for (path, text) in sources(under) {
        let shown = path.display().to_string();
        if except.iter().any(|part| shown.contains(part)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{shown}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{under} names what it may not ({words:?}):\n{}", found.join("\n"));
}

#[test]
fn model_and_policy_know_no_actor_no_runtime_no_clock_and_no_process() {
    let words = ["actix", "tokio", "std::process", "std::fs", "std::thread", "std::sync::Mutex", "Instant::now"];
    never_names("axion-actors/src/policy", &words, &[]);
    never_names("axion-actors/src/model", &words, &[]);
}

#[test]
fn config_reads_no_file_and_no_variable() {
    never_names("axion-actors/src/config", &["std::fs", "std::env", "std::io", "toml::"], &[]);
}

#[test]
fn inside_axion_actors_dependencies_point_downwards() {
    never_names(
        "axion-actors/src/model",
        &["crate::config", "crate::policy", "crate::wire", "crate::process", "crate::actors"],
        &[],
    );
    never_names("axion-actors/src/config", &["crate::policy", "crate::wire", "crate::process", "crate::actors"], &[]);
    never_names("axion-actors/src/policy", &["crate::wire", "crate::process", "crate::actors"], &[]);
    never_names("axion-actors/src/wire", &["crate::policy", "crate::process", "crate::actors"], &[]);
    never_names("axion-actors/src/process", &["crate::policy", "crate::actors"], &[]);
    // The scripted child is for tests: nothing but them names it.
    for under in ["model", "config", "policy", "wire", "process"] {
        never_names(&format!("axion-actors/src/{under}"), &["crate::testing"], &["tests"]);
    }
}

#[test]
fn only_wire_names_bincode() {
    never_names("axion-actors/src", &["bincode"], &["src/wire/"]);
    never_names("axion-core/src", &["bincode"], &[]);
}

#[test]
fn the_program_and_the_python_package_name_only_axion_core() {
    for under in ["axion-cli/src", "axion-python/src"] {
        never_names(under, &["axion_actors", "actix"], &[]);
    }
}

#[test]
fn l11_no_handler_blocks() {
    let words = ["thread::sleep", "block_on", "std::fs", ".join()", "recv_timeout", "blocking_", "Mutex", "RwLock"];
    never_names("axion-actors/src/actors", &words, &["tests.rs", "/tests/"]);
}

#[test]
fn l4_no_maps_behind_locks() {
    for under in ["axion-actors/src", "axion-core/src"] {
        never_names(under, &["Mutex<HashMap", "Mutex<FxHashMap", "RwLock<", "DashMap"], &[]);
    }
}

/// Ticks are monotonic, so a jump of the wall clock changes no duration and no limit. Only the clock reads the wall
/// clock, and tasks that are held until a calendar time follow it. An engine has one clock.
#[test]
fn no_decision_reads_the_wall_clock() {
    let words = ["Timestamp::now", "Zoned::now", "SystemTime"];
    never_names("axion-actors/src", &words, &["model/time.rs"]);
    never_names("axion-core/src", &words, &[]);
    never_names("axion-actors/src", &["Clock::start"], &["model/time.rs", "/tests/", "tests.rs"]);
    never_names("axion-core/src", &["Clock::start"], &["src/builder.rs"]);
}

/// Panics with every line of code, tests apart, that names the operating system outside of the listed places.
fn never_names_the_system(under: &str, except: &[&str]) {
    let words = ["libc", "rustix", "std::os::", "/proc/", "/sys/"];
    let mut found = Vec::new();
    for (path, text) in sources(under) {
        let shown = path.display().to_string();
        if except.iter().any(|part| shown.contains(part)) || shown.contains("/tests/") || shown.ends_with("tests.rs") {
            continue;
        }
        for (number, line) in text.lines().take_while(|line| line.trim() != "#[cfg(test)]").enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{shown}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "the operating system is named outside of `process/os`:\n{}", found.join("\n"));
}

#[test]
fn only_the_os_room_names_the_operating_system() {
    // A path on the wire is its bytes.
    never_names_the_system("axion-actors/src", &["src/process/os/", "src/model/script.rs"]);
    // The descriptor of completions is public, for event loops; and the runtime asks for sockets before tokio does.
    never_names_the_system("axion-core/src", &["src/completions.rs", "src/runtime.rs"]);
    never_names_the_system("axion-cli/src", &[]);
    // Python watches descriptors: that of completions, and a pipe for log lines.
    never_names_the_system("axion-python/src", &["src/completions.rs", "src/log.rs"]);
}

#[test]
fn the_circles_that_were_cut_stay_cut() {
    let cut: [(&str, &[&str]); 10] = [
        ("axion-actors/src/actors/answer.rs", &["messages", "completions"]),
        ("axion-actors/src/actors/completions.rs", &["messages"]),
        ("axion-actors/src/actors/dispatcher/waiters.rs", &["super::workflows", "actors::workflows"]),
        ("axion-actors/src/model/value.rs", &["outcome"]),
        ("axion-actors/src/model/script.rs", &["task", "work"]),
        ("axion-actors/src/model/work.rs", &["super::task"]),
        ("axion-actors/src/policy/resources/line.rs", &["gate", "waiters"]),
        ("axion-actors/src/policy/resources/waiters.rs", &["gate"]),
        ("axion-actors/src/wire/message.rs", &["codec"]),
        ("axion-actors/src/process/os/linux/spawn.rs", &["guardian"]),
    ];
    for (file, words) in cut {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        for line in text.lines().take_while(|line| line.trim() != "#[cfg(test)]") {
            let code = line.split("//").next().unwrap_or_default();
            let is_path = code.contains("super::") || code.contains("crate::");
            assert!(!is_path || !words.iter().any(|word| code.contains(word)), "{file} names {words:?} again: {line}");
        }
    }
}

#[test]
fn the_os_room_knows_nothing_of_what_is_built_on_it() {
    let above = ["blocking", "folder", "interpreter", "link", "meter", "pump", "real"];
    let words: Vec<String> = above.iter().map(|module| format!("process::{module}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).chain(["crate::wire", "ChildEvent", "Launcher"]).collect();
    never_names("axion-actors/src/process/os", &words, &[]);
}

/// A pool is data: adding one costs no code. Nothing goes over the two built-in pools where it means all of them, and
/// nothing is kept in an array by pool.
#[test]
fn pools_are_data_and_no_array_of_two_is_kept_by_pool() {
    for under in ["axion-actors/src", "axion-core/src", "axion-cli/src", "axion-python/src"] {
        let by_pool =
            ["PoolKind::ALL", "PoolStatus; 2]", "PoolRules; 2]", "PoolLoad; 2]", "PoolSettings; 2]", "Pool; 2]"];
        never_names(under, &by_pool, &["/tests/", "tests.rs"]);
    }
    never_names("axion-actors/src", &["PoolId::BUILT_IN"], &["model/pool.rs", "config/"]);
    never_names(
        "axion-actors/src/actors",
        &["PoolKind", "PoolId::CPU", "PoolId::IO"],
        &["/tests/", "tests.rs", "dispatcher/status.rs"],
    );
    never_names("axion-actors/src/policy/scheduler", &["PoolId::CPU", "PoolId::IO"], &["/tests/", "tests.rs"]);
}
