//! Signals as service managers, `timeout`, `nohup` and containers send them.

use std::process::Command;

use std::os::unix::process::CommandExt;

use rustix::process::{Pid, Signal};

use crate::support::{Running, Script, axion, children_of, kill, lives, run, state, until, with_growing_limits};

/// Takes a moment to tidy up. A second cancellation would cut that short.
const TIDIES: &str = "\
import asyncio, os
async def main(params, context):
    print(os.getpid())
    try:
        await asyncio.sleep(1000)
    finally:
        await asyncio.sleep(0.2)
        print('tidied')
";

/// Stops when it is asked to, and says so.
const COOPERATES: &str = "\
import os, time
def main(params, context):
    print(os.getpid())
    while not context.cancelled:
        time.sleep(0.01)
    return 'tidied up'
";

/// A started program whose task has printed its worker's pid.
fn started(command: &mut Command, script: &Script) -> (Running, i32) {
    let mut running = Running::start(command.arg("run").arg(script.path()));
    let pid = running.pids()[0];
    (running, pid)
}

/// The exit code, and the rest of standard error.
fn ended(running: &mut Running) -> (Option<i32>, String) {
    let mut err = String::new();
    std::io::Read::read_to_string(running.0.stderr.as_mut().expect("piped"), &mut err).expect("text");
    (running.0.wait().expect("ended").code(), err)
}

#[test]
fn the_first_signal_lets_the_task_tidy_up() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let (mut running, worker) = started(&mut axion(), &Script::new(COOPERATES));
        running.signal(signal);
        let (found, out) = running.ends();
        assert_eq!((found, out.trim()), (Some(code), "\"tidied up\""));
        until("the worker is gone", || !lives(worker));
    }
}

/// `timeout` signals its child, and then its group.
#[test]
fn l1_one_request_may_come_as_several_signals() {
    for _ in 0..5 {
        let (mut running, _) = started(axion().process_group(0), &Script::new(TIDIES));
        running.signal(Signal::TERM);
        rustix::process::kill_process_group(Pid::from_child(&running.0), Signal::TERM).expect("signalled");
        running.signal(Signal::CONT);
        let (code, err) = ended(&mut running);
        assert_eq!(code, Some(143), "{err}");
        assert!(err.contains("tidied") && !err.contains("interrupted again"), "{err}");
    }
}

#[test]
fn l1_under_timeout_the_task_has_its_grace() {
    let script = Script::new(TIDIES);
    let ran = with_growing_limits(|limit| {
        let program = axion();
        let mut command = Command::new("timeout");
        command.arg(limit.replace("ms", "e-3")).arg(program.get_program()).arg("run").arg(script.path());
        let ran = run(&mut command);
        // The limit came before the task.
        ran.err.starts_with(|it: char| it.is_ascii_digit()).then_some(ran)
    });
    assert_eq!(ran.code, Some(124));
    assert!(ran.err.contains("tidied"), "{}", ran.err);
}

/// Service managers signal every process of a service: the program, its workers and its guardian.
#[test]
fn l1_a_signal_to_every_process_leaves_the_tasks_their_grace() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let (mut running, worker) = started(&mut axion(), &Script::new(TIDIES));
        let all = running.children();
        assert!(all.contains(&worker) && all.len() >= 2, "a worker and a guardian: {all:?}");
        all.iter().for_each(|pid| kill(*pid, signal));
        running.signal(signal);
        let (found, err) = ended(&mut running);
        assert_eq!(found, Some(code), "{err}");
        assert!(err.contains("tidied"), "{err}");
        until("all are gone", || all.iter().all(|pid| !lives(*pid)));
    }
}

#[test]
fn l7_signals_to_every_process_during_the_start_end_the_program_and_leave_nothing() {
    let script = Script::new(COOPERATES);
    for _ in 0..10 {
        let private = tempfile::tempdir().expect("a folder");
        let mut running = Running::start(axion().arg("run").arg(script.path()).env("TMPDIR", private.path()));
        let mut seen = Vec::new();
        let mut status = None;
        until("the program ends", || {
            let children = running.children();
            children.iter().for_each(|pid| kill(*pid, Signal::TERM));
            seen.extend(children);
            // Only when it has children does it listen: before, a signal ends it as any program.
            if !seen.is_empty() {
                running.signal(Signal::TERM);
            }
            status = running.0.try_wait().expect("waited for");
            status.is_some()
        });
        assert_eq!(status.expect("ended").code(), Some(143));
        until("nothing is left", || seen.iter().all(|pid| !lives(*pid)));
        until("the folder is gone", || std::fs::read_dir(private.path()).expect("listed").count() == 0);
    }
}

#[test]
fn a_worker_that_somebody_asks_to_end_goes_on() {
    let (mut running, worker) = started(&mut axion(), &Script::new(COOPERATES));
    kill(worker, Signal::TERM);
    kill(worker, Signal::HUP);
    running.signal(Signal::INT);
    let (code, out) = running.ends();
    assert_eq!((code, out.trim()), (Some(130), "\"tidied up\""));
}

#[test]
fn under_nohup_a_hangup_stays_ignored() {
    let (program, script) = (axion(), Script::new(COOPERATES));
    let mut command = Command::new("nohup");
    command.stdin(std::process::Stdio::null()).arg(program.get_program());
    let (mut running, worker) = started(&mut command, &script);
    kill(worker, Signal::HUP);
    running.signal(Signal::HUP);
    running.signal(Signal::TERM);
    let (code, out) = running.ends();
    assert_eq!((code, out.trim()), (Some(143), "\"tidied up\""));
}

#[test]
fn with_setsid_it_runs_without_a_terminal() {
    let (program, script) = (axion(), Script::new("def main(params, context): return 1\n"));
    let mut command = Command::new("setsid");
    let ran = run(command.arg("--wait").arg(program.get_program()).arg("run").arg(script.path()));
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "1\n"), "{}", ran.err);
}

/// Leaves three orphans behind that nobody but process 1 can reap, and says how many zombies there are.
const ORPHANS: &str = "\
import os, time
def main(params, context):
    for _ in range(3):
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                os.execve('/bin/true', ['true'], {})
            os._exit(0)
        os.waitpid(child, 0)
    def zombies():
        states = [open('/proc/%s/stat' % pid).read() for pid in os.listdir('/proc') if pid.isdigit()]
        return sum(') Z ' in state for state in states)
    for _ in range(1000):
        if len([pid for pid in os.listdir('/proc') if pid.isdigit()]) <= params['all'] and not zombies():
            return 'reaped'
        time.sleep(0.01)
    return zombies()
";

/// The program as process 1 of a PID namespace; `None`, said loudly, where none can be made.
fn as_process_1() -> Option<Command> {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    let made = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("SKIPPED: this system makes no PID namespace");
        return None;
    }
    let program = axion();
    command.stdin(std::process::Stdio::null()).arg(program.get_program());
    Some(command)
}

#[test]
fn as_process_1_it_reaps_orphans() {
    let Some(mut command) = as_process_1() else { return };
    let script = Script::new(ORPHANS);
    // The program twice, the guardian, the worker.
    let ran = run(command.arg("run").arg(script.path()).args(["-p", "all=4"]));
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "\"reaped\"\n"), "{}", ran.err);
}

#[test]
fn as_process_1_it_passes_signals_on_and_ends_with_the_programs_code() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let Some(mut command) = as_process_1() else { return };
        let script = Script::new(TIDIES);
        let mut running = Running::start(command.arg("run").arg(script.path()));
        assert_eq!(running.pids().len(), 1);
        let init = running.children()[0];
        kill(init, signal);
        let (found, err) = ended(&mut running);
        assert_eq!(found, Some(code), "{err}");
        assert!(err.contains("tidied"), "{err}");
    }
}

#[test]
fn l7_as_process_1_a_killed_program_leaves_no_file() {
    let Some(mut command) = as_process_1() else { return };
    let private = tempfile::tempdir().expect("a folder");
    let script = Script::new(COOPERATES);
    let mut running = Running::start(command.arg("run").arg(script.path()).env("TMPDIR", private.path()));
    running.pids();
    let program = children_of(running.children()[0])[0];
    kill(program, Signal::KILL);
    assert_eq!(ended(&mut running).0, Some(137));
    assert_eq!(std::fs::read_dir(private.path()).expect("listed").count(), 0);
}

#[test]
fn l7_a_stopped_program_that_is_killed_leaves_nothing() {
    let (mut running, worker) = started(axion().process_group(0), &Script::new(COOPERATES));
    running.signal(Signal::STOP);
    until("it has stopped", || state(running.pid()) == Some('T'));
    running.0.kill().expect("killed");
    running.0.wait().expect("reaped");
    until("the worker is gone", || !lives(worker));
}
