//! The Worker: owns one child process and what its tasks write.

mod convert;
mod tail;

use std::collections::VecDeque;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use self::convert::{exit_kind, into_error, into_message, into_order, kind, shown};
use self::tail::Tail;
use super::messages::{Reports, Retire, TimerDue, WorkerCommand, WorkerDown, WorkerReady};
use super::timer::{ActorTimer, TimerDriver};
use crate::model::{
    CapturedOutput, Clock, Data, Json, KillReason, LogLevel, NoticeKind, Payload, PostMortem, Seq, Stream, TaskError,
    TaskId, TaskProgress, Tick, Work, WorkName, WorkerDownReason, WorkerRef,
};
use crate::policy::functions::KnownFunctions;
use crate::policy::liveness::{Liveness, Look, NextStep, Patience};
use crate::policy::measuring::Measuring;
use crate::policy::scheduler::{Departure, Report, RunTask};
use crate::policy::worker_lifecycle::{RetireStep, WorkerEnd, WorkerExit, WorkerLifecycle};
use crate::process::{Child, ChildEvent, ChildExit, Launched, Progress};
use crate::sequencer::Sequencer;
use crate::wire::{ControlDown, ControlUp, PROTOCOL, Up};

/// The actor of one child.
pub struct Worker {
    me: WorkerRef,
    lifecycle: WorkerLifecycle,
    child: Box<dyn Child>,
    events: Option<mpsc::Receiver<ChildEvent>>,
    /// The attempts that were sent and have not ended, in ascending order.
    in_flight: VecDeque<Sent>,
    /// The functions that were sent to the child, with their parts.
    functions: KnownFunctions,
    outputs: FxHashMap<Seq, Box<CapturedOutput>>,
    /// The last output of all its tasks, by stream.
    tails: [Tail; 2],
    settings: Settings,
    dispatcher: Recipient<Reports>,
    supervisor: Recipient<WorkerReady>,
    sequencer: Sequencer,
    clock: Clock,
    timer: ActorTimer,
    measuring: Measuring,
    liveness: Liveness,
    /// The time at which the liveness rule looks again.
    look_at: Option<Tick>,
    /// The senders of the `Revoke` requests without an answer so far, in the order of the requests.
    revokes: VecDeque<RevokedBy>,
    /// The number of pings without an answer so far.
    pings: usize,
    down: DownGuard,
}

/// The sender of a request to give attempts back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RevokedBy {
    Dispatcher,
    Liveness,
}

/// An attempt that was sent to the child.
struct Sent {
    seq: Seq,
    task: TaskId,
    work: WorkName,
    /// What its task has reported last.
    progress: Option<Box<TaskProgress>>,
}

/// The settings that a worker needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) start_timeout: Duration,
    pub(super) stop_grace: Duration,
    pub(super) output_limit: usize,
    /// The interval between two measurements of the child's memory; `None`: never.
    pub(super) measure_every: Option<Duration>,
    pub(super) patience: Patience,
}

/// The receivers of a worker's messages.
#[derive(Clone)]
pub(super) struct Neighbours {
    pub(super) dispatcher: Recipient<Reports>,
    pub(super) ready: Recipient<WorkerReady>,
    pub(super) down: Recipient<WorkerDown>,
    pub(super) sequencer: Sequencer,
    pub(super) timers: TimerDriver,
}

/// Reports the worker's end in every case. A drop without a report means that the worker has panicked.
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
            started: None,
            outputs: Vec::new(),
            post_mortem: None,
        };
        self.report(departure, true);
    }
}

impl Worker {
    pub(super) fn new(me: WorkerRef, launched: Launched, settings: Settings, neighbours: Neighbours) -> Self {
        let clock = neighbours.timers.clock();
        let now = clock.now();
        Self {
            me,
            lifecycle: WorkerLifecycle::new(settings.start_timeout, now),
            child: launched.child,
            events: Some(launched.events),
            in_flight: VecDeque::new(),
            functions: KnownFunctions::default(),
            outputs: FxHashMap::default(),
            tails: Default::default(),
            settings,
            dispatcher: neighbours.dispatcher,
            supervisor: neighbours.ready,
            sequencer: neighbours.sequencer,
            clock,
            timer: neighbours.timers.timer(),
            measuring: Measuring::new(settings.measure_every, now),
            liveness: Liveness::new(settings.patience),
            look_at: None,
            revokes: VecDeque::new(),
            pings: 0,
            down: DownGuard { me, supervisor: neighbours.down, armed: true },
        }
    }

    fn receive(&mut self, messages: Vec<Up>) {
        if !self.lifecycle.is_believed() {
            return;
        }
        let mut reports = Vec::with_capacity(messages.len());
        for message in messages {
            if let Err(violation) = self.receive_one(message, &mut reports) {
                self.kill(WorkerDownReason::Protocol { violation });
                break;
            }
        }
        self.report(reports);
    }

    fn receive_one(&mut self, message: Up, reports: &mut Vec<Report>) -> Result<(), String> {
        self.lifecycle.received(kind(&message)).map_err(|what| format!("{what}: {}", shown(&message)))?;
        match message {
            Up::Ready { protocol, pid, python, .. } => self.ready(protocol, pid, python)?,
            Up::Done { seq, nanos, data } => reports.push(self.end(seq, nanos, Ok(data))?),
            Up::Failed { seq, nanos, failure } => {
                reports.push(self.end(seq, nanos, Err(Box::new(into_error(failure))))?);
            }
            Up::Output { seq, stream, data } => self.output((seq.0 != 0).then_some(seq), stream, data),
            Up::Progress { seq, fraction, message } => {
                if let Some(at) = self.position(seq) {
                    let task = self.in_flight[at].task;
                    self.in_flight[at].progress = Some(Box::new(TaskProgress::new(fraction, &message)));
                    self.sequencer.notify(|| NoticeKind::Progress { task, fraction, message });
                }
            }
            Up::Log { seq, level, message } => {
                if let Some(task) = self.task(seq) {
                    self.log(task, level, &message);
                    self.sequencer.notify(|| NoticeKind::Log { task, level, message });
                }
            }
            Up::Piece { .. } | Up::LargeDone { .. } => return Err("a payload without its message".to_owned()),
            Up::Loaded { seq, coroutine } => reports.push(self.loaded(seq, coroutine)?),
        }
        Ok(())
    }

    fn ready(&mut self, protocol: u32, pid: u32, python: String) -> Result<(), String> {
        if protocol != PROTOCOL {
            return Err(format!("protocol version {protocol}, expected {PROTOCOL}"));
        }
        tracing::debug!(worker = %self.me, pid, python, "worker ready");
        self.lifecycle.ready();
        self.supervisor.do_send(WorkerReady { worker: self.me, pid, python });
        Ok(())
    }

    fn end(&mut self, seq: Seq, nanos: u64, result: Result<Payload, Box<TaskError>>) -> Result<Report, String> {
        let sent = self.take(seq);
        let work = sent.ok_or_else(|| format!("a result of attempt {seq}, which it was not sent"))?.work;
        self.lifecycle.attempt_ended();
        let result = result.map(|data| match work {
            WorkName::Script(_) => Data::Json(Json(data.into_bytes())),
            WorkName::Function(_) => Data::of_function(data),
        });
        Ok(Report::Ended { seq, nanos, result, output: self.outputs.remove(&seq) })
    }

    /// Accepts a message only for an attempt that was sent to the child (L8).
    fn loaded(&self, seq: Seq, coroutine: bool) -> Result<Report, String> {
        let at =
            self.position(seq).ok_or_else(|| format!("something loaded for attempt {seq}, which it was not sent"))?;
        Ok(Report::Learned { work: self.in_flight[at].work.clone(), coroutine })
    }

    fn position(&self, seq: Seq) -> Option<usize> {
        // Usually the first attempt.
        if self.in_flight.front().is_some_and(|sent| sent.seq == seq) {
            return Some(0);
        }
        self.in_flight.binary_search_by_key(&seq, |sent| sent.seq).ok()
    }

    fn task(&self, seq: Seq) -> Option<TaskId> {
        self.position(seq).map(|at| self.in_flight[at].task)
    }

    /// Keeps the output of a task with the task. Output outside any task goes to the log.
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
        self.sequencer.notify(|| NoticeKind::Output { task, worker: self.me, stream, data });
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

    fn receive_control(&mut self, messages: Vec<ControlUp>) {
        for message in messages {
            if !self.lifecycle.is_believed() {
                return;
            }
            if let Err(violation) = self.receive_answer(message) {
                self.kill(WorkerDownReason::Protocol { violation });
            }
        }
    }

    /// Accepts an answer only if it was asked for, so a flood on the control socket costs its worker and nobody else (L8).
    fn receive_answer(&mut self, answer: ControlUp) -> Result<(), String> {
        match answer {
            ControlUp::Revoked { seqs } => {
                let by = self.revokes.pop_front().ok_or("it gave attempts back that nobody asked for")?;
                let seqs: Vec<Seq> = seqs.into_iter().filter(|seq| self.take(*seq).is_some()).collect();
                // The Dispatcher waits for the answers to its own requests, including answers that give nothing back.
                if by == RevokedBy::Dispatcher || !seqs.is_empty() {
                    self.report(vec![Report::Revoked { seqs }]);
                }
            }
            ControlUp::Pong { nonce } => {
                self.pings = self.pings.checked_sub(1).ok_or("it answered a ping that nobody sent")?;
                self.consult(|it, look, now| it.answered(nonce, look, now));
            }
        }
        Ok(())
    }

    fn revoke(&mut self, seqs: Vec<Seq>, by: RevokedBy) {
        self.revokes.push_back(by);
        self.child.control(&ControlDown::Revoke { seqs });
    }

    /// Passes an event to the liveness rule and carries out its decision.
    fn consult(&mut self, event: impl FnOnce(&mut Liveness, Look<'_>, Tick) -> NextStep) {
        if !self.lifecycle.is_ready() {
            return;
        }
        let owed = self.owed();
        let Progress { running, written } = self.child.progress();
        let look = Look { owed: &owed, running: running.as_deref(), written, ended: self.lifecycle.ended() };
        match event(&mut self.liveness, look, self.clock.now()) {
            NextStep::Nothing => {}
            NextStep::LookAt(at) => self.look_at = Some(at),
            NextStep::Ask { seqs, nonce, until } => {
                tracing::debug!(worker = %self.me, ?seqs, "asking a worker for attempts that do not run");
                self.revoke(seqs, RevokedBy::Liveness);
                self.pings += 1;
                self.child.control(&ControlDown::Ping { nonce });
                self.look_at = Some(until);
            }
            NextStep::End(fault) => self.kill(WorkerDownReason::Protocol { violation: fault.to_string() }),
        }
    }

    /// Does what is due by now.
    fn tick(&mut self) {
        let now = self.clock.now();
        if let Some(reason) = self.lifecycle.tick(now) {
            self.kill(reason);
        }
        if self.look_at.take_if(|at| *at <= now).is_some() {
            self.consult(Liveness::due);
        }
        self.measure_if_due();
    }

    /// Sets the timer for what is due first. Call it after every event.
    fn arm(&mut self, ctx: &Context<Self>) {
        let measure_at = self.measuring.next(!self.in_flight.is_empty());
        let due = [self.lifecycle.next_tick(), self.look_at, measure_at];
        if let Some(first) = due.into_iter().flatten().min() {
            self.timer.set(first, ctx);
        }
    }

    /// Takes an attempt that has ended or was given back.
    fn take(&mut self, seq: Seq) -> Option<Sent> {
        let sent = self.position(seq).and_then(|at| self.in_flight.remove(at))?;
        if let WorkName::Function(name) = &sent.work {
            self.functions.ended(name.id());
        }
        Some(sent)
    }

    /// Lets the child end by itself within the grace period.
    fn retire(&mut self) {
        let owes = !self.in_flight.is_empty();
        match self.lifecycle.retire(owes, self.settings.stop_grace, self.clock.now()) {
            RetireStep::Nothing => {}
            RetireStep::Finish => self.child.finish(),
            RetireStep::Kill => self.kill(WorkerDownReason::Retired),
        }
    }

    /// Has the child's memory measured, if a limit is set and the time has come.
    fn measure_if_due(&mut self) {
        if self.lifecycle.is_ready() && self.measuring.is_due(self.clock.now()) {
            self.measuring.began(self.child.progress().running.unwrap_or_else(|| self.owed()));
            self.child.measure();
        }
    }

    fn measured(&mut self, resident: Option<u64>) {
        let running = self.measuring.ended(self.clock.now());
        if let Some(resident) = resident {
            self.report(vec![Report::Measured { resident, running }]);
        }
    }

    /// The attempts that the child has neither ended nor given back.
    fn owed(&self) -> Vec<Seq> {
        self.in_flight.iter().map(|sent| sent.seq).collect()
    }

    /// Kills one attempt with its process. A result that is already written is not lost (L2, L6).
    fn kill_attempt(&mut self, seq: Seq, reason: KillReason) {
        if !self.lifecycle.is_ready() {
            return;
        }
        // If the attempt has ended, this is decided here, because the child may not be trustworthy.
        if self.position(seq).is_none() {
            return self.spared(seq);
        }
        self.lifecycle.kill_attempt(reason);
        self.child.kill_attempt(seq);
    }

    fn spared(&mut self, seq: Seq) {
        self.lifecycle.spared();
        self.report(vec![Report::Spared { seq }]);
    }

    fn report(&self, reports: Vec<Report>) {
        if !reports.is_empty() {
            self.dispatcher.do_send(Reports { worker: self.me, reports });
        }
    }

    fn run(&mut self, tasks: Vec<RunTask>) {
        // Tasks that arrive too late are given back when the worker departs.
        if !self.lifecycle.is_ready() {
            return;
        }
        let sent = |task: &RunTask| Sent { seq: task.seq, task: task.id, work: task.work.name(), progress: None };
        self.in_flight.extend(tasks.iter().map(sent));
        let mut messages = Vec::with_capacity(tasks.len());
        for task in tasks {
            if let Work::Function(function) = &task.work {
                self.functions.sent(function, |order| messages.push(into_order(order)));
            }
            messages.push(into_message(task));
        }
        self.child.send(&messages);
    }

    /// Kills the child. The first reason is kept.
    fn kill(&mut self, reason: WorkerDownReason) {
        if self.lifecycle.killed(&reason) {
            match reason {
                WorkerDownReason::Retired => tracing::debug!(worker = %self.me, "killing a worker that should end"),
                reason => tracing::warn!(worker = %self.me, %reason, "killing a worker"),
            }
        }
        self.child.kill();
    }

    fn exited(&mut self, exit: ChildExit) {
        let ChildExit { cause, started, usage, stderr_tail, stacks, killed, out_of_memory } = exit;
        let cause = exit_kind(cause);
        let [stdout_tail, printed] = std::mem::take(&mut self.tails).map(Tail::into_text);
        let last_words = if printed.trim().is_empty() { stderr_tail } else { printed.trim().to_owned() };
        let (code, now) = (cause.code(), self.clock.now());
        let owed = self.owed();
        let exit = WorkerExit { cause, started, killed, out_of_memory, last_words };
        let WorkerEnd { reason, ended_by, started, healthy } = self.lifecycle.exited(exit, &owed, now);
        tracing::debug!(worker = %self.me, ?reason, "worker down");
        let post_mortem = PostMortem {
            ended_by,
            exit: code,
            usage,
            worker_age_seconds: self.lifecycle.age(now).as_secs_f64(),
            worker_tasks: self.lifecycle.ended(),
            stdout_tail,
            stderr_tail: printed,
            stacks,
        };
        let outputs = self.outputs.drain().collect();
        let departure = Departure { reason, started: Some(started), outputs, post_mortem: Some(post_mortem) };
        self.down.report(departure, healthy);
    }
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(events) = self.events.take() {
            ctx.add_stream(ReceiverStream::new(events));
        }
        self.arm(ctx);
    }
}

impl StreamHandler<ChildEvent> for Worker {
    fn handle(&mut self, event: ChildEvent, ctx: &mut Self::Context) {
        match event {
            ChildEvent::Messages(messages) => {
                self.receive(messages);
                self.measure_if_due();
                if self.liveness.is_patient() {
                    self.consult(Liveness::ended);
                }
            }
            ChildEvent::Control(messages) => self.receive_control(messages),
            ChildEvent::Raw { stream, seq, data } => self.output(seq, stream, data),
            ChildEvent::Spared { seq } => {
                self.spared(seq);
                self.consult(|it, look, now| it.doubt(seq, look, now));
            }
            ChildEvent::Measured { resident } => self.measured(resident),
            ChildEvent::Exited(exit) => {
                self.exited(exit);
                return ctx.stop();
            }
        }
        self.arm(ctx);
    }
}

impl Handler<WorkerCommand> for Worker {
    type Result = ();

    fn handle(&mut self, command: WorkerCommand, ctx: &mut Self::Context) {
        match command {
            WorkerCommand::Run(tasks) => {
                self.run(tasks);
                self.measure_if_due();
                if self.liveness.is_idle() {
                    self.consult(Liveness::owes);
                }
            }
            WorkerCommand::Retire => self.retire(),
            WorkerCommand::Revoke(seqs) => self.revoke(seqs, RevokedBy::Dispatcher),
            WorkerCommand::Interrupt(seq) => self.child.control(&ControlDown::Interrupt { seq }),
            WorkerCommand::Cancel(seq) => {
                self.revoke(vec![seq], RevokedBy::Dispatcher);
                self.child.control(&ControlDown::Cancel { seq });
            }
            WorkerCommand::Kill(seq, reason) => self.kill_attempt(seq, reason),
            WorkerCommand::TellProgress(seq, reply) => {
                let progress = self.position(seq).and_then(|at| self.in_flight[at].progress.as_deref().cloned());
                let _ = reply.send(progress);
            }
        }
        self.arm(ctx);
    }
}

impl Handler<Retire> for Worker {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        self.retire();
        self.arm(ctx);
    }
}

impl Handler<TimerDue> for Worker {
    type Result = ();

    fn handle(&mut self, _: TimerDue, ctx: &mut Self::Context) {
        self.tick();
        self.arm(ctx);
    }
}

#[cfg(test)]
mod tests;
