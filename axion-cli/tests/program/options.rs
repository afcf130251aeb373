//! Options of `axion run` and `axion flow run`: what runs, where, how long, and what is shown of it.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Ran, Script, axion, run};

fn command(script: &Script, arguments: &[&str]) -> Command {
    let mut command = axion();
    command.current_dir(script.folder()).args(["run", "script.py"]).args(arguments);
    command
}

fn of(script: &Script, arguments: &[&str]) -> Ran {
    run(&mut command(script, arguments))
}

fn flow(text: &str, script: &str) -> Script {
    let script = Script::new(script);
    std::fs::write(script.folder().join("flow.toml"), text).expect("written");
    script
}

fn flow_run(script: &Script, arguments: &[&str]) -> Ran {
    run(axion().current_dir(script.folder()).args(["flow", "run", "flow.toml"]).args(arguments))
}

fn value(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {:?}\n{}", ran.out, ran.err))
}

/// Whether a line begins with a time such as 2026-11-30T12:00:00.000Z.
fn has_time(line: &str) -> bool {
    let time = line.split(' ').next().unwrap_or_default();
    time.parse::<jiff::Timestamp>().is_ok() && time.len() == "2026-11-30T12:00:00.000Z".len()
}

const PRINTS: &str = "def main(params, context):\n    print('one\\ntwo')\n    return 1 / params.get('by', 1)\n";

#[test]
fn quiet_leaves_errors_and_the_result() {
    let script = Script::new(PRINTS);
    let ran = of(&script, &["--quiet"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "1.0\n", ""));
    let ran = of(&script, &["-q", "-p", "by=0"]);
    assert!(ran.code == Some(1) && ran.err.contains("ZeroDivisionError") && !ran.err.contains("two"), "{}", ran.err);
    let flow = flow("[[steps]]\nname = \"a\"\nscript = \"script.py\"\n", PRINTS);
    let ran = flow_run(&flow, &["-q"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("{\"a\":1.0}\n", ""));
}

#[test]
fn a_log_file_gets_everything_with_times_also_what_is_not_shown_and_what_came_before_stays() {
    let script = Script::new(PRINTS);
    for _ in 0..2 {
        assert_eq!(of(&script, &["-q", "--log-file", "run.log", "-p", "by=0"]).code, Some(1));
    }
    let log = std::fs::read_to_string(script.folder().join("run.log")).expect("a log");
    assert!(log.lines().all(has_time) && !log.contains('\u{1b}'), "{log}");
    for part in ["Z one\n", "Z two\n", "error: the task failed"] {
        assert_eq!(log.matches(part).count(), 2, "{part} in {log}");
    }
    let ran = of(&script, &["--log-file", "absent/run.log"]);
    assert!(ran.code == Some(2) && ran.err.contains("cannot open the log file absent/run.log"), "{}", ran.err);
}

#[test]
fn each_line_has_its_time_if_that_is_asked_for() {
    let script = Script::new(PRINTS);
    let ran = of(&script, &["--timestamps", "-p", "by=0"]);
    assert!(ran.err.lines().count() > 4 && ran.err.lines().all(has_time), "{}", ran.err);
    assert!(!of(&script, &[]).err.lines().any(has_time));
}

#[test]
fn the_environment_and_the_folder_of_the_workers_are_those_of_the_options() {
    let text =
        "import os\ndef main(params, context):\n    return [os.environ['WHO'], os.environ['HOW'], os.getcwd()]\n";
    let script = Script::new(text);
    std::fs::create_dir(script.folder().join("below")).expect("made");
    let there = script.folder().join("below").canonicalize().expect("there");
    let options = ["--env", "WHO=me", "--env", "HOW=a=b", "--cwd", "below"];
    assert_eq!(value(&of(&script, &options)), json!(["me", "a=b", there]));
    let flow = flow("[[steps]]\nname = \"a\"\nscript = \"script.py\"\n", text);
    std::fs::create_dir(flow.folder().join("below")).expect("made");
    let there = flow.folder().join("below").canonicalize().expect("there");
    assert_eq!(value(&flow_run(&flow, &options)), json!({"a": ["me", "a=b", there]}));
    let program = Script::new("import os\nprint(os.environ['WHO'], os.path.basename(os.getcwd()))\n");
    std::fs::create_dir(program.folder().join("below")).expect("made");
    let ran = of(&program, &["--env", "WHO=me", "--cwd", "below", "--"]);
    assert_eq!(ran.out, "me below\n", "{}", ran.err);
    let ran = of(&script, &["--cwd", "absent"]);
    assert!(ran.code == Some(2) && ran.err.contains("--cwd absent: there is no such folder"), "{}", ran.err);
    assert_eq!(of(&script, &["--env", "WHO"]).code, Some(2));
}

#[test]
fn all_attempts_together_have_a_limit() {
    let hangs = Script::new("import time\ndef main(params, context):\n    time.sleep(1000)\n");
    let ran = of(&hangs, &["--total-timeout", "300ms", "--retries", "9"]);
    assert_eq!(ran.code, Some(124), "{}", ran.err);
    assert!(ran.err.contains("the time limit of all its attempts together, 300 ms"), "{}", ran.err);
    // Without the limit, the retries would go on for years.
    let fails = Script::new("def main(params, context):\n    return 1 / 0\n");
    let ran = of(&fails, &["--total-timeout", "1s", "--retries", "1000000000", "--retry-wait", "100ms"]);
    assert!(matches!(ran.code, Some(1 | 124)), "{:?} {}", ran.code, ran.err);
}

const STEPS: &str = "\
[params]
n = 1
[[steps]]
name = \"load\"
script = \"script.py\"
params = { n = { \"$param\" = \"n\" } }
[[steps]]
name = \"other\"
script = \"script.py\"
depends_on = [\"load\"]
[[steps]]
name = \"clean\"
script = \"script.py\"
retries = 2
params = { of = { \"$ref\" = \"load\", path = \"n\", default = 0 } }
[[steps]]
name = \"report\"
script = \"script.py\"
depends_on = [\"clean\", \"other\"]
";

const ECHO: &str =
    "def main(params, context):\n    return {k: v for k, v in params.items() if k != 'upstream_results'}\n";

#[test]
fn a_part_of_a_flow_is_run_with_all_that_it_needs_and_nothing_else() {
    let flow = flow(STEPS, ECHO);
    let ran = flow_run(&flow, &["--only", "clean", "-p", "n=7"]);
    assert_eq!(value(&ran), json!({"clean": {"of": 7}}), "{}", ran.err);
    assert!(ran.err.contains("2 succeeded") && !ran.err.contains("other"), "{}", ran.err);
    let ran = flow_run(&flow, &["--only", "clean", "--only", "other"]);
    assert_eq!(value(&ran), json!({"other": {}, "clean": {"of": 1}}));
    let ran = flow_run(&flow, &["--only", "claen"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("--only: the flow has no step `claen`\n  help: did you mean `clean`?"), "{}", ran.err);
}

#[test]
fn a_dry_run_prints_what_would_run_and_runs_nothing() {
    let flow = flow(STEPS, "open('ran', 'w')\ndef main(params, context):\n    return 1\n");
    let ran = flow_run(&flow, &["--dry-run", "--only", "clean", "-p", "n=7"]);
    let plan = "flow\n  1  load   script.py\n       params {\"n\":7}\n  2  clean  script.py  after load\n       params \
                {\"of\":{\"$ref\":\"load\",\"path\":\"n\",\"default\":0}}\n       retries 2\n";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), plan, ""));
    let ran = of(&flow, &["--dry-run", "-p", "a=[1]", "--timeout", "10m", "--retries", "3"]);
    let plan = "script.py, by its entry point, in the pool cpu; nothing runs\n  params {\"a\":[1]}\n  timeout 10 min, retries \
                3\n";
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), plan), "{}", ran.err);
    let ran = of(&flow, &["--dry-run", "--", "x"]);
    assert!(ran.out.starts_with("script.py, as a program with the arguments [\"x\"]"), "{}", ran.out);
    assert!(!flow.folder().join("ran").exists());
    assert_eq!(flow_run(&flow, &["--dry-run", "-p", "m=7"]).code, Some(2));
}

#[test]
fn no_more_steps_than_jobs_run_at_the_same_time() {
    // A step fails if another one runs.
    let alone = "import os, time\ndef main(params, context):\n    os.close(os.open('lock', os.O_CREAT | os.O_EXCL))\n    \
                 time.sleep(0.02)\n    os.unlink('lock')\n    return 1\n";
    let steps: String = (0..6).map(|n| format!("[[steps]]\nname = \"s{n}\"\nscript = \"script.py\"\n")).collect();
    let flow = flow(&steps, alone);
    let ran = flow_run(&flow, &["-j", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = flow_run(&flow, &["-j", "0"]);
    assert!(ran.code == Some(2) && ran.err.contains("--jobs"), "{}", ran.err);
}
