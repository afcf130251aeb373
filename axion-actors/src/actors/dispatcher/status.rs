//! What the Dispatcher says of itself and the workers: for people, and for the Autoscaler.

use std::collections::BTreeMap;

use super::super::messages::Loads;
use super::Dispatcher;
use crate::config;
use crate::model::{
    Components, EngineStatus, InputQueue, OutputQueue, PoolId, PoolStatus, ProcessPool, Status, TaskCounts, Tick,
    WorkerId, WorkerStatus,
};
use crate::policy::health::fullness;
use crate::policy::scaling::{PoolLoad, WorkerSample};
use crate::policy::scheduler::WorkerView;

impl Dispatcher {
    /// Everything at this moment.
    pub(super) fn status(&self, now: Tick) -> Status {
        let table = self.scheduler.table();
        let input_queue = self.input_queue();
        let (kept, kept_bytes) = table.retained();
        let (bounds, outcomes) = (table.bounds(), table.finished());
        let output_queue = OutputQueue {
            size: kept,
            maxsize: bounds.count,
            fullness: fullness(kept, bounds.count),
            bytes: kept_bytes,
            max_bytes: bounds.bytes,
            total_put: outcomes.total(),
            total_dropped: table.evicted(),
            total_trimmed: table.trimmed(),
        };
        let engine = EngineStatus {
            is_running: self.scheduler.is_open() && self.admission.is_open(),
            kind: self.kind.name(),
            uptime_seconds: now.since(Tick::default()).as_secs_f64(),
            host: self.host,
            containment: self.containment,
        };
        let tasks = TaskCounts { live: table.live(), outcomes, ignored_messages: table.ignored() };
        let process_pool = self.process_pool();
        let components = Components { input_queue, output_queue, process_pool, tasks };
        Status { at: table.wall(now), engine, components }
    }

    fn input_queue(&self) -> InputQueue {
        let table = self.scheduler.table();
        let ((size, bytes), (maxsize, max_bytes)) = (table.waiting(), self.admission.most());
        InputQueue {
            size,
            maxsize,
            fullness: fullness(size, maxsize),
            bytes,
            max_bytes,
            held_back: table.held_back(),
            cpu_bound: table.queued(PoolId::CPU),
            io_bound: table.queued(PoolId::IO),
            total_put: table.accepted(),
            total_dropped: self.admission.refused(),
            overload: self.gauge.now().map(|overload| overload.to_string()),
        }
    }

    fn process_pool(&self) -> ProcessPool {
        let pools = self.pools.map(|pool, known| PoolStatus {
            waiting: self.scheduler.table().queued(pool),
            ready: self.scheduler.workers(pool).filter(WorkerView::is_present).count(),
            unavailable: self.scheduler.why_unavailable(pool).map(|error| error.message.clone()),
            workers: self.workers_of(pool),
            ..known.clone()
        });
        // Also in the workers that are not shown, because their successors are.
        let all = self.pools.ids().flat_map(|pool| self.scheduler.workers(pool));
        let active_tasks = all.map(|worker| worker.load.running).sum();
        ProcessPool::new(pools, active_tasks)
    }

    fn workers_of(&self, pool: PoolId) -> BTreeMap<WorkerId, WorkerStatus> {
        // Of a slot's workers, the one that takes tasks is shown; a predecessor that finishes what it has only
        // while there is no other.
        let mut workers: Vec<WorkerView> = self.scheduler.workers(pool).filter(|view| !view.stands_by).collect();
        workers.sort_unstable_by_key(|view| (view.worker.id, view.worker.generation));
        workers.iter().map(|view| (view.worker.id, self.worker(view))).collect()
    }

    fn worker(&self, view: &WorkerView) -> WorkerStatus {
        let desk = self.workers.get(&view.worker);
        let load = desk.map(|desk| desk.load).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        WorkerStatus {
            active_tasks: view.load.running,
            queue_size: view.load.queued,
            total_load: view.load.running + view.load.queued,
            cpu_usage: load.cpu * 100.0,
            mem_usage: load.resident as f64 / f64::from(1 << 20),
            pid: desk.map(|desk| desk.process.pid).unwrap_or_default(),
            generation: view.worker.generation,
            leaving: view.draining,
            tasks_done: view.ended,
        }
    }

    /// What there is to do, for the Autoscaler.
    pub(super) fn loads(&self) -> Loads {
        let processors = config::processors();
        let pools = self.pools.map(|pool, known| {
            let present = self.scheduler.workers(pool).filter(WorkerView::is_present);
            let workers = present.map(|worker| WorkerSample {
                // Slots that are kept idle for a task are as good as taken.
                running: worker.load.running + worker.reserved,
                queued: worker.load.queued,
                cpu: f64::from(worker.load.cpu),
            });
            PoolLoad {
                // More workers would not let those start sooner that their limits hold back.
                waiting: self.scheduler.table().queued(pool).saturating_sub(self.scheduler.held_by_limits(pool)),
                workers: workers.collect(),
                starting: known.starting,
                host_cpu: self.host.cpu,
                processors,
                slots: self.slots[pool],
                ended: self.scheduler.attempts_ended(pool),
            }
        });
        Loads { pools }
    }
}
