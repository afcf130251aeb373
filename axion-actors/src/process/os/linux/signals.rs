//! Signals to processes and their groups, and how processes end.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::unix::AsyncFd;

use super::pipe::watch;
use crate::model::{ProcessExit, Usage};

/// The end of a process, to wait for.
#[derive(Debug)]
pub(crate) struct Exit(AsyncFd<OwnedFd>);

impl Exit {
    /// Of a child of this process.
    ///
    /// # Errors
    /// If the system cannot watch it.
    pub(crate) fn of(pid: Pid) -> io::Result<Self> {
        Ok(Self(watch(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)?))
    }

    /// Ready when the process has ended.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_read_ready(cx).map(|_| ())
    }

    /// Waits for the end of the process.
    pub(crate) async fn wait(&self) -> io::Result<()> {
        self.0.readable().await.map(|_| ())
    }
}

/// Kills every process of a group. The leader must not have been reaped, so that the number still names this group (L6).
pub(crate) fn kill_group(leader: Pid) {
    // The leader may have moved itself into another group.
    let _ = rustix::process::kill_process(leader, Signal::KILL);
    if let Err(error) = rustix::process::kill_process_group(leader, Signal::KILL) {
        tracing::debug!(pid = leader.as_raw_pid(), %error, "the process group is gone already");
    }
}

/// Reaps a process that has ended, or waits until it has. Says how it ended and what it used.
#[expect(unsafe_code, reason = "the only wait call that tells what a process used")]
pub(crate) fn reap(pid: Pid) -> io::Result<(ProcessExit, Usage)> {
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    loop {
        // SAFETY: both pointers are valid for writing for the time of the call.
        let reaped = unsafe { libc::wait4(pid.as_raw_pid(), &raw mut status, 0, usage.as_mut_ptr()) };
        if reaped == pid.as_raw_pid() {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: every field of an rusage is a number, for which zeroed memory is a value; the call has
    // filled it in since.
    let usage = unsafe { usage.assume_init() };
    Ok((exit_of(ExitStatus::from_raw(status)), used(&usage)))
}

/// How a process ended.
pub(super) fn exit_of(status: ExitStatus) -> ProcessExit {
    match status.signal() {
        Some(signal) => ProcessExit::Signal(signal),
        None => status.code().map_or(ProcessExit::Unknown, ProcessExit::Code),
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds and microseconds of processor time")]
fn used(usage: &libc::rusage) -> Usage {
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Usage {
        peak_memory_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        user_seconds: seconds(usage.ru_utime),
        system_seconds: seconds(usage.ru_stime),
    }
}

/// Stops every process of a group. [`wait_stopped`] tells when its leader has stopped.
pub(crate) fn stop_group(leader: Pid) {
    let _ = rustix::process::kill_process_group(leader, Signal::STOP);
}

/// Waits until a process has stopped or ended. Blocks; reaps nothing.
pub(crate) fn wait_stopped(leader: Pid) {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let _ = rustix::process::waitid(WaitId::Pid(leader), options);
}

/// Whether a child has ended; reaps nothing.
pub(crate) fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}

/// Waits until a child has ended, for `limit` at most; reaps nothing. Blocks.
pub(crate) fn wait_ended(pid: Pid, limit: Duration) -> bool {
    let Ok(exit) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return false };
    let Ok(limit) = Timespec::try_from(limit) else { return false };
    let mut watched = [PollFd::new(&exit, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut watched, Some(&limit)) {
            Err(rustix::io::Errno::INTR) => {}
            found => return found == Ok(1),
        }
    }
}

/// Lets a stopped group go on.
pub(crate) fn continue_group(leader: Pid) {
    let _ = rustix::process::kill_process_group(leader, Signal::CONT);
}

/// Makes the runtime in a child dump its stacks. The handler is in C and does not take the interpreter lock. It may read a
/// frame that is changing, which ends the process. `axion_worker/control.py` has the same signal number.
#[expect(unsafe_code, reason = "a real-time signal, which the safe interface does not send")]
pub(crate) fn force_stacks(pid: Pid) -> bool {
    // SAFETY: sends a signal and touches no memory.
    unsafe { libc::kill(pid.as_raw_pid(), libc::SIGRTMAX() - 2) == 0 }
}

/// Starts a child that begins with the signals blocked that end a program, so that none of them ends it before it has its
/// handlers. `axion_worker/session.py` unblocks them.
#[expect(unsafe_code, reason = "no safe interface for the signal mask of a thread")]
pub(super) fn with_ending_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    let mut blocked = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: all pointers are valid for the time of the calls, and the set is initialised before it is read.
    let changed = unsafe {
        libc::sigemptyset(blocked.as_mut_ptr());
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(blocked.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, blocked.as_ptr(), before.as_mut_ptr()) == 0
    };
    let started = start();
    if changed {
        // SAFETY: the call that changed the mask has written the former one.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    started
}

/// Whether a signal reports an invalid memory access.
pub(crate) fn is_memory_fault(signal: i32) -> bool {
    matches!(signal, libc::SIGSEGV | libc::SIGBUS)
}
