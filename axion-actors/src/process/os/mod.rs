//! All that the crate asks of the operating system. No other module of it names one.
//!
//! A platform is a folder here with the same names. Only Linux has one so far: it builds on pidfds, memfds, `/proc` and
//! control groups. Another platform needs another way to watch a process, to end its descendants and to pass
//! descriptors before its folder can be more than a stub.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub(crate) use linux::{
    Connection, ControlGroups, EngineGroup, Exit, FolderLock, KillPipe, Killed, MemoryKills, PayloadSocket, Pid, Pipe,
    Process, Program, ReceiveError, StatusPage, WallClockSet, WallClockWatch, WatchedDoorbell, WorkerGroup, family,
    force_stacks, group_around, has_ended, is_enterable, is_executable, is_memory_fault, kill_escaped, kill_group,
    kill_marked, kill_tree, make_new_folder, make_private_folder, out_of_memory_kills, path_from_bytes, read_own_file,
    reap, remove_empty_groups, remove_group, resident, spawn, wait_stopped,
};
#[cfg(target_os = "linux")]
pub use linux::{
    Doorbell, DoorbellReader, Guardian, GuardianError, KernelTimer, SHARE_FROM, StandardStream, WritablePayload,
    doorbell, join, nanos_since_boot, own, share, watch_forks,
};

use std::io;

/// The system would not start a process.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The interpreter could not be executed.
    #[error("cannot execute the Python interpreter {program}: {source}")]
    Execute {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The system refused something a child needs.
    #[error("cannot set up a worker process: {what}: {source}")]
    Setup {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The system would not have descriptors kept from forked processes (L7).
    #[error("cannot set up a worker process: keeping its pipes from forked processes: {0}")]
    Forks(#[from] io::Error),
}

impl SpawnError {
    /// Whether another try can only fail the same way.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        use io::ErrorKind::{ExecutableFileBusy, Interrupted, OutOfMemory, ResourceBusy, WouldBlock};
        match self {
            Self::Execute { source, .. } => {
                !matches!(source.kind(), WouldBlock | Interrupted | OutOfMemory | ResourceBusy | ExecutableFileBusy)
            }
            Self::Setup { .. } | Self::Forks(_) => false,
        }
    }
}

/// An error of setting up `what`.
pub(crate) fn setup<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> SpawnError {
    move |source| SpawnError::Setup { what, source: source.into() }
}
