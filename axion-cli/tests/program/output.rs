//! Readers of the program's output that do not read, or cannot.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::OFlags;
use rustix::process::Signal;

use crate::support::{Running, Script, axion, lives, run, until};

/// Logs much more than a pipe or a terminal holds, says who it is, and goes on for ever.
const FLOOD: &str = "import os, time
def main(params, context):
    for number in range(100):
        context.log('%d %s' % (number, 'x' * 3000))
    with open(params['pid'] + '.new', 'w') as file:
        file.write(str(os.getpid()))
    os.rename(params['pid'] + '.new', params['pid'])
    time.sleep(1000)";

const LARGE_RESULT: &str = "def main(params, context):\n    return 'x' * (2 << 20)";

fn flood(script: &Script) -> (Command, impl Fn() -> Option<i32> + use<>) {
    let place = script.folder().join("pid");
    let mut command = axion();
    command.args(["run", "--timeout", "2s", "--params"]).arg(format!("{{\"pid\": {:?}}}", place.display().to_string()));
    command.arg(script.path()).stdout(Stdio::piped());
    (command, move || std::fs::read_to_string(&place).ok()?.parse().ok())
}

/// Waits until the task runs and its time limit has ended it.
fn await_kill(pid: impl Fn() -> Option<i32>) {
    let mut task = None;
    until("the task runs", || {
        task = pid();
        task.is_some()
    });
    until("the task is killed at its limit", || task.is_none_or(|pid| !lives(pid)));
}

/// Every line of the flood arrives, or is counted.
fn all_told(err: &str) {
    let came = (0..100).filter(|number| err.contains(&format!("{number} xxx"))).count();
    let counts = err.lines().filter_map(|line| {
        line.trim_end()
            .strip_prefix("warning: output truncated: ")?
            .strip_suffix(" lines dropped")?
            .parse::<usize>()
            .ok()
    });
    assert_eq!(came + counts.sum::<usize>(), 100, "{}", err.len());
    assert!(err.contains("the task timed out"), "{}", &err[err.len().saturating_sub(1000)..]);
}

#[test]
fn l11_a_time_limit_holds_while_nobody_reads_standard_error() {
    let script = Script::new(FLOOD);
    let (mut command, pid) = flood(&script);
    let mut program = Running(command.stderr(Stdio::piped()).spawn().expect("the program starts"));
    await_kill(pid);
    let mut err = String::new();
    program.0.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
    all_told(&err);
    assert_eq!(program.ends().0, Some(124));
}

#[test]
fn l11_a_time_limit_holds_while_the_terminal_is_stopped() {
    let script = Script::new(FLOOD);
    let (mut command, pid) = flood(&script);
    let (mut terminal, end) = terminal();
    terminal.write_all(b"\x13").expect("^S");
    let mut program = Running(command.env("TERM", "dumb").stderr(end).spawn().expect("the program starts"));
    drop(command);
    await_kill(pid);
    terminal.write_all(b"\x11").expect("^Q");
    let mut err = Vec::new();
    // The terminal ends with an error when its last user is gone.
    let _ = terminal.read_to_end(&mut err);
    all_told(&String::from_utf8_lossy(&err));
    assert_eq!(program.ends().0, Some(124));
}

/// A pseudo-terminal: the user's side, and the program's.
fn terminal() -> (File, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&user).expect("granted");
    unlockpt(&user).expect("unlocked");
    let name = ptsname(&user, Vec::new()).expect("a name").into_string().expect("text");
    let program = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, rustix::fs::Mode::empty());
    (File::from(user), program.expect("opened"))
}

#[test]
fn a_result_waits_for_its_reader_and_a_signal_ends_the_wait() {
    let script = Script::new(LARGE_RESULT);
    let mut program = Running::start(axion().arg("run").arg(script.path()));
    let mut first = [0; 1];
    program.0.stdout.as_mut().expect("piped").read_exact(&mut first).expect("the result has begun");
    program.signal(Signal::TERM);
    assert_eq!(program.ends().0, Some(143));
}

fn non_blocking_pipe() -> (PipeReader, OwnedFd) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    rustix::fs::fcntl_setfl(&writer, OFlags::WRONLY | OFlags::NONBLOCK).expect("set");
    (reader, writer.into())
}

#[test]
fn a_pipe_that_does_not_block_gets_the_whole_result_and_all_prints() {
    let script = Script::new(
        "import sys\ndef main(params, context):\n    print('p' * 300_000, flush=True)\n    return 'x' * (2 << 20)",
    );
    let ((mut out, out_end), (mut err, err_end)) = (non_blocking_pipe(), non_blocking_pipe());
    let mut program = axion();
    program.arg("run").arg(script.path()).stdout(out_end).stderr(err_end);
    let mut running = Running(program.spawn().expect("the program starts"));
    drop(program);
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).expect("text");
        text
    });
    let mut result = String::new();
    out.read_to_string(&mut result).expect("text");
    assert_eq!(result.len(), (2 << 20) + "\"\"\n".len());
    let printed = errors.join().expect("joined").bytes().filter(|byte| *byte == b'p').count();
    assert_eq!((printed, running.0.wait().expect("waited for").code()), (300_000, Some(0)));
}

#[test]
fn a_result_that_cannot_be_written_is_an_error_and_lost_messages_are_not() {
    let script = Script::new("def main(params, context):\n    print('hello')\n    return 7");
    let full = || OpenOptions::new().write(true).open("/dev/full").expect("opened");
    let no_result = axion().arg("run").arg(script.path()).stdout(full()).stderr(Stdio::piped()).output();
    let no_result = no_result.expect("runs");
    let err = String::from_utf8(no_result.stderr).expect("text");
    assert_eq!(no_result.status.code(), Some(3), "{err}");
    assert!(err.contains("error: cannot write the result: No space left on device"), "{err}");

    let no_messages = axion().arg("run").arg(script.path()).stdout(Stdio::piped()).stderr(full()).output();
    let no_messages = no_messages.expect("runs");
    assert_eq!((no_messages.status.code(), &no_messages.stdout[..]), (Some(0), &b"7\n"[..]));
}

#[test]
fn a_closed_stream_is_as_the_null_device() {
    let script = Script::new("def main(params, context):\n    print('hello')\n    return 7");
    let with = |redirection: &str, path: &Path| {
        let program = axion();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("exec \"$0\" run \"$1\" {redirection}")).arg(program.get_program()).arg(path);
        let ran = run(shell.env("PATH", std::env::var_os("PATH").unwrap_or_default()));
        (ran.code, ran.out, ran.err)
    };
    assert_eq!(with("2>&-", &script.path()), (Some(0), "7\n".to_owned(), String::new()));
    assert_eq!(with(">&-", &script.path()), (Some(0), String::new(), "hello\n".to_owned()));
    assert_eq!(with("<&- >&- 2>&-", &script.path()), (Some(0), String::new(), String::new()));
}
