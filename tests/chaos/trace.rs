//! The facts of an engine: recorded while it runs, and compared with the plan afterwards. The oracle has judged each
//! fact before it comes here, so the trace checks only what follows from the plan, the settings and the processes.

mod deadlines;
mod flow;
mod record;
mod story;

use std::collections::HashMap;

use axion_actors::policy::scheduler::WorkerLink;
use axion_core::workflow::WorkflowId;
use axion_core::{
    Config, Fact, FactKind, Generation, PoolMap, TaskId, TaskRecord, WorkerDownReason, WorkerId, WorkerRef,
};
use jiff::Timestamp;

use self::deadlines::Deadlines;
pub(crate) use self::flow::FlowStory;
pub(crate) use self::record::{Recorded, TraceUpdate, check_unread, record};
pub(crate) use self::story::{Ran, Traits};
use self::story::{State, TaskStory, WorkerStory, died_by_itself};

use crate::plan::agree;

/// The facts so far.
#[derive(Debug)]
pub(crate) struct Trace {
    /// The slots of a worker, by pool.
    slots: PoolMap<usize>,
    /// Whether the successor of a worker may be there before its end.
    recycles: bool,
    /// The number of tasks that may wait. `None` if the engine was drained: the steps of its workflows need no room.
    room: Option<usize>,
    traits: HashMap<TaskId, Traits>,
    deadlines: Deadlines,
    fresh: usize,
    accepted: usize,
    ended: usize,
    tasks: HashMap<TaskId, TaskStory>,
    flows: HashMap<WorkflowId, FlowStory>,
    workers: HashMap<WorkerRef, WorkerStory>,
    latest: HashMap<WorkerId, WorkerRef>,
    pub(crate) reruns_counted: u64,
    pub(crate) reruns_uncounted: u64,
    pub(crate) returned: u64,
    pub(crate) retries: u64,
    pub(crate) late: u64,
    /// Tasks that were lost because of a neighbour.
    pub(crate) lost_beside: u64,
    /// The cancelled tasks: in a queue, in a wait, with a worker.
    pub(crate) cancelled: [u64; 3],
    pub(crate) held: u64,
    /// The order to kill that stands in each worker: its task, and whether that has ended or come back since.
    kills: HashMap<WorkerRef, (TaskId, bool)>,
    /// The tasks because of which workers were killed.
    killed: HashMap<WorkerRef, TaskId>,
    /// Kills that were carried out, that hit a worker which did not run the attempt, and that were not carried out.
    pub(crate) kills_done: [u64; 3],
}

impl Trace {
    pub(crate) fn new(config: &Config, traits: HashMap<TaskId, Traits>, drained: bool) -> Self {
        let pools = config.pool_settings();
        Self {
            slots: pools.map(|_, pool| pool.slots as usize),
            recycles: pools.values().any(|pool| pool.worker.max_tasks_per_worker.is_some()),
            room: (!drained).then_some(config.input_queue_size),
            traits,
            deadlines: Deadlines::default(),
            fresh: 0,
            accepted: 0,
            ended: 0,
            tasks: HashMap::new(),
            flows: HashMap::new(),
            workers: HashMap::new(),
            latest: HashMap::new(),
            reruns_counted: 0,
            reruns_uncounted: 0,
            returned: 0,
            retries: 0,
            late: 0,
            lost_beside: 0,
            cancelled: [0; 3],
            held: 0,
            kills: HashMap::new(),
            killed: HashMap::new(),
            kills_done: [0; 3],
        }
    }

    /// Takes the next fact.
    ///
    /// # Errors
    /// If it does not follow from the plan.
    pub(crate) fn apply(&mut self, fact: &Fact) -> Result<(), String> {
        let passed = self.deadlines.pass(fact.at);
        passed.and(self.apply_kind(fact))
    }

    fn apply_kind(&mut self, fact: &Fact) -> Result<(), String> {
        let at = fact.at;
        match &fact.kind {
            FactKind::TaskAccepted { task } => self.accept(task.id(), at),
            FactKind::TaskHeld { task, wait_seconds, .. } => self.hold(*task, *wait_seconds),
            FactKind::TaskSent { task, worker, .. } => self.sent(*task, *worker),
            FactKind::TaskReturned { task, .. } => self.came_back(*task),
            FactKind::TaskRerun { task, counted, .. } => self.rerun(*task, *counted),
            FactKind::TaskRetrying { task, .. } => self.retrying(*task),
            FactKind::TaskDue { task } => self.due(*task),
            FactKind::KillOrdered { task, worker, .. } => {
                self.kills.insert(*worker, (*task, false));
                Ok(())
            }
            FactKind::KillSpared { worker, .. } => {
                self.kills.remove(worker);
                self.kills_done[2] += 1;
                Ok(())
            }
            FactKind::TaskFinished { record } => self.finished(record.id, record.outcome.name(), at),
            FactKind::WorkerReady { worker, pid, .. } => self.ready(*worker, *pid),
            FactKind::WorkerDown { worker, reason } => self.down(*worker, reason),
            FactKind::StepChanged { workflow, task, state, .. } => {
                self.flows.entry(*workflow).or_default().changed(*task, *state)
            }
            FactKind::WorkflowFinished { workflow, state, .. } => {
                self.flows.entry(*workflow).or_default().finished(*state);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The number of workers that were ready, and the number of those that ended.
    pub(crate) fn workers(&self) -> (usize, usize) {
        (self.workers.len(), self.workers.values().filter(|worker| worker.down.is_some()).count())
    }

    /// The process of an attempt.
    pub(crate) fn pid_of(&self, task: TaskId, attempt: u32) -> Option<u32> {
        self.tasks.get(&task)?.pids.get(attempt.checked_sub(1)? as usize).copied()
    }

    /// The outcome of a task, if it has one.
    pub(crate) fn end_of(&self, task: TaskId) -> Option<&'static str> {
        match self.tasks.get(&task)?.state {
            State::Finished(end) => Some(end),
            _ => None,
        }
    }

    pub(crate) fn attempts_of(&self, task: TaskId) -> u32 {
        self.tasks.get(&task).map_or(0, |story| story.attempts)
    }

    pub(crate) fn retries_of(&self, task: TaskId) -> u32 {
        self.tasks.get(&task).map_or(0, |story| story.retries)
    }

    /// The outcome of a step's task, or `None` if the task was never accepted. It is an error if the step allows no such
    /// outcome. A cancellation may have cut the retries short.
    pub(crate) fn check_step(
        &self,
        task: TaskId,
        Ran { max_losses, max_retries, cut_short }: Ran,
    ) -> Result<Option<&'static str>, String> {
        let Some(story) = self.tasks.get(&task) else { return Ok(None) };
        let State::Finished(end) = story.state else { return Err(format!("L1: it is {:?} at the end", story.state)) };
        if story.retries > max_retries || story.losses > max_losses {
            return Err(format!("it had {} retries and {} losses", story.retries, story.losses));
        }
        match end {
            "lost" => agree("the losses of a lost task", &story.losses, &max_losses)?,
            "failed" | "timed_out" if !cut_short => {
                agree("the retries of a failed task", &story.retries, &max_retries)?;
            }
            _ => {}
        }
        Ok(Some(end))
    }

    /// A workflow according to its facts.
    pub(crate) fn flow(&self, id: WorkflowId) -> Result<&FlowStory, String> {
        self.flows.get(&id).ok_or_else(|| "it has no fact".to_owned())
    }

    /// The workflows that have facts.
    pub(crate) fn flow_ids(&self) -> impl Iterator<Item = WorkflowId> {
        self.flows.keys().copied()
    }

    /// Checks that tasks were accepted in this order, or not at all.
    pub(crate) fn check_order(&self, tasks: &[TaskId]) -> Result<(), String> {
        let numbers: Vec<usize> = tasks.iter().filter_map(|task| Some(self.tasks.get(task)?.accepted)).collect();
        if numbers.is_sorted() {
            Ok(())
        } else {
            Err(format!("L12: a batch was accepted in another order: {numbers:?}"))
        }
    }

    /// Whether a task has no facts.
    pub(crate) fn is_unheard_of(&self, task: TaskId) -> bool {
        !self.tasks.contains_key(&task)
    }

    /// The number of tasks that ended after this one, if it ended.
    pub(crate) fn ended_after(&self, task: TaskId) -> Option<usize> {
        let story = self.tasks.get(&task)?;
        matches!(story.state, State::Finished(_)).then(|| self.ended - story.ended)
    }

    /// Checks that a record states the same as the facts.
    pub(crate) fn check(&mut self, record: &TaskRecord) -> Result<(), String> {
        let story = self.tasks.get(&record.id).ok_or("it has no fact")?;
        agree("L1: the state after the last event", &story.state, &State::Finished(record.outcome.name()))?;
        let attempts = record.attempt.map_or(0, |attempt| attempt.0);
        agree("the attempts by the record", &attempts, &story.attempts)?;
        agree("the retries by the record", &record.retries, &story.retries)?;
        agree("the worker losses by the record", &record.worker_losses, &story.losses)?;
        // Each attempt before the last one has its reason. The last one has its worker.
        let last = u32::from(record.worker.is_some());
        agree("the attempts", &attempts, &(story.retries + story.losses + story.innocent + last))?;
        if record.outcome.name() == "lost" {
            let down = record.worker.and_then(|worker| self.workers.get(&worker)?.down.as_ref());
            match down {
                Some(reason) if died_by_itself(reason) => {}
                // After a kill of its neighbour, a task reruns if it may.
                Some(WorkerDownReason::Killed(_)) if story.traits.once => self.lost_beside += 1,
                _ => return Err(format!("lost, but its worker's end was {down:?}")),
            }
        }
        Ok(())
    }

    /// A kill hits no worker whose attempt has ended or not started (L6). A process that does not stop in time may write its result in the
    /// moment of its kill, so few do.
    pub(crate) fn check_kills(&self) -> Result<(), String> {
        let [done, late, spared] = self.kills_done;
        if late > 2 && late > spared {
            return Err(format!(
                "L6: {late} of {done} kills hit a worker that did not run the attempt, {spared} were spared"
            ));
        }
        Ok(())
    }

    fn story(&mut self, task: TaskId) -> Result<&mut TaskStory, String> {
        self.tasks.get_mut(&task).ok_or_else(|| "its fact came before its acceptance".to_owned())
    }

    fn accept(&mut self, task: TaskId, at: Timestamp) -> Result<(), String> {
        let traits = self.traits.get(&task).copied();
        self.accepted += 1;
        self.fresh += 1;
        let story = TaskStory {
            traits: traits.unwrap_or_default(),
            accepted: self.accepted,
            ended: 0,
            state: State::Queued,
            fresh: true,
            held: false,
            attempts: 0,
            retries: 0,
            losses: 0,
            innocent: 0,
            late: false,
            pids: Vec::new(),
        };
        self.deadlines.accepted(task, traits.unwrap_or_default().ttl, at);
        self.tasks.insert(task, story);
        if self.room.is_some_and(|room| self.fresh > room) {
            return Err(format!("L9: {} tasks wait that were let in as {:?}", self.fresh, self.room));
        }
        // This includes tasks that were refused.
        traits.map(|_| ()).ok_or_else(|| "it was accepted, but none was to be".to_owned())
    }

    fn hold(&mut self, task: TaskId, seconds: f64) -> Result<(), String> {
        self.held += 1;
        let story = self.story(task)?;
        (story.state, story.held) = (State::Waiting, true);
        let asked = story.traits.delay.ok_or("it asked for no delay")?.as_secs_f64();
        if (asked - seconds).abs() < 1e-6 { Ok(()) } else { Err(format!("held for {seconds} s instead of {asked} s")) }
    }

    /// The task gives back the room that its submission took.
    fn give_up_place(&mut self, task: TaskId) {
        if let Some(story) = self.tasks.get_mut(&task) {
            self.fresh -= usize::from(std::mem::take(&mut story.fresh));
        }
    }

    fn sent(&mut self, task: TaskId, to: WorkerRef) -> Result<(), String> {
        let most = self.slots[to.id.pool] + WorkerLink::LOCAL.window_tasks;
        let is_latest = self.latest.get(&to.id) == Some(&to);
        let worker = self.workers.get_mut(&to).ok_or("sent to a worker that was not ready")?;
        let late = worker.down.is_some();
        let pid = worker.pid;
        worker.in_flight += 1;
        let full = worker.in_flight > most;
        self.give_up_place(task);
        self.deadlines.remove(task);
        let story = self.story(task)?;
        story.state = State::Sent(to);
        story.attempts += 1;
        story.late = late;
        story.pids.truncate(story.attempts as usize - 1);
        story.pids.push(pid);
        agree("whether it was held back", &story.held, &story.traits.delay.is_some())?;
        self.late += u64::from(late);
        // A recycled worker takes tasks until the engine has learned that its successor is ready.
        if !is_latest && (late || !self.recycles) {
            return Err(format!("sent to {to}, which has been replaced"));
        }
        if full {
            return Err(format!("L9: more than {most} tasks are with {to}"));
        }
        Ok(())
    }

    /// Removes a task from its worker.
    fn leave(&mut self, task: TaskId) -> Result<(&mut TaskStory, WorkerRef), String> {
        let State::Sent(with) = self.story(task)?.state else {
            return Err("it is with no worker".to_owned());
        };
        if let Some(worker) = self.workers.get_mut(&with) {
            worker.in_flight -= 1;
        }
        Ok((self.story(task)?, with))
    }

    fn came_back(&mut self, task: TaskId) -> Result<(), String> {
        self.returned += 1;
        let (story, with) = self.leave(task)?;
        story.state = State::Queued;
        story.attempts -= 1;
        story.late = false;
        if story.attempts == 0 {
            self.deadlines.restore(task);
        }
        // An attempt that had not started is no reason to kill its worker.
        match self.kills.get_mut(&with) {
            Some((of, ended)) if *of == task => *ended = true,
            _ => self.kills_done[1] += u64::from(self.killed.get(&with) == Some(&task)),
        }
        Ok(())
    }

    fn rerun(&mut self, task: TaskId, counted: bool) -> Result<(), String> {
        if counted {
            self.reruns_counted += 1
        } else {
            self.reruns_uncounted += 1
        }
        let (story, with) = self.leave(task)?;
        story.state = State::Queued;
        if counted {
            story.losses += 1
        } else {
            story.innocent += 1
        }
        story.not_late()?;
        let down = self.workers.get(&with).and_then(|worker| worker.down.as_ref());
        match down {
            Some(WorkerDownReason::Killed(_)) if !counted => Ok(()),
            Some(reason) if counted && died_by_itself(reason) => Ok(()),
            down => Err(format!("it runs again, counted: {counted}, but the end of {with} was {down:?}")),
        }
    }

    fn retrying(&mut self, task: TaskId) -> Result<(), String> {
        self.retries += 1;
        let (story, _) = self.leave(task)?;
        story.state = State::Waiting;
        story.retries += 1;
        story.not_late()
    }

    fn due(&mut self, task: TaskId) -> Result<(), String> {
        self.story(task)?.state = State::Queued;
        Ok(())
    }

    fn finished(&mut self, task: TaskId, outcome: &'static str, at: Timestamp) -> Result<(), String> {
        self.ended += 1;
        self.give_up_place(task);
        let (number, expired) = (self.ended, outcome == "expired");
        let by_itself = matches!(outcome, "succeeded" | "failed");
        self.kills.values_mut().filter(|(of, _)| by_itself && *of == task).for_each(|(_, ended)| *ended = true);
        let in_turn = if expired { self.deadlines.expired(task, at) } else { Ok(()) };
        self.deadlines.remove(task);
        let place = match self.story(task)?.state {
            State::Sent(_) => {
                self.leave(task)?;
                2
            }
            State::Waiting => 1,
            State::Queued | State::Finished(_) => 0,
        };
        let story = self.story(task)?;
        (story.state, story.ended) = (State::Finished(outcome), number);
        let (attempts, not_late) = (story.attempts, story.not_late());
        if self.room.is_some() {
            not_late?; // a shutdown ends tasks wherever they are
        }
        if outcome == "cancelled" {
            self.cancelled[place] += 1;
        }
        if expired {
            agree("the attempts of a task that had not started", &attempts, &0)?;
        }
        in_turn
    }

    fn ready(&mut self, worker: WorkerRef, pid: u32) -> Result<(), String> {
        let story = WorkerStory { pid, down: None, in_flight: 0 };
        if self.workers.insert(worker, story).is_some() {
            return Err(format!("{worker} is ready twice"));
        }
        self.appears(worker)
    }

    fn down(&mut self, worker: WorkerRef, reason: &WorkerDownReason) -> Result<(), String> {
        let Some(story) = self.workers.get_mut(&worker) else {
            return self.appears(worker); // before its handshake
        };
        if let (Some((task, ended)), WorkerDownReason::Killed(_)) = (self.kills.remove(&worker), reason) {
            self.kills_done[0] += 1;
            self.kills_done[1] += u64::from(ended);
            self.killed.insert(worker, task);
        }
        if story.down.replace(reason.clone()).is_some() { Err(format!("{worker} is down twice")) } else { Ok(()) }
    }

    /// Checks that a worker has the next generation of its slot, and that its predecessor has ended.
    fn appears(&mut self, worker: WorkerRef) -> Result<(), String> {
        let before = self.latest.insert(worker.id, worker);
        if let Some(before) = before.and_then(|before| self.workers.get(&before))
            && before.down.is_none()
            && !self.recycles
        {
            return Err(format!("{worker} is there before its predecessor is down"));
        }
        let expected = before.map_or(Generation::FIRST, |before| before.generation.next());
        agree("a worker's generation", &worker.generation, &expected)
    }
}
