//! What a program that owns its process asks of the system about itself: signals, job control, and the duties of process 1.

mod streams;

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};

use crate::model::ProcessExit;

pub use self::streams::StreamDoor;
pub use libc::{SIGTSTP, SIGTTIN, SIGTTOU};

/// Whether this process ignores a signal, as under `nohup`.
#[must_use]
pub fn ignores(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    u32::try_from(signal - 1).is_ok_and(|bit| ignored.checked_shr(bit).is_some_and(|rest| rest & 1 == 1))
}

/// Stops this process as the default action of a stop signal does. Returns when it is continued; at once if nobody could
/// continue it: the system ignores the signal in an orphaned process group.
#[expect(unsafe_code, reason = "the default action of a signal that has a handler")]
pub fn stop_by(signal: i32) {
    // SAFETY: zeroed memory is a value of this plain structure: the default action, no flags, an empty mask.
    let default: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut before = default;
    // SAFETY: both pointers are valid for the time of the calls. The handler is put back as it was.
    unsafe {
        if libc::sigaction(signal, &raw const default, &raw mut before) == 0 {
            libc::raise(signal);
            libc::sigaction(signal, &raw const before, std::ptr::null_mut());
        }
    }
}

/// Whether this is process 1 of its container: it is the parent of every orphan.
#[must_use]
pub fn is_init() -> bool {
    std::process::id() == 1
}

/// What makes this process the parent of orphans that its descendants leave behind, if anything does.
#[must_use]
pub fn adopts_orphans() -> Option<&'static str> {
    if is_init() {
        return Some("process 1 of its container");
    }
    let is_subreaper = rustix::process::child_subreaper().is_ok_and(|it| it.is_some());
    is_subreaper.then_some("a subreaper (PR_SET_CHILD_SUBREAPER)")
}

/// Starts this program again, with the same arguments, as a child. Returns its process id.
///
/// # Errors
/// If the system does not tell what runs here, or starts no process.
pub fn start_again() -> io::Result<u32> {
    use std::os::unix::ffi::OsStrExt;
    let line = std::fs::read("/proc/self/cmdline")?;
    let mut arguments = line.strip_suffix(b"\0").unwrap_or(&line).split(|byte| *byte == 0);
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(std::ffi::OsStr::from_bytes(name));
    }
    Ok(command.args(arguments.map(std::ffi::OsStr::from_bytes)).spawn()?.id())
}

/// Passes a signal on to a child.
pub fn forward(child: u32, signal: i32) {
    let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal)) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Reaps a child that has ended, any child, and says how it ended.
#[must_use]
pub fn reap_next() -> Option<(u32, ProcessExit)> {
    let (pid, status) = rustix::process::wait(WaitOptions::NOHANG).ok()??;
    Some((pid.as_raw_pid().cast_unsigned(), super::signals::exit_of(ExitStatus::from_raw(status.as_raw()))))
}

/// Whether this process has any child, ended or not.
#[must_use]
pub fn has_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    rustix::process::waitid(WaitId::All, options).is_ok()
}

/// Who owns a file, and who else may write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// The permission bits, with the sticky bit.
    pub mode: u32,
}

impl Ownership {
    /// Of the file that a path leads to.
    ///
    /// # Errors
    /// If there is none, or it may not be looked at.
    pub fn of(path: &std::path::Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(path)?;
        Ok(Self { user: found.uid(), group: found.gid(), mode: found.mode() & 0o7777 })
    }
}

/// The user and the group that this process acts as.
#[must_use]
pub fn identity() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_known() {
        // The standard library ignores this one in every Rust program.
        assert!(ignores(libc::SIGPIPE) && !ignores(libc::SIGTERM));
        assert!(!ignores(0) && !ignores(-1) && !ignores(1000));
    }
}
