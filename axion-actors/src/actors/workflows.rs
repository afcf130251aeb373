//! The WorkflowManager: owns the workflows in flight and the records of those that have ended.
//!
//! Steps are tasks like any others: they pass the admission when they are due, wait in the Dispatcher's
//! queues, and come back as records.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::prelude::*;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::StopOnPanic;
use super::admission::{Admission, NoRoom};
use super::dispatcher::Dispatcher;
use super::events::EventBus;
use super::messages::{
    CancelStep, CancelWorkflows, Expand, IntroduceWorkflows, LookUp, News, StepNews, SubmitSteps, Tasks, WorkflowGone,
    WorkflowOver, WorkflowRefusal, WorkflowRequest, WorkflowSubmission,
};
use crate::config::Config;
use crate::model::workflow::{Dependency, WorkflowId, WorkflowRecord, WorkflowSpec};
use crate::model::{Clock, ErrorKind, EventKind, Outcome, Task, TaskError, TaskId, TaskRecord, Tick};
use crate::policy::graph::{Ended, Known};
use crate::policy::task_table::Keep;
use crate::policy::workflows::{Action, Kept, StepRef, Workflows};

/// Steps that travel to the Dispatcher together.
const PIECE: usize = 256;

type Answer = oneshot::Sender<Result<Arc<WorkflowRecord>, WorkflowGone>>;

/// The actor that every workflow passes through.
pub struct WorkflowManager {
    flows: Workflows,
    dispatcher: Addr<Dispatcher>,
    admission: Arc<Admission>,
    bus: EventBus,
    clock: Clock,
    /// Steps that are due and have no room yet, in order.
    backlog: VecDeque<StepRef>,
    /// Waits for its room.
    next: Option<(StepRef, Task)>,
    /// It has been cancelled meanwhile.
    dropped: bool,
    waiters: FxHashMap<WorkflowId, Vec<Answer>>,
    expands: FxHashMap<WorkflowId, Expand>,
    kept: Kept,
    /// Workflows that may be in flight.
    most: usize,
    /// The engine is ending: what is in flight is cancelled, and nothing begins.
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
        bus: EventBus,
        clock: Clock,
    ) -> Self {
        let keep = Keep {
            count: config.output_queue_size,
            bytes: config.output_queue_bytes,
            each: usize::MAX,
            age: config.result_ttl,
        };
        Self {
            flows: Workflows::new(config.capacity(crate::process::machine_memory())),
            dispatcher,
            admission,
            bus,
            clock,
            backlog: VecDeque::new(),
            next: None,
            dropped: false,
            waiters: FxHashMap::default(),
            expands: FxHashMap::default(),
            kept: Kept::new(keep),
            most: config.input_queue_size,
            closing: false,
            _fatal: StopOnPanic,
        }
    }

    /// Asks what is known of the tasks that a workflow names, and begins it when the answer is there.
    fn submit(&mut self, submission: WorkflowSubmission, ctx: &mut Context<Self>) {
        let refusal = if self.closing || !self.admission.is_open() {
            Some(WorkflowRefusal::ShuttingDown)
        } else if self.flows.len() >= self.most {
            Some(WorkflowRefusal::TooMany { most: self.most })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let _ = submission.accepted.send(Err(refusal));
            self.dispatcher.do_send(WorkflowOver);
            return;
        }
        let (own, named) = tasks_of(&submission.spec);
        let known = self.dispatcher.send(LookUp { workflow: submission.id, own, named }).into_actor(self);
        // Waited for, so that what was asked after this finds it.
        ctx.wait(known.map(|known, manager, ctx| {
            let Tasks(known) = known.unwrap_or_else(|_| Tasks(FxHashMap::default()));
            manager.begin(submission, &known, ctx);
        }));
    }

    fn begin(&mut self, submission: WorkflowSubmission, known: &FxHashMap<TaskId, Known>, ctx: &mut Context<Self>) {
        let WorkflowSubmission { id, spec, expand, accepted, reply } = submission;
        let known = |task: TaskId| known.get(&task).cloned().unwrap_or(Known::Unknown);
        match self.flows.submit(id, spec, &known, self.clock.now()) {
            Ok(()) => {
                let _ = accepted.send(Ok(()));
                self.waiters.entry(id).or_default().push(reply);
                self.expands.insert(id, expand);
            }
            Err(problems) => {
                let _ = accepted.send(Err(WorkflowRefusal::Graph(problems)));
                self.dispatcher.do_send(WorkflowOver);
            }
        }
        self.carry_out(ctx);
    }

    fn hear(&mut self, news: News) {
        let now = self.clock.now();
        match news {
            News::Started(step) => self.flows.started(step, now),
            News::Ended(step, record) => self.ended(step, &record, now),
            News::Refused(step) => {
                let words = "a task with this id was submitted meanwhile: make a new one";
                let error = TaskError::new(ErrorKind::Cancelled, words);
                self.flows.ended(step, Outcome::Cancelled(Box::new(error)).into(), now);
            }
            News::External(id, record) => self.flows.external_ended(id, record.id, record.outcome.clone(), now),
        }
    }

    fn ended(&mut self, step: StepRef, record: &TaskRecord, now: Tick) {
        let since_start = |started: jiff::Timestamp| {
            let since = started.duration_since(self.clock.epoch());
            Tick::default().after(since.try_into().unwrap_or_default())
        };
        let ended = Ended {
            outcome: record.outcome.clone(),
            attempts: record.attempt.map_or(0, |attempt| attempt.0),
            started: record.timings.started.map(since_start),
        };
        let expand = self.expands.get(&step.workflow).filter(|_| self.flows.is_dynamic(step));
        match (expand, ended.outcome.data()) {
            (Some(expand), Some(data)) => {
                let steps = expand(data);
                // What a step adds can wait for steps of its own workflow, not for other tasks.
                self.flows.ended_with(step, ended, steps, &|_| Known::Unknown, now);
            }
            _ => self.flows.ended(step, ended, now),
        }
    }

    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        loop {
            let actions = self.flows.take_actions();
            if actions.is_empty() {
                break;
            }
            let mut cancels = FxHashMap::default();
            for action in actions {
                match action {
                    Action::Submit(step) => self.backlog.push_back(step),
                    Action::Cancel { step, task } => {
                        cancels.insert(step, task);
                    }
                    Action::Changed { workflow, step, state } => {
                        let graph = self.flows.graph(workflow);
                        self.bus.emit(|| {
                            let step = graph.and_then(|graph| graph.title_of(step)).unwrap_or_default();
                            EventKind::StepChanged { workflow, step, state }
                        });
                    }
                    Action::Finished(id) => self.finished(id),
                }
            }
            self.cancel(cancels);
        }
        self.feed(Vec::new(), ctx);
    }

    /// Ends steps: those that have no room yet are dropped, all of them in one pass.
    fn cancel(&mut self, mut steps: FxHashMap<StepRef, TaskId>) {
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
            let words = "the step was cancelled before it was submitted";
            let outcome = Outcome::Cancelled(Box::new(TaskError::new(ErrorKind::Cancelled, words)));
            self.flows.ended(step, outcome.into(), self.clock.now());
        }
        for task in steps.into_values() {
            self.dispatcher.do_send(CancelStep(task));
        }
    }

    fn finished(&mut self, id: WorkflowId) {
        let Some(graph) = self.flows.take(id) else { return };
        let record = Arc::new(graph.into_record(self.clock.epoch()));
        self.expands.remove(&id);
        for reply in self.waiters.remove(&id).unwrap_or_default() {
            let _ = reply.send(Ok(record.clone()));
        }
        let state = record.state;
        self.kept.push(record, self.clock.now());
        self.bus.emit(|| EventKind::WorkflowFinished { workflow: id, state });
        self.dispatcher.do_send(WorkflowOver);
    }

    /// Hands steps to the Dispatcher as far as there is room (L9), behind those of `piece`, which have theirs, and
    /// waits for room for the next one. A task is made only here: of what waits, next to nothing is kept in memory, and
    /// what goes on is still in the processor's caches when it is sent, and mostly when it ends.
    fn feed(&mut self, mut piece: Vec<(StepRef, Task)>, ctx: &mut Context<Self>) {
        while self.next.is_none()
            && let Some(step) = self.backlog.pop_front()
        {
            let Some((task, params)) = self.flows.hand_over(step) else { continue };
            // Here, as late as can be, large results are copied.
            let task = task.with_params(params.into_bytes());
            let units = self.admission.units_of(task.weight());
            match self.admission.try_enter(1, units) {
                // A workflow that was accepted goes on while the engine drains.
                Ok(()) | Err(NoRoom::Closed) => piece.push((step, task)),
                Err(NoRoom::Full | NoRoom::Heavy | NoRoom::Overloaded(_)) => self.wait_for_room(step, task, units, ctx),
            }
            if piece.len() == PIECE {
                self.dispatcher.do_send(SubmitSteps(std::mem::take(&mut piece)));
            }
        }
        if !piece.is_empty() {
            self.dispatcher.do_send(SubmitSteps(piece));
        }
    }

    fn wait_for_room(&mut self, step: StepRef, task: Task, units: u32, ctx: &mut Context<Self>) {
        self.next = Some((step, task));
        let admission = self.admission.clone();
        let room = async move { admission.enter(1, units).await };
        ctx.spawn(room.into_actor(self).map(move |entered, manager, ctx| {
            let mut piece = Vec::new();
            match manager.next.take() {
                Some(next) if !manager.dropped => piece.push(next),
                // It was cancelled meanwhile: its room is somebody else's.
                _ if entered.is_ok() => manager.admission.leave(1, units as usize),
                _ => {}
            }
            manager.dropped = false;
            manager.feed(piece, ctx);
        }));
    }

    fn look(&mut self, id: WorkflowId) -> Result<Arc<WorkflowRecord>, WorkflowGone> {
        match self.flows.graph(id) {
            Some(graph) => Ok(Arc::new(graph.record(self.clock.epoch()))),
            None => self.kept.get(id, self.clock.now()).ok_or(WorkflowGone),
        }
    }
}

/// The tasks of a workflow's steps, and those that they name; their own are among these.
fn tasks_of(spec: &WorkflowSpec) -> (Vec<TaskId>, Vec<TaskId>) {
    let own = spec.steps.iter().map(|step| step.task().id());
    let named = spec.steps.iter().flat_map(|step| step.depends_on()).filter_map(|dependency| match dependency {
        Dependency::Task(id) => Some(*id),
        Dependency::Step(_) => None,
    });
    (own.collect(), named.collect())
}

impl Actor for WorkflowManager {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let me = ctx.address();
        let (requests, news, cancel) = (me.clone().recipient(), me.clone().recipient(), me.recipient());
        self.dispatcher.do_send(IntroduceWorkflows { requests, news, cancel });
    }
}

impl Handler<WorkflowRequest> for WorkflowManager {
    type Result = ();

    fn handle(&mut self, request: WorkflowRequest, ctx: &mut Self::Context) {
        self.flows.watch(self.bus.is_watched());
        match request {
            WorkflowRequest::Submit(submission) => self.submit(*submission, ctx),
            WorkflowRequest::Await { id, reply } => match self.flows.graph(id) {
                Some(_) => {
                    let waiters = self.waiters.entry(id).or_default();
                    waiters.retain(|waiter| !waiter.is_closed());
                    waiters.push(reply);
                }
                None => {
                    let _ = reply.send(self.look(id));
                }
            },
            WorkflowRequest::Look { id, reply } => {
                let _ = reply.send(self.look(id));
            }
            WorkflowRequest::Cancel { id, reply } => {
                let _ = reply.send(self.flows.cancel(id, self.clock.now()));
                self.carry_out(ctx);
            }
        }
    }
}

impl Handler<StepNews> for WorkflowManager {
    type Result = ();

    fn handle(&mut self, StepNews(news): StepNews, ctx: &mut Self::Context) {
        self.flows.watch(self.bus.is_watched());
        for news in news {
            self.hear(news);
        }
        self.carry_out(ctx);
    }
}

impl Handler<CancelWorkflows> for WorkflowManager {
    type Result = ();

    fn handle(&mut self, CancelWorkflows { reply }: CancelWorkflows, ctx: &mut Self::Context) {
        self.closing = true;
        self.flows.cancel_all(self.clock.now());
        self.carry_out(ctx);
        // Those whose tasks have ended hear of it before this comes back: one round through the Dispatcher.
        let round = self.dispatcher.send(super::messages::LookAtLoads).into_actor(self);
        ctx.spawn(round.map(move |_, _, ctx| {
            ctx.address().do_send(Answered(reply));
        }));
    }
}

/// Everything that was sent to us before this has been heard.
#[derive(Message)]
#[rtype(result = "()")]
struct Answered(oneshot::Sender<()>);

impl Handler<Answered> for WorkflowManager {
    type Result = ();

    fn handle(&mut self, Answered(reply): Answered, _: &mut Self::Context) {
        let _ = reply.send(());
    }
}
