//! The port behind which a child process sits, and the real child.
//!
//! The laws of the port, which [`crate::testing::FakeLauncher`] keeps as well as the real one:
//!
//! * `launch` returns at once; whatever goes wrong later comes as an event.
//! * Events come in order on one bounded channel: a child that floods it is not read from until
//!   the channel has room (L9).
//! * `Exited` comes exactly once, last, after everything the child had written (L2).
//! * `send`, `control`, `finish` and `kill` never block and never fail: a child that is gone says so
//!   by its exit.
//! * Dropping the handle kills the child and everything in its process group.

mod blocking;
mod folder;
mod interpreter;
mod link;
mod meter;
mod os;
mod pump;
mod real;

use tokio::sync::mpsc;

use bytes::Bytes;

pub(crate) use blocking::offload_or_inline;
pub use folder::{FolderError, PrivateFolder};
pub use interpreter::{PythonNotFound, find_pool_pythons, find_python};
pub use meter::{RealMeter, machine_memory};
pub(crate) use os::WatchedDoorbell;
pub use os::{Doorbell, DoorbellReader, Guardian, GuardianError, SpawnError, doorbell};
pub use real::RealLauncher;

use crate::model::{HostLoad, ProcessExit, Seq, Stream, Usage, WorkerId};
use crate::wire::{ControlDown, ControlUp, Down, Up};

/// What a new child is to be.
#[derive(Clone, Copy, Debug)]
pub struct LaunchSpec {
    /// The worker it serves.
    pub worker: WorkerId,
    /// Tasks it may run at one time.
    pub slots: u32,
    /// Coroutine tasks it may run besides.
    pub async_slots: u32,
}

/// A child on its way to life.
pub struct Launched {
    /// To speak to it.
    pub child: Box<dyn Child>,
    /// To hear from it.
    pub events: mpsc::Receiver<ChildEvent>,
}

/// Starts children.
pub trait Launcher {
    /// Starts one.
    fn launch(&self, spec: LaunchSpec) -> Launched;
}

/// Looks at processes and the machine. Its calls take up to a millisecond and touch the disk, so they are
/// made on a thread of their own (L11).
pub trait Meter: Send {
    /// How busy the machine and these processes have been since the last call.
    fn measure(&mut self, pids: &[u32]) -> Measurement;
}

/// What a meter found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurement {
    /// The machine, or the container.
    pub host: HostLoad,
    /// By place in the question; `None` for a process that is gone.
    pub processes: Vec<Option<ProcessLoad>>,
}

/// What one process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessLoad {
    /// Processors: 1 is one of them, all the time.
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
    /// Closes the data pipe behind what was sent: the child finishes that and exits.
    fn finish(&mut self);
    /// Kills the child and everything in its process group because of one attempt, after a look at
    /// where its threads are; unless that attempt has ended or not started, which `Spared` then says
    /// (L6).
    fn kill_attempt(&mut self, seq: Seq);
    /// Kills the child and everything in its process group, now.
    fn kill(&mut self);
    /// How far the child is.
    fn progress(&self) -> Progress;
    /// The memory that its process has resident, in bytes, if that is known.
    fn resident(&self) -> Option<u64>;
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
    /// An attempt that was to be killed had ended, and its result came before; or it had not started.
    Spared {
        /// Which.
        seq: Seq,
    },
    /// The process is gone and has been reaped, or never came to be. Nothing follows.
    Exited(ChildExit),
}

/// The end of a child.
#[derive(Debug)]
pub struct ChildExit {
    /// How it ended.
    pub cause: ExitCause,
    /// The attempts that were running, as the child's status page tells it (L5); `None` if it
    /// could not be read or cannot be true.
    pub running: Option<Vec<Seq>>,
    /// What it used.
    pub usage: Option<Usage>,
    /// The last that was written to fd 2.
    pub stderr_tail: String,
    /// Where its threads were before it was killed, if that was asked for and could be had.
    pub stacks: Option<String>,
    /// It was killed because of an attempt, by order, or died of the look at its stacks before that. An order that came
    /// too late changes nothing.
    pub killed: bool,
    /// The kernel has killed a process of the engine's control group for want of memory meanwhile.
    pub out_of_memory: bool,
}

/// How a child ended.
#[derive(Debug)]
pub enum ExitCause {
    /// There never was a process.
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
}

impl StartError {
    /// Whether another try can only fail the same way.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        matches!(self, Self::Spawn(error) if error.is_definite())
    }
}

/// The exit code of `worker.py` when the interpreter is older than 3.8.
pub const EXIT_TOO_OLD: i32 = 94;
