//! What a user submits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::ids::TaskId;
use super::limits::{Concurrency, Limits, Needs, Rate};
use super::pool::{PoolId, PoolNameError};
use super::retry::RetryPolicy;
use super::script::ScriptPath;
use super::work::{Function, Work, WorkName};

/// Parameters that have no JSON form, or a text that is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("the parameters are not valid JSON: {0}")]
pub struct ParamsError(#[from] serde_json::Error);

/// How urgent a task is: 0, the most urgent, to 9. Those of one priority start in the order in which they
/// were accepted (L12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8")]
pub struct Priority(u8);

/// A priority that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("priority {0} is out of range: 0, the most urgent, to 9")]
pub struct PriorityError(pub u8);

impl Priority {
    /// Before all others.
    pub const HIGHEST: Self = Self(0);
    /// After all others.
    pub const LOWEST: Self = Self(9);
    /// How many there are.
    pub const COUNT: usize = 10;

    /// As a number from 0 to 9.
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

/// When a task may start at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotBefore {
    /// So long after it was accepted.
    After(Duration),
    /// At this time, on the engine's clock: wall time at the engine's start, and steady from there on.
    At(Timestamp),
}

/// The longest unique key, in bytes: it is kept in memory with the task (L9).
const LONGEST_KEY: usize = 512;

/// A unique key that is too long, or empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a unique key of {0} bytes is out of range: 1 to {LONGEST_KEY}")]
pub struct UniqueKeyError(pub usize);

/// What a task may ask for beyond being run. Most tasks ask for nothing and share the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskOptions {
    /// An attempt that runs so long is killed; `None`: the pool's default.
    pub timeout: Option<Duration>,
    /// An attempt that runs so long gets an exception; `None`: the pool's default.
    pub soft_timeout: Option<Duration>,
    /// What happens after a failure.
    pub retry: RetryPolicy,
    /// How often it is run again after its worker died under it.
    pub max_worker_losses: u32,
    /// How long it may wait for its first start; `None`: for ever.
    pub ttl: Option<Duration>,
    /// Which of the waiting tasks start first.
    pub priority: Priority,
    /// When it may start at the earliest; `None`: at once.
    pub not_before: Option<NotBefore>,
    /// While a task with this key is live, another one with it is not accepted beside it.
    pub unique: Option<Arc<str>>,
    /// What it uses while it runs, and what it shares with others; `None`: one slot of its pool, as every task.
    pub limits: Option<Arc<Limits>>,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            timeout: None,
            soft_timeout: None,
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

/// Not behind an `Arc` that all tasks would count up and down from different threads.
static NOTHING_SPECIAL: std::sync::LazyLock<TaskOptions> = std::sync::LazyLock::new(TaskOptions::default);

/// One unit of work: a script or a function, what it is called with, and where it should run.
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
    #[serde(with = "super::raw")]
    params: Bytes,
    options: Option<Arc<TaskOptions>>,
}

impl Task {
    /// A task that runs the script at `path` with the parameters `{}` in the CPU pool.
    ///
    /// The script defines `main(params, context)`, or `module()` returning an object with
    /// `run(params)`; either may be `async def`.
    #[must_use]
    pub fn script(path: impl AsRef<Path>) -> Self {
        Self::of(Work::Script(ScriptPath::new(path.as_ref())), Bytes::from_static(b"{}"))
    }

    /// A task that calls `function` with `arguments`, pickled as `docs/internals/wire-protocol.md` says, in the CPU pool.
    #[must_use]
    pub fn call(function: Function, arguments: impl Into<Bytes>) -> Self {
        Self::of(Work::Function(function), arguments.into())
    }

    fn of(work: Work, params: Bytes) -> Self {
        Self { id: TaskId::generate(), pool: PoolId::CPU, work, params, options: None }
    }

    /// Gives the task an id that was made before, by [`TaskId::generate`].
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

    /// Sets the parameters from JSON text, which reaches the script as it stands: numbers keep all
    /// their digits.
    ///
    /// # Errors
    /// If `text` is not JSON; the error names line and column.
    pub fn params_json(mut self, text: impl Into<Bytes>) -> Result<Self, ParamsError> {
        let text = text.into();
        serde_json::from_slice::<IgnoredAny>(&text)?;
        self.params = text;
        Ok(self)
    }

    /// Chooses the pool by its name. Whether an engine has this pool shows when the task is submitted.
    ///
    /// # Errors
    /// If no pool can have this name.
    pub fn pool(self, name: &str) -> Result<Self, PoolNameError> {
        Ok(self.on(PoolId::named(name)?))
    }

    /// Chooses the pool: by its id, or one of the two built-in ones by its kind.
    #[must_use]
    pub fn on(mut self, pool: impl Into<PoolId>) -> Self {
        self.pool = pool.into();
        self
    }

    /// Kills an attempt that runs longer than `limit`, with everything it started. The deadline is
    /// the engine's: nothing the task does can move it.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options_mut().timeout = Some(limit);
        self
    }

    /// Raises an exception in an attempt that runs longer than `limit`: `TimeoutError`, or in a
    /// coroutine a cancellation. A task that catches it may clean up or even go on.
    #[must_use]
    pub fn soft_timeout(mut self, limit: Duration) -> Self {
        self.options_mut().soft_timeout = Some(limit);
        self
    }

    /// Runs the task again after failures.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.options_mut().retry = policy;
        self
    }

    /// How often the task is run again after its worker died under it; 2 unless said otherwise, 0
    /// for a task that must not run twice: it is not run again either when its worker has to be ended
    /// because of another task.
    #[must_use]
    pub fn max_worker_losses(mut self, count: u32) -> Self {
        self.options_mut().max_worker_losses = count;
        self
    }

    /// Lets the task expire if it has not been sent to a worker for so long after its submission.
    #[must_use]
    pub fn ttl(mut self, limit: Duration) -> Self {
        self.options_mut().ttl = Some(limit);
        self
    }

    /// Lets the task start before those of a lower priority that wait in its pool.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options_mut().priority = priority;
        self
    }

    /// Lets the task start only when so much time has passed since it was accepted.
    #[must_use]
    pub fn delay(mut self, time: Duration) -> Self {
        self.options_mut().not_before = Some(NotBefore::After(time));
        self
    }

    /// Lets the task start only at `time` or later.
    #[must_use]
    pub fn not_before(mut self, time: Timestamp) -> Self {
        self.options_mut().not_before = Some(NotBefore::At(time));
        self
    }

    /// Makes the task the only live one with this key: submitting another one gives a handle of the first.
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

    /// Says what the task uses while it runs. It starts when there is so much of everything, and is refused if
    /// there never can be: slots of its pool, and shares of the machine, as estimated by whoever wrote it.
    #[must_use]
    pub fn needs(mut self, needs: Needs) -> Self {
        self.limits_mut().needs = needs;
        self
    }

    /// Limits how many tasks run at one time with the same key, in both pools and in workflows.
    #[must_use]
    pub fn concurrency(mut self, limit: Concurrency) -> Self {
        self.limits_mut().concurrency = Some(limit);
        self
    }

    /// Limits how many tasks start in a time with the same key. Every attempt is a start.
    #[must_use]
    pub fn rate(mut self, limit: Rate) -> Self {
        self.limits_mut().rate = Some(limit);
        self
    }

    /// The same task under another id: one instance of a step.
    pub(crate) fn instance(&self, id: TaskId) -> Self {
        Self { id, ..self.clone() }
    }

    /// Takes the parameters out.
    pub(crate) fn take_params(&mut self) -> Bytes {
        std::mem::take(&mut self.params)
    }

    /// Lets go of its own copy of what it runs, if the other one runs the same.
    pub(crate) fn share_work_of(&mut self, other: &Self) {
        if self.work.key() == other.work.key() {
            self.work = other.work.clone();
        }
    }

    /// Which work it was, of a task that is not needed any more.
    pub(crate) fn into_work_name(self) -> WorkName {
        match self.work {
            Work::Script(path) => WorkName::Script(path),
            work @ Work::Function(_) => work.name(),
        }
    }

    /// The same task with other parameters, which must be JSON text.
    #[must_use]
    pub(crate) fn with_params(self, params: Bytes) -> Self {
        Self { params, ..self }
    }

    fn options_mut(&mut self) -> &mut TaskOptions {
        Arc::make_mut(self.options.get_or_insert_default())
    }

    fn limits_mut(&mut self) -> &mut Limits {
        Arc::make_mut(self.options_mut().limits.get_or_insert_default())
    }

    /// What holds it back beyond the one slot that every task takes.
    #[must_use]
    pub fn limits(&self) -> Option<&Limits> {
        self.options.as_ref()?.limits.as_deref()
    }

    /// What it asks for.
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

    /// What it runs.
    #[must_use]
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// The bytes it brings along: its parameters, and its script's path or its function's code.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.params.len() + self.work.weight()
    }

    /// What it is called with: JSON text for a script, pickled arguments for a function.
    #[must_use]
    pub fn params_bytes(&self) -> &Bytes {
        &self.params
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plain_path_is_absolute_as_it_stands(path in "/?[a./]{0,12}") {
            let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone().into());
            let script = ScriptPath::new(path.as_ref());
            prop_assert_eq!(script.as_path().as_os_str(), absolute.as_os_str());
        }
    }
}
