//! Linux.

mod cgroups;
mod clock;
mod doorbell;
mod files;
mod forks;
mod guardian;
mod memory;
pub mod own;
mod pipe;
mod shared;
mod signals;
mod spawn;
mod status_page;

pub(crate) use rustix::process::Pid;

pub use clock::{KernelTimer, nanos_since_boot};
pub use doorbell::{Doorbell, DoorbellReader, doorbell};
pub use guardian::{Guardian, GuardianError};
pub use shared::{SHARE_FROM, WritablePayload, join, share};

pub(crate) use cgroups::ControlGroups;
pub(crate) use clock::{WallClockSet, WallClockWatch};
pub(crate) use doorbell::WatchedDoorbell;
pub(crate) use files::{is_executable, is_own_folder, make_private_folder, path_from_bytes, private_permissions};
pub(crate) use memory::{MemoryKills, out_of_memory_kills, resident};
pub(crate) use pipe::Pipe;
pub(crate) use shared::{PayloadSocket, ReceiveError};
pub(crate) use signals::{
    Exit, force_stacks, has_ended, is_memory_fault, kill_escaped, kill_group, reap, wait_stopped,
};
pub(crate) use spawn::{Connection, Process, Program, spawn};
pub(crate) use status_page::StatusPage;
