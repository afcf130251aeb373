//! The checks of a task on the caller's thread, before its submit.

use axion_actors::config::{Config, EngineKind, PoolSettings};
use axion_actors::model::workflow::Step;
use axion_actors::model::{EngineCapacity, PoolId, PoolMap, Task, Work};
use axion_actors::policy::resources;
use axion_actors::process::{SHARE_FROM, machine_memory, share};

use crate::error::SubmitError;

/// The part of an engine's configuration that tasks are checked against.
#[derive(Debug)]
pub(crate) struct TaskChecks {
    kind: EngineKind,
    pools: PoolMap<PoolSettings>,
    capacity: EngineCapacity,
    /// The largest weight of a task, in bytes.
    limit: usize,
}

impl TaskChecks {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            kind: config.engine,
            pools: config.pool_settings(),
            capacity: config.capacity(machine_memory()),
            limit: config.payload_limit(machine_memory()),
        }
    }

    /// The task, ready for its submit.
    ///
    /// # Errors
    /// If the task cannot run in this engine.
    pub(crate) fn prepare(&self, task: Task) -> Result<Task, SubmitError> {
        let pool = self.pool_for(&task)?;
        let task = if pool == task.pool_id() { task } else { task.on(pool) };
        let is_large = task.params_bytes().len() >= SHARE_FROM;
        let task = if is_large { task.move_params(share) } else { task };
        let Some(limits) = task.limits() else { return Ok(task) };
        if let Some(what) = limits.zero() {
            return Err(SubmitError::LimitsInvalid { what });
        }
        let shortfall = |kind| resources::shortfall(&self.capacity.of_pool(pool)?, kind, &limits.needs);
        match self.capacity.kind(pool).and_then(shortfall) {
            Some(shortfall) => Err(SubmitError::NeedsImpossible { shortfall }),
            None => Ok(task),
        }
    }

    /// As [`prepare`](Self::prepare), for a step of a workflow, whose limits the graph checks. `losses` is what the workflow
    /// says for all its steps. A workflow can have very many steps, so a step that needs no change is not copied.
    ///
    /// # Errors
    /// If the step's task cannot run in this engine.
    pub(crate) fn prepare_step(&self, step: &mut Step, losses: Option<u32>) -> Result<(), SubmitError> {
        let pool = self.pool_for(step.task())?;
        if let Some(losses) = losses.filter(|losses| *losses != step.task().options().max_worker_losses) {
            step.set_task(step.task().clone().max_worker_losses(losses));
        }
        if pool != step.task().pool_id() {
            step.set_task(step.task().clone().on(pool));
        }
        Ok(())
    }

    /// The pool that a task runs in here.
    fn pool_for(&self, task: &Task) -> Result<PoolId, SubmitError> {
        let pool = task.pool_id();
        if !self.pools.contains(pool) {
            return Err(SubmitError::UnknownPool { pool, known: self.pools.names() });
        }
        // A serial engine has one worker for everything.
        let pool = if self.kind == EngineKind::Serial { PoolId::CPU } else { pool };
        if self.pools.get(pool).is_none_or(|pool| pool.workers.most == 0) {
            return Err(SubmitError::PoolDisabled { pool });
        }
        let (limit, size) = (self.limit, task.weight());
        if size > limit {
            return Err(SubmitError::ParamsTooLarge { size, limit });
        }
        if let Work::Function(function) = task.work()
            && let Some(part) = function.parts().iter().find(|part| part.bytes().len() > limit)
        {
            let (function, size) = (function.name().to_string(), part.bytes().len());
            return Err(SubmitError::PartTooLarge { function, part: part.id(), size, limit });
        }
        Ok(pool)
    }

    /// The workers that are always there, of all pools.
    pub(crate) fn least_workers(&self) -> u32 {
        self.pools.values().map(|pool| pool.workers.least).sum()
    }
}
