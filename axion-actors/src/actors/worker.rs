//! The Worker: owns one child process and what its tasks write.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::events::EventBus;
use super::messages::{Reports, Retire, WorkerCommand, WorkerDown, WorkerReady};
use crate::model::{
    CapturedOutput, Clock, Data, EndedBy, EventKind, Json, KillReason, LogLevel, Pickle, PostMortem, ProcessExit, Seq,
    Stream, TaskError, TaskId, Tick, Work, WorkName, WorkerDownReason, WorkerRef,
};
use crate::policy::functions::KnownFunctions;
use crate::policy::liveness::{Liveness, Look, Next, Patience};
use crate::policy::scheduler::{Departure, Report, RunTask};
use crate::process::{Child, ChildEvent, ChildExit, EXIT_TOO_OLD, ExitCause, Launched, Progress};
use crate::wire::{ControlDown, ControlUp, Down, Failure, PROTOCOL, Up};

/// A worker that lived this long is replaced at once when it ends.
const HEALTHY_AGE: Duration = Duration::from_secs(1);

/// The actor of one child.
pub struct Worker {
    me: WorkerRef,
    state: State,
    child: Box<dyn Child>,
    events: Option<mpsc::Receiver<ChildEvent>>,
    /// An attempt is being killed, for this reason.
    killing: Option<KillReason>,
    /// What was sent and not answered, by ascending number.
    in_flight: VecDeque<Sent>,
    /// What the child has been sent the code of.
    functions: KnownFunctions,
    outputs: FxHashMap<Seq, Box<CapturedOutput>>,
    /// The last of what all its tasks wrote, by stream.
    tails: [Tail; 2],
    settings: Settings,
    dispatcher: Recipient<Reports>,
    supervisor: Recipient<WorkerReady>,
    bus: EventBus,
    born: Instant,
    ended: u64,
    pid: Option<u32>,
    measured: Instant,
    measuring: Option<SpawnHandle>,
    clock: Clock,
    liveness: Liveness,
    look: Option<SpawnHandle>,
    /// Who asked for each answer to a `Revoke` that is still to come, in the order of the questions.
    revokes: VecDeque<RevokedBy>,
    down: DownGuard,
}

/// Who asked a child to give attempts back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RevokedBy {
    Dispatcher,
    Liveness,
}

/// An attempt at the child.
struct Sent {
    seq: Seq,
    task: TaskId,
    work: WorkName,
}

/// What a worker needs to know of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) start_timeout: Duration,
    pub(super) stop_grace: Duration,
    pub(super) output_limit: usize,
    /// How often to look at the child's memory; `None`: never.
    pub(super) measure_every: Option<Duration>,
    pub(super) patience: Patience,
}

/// Whom a worker speaks to.
#[derive(Clone)]
pub(super) struct Neighbours {
    pub(super) dispatcher: Recipient<Reports>,
    pub(super) ready: Recipient<WorkerReady>,
    pub(super) down: Recipient<WorkerDown>,
    pub(super) bus: EventBus,
}

#[derive(Debug)]
enum State {
    /// Until the handshake.
    Starting,
    /// Takes tasks.
    Ready,
    /// Takes none; the child ends by itself or by the grace period.
    Retiring,
    /// The child has been killed, and this is why.
    Killed(WorkerDownReason),
}

/// Reports the worker's end in every case: a worker that is dropped without having said how it
/// ended did so by a panic.
struct DownGuard {
    me: WorkerRef,
    supervisor: Recipient<WorkerDown>,
    armed: bool,
}

impl DownGuard {
    fn report(&mut self, departure: Departure, healthy: bool) {
        if std::mem::take(&mut self.armed) {
            self.supervisor.do_send(WorkerDown { worker: self.me, departure, healthy });
        }
    }
}

impl Drop for DownGuard {
    fn drop(&mut self) {
        let departure = Departure {
            reason: WorkerDownReason::ActorPanicked,
            running: None,
            outputs: Vec::new(),
            post_mortem: None,
        };
        self.report(departure, true);
    }
}

impl Worker {
    pub(super) fn new(me: WorkerRef, launched: Launched, settings: Settings, neighbours: Neighbours) -> Self {
        Self {
            me,
            state: State::Starting,
            child: launched.child,
            events: Some(launched.events),
            killing: None,
            in_flight: VecDeque::new(),
            functions: KnownFunctions::default(),
            outputs: FxHashMap::default(),
            tails: Default::default(),
            settings,
            dispatcher: neighbours.dispatcher,
            supervisor: neighbours.ready,
            bus: neighbours.bus,
            born: Instant::now(),
            ended: 0,
            pid: None,
            measured: Instant::now(),
            measuring: None,
            clock: Clock::start(),
            liveness: Liveness::new(settings.patience),
            look: None,
            revokes: VecDeque::new(),
            down: DownGuard { me, supervisor: neighbours.down, armed: true },
        }
    }

    fn hear(&mut self, messages: Vec<Up>) {
        if matches!(self.state, State::Killed(WorkerDownReason::Protocol { .. })) {
            return; // nothing it says is believed any more (L8)
        }
        let mut reports = Vec::with_capacity(messages.len());
        for message in messages {
            if let Err(violation) = self.hear_one(message, &mut reports) {
                self.kill(WorkerDownReason::Protocol { violation });
                break;
            }
        }
        self.report(reports);
    }

    fn hear_one(&mut self, message: Up, reports: &mut Vec<Report>) -> Result<(), String> {
        let is_first_word = matches!(message, Up::Ready { .. });
        // What it prints before it is ready are its last words: the interpreter fails to start.
        let is_last_word = matches!(message, Up::Output { .. });
        if matches!(self.state, State::Starting) != is_first_word && !is_last_word {
            return Err(format!("an unexpected message while {:?}: {}", self.state, shown(&message)));
        }
        match message {
            Up::Ready { protocol, pid, python, .. } => self.ready(protocol, pid, python)?,
            Up::Done { seq, nanos, data } => reports.push(self.end(seq, nanos, Ok(data))?),
            Up::Failed { seq, nanos, failure } => {
                reports.push(self.end(seq, nanos, Err(Box::new(into_error(failure))))?);
            }
            Up::Output { seq, stream, data } => self.output((seq.0 != 0).then_some(seq), stream, data),
            Up::Progress { seq, fraction, message } => {
                if let Some(task) = self.task(seq) {
                    self.bus.emit(|| EventKind::Progress { task, fraction, message });
                }
            }
            Up::Log { seq, level, message } => {
                if let Some(task) = self.task(seq) {
                    self.log(task, level, &message);
                    self.bus.emit(|| EventKind::Log { task, level, message });
                }
            }
            Up::Loaded { seq, coroutine } => reports.push(self.learned(seq, coroutine)?),
        }
        Ok(())
    }

    fn ready(&mut self, protocol: u32, pid: u32, python: String) -> Result<(), String> {
        if protocol != PROTOCOL {
            return Err(format!("protocol version {protocol}, expected {PROTOCOL}"));
        }
        tracing::debug!(worker = %self.me, pid, python, "worker ready");
        self.state = State::Ready;
        self.pid = Some(pid);
        self.supervisor.do_send(WorkerReady { worker: self.me, pid });
        self.bus.emit(|| EventKind::WorkerReady { worker: self.me, pid, python });
        Ok(())
    }

    fn end(&mut self, seq: Seq, nanos: u64, result: Result<Bytes, Box<TaskError>>) -> Result<Report, String> {
        let at = self.position(seq);
        let sent = at.and_then(|at| self.in_flight.remove(at));
        let work = sent.ok_or_else(|| format!("a result of attempt {seq}, which it was not sent"))?.work;
        self.ended += 1;
        let result = result.map(|data| match work {
            WorkName::Script(_) => Data::Json(Json(data)),
            WorkName::Function(_) => Data::of_function(data),
        });
        Ok(Report::Ended { seq, nanos, result, output: self.outputs.remove(&seq) })
    }

    /// It may only speak of the script or function of a task that it runs (L8).
    fn learned(&self, seq: Seq, coroutine: bool) -> Result<Report, String> {
        let at =
            self.position(seq).ok_or_else(|| format!("something loaded for attempt {seq}, which it was not sent"))?;
        Ok(Report::Learned { work: self.in_flight[at].work.clone(), coroutine })
    }

    fn position(&self, seq: Seq) -> Option<usize> {
        // Mostly it is the first.
        if self.in_flight.front().is_some_and(|sent| sent.seq == seq) {
            return Some(0);
        }
        self.in_flight.binary_search_by_key(&seq, |sent| sent.seq).ok()
    }

    fn task(&self, seq: Seq) -> Option<TaskId> {
        self.position(seq).map(|at| self.in_flight[at].task)
    }

    /// Keeps what a task writes with the task; what nobody can be blamed for is only shown.
    fn output(&mut self, seq: Option<Seq>, stream: Stream, data: Bytes) {
        let task = seq.and_then(|seq| self.task(seq));
        self.tails[stream as usize].push(&data);
        if let (Some(seq), Some(_)) = (seq, task) {
            let captured = self.outputs.entry(seq).or_default();
            let part = match stream {
                Stream::Stdout => &mut captured.stdout,
                Stream::Stderr => &mut captured.stderr,
            };
            part.push(&data, self.settings.output_limit);
        } else {
            tracing::debug!(worker = %self.me, ?stream, text = %String::from_utf8_lossy(&data), "output outside any task");
        }
        self.bus.emit(|| EventKind::Output { task, worker: self.me, stream, data });
    }

    fn log(&self, task: TaskId, level: LogLevel, message: &str) {
        let worker = self.me.id;
        match level {
            LogLevel::Debug => tracing::debug!(%task, %worker, "{message}"),
            LogLevel::Info => tracing::info!(%task, %worker, "{message}"),
            LogLevel::Warning => tracing::warn!(%task, %worker, "{message}"),
            LogLevel::Error => tracing::error!(%task, %worker, "{message}"),
        }
    }

    fn hear_control(&mut self, messages: Vec<ControlUp>, ctx: &mut Context<Self>) {
        for message in messages {
            match message {
                ControlUp::Revoked { seqs } => {
                    let seqs: Vec<Seq> = seqs.into_iter().filter(|seq| self.forget(*seq)).collect();
                    // The Dispatcher waits for the answers to its own questions, also for those that give nothing back.
                    if self.revokes.pop_front() != Some(RevokedBy::Liveness) || !seqs.is_empty() {
                        self.report(vec![Report::Revoked { seqs }]);
                    }
                }
                ControlUp::Pong { nonce } => self.consult(ctx, |it, look, now| it.answered(nonce, look, now)),
            }
        }
    }

    fn revoke(&mut self, seqs: Vec<Seq>, by: RevokedBy) {
        self.revokes.push_back(by);
        self.child.control(&ControlDown::Revoke { seqs });
    }

    /// Tells the liveness rule what has happened, and does what it says.
    fn consult(&mut self, ctx: &mut Context<Self>, event: impl FnOnce(&mut Liveness, Look<'_>, Tick) -> Next) {
        if !matches!(self.state, State::Ready) {
            return;
        }
        let owed: Vec<Seq> = self.in_flight.iter().map(|sent| sent.seq).collect();
        let Progress { running, written } = self.child.progress();
        let look = Look { owed: &owed, running: running.as_deref(), written, ended: self.ended };
        let now = self.clock.now();
        match event(&mut self.liveness, look, now) {
            Next::Nothing => {}
            Next::LookAt(at) => self.look_at(at, now, ctx),
            Next::Ask { seqs, nonce, until } => {
                tracing::debug!(worker = %self.me, ?seqs, "asking a worker for attempts that do not run");
                self.revoke(seqs, RevokedBy::Liveness);
                self.child.control(&ControlDown::Ping { nonce });
                self.look_at(until, now, ctx);
            }
            Next::End(fault) => self.kill(WorkerDownReason::Protocol { violation: fault.to_string() }),
        }
    }

    fn look_at(&mut self, at: Tick, now: Tick, ctx: &mut Context<Self>) {
        if let Some(earlier) = self.look.take() {
            ctx.cancel_future(earlier);
        }
        let look = |worker: &mut Self, ctx: &mut Context<Self>| {
            worker.look = None;
            worker.consult(ctx, Liveness::due);
        };
        self.look = Some(ctx.run_later(at.since(now), look));
    }

    fn forget(&mut self, seq: Seq) -> bool {
        self.position(seq).and_then(|at| self.in_flight.remove(at)).is_some()
    }

    /// Lets the child end by itself, for as long as the grace period.
    fn retire(&mut self, ctx: &mut Context<Self>) {
        match self.state {
            State::Killed(_) | State::Retiring => {}
            State::Ready if self.in_flight.is_empty() => {
                self.state = State::Retiring;
                self.child.finish();
                ctx.run_later(self.settings.stop_grace, |worker, _| worker.kill(WorkerDownReason::Retired));
            }
            // Nothing it could finish is wanted any more: the engine has cancelled its tasks, or it has none.
            State::Starting | State::Ready => self.kill(WorkerDownReason::Retired),
        }
    }

    /// Looks at the child's memory while it works and when it has just stopped to, if somebody set a
    /// limit for it; never while it is idle (L10).
    fn measure(&mut self, ctx: &mut Context<Self>) {
        let Some(every) = self.settings.measure_every else { return };
        if self.measured.elapsed() >= every
            && let Some(resident) = self.child.resident()
        {
            self.measured = Instant::now();
            self.report(vec![Report::Measured { resident }]);
        }
        match (self.in_flight.is_empty(), self.measuring) {
            (false, None) => self.measuring = Some(ctx.run_interval(every, |worker, ctx| worker.measure(ctx))),
            (true, Some(timer)) => {
                ctx.cancel_future(timer);
                self.measuring = None;
            }
            _ => {}
        }
    }

    /// Ends one attempt with its process; its result, if it has one by then, is not lost (L2, L6).
    fn execute(&mut self, seq: Seq, reason: KillReason) {
        if !matches!(self.state, State::Ready) {
            return;
        }
        // One that has ended is not looked for in the child, whose word may be worth nothing.
        if self.position(seq).is_none() {
            return self.spared(seq);
        }
        self.killing = Some(reason);
        self.child.kill_attempt(seq);
    }

    fn spared(&mut self, seq: Seq) {
        self.killing = None;
        self.report(vec![Report::Spared { seq }]);
    }

    fn report(&self, reports: Vec<Report>) {
        if !reports.is_empty() {
            self.dispatcher.do_send(Reports { worker: self.me, reports });
        }
    }

    fn run(&mut self, tasks: Vec<RunTask>) {
        // A worker that no longer takes tasks leaves them to its departure, which gives them back.
        if !matches!(self.state, State::Ready) {
            return;
        }
        self.in_flight.extend(tasks.iter().map(|task| Sent { seq: task.seq, task: task.id, work: task.work.name() }));
        let mut messages = Vec::with_capacity(tasks.len());
        for task in tasks {
            if let Work::Function(function) = &task.work {
                let forget = |id| messages.push(Down::Forget { function: id });
                if self.functions.needs(function, forget) {
                    messages.push(Down::Define { function: function.id(), code: function.code().clone() });
                }
            }
            messages.push(into_message(task));
        }
        self.child.send(&messages);
    }

    /// Kills the child; the first reason stays.
    fn kill(&mut self, reason: WorkerDownReason) {
        if !matches!(self.state, State::Killed(_)) {
            match &reason {
                WorkerDownReason::Retired => tracing::debug!(worker = %self.me, "killing a worker that should end"),
                reason => tracing::warn!(worker = %self.me, %reason, "killing a worker"),
            }
            self.state = State::Killed(reason);
        }
        self.child.kill();
    }

    fn gone(&mut self, exit: ChildExit) {
        let ChildExit { cause, running, usage, stderr_tail, stacks, killed, out_of_memory } = exit;
        let code = match &cause {
            ExitCause::Exit(exit) => Some(*exit),
            _ => None,
        };
        let reason = match std::mem::replace(&mut self.state, State::Retiring) {
            State::Killed(reason) => reason,
            State::Retiring => WorkerDownReason::Retired,
            State::Starting => {
                let printed = std::mem::take(&mut self.tails[Stream::Stderr as usize]).into_text();
                start_failure(cause, if printed.trim().is_empty() { &stderr_tail } else { printed.trim() })
            }
            State::Ready => match (cause, self.killing.filter(|_| killed)) {
                (ExitCause::Exit(_), Some(reason)) => WorkerDownReason::Killed(reason),
                (ExitCause::Exit(exit), _) => WorkerDownReason::Exited(exit),
                (ExitCause::Protocol { violation }, _) => WorkerDownReason::Protocol { violation },
                (ExitCause::NotStarted(error), _) => {
                    WorkerDownReason::StartFailed { message: error.to_string(), definite: error.is_definite() }
                }
            },
        };
        // One that broke the protocol is not believed any more, neither its page nor that what it had not
        // answered had not started: its results may lie behind the garbage (L8). Where the page is spoilt,
        // so may the pipe be.
        let running = match (&reason, running) {
            (WorkerDownReason::Protocol { .. }, _) | (_, None) => self.in_flight.iter().map(|sent| sent.seq).collect(),
            (_, Some(running)) => running,
        };
        tracing::debug!(worker = %self.me, ?reason, "worker down");
        self.bus.emit(|| EventKind::WorkerDown { worker: self.me, reason: reason.clone() });
        let [stdout_tail, stderr_tail] = std::mem::take(&mut self.tails).map(Tail::into_text);
        let post_mortem = PostMortem {
            ended_by: ended_by(&reason, out_of_memory),
            exit: code,
            usage,
            worker_age_seconds: self.born.elapsed().as_secs_f64(),
            worker_tasks: self.ended,
            stdout_tail,
            stderr_tail,
            stacks,
        };
        // A task that it was sent and never started is no sign of health: such a worker would be
        // replaced without end.
        let ran = self.ended > 0 || !running.is_empty();
        let healthy = ran || self.born.elapsed() >= HEALTHY_AGE;
        let outputs = self.outputs.drain().collect();
        let departure = Departure { reason, running: Some(running), outputs, post_mortem: Some(post_mortem) };
        self.down.report(departure, healthy);
    }
}

/// Who ended a process, as the worker sees it; for a killed attempt's neighbours the scheduler says so.
fn ended_by(reason: &WorkerDownReason, out_of_memory: bool) -> EndedBy {
    match reason {
        WorkerDownReason::Exited(ProcessExit::Signal(9)) if out_of_memory => EndedBy::OutOfMemory,
        WorkerDownReason::Exited(exit) => EndedBy::from_exit(*exit),
        WorkerDownReason::Killed(KillReason::Deadline) => EndedBy::Deadline,
        WorkerDownReason::Killed(KillReason::Cancel) => EndedBy::Cancel,
        WorkerDownReason::Killed(KillReason::MemoryLimit) => EndedBy::MemoryLimit,
        WorkerDownReason::Protocol { .. } => EndedBy::Protocol,
        WorkerDownReason::Retired | WorkerDownReason::StartFailed { .. } | WorkerDownReason::ActorPanicked => {
            EndedBy::Unknown
        }
    }
}

/// The last bytes of a stream.
#[derive(Debug, Default)]
struct Tail(VecDeque<u8>);

/// How many.
const TAIL: usize = 8 << 10;

impl Tail {
    fn push(&mut self, data: &[u8]) {
        let kept = &data[data.len().saturating_sub(TAIL)..];
        let over = (self.0.len() + kept.len()).saturating_sub(TAIL);
        self.0.drain(..over);
        self.0.extend(kept);
    }

    fn into_text(self) -> String {
        String::from_utf8_lossy(&Vec::from(self.0)).into_owned()
    }
}

/// Why a child ended before its handshake.
fn start_failure(cause: ExitCause, stderr: &str) -> WorkerDownReason {
    let words = if stderr.is_empty() { "(it wrote nothing to standard error)" } else { stderr };
    let (message, definite) = match cause {
        ExitCause::NotStarted(error) => (error.to_string(), error.is_definite()),
        ExitCause::Exit(ProcessExit::Code(EXIT_TOO_OLD)) => (words.to_owned(), true),
        ExitCause::Exit(exit) => (format!("the interpreter ended before the handshake, {exit}: {words}"), false),
        ExitCause::Protocol { violation } => (format!("the child broke the protocol at its start: {violation}"), false),
    };
    WorkerDownReason::StartFailed { message, definite }
}

fn into_message(task: RunTask) -> Down {
    let RunTask { seq, attempt, id, work, params, limit, .. } = task;
    let (task, limit) =
        (*id.0.as_bytes(), limit.map_or(0, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)));
    match work {
        Work::Script(script) => Down::Run { seq, attempt, limit, task, script, params },
        Work::Function(function) => {
            Down::Call { seq, attempt, limit, task, function: function.id(), arguments: params }
        }
    }
}

fn into_error(failure: Failure) -> TaskError {
    let text = |text: String| (!text.is_empty()).then_some(text);
    TaskError {
        exception: text(failure.exception),
        traceback: text(failure.traceback),
        causes: failure.causes,
        raised: (!failure.raised.is_empty()).then_some(Pickle(failure.raised)),
        ..TaskError::new(failure.kind.into(), failure.message)
    }
}

/// A message for an error text: its name and the beginning of its fields.
fn shown(message: &Up) -> String {
    format!("{message:?}").chars().take(80).collect()
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(events) = self.events.take() {
            ctx.add_stream(ReceiverStream::new(events));
        }
        let limit = self.settings.start_timeout;
        ctx.run_later(limit, move |worker, _| {
            if matches!(worker.state, State::Starting) {
                let message = format!("no handshake within {limit:?}");
                worker.kill(WorkerDownReason::StartFailed { message, definite: false });
            }
        });
    }
}

impl StreamHandler<ChildEvent> for Worker {
    fn handle(&mut self, event: ChildEvent, ctx: &mut Self::Context) {
        match event {
            ChildEvent::Messages(messages) => {
                self.hear(messages);
                self.measure(ctx);
                if self.liveness.is_patient() {
                    self.consult(ctx, Liveness::ended);
                }
            }
            ChildEvent::Control(messages) => self.hear_control(messages, ctx),
            ChildEvent::Raw { stream, seq, data } => self.output(seq, stream, data),
            ChildEvent::Spared { seq } => {
                self.spared(seq);
                self.consult(ctx, |it, look, now| it.doubt(seq, look, now));
            }
            ChildEvent::Exited(exit) => {
                self.gone(exit);
                ctx.stop();
            }
        }
    }
}

impl Handler<WorkerCommand> for Worker {
    type Result = ();

    fn handle(&mut self, command: WorkerCommand, ctx: &mut Self::Context) {
        match command {
            WorkerCommand::Run(tasks) => {
                self.run(tasks);
                self.measure(ctx);
                if self.liveness.is_idle() {
                    self.consult(ctx, Liveness::owes);
                }
            }
            WorkerCommand::Retire => self.retire(ctx),
            WorkerCommand::Revoke(seqs) => self.child.control(&ControlDown::Revoke { seqs }),
            WorkerCommand::Interrupt(seq) => self.child.control(&ControlDown::Interrupt { seq }),
            WorkerCommand::Cancel(seq) => {
                self.revoke(vec![seq], RevokedBy::Dispatcher);
                self.child.control(&ControlDown::Cancel { seq });
            }
            WorkerCommand::Kill(seq, reason) => self.execute(seq, reason),
        }
    }
}

impl Handler<Retire> for Worker {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        self.retire(ctx);
    }
}

#[cfg(test)]
mod tests;
