//! Linux.

mod cgroups;
mod clock;
mod descendants;
mod doorbell;
mod files;
mod forks;
mod guardian;
mod kill_pipe;
mod memory;
pub mod own;
mod pipe;
mod shared;
mod signals;
mod spawn;
mod standard;
mod status_page;
mod worker_group;

pub(crate) use rustix::process::Pid;

pub use clock::{KernelTimer, nanos_since_boot};
pub use doorbell::{Doorbell, DoorbellReader, doorbell};
pub use forks::watch_forks;
pub use guardian::{Guardian, GuardianError};
pub use shared::{SHARE_FROM, WritablePayload, join, share};
pub use standard::StandardStream;

pub(crate) use cgroups::ControlGroups;
pub(crate) use clock::{WallClockSet, WallClockWatch};
pub(crate) use descendants::{Killed, family, kill_escaped, kill_marked, kill_tree};
pub(crate) use doorbell::WatchedDoorbell;
pub(crate) use files::{
    FolderLock, is_enterable, is_executable, make_new_folder, make_private_folder, path_from_bytes, read_own_file,
};
pub(crate) use kill_pipe::KillPipe;
pub(crate) use memory::{MemoryKills, out_of_memory_kills, resident};
pub(crate) use pipe::Pipe;
pub(crate) use shared::{PayloadSocket, ReceiveError};
pub(crate) use signals::{Exit, force_stacks, has_ended, is_memory_fault, kill_group, reap, wait_stopped};
pub(crate) use spawn::{Connection, Process, Program, spawn};
pub(crate) use status_page::StatusPage;
pub(crate) use worker_group::{EngineGroup, WorkerGroup, group_around, remove_empty_groups, remove_group};
