//! Injects faults: kills, crashes and stops worker processes from outside, kills the guardian, and stops the engine.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axion_core::WorkerRef;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::leftovers;
use crate::rng::Rng;
use crate::trace::TraceUpdate;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Crash,
    Stop,
    /// Stops all workers at once, so that tasks are sent to some that cannot start them.
    Freeze,
    /// Kills the guardian, which the engine starts again.
    Guardian,
    /// Stops the engine with this whole process, so that all its timers are late.
    Engine,
}

const FAULTS: [(Fault, u64); 6] = [
    (Fault::Kill, 48),
    (Fault::Crash, 20),
    (Fault::Stop, 18),
    (Fault::Freeze, 8),
    (Fault::Guardian, 3),
    (Fault::Engine, 3),
];

/// How often each kind of fault hit a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultCounts {
    pub(crate) kills: u64,
    pub(crate) crashes: u64,
    pub(crate) stops: u64,
    pub(crate) guardian_kills: u64,
    pub(crate) engine_stops: u64,
}

impl FaultCounts {
    pub(crate) fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.crashes += other.crashes;
        self.stops += other.stops;
        self.guardian_kills += other.guardian_kills;
        self.engine_stops += other.engine_stops;
    }
}

/// What has to be done later about a fault.
#[derive(Debug)]
pub(crate) enum Consequence {
    Nothing,
    /// These processes go on after this time.
    GoOn(Vec<Arc<OwnedFd>>, Duration),
    /// This process stops for this time. [`stop_engine`] blocks meanwhile.
    StopEngine(Duration),
}

/// Knows the living workers and decides on the next fault.
#[derive(Debug)]
pub(crate) struct FaultInjector {
    rng: Rng,
    folder: PathBuf,
    /// By descriptor: a process number may name another process by the time it is used.
    workers: BTreeMap<WorkerRef, Arc<OwnedFd>>,
    pids: BTreeMap<WorkerRef, u32>,
    pub(crate) counts: FaultCounts,
}

impl FaultInjector {
    pub(crate) fn new(rng: Rng, folder: PathBuf) -> Self {
        Self { rng, folder, workers: BTreeMap::new(), pids: BTreeMap::new(), counts: FaultCounts::default() }
    }

    pub(crate) fn observe(&mut self, update: TraceUpdate) {
        match update {
            TraceUpdate::Ready(worker, pid) => {
                self.pids.insert(worker, pid);
                if let Some(process) = self.open(pid) {
                    self.workers.insert(worker, Arc::new(process));
                }
            }
            TraceUpdate::Down(worker) => {
                self.workers.remove(&worker);
                self.pids.remove(&worker);
            }
            TraceUpdate::Active(_) | TraceUpdate::Inactive(_) => {}
        }
    }

    /// The process of this number, if it is still the worker.
    fn open(&self, pid: u32) -> Option<OwnedFd> {
        let number = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let process = pidfd_open(number, PidfdFlags::empty()).ok()?;
        leftovers::is_of(pid, &self.folder).then_some(process)
    }

    /// The living workers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.pids.values().copied().collect()
    }

    pub(crate) fn pause(&mut self) -> Duration {
        self.rng.millis(20, 220)
    }

    /// Injects one fault.
    pub(crate) fn inject(&mut self) -> Consequence {
        let fault = self.rng.weighted(&FAULTS);
        let (at, stopped_for) = (self.rng.next(), self.rng.millis(5, 200));
        let mut victims: Vec<Arc<OwnedFd>> = self.workers.values().cloned().collect();
        if !matches!(fault, Fault::Freeze) && !victims.is_empty() {
            let at = usize::try_from(at % victims.len() as u64).unwrap_or(0);
            victims = vec![victims.swap_remove(at)];
        }
        let (signal, counter) = match fault {
            Fault::Kill => (Signal::KILL, &mut self.counts.kills),
            Fault::Crash => (Signal::SEGV, &mut self.counts.crashes),
            Fault::Stop | Fault::Freeze => (Signal::STOP, &mut self.counts.stops),
            Fault::Guardian => {
                victims = leftovers::guardian_of(&self.folder)
                    .and_then(|pid| self.open(pid))
                    .map(Arc::new)
                    .into_iter()
                    .collect();
                (Signal::KILL, &mut self.counts.guardian_kills)
            }
            Fault::Engine => {
                self.counts.engine_stops += 1;
                return Consequence::StopEngine(stopped_for);
            }
        };
        victims.retain(|victim| pidfd_send_signal(victim, signal).is_ok()); // it may have ended just now
        *counter += victims.len() as u64;
        if signal == Signal::STOP { Consequence::GoOn(victims, stopped_for) } else { Consequence::Nothing }
    }
}

/// Has a shell stop this process and let it go on.
pub(crate) fn stop_engine(stopped_for: Duration) {
    let script = "kill -s STOP $1; sleep $2; kill -s CONT $1";
    let (pid, seconds) = (std::process::id().to_string(), stopped_for.as_secs_f64().to_string());
    let ended = std::process::Command::new("sh").args(["-c", script, "sh", &pid, &seconds]).status();
    ended.expect("a shell that lets this process go on");
}

/// Lets a stopped process go on after a while.
pub(crate) async fn go_on(process: Arc<OwnedFd>, after: Duration) {
    tokio::time::sleep(after).await;
    let _ = pidfd_send_signal(&process, Signal::CONT);
}
