//! A pipe whose end makes the kernel kill a worker (L7).
//!
//! The engine holds the writing end and writes nothing. The worker holds the reading end, and does nothing with it. When
//! the engine is gone, however it ended, the kernel sends SIGKILL to the process group of the worker, within a
//! millisecond. That needs neither the guardian nor the worker's interpreter lock. It names the group itself and not its
//! number, so it never hits another one.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use super::forks::{self, PrivateFd};

/// The engine's end. The group is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct KillPipe(#[expect(dead_code, reason = "its end is its use")] PrivateFd);

/// Both ends of a new pipe.
pub(super) fn kill_pipe() -> io::Result<(KillPipe, OwnedFd)> {
    let ([ours], theirs) = forks::private(|| {
        let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        Ok::<_, io::Error>(([ours], theirs))
    })?;
    Ok((KillPipe(ours), theirs))
}

/// Names the group that dies. The setting belongs to the open file description, which travels to the worker.
#[expect(unsafe_code, reason = "the safe interface has no owners of descriptors")]
pub(super) fn arm(theirs: &OwnedFd, leader: Pid) -> io::Result<()> {
    let set = |command: i32, value: i32| {
        // SAFETY: the commands below take a number and touch no memory.
        let result = unsafe { libc::fcntl(theirs.as_raw_fd(), command, value) };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    set(libc::F_SETOWN, -leader.as_raw_pid())?;
    set(F_SETSIG, libc::SIGKILL)?;
    set(libc::F_SETFL, libc::O_ASYNC)
}

/// The same on all machines that Linux runs on. The C library does not have it everywhere.
const F_SETSIG: i32 = 10;

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn l7_the_end_of_the_pipe_kills_the_whole_group_and_nothing_else() {
        let (ours, theirs) = kill_pipe().expect("a pipe");
        let sleeper = |group: i32| {
            let mut command = Command::new("sleep");
            let started =
                command.arg("1000").process_group(group).stdin(Stdio::from(theirs.try_clone().expect("copied")));
            started.spawn().expect("sleep starts")
        };
        let mut leader = sleeper(0);
        let group = Pid::from_child(&leader);
        let (mut member, mut other) = (sleeper(group.as_raw_pid()), sleeper(0));
        arm(&theirs, group).expect("armed");
        drop(theirs);
        drop(ours);
        for killed in [&mut leader, &mut member] {
            assert_eq!(killed.wait().expect("reaped").signal(), Some(libc::SIGKILL));
        }
        assert!(other.try_wait().expect("asked").is_none());
        other.kill().expect("killed");
        other.wait().expect("reaped");
    }
}
