//! Starts a child process with its pipes.

use std::ffi::OsStr;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use super::descendants::{MARK, nested};
use super::forks::{self, PrivateFd};
use super::kill_pipe::{self, KillPipe};
use super::pipe::{Pipe, set_non_blocking};
use super::shared::{PayloadSocket, payload_sockets};
use super::signals::{self, Exit};
use super::status_page::StatusPage;
use crate::config::WorkerConfig;
use crate::process::Inherited;
use crate::process::os::{SpawnError, setup};

/// Results wait here while the engine is busy elsewhere.
const PIPE_SIZE: usize = 256 << 10;

/// A started process and the engine's ends of its pipes. The process has none of their open file descriptions, so
/// it cannot change how the engine's reads and writes behave (L8).
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    data_in: PrivateFd,
    data_out: PrivateFd,
    raw_out: PrivateFd,
    raw_err: PrivateFd,
    control: PrivateFd,
    stacks: PrivateFd,
    payloads: PrivateFd,
    kill_pipe: KillPipe,
    pub(crate) page: StatusPage,
}

/// The same, known to the runtime of the thread that reads and writes. The engine writes to `data_in` and `control_in`.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) exit: Exit,
    pub(crate) data_in: Pipe,
    pub(crate) data_out: Pipe,
    pub(crate) raw_out: Pipe,
    pub(crate) raw_err: Pipe,
    pub(crate) control_in: Pipe,
    pub(crate) control_out: Pipe,
    pub(crate) stacks: Pipe,
    pub(crate) payloads: PayloadSocket,
    pub(crate) kill_pipe: KillPipe,
    pub(crate) page: StatusPage,
}

impl Process {
    /// Watches its end and its pipes on the runtime of this thread.
    ///
    /// # Errors
    /// If the system has no more descriptors. The process lives on.
    pub(crate) fn connect(self) -> Result<Connection, SpawnError> {
        let control_in = Pipe::new(self.control)?;
        Ok(Connection {
            exit: Exit::of(self.pid).map_err(setup("watching a process"))?,
            data_in: Pipe::new(self.data_in)?,
            data_out: Pipe::new(self.data_out)?,
            raw_out: Pipe::new(self.raw_out)?,
            raw_err: Pipe::new(self.raw_err)?,
            control_out: control_in.duplicate()?,
            control_in,
            stacks: Pipe::new(self.stacks)?,
            payloads: PayloadSocket::new(self.payloads),
            kill_pipe: self.kill_pipe,
            page: self.page,
        })
    }
}

/// What to start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a> {
    pub(crate) path: &'a Path,
    pub(crate) arguments: &'a [&'a OsStr],
    /// Marks the process and its descendants.
    pub(crate) mark: &'a str,
    pub(crate) settings: &'a WorkerConfig,
    pub(crate) inherited: &'a Inherited,
    /// Variables that stand for arguments.
    pub(crate) flags: &'a [&'static str],
}

/// Starts a program as the leader of its own process group, with its pipes.
///
/// There is no hook between fork and exec, so that the standard library can use `posix_spawn`: fd 0
/// is one end of the control socket, and the other pipes travel over it.
pub(crate) fn spawn(program: Program<'_>) -> Result<Process, SpawnError> {
    let settings = program.settings;
    let ([data_in, data_out, raw_out, raw_err, control, stacks, payloads], theirs) = forks::private(pipes)?;
    let [
        data_in_theirs,
        data_out_theirs,
        raw_out_theirs,
        raw_err_theirs,
        control_theirs,
        stacks_theirs,
        payloads_theirs,
    ] = theirs;
    let (kill_pipe, kill_pipe_theirs) = kill_pipe::kill_pipe().map_err(setup("the pipe whose end kills it"))?;
    let page = StatusPage::new().map_err(setup("the status page"))?;
    for ours in [&data_in, &data_out, &raw_out, &raw_err, &control, &stacks] {
        set_non_blocking(ours.as_fd()).map_err(setup("a pipe"))?;
    }
    for data in [&data_in, &data_out] {
        // An optimisation. At the system's limit for pipe buffers, the pipes stay small.
        let _ = rustix::pipe::fcntl_setpipe_size(data, PIPE_SIZE);
    }
    // A worker with one slot empties its capture pipes itself. It reads them by descriptions of its own.
    let [raw_out_reader, raw_err_reader] = [reopened(&raw_out)?, reopened(&raw_err)?];
    let travelling = [
        data_in_theirs.as_fd(),
        data_out_theirs.as_fd(),
        page.as_fd(),
        raw_out_reader.as_fd(),
        raw_err_reader.as_fd(),
        stacks_theirs.as_fd(),
        payloads_theirs.as_fd(),
        kill_pipe_theirs.as_fd(),
    ];
    send_fds(control.as_fd(), &travelling).map_err(setup("the control socket"))?;

    let mut command = Command::new(program.path);
    program.inherited.prepare(&mut command, settings, program.flags);
    command
        .args(program.arguments)
        .env(MARK, nested(program.mark, program.inherited.variable(MARK)))
        .stdin(Stdio::from(control_theirs))
        .stdout(Stdio::from(raw_out_theirs))
        .stderr(Stdio::from(raw_err_theirs))
        .process_group(0);
    let child = signals::with_ending_signals_blocked(|| command.spawn())
        .map_err(|source| SpawnError::Execute { program: program.path.display().to_string(), source })?;
    let pid = Pid::from_child(&child);
    if let Err(error) = kill_pipe::arm(&kill_pipe_theirs, pid) {
        tracing::debug!(%error, "the process ended at once, or the system does not send signals for pipes");
    }
    if settings.nice != 0
        && let Err(error) = add_nice(pid, settings.nice)
    {
        signals::kill_group(pid);
        let _ = signals::reap(pid);
        return Err(setup("the nice value (setting `nice`)")(error));
    }
    Ok(Process { pid, data_in, data_out, raw_out, raw_err, control, stacks, payloads, kill_pipe, page })
}

/// Adds to the nice value that a process inherits. The system clamps it to its range.
fn add_nice(pid: Pid, more: i32) -> rustix::io::Result<()> {
    let own = rustix::process::getpriority_process(Some(pid))?;
    rustix::process::setpriority_process(Some(pid), own.saturating_add(more))
}

/// The engine's ends of the pipes, then the child's: tasks, results, fd 1, fd 2, control, stacks, payloads.
fn pipes() -> Result<([OwnedFd; 7], [OwnedFd; 7]), SpawnError> {
    let (data_in_theirs, data_in) = pipe("the task pipe")?;
    let (data_out, data_out_theirs) = pipe("the result pipe")?;
    let (raw_out, raw_out_theirs) = pipe("the pipe for standard output")?;
    let (raw_err, raw_err_theirs) = pipe("the pipe for standard error")?;
    let (control, control_theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(setup("the control socket"))?;
    // The writer may hold the interpreter lock, so its end must not block either.
    let (stacks, stacks_theirs) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(setup("the pipe for stacks"))?;
    let (payloads, payloads_theirs) = payload_sockets().map_err(setup("the socket for payloads"))?;
    let ours = [data_in, data_out, raw_out, raw_err, control, stacks, payloads];
    let theirs = [
        data_in_theirs,
        data_out_theirs,
        raw_out_theirs,
        raw_err_theirs,
        control_theirs,
        stacks_theirs,
        payloads_theirs,
    ];
    Ok((ours, theirs))
}

fn pipe(what: &'static str) -> Result<(OwnedFd, OwnedFd), SpawnError> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(setup(what))
}

/// Opens the reading end of a pipe again: the result is another open file description, with flags of its own. A
/// duplicate, or a copy that travels over a socket, would share them.
fn reopened(pipe: &PrivateFd) -> Result<OwnedFd, SpawnError> {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .map_err(setup("a second reading end of a capture pipe"))
}

fn send_fds(socket: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(rustix::io::Errno::NOBUFS);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l8_a_pipe_that_is_opened_again_has_flags_of_its_own() {
        let ([ours], _writer) =
            forks::private(|| pipe("a pipe").map(|(reader, writer)| ([reader], writer))).expect("a pipe");
        set_non_blocking(ours.as_fd()).expect("set");
        let theirs = reopened(&ours).expect("opened");
        rustix::fs::fcntl_setfl(&theirs, OFlags::empty()).expect("cleared");
        let is_non_blocking = |fd| rustix::fs::fcntl_getfl(fd).expect("asked").contains(OFlags::NONBLOCK);
        assert!(is_non_blocking(ours.as_fd()) && !is_non_blocking(theirs.as_fd()));
    }
}
