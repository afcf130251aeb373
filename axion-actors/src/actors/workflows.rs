//! The WorkflowManager: owns the workflows in flight and the records of those that have ended.
//!
//! Steps are tasks: a ready step passes the admission, waits in the Dispatcher's queues, and comes back as a record.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::oneshot;

use super::StopOnPanic;
use super::admission::{Admission, NoRoom};
use super::answer::{Refusal, WorkflowAnswer, WorkflowGone};
use super::dispatcher::Dispatcher;
use super::late_waiters::LateWaiters;
use super::messages::{
    CancelSteps, CancelTask, CancelWorkflows, Expand, LookUp, RegisterWorkflows, Reply, StepUpdate, StepUpdates,
    SubmitSteps, Tasks, TimerDue, WorkflowClosed, WorkflowRefusal, WorkflowRequest, WorkflowSubmission,
};
use super::timer::{ActorTimer, TimerDriver};
use crate::config::Config;
use crate::model::workflow::{Dependency, Reference, StepOutcome, WorkflowId, WorkflowSpec};
use crate::model::{
    CancelAnswer, CancelSource, Clock, ErrorKind, ExpiredBy, FactKind, Outcome, Task, TaskError, TaskId, TaskRecord,
    Tick,
};
use crate::policy::graph::{Ended, Lookups, StepStatus};
use crate::policy::retention::RetentionPolicy;
use crate::policy::workflows::{RetainedWorkflows, StepRef, WorkflowAction, Workflows};
use crate::process::{machine_memory, offload_or_inline};
use crate::sequencer::Sequencer;

/// The number of steps in one message to the Dispatcher.
const BATCH: usize = 256;

/// The actor that owns all workflows.
pub struct WorkflowManager {
    workflows: Workflows,
    dispatcher: Addr<Dispatcher>,
    admission: Arc<Admission>,
    sequencer: Sequencer,
    clock: Clock,
    /// Ready steps that wait for admission, in order.
    backlog: VecDeque<StepRef>,
    /// The step that waits for room, with its task.
    next: Option<(StepRef, Task)>,
    /// Whether that step was cancelled.
    dropped: bool,
    waiters: LateWaiters<WorkflowId, Reply<WorkflowAnswer>>,
    /// The replies to send when a step ends, by its task.
    step_waiters: LateWaiters<TaskId, Reply>,
    expands: FxHashMap<WorkflowId, Expand>,
    retained: RetainedWorkflows,
    /// Due when the oldest record expires.
    timer: ActorTimer,
    /// The limit of workflows in flight.
    max_in_flight: usize,
    /// The limit of a task's bytes.
    task_limit: usize,
    /// The number of results that are read on other threads, whose steps end afterwards.
    reading: usize,
    /// The answers that wait for those.
    when_read: Vec<oneshot::Sender<()>>,
    /// Whether the engine is ending. Then workflows in flight are cancelled, and no workflow is accepted.
    closing: bool,
    _fatal: StopOnPanic,
}

impl WorkflowManager {
    /// A manager without workflows.
    #[must_use]
    pub fn new(
        config: &Config,
        dispatcher: Addr<Dispatcher>,
        admission: Arc<Admission>,
        sequencer: Sequencer,
        timers: &TimerDriver,
    ) -> Self {
        let policy = RetentionPolicy {
            count: config.output_queue_size,
            bytes: config.output_queue_bytes,
            each: usize::MAX,
            age: config.result_ttl,
        };
        Self {
            workflows: Workflows::new(config.capacity(crate::process::machine_memory())),
            dispatcher,
            admission,
            sequencer,
            clock: timers.clock(),
            backlog: VecDeque::new(),
            next: None,
            dropped: false,
            waiters: LateWaiters::default(),
            step_waiters: LateWaiters::default(),
            expands: FxHashMap::default(),
            retained: RetainedWorkflows::new(policy),
            timer: timers.timer(),
            max_in_flight: config.input_queue_size,
            task_limit: config.payload_limit(machine_memory()),
            reading: 0,
            when_read: Vec::new(),
            closing: false,
            _fatal: StopOnPanic,
        }
    }

    /// Asks the Dispatcher for the status of the tasks that a workflow names, then begins the workflow.
    fn submit(&mut self, submission: WorkflowSubmission, ctx: &mut Context<Self>) {
        let refusal = if self.closing || !self.admission.is_open() {
            Some(WorkflowRefusal::ShuttingDown)
        } else if self.workflows.len() >= self.max_in_flight {
            Some(WorkflowRefusal::TooMany { most: self.max_in_flight })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.admission.count_refusal(refusal.reason());
            let _ = submission.accepted.send(Err(refusal));
            self.dispatcher.do_send(WorkflowClosed);
            return;
        }
        let (own, others) = tasks_of(&submission.spec);
        let known = self.dispatcher.send(LookUp { workflow: submission.id, own, others }).into_actor(self);
        // The mailbox waits, so that later requests find the workflow.
        ctx.wait(known.map(|known, manager, ctx| {
            let Tasks(known) = known.unwrap_or_else(|_| Tasks(FxHashMap::default()));
            manager.begin(submission, known, ctx);
        }));
    }

    fn begin(
        &mut self,
        submission: WorkflowSubmission,
        mut known: FxHashMap<TaskId, StepStatus>,
        ctx: &mut Context<Self>,
    ) {
        let WorkflowSubmission { id, spec, expand, accepted, reply } = submission;
        let now = self.begin_turn();
        self.retained.look_up(&mut known, now);
        let submitted = self.workflows.submit(id, spec, known, now);
        self.record(now);
        match submitted {
            Ok(()) => {
                let _ = accepted.send(Ok(()));
                self.waiters.add(id, reply);
                self.expands.insert(id, expand);
            }
            Err(problems) => {
                let refusal = WorkflowRefusal::Graph(problems);
                self.admission.count_refusal(refusal.reason());
                let _ = accepted.send(Err(refusal));
                self.dispatcher.do_send(WorkflowClosed);
            }
        }
        self.carry_out(now, ctx);
    }

    /// Starts a turn and returns its time, by which everything in it is decided. Its facts are made only if somebody
    /// listens.
    fn begin_turn(&mut self) -> Tick {
        self.workflows.recorder().begin(self.sequencer.is_subscribed());
        self.clock.now()
    }

    /// Records the facts so far. Call it before anything leaves the engine's thread (L13).
    fn record(&mut self, now: Tick) {
        let recorder = self.workflows.recorder();
        for (workflow, by) in self.retained.take_dropped() {
            recorder.note(now, || FactKind::WorkflowRecordDropped { workflow, by });
        }
        let _recorded = self.sequencer.record(recorder.take());
    }

    fn apply_update(&mut self, update: StepUpdate, now: Tick, ctx: &mut Context<Self>) {
        match update {
            StepUpdate::Started(step) => self.workflows.started(step, now),
            StepUpdate::Ended(step, record) => match self.workflows.lookups(step, &record.outcome) {
                Some(lookups) => self.read_result(step, record, lookups, ctx),
                None => self.ended(step, &record, now),
            },
            StepUpdate::Refused(step) => {
                let words = "a task with this id was submitted meanwhile: make a new one";
                let error = TaskError::new(ErrorKind::Cancelled, words);
                self.workflows.ended(step, Ended::without_attempt(Outcome::Cancelled(Box::new(error))), now);
            }
            StepUpdate::External(id, record) => {
                self.workflows.external_ended(id, record.id, record.outcome.clone(), now)
            }
        }
    }

    /// Has a large result read on another thread (L11). The step ends afterwards.
    fn read_result(&mut self, step: StepRef, record: Arc<TaskRecord>, lookups: Lookups, ctx: &mut Context<Self>) {
        self.reading += 1;
        let found = offload_or_inline(move || lookups.run());
        ctx.spawn(found.into_actor(self).map(move |found, manager, ctx| {
            let now = manager.begin_turn();
            if let Some(found) = found {
                manager.workflows.found(step, found);
            }
            manager.ended(step, &record, now);
            manager.carry_out(now, ctx);
            manager.reading -= 1;
            manager.answer_when_read();
        }));
    }

    fn answer_when_read(&mut self) {
        if self.reading == 0 {
            for reply in self.when_read.drain(..) {
                let _ = reply.send(());
            }
        }
    }

    fn ended(&mut self, step: StepRef, record: &Arc<TaskRecord>, now: Tick) {
        self.answer_with(step, record);
        let since_start = |started: jiff::Timestamp| {
            let since = started.duration_since(self.clock.epoch());
            // The wall clock may have been set since the record was made.
            Tick::default().after(since.try_into().unwrap_or_default()).min(now)
        };
        let ended = Ended {
            outcome: record.outcome.clone(),
            attempts: record.attempt.map_or(0, |attempt| attempt.0),
            started: record.timings.started.map(since_start),
        };
        let expand = self.expands.get(&step.workflow).filter(|_| self.workflows.is_dynamic(step));
        let data = match &ended.outcome {
            Outcome::Succeeded(data) if expand.is_some() => data.json().ok(),
            _ => None,
        };
        match (expand, data) {
            (Some(expand), Some(data)) => {
                let steps = expand(&data);
                // Added steps can depend only on steps of their own workflow.
                self.workflows.ended_with(step, ended, steps, &|_| StepStatus::Unknown, now);
            }
            _ => self.workflows.ended(step, ended, now),
        }
    }

    fn carry_out(&mut self, now: Tick, ctx: &mut Context<Self>) {
        self.act(now);
        while self.feed(Vec::new(), now, ctx) {
            self.act(now);
        }
        self.arm_expiry(ctx);
    }

    fn act(&mut self, now: Tick) {
        loop {
            self.record(now);
            let actions = self.workflows.take_actions();
            if actions.is_empty() {
                break;
            }
            let mut cancels = FxHashMap::default();
            for action in actions {
                match action {
                    WorkflowAction::Submit(step) => self.backlog.push_back(step),
                    WorkflowAction::Cancel { step, task } => {
                        cancels.insert(step, task);
                    }
                    WorkflowAction::Ended { step, task, outcome } => self.step_ended(step, task, *outcome, now),
                    WorkflowAction::Finished(id) => self.finished(id, now),
                }
            }
            self.cancel(cancels, now);
        }
    }

    /// Sets a timer for the age of the oldest record, so that old records are dropped without a request.
    fn arm_expiry(&mut self, ctx: &Context<Self>) {
        if let Some(next) = self.retained.next_expiry() {
            self.timer.set(next, ctx);
        }
    }

    /// Cancels steps. Those that wait for admission are dropped, all of them in one pass.
    fn cancel(&mut self, mut steps: FxHashMap<StepRef, TaskId>, now: Tick) {
        if steps.is_empty() {
            return;
        }
        let mut dropped = Vec::new();
        self.backlog.retain(|step| {
            let is_cancelled = steps.remove(step).is_some();
            if is_cancelled {
                dropped.push(*step);
            }
            !is_cancelled
        });
        if let Some((step, _)) = &self.next
            && steps.remove(step).is_some()
        {
            self.dropped = true;
            dropped.push(*step);
        }
        for step in dropped {
            self.workflows.not_submitted(step, now);
        }
        if !steps.is_empty() {
            self.dispatcher.do_send(CancelSteps(steps.into_values().collect()));
        }
    }

    fn finished(&mut self, id: WorkflowId, now: Tick) {
        let Some(graph) = self.workflows.take(id) else { return };
        let span = graph.span();
        let record = Arc::new(graph.into_record(self.clock.epoch()));
        self.expands.remove(&id);
        let fact = record.clone();
        let finished = || FactKind::WorkflowFinished { workflow: id, state: fact.state, record: fact };
        self.workflows.recorder().note(now, finished);
        self.retained.push(record.clone(), span, now);
        self.record(now);
        for reply in self.waiters.take(&id) {
            reply.send(Ok(record.clone()));
        }
        self.dispatcher.do_send(WorkflowClosed);
    }

    /// Hands steps to the Dispatcher as far as there is room (L9), after those of `batch`, which have room already.
    /// Waits for room for the next step. A task is built only here: a waiting step takes next to no memory, and a step
    /// that continues is still in the processor's caches when it is sent. Returns whether a step has ended instead.
    #[must_use]
    fn feed(&mut self, mut batch: Vec<(StepRef, Task)>, now: Tick, ctx: &mut Context<Self>) -> bool {
        let mut ended = false;
        while self.next.is_none()
            && let Some(step) = self.backlog.pop_front()
        {
            let Some((task, params)) = self.workflows.hand_over(step) else { continue };
            // Checked before the copy: one result may stand in many places (L9).
            let weight = task.weight() - task.params_bytes().len() + params.len();
            if weight > self.task_limit {
                self.workflows.ended(step, too_large(weight, self.task_limit), now);
                ended = true;
                continue;
            }
            // Large results are copied here, as late as possible.
            let task = task.with_params(params.into_bytes());
            let units = self.admission.units_of(task.weight());
            match self.admission.try_enter(1, units) {
                // An accepted workflow continues while the engine drains.
                Ok(()) | Err(NoRoom::Closed) => batch.push((step, task)),
                Err(NoRoom::Full | NoRoom::Heavy | NoRoom::Overloaded(_)) => self.wait_for_room(step, task, units, ctx),
            }
            if batch.len() == BATCH {
                self.dispatcher.do_send(SubmitSteps(std::mem::take(&mut batch)));
            }
        }
        if !batch.is_empty() {
            self.dispatcher.do_send(SubmitSteps(batch));
        }
        ended
    }

    fn wait_for_room(&mut self, step: StepRef, task: Task, units: u32, ctx: &mut Context<Self>) {
        self.next = Some((step, task));
        let admission = self.admission.clone();
        let room = async move { admission.enter(1, units).await };
        ctx.spawn(room.into_actor(self).map(move |entered, manager, ctx| {
            let now = manager.begin_turn();
            let mut batch = Vec::new();
            match manager.next.take() {
                Some(next) if !manager.dropped => batch.push(next),
                // The step was cancelled, and others can use its room.
                _ if entered.is_ok() => manager.admission.leave(1, units as usize),
                _ => {}
            }
            manager.dropped = false;
            if manager.feed(batch, now, ctx) {
                manager.carry_out(now, ctx);
            }
        }));
    }

    /// Answers the waiters of a step with the record of its task.
    fn answer_with(&mut self, step: StepRef, record: &Arc<TaskRecord>) {
        if self.step_waiters.is_empty() || step.key.instance.is_some() {
            return;
        }
        let task = self.workflows.graph(step.workflow).and_then(|graph| graph.id_of(step.key));
        for reply in task.map(|task| self.step_waiters.take(&task)).unwrap_or_default() {
            reply.send(Ok(record.clone()));
        }
    }

    /// Answers the waiters of a step that ended, with or without a task that ran (L1).
    fn step_ended(&mut self, step: StepRef, task: TaskId, outcome: StepOutcome, now: Tick) {
        let waiting = self.step_waiters.take(&task);
        if waiting.is_empty() {
            return;
        }
        let answer = self.record_of(step, outcome, now);
        for reply in waiting {
            reply.send(answer.clone());
        }
    }

    fn record_of(&self, step: StepRef, outcome: StepOutcome, now: Tick) -> Result<Arc<TaskRecord>, Refusal> {
        let graph = self.workflows.graph(step.workflow);
        let record = graph.and_then(|graph| graph.record_of(step.key.step, outcome, self.clock.epoch()));
        record.map(Arc::new).ok_or_else(|| self.not_retained(now))
    }

    /// The answer for a result that was not retained.
    fn not_retained(&self, now: Tick) -> Refusal {
        Refusal::ResultExpired { at: self.clock.wall(now), why: ExpiredBy::NotRetained }
    }

    /// Waits for a task that the Dispatcher does not know, because it may be a step.
    fn await_task(&mut self, id: TaskId, reply: Reply, now: Tick) {
        let Some(step) = self.workflows.step_of(id) else {
            let retained = self.retained.step(id, now).map(|(step, at)| step.clone().into_task_record(at));
            return reply.send(match retained {
                Some(record) => record.map(Arc::new).ok_or_else(|| self.not_retained(now)),
                None => Err(Refusal::UnknownId),
            });
        };
        match self.workflows.status(step) {
            StepStatus::Live => {
                self.workflows.subscribe(step);
                self.step_waiters.add(id, reply);
            }
            StepStatus::Ended(outcome) => reply.send(self.record_of(step, outcome, now)),
            StepStatus::ResultDropped | StepStatus::Unknown => reply.send(Err(self.not_retained(now))),
        }
    }

    /// Cancels a task that the Dispatcher does not know, because it may be a step.
    fn cancel_task(&mut self, id: TaskId, by: CancelSource, now: Tick) -> CancelAnswer {
        let Some(step) = self.workflows.step_of(id) else {
            let ended = self.retained.step(id, now).map(|(step, _)| step.state.outcome_name());
            return ended.map_or(CancelAnswer::Unknown, CancelAnswer::AlreadyFinished);
        };
        let is_queued = self.is_queued(step);
        let has_started = !is_queued && !self.workflows.waits(step) && self.workflows.status(step) == StepStatus::Live;
        if by == CancelSource::Withdrawal && has_started {
            return CancelAnswer::Started;
        }
        let answer = self.workflows.cancel_step(step, now);
        if is_queued { CancelAnswer::Removed } else { answer }
    }

    /// Whether a step waits here for admission.
    fn is_queued(&self, step: StepRef) -> bool {
        let next = self.next.as_ref().filter(|_| !self.dropped).map(|(next, _)| *next);
        self.backlog.iter().copied().chain(next).any(|due| due == step)
    }

    fn current_record(&mut self, id: WorkflowId, now: Tick) -> WorkflowAnswer {
        match self.workflows.graph(id) {
            Some(graph) => Ok(Arc::new(graph.record(self.clock.epoch()))),
            None => self.retained.get(id, now).ok_or(WorkflowGone),
        }
    }
}

/// The size of a step's parameters is known only when the step is ready.
fn too_large(size: usize, limit: usize) -> Ended {
    let words = format!(
        "the parameters, with what other steps returned, are {size} bytes, the limit is {limit}: pass a file's path from \
         step to step instead, or raise `payload_limit`"
    );
    Ended::without_attempt(Outcome::Failed(Box::new(TaskError::new(ErrorKind::ParamsTooLarge, words))))
}

/// The tasks of a workflow's steps, and the external tasks that the steps depend on.
fn tasks_of(spec: &WorkflowSpec) -> (Vec<TaskId>, Vec<TaskId>) {
    let own: Vec<TaskId> = spec.steps.iter().map(|step| step.task().id()).collect();
    let named = spec.steps.iter().flat_map(|step| step.depends_on()).filter_map(|dependency| match dependency {
        Dependency::Task(id) => Some(*id),
        Dependency::Step(_) => None,
    });
    let referred_to = spec.steps.iter().flat_map(|step| step.references()).filter_map(Reference::task);
    // Most steps name the same step as the step before, or the next one, which needs no lookup.
    let mut last = 0;
    let mut others: FxHashSet<TaskId> = FxHashSet::default();
    for id in named.chain(referred_to) {
        match [last, last + 1].into_iter().find(|at| own.get(*at) == Some(&id)) {
            Some(at) => last = at,
            None => {
                others.insert(id);
            }
        }
    }
    if !others.is_empty() {
        own.iter().for_each(|id| {
            others.remove(id);
        });
    }
    (own, others.into_iter().collect())
}

impl Actor for WorkflowManager {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let me = ctx.address();
        let (requests, updates, cancel) = (me.clone().recipient(), me.clone().recipient(), me.recipient());
        self.dispatcher.do_send(RegisterWorkflows { requests, updates, cancel });
    }
}

impl Handler<WorkflowRequest> for WorkflowManager {
    type Result = ();

    fn handle(&mut self, request: WorkflowRequest, ctx: &mut Self::Context) {
        let now = self.begin_turn();
        match request {
            WorkflowRequest::Submit(submission) => self.submit(*submission, ctx),
            WorkflowRequest::Await { id, reply } => match self.workflows.graph(id) {
                Some(_) => self.waiters.add(id, reply),
                None => reply.send(self.current_record(id, now)),
            },
            WorkflowRequest::Look { id, reply } => {
                let _ = reply.send(self.current_record(id, now));
            }
            WorkflowRequest::Cancel { id, reply } => {
                let is_there = self.workflows.cancel(id, now);
                self.record(now);
                let _ = reply.send(is_there);
                self.carry_out(now, ctx);
            }
            WorkflowRequest::AwaitTask { id, reply } => self.await_task(id, reply, now),
            WorkflowRequest::CancelTask(CancelTask { id, by, reply }) => {
                let answer = self.cancel_task(id, by, now);
                self.record(now);
                let _ = reply.send(answer);
                self.carry_out(now, ctx);
            }
        }
    }
}

impl Handler<StepUpdates> for WorkflowManager {
    type Result = ();

    fn handle(&mut self, StepUpdates(updates): StepUpdates, ctx: &mut Self::Context) {
        let now = self.begin_turn();
        for update in updates {
            self.apply_update(update, now, ctx);
        }
        self.carry_out(now, ctx);
    }
}

impl Handler<TimerDue> for WorkflowManager {
    type Result = ();

    fn handle(&mut self, _: TimerDue, ctx: &mut Self::Context) {
        let now = self.begin_turn();
        self.retained.expire_old(now);
        self.record(now);
        self.arm_expiry(ctx);
    }
}

impl Handler<CancelWorkflows> for WorkflowManager {
    type Result = ();

    fn handle(&mut self, CancelWorkflows { reply }: CancelWorkflows, ctx: &mut Self::Context) {
        self.closing = true;
        let now = self.begin_turn();
        self.workflows.cancel_all(now);
        self.carry_out(now, ctx);
        // One message to the Dispatcher and back: updates of ended tasks arrive before its answer.
        let round = self.dispatcher.send(super::messages::GetLoads).into_actor(self);
        ctx.spawn(round.map(move |_, _, ctx| {
            ctx.address().do_send(Answered(reply));
        }));
    }
}

/// Marks that all messages before it were handled.
#[derive(Message)]
#[rtype(result = "()")]
struct Answered(oneshot::Sender<()>);

impl Handler<Answered> for WorkflowManager {
    type Result = ();

    fn handle(&mut self, Answered(reply): Answered, _: &mut Self::Context) {
        self.when_read.push(reply);
        self.answer_when_read();
    }
}
