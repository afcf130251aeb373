//! `axion flow run`: results, progress, failures, signals.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Ran, Running, axion, lives, root, run, until};

/// A folder with scripts and `flow.toml`.
fn flow(text: &str, scripts: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, script) in scripts.iter().chain([("flow.toml", text)].iter()) {
        std::fs::write(folder.path().join(name), script).expect("written");
    }
    folder
}

fn command(folder: &Path) -> Command {
    let mut command = axion();
    command.args(["flow", "run"]).arg(folder.join("flow.toml"));
    command
}

fn example(name: &str, arguments: &[&str]) -> Ran {
    run(axion().args(["flow", "run"]).arg(root().join("examples/flows").join(name)).args(arguments))
}

fn value(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {:?}\n{}", ran.out, ran.err))
}

fn assert_said(ran: &Ran, parts: &[&str]) {
    for part in parts {
        assert!(ran.err.contains(part), "{part:?} is not in\n{}", ran.err);
    }
}

/// The same, without showing everything.
fn assert_said_briefly(ran: &Ran, parts: &[&str]) {
    let end: String = ran.err.chars().skip(ran.err.chars().count().saturating_sub(500)).collect();
    assert!(parts.iter().all(|part| ran.err.contains(part)), "one of {parts:?} is not in what ends with\n{end}");
}

const ECHO: &str =
    "def main(params, context):\n    return {k: v for k, v in params.items() if k != 'upstream_results'}\n";
const FAILS: &str = "def main(params, context):\n    return 1 / params.get('by', 0)\n";

/// Prints its process and that of a child of its own, and does not end.
const HANGS: &str = "\
import os, subprocess, time
def main(params, context):
    process = subprocess.Popen(['sleep', '1000'])
    print(os.getpid(), process.pid)
    time.sleep(1000)
";

const HANGING: &str = "[[steps]]\nname = \"hangs\"\nscript = \"hangs.py\"\n\
                       [[steps]]\nname = \"later\"\nscript = \"hangs.py\"\ndepends_on = [\"hangs\"]\n";

#[test]
fn the_flows_parameters_come_by_key_from_a_file_and_from_standard_input() {
    let text = "[params]\nrows = 1\nname = \"x\"\n[[steps]]\nname = \"a\"\nscript = \"echo.py\"\n\
                params = { rows = { \"$param\" = \"rows\" }, name = { \"$param\" = \"name\" } }\n";
    let folder = flow(text, &[("echo.py", ECHO), ("params.json", "{\"rows\": 2}")]);
    let of = |arguments: &[&str]| run(command(folder.path()).current_dir(folder.path()).args(arguments));
    let both = of(&["--params-file", "params.json", "-s", "name=1.10"]);
    assert_eq!(value(&both), json!({"a": {"rows": 2, "name": "1.10"}}));
    assert_eq!(value(&of(&["-p", "rows=[3]"])), json!({"a": {"rows": [3], "name": "x"}}));
    let mut child = Running::start(command(folder.path()).args(["--params-file", "-"]).stdin(Stdio::piped()));
    std::io::Write::write_all(&mut child.0.stdin.take().expect("piped"), b"{\"rows\": 4}").expect("written");
    assert_eq!(child.ends(), (Some(0), "{\"a\":{\"rows\": 4, \"name\": \"x\"}}\n".to_owned()));

    let unknown = of(&["-p", "row=3"]);
    assert_eq!(unknown.code, Some(2));
    assert_said(&unknown, &["error: -p row=3: the flow has no parameter `row`\n  help: did you mean `rows`?"]);
    let twice = of(&["--params", r#"{"rows": 1, "rows": 2}"#]);
    assert_eq!(twice.code, Some(2));
    assert_said(&twice, &["--params:1:13", "the key `rows` stands here twice"]);
}

#[test]
fn a_join_after_a_branch_takes_the_default_for_the_step_that_was_skipped() {
    let text = "[params]\nlarge = false\n\
        [[steps]]\nname = \"which\"\nscript = \"echo.py\"\nparams = { large = { \"$param\" = \"large\" } }\n\
        [[steps]]\nname = \"large\"\nscript = \"echo.py\"\nparams = { n = 1 }\nwhen = { ref = \"which\", path = \"large\" }\n\
        [[steps]]\nname = \"small\"\nscript = \"echo.py\"\nparams = { n = 2 }\n\
        when = { not = { ref = \"which\", path = \"large\" } }\n\
        [[steps]]\nname = \"join\"\nscript = \"echo.py\"\nrun_if = \"any_succeeded\"\nparams = { \
        large = { \"$ref\" = \"large\", path = \"n\", default = 0 }, small = { \"$ref\" = \"small\", path = \"n\", default = 0 } }\n";
    let folder = flow(text, &[("echo.py", ECHO)]);
    let of = |large: &str| value(&run(command(folder.path()).args(["-p", large])))["join"].clone();
    assert_eq!(of("large=true"), json!({"large": 1, "small": 0}));
    assert_eq!(of("large=false"), json!({"large": 0, "small": 2}));
}

#[test]
fn a_flow_in_yaml_or_with_dollar_braces_gets_one_clear_error() {
    let yaml = flow("name: etl\nsteps:\n  - name: a\n", &[("etl.yaml", "name: etl\n")]);
    let words = "YAML is not read: write the flow as TOML, or as JSON in a file whose name ends in .json";
    for name in ["etl.yaml", "flow.toml"] {
        let ran = run(axion().args(["flow", "run"]).arg(yaml.path().join(name)));
        assert_eq!((ran.code, ran.err.matches(words).count()), (Some(2), 1), "{}", ran.err);
    }
    let text = "[params]\nrows = 1\n[[steps]]\nname = \"a\"\nscript = \"echo.py\"\nparams = { x = \"${rows}\" }\n\
                [[steps]]\nname = \"b\"\nscript = \"echo.py\"\nparams = { x = \"${a.x}\" }\n";
    let ran = run(&mut command(flow(text, &[("echo.py", ECHO)]).path()));
    assert_eq!((ran.code, ran.err.matches("is no reference in a flow").count()), (Some(2), 1), "{}", ran.err);
    assert_said(&ran, &["write { \"$param\" = \"rows\" }", "1 problem\n"]);
}

#[test]
fn the_example_flows_give_the_results_of_their_last_steps() {
    let etl = example("etl.toml", &["--params", r#"{"rows": 50}"#]);
    assert_eq!(etl.code, Some(0), "{}", etl.err);
    assert!(value(&etl)["report"]["text"].as_str().expect("text").contains("| category | orders | items | turnover |"));
    assert_said(&etl, &["clean: started, 8 instances\n", "orders by category succeeded after", ": 4 succeeded\n"]);
    assert_eq!(value(&example("chord.json", &[])), json!({"times": 100, "sum": 29}));
    assert_eq!(value(&example("session1.toml", &[])), json!({"t4": 45}));
    let count = example("branch.toml", &[]);
    assert_eq!(value(&count), json!({"join": {"way": "count", "lines": 361, "exact": true}}));
    assert_said(&count, &["estimate: skipped\n"]);
    let estimate = example("branch.toml", &["--params", r#"{"large": 1000}"#]);
    assert_eq!(value(&estimate)["join"]["way"], "estimate", "{}", estimate.err);
    let inexact = example("branch.toml", &["--set", "inspect.large=1000"]);
    assert_eq!(value(&inexact)["join"]["exact"], false, "{}", inexact.err);
}

#[test]
fn c3_2_steps_behind_a_failure_are_skipped_and_the_summary_says_why() {
    let ran = example("session2.toml", &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert_eq!(value(&ran), json!({"t1": 2.5, "t5": 3.5}), "what succeeded is there");
    assert_said(
        &ran,
        &[
            "return params[\"value\"] / params[\"by\"]",
            "error: step p2 failed: exception: ZeroDivisionError: division by zero\n",
            "error: step p3 was cancelled: cancelled before anything started: short of 1 process\n",
            "short of 2.6 % CPU and 9.7 % memory\n",
            "not run because a dependency failed: t2, t3, t4\n",
            "4 succeeded, 1 failed, 2 cancelled, 3 dependency_failed\n",
            "critical path, ",
        ],
    );
}

#[test]
fn the_record_is_json_of_every_step() {
    let ran = example("chord.json", &["--output", "json"]);
    let record = value(&ran);
    assert_eq!((&record["state"], &record["counts"]["succeeded"]), (&json!("succeeded"), &json!(6)));
    let steps = record["steps"].as_array().expect("a list");
    let last: Vec<&Value> = steps.iter().filter(|step| step["last"] == true).map(|step| &step["name"]).collect();
    assert_eq!((steps.len(), last), (6, vec![&json!("times"), &json!("sum")]));
    assert_eq!((&steps[1]["data"], &steps[1]["attempts"]), (&json!(100), &json!(1)));
}

#[test]
fn a_failed_step_is_shown_with_its_traceback_and_its_attempts() {
    let text = "name = \"f\"\n[[steps]]\nname = \"bad\"\nscript = \"fails.py\"\nretries = 1\nretry_wait = 0.01\n\
                [[steps]]\nname = \"below\"\nscript = \"echo.py\"\ndepends_on = [\"bad\"]\n\
                [[steps]]\nname = \"beside\"\nscript = \"echo.py\"\nparams = { x = 1 }\n";
    let folder = flow(text, &[("fails.py", FAILS), ("echo.py", ECHO)]);
    let ran = run(&mut command(folder.path()));
    assert_eq!((ran.code, value(&ran)), (Some(1), json!({"beside": {"x": 1}})));
    assert_said(
        &ran,
        &[
            "bad: started\n",
            "warning: bad: attempt 1 failed: exception: ZeroDivisionError: division by zero; the next one in 10 ms\n",
            ", 2 attempts\n",
            "below: dependency_failed\n",
            "line 2, in main\n",
            "error: step bad failed after 2 attempts: exception: ZeroDivisionError: division by zero\n",
            "not run because a dependency failed: below\n",
            "error: f failed after",
        ],
    );
    let ran = run(command(folder.path()).args(["--set", "bad.by=2", "--set", "beside.x=\"y\""]));
    assert_eq!((ran.code, value(&ran)), (Some(0), json!({"below": {}, "beside": {"x": "y"}})), "{}", ran.err);
}

#[test]
fn a_failed_instance_is_shown_with_its_traceback() {
    let text = "[[steps]]\nname = \"list\"\nscript = \"list.py\"\n\
                [[steps]]\nname = \"each\"\nscript = \"fails.py\"\nmap_over = { ref = \"list\", as = \"by\" }\n";
    let folder = flow(text, &[("fails.py", FAILS), ("list.py", "def main(params, context):\n    return [1, 2, 0]\n")]);
    let ran = run(&mut command(folder.path()));
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "{}\n"), "{}", ran.err);
    assert_said(
        &ran,
        &[
            "return 1 / params.get('by', 0)",
            "error: the first failed instance of each: exception: ZeroDivisionError",
            "error: step each failed: 2 of 3 instances succeeded, but 3 must succeed",
        ],
    );
}

#[test]
fn output_of_steps_is_shown_line_by_line_after_their_names() {
    // One stream is written through Python, the other below it: within one stream they may pass each other.
    let prints = "import os, sys\ndef main(params, context):\n    sys.stdout.write('a\\nb')\n    sys.stdout.flush()\n    \
                  print('c')\n    os.write(2, b'oops\\r\\nend')\n    context.log('noted')\n    return params['item']\n";
    let text = "[[steps]]\nname = \"list\"\nscript = \"list.py\"\n\
                [[steps]]\nname = \"each\"\nscript = \"prints.py\"\nmap_over = { ref = \"list\" }\n";
    let folder = flow(
        text,
        &[("prints.py", prints), ("list.py", "def main(params, context):\n    print('hi')\n    return [7, 8]\n")],
    );
    let ran = run(&mut command(folder.path()));
    assert_eq!((ran.code, value(&ran)), (Some(0), json!({"each": [7, 8]})), "{}", ran.err);
    assert_said(&ran, &["list | hi\n"]);
    for instance in ["each[0]", "each[1]"] {
        for line in ["a", "bc", "end", "oops", "info: noted"] {
            assert_said(&ran, &[&format!("\n{instance} | {line}\n")]);
        }
    }
    assert_eq!(ran.err.matches("each: ").count(), 2, "a line at its start and one at its end: {}", ran.err);
}

#[test]
fn l9_a_step_that_prints_too_much_loses_only_lines() {
    let chatty = "def main(params, context):\n    for n in range(200000):\n        print('line', n)\n    return 1\n";
    let folder = flow("[[steps]]\nname = \"c\"\nscript = \"chatty.py\"\n", &[("chatty.py", chatty)]);
    let ran = run(&mut command(folder.path()));
    assert_eq!((ran.code, value(&ran)), (Some(0), json!({"c": 1})));
    // What is left out is the oldest; every line is told or counted.
    assert_said_briefly(&ran, &["c | line 199999\n", "flow succeeded after"]);
    let missed = ran
        .err
        .lines()
        .find_map(|line| line.strip_prefix("warning: output truncated: ")?.strip_suffix(" events dropped"));
    let missed: usize = missed.map_or(0, |count| count.parse().expect("a number"));
    assert!(ran.err.matches("c | line ").count() + missed >= 200_000, "{missed}");
}

#[test]
fn added_steps_are_shown_by_name() {
    let plan = "def main(params, context):\n    return {'steps': [{'name': 'new', 'script': 'says.py'}]}\n";
    let says = "def main(params, context):\n    print('here')\n    return 5\n";
    let text = "[[steps]]\nname = \"plan\"\nscript = \"plan.py\"\ndynamic = true\n";
    let folder = flow(text, &[("plan.py", plan), ("says.py", says)]);
    let ran = run(&mut command(folder.path()));
    assert_eq!((ran.code, value(&ran)), (Some(0), json!({"new": 5})), "{}", ran.err);
    assert_said(&ran, &["new: started\n", "new | here\n", "new: succeeded after"]);
}

#[test]
fn l6_the_allowed_losses_of_a_run_hold_for_steps_that_a_step_adds() {
    let plan = "def main(params, context):\n    return {'steps': [{'name': 'new', 'script': 'dies.py', 'max_worker_losses': 5}]}\n";
    let dies = "import os\ndef main(params, context):\n    print('attempt', context.attempt, flush=True)\n    \
                os.kill(os.getpid(), 9)\n";
    let text = "[[steps]]\nname = \"plan\"\nscript = \"plan.py\"\ndynamic = true\n";
    let folder = flow(text, &[("plan.py", plan), ("dies.py", dies)]);
    let ran = run(command(folder.path()).args(["--max-worker-losses", "0"]));
    assert_ne!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("new | attempt 1") && !ran.err.contains("new | attempt 2"), "{}", ran.err);
}

#[test]
fn a_killed_worker_in_the_middle_of_the_reducer_does_not_matter() {
    let dies = "import os\ndef main(params, context):\n    if context.attempt == 1:\n        os.kill(os.getpid(), 9)\n    \
                return sum(params['parts'])\n";
    let text = "[[steps]]\nname = \"list\"\nscript = \"list.py\"\n\
                [[steps]]\nname = \"sum\"\nscript = \"dies.py\"\nparams = { parts = { \"$ref\" = \"list\" } }\n";
    let folder = flow(text, &[("dies.py", dies), ("list.py", "def main(params, context):\n    return [1, 2, 3]\n")]);
    let ran = run(&mut command(folder.path()));
    assert_eq!((ran.code, value(&ran)), (Some(0), json!({"sum": 6})), "{}", ran.err);
    assert_said(&ran, &["warning: sum: the worker died during attempt 1; running it again\n", ", 2 attempts\n"]);
}

#[test]
fn wrong_flows_and_configurations_exit_with_2_and_nothing_runs() {
    let folder = flow("[[steps]]\nname = \"a\"\nscript = \"echo.py\"\ndepends_on = [\"b\"]\n", &[("echo.py", ECHO)]);
    let ran = run(&mut command(folder.path()));
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert_said(&ran, &["flow.toml:4:15", "a waits for the step `b`, and there is none", "has 1 problem\n"]);
    let io = "[[steps]]\nname = \"a\"\nscript = \"echo.py\"\npool = \"io\"\n\
              [[steps]]\nname = \"b\"\nscript = \"echo.py\"\npool = \"io\"\n";
    let folder = flow(io, &[("echo.py", ECHO)]);
    let ran = run(command(folder.path()).env("AXION_IO_BOUND_COUNT", "0").env("AXION_IO_BOUND_MAX", "0"));
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert_said(
        &ran,
        &[
            "step a: the io pool is disabled",
            "flow.toml:4:8",
            "no workers of this pool",
            "flow.toml:8:8",
            "2 problems\n",
        ],
    );
    let ran = run(command(folder.path()).env("AXION_IO_BOUND_COUNT", "many"));
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    let needy = "[[steps]]\nname = \"a\"\nscript = \"echo.py\"\nresources = { slots = 100000 }\n";
    let ran = run(&mut command(flow(needy, &[("echo.py", ECHO)]).path()));
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert_said(
        &ran,
        &["a can never run: short of", "flow.toml:4:13", "more than the engine has", "help: lower `resources`"],
    );
}

#[test]
fn no_usable_python_exits_with_3() {
    let folder = flow("[[steps]]\nname = \"a\"\nscript = \"echo.py\"\n", &[("echo.py", ECHO)]);
    let ran = run(command(folder.path()).args(["--python", "/no/such/python"]));
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{}", ran.err);
    assert_said(&ran, &["/no/such/python"]);
}

/// Reads standard error up to the line with these words, and gives that line.
fn line_with(err: &mut BufReader<ChildStderr>, words: &str) -> String {
    let mut seen = String::new();
    loop {
        let begin = seen.len();
        assert_ne!(err.read_line(&mut seen).expect("read"), 0, "{words:?} was not said:\n{seen}");
        if seen[begin..].contains(words) {
            return seen[begin..].to_owned();
        }
    }
}

fn hanging(private: &Path, grace: &str) -> (Running, BufReader<ChildStderr>, Vec<i32>, tempfile::TempDir) {
    let folder = flow(HANGING, &[("hangs.py", HANGS)]);
    let mut running = Running::start(command(folder.path()).env("TMPDIR", private).env("AXION_CANCEL_GRACE", grace));
    let mut err = BufReader::new(running.0.stderr.take().expect("piped"));
    let line = line_with(&mut err, "hangs | ");
    let pids = line.trim_start_matches("hangs | ").split_whitespace().map(|pid| pid.parse().expect("a pid")).collect();
    (running, err, pids, folder)
}

fn assert_nothing_is_left(pids: &[i32], private: &Path) {
    until("all processes are gone", || pids.iter().all(|pid| !lives(*pid)));
    assert_eq!(std::fs::read_dir(private).expect("listed").count(), 0);
}

#[test]
fn l7_a_signal_cancels_the_workflow_and_says_which_steps_and_leaves_nothing() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let private = tempfile::tempdir().expect("a folder");
        let (mut running, mut err, pids, _folder) = hanging(private.path(), "100ms");
        running.signal(signal);
        line_with(&mut err, "interrupted; cancelling the workflow. Running steps have 0.1 s to stop");
        assert_eq!(line_with(&mut err, "cancelled: hangs"), "cancelled: hangs, later\n");
        line_with(&mut err, "flow was cancelled after");
        assert_eq!(running.0.wait().expect("ended").code(), Some(code));
        assert_nothing_is_left(&pids, private.path());
        let mut out = String::new();
        running.0.stdout.take().expect("piped").read_to_string(&mut out).expect("read");
        assert_eq!(out, "");
    }
}

#[test]
fn l7_a_second_interrupt_ends_it_at_once() {
    let private = tempfile::tempdir().expect("a folder");
    let (mut running, mut err, pids, _folder) = hanging(private.path(), "1h");
    running.signal(Signal::INT);
    line_with(&mut err, "interrupted; cancelling");
    assert_eq!(running.signal_until_it_ends(Signal::INT), Some(130));
    line_with(&mut err, "interrupted again");
    assert_nothing_is_left(&pids, private.path());
}

#[test]
fn a_time_limit_cancels_the_workflow_and_exits_with_124() {
    let folder = flow(HANGING, &[("hangs.py", HANGS)]);
    let ran = run(command(folder.path()).args(["--timeout", "500ms"]).env("AXION_CANCEL_GRACE", "50ms"));
    assert_eq!((ran.code, ran.out.as_str()), (Some(124), ""), "{}", ran.err);
    assert_said(&ran, &["the workflow reached its time limit", "cancelled: hangs, later\n"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let large = "def main(params, context):\n    return 'x' * 1000000\n";
    let folder = flow("[[steps]]\nname = \"large\"\nscript = \"large.py\"\n", &[("large.py", large)]);
    let mut child =
        command(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ended");
    let err = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(!err.contains("error"), "{err}");
}

/// What a terminal gets from a flow whose step waits at the gate until it is seen half way.
fn on_a_terminal(folder: &Path, no_color: bool) -> String {
    let mut python = Command::new("python3");
    python.args(["-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)", env!("CARGO_BIN_EXE_axion")]);
    python.args(["flow", "run"]).arg("flow.toml").current_dir(folder).env("TERM", "xterm").stdin(Stdio::null());
    if no_color {
        python.env("NO_COLOR", "1");
    }
    let mut running = Running::start(&mut python);
    let mut out = running.0.stdout.take().expect("piped");
    let (mut shown, mut piece) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&shown).contains("half way") {
        let count = out.read(&mut piece).expect("read");
        assert_ne!(count, 0, "it was never seen half way: {:?}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&piece[..count]);
    }
    std::fs::write(folder.join("gate"), "").expect("opened");
    out.read_to_end(&mut shown).expect("read");
    let shown = String::from_utf8(shown).expect("text");
    assert_eq!(running.0.wait().expect("ended").code(), Some(0), "{shown}");
    shown
}

/// Whether the text has these words around some number of seconds.
fn has_seconds(text: &str, before: &str, after: &str) -> bool {
    text.split(before).skip(1).any(|rest| {
        let unit = rest.trim_start_matches(|it: char| it.is_ascii_digit());
        unit.len() < rest.len() && unit.starts_with(after)
    })
}

#[test]
fn a_terminal_shows_running_steps_and_a_bar_apart_from_output() {
    let slow = "import time\ndef main(params, context):\n    context.progress(0.5, 'half way')\n    \
                open('gate').close()\n    for n in range(8):\n        print('line', n)\n        time.sleep(0.1)\n    return 1\n";
    let folder = flow("[[steps]]\nname = \"slow\"\nscript = \"slow.py\"\n", &[("slow.py", slow)]);
    std::fs::write(folder.path().join("axion.toml"), "[cpu_bound_worker]\ncwd = '.'\n").expect("written");
    let gate = Command::new("mkfifo").arg(folder.path().join("gate")).status().expect("mkfifo runs");
    assert!(gate.success());
    let shown = on_a_terminal(folder.path(), false);
    for part in ["\u{1b}[32m", "{\"slow\":1}"] {
        assert!(shown.contains(part), "{part:?} is not in {shown:?}");
    }
    assert!(has_seconds(&shown, "  slow  ", " s  50 % half way"), "{shown:?}");
    assert!(has_seconds(&shown, "0/1 steps, ", " s"), "{shown:?}");
    for n in 0..8 {
        let before = shown.split_once(&format!("slow | line {n}\r\n")).expect("said").0;
        let clean = ["\n", "\u{1b}[2K", "\u{1b}[2A", "\u{1b}[1A"].iter().any(|end| before.ends_with(end));
        assert!(before.is_empty() || clean, "line {n} is mixed into another: {before:?}");
    }
    assert!(!shown.contains("slow: started"), "the live lines say it: {shown:?}");
    assert!(!on_a_terminal(folder.path(), true).contains("\u{1b}[32m"), "no colours were asked for");
}

#[test]
fn help_teaches_and_run_comes_first() {
    let ran = run(axion().args(["flow", "run", "--help"]));
    for words in ["Exit codes:", "axion flow run etl.toml --set", "--timeout", "cancel_grace", "| jq"] {
        assert!(ran.out.contains(words), "{words} is missing from {}", ran.out);
    }
    let ran = run(axion().args(["flow", "--help"]));
    let (run, check) = (ran.out.find("  run "), ran.out.find("  check "));
    assert!(run.is_some() && run < check, "{}", ran.out);
}

#[test]
fn a_step_runs_in_the_pool_of_its_name_and_an_unknown_one_is_shown_at_its_place() {
    let text = "[[steps]]\nname = \"train\"\nscript = \"where.py\"\npool = \"gpu\"\n";
    let script = ("where.py", "def main(params, context):\n    return context.worker_id\n");
    let config = ("axion.toml", "[pools.gpu]\nworkers = 1\n");
    let folder = flow(text, &[script, config]);
    let ran = run(command(folder.path()).current_dir(folder.path()));
    assert_eq!(value(&ran), json!({"train": "gpu-0"}));
    let check = |folder: &Path| run(axion().current_dir(folder).args(["flow", "check", "flow.toml"]));
    assert_eq!(check(folder.path()).code, Some(0));

    let wrong = flow(&text.replace("gpu", "gpo"), &[script, config]);
    for ran in [check(wrong.path()), run(command(wrong.path()).current_dir(wrong.path()))] {
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert_said(
            &ran,
            &["unknown pool `gpo`: the engine has the pools cpu, io, gpu", "flow.toml:4:8", "did you mean `gpu`?"],
        );
    }
    // Without a configuration, its pools are not known to the check.
    let alone = flow(&text.replace("gpu", "gpo"), &[script]);
    assert_eq!(check(alone.path()).code, Some(0));
}
