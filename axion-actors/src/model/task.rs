//! Tasks, as users submit them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::ids::TaskId;
use super::limits::{Concurrency, Limits, Needs, Rate};
use super::payload::Payload;
use super::pool::{PoolId, PoolNameError};
use super::retry::RetryPolicy;
use super::script::ScriptPath;
use super::work::{Function, Work, WorkName};

/// Parameters without a JSON form, or a text that is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("the parameters are not valid JSON: {0}")]
pub struct ParamsError(#[from] serde_json::Error);

/// The urgency of a task, from 0, the most urgent, to 9. Tasks of the same priority start in the order in which they
/// were accepted (L12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8")]
pub struct Priority(u8);

/// A number that is not a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("priority {0} is out of range: 0, the most urgent, to 9")]
pub struct PriorityError(pub u8);

impl Priority {
    /// The most urgent priority.
    pub const HIGHEST: Self = Self(0);
    /// The least urgent priority.
    pub const LOWEST: Self = Self(9);
    /// The number of priorities.
    pub const COUNT: usize = 10;

    /// The number from 0 to 9.
    #[must_use]
    pub fn level(self) -> usize {
        self.0.into()
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

impl TryFrom<u8> for Priority {
    type Error = PriorityError;

    fn try_from(level: u8) -> Result<Self, PriorityError> {
        if level <= Self::LOWEST.0 { Ok(Self(level)) } else { Err(PriorityError(level)) }
    }
}

/// The earliest start of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotBefore {
    /// This time after the task was accepted.
    After(Duration),
    /// This calendar time. The wait follows the wall clock when that is set.
    At(Timestamp),
}

/// The maximum length of a unique key in bytes; it is kept in memory with the task (L9).
const LONGEST_KEY: usize = 512;

/// A unique key that is empty or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a unique key of {0} bytes is out of range: 1 to {LONGEST_KEY}")]
pub struct UniqueKeyError(pub usize);

/// The options of a task. Most tasks share the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskOptions {
    /// The time limit of an attempt, after which it is killed; `None`: the pool's default.
    pub timeout: Option<Duration>,
    /// The soft time limit of an attempt, after which an exception is raised in it; `None`: the pool's default.
    pub soft_timeout: Option<Duration>,
    /// The time limit of all attempts together, with the waits between them, from the first send to a worker; `None`: no
    /// limit.
    pub total_timeout: Option<Duration>,
    /// The retry policy.
    pub retry: RetryPolicy,
    /// The maximum number of reruns after worker deaths.
    pub max_worker_losses: u32,
    /// The longest wait for the first start; `None`: no limit.
    pub ttl: Option<Duration>,
    /// The priority among waiting tasks.
    pub priority: Priority,
    /// The earliest start; `None`: at once.
    pub not_before: Option<NotBefore>,
    /// The unique key. Only one task with this key can be live at a time.
    pub unique: Option<Arc<str>>,
    /// The limits; `None`: one slot of the pool, which every task needs.
    pub limits: Option<Arc<Limits>>,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            timeout: None,
            soft_timeout: None,
            total_timeout: None,
            retry: RetryPolicy::default(),
            max_worker_losses: 2,
            ttl: None,
            priority: Priority::default(),
            not_before: None,
            unique: None,
            limits: None,
        }
    }
}

/// A static, because threads would contend for the count of a shared `Arc`.
static NOTHING_SPECIAL: std::sync::LazyLock<TaskOptions> = std::sync::LazyLock::new(TaskOptions::default);

/// One unit of work: a script or a function, its arguments, and its pool.
///
/// ```
/// # use axion_actors::model::{PoolId, Task};
/// let task = Task::script("resize.py").params(&serde_json::json!({"width": 640})).unwrap().pool("io").unwrap();
/// assert_eq!(task.pool_id(), PoolId::IO);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    id: TaskId,
    pool: PoolId,
    work: Work,
    params: Payload,
    options: Option<Arc<TaskOptions>>,
}

impl Task {
    /// A task that runs the script at `path` in the pool `cpu`, with the parameters `{}`.
    ///
    /// The script defines `main(params, context)`, or a function `module()` that returns an object with `run(params)`.
    /// Both may be `async def`.
    #[must_use]
    pub fn script(path: impl AsRef<Path>) -> Self {
        Self::of(Work::Script(ScriptPath::new(path.as_ref())), Bytes::from_static(b"{}").into())
    }

    /// A task that calls `function` with `arguments` in the pool `cpu`. The arguments are pickled as
    /// `docs/internals/wire-protocol.md` describes.
    #[must_use]
    pub fn call(function: Function, arguments: impl Into<Payload>) -> Self {
        Self::of(Work::Function(function), arguments.into())
    }

    fn of(work: Work, params: Payload) -> Self {
        Self { id: TaskId::generate(), pool: PoolId::CPU, work, params, options: None }
    }

    /// Sets an id that the caller made with [`TaskId::generate`].
    #[must_use]
    pub fn with_id(mut self, id: TaskId) -> Self {
        self.id = id;
        self
    }

    /// Sets the parameters.
    ///
    /// # Errors
    /// If `params` has no JSON form, such as a map with keys that are not text.
    pub fn params<T: Serialize + ?Sized>(mut self, params: &T) -> Result<Self, ParamsError> {
        self.params = serde_json::to_vec(params)?.into();
        Ok(self)
    }

    /// Sets the parameters from JSON text. The script receives the text unchanged, so numbers keep all their digits.
    ///
    /// # Errors
    /// If `text` is not JSON. The error names the line and the column.
    pub fn params_json(mut self, text: impl Into<Payload>) -> Result<Self, ParamsError> {
        let text = text.into();
        serde_json::from_slice::<IgnoredAny>(&text)?;
        self.params = text;
        Ok(self)
    }

    /// Chooses the pool by its name. The submission fails if the engine has no such pool.
    ///
    /// # Errors
    /// If `name` is not a valid pool name.
    pub fn pool(self, name: &str) -> Result<Self, PoolNameError> {
        Ok(self.on(PoolId::named(name)?))
    }

    /// Chooses the pool by its id, or a built-in pool by its kind.
    #[must_use]
    pub fn on(mut self, pool: impl Into<PoolId>) -> Self {
        self.pool = pool.into();
        self
    }

    /// Kills an attempt that runs longer than `limit`, with all processes that it started. The engine keeps the time,
    /// so the task cannot extend it.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options_mut().timeout = Some(limit);
        self
    }

    /// Raises an exception in an attempt that runs longer than `limit`: `TimeoutError`, or a cancellation in a
    /// coroutine. A task that catches the exception may clean up or continue.
    #[must_use]
    pub fn soft_timeout(mut self, limit: Duration) -> Self {
        self.options_mut().soft_timeout = Some(limit);
        self
    }

    /// Limits all attempts together, with the waits between them, from the first send to a worker. The attempt that runs
    /// then is killed as at its own limit, and no retry follows that would begin later.
    #[must_use]
    pub fn total_timeout(mut self, limit: Duration) -> Self {
        self.options_mut().total_timeout = Some(limit);
        self
    }

    /// Retries the task after failures.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.options_mut().retry = policy;
        self
    }

    /// Sets how often the task reruns after its worker died during the task; the default is 2. With 0, the task never
    /// runs twice: it also does not rerun if its worker was killed because of another task.
    #[must_use]
    pub fn max_worker_losses(mut self, count: u32) -> Self {
        self.options_mut().max_worker_losses = count;
        self
    }

    /// Lets the task expire if it was not sent to a worker within `limit` after its submission.
    #[must_use]
    pub fn ttl(mut self, limit: Duration) -> Self {
        self.options_mut().ttl = Some(limit);
        self
    }

    /// Lets the task start before waiting tasks of a lower priority in its pool.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options_mut().priority = priority;
        self
    }

    /// Delays the start until `time` has passed since the task was accepted.
    #[must_use]
    pub fn delay(mut self, time: Duration) -> Self {
        self.options_mut().not_before = Some(NotBefore::After(time));
        self
    }

    /// Delays the start until `time`.
    #[must_use]
    pub fn not_before(mut self, time: Timestamp) -> Self {
        self.options_mut().not_before = Some(NotBefore::At(time));
        self
    }

    /// Makes the task the only live one with this key. A submission of another one returns a handle of the first.
    ///
    /// # Errors
    /// If the key is empty or longer than 512 bytes.
    pub fn unique(mut self, key: &str) -> Result<Self, UniqueKeyError> {
        if key.is_empty() || key.len() > LONGEST_KEY {
            return Err(UniqueKeyError(key.len()));
        }
        self.options_mut().unique = Some(key.into());
        Ok(self)
    }

    /// Sets the resources that the task uses while it runs, as its author estimates them: slots of its pool, and shares
    /// of the machine. The task starts when they are free. The engine refuses it if they exceed the capacity.
    #[must_use]
    pub fn needs(mut self, needs: Needs) -> Self {
        self.limits_mut().needs = needs;
        self
    }

    /// Limits the number of tasks that run at the same time with the same key, in all pools and workflows.
    #[must_use]
    pub fn concurrency(mut self, limit: Concurrency) -> Self {
        self.limits_mut().concurrency = Some(limit);
        self
    }

    /// Limits the number of starts per time with the same key. Every attempt is a start.
    #[must_use]
    pub fn rate(mut self, limit: Rate) -> Self {
        self.limits_mut().rate = Some(limit);
        self
    }

    /// The same task with another id: an instance of a mapped step.
    pub(crate) fn instance(&self, id: TaskId) -> Self {
        Self { id, ..self.clone() }
    }

    /// Takes the parameters out of the task.
    pub(crate) fn take_params(&mut self) -> Bytes {
        std::mem::take(&mut self.params).into_bytes()
    }

    /// Drops this task's copy of its work and shares the other task's, if both are equal.
    pub(crate) fn share_work_of(&mut self, other: &Self) {
        if self.work.key() == other.work.key() {
            self.work = other.work.clone();
        }
    }

    /// The name of the work of a task that is no longer needed.
    pub(crate) fn into_work_name(self) -> WorkName {
        match self.work {
            Work::Script(path) => WorkName::Script(path),
            work @ Work::Function(_) => work.name(),
        }
    }

    /// Moves the arguments to another place. They stay the same.
    #[must_use]
    pub fn move_params(mut self, to: impl FnOnce(Payload) -> Payload) -> Self {
        self.params = to(self.params);
        self
    }

    /// The same task with other parameters, which must be JSON text.
    #[must_use]
    pub(crate) fn with_params(self, params: impl Into<Payload>) -> Self {
        Self { params: params.into(), ..self }
    }

    fn options_mut(&mut self) -> &mut TaskOptions {
        Arc::make_mut(self.options.get_or_insert_default())
    }

    fn limits_mut(&mut self) -> &mut Limits {
        Arc::make_mut(self.options_mut().limits.get_or_insert_default())
    }

    /// The limits beyond the one slot that every task needs.
    #[must_use]
    pub fn limits(&self) -> Option<&Limits> {
        self.options.as_ref()?.limits.as_deref()
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &TaskOptions {
        self.options.as_deref().unwrap_or(&NOTHING_SPECIAL)
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The pool it runs in.
    #[must_use]
    pub fn pool_id(&self) -> PoolId {
        self.pool
    }

    /// The work.
    #[must_use]
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// The size in bytes: the parameters, and the script's path or the function's code.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.params.len() + self.work.weight()
    }

    /// The size in bytes that the task adds to what waits in the engine: its weight, and the parts of its function that
    /// no waiting task needs yet.
    #[must_use]
    pub fn weight_in_queue(&self) -> usize {
        let parts = self.work.parts().iter().filter(|part| !part.is_waiting());
        self.weight() + parts.map(|part| part.bytes().len()).sum::<usize>()
    }

    /// The arguments: JSON text for a script, pickled arguments for a function.
    #[must_use]
    pub fn params_bytes(&self) -> &Payload {
        &self.params
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plain_path_is_already_absolute(path in "/?[a./]{0,12}") {
            let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone().into());
            let script = ScriptPath::new(path.as_ref());
            prop_assert_eq!(script.as_path().as_os_str(), absolute.as_os_str());
        }
    }
}
