//! The engine's thread, which hosts the actors.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;

use actix::{Actor, Addr, System};
use axion_actors::actors::{Admission, Autoscaler, Dispatcher, Inbox, Supervisor, TimerDriver, WorkflowManager};
use axion_actors::config::{Config, Key, PoolSettings, ScalingPolicy, Value};
use axion_actors::model::{ContainmentKind, EngineEnd, FactKind};
use axion_actors::policy::retention::RetentionPolicy;
use axion_actors::policy::scheduler::{PoolRules, Scheduler, TimeLimits};
use axion_actors::policy::task_table::TaskTable;
use axion_actors::process::{
    Containment, Guardian, KernelTimer, Launcher, Meter, PrivateFolder, RealMeter, machine_memory, watch_forks,
};
use axion_actors::sequencer::Sequencer;
use tokio::sync::oneshot;

use crate::error::StartError;
use crate::park;

/// Kept for real children while the thread lives. Fake children need nothing.
#[derive(Default)]
pub(crate) struct Children {
    /// Dropped before the folder, which it uses until its end.
    pub(crate) guardian: Option<Arc<Guardian>>,
    /// Ends after the guardian, which ends most of it.
    pub(crate) containment: Option<Arc<Containment>>,
    pub(crate) _folder: Option<Arc<PrivateFolder>>,
}

/// The actors on a running thread.
pub(crate) struct Runtime {
    #[cfg(feature = "test-util")]
    pub(crate) dispatcher: Addr<Dispatcher>,
    pub(crate) supervisor: Addr<Supervisor>,
    pub(crate) system: System,
}

/// The arguments of the thread.
pub(crate) struct RuntimeParts {
    pub(crate) config: Config,
    pub(crate) admission: Arc<Admission>,
    pub(crate) sequencer: Sequencer,
    pub(crate) requests: Inbox,
}

/// Starts the thread and waits until its actors run.
pub(crate) fn start(
    parts: RuntimeParts,
    launcher: impl FnOnce() -> Box<dyn Launcher> + Send + 'static,
    children: Children,
) -> Result<(Runtime, JoinHandle<()>), StartError> {
    let (ready, is_ready) = oneshot::channel();
    let (admission, sequencer) = (parts.admission.clone(), parts.sequencer.clone());
    // From here on, ids take little time (`model/fresh.rs`).
    watch_forks()?;
    // Not by actix, which panics when the system has no more descriptors.
    let tokio = tokio_runtime()?;
    let timer = {
        let _entered = tokio.enter();
        KernelTimer::new()?
    };
    let thread = std::thread::Builder::new().name("axion-engine".to_owned()).spawn(move || {
        let by = host(tokio, timer, parts, launcher, &children, ready);
        sequencer.record_one(sequencer.clock().now(), || FactKind::EngineEnded { by });
        // However the thread ended: no caller may wait for it any more (L1), and no worker may outlive it (L7).
        admission.close();
        sequencer.close();
        if let Some(guardian) = &children.guardian {
            guardian.end_all();
        }
    })?;
    let runtime = park::wait(is_ready).map_err(|_| StartError::Runtime)?;
    Ok((runtime, thread))
}

/// The descriptors of a tokio runtime: its poll and its waker. If any crate of the program enables tokio's signals,
/// also their two sockets and a copy of one.
const RUNTIME_SOCKETS: usize = 6;

/// Starts a tokio runtime for the calling thread. Tokio panics instead of returning an error if it gets no sockets for its
/// signals, which all runtimes of a process share. So this function first checks that the system provides enough
/// descriptors.
///
/// # Errors
///
/// The system's error if it has not enough descriptors.
pub fn tokio_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let room: Vec<_> = (0..RUNTIME_SOCKETS / 2).map(|_| UnixStream::pair()).collect::<Result<_, _>>()?;
    drop(room);
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn host(
    tokio: tokio::runtime::Runtime,
    timer: KernelTimer,
    parts: RuntimeParts,
    launcher: impl FnOnce() -> Box<dyn Launcher>,
    children: &Children,
    ready: oneshot::Sender<Runtime>,
) -> EngineEnd {
    let system = System::with_tokio_rt(|| tokio);
    system.block_on(async {
        let containment = children.containment.as_deref().map(Containment::kind).unwrap_or_default();
        let runtime = populate(parts, timer, launcher(), containment);
        if let Some(guardian) = children.guardian.clone() {
            actix_rt::spawn(async move {
                if let Err(error) = guardian.watch().await {
                    tracing::error!(%error, "workers would outlive a killed engine");
                }
            });
        }
        let _ = ready.send(runtime);
    });
    match system.run_with_code() {
        Ok(0) => return EngineEnd::Shutdown,
        Ok(code) => tracing::error!(code, "the engine stopped after an internal error"),
        Err(error) => tracing::error!(%error, "the engine's runtime failed"),
    }
    EngineEnd::InternalError
}

fn populate(
    parts: RuntimeParts,
    timer: KernelTimer,
    launcher: Box<dyn Launcher>,
    containment: ContainmentKind,
) -> Runtime {
    let RuntimeParts { config, admission, sequencer, requests } = parts;
    let (clock, manager_admission) = (sequencer.clock(), admission.clone());
    let timers = TimerDriver::start(timer, clock.clone());
    sequencer.record_one(clock.now(), || FactKind::EngineStarted {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        settings: changed_settings(&config),
    });
    let keep = RetentionPolicy {
        count: config.output_queue_size,
        bytes: config.output_queue_bytes,
        each: config.record_limit,
        age: config.result_ttl,
    };
    let rules = config.pool_settings().map(|_, pool| rules(pool));
    let scheduler = Scheduler::new(TaskTable::new(clock.epoch(), keep), &rules, config.capacity(machine_memory()));
    let dispatcher = Dispatcher::new(scheduler, &timers, admission, sequencer.clone(), requests, &config)
        .contained_by(containment)
        .start();
    WorkflowManager::new(&config, dispatcher.clone(), manager_admission, sequencer.clone(), &timers).start();
    let supervisor = Supervisor::new(launcher, dispatcher.clone(), sequencer, timers.clone(), &config).start();
    if config.enable_metrics || config.autoscaler != ScalingPolicy::Off {
        Autoscaler::new(&config, dispatcher.clone(), supervisor.clone(), &timers, meter(&config)).start();
    }
    Runtime {
        #[cfg(feature = "test-util")]
        dispatcher,
        supervisor,
        system: System::current(),
    }
}

/// The settings that are not at their defaults, for a fact. Environment variables may be secret (L17).
fn changed_settings(config: &Config) -> BTreeMap<String, String> {
    let changed = Key::of(config)
        .map(|key| (key, key.get(config)))
        .filter(|(key, value)| !matches!(value, Value::Texts(_)) && *value != key.default_value());
    changed.map(|(key, value)| (key.name(), key.text(&value))).collect()
}

fn meter(config: &Config) -> Option<Box<dyn Meter>> {
    if !config.enable_metrics {
        return None;
    }
    match RealMeter::new() {
        Ok(meter) => Some(Box::new(meter)),
        Err(error) => {
            tracing::warn!(%error, "nothing is measured: processor use and memory stay unknown");
            None
        }
    }
}

fn rules(pool: &PoolSettings) -> PoolRules {
    PoolRules {
        kind: pool.kind,
        limits: TimeLimits { hard: pool.timeout, soft: pool.soft_timeout },
        task_memory: pool.worker.task_memory_limit,
        worker_memory: pool.worker.max_worker_memory,
        worker_tasks: pool.worker.max_tasks_per_worker,
        worker_losses: pool.worker.max_worker_losses,
    }
}
