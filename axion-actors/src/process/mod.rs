//! The port behind which a child process sits, and the real child.
//!
//! Every implementation of the port, [`crate::testing::FakeLauncher`] included, keeps these laws:
//!
//! * `launch` returns at once. Later failures arrive as events.
//! * Events arrive in order on one bounded channel. While the channel is full, the child is not read (L9).
//! * `Exited` arrives exactly once, as the last event, after all that the child wrote (L2).
//! * `send`, `control`, `finish` and `kill` never block and never fail. `Exited` reports a child that is gone.
//! * Dropping the handle kills the child and everything in its process group.

mod blocking;
mod byte_code;
mod containment;
mod folder;
mod inherited;
mod interpreter;
mod link;
mod meter;
mod os;
mod pump;
mod real;

use tokio::sync::mpsc;

use bytes::Bytes;

pub(crate) use blocking::offload_or_inline;
pub use byte_code::ByteCode;
pub use containment::Containment;
pub use folder::{FolderError, PrivateFolder};
pub use inherited::Inherited;
pub use interpreter::{PythonNotFound, find_pool_pythons, find_python};
pub use meter::{RealMeter, machine_memory};
pub use os::{
    Doorbell, DoorbellReader, Guardian, GuardianError, KernelTimer, SHARE_FROM, SpawnError, StandardStream,
    WritablePayload, doorbell, join, nanos_since_boot, own, share, watch_forks,
};
pub(crate) use os::{WallClockSet, WallClockWatch, WatchedDoorbell};
pub use real::RealLauncher;

use crate::model::{HostLoad, ProcessExit, Seq, Stream, Usage, WorkerId};
use crate::wire::{ControlDown, ControlUp, Down, Up};

/// What to launch.
#[derive(Clone, Copy, Debug)]
pub struct LaunchSpec {
    /// The worker it serves.
    pub worker: WorkerId,
    /// Tasks it may run at one time.
    pub slots: u32,
    /// Coroutine tasks it may run besides.
    pub async_slots: u32,
}

/// A child that is being started.
pub struct Launched {
    /// The handle to control it.
    pub child: Box<dyn Child>,
    /// Its events.
    pub events: mpsc::Receiver<ChildEvent>,
}

/// Starts children.
pub trait Launcher {
    /// Starts one.
    fn launch(&self, spec: LaunchSpec) -> Launched;
}

/// Measures processes and the machine. A call takes up to a millisecond and reads files, so it runs on a thread of its
/// own (L11).
pub trait Meter: Send {
    /// The load of the machine and of these processes since the last call.
    fn measure(&mut self, pids: &[u32]) -> Measurement;
}

/// What a meter found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurement {
    /// The machine, or the container.
    pub host: HostLoad,
    /// In the order of the argument; `None` for a process that is gone.
    pub processes: Vec<Option<ProcessLoad>>,
}

/// What one process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessLoad {
    /// In processors: 1.0 is one processor, fully used.
    pub cpu: f32,
    /// Resident memory, in bytes.
    pub resident: u64,
}

/// A child process, as its worker actor holds it.
pub trait Child {
    /// Sends messages down the data pipe.
    fn send(&mut self, messages: &[Down]);
    /// Sends a message to the control thread.
    fn control(&mut self, message: &ControlDown);
    /// Closes the data pipe after what was sent. The child finishes that and exits.
    fn finish(&mut self);
    /// Kills the child and its process group because of one attempt, after a stack dump. If that attempt has ended or has
    /// not started, the child lives on and `Spared` is sent instead (L6).
    fn kill_attempt(&mut self, seq: Seq);
    /// Kills the child and everything in its process group, now.
    fn kill(&mut self);
    /// How far the child is.
    fn progress(&self) -> Progress;
    /// Measures the memory of its processes, off the engine's thread (L11). `Measured` is the answer. An order that comes
    /// before the answer to the last one is ignored.
    fn measure(&mut self);
}

/// How far a child is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The attempts that run, by its status page (L5); `None` if the page cannot be read or cannot be true.
    pub running: Option<Vec<Seq>>,
    /// The bytes that went into its data pipe so far.
    pub written: u64,
}

/// What a child says and does.
#[derive(Debug)]
pub enum ChildEvent {
    /// Messages from the data pipe, in order. The first is `Ready`.
    Messages(Vec<Up>),
    /// Messages from the control thread, in order.
    Control(Vec<ControlUp>),
    /// Bytes written to fd 1 or 2 below Python.
    Raw {
        /// Which.
        stream: Stream,
        /// The attempt that wrote it, if that is certain.
        seq: Option<Seq>,
        /// The bytes.
        data: Bytes,
    },
    /// An attempt was not killed: it had ended, and its result came before this event, or it had not started.
    Spared {
        /// Which.
        seq: Seq,
    },
    /// The resident memory of the process and its descendants, in bytes. Pages that they share count by share if they
    /// would reach a limit otherwise.
    Measured {
        /// `None` if it could not be measured now.
        resident: Option<u64>,
    },
    /// The process has ended and was reaped, or was never started. No event follows.
    Exited(ChildExit),
}

/// The end of a child.
#[derive(Debug)]
pub struct ChildExit {
    /// How it ended.
    pub cause: ExitCause,
    /// The attempts that had started, by the child's status page (L5); `None` if the page is unreadable or impossible.
    /// Those that had ended are among them: if a result has not come, that of a task which spoilt the pipe is in its way.
    pub started: Option<Vec<Seq>>,
    /// What it used.
    pub usage: Option<Usage>,
    /// The end of what was written to fd 2.
    pub stderr_tail: String,
    /// The stacks of its threads before the kill, if a dump was taken.
    pub stacks: Option<String>,
    /// The engine killed it because of an attempt, or it died of the stack dump before that kill. False if the order came
    /// after its end.
    pub killed: bool,
    /// The kernel killed a process of the engine's control group for lack of memory meanwhile.
    pub out_of_memory: bool,
}

/// How a child ended.
#[derive(Debug)]
pub enum ExitCause {
    /// It was never started.
    NotStarted(StartError),
    /// It ended by itself or by a signal.
    Exit(ProcessExit),
    /// It was killed because it broke the protocol (L8).
    Protocol {
        /// What it did.
        violation: String,
    },
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system would not start it.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The process that ends orphans could not be told about the new one (L7).
    #[error(transparent)]
    Guardian(#[from] GuardianError),
    /// The worker runtime was removed and cannot be put back.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl StartError {
    /// Whether every further try fails the same way.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        matches!(self, Self::Spawn(error) if error.is_definite())
    }
}

/// The exit code of `worker.py` when the interpreter is older than 3.8.
pub const EXIT_TOO_OLD: i32 = 94;

/// The exit code of a program that was started as a worker and is no Python interpreter. The Python package says so.
pub const EXIT_NO_WORKER: i32 = 95;
