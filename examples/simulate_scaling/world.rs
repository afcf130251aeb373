//! The engine in virtual time: the scheduler and the scaler are the real ones, the rest is modelled.
//!
//! A worker starts with some computing, has slots, and computes for one task at a time, as a Python
//! process does; a task pauses first and computes then. All computing shares the machine's processors.
//! Messages take no time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use axion_actors::config::ScalingPolicy;
use axion_actors::model::{PoolKind, Seq, Tick, WorkerRef};
use axion_actors::policy::scaling::{Decision, PoolLoad, Scaler, ScalingStep, WorkerBounds, WorkerSample};

use crate::machine::Machine;
use crate::outcome::{Outcome, Second};
use crate::placement::{Order, Placement};
use crate::trace::Trace;

/// Who decides, and between which bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) kind: PoolKind,
    pub(crate) policy: ScalingPolicy,
    pub(crate) bounds: WorkerBounds,
    pub(crate) cores: usize,
    pub(crate) slots: usize,
    /// Computing that a worker's start takes, in nanoseconds.
    pub(crate) start: u64,
    /// How long the simulation goes on after the last arrival, in nanoseconds.
    pub(crate) tail: u64,
}

const SECOND: u64 = 1_000_000_000;

/// A task as a worker knows it.
type Running = (Seq, usize);

struct Worker {
    name: WorkerRef,
    ready: bool,
    draining: bool,
    /// Sent, not started.
    ahead: VecDeque<Running>,
    /// In its slots.
    running: usize,
    /// Want to compute, after the one that does.
    turns: VecDeque<Running>,
    computing: Option<Running>,
    /// The machine's work when its present job began.
    job_since: Option<f64>,
    /// Processor nanoseconds used by earlier jobs, and all at the last sample.
    used: f64,
    sampled: f64,
    cpu: f64,
}

impl Worker {
    fn new(name: WorkerRef) -> Self {
        Self {
            name,
            ready: false,
            draining: false,
            ahead: VecDeque::new(),
            running: 0,
            turns: VecDeque::new(),
            computing: None,
            job_since: None,
            used: 0.0,
            sampled: 0.0,
            cpu: 0.0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// A task of this worker has paused enough: its seq and its number.
    Paused(usize, u64, usize),
    /// Time to look at the pool.
    Look,
    /// A second is over.
    Second,
}

/// A simulation under way.
pub(crate) struct World<'a> {
    setting: Setting,
    trace: &'a Trace,
    now: u64,
    placement: Placement,
    scaler: Scaler,
    machine: Machine,
    /// By index; those that are gone leave a gap.
    workers: Vec<Option<Worker>>,
    generations: Vec<u32>,
    alive: usize,
    alarms: BinaryHeap<Reverse<(u64, u64, Alarm)>>,
    alarms_set: u64,
    look_at: Option<u64>,
    arrived: usize,
    waiting: usize,
    ended: usize,
    started: Vec<u64>,
    host_used: f64,
    host_cpu: f64,
    backlog_since: Option<u64>,
    outcome: Outcome,
    second: Second,
}

impl<'a> World<'a> {
    pub(crate) fn new(setting: Setting, trace: &'a Trace) -> Self {
        let mut world = Self {
            setting,
            trace,
            now: 0,
            placement: Placement::new(setting.kind, setting.slots),
            scaler: Scaler::new(setting.kind.into(), setting.kind, setting.policy, setting.bounds),
            machine: Machine::new(setting.cores),
            workers: Vec::new(),
            generations: Vec::new(),
            alive: 0,
            alarms: BinaryHeap::new(),
            alarms_set: 0,
            look_at: None,
            arrived: 0,
            waiting: 0,
            ended: 0,
            started: vec![0; trace.arrivals.len()],
            host_used: 0.0,
            host_cpu: 0.0,
            backlog_since: None,
            outcome: Outcome::default(),
            second: Second::default(),
        };
        for _ in 0..setting.bounds.least {
            let index = world.launch();
            world.ready(index);
        }
        world.set(SECOND, Alarm::Second);
        world.look();
        world
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> Outcome {
        let last = self.trace.length + self.setting.tail;
        loop {
            let tick = self.placement.next_tick().map(|at| at.0);
            let Some(next) = self.next(tick) else { break };
            if self.ended == self.trace.arrivals.len() && next > last {
                break;
            }
            self.pass(next);
            self.arrivals();
            self.alarms_due();
            self.jobs_ended();
            if tick.is_some_and(|at| at <= self.now) {
                self.placement.tick(Tick(self.now));
            }
            self.carry_out();
            self.watch();
        }
        self.pass(last.max(self.now));
        self.outcome.finish(self.trace.length)
    }

    /// When something happens next; `tick` is when the scheduler has something to do.
    fn next(&self, tick: Option<u64>) -> Option<u64> {
        let arrival = self.trace.arrivals.get(self.arrived).map(|task| task.at);
        let alarm = self.alarms.peek().map(|Reverse((at, ..))| *at);
        [arrival, alarm, self.machine.next(), tick].into_iter().flatten().min().map(|at| at.max(self.now))
    }

    fn pass(&mut self, to: u64) {
        self.outcome.worker_nanos += u128::from(to - self.now) * self.alive as u128;
        self.machine.advance(to);
        self.now = to;
    }

    fn set(&mut self, at: u64, alarm: Alarm) {
        self.alarms_set += 1;
        self.alarms.push(Reverse((at, self.alarms_set, alarm)));
    }

    fn arrivals(&mut self) {
        let before = self.arrived;
        while let Some(task) = self.trace.arrivals.get(self.arrived).filter(|task| task.at <= self.now) {
            let script = if task.long { "/long.py" } else { "/short.py" };
            self.placement.submit(self.arrived, script, Tick(self.now));
            self.arrived += 1;
            self.waiting += 1;
        }
        if self.arrived > before {
            self.placement.place(Tick(self.now));
        }
    }

    fn alarms_due(&mut self) {
        while let Some(&Reverse((at, _, alarm))) = self.alarms.peek() {
            if at > self.now {
                return;
            }
            self.alarms.pop();
            match alarm {
                Alarm::Paused(worker, seq, task) => self.compute(worker, (Seq(seq), task)),
                Alarm::Look if self.look_at == Some(at) => self.look(),
                Alarm::Look => {}
                Alarm::Second => self.end_second(),
            }
        }
    }

    fn jobs_ended(&mut self) {
        while let Some(index) = self.machine.take_ended() {
            let done = self.machine.done();
            let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { continue };
            worker.used += done - worker.job_since.take().unwrap_or(done);
            match worker.computing.take() {
                None => self.ready(index),
                Some(task) => self.task_ended(index, task),
            }
        }
    }

    fn launch(&mut self) -> usize {
        let gap = self.workers.iter().position(Option::is_none);
        let index = gap.unwrap_or(self.workers.len());
        if index == self.workers.len() {
            self.workers.push(None);
            self.generations.push(0);
        }
        self.generations[index] += 1;
        self.workers[index] = Some(Worker::new(self.placement.worker(index, self.generations[index])));
        self.alive += 1;
        self.outcome.peak = self.outcome.peak.max(self.alive);
        index
    }

    fn ready(&mut self, index: usize) {
        if let Some(worker) = self.workers[index].as_mut() {
            worker.ready = true;
            self.placement.joined(worker.name, Tick(self.now));
        }
        self.carry_out();
    }

    fn task_ended(&mut self, index: usize, (seq, task): Running) {
        let Some(worker) = self.workers[index].as_mut() else { return };
        worker.running -= 1;
        let name = worker.name;
        let next = worker.turns.pop_front();
        self.ended += 1;
        if let Some(next) = next {
            self.compute(index, next);
        }
        self.start_tasks(index);
        let ran = Duration::from_nanos(self.now - self.started[task]);
        self.placement.ended(name, seq, ran, Tick(self.now));
        self.carry_out();
    }

    /// Moves what was sent ahead into free slots.
    fn start_tasks(&mut self, index: usize) {
        while let Some(worker) = self.workers[index].as_mut().filter(|it| it.running < self.setting.slots) {
            let Some((seq, task)) = worker.ahead.pop_front() else { return };
            worker.running += 1;
            self.started[task] = self.now;
            let Some(arrival) = self.trace.arrivals.get(task) else { return };
            let wait = self.now - arrival.at;
            self.outcome.started(task, index, self.now, wait);
            self.second.wait = self.second.wait.max(wait);
            if arrival.pause == 0 {
                self.compute(index, (seq, task));
            } else {
                self.set(self.now + arrival.pause, Alarm::Paused(index, seq.0, task));
            }
        }
    }

    /// A task computes, or waits until its worker's interpreter is free.
    fn compute(&mut self, index: usize, task: Running) {
        let Some(worker) = self.workers[index].as_mut() else { return };
        if worker.computing.is_some() {
            worker.turns.push_back(task);
            return;
        }
        worker.computing = Some(task);
        worker.job_since = Some(self.machine.done());
        self.machine.start(index, self.trace.arrivals[task.1].cpu);
    }

    fn carry_out(&mut self) {
        loop {
            let orders = self.placement.orders();
            if orders.is_empty() {
                return;
            }
            for order in orders {
                match order {
                    Order::Run(to, tasks) => self.run_tasks(to, tasks),
                    Order::Revoke(from, seqs) => self.revoke(from, &seqs),
                    Order::Leave(workers) => self.leave(&workers),
                    Order::Retire(worker) => self.gone(worker),
                }
            }
        }
    }

    fn run_tasks(&mut self, to: WorkerRef, tasks: Vec<Running>) {
        let index = to.id.index as usize;
        if let Some(worker) = self.workers[index].as_mut() {
            self.waiting -= tasks.len();
            worker.ahead.extend(tasks);
        }
        self.start_tasks(index);
    }

    fn revoke(&mut self, from: WorkerRef, seqs: &[Seq]) {
        let Some(worker) = self.workers[from.id.index as usize].as_mut() else { return };
        let (back, kept) = worker.ahead.drain(..).partition::<Vec<_>, _>(|(seq, _)| seqs.contains(seq));
        worker.ahead = kept.into();
        self.waiting += back.len();
        self.placement.revoked(from, back.into_iter().map(|(seq, _)| seq).collect(), Tick(self.now));
    }

    fn leave(&mut self, names: &[WorkerRef]) {
        for name in names {
            if let Some(worker) = self.workers[name.id.index as usize].as_mut() {
                worker.draining = true;
            }
        }
    }

    fn gone(&mut self, name: WorkerRef) {
        let slot = &mut self.workers[name.id.index as usize];
        if slot.take_if(|worker| worker.name == name).is_some() {
            self.alive -= 1;
            self.placement.left(name, Tick(self.now));
        }
    }

    fn load(&self) -> PoolLoad {
        let there = || self.workers.iter().flatten().filter(|it| !it.draining);
        let loads = there().filter(|it| it.ready).map(|it| WorkerSample {
            running: it.running,
            queued: it.ahead.len(),
            cpu: it.cpu,
        });
        PoolLoad {
            waiting: self.waiting,
            workers: loads.collect(),
            starting: there().filter(|it| !it.ready).count(),
            host_cpu: Some(self.host_cpu),
            processors: self.setting.cores,
            slots: self.setting.slots,
            ended: self.ended as u64,
        }
    }

    fn look(&mut self) {
        let load = self.load();
        let Decision { verdict, line, look_again } = self.scaler.decide(&load, Tick(self.now));
        self.outcome.decided(self.now, &verdict, line);
        match verdict {
            ScalingStep::Stay => {}
            ScalingStep::Grow { by, .. } => self.grow(by),
            ScalingStep::Shrink { by, .. } => self.shrink(by),
        }
        self.look_at = look_again.map(|at| at.0);
        if let Some(at) = self.look_at {
            self.set(at, Alarm::Look);
        }
    }

    fn grow(&mut self, by: u32) {
        for _ in 0..by {
            let index = self.launch();
            let since = self.machine.done();
            if let Some(worker) = self.workers[index].as_mut() {
                worker.job_since = Some(since);
            }
            self.machine.start(index, self.setting.start);
        }
    }

    /// Lets workers go; which ones, the scheduler knows.
    fn shrink(&mut self, by: u32) {
        self.placement.shrink(by, Tick(self.now));
        self.carry_out();
    }

    /// Measures, as the engine does once a second.
    #[expect(clippy::cast_precision_loss, reason = "a second and a number of processors")]
    fn end_second(&mut self) {
        let (done, second) = (self.machine.done(), SECOND as f64);
        for worker in self.workers.iter_mut().flatten() {
            let used = worker.used + worker.job_since.map_or(0.0, |since| done - since);
            worker.cpu = ((used - worker.sampled) / second).clamp(0.0, 1.0);
            worker.sampled = used;
        }
        let used = self.machine.used();
        self.host_cpu = ((used - self.host_used) / second / self.setting.cores as f64).clamp(0.0, 1.0);
        self.host_used = used;
        let second = std::mem::take(&mut self.second);
        self.outcome.seconds.push(Second { queue: second.queue.max(self.waiting), workers: self.alive, ..second });
        self.set(self.now + SECOND, Alarm::Second);
    }

    /// Keeps account of the queue, and wakes the scaler for a pool without workers.
    fn watch(&mut self) {
        self.second.queue = self.second.queue.max(self.waiting);
        match (self.waiting, self.backlog_since) {
            (0, Some(since)) => {
                self.outcome.backlog = self.outcome.backlog.max(self.now - since);
                self.backlog_since = None;
            }
            (1.., None) => self.backlog_since = Some(self.now),
            _ => {}
        }
        if self.waiting > 0 && self.workers.iter().flatten().all(|it| it.draining) {
            self.look();
        }
    }
}
