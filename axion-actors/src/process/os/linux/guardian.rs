//! The guardian: a small process that ends the workers when the engine dies by force (L7).
//!
//! A worker ends itself when its control socket closes. It cannot do so while a C call holds the interpreter lock, and
//! its subprocesses do not have the socket. So each engine has a guardian: a shell that reads the process group of every
//! worker from a pipe. When the pipe ends, even by `kill -9` of the engine, it kills the remaining groups and removes the
//! private folder. It has a process group of its own, so Ctrl-C at a terminal does not reach it. Where there is no shell,
//! or not all of the programs that its script uses, the interpreter of the workers is the guardian: it does the same, but
//! takes 20 ms to start instead of 1 ms, and ten times the memory.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use super::descendants::MARK;
use super::files::is_executable;
use super::forks::{self, PrivateFd};
use super::pipe::write_now;
use super::signals::{self, Exit};
use super::worker_group::move_to;
use crate::process::Containment;

/// The guardian could not be started or informed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} the guardian process that ends orphaned workers ({program}): {source}")]
pub struct GuardianError {
    what: &'static str,
    program: String,
    source: io::Error,
}

/// What the guardian does, for a shell and for Python.
const SHELL_SCRIPT: &str = include_str!("guardian/guardian.sh");
const PYTHON_SCRIPT: &str = include_str!("guardian/guardian.py");
const SHELL: &str = "/bin/sh";
/// The programs that the shell script uses.
const TOOLS: [&str; 4] = ["grep", "rm", "rmdir", "sleep"];

/// How long the end of the engine waits for one of its processes.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The guardian of one engine. Dropping it ends it, after the groups it still knows.
#[derive(Debug)]
pub struct Guardian {
    duty: Duty,
    state: Mutex<GuardianProcess>,
}

/// What a guardian runs as, and what it has to end.
#[derive(Clone, Debug)]
pub(crate) struct Duty {
    /// The shell, if it may be used.
    shell: Option<PathBuf>,
    /// Runs the guardian where there is no shell.
    python: PathBuf,
    folder: PathBuf,
    control_group: Option<PathBuf>,
    /// Where it runs, if not in the control group of this process.
    outside: Option<PathBuf>,
}

#[derive(Debug)]
struct GuardianProcess {
    process: Child,
    pipe: Option<PrivateFd>,
    groups: BTreeSet<i32>,
    /// The groups that stay stopped until the engine has decided whether to kill them (L6).
    held: BTreeSet<i32>,
    /// The engine has ended: a process that starts now is killed.
    ended: bool,
}

impl Guardian {
    /// Starts the guardian. At the end it will remove `folder`, and kill what is in the control group of `containment`.
    /// `python` is the interpreter that it is where there is no shell.
    ///
    /// # Errors
    /// If no process can be made.
    pub fn start(folder: &Path, containment: &Containment, python: &Path) -> Result<Self, GuardianError> {
        Self::with(Duty {
            shell: shell(),
            python: python.to_owned(),
            folder: folder.to_owned(),
            control_group: containment.control_group().map(Path::to_owned),
            outside: containment.outside().map(Path::to_owned),
        })
    }

    fn with(duty: Duty) -> Result<Self, GuardianError> {
        let groups = BTreeSet::new();
        let (process, pipe) = duty.spawn(&groups)?;
        let state = GuardianProcess { process, pipe: Some(pipe), groups, held: BTreeSet::new(), ended: false };
        Ok(Self { duty, state: Mutex::new(state) })
    }

    /// Puts a process group under its guard.
    ///
    /// # Errors
    /// If the guardian is gone and cannot be started again, or the engine has ended ([`end_all`](Self::end_all)).
    pub(crate) fn guard(&self, group: Pid) -> Result<(), GuardianError> {
        let mut state = self.lock();
        if state.ended {
            return Err(self.duty.failed("tell")(io::Error::other("the engine has ended")));
        }
        let group = group.as_raw_pid();
        state.groups.insert(group);
        if state.say('+', group).is_err() {
            return self.restart(&mut state);
        }
        Ok(())
    }

    /// Takes a process group out, before its number can be used again.
    pub(crate) fn forget(&self, group: Pid) {
        let mut state = self.lock();
        let group = group.as_raw_pid();
        state.groups.remove(&group);
        state.held.remove(&group);
        if state.say('-', group).is_err()
            && let Err(error) = self.restart(&mut state)
        {
            tracing::error!(%error, "workers would outlive a killed engine");
        }
    }

    /// Stops a group. It stays stopped, also in [`continue_all`](Self::continue_all), until it is
    /// [continued](Self::continue_group) or killed.
    pub(crate) fn hold(&self, group: Pid) {
        self.lock().held.insert(group.as_raw_pid());
        signals::stop_group(group);
    }

    /// Lets a held group go on.
    pub(crate) fn continue_group(&self, group: Pid) {
        self.lock().held.remove(&group.as_raw_pid());
        signals::continue_group(group);
    }

    /// Stops all groups, as a shell stops a job.
    pub fn stop_all(&self) {
        // Under the lock, so that no group is reaped meanwhile and its number used again (L6).
        let state = self.lock();
        state.groups.iter().copied().filter_map(Pid::from_raw).for_each(signals::stop_group);
    }

    /// Lets all groups go on that are not held.
    pub fn continue_all(&self) {
        let state = self.lock();
        state.groups.difference(&state.held).copied().filter_map(Pid::from_raw).for_each(signals::continue_group);
    }

    /// Kills and reaps all guarded processes. An engine that fails calls this, since its actors no longer reap the workers.
    /// A start that is still under way fails.
    pub fn end_all(&self) {
        let groups = {
            let mut state = self.lock();
            state.ended = true;
            std::mem::take(&mut state.groups)
        };
        for group in groups.into_iter().filter_map(Pid::from_raw) {
            signals::kill_group(group);
            self.forget(group);
            // A process in an uninterruptible system call is left to the kernel: it must not delay the engine's end.
            if signals::wait_ended(group, LAST_WAIT) {
                let _ = signals::reap(group);
            }
        }
    }

    /// Restarts the guardian each time it is killed. Returns only on an error.
    ///
    /// # Errors
    /// If the system cannot watch it or start it again.
    pub async fn watch(&self) -> Result<(), GuardianError> {
        loop {
            let failed = self.duty.failed("watch");
            let exit = Exit::of(Pid::from_child(&self.lock().process)).map_err(&failed)?;
            exit.wait().await.map_err(&failed)?;
            tracing::warn!("the guardian process was killed; starting another");
            self.restart(&mut self.lock())?;
        }
    }

    /// The guardian's process id, for tests that kill it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.lock().process.id()
    }

    fn restart(&self, state: &mut GuardianProcess) -> Result<(), GuardianError> {
        // A guardian that is stopped or stuck does not end by itself.
        let _ = state.process.kill();
        let _ = state.process.wait();
        // The new guardian gets the groups as arguments, so it knows them from its start.
        let (process, pipe) = self.duty.spawn(&state.groups)?;
        (state.process, state.pipe) = (process, Some(pipe));
        Ok(())
    }

    /// The state is whole after every step, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, GuardianProcess> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GuardianProcess {
    fn say(&mut self, what: char, group: i32) -> io::Result<()> {
        let Some(pipe) = &self.pipe else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        // The pipe does not block: one line is far below what it takes at once.
        write_now(pipe.as_fd(), format!("{what} {group}\n").as_bytes()).map(|_| ())
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        let mut state = self.lock();
        state.pipe = None;
        let process = Pid::from_child(&state.process);
        let in_time = signals::wait_ended(process, LAST_WAIT);
        if !in_time {
            tracing::warn!("the guardian does not end by itself; killing it");
            // The group includes its `grep`, which takes long on a busy machine.
            signals::kill_group(process);
        }
        let _ = state.process.wait();
        // The guardian's last step. The groups have been killed before.
        if !in_time && let Err(error) = std::fs::remove_dir_all(&self.duty.folder) {
            tracing::debug!(folder = %self.duty.folder.display(), %error, "the folder is not removed, or was before");
        }
    }
}

impl Duty {
    fn spawn(&self, groups: &BTreeSet<i32>) -> Result<(Child, PrivateFd), GuardianError> {
        // Our end is ours alone: a forked copy of this process that kept it would hold back the guardian (L7).
        let ([pipe], theirs) = forks::private(|| {
            let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            rustix::fs::fcntl_setfl(&ours, OFlags::WRONLY | OFlags::NONBLOCK)?;
            Ok(([ours], theirs))
        })
        .map_err(self.failed("start"))?;
        let mut command = self.command();
        command
            .arg(&self.folder)
            .arg(self.control_group.as_deref().unwrap_or(Path::new("")))
            .args(groups.iter().map(i32::to_string))
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An engine inside a task: its guardian outlives the kill of the task, to clean up after it.
            .env_remove(MARK)
            .process_group(0);
        let process = command.spawn().map_err(self.failed("start"))?;
        if let Some(outside) = &self.outside {
            move_to(outside, Pid::from_child(&process));
        }
        Ok((process, pipe))
    }

    fn command(&self) -> Command {
        match &self.shell {
            Some(shell) => {
                let mut command = Command::new(shell);
                command.args(["-c", SHELL_SCRIPT, "axion-guardian"]);
                command
            }
            None => {
                let mut command = Command::new(&self.python);
                // Isolated and without `site`: nothing of the user's runs in it.
                command.args(["-I", "-S", "-c", PYTHON_SCRIPT]);
                command
            }
        }
    }

    fn failed(&self, what: &'static str) -> impl Fn(io::Error) -> GuardianError {
        let program = self.shell.as_ref().unwrap_or(&self.python).display().to_string();
        move |source| GuardianError { what, program: program.clone(), source }
    }
}

/// The shell, if the system has it and the programs that the guardian's script uses.
fn shell() -> Option<PathBuf> {
    let shell = Path::new(SHELL);
    let path = std::env::var_os("PATH")?;
    let has = |tool: &str| std::env::split_paths(&path).any(|folder| is_executable(&folder.join(tool)));
    (is_executable(shell) && TOOLS.into_iter().all(has)).then(|| shell.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process group that lives until it is killed.
    fn sleeper() -> Child {
        Command::new("sleep").arg("1000").process_group(0).spawn().expect("sleep starts")
    }

    fn start(folder: &Path) -> Guardian {
        Guardian::start(folder, &Containment::marks(), Path::new("python3")).expect("started")
    }

    fn group(child: &Child) -> Pid {
        Pid::from_child(child)
    }

    #[test]
    fn l7_when_the_pipe_ends_the_guarded_groups_die_and_the_forgotten_ones_do_not() {
        guards(shell());
    }

    #[test]
    fn l7_without_a_shell_the_interpreter_is_the_guardian() {
        guards(None);
    }

    fn guards(shell: Option<PathBuf>) {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = format!("0123{:020x}", std::process::id());
        let private = folder.path().join(format!("axion-{mark}"));
        std::fs::create_dir(&private).expect("made");
        let python = PathBuf::from("python3");
        let guardian =
            Guardian::with(Duty { shell, python, folder: private.clone(), control_group: None, outside: None })
                .expect("started");
        let escaped = |mark: &str| {
            let mut command = Command::new("sleep");
            command.arg("1000").env(MARK, mark).spawn().expect("sleep starts")
        };
        let mut escaped = [
            escaped(&format!("{mark}:cpu-0:0")),
            escaped(&format!("inner:cpu-0:0 {mark}:cpu-0:0")),
            escaped(&format!("x{mark}:cpu-0:0")),
        ];
        let mut children = [sleeper(), sleeper(), sleeper()];
        for child in &children {
            guardian.guard(group(child)).expect("told");
        }
        guardian.forget(group(&children[1]));
        drop(guardian);
        for guarded in [0, 2] {
            let status = children[guarded].wait().expect("reaped");
            assert!(!status.success(), "{status}");
        }
        assert!(children[1].try_wait().expect("asked").is_none(), "forgotten, so it lives");
        for marked in [0, 1] {
            assert!(!escaped[marked].wait().expect("reaped").success());
        }
        assert!(escaped[2].try_wait().expect("asked").is_none(), "another engine's");
        assert!(!private.exists());
        for left in [&mut children[1], &mut escaped[2]] {
            left.kill().expect("killed");
            left.wait().expect("reaped");
        }
    }

    fn is_stopped(child: &Child) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("a process");
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    }

    #[test]
    fn l6_a_group_that_waits_for_its_kill_does_not_go_on_with_the_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let guardian = start(folder.path());
        let mut children = [sleeper(), sleeper()];
        for child in &children {
            guardian.guard(group(child)).expect("told");
        }
        guardian.hold(group(&children[0]));
        guardian.stop_all();
        children.iter().for_each(|child| signals::wait_stopped(group(child)));
        // A continued process is no longer stopped when the call returns.
        guardian.continue_all();
        assert_eq!([is_stopped(&children[0]), is_stopped(&children[1])], [true, false]);
        guardian.continue_group(group(&children[0]));
        assert!(!is_stopped(&children[0]));
        drop(guardian);
        for child in &mut children {
            child.wait().expect("reaped");
        }
    }

    #[test]
    fn l7_a_killed_guardian_is_replaced_and_knows_the_old_groups() {
        let folder = tempfile::tempdir().expect("a folder");
        let guardian = start(folder.path());
        let mut children = [sleeper(), sleeper()];
        guardian.guard(group(&children[0])).expect("told");
        {
            let mut state = guardian.lock();
            state.process.kill().expect("killed");
            state.process.wait().expect("reaped");
        }
        guardian.guard(group(&children[1])).expect("told the next one");
        drop(guardian);
        for child in &mut children {
            assert!(!child.wait().expect("reaped").success());
        }
    }

    #[test]
    fn l7_what_is_started_when_the_engine_has_ended_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let guardian = start(folder.path());
        guardian.end_all();
        let mut child = sleeper();
        let error = guardian.guard(group(&child)).expect_err("refused");
        assert!(error.to_string().contains("the engine has ended"), "{error}");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    #[test]
    fn a_guardian_that_somebody_stopped_does_not_hold_up_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let guardian = start(folder.path());
        let pid = Pid::from_child(&guardian.lock().process);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stopped");
        drop(guardian);
        assert!(rustix::process::test_kill_process(pid).is_err(), "it is gone and reaped");
    }

    #[test]
    fn l7_a_guardian_that_does_not_end_in_time_leaves_neither_processes_nor_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let private = folder.path().join("private");
        std::fs::create_dir(&private).expect("made");
        let guardian = start(&private);
        // What it has started is in its group.
        let leader = Pid::from_child(&guardian.lock().process);
        let mut started = Command::new("sleep").arg("1000").process_group(leader.as_raw_pid()).spawn().expect("sleep");
        rustix::process::kill_process(leader, rustix::process::Signal::STOP).expect("stopped");
        drop(guardian);
        assert!(!private.exists());
        assert!(!started.wait().expect("reaped").success());
    }
}
