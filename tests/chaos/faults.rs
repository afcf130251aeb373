//! Injects faults: kills, crashes and stops worker processes from outside.

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
}

const FAULTS: [(Fault, u64); 4] = [(Fault::Kill, 50), (Fault::Crash, 20), (Fault::Stop, 20), (Fault::Freeze, 10)];

/// Knows the living workers and decides on the next fault.
#[derive(Debug)]
pub(crate) struct FaultInjector {
    rng: Rng,
    folder: PathBuf,
    /// By descriptor: a process number may name another process by the time it is used.
    workers: BTreeMap<WorkerRef, Arc<OwnedFd>>,
    pub(crate) kills: u64,
    pub(crate) crashes: u64,
    pub(crate) stops: u64,
}

impl FaultInjector {
    pub(crate) fn new(rng: Rng, folder: PathBuf) -> Self {
        Self { rng, folder, workers: BTreeMap::new(), kills: 0, crashes: 0, stops: 0 }
    }

    pub(crate) fn observe(&mut self, update: TraceUpdate) {
        match update {
            TraceUpdate::Ready(worker, pid) => {
                if let Some(process) = self.open(pid) {
                    self.workers.insert(worker, Arc::new(process));
                }
            }
            TraceUpdate::Down(worker) => drop(self.workers.remove(&worker)),
            TraceUpdate::Active(_) | TraceUpdate::Inactive(_) => {}
        }
    }

    /// The process of this number, if it is still the worker.
    fn open(&self, pid: u32) -> Option<OwnedFd> {
        let number = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let process = pidfd_open(number, PidfdFlags::empty()).ok()?;
        leftovers::is_of(pid, &self.folder).then_some(process)
    }

    pub(crate) fn pause(&mut self) -> Duration {
        self.rng.millis(20, 220)
    }

    /// Injects one fault. Returns the processes that it stopped, and after how long they must continue.
    pub(crate) fn inject(&mut self) -> (Vec<Arc<OwnedFd>>, Duration) {
        let fault = self.rng.weighted(&FAULTS);
        let (at, stopped_for) = (self.rng.next(), self.rng.millis(5, 200));
        let mut victims: Vec<Arc<OwnedFd>> = self.workers.values().cloned().collect();
        if !matches!(fault, Fault::Freeze) && !victims.is_empty() {
            let at = usize::try_from(at % victims.len() as u64).unwrap_or(0);
            victims = vec![victims.swap_remove(at)];
        }
        let (signal, counter) = match fault {
            Fault::Kill => (Signal::KILL, &mut self.kills),
            Fault::Crash => (Signal::SEGV, &mut self.crashes),
            Fault::Stop | Fault::Freeze => (Signal::STOP, &mut self.stops),
        };
        victims.retain(|victim| pidfd_send_signal(victim, signal).is_ok()); // it may have ended just now
        *counter += victims.len() as u64;
        if signal != Signal::STOP {
            victims.clear();
        }
        (victims, stopped_for)
    }
}

/// Lets a stopped process go on after a while.
pub(crate) async fn go_on(process: Arc<OwnedFd>, after: Duration) {
    tokio::time::sleep(after).await;
    let _ = pidfd_send_signal(&process, Signal::CONT);
}
