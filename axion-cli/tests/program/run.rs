//! `axion run`: output, errors, exit codes.

use std::io::Write;
use std::process::Stdio;

use crate::support::{Script, axion, example, root, run, with_growing_limits};

fn output_of(text: &str) -> crate::support::Ran {
    let script = Script::new(text);
    run(axion().arg("run").arg(script.path()))
}

#[test]
fn the_result_is_one_line_of_json_on_standard_output() {
    let double = example("double.py");
    for parameters in [&["--params", r#"{"value": 21}"#][..], &["-p", "value=21"], &["--param", "value=21"]] {
        let ran = run(axion().arg("run").arg(&double).args(parameters));
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "{\"result\": 42, \"status\": \"success\"}\n"));
        assert_eq!(ran.err, "");
    }
}

#[test]
fn parameters_come_from_a_file_from_standard_input_and_on_top_of_both() {
    let script = Script::new("def main(params, context):\n    return params\n");
    let file = script.folder().join("params.json");
    // Some editors begin a file so.
    std::fs::write(&file, "\u{feff}".to_owned() + r#"{"a": 1, "big": 123456789012345678901234567890, "t": "x"}"#)
        .expect("written");
    let ran =
        run(axion().arg("run").arg(script.path()).arg("--params-file").arg(&file).args(["-p", "t=y=z", "-p", "l=[1]"]));
    assert_eq!(ran.out, "{\"a\": 1, \"big\": 123456789012345678901234567890, \"l\": [1], \"t\": \"y=z\"}\n");

    let mut child = axion()
        .arg("run")
        .arg(script.path())
        .args(["--params-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    child.stdin.take().expect("piped").write_all(b" [1, 2]\n").expect("written");
    assert_eq!(child.wait_with_output().expect("ended").stdout, b"[1, 2]\n");
}

#[test]
fn a_parameter_loses_nothing_on_its_way_or_is_refused_with_what_to_write() {
    let script = Script::new("def main(params, context):\n    return params\n");
    let of = |arguments: &[&str]| run(axion().arg("run").arg(script.path()).args(arguments));
    let ran = of(&["-s", "version=1.10", "--text", "sha=12e4567", "-p", "id=12345678901234567890", "-p", "x=1e-3"]);
    assert_eq!(
        ran.out, "{\"id\": 12345678901234567890, \"sha\": \"12e4567\", \"version\": \"1.10\", \"x\": 0.001}\n",
        "{}",
        ran.err
    );
    for (value, words, help) in [
        (
            "version=1.10",
            "would lose its last zero",
            "write -p version=1.1 for the value, or -s version=1.10 for the text",
        ),
        ("sha=12e4567", "would be infinite", "write -s sha=12e4567 for the text"),
        ("sha=12e45", "such as a hash", "write -p sha=1.2e+46 for the value, or -s sha=12e45 for the text"),
        ("dry_run=False", "False is Python", "write -p dry_run=false for the value, or -s dry_run=False for the text"),
    ] {
        let ran = of(&["-p", value]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{value}");
        let start = format!("error: -p {value}: ");
        assert!(ran.err.starts_with(&start) && ran.err.contains(words) && ran.err.contains(help), "{}", ran.err);
    }
    let both = of(&["-p", "a=1", "-s", "a=1"]);
    assert!(both.code == Some(2) && both.err.contains("-p a=1 and -s a=1 set the same parameter"), "{}", both.err);
}

#[test]
fn the_record_has_id_outcome_worker_and_timings() {
    let ran =
        run(axion().arg("run").arg(example("double.py")).args(["-p", "value=1", "--output", "json", "--type", "io"]));
    let record: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(record["outcome"], "succeeded");
    assert_eq!(record["data"]["result"], 2);
    assert_eq!((&record["worker"], &record["attempt"]), (&"io-0".into(), &1.into()));
    assert_eq!(record["id"].as_str().expect("an id").len(), 36);
    assert!(record["run_seconds"].as_f64().expect("a number") > 0.0);
    assert!(record["timings"]["finished"].as_str().expect("a time").ends_with('Z'));
    assert!(record["error"].is_null());
}

#[test]
fn everything_a_script_writes_goes_to_standard_error() {
    let ran = output_of(
        "import os, subprocess, sys\n\
         def main(params, context):\n\
        \x20   print('by print')\n\
        \x20   print('by print to stderr', file=sys.stderr)\n\
        \x20   os.write(1, b'by os.write\\n')\n\
        \x20   subprocess.run(['echo', 'by subprocess'])\n\
        \x20   context.log('by log')\n\
        \x20   context.progress(0.5, 'half way')\n\
        \x20   return 1\n",
    );
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "1\n"));
    for text in ["by print\n", "by print to stderr\n", "by os.write\n", "by subprocess\n", "by log", " 50 % half way\n"]
    {
        assert!(ran.err.contains(text), "{text:?} is missing from {:?}", ran.err);
    }
}

#[test]
fn a_failed_task_prints_its_traceback_and_exits_with_1() {
    let ran = output_of("def main(params, context):\n    return 1 / 0\n");
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("line 2, in main\n    return 1 / 0"), "{}", ran.err);
    assert!(ran.err.contains("error: the task failed: exception: ZeroDivisionError"), "{}", ran.err);

    let script = Script::new("import os\ndef main(params, context):\n    os.kill(os.getpid(), 9)\n");
    let ran = run(axion().arg("run").arg(script.path()).args(["--output", "json"]));
    assert_eq!(ran.code, Some(125));
    let record: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&record["outcome"], &record["error"]["kind"]), (&"lost".into(), &"worker_lost".into()));
    assert_eq!((&record["worker_losses"], &record["attempt"]), (&2.into(), &3.into()));
    assert_eq!(record["earlier_attempts"].as_array().expect("a list").len(), 2);
    assert_eq!(record["error"]["post_mortem"]["ended_by"], "outside_force");
    assert!(
        ran.err.contains("signal 9 (SIGKILL)") && ran.err.contains("killed from outside the engine"),
        "{}",
        ran.err
    );
}

#[test]
fn a_time_limit_exits_with_124_and_says_where_the_task_was() {
    let script = Script::new(
        "import time\ndef deep():\n    time.sleep(1000)\ndef main(params, context):\n    print('on it')\n    deep()\n",
    );
    // How far the task comes before its limit, and whether there is time for the stacks before the kill, is the
    // machine's business: it gets longer and longer ones.
    let ran = with_growing_limits(|limit| {
        let ran = run(axion().arg("run").arg(script.path()).args(["--timeout", limit]));
        assert_eq!((ran.code, ran.out.as_str()), (Some(124), ""), "{}", ran.err);
        (ran.err.contains("in deep") && ran.err.contains("last stdout")).then_some(ran)
    });
    for words in
        ["the task timed out", "at the deadline", "signal 9 (SIGKILL)", "last stdout\n    on it", "line 3 in deep"]
    {
        assert!(ran.err.contains(words), "{words:?} is missing from {}", ran.err);
    }
    with_growing_limits(|limit| {
        let ran = run(axion().arg("run").arg(script.path()).args(["--soft-timeout", limit]));
        assert_eq!(ran.code, Some(124), "{}", ran.err);
        assert!(ran.err.contains("soft time limit"), "{}", ran.err);
        ran.err.contains("time.sleep(1000)").then_some(())
    });
}

#[test]
fn a_memory_limit_ends_the_task() {
    let script = Script::new(
        "import time\ndef main(params, context):\n    kept = []\n    while True:\n        kept.append(b'x' * (8 << 20))\n        time.sleep(0.005)\n",
    );
    let ran = run(axion().arg("run").arg(script.path()).args(["--memory-limit", "150M"]));
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("memory_limit") && ran.err.contains("holding too much memory"), "{}", ran.err);
}

#[test]
fn l9_a_memory_limit_counts_the_processes_that_a_task_has_started() {
    for session in ["False", "True"] {
        let script = Script::new(&format!(
            "import subprocess, sys\nHOLD = 'kept = b\"x\" * (200 << 20); input()'\ndef main(params, context):\n    child = \
             [sys.executable, '-c', HOLD]\n    child = subprocess.Popen(child, stdin=subprocess.PIPE, \
             start_new_session={session})\n    child.wait()\n"
        ));
        let ran = run(axion().arg("run").arg(script.path()).args(["--memory-limit", "100M", "--output", "json"]));
        let record: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
        assert_eq!((ran.code, &record["error"]["kind"]), (Some(1), &"memory_limit".into()), "{}", ran.err);
        assert_eq!(record["error"]["post_mortem"]["ended_by"], "memory_limit");
    }
}

/// The task has 300 MB, which four forked processes share. The first of them writes to its pages, and so gets its own.
const SHARED_PAGES: &str = "import os, time
def main(params, context):
    kept = bytearray(b'x') * (300 << 20)
    reader, writer = os.pipe()
    for number in range(4):
        if os.fork() == 0:
            os.close(writer)
            if number == 0:
                with open(os.path.join(os.path.dirname(__file__), 'written'), 'w') as written:
                    for at in range(0, len(kept), 10 << 20):
                        time.sleep(0.05)
                        kept[at:at + (10 << 20):4096] = bytes(2560)
                        print(at >> 20, file=written, flush=True)
            os.read(reader, 1)
            os._exit(0)
    os.waitpid(-1, 0)
";

#[test]
fn l9_memory_that_forked_processes_share_counts_once() {
    let script = Script::new(SHARED_PAGES);
    let mut command = axion();
    command.env("AXION_HEALTH_CHECK_INTERVAL", "10ms");
    let ran = run(command.arg("run").arg(script.path()).args(["--memory-limit", "500M"]));
    assert!(ran.code == Some(1) && ran.err.contains("memory_limit"), "{}", ran.err);
    // It was ended when they had more than the limit, and not while they had five times 300 MB on paper.
    let written = std::fs::read_to_string(script.folder().join("written")).expect("it began to write");
    let own: u64 = written.lines().last().expect("a line").parse().expect("a number");
    assert!(own > 100, "ended when only {own} MB were not shared");
}

/// The first attempt does what a cleaner of folders for temporary files does, and ends its worker.
const CLEANS: &str = "import os, shutil, signal, tempfile
def main(params, context):
    if context.attempt == 1:
        for folder, _, files in os.walk(tempfile.gettempdir()):
            for name in files:
                os.unlink(os.path.join(folder, name))
        if not params['files_only']:
            for name in os.listdir(tempfile.gettempdir()):
                shutil.rmtree(os.path.join(tempfile.gettempdir(), name))
        os.kill(os.getpid(), signal.SIGKILL)
    return context.attempt
";

#[test]
fn l1_a_worker_is_replaced_when_the_folder_for_temporary_files_was_cleaned() {
    for files_only in ["true", "false"] {
        let (script, private) = (Script::new(CLEANS), tempfile::tempdir().expect("a folder"));
        let mut command = axion();
        command.env("TMPDIR", private.path()).arg("run").arg(script.path());
        let ran = run(command.args(["-p", &format!("files_only={files_only}")]));
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "2\n"), "{}", ran.err);
        assert_eq!(std::fs::read_dir(private.path()).expect("listed").count(), 0, "nothing is left");
    }
}

#[test]
fn retries_are_reported_and_the_last_result_counts() {
    let script =
        Script::new("def main(params, context):\n    return context.attempt if context.attempt == 3 else 1 / 0\n");
    let ran = run(axion().arg("run").arg(script.path()).args(["--retries", "5", "--retry-wait", "10ms"]));
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "3\n"), "{}", ran.err);
    assert!(
        ran.err.contains("attempt 2 failed: exception: ZeroDivisionError: division by zero; the next one in"),
        "{}",
        ran.err
    );
    let ran = run(axion().arg("run").arg(script.path()).args(["--retries", "1", "--retry-wait", "10ms"]));
    assert_eq!(ran.code, Some(1));
    let script = Script::new(
        "def main(params, context):\n    print('try', context.attempt)\n    return context.attempt if context.attempt > 1 else 1 / 0\n",
    );
    let arguments = ["--retries", "1", "--retry-wait", "10ms", "--output", "json"];
    let ran = run(axion().arg("run").arg(script.path()).args(arguments));
    let record: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let first = &record["earlier_attempts"][0];
    assert_eq!((&record["outcome"], &record["output"]["stdout"]["text"]), (&"succeeded".into(), &"try 2\n".into()));
    assert_eq!(
        (&first["error"]["message"], &first["output"]["stdout"]["text"]),
        (&"division by zero".into(), &"try 1\n".into())
    );
}

#[test]
fn invalid_input_exits_with_2_and_names_the_place() {
    let double = example("double.py");
    let refused = |arguments: &[&str]| {
        let ran = run(axion().arg("run").args(arguments));
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{arguments:?}: {}", ran.err);
        ran.err
    };
    let double = double.to_str().expect("text");
    assert!(refused(&["no/such.py"]).contains("no/such.py"));
    assert!(refused(&["/"]).contains("not a file"));
    let bad = refused(&[double, "--params", "{\"value\": 2x}"]);
    assert!(bad.contains("line 1 column 12") && bad.contains("{\"value\": 2x}"), "{bad}");
    let bad = refused(&[double, "--params", "{\n  \"täxt\": ö\n}"]);
    assert!(bad.contains("line 2"), "{bad}");
    assert!(refused(&[double, "--params", ""]).contains("EOF"));
    assert!(refused(&[double, "--params", "-"]).contains("use --params-file -"));
    let twice = refused(&[double, "--params", r#"{"a": {"b": 1, "b": 2}}"#]);
    assert!(twice.contains("the key `b` stands here twice") && twice.contains("--params:1:"), "{twice}");
    assert!(refused(&[double, "--params-file", "no/such.json"]).contains("no/such.json"));
    assert!(refused(&[double, "--params", "[1]", "-p", "a=1"]).contains("not a JSON object"));
    assert!(refused(&[double, "-p", "novalue"]).contains("KEY=VALUE"));
    assert!(refused(&[double, "--params", "{}", "--params-file", "x"]).contains("cannot be used with"));
    assert!(refused(&[double, "--type", "gpu"]).contains("cpu, io"));
    assert!(refused(&[double, "--timeout", "soon"]).contains("10m"));
    for (option, value) in [("--timeout", "-1"), ("--retries", "-2"), ("--memory-limit", "-3")] {
        let words = refused(&[double, option, value]);
        assert!(words.contains(&format!("invalid value '{value}' for '{option}")), "{words}");
    }
    assert!(refused(&[double, "--timeout", "2", "--soft-timeout", "2"]).contains("shorter than --timeout"));
}

#[test]
fn parameters_above_the_limit_are_wrong_input() {
    let params = format!("{{\"x\": \"{}\"}}", "x".repeat(1 << 20));
    let mut command = axion();
    command.env("AXION_PAYLOAD_LIMIT", "1MiB").arg("run").arg(example("double.py")).args(["--params-file", "-"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    child.stdin.take().expect("piped").write_all(params.as_bytes()).expect("written");
    let ended = child.wait_with_output().expect("ended");
    let err = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{err}");
    assert!(err.contains("the limit is 1048576") && err.contains("`payload_limit`"), "{err}");
}

#[test]
fn no_usable_python_exits_with_3_and_the_reason() {
    for (python, words) in [("/no/such/python", "/no/such/python"), ("/bin/false", "exit code 1")] {
        let ran = run(axion().arg("run").arg(example("double.py")).args(["--python", python]));
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{}", ran.err);
        assert!(ran.err.contains(words), "{}", ran.err);
    }
}

#[test]
fn a_full_disk_under_the_private_folder_is_a_typed_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c"])
        .arg("mount -t tmpfs -o size=16k none \"$1\" && TMPDIR=\"$1\" exec \"$2\" run \"$3\" -p value=1")
        .arg("sh")
        .arg(folder.path())
        .arg(env!("CARGO_BIN_EXE_axion"))
        .arg(example("double.py"))
        .output();
    let output = match mount {
        Ok(output) if !String::from_utf8_lossy(&output.stderr).contains("unshare") => output,
        _ => return eprintln!("SKIPPED: this system lets no user mount a small disk (unshare --mount)"),
    };
    let err = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains("No space left on device") && err.contains("runtime_dir"), "{err}");
}

#[test]
fn the_setting_nice_is_added_to_the_programs_own() {
    let script = Script::new("import os\n\ndef main(params, context):\n    return os.nice(0)\n");
    let mut command = std::process::Command::new("nice");
    command.args(["-n", "1"]).arg(env!("CARGO_BIN_EXE_axion")).arg("run").arg(script.path());
    let niceness = |command: &mut std::process::Command| -> i32 {
        let ran = run(command);
        ran.out.trim().parse().unwrap_or_else(|_| panic!("no number: {} {}", ran.out, ran.err))
    };
    let own = niceness(&mut command);
    command.env("AXION_CPU_BOUND_WORKER_NICE", "1");
    assert_eq!(niceness(&mut command), (own + 1).min(19));
}

#[test]
fn with_few_descriptors_every_command_ends_says_why_and_does_not_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    file("one.py", "def main(params, context):\n    return 1\n");
    file("flow.toml", "[[steps]]\nname = \"a\"\nscript = \"one.py\"\n");
    // Nothing but the three streams is open, whoever runs the tests.
    let with = |most: u32, arguments: &str| {
        let closed = "for fd in 3 4 5 6 7 8 9; do eval \"exec $fd>&-\"; done";
        let mut command = std::process::Command::new("sh");
        command.arg("-c").arg(format!("{closed}; ulimit -n {most} && exec \"$0\" {arguments}"));
        run(command.arg(env!("CARGO_BIN_EXE_axion")).current_dir(folder.path()).env("TMPDIR", folder.path()))
    };
    let check = |most: u32| {
        let mut codes = Vec::new();
        for (arguments, starts_workers) in
            [("run one.py", true), ("flow run flow.toml", true), ("config show", false), ("config check", false)]
        {
            let ran = with(most, arguments);
            let told = format!("{arguments} with {most}: {:?} {}", ran.code, ran.err);
            assert!(!ran.err.contains("panicked"), "{told}");
            match ran.code {
                Some(0) => {}
                Some(3) if starts_workers => assert!(ran.err.contains("Too many open files"), "{told}"),
                // The system could not even load it.
                Some(127) => assert!(ran.err.contains("error while loading shared libraries"), "{told}"),
                _ => panic!("{told}"),
            }
            codes.push(ran.code);
        }
        codes
    };
    let codes: Vec<_> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..4).map(|part| scope.spawn(move || (3 + part..=40).step_by(4).map(check))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("as it should")).collect()
    });
    assert!([0, 3].iter().all(|code| codes.iter().flatten().any(|it| *it == Some(*code))), "{codes:?}");
}

#[test]
fn help_teaches() {
    let ran = run(axion().args(["run", "--help"]));
    for words in ["Exit codes:", "130", "--params-file", "axion run double.py -p value=21", "AXION_LOG"] {
        assert!(ran.out.contains(words), "{words} is missing from {}", ran.out);
    }
}

#[test]
fn every_example_script_does_its_work_on_real_input() {
    let value = |name: &str, arguments: &[&str]| -> serde_json::Value {
        let ran = run(axion().arg("run").arg(example(name)).args(arguments).current_dir(root()));
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.err);
        serde_json::from_str(&ran.out).expect("JSON")
    };
    assert_eq!(value("primes.py", &["-p", "limit=1000"])["count"], 168);
    let words = value("word_frequencies.py", &["-p", "file=README.md", "-p", "top=3"]);
    assert_eq!(words["frequencies"].as_array().or(words["top"].as_array()).expect("a list").len(), 3, "{words}");
    let digests = value("sha256_tree.py", &["-p", "folder=examples/scripts"]);
    assert!(digests.to_string().contains("double.py"), "{digests}");
    let waits = value("async_waits.py", &["-p", "count=50", "-p", "seconds=0.05"]);
    assert!(waits.is_object(), "{waits}");
}

#[test]
fn a_script_runs_in_the_pool_of_its_name_on_a_worker_of_it() {
    let script = Script::new("def main(params, context):\n    return context.worker_id\n");
    let config = script.folder().join("axion.toml");
    std::fs::write(&config, "[pools.gpu]\nkind = \"cpu\"\nworkers = { min = 1, max = 2 }\n").expect("written");
    let of =
        |arguments: &[&str]| run(axion().current_dir(script.folder()).arg("run").arg(script.path()).args(arguments));
    for (arguments, worker) in
        [(&["--pool", "gpu"][..], "gpu-0"), (&["--pool", "io"], "io-0"), (&["--type", "io"], "io-0"), (&[], "cpu-0")]
    {
        let ran = of(arguments);
        assert_eq!((ran.code, ran.out), (Some(0), format!("\"{worker}\"\n")), "{arguments:?}: {}", ran.err);
    }
    let record: serde_json::Value =
        serde_json::from_str(&of(&["--pool", "gpu", "--output", "json"]).out).expect("JSON");
    assert_eq!((&record["pool"], &record["worker"]), (&"gpu".into(), &"gpu-0".into()));
    for (arguments, words) in [
        (&["--pool", "gpo"][..], "unknown pool `gpo`: the engine has the pools cpu, io, gpu"),
        (&["--pool", "GPU"], "invalid pool name \"GPU\""),
        (&["--pool", "gpu", "--type", "io"], "cannot be used with"),
    ] {
        let ran = of(arguments);
        assert!(ran.code == Some(2) && ran.err.contains(words), "{arguments:?}: {:?} {}", ran.code, ran.err);
    }
    // A variable declares a pool, too.
    let ran = run(axion().env("AXION_POOLS_BIG_KIND", "io").arg("run").arg(script.path()).args(["--pool", "big"]));
    assert_eq!(ran.out, "\"big-0\"\n", "{}", ran.err);
}
