//! The program where it finds little: full disks, closed streams, few descriptors. docs/start/program.md has the outcomes.

use std::path::Path;
use std::process::Command;

use crate::support::{Ran, Script, axion, run};

const SAYS: &str = "\
def main(params, context):
    print('said')
    return 1
";

/// Runs the program by a shell, with `$AXION` as its name and `$SCRIPT` as that of the script.
fn by_shell(line: &str) -> Ran {
    let (program, script) = (axion(), Script::new(SAYS));
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).env("AXION", program.get_program()).env("SCRIPT", script.path());
    run(&mut shell)
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let ran = by_shell("exec $AXION run $SCRIPT >/dev/full");
    assert_eq!(ran.code, Some(3));
    assert!(ran.err.contains("said") && ran.err.contains("cannot write the result: No space left"), "{}", ran.err);
}

#[test]
fn output_that_cannot_be_written_changes_no_result() {
    for line in ["exec $AXION run $SCRIPT 2>/dev/full", "exec $AXION run $SCRIPT 2>&-", "exec $AXION run $SCRIPT <&-"] {
        let ran = by_shell(line);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "1\n"), "{line}: {}", ran.err);
    }
    for line in ["exec $AXION run $SCRIPT >&-", "exec $AXION run $SCRIPT <&- >&- 2>&-"] {
        let ran = by_shell(line);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{line}: {}", ran.err);
    }
}

#[test]
fn l1_with_too_few_descriptors_it_ends_with_an_error() {
    for count in [8, 12, 16, 20, 24, 28] {
        let ran = by_shell(&format!("ulimit -n {count}; exec $AXION run $SCRIPT"));
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{count}: {}", ran.err);
        assert!(ran.err.contains("Too many open files") && !ran.err.contains("panicked"), "{count}: {}", ran.err);
    }
}

/// Runs the program with its temporary folder on a file system of its own; `None`, said loudly, where none can be mounted.
fn in_mounted(options: &str, before: &str) -> Option<Ran> {
    let folder = tempfile::tempdir().expect("a folder");
    let (program, script) = (axion(), Script::new(SAYS));
    let run_in = |line: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", line]).env("AXION", program.get_program()).env("SCRIPT", script.path());
        run(command.env("TMPDIR", folder.path()))
    };
    let mount = format!("mount -t tmpfs -o {options} none \"$TMPDIR\"");
    if run_in(&mount).code != Some(0) {
        eprintln!("SKIPPED: this system mounts no file system for a test");
        return None;
    }
    let ran = run_in(&format!("{mount} && {before} exec $AXION run $SCRIPT"));
    assert!(is_empty(folder.path()), "outside of the namespace nothing is mounted");
    Some(ran)
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("listed").next().is_none()
}

#[test]
fn a_temporary_folder_without_room_is_named() {
    let fill = "{ dd if=/dev/zero of=\"$TMPDIR/filler\" bs=4k 2>/dev/null; true; } &&";
    for (options, before, reason) in [("size=64k", fill, "No space left"), ("ro", "", "Read-only file system")] {
        let Some(ran) = in_mounted(options, before) else { return };
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{}", ran.err);
        for words in ["cannot put the worker runtime into", reason, "`runtime_dir`"] {
            assert!(ran.err.contains(words), "{words}: {}", ran.err);
        }
    }
    let script = Script::new(SAYS);
    let ran = run(axion().arg("run").arg(script.path()).env("TMPDIR", "/no/such/folder"));
    assert_eq!(ran.code, Some(3));
    assert!(ran.err.contains("cannot put the worker runtime into /no/such/folder"), "{}", ran.err);
}

#[test]
fn a_task_that_must_not_run_twice_runs_once() {
    let dies = "\
import os
def main(params, context):
    print('run')
    os.kill(os.getpid(), 9)
";
    let script = Script::new(dies);
    for (losses, runs) in [("0", 1), ("1", 2)] {
        let ran = run(axion().arg("run").arg(script.path()).args(["--max-worker-losses", losses]));
        assert_eq!((ran.code, ran.err.lines().filter(|line| *line == "run").count()), (Some(125), runs), "{}", ran.err);
    }
    // A pool's setting bounds what the option allows.
    let ran = run(axion().arg("run").arg(script.path()).env("AXION_CPU_BOUND_WORKER_MAX_WORKER_LOSSES", "0"));
    assert_eq!((ran.code, ran.err.lines().filter(|line| *line == "run").count()), (Some(125), 1), "{}", ran.err);
    let flow = "[[steps]]\nname = \"dies\"\nscript = \"script.py\"\n";
    std::fs::write(script.folder().join("flow.toml"), flow).expect("written");
    let flow = script.folder().join("flow.toml");
    let ran = run(axion().args(["flow", "run"]).arg(flow).args(["--max-worker-losses", "0"]));
    let runs = ran.err.lines().filter(|line| *line == "dies | run").count();
    assert_eq!((ran.code, runs), (Some(1), 1), "{}", ran.err);
}
