//! The program at a terminal, under a shell with job control.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use rustix::pty::OpenptFlags;

use crate::support::{LIMIT, Script, axion, children_of, kill, lives, state, until};

const CTRL_C: &[u8] = b"\x03";
const CTRL_S: &[u8] = b"\x13";
const CTRL_Z: &[u8] = b"\x1a";

/// An interactive shell at a pseudo-terminal.
struct Terminal {
    master: File,
    shell: Child,
    shown: String,
    scripts: Vec<Script>,
}

impl Terminal {
    fn open() -> Self {
        let master =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
        rustix::pty::grantpt(&master).expect("granted");
        rustix::pty::unlockpt(&master).expect("unlocked");
        let name = rustix::pty::ptsname(&master, Vec::new()).expect("a name").into_string().expect("text");
        let side = || -> Stdio {
            let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
            let fd: OwnedFd = rustix::fs::open(&*name, flags, rustix::fs::Mode::empty()).expect("opened");
            fd.into()
        };
        let shell = Command::new("setsid")
            .args(["--ctty", "sh", "-i"])
            .env("PS1", "")
            .env("ENV", "")
            .env_remove("NO_COLOR")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("a shell");
        Self { master: File::from(master), shell, shown: String::new(), scripts: Vec::new() }
    }

    fn type_in(&mut self, keys: &[u8]) {
        self.master.write_all(keys).expect("typed");
    }

    /// Runs a command. Its exit code will be shown as `code=N.`.
    fn run(&mut self, script: &str) {
        let script = Script::new(script);
        let program = axion().get_program().to_string_lossy().into_owned();
        self.type_in(format!("'{program}' run '{}'; echo code=$?.\n", script.path().display()).as_bytes());
        self.scripts.push(script);
    }

    /// Reads what is shown until a text comes; returns what stood before it.
    fn wait_for(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.shown.find(text) {
                let before = self.shown[..at].to_owned();
                self.shown.drain(..at + text.len());
                return before;
            }
            assert!(begun.elapsed() < LIMIT, "{text:?} does not come: {:?}", self.shown);
            let mut watched = [PollFd::new(&self.master, PollFlags::IN)];
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            if rustix::event::poll(&mut watched, Some(&second)).expect("polled") == 1 {
                let mut bytes = [0; 4096];
                let count = self.master.read(&mut bytes).expect("the shell lives");
                self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        }
    }

    /// The pid that the task shows as `worker N.`.
    fn worker(&mut self) -> i32 {
        self.wait_for("worker ");
        self.wait_for(".").parse().expect("a pid")
    }

    fn code(&mut self) -> String {
        // The terminal also shows the command as it was typed.
        loop {
            self.wait_for("code=");
            let code = self.wait_for(".");
            if code != "$?" {
                return code;
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The terminal closes: the shell and its jobs get SIGHUP.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

const COOPERATES: &str = "\
import os, time
def main(params, context):
    print('worker %d.' % os.getpid(), flush=True)
    while not context.cancelled:
        time.sleep(0.01)
    return 'tidied up'
";

#[test]
fn ctrl_c_lets_the_task_tidy_up() {
    let mut terminal = Terminal::open();
    terminal.run(COOPERATES);
    let worker = terminal.worker();
    terminal.type_in(CTRL_C);
    terminal.wait_for("tidied up");
    assert_eq!(terminal.code(), "130");
    until("the worker is gone", || !lives(worker));
}

#[test]
fn ctrl_z_stops_the_workers_and_they_go_on_with_the_program() {
    let mut terminal = Terminal::open();
    terminal.run(COOPERATES);
    let worker = terminal.worker();
    for _ in 0..2 {
        terminal.type_in(CTRL_Z);
        until("the worker has stopped", || state(worker) == Some('T'));
        terminal.wait_for("Stopped");
        terminal.type_in(b"fg; echo code=$?.\n");
        until("the worker goes on", || state(worker).is_some_and(|state| state != 'T'));
    }
    terminal.type_in(CTRL_C);
    assert_eq!(terminal.code(), "130");
    until("the worker is gone", || !lives(worker));
}

#[test]
fn l7_a_closed_terminal_ends_a_stopped_program_and_its_workers() {
    let mut terminal = Terminal::open();
    terminal.run(COOPERATES);
    let worker = terminal.worker();
    terminal.type_in(CTRL_Z);
    terminal.wait_for("Stopped");
    let program = children_of(i32::try_from(terminal.shell.id()).expect("a pid"));
    drop(terminal);
    // Nobody can continue it any more: the system sends SIGHUP and SIGCONT.
    until("all are gone", || !lives(worker) && program.iter().all(|pid| !lives(*pid)));
}

/// Asks for a password, by each way there is.
const ASKS: &str = "\
import getpass, os, subprocess
def main(params, context):
    print('worker %d.' % os.getpid(), flush=True)
    found = []
    for ask in (getpass.getpass, input, lambda: open('/dev/tty')):
        try:
            ask()
        except (EOFError, OSError) as error:
            found.append(type(error).__name__)
    found.append(subprocess.run(['stty'], stderr=subprocess.DEVNULL).returncode)
    found.append(subprocess.run(['sh', '-c', 'exec 2>/dev/null; read answer </dev/tty']).returncode != 0)
    print('found %s %s %s %s %s.' % tuple(found))
";

#[test]
fn l1_a_task_that_asks_on_the_terminal_gets_an_error_at_once() {
    let mut terminal = Terminal::open();
    terminal.run(ASKS);
    terminal.worker();
    terminal.wait_for("found ");
    assert_eq!(terminal.wait_for("."), "EOFError EOFError OSError 1 True");
    assert_eq!(terminal.code(), "0");
}

#[test]
fn l1_a_halted_screen_does_not_keep_the_program_from_its_end() {
    let mut terminal = Terminal::open();
    let floods = "\
import os
def main(params, context):
    print('worker %d.' % os.getpid(), flush=True)
    while True:
        print('x' * 999)
";
    terminal.run(floods);
    let worker = terminal.worker();
    terminal.type_in(CTRL_S);
    let program = {
        let shell = i32::try_from(terminal.shell.id()).expect("a pid");
        until("the shell has its job", || children_of(shell).len() == 1);
        children_of(shell)[0]
    };
    until("all are gone", || {
        kill(program, Signal::TERM);
        !lives(worker) && !lives(program)
    });
}
