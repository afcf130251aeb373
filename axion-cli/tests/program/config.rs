//! `axion config`, and what `axion run` makes of a configuration.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{Ran, Script, axion, example, run};

/// A folder with an `axion.toml` in it, apart from everything else.
struct Project(tempfile::TempDir);

impl Project {
    fn new(text: &str) -> Self {
        let project = Self::empty();
        std::fs::write(project.file(), text).expect("written");
        project
    }

    fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(".git")).expect("made");
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("axion.toml")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = axion();
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }
}

#[test]
fn an_unknown_variable_is_a_warning_and_a_wrong_value_an_error() {
    let project = Project::new("cpu_bound_count = 2\n");
    let check = |name: &str, value: &str| run(project.command(&["config", "check"]).env(name, value));
    let ran = check("AXION_CPU_BOUND_CUONT", "3");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("warning") && ran.err.contains("did you mean AXION_CPU_BOUND_COUNT?"), "{}", ran.err);
    let ran = check("AXION_WEB_PORT", "tcp://10.0.0.1:80");
    assert!(ran.code == Some(0) && !ran.err.contains("warning"), "{}", ran.err);
    assert_eq!(check("AXION_CPU_BOUND_COUNT", "tcp://10.0.0.1:80").code, Some(2));
}

#[test]
fn a_configuration_that_a_stranger_could_have_written_runs_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new("python = \"/bin/false\"\n");
    std::fs::set_permissions(project.file(), std::fs::Permissions::from_mode(0o666)).expect("changed");
    let script = example("double.py").display().to_string();
    let ran = project.run(&["run", &script, "-p", "value=1"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("every user can write to it") && ran.err.contains("--config FILE"), "{}", ran.err);
    // Named, it is used: its interpreter is none.
    let ran = project.run(&["run", &script, "-p", "value=1", "--config", "axion.toml"]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
}

fn lines_with<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(word)).collect()
}

#[test]
fn init_writes_the_defaults_and_never_over_a_file_without_force() {
    let project = Project::empty();
    let ran = project.run(&["config", "init"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", "wrote axion.toml\n"));
    let written = std::fs::read_to_string(project.file()).expect("a file");
    assert!(written.contains("#cpu_bound_count = 1\n") && written.contains("[io_bound_worker]\n"), "{written}");
    assert_eq!(project.run(&["config", "check"]).code, Some(0));
    let shown = project.run(&["config", "show"]);
    let defaults = Project::empty().run(&["config", "show"]);
    assert_eq!((shown.code, shown.out), (Some(0), defaults.out));

    std::fs::write(project.file(), "cpu_bound_count = 2\n").expect("written");
    let ran = project.run(&["config", "init"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("axion.toml already exists") && ran.err.contains("--force"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(project.file()).expect("kept"), "cpu_bound_count = 2\n");
    assert_eq!(project.run(&["config", "init", "-"]).out, written);
    assert_eq!(project.run(&["config", "init", "--force"]).code, Some(0));
    assert_eq!(std::fs::read_to_string(project.file()).expect("replaced"), written);
    let ran = project.run(&["config", "init", "no/such/folder.toml"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("cannot write no/such/folder.toml"), "{}", ran.err);
}

#[test]
fn show_prints_each_value_with_its_origin() {
    let project = Project::new("\nengine = 'serial'\ncancel_grace = 1.5\n[io_bound_worker]\nnice = 3\n");
    let below = project.0.path().join("deep/below");
    std::fs::create_dir_all(&below).expect("made");
    let mut command = project.command(&["config", "show", "--origin"]);
    let ran = run(command.current_dir(&below).env("AXION_CANCEL_GRACE", "7").env("AXION_CPU_BOUND_COUNT", ""));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let file = project.file().canonicalize().expect("there").display().to_string();
    for (key, start, end) in [
        ("engine", "engine = \"serial\" ", format!("# {file}:2")),
        ("cancel_grace", "cancel_grace = \"7s\" ", "# AXION_CANCEL_GRACE".to_owned()),
        ("cpu_bound_count", "cpu_bound_count = 1 ", "# default".to_owned()),
        ("nice = 3", "nice = 3 ", format!("# {file}:5")),
    ] {
        let found = lines_with(&ran.out, key);
        assert!(found[0].starts_with(start) && found[0].ends_with(&end), "{found:?} is not {start}{end}");
    }
    // What was shown is a configuration that says the same.
    let again = Project::new(&ran.out);
    assert_eq!(
        again.run(&["config", "show"]).out,
        run(&mut {
            let mut command = project.command(&["config", "show"]);
            command.env("AXION_CANCEL_GRACE", "7");
            command
        })
        .out
    );

    let json = |arguments: &[&str]| -> serde_json::Value {
        let ran = project.run(arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        serde_json::from_str(&ran.out).expect("JSON")
    };
    let plain = json(&["config", "show", "--output", "json"]);
    assert_eq!((&plain["cancel_grace"], &plain["io_bound_worker"]["nice"]), (&1.5.into(), &3.into()));
    assert!(plain["python"].is_null());
    let full = json(&["config", "show", "--output", "json", "--origin"]);
    assert_eq!(full["engine"]["value"], "serial");
    assert_eq!((&full["engine"]["origin"]["from"], &full["engine"]["origin"]["line"]), (&"file".into(), &2.into()));
}

#[test]
fn check_pictures_every_mistake_of_the_file_and_names_those_of_the_variables() {
    let project = Project::new(
        "cpu_bound_cuont = 2\nengine = \"parralel\"\ninput_queue_size = 0\ncpu_bound_max = 2\n[io_bound_worker]\nnice = \n",
    );
    let ran = run(project
        .command(&["config", "check"])
        .env("AXION_CPU_BOUND_COUNT", "3")
        .env("AXION_LOG_LEVLE", "x")
        .env("AXION_IO_BOUND_COUNT", "many"));
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    for words in [
        "unknown key `cpu_bound_cuont`",
        "axion.toml:1:1",
        "did you mean `cpu_bound_count`?",
        "2 | engine = \"parralel\"",
        "axion.toml:2:10",
        "expected one of \"parallel\", \"serial\"",
        "invalid value 0 for `input_queue_size`",
        "expected a whole number, 1 to 100000000",
        "invalid value 2 for `cpu_bound_max`",
        "conflicts with cpu_bound_count = 3 (AXION_CPU_BOUND_COUNT)",
        "not TOML",
        "axion.toml:6:",
        "environment variable AXION_LOG_LEVLE: unknown setting: did you mean AXION_LOG_LEVEL?",
        "environment variable AXION_IO_BOUND_COUNT: invalid value \"many\" for `io_bound_count`: expected a whole number",
        "7 problems in the configuration",
    ] {
        assert!(ran.err.contains(words), "{words:?} is missing from {}", ran.err);
    }
    // The same stop every other command.
    for arguments in [&["config", "show"][..], &["run", "none.py"]] {
        let ran = project.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
        assert!(ran.err.contains("unknown key `cpu_bound_cuont`"), "{}", ran.err);
    }
}

#[test]
fn check_reads_one_file_or_the_configuration_of_this_folder() {
    let project = Project::new("cpu_bound_max = 2\n");
    let variable = ("AXION_CPU_BOUND_COUNT", "3");
    let check = |arguments: &[&str]| run(project.command(arguments).env(variable.0, variable.1));
    let ran = check(&["config", "check", "axion.toml"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), "axion.toml: no mistakes\n"));
    assert_eq!(check(&["config", "check"]).code, Some(2));
    let ran = project.run(&["config", "check", "no/such.toml"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("cannot read the configuration file no/such.toml: No such file"), "{}", ran.err);
    let ran = Project::empty().run(&["config", "check"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(0), "no mistakes; there is no axion.toml in this folder or above\n")
    );
}

#[test]
fn the_named_file_goes_before_the_variable_and_that_before_the_one_found() {
    let project = Project::new("cpu_bound_count = 2\n");
    let (named, by_variable) = (Project::new("cpu_bound_count = 3\n"), Project::new("cpu_bound_count = 4\n"));
    let count = |command: &mut Command| lines_with(&run(command).out, "cpu_bound_count").join("");
    assert_eq!(count(&mut project.command(&["config", "show"])), "cpu_bound_count = 2");
    let variable = ("AXION_CONFIG", by_variable.file());
    assert_eq!(count(project.command(&["config", "show"]).env(variable.0, &variable.1)), "cpu_bound_count = 4");
    let path = named.file().display().to_string();
    for arguments in [["--config", &path, "config", "show"], ["config", "show", "--config", &path]] {
        assert_eq!(count(project.command(&arguments).env(variable.0, &variable.1)), "cpu_bound_count = 3");
    }
    let ran = run(project.command(&["config", "show"]).env("AXION_CONFIG", "/no/such.toml"));
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("/no/such.toml (named by AXION_CONFIG)"), "{}", ran.err);
}

#[test]
fn run_uses_the_configuration_below_its_own_options() {
    let script = Script::new(
        "import os, time\ndef main(params, context):\n    time.sleep(params.get('seconds', 0))\n    return [os.environ.get('COLOUR'), os.nice(0), os.getcwd(), context.worker_id]\n",
    );
    let script = script.path().display().to_string();
    let project = Project::new(
        "engine = 'serial'\ncpu_bound_count = 7\nio_bound_max = 9\nmax_memory_percent = 100\nio_bound_timeout = '2s'\n\
         [io_bound_worker]\nnice = 1\ncwd = '.'\nenv = { COLOUR = 'blue' }\n",
    );
    let ran = project.run(&["run", &script, "--type", "io"]);
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err));
    let folder = project.0.path().canonicalize().expect("there").display().to_string();
    // It is added to the test run's own.
    let own = std::process::Command::new("nice").output().expect("niceness");
    let own: i32 = String::from_utf8_lossy(&own.stdout).trim().parse().expect("a number");
    assert_eq!(value, serde_json::json!(["blue", (own + 1).min(19), folder, "io-0"]));
    let ran = run(project.command(&["run", &script]).env("AXION_CPU_BOUND_WORKER_ENV", "{\"COLOUR\": \"red\"}"));
    assert!(ran.out.contains("\"red\"") && ran.out.contains("cpu-0"), "{} {}", ran.out, ran.err);

    let late = ["run", &script, "--type", "io", "-p", "seconds=3"];
    assert_eq!(project.run(&late).code, Some(124), "the time limit of the configuration");
    let ran = project.run(&[&late[..], &["--timeout", "20s"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn the_interpreter_is_that_of_the_option_the_variable_the_file_in_this_order() {
    let project = Project::new("python = '/no/such/file'\n");
    let double = example("double.py").display().to_string();
    let looked_at = |ran: Ran, path: &str| {
        assert_eq!(ran.code, Some(3), "{}", ran.err);
        assert!(ran.err.contains(&format!("looked at {path};")), "{}", ran.err);
    };
    looked_at(project.run(&["run", &double]), "/no/such/file");
    let variable = ("AXION_PYTHON", "/no/such/variable");
    looked_at(run(project.command(&["run", &double]).env(variable.0, variable.1)), variable.1);
    let option = ["run", &double, "--python", "/no/such/option"];
    looked_at(run(project.command(&option).env(variable.0, variable.1)), "/no/such/option");
}

#[test]
fn the_log_level_is_that_of_the_variable_the_option_the_configuration_in_this_order() {
    let double = example("double.py").display().to_string();
    let says = |text: &str, arguments: &[&str], variable: &str| {
        let project = Project::new(text);
        let all = [&["run", &double, "-p", "value=1"], arguments].concat();
        let ran = run(project.command(&all).env("AXION_LOG", variable));
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.err.contains("worker ready")
    };
    assert!(says("log_level = 'DEBUG'", &[], ""));
    assert!(!says("", &[], ""));
    assert!(says("log_level = 'ERROR'", &["-v"], ""));
    assert!(!says("log_level = 'DEBUG'", &["-v"], "error"));
    assert!(says("log_level = 'ERROR'", &[], "debug"));
    assert!(says("log_level = 'ERROR'", &[], "axion_actors=debug,warn"));
    assert!(says("log_level = 'DEBUG'", &[], "debgu"), "what names no level says nothing");
    let mistaken = Project::empty();
    let ran = run(mistaken.command(&["run", &double, "-p", "value=1"]).env("AXION_LOG", "debgu"));
    assert!(ran.err.contains("invalid value debgu for AXION_LOG: expected error, warn, info"), "{}", ran.err);
}

#[test]
fn very_many_mistakes_get_a_line_each_after_the_first_hundred() {
    let text: String = (0..150).map(|at| format!("wrong{at} = 1\n")).collect();
    let ran = Project::new(&text).run(&["config", "check", "axion.toml"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("100 | wrong99 = 1\n") && !ran.err.contains("101 | wrong100"), "{}", ran.err);
    assert!(ran.err.contains("error: axion.toml:150:1: unknown key `wrong149`"), "{}", ran.err);
    assert!(ran.err.contains("150 problems in the configuration"), "{}", ran.err);
}

#[test]
fn help_teaches_by_example() {
    for (arguments, words) in [
        (
            &["config", "--help"][..],
            &["a later one overrides an earlier one", "AXION_CPU_BOUND_COUNT=4", "show", "init"][..],
        ),
        (&["config", "show", "--help"], &["axion config show --origin", "Exit codes"]),
        (&["config", "check", "--help"], &["axion config check deploy/axion.toml", "Exit codes"]),
        (&["config", "init", "--help"], &["--force", "axion config init - | less"]),
        (&["run", "--help"], &["--config <FILE>", "AXION_CONFIG"]),
        (&["--help"], &["axion run hello.py", "axion flow run etl.toml", "axion config init"]),
        (&["flow", "check", "--help"], &["axion flow check etl.toml", "Exit codes"]),
        (&["flow", "graph", "--help"], &["--format svg > etl.svg", "Exit codes"]),
    ] {
        let ran = run(axion().args(arguments));
        assert_eq!(ran.code, Some(0));
        for words in words {
            assert!(ran.out.contains(words), "{words} is missing from {}", ran.out);
        }
    }
}
