//! The life of one worker process: starting → ready → draining → ended, or killed at any point.
//!
//! One method per event. An event that is illegal in a state is a breach of the protocol if it comes from the process,
//! and ignored if it comes from the engine.

use std::time::Duration;

use super::process_deadline::ProcessDeadline;
use crate::model::{DisplayDuration, EndedBy, KillReason, ProcessExit, Seq, Tick, WorkerDownReason};

/// A worker that lived this long is replaced at once when it ends.
const HEALTHY_AGE: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum State {
    /// Until the handshake, which has a deadline.
    Starting { handshake: ProcessDeadline },
    /// Takes tasks.
    Ready,
    /// Takes none. The process ends by itself within the grace period.
    Draining { end: ProcessDeadline },
    /// The process was killed for this reason.
    Killed(WorkerDownReason),
    /// The process is gone.
    Ended,
}

/// What matters here of a message from the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// The handshake, which is the first message.
    Handshake,
    /// Output, which may also come before the handshake: the interpreter says why it fails to start.
    Output,
    /// Everything else.
    Other,
}

/// What to do when the worker is to end in an orderly way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetireStep {
    /// Nothing: it ends already.
    Nothing,
    /// Close its pipe. After the grace period, [`WorkerLifecycle::tick`] ends it.
    Finish,
    /// Kill it: no result of it is wanted any more.
    Kill,
}

/// How a process ended, as its port tells it.
#[derive(Debug)]
pub struct WorkerExit {
    /// How.
    pub cause: ExitKind,
    /// The attempts that had started, by the status page, also those that had ended; `None` if the page is spoilt.
    pub started: Option<Vec<Seq>>,
    /// It was killed because of an attempt, by order.
    pub killed: bool,
    /// The kernel killed a process for want of memory meanwhile.
    pub out_of_memory: bool,
    /// What it wrote last to standard error.
    pub last_words: String,
}

/// The kinds of ends.
#[derive(Debug)]
pub enum ExitKind {
    /// There never was a process.
    NotStarted {
        /// Why.
        message: String,
        /// Another try can only fail the same way.
        definite: bool,
    },
    /// It ended by itself or by a signal.
    Exited(ProcessExit),
    /// It ended by itself because this interpreter cannot run workers.
    Unsuitable(ProcessExit),
    /// The port killed it because it broke the protocol.
    Protocol {
        /// What it did.
        violation: String,
    },
}

impl ExitKind {
    /// The exit code or signal, if there is one to report.
    #[must_use]
    pub fn code(&self) -> Option<ProcessExit> {
        match self {
            Self::Exited(exit) | Self::Unsuitable(exit) => Some(*exit),
            Self::NotStarted { .. } | Self::Protocol { .. } => None,
        }
    }
}

/// What the end of a process means.
#[derive(Debug, PartialEq)]
pub struct WorkerEnd {
    /// Why the worker is down.
    pub reason: WorkerDownReason,
    /// Who ended the process, as the worker sees it. For neighbours of a killed attempt the scheduler knows better.
    pub ended_by: EndedBy,
    /// Of the attempts whose end is unknown, those that count as started (L5).
    pub started: Vec<Seq>,
    /// The worker was able to work: a replacement is started at once.
    pub healthy: bool,
}

/// One worker.
#[derive(Debug)]
pub struct WorkerLifecycle {
    state: State,
    /// An attempt is being killed, for this reason.
    killing: Option<KillReason>,
    born: Tick,
    ended: u64,
}

impl WorkerLifecycle {
    /// A worker whose process is being started.
    #[must_use]
    pub fn new(start_timeout: Duration, now: Tick) -> Self {
        let state = State::Starting { handshake: ProcessDeadline::start(start_timeout, now) };
        Self { state, killing: None, born: now, ended: 0 }
    }

    /// Whether it takes tasks and orders.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// How many attempts it has ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// How long it has lived.
    #[must_use]
    pub fn age(&self, now: Tick) -> Duration {
        now.since(self.born)
    }

    /// Whether its messages count: nothing that a process says after a breach of the protocol is believed (L8).
    #[must_use]
    pub fn is_believed(&self) -> bool {
        !matches!(self.state, State::Killed(WorkerDownReason::Protocol { .. }))
    }

    /// A message came.
    ///
    /// # Errors
    /// If this state knows no such message: a breach of the protocol.
    pub fn received(&self, kind: MessageKind) -> Result<(), &'static str> {
        match (matches!(self.state, State::Starting { .. }), kind) {
            (_, MessageKind::Output) | (true, MessageKind::Handshake) | (false, MessageKind::Other) => Ok(()),
            (true, MessageKind::Other) => Err("a message before the handshake"),
            (false, MessageKind::Handshake) => Err("a second handshake"),
        }
    }

    /// The handshake is done.
    pub fn ready(&mut self) {
        if matches!(self.state, State::Starting { .. }) {
            self.state = State::Ready;
        }
    }

    /// When to call [`tick`](Self::tick), if no event comes before that.
    #[must_use]
    pub fn next_tick(&self) -> Option<Tick> {
        match self.state {
            State::Starting { handshake: deadline } | State::Draining { end: deadline } => Some(deadline.due()),
            State::Ready | State::Killed(_) | State::Ended => None,
        }
    }

    /// Time has passed. Returns why the process is to be killed, if it missed a deadline.
    #[must_use]
    pub fn tick(&mut self, now: Tick) -> Option<WorkerDownReason> {
        match &mut self.state {
            State::Starting { handshake } => handshake.has_passed(now).then(|| {
                let message = format!("no handshake within {}", DisplayDuration(handshake.length()));
                WorkerDownReason::StartFailed { message, definite: false }
            }),
            State::Draining { end } => end.has_passed(now).then_some(WorkerDownReason::Retired),
            State::Ready | State::Killed(_) | State::Ended => None,
        }
    }

    /// It ended an attempt.
    pub fn attempt_ended(&mut self) {
        self.ended += 1;
    }

    /// An attempt is to be killed. Returns whether the worker takes that order.
    pub fn kill_attempt(&mut self, reason: KillReason) {
        self.killing = Some(reason);
    }

    /// The attempt that was to be killed had ended, or had not started.
    pub fn spared(&mut self) {
        self.killing = None;
    }

    /// The worker is to end, within `grace` if it can. `owes` says whether it has attempts.
    pub fn retire(&mut self, owes: bool, grace: Duration, now: Tick) -> RetireStep {
        match self.state {
            State::Killed(_) | State::Draining { .. } | State::Ended => RetireStep::Nothing,
            State::Ready if !owes => {
                self.state = State::Draining { end: ProcessDeadline::start(grace, now) };
                RetireStep::Finish
            }
            // The engine has cancelled its tasks, or it has none yet.
            State::Starting { .. } | State::Ready => RetireStep::Kill,
        }
    }

    /// The engine kills the process. The first reason stays; returns whether this is it.
    pub fn killed(&mut self, reason: &WorkerDownReason) -> bool {
        let first = !matches!(self.state, State::Killed(_));
        if first {
            self.state = State::Killed(reason.clone());
        }
        first
    }

    /// The process has ended. `owed` are the attempts that it has neither ended nor given back.
    pub fn exited(&mut self, exit: WorkerExit, owed: &[Seq], now: Tick) -> WorkerEnd {
        let WorkerExit { cause, started, killed, out_of_memory, last_words } = exit;
        let reason = match std::mem::replace(&mut self.state, State::Ended) {
            State::Killed(reason) => reason,
            State::Draining { .. } | State::Ended => WorkerDownReason::Retired,
            State::Starting { .. } => start_failure(cause, &last_words),
            State::Ready => match (cause, self.killing.filter(|_| killed)) {
                (ExitKind::Exited(_) | ExitKind::Unsuitable(_), Some(reason)) => WorkerDownReason::Killed(reason),
                (ExitKind::Exited(exit) | ExitKind::Unsuitable(exit), None) => WorkerDownReason::Exited(exit),
                (ExitKind::Protocol { violation }, _) => WorkerDownReason::Protocol { violation },
                (ExitKind::NotStarted { message, definite }, _) => WorkerDownReason::StartFailed { message, definite },
            },
        };
        // After a breach of the protocol, neither the page counts nor that an attempt without an answer had not
        // started: its result may lie behind the garbage (L8). Where the page is spoilt, so may the pipe be.
        let started = match (&reason, started) {
            (WorkerDownReason::Protocol { .. }, _) | (_, None) => owed.to_vec(),
            (_, Some(started)) => owed.iter().copied().filter(|seq| started.contains(seq)).collect(),
        };
        // A task that it was sent and never started is no sign of health: such a worker would be replaced without end.
        let healthy = self.ended > 0 || !started.is_empty() || self.age(now) >= HEALTHY_AGE;
        WorkerEnd { ended_by: ended_by(&reason, out_of_memory), reason, started, healthy }
    }
}

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

/// Why a process ended before its handshake.
fn start_failure(cause: ExitKind, last_words: &str) -> WorkerDownReason {
    let words = if last_words.is_empty() { "(it wrote nothing to standard error)" } else { last_words };
    let (message, definite) = match cause {
        ExitKind::NotStarted { message, definite } => (message, definite),
        ExitKind::Unsuitable(_) => (words.to_owned(), true),
        ExitKind::Exited(exit) => (format!("the interpreter ended before the handshake, {exit}: {words}"), false),
        ExitKind::Protocol { violation } => (format!("the child broke the protocol at its start: {violation}"), false),
    };
    WorkerDownReason::StartFailed { message, definite }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Tick = Tick(0);
    const START: Duration = Duration::from_secs(30);
    const GRACE: Duration = Duration::from_secs(5);

    fn starting() -> WorkerLifecycle {
        WorkerLifecycle::new(START, NOW)
    }

    fn ready() -> WorkerLifecycle {
        let mut worker = starting();
        worker.ready();
        worker
    }

    fn exit(cause: ExitKind) -> WorkerExit {
        WorkerExit { cause, started: Some(Vec::new()), killed: false, out_of_memory: false, last_words: String::new() }
    }

    fn by_signal(number: i32) -> WorkerExit {
        exit(ExitKind::Exited(ProcessExit::Signal(number)))
    }

    fn violation() -> WorkerDownReason {
        WorkerDownReason::Protocol { violation: "garbage".into() }
    }

    #[test]
    fn l8_each_state_knows_its_messages() {
        assert!(starting().received(MessageKind::Handshake).is_ok());
        assert!(starting().received(MessageKind::Output).is_ok() && starting().received(MessageKind::Other).is_err());
        assert!(ready().received(MessageKind::Other).is_ok() && ready().received(MessageKind::Output).is_ok());
        assert!(ready().received(MessageKind::Handshake).is_err());
        let mut garbled = ready();
        assert!(garbled.killed(&violation()) && !garbled.is_believed());
        let mut retired = ready();
        assert!(retired.killed(&WorkerDownReason::Retired) && retired.is_believed());
    }

    #[test]
    fn a_worker_has_a_deadline_only_while_it_starts_and_while_it_drains() {
        let mut slow = starting();
        let due = NOW.after(START);
        assert_eq!((slow.next_tick(), slow.tick(Tick(due.0 - 1))), (Some(due), None));
        let message = "no handshake within 30 s".to_owned();
        assert_eq!(slow.tick(due), Some(WorkerDownReason::StartFailed { message, definite: false }));
        let mut worker = ready();
        assert_eq!((worker.next_tick(), worker.tick(due)), (None, None));
        assert_eq!(worker.retire(false, GRACE, due), RetireStep::Finish);
        assert_eq!((worker.next_tick(), worker.tick(due)), (Some(due.after(GRACE)), None));
        let reason = worker.tick(due.after(GRACE)).expect("the grace period is over");
        assert!(worker.killed(&reason));
        assert_eq!((reason, worker.next_tick()), (WorkerDownReason::Retired, None));
    }

    #[test]
    fn a_machine_that_slept_through_a_deadline_gives_the_process_its_time_again() {
        let hour = NOW.after(Duration::from_secs(3600));
        let mut worker = starting();
        assert_eq!((worker.tick(hour), worker.next_tick()), (None, Some(hour.after(START))));
        assert!(worker.tick(hour.after(START)).is_some());
    }

    #[test]
    fn a_ready_worker_without_tasks_drains_and_others_are_killed() {
        assert_eq!(starting().retire(false, GRACE, NOW), RetireStep::Kill);
        assert_eq!(ready().retire(true, GRACE, NOW), RetireStep::Kill);
        let mut idle = ready();
        let steps = [(); 2].map(|()| idle.retire(false, GRACE, NOW));
        assert_eq!(steps, [RetireStep::Finish, RetireStep::Nothing]);
        assert!(!idle.is_ready());
        let end = idle.exited(by_signal(9), &[], NOW);
        assert_eq!((end.reason, end.ended_by), (WorkerDownReason::Retired, EndedBy::Unknown));
    }

    #[test]
    fn the_first_reason_of_a_kill_stays() {
        let mut worker = ready();
        assert!(worker.killed(&violation()));
        assert!(!worker.killed(&WorkerDownReason::Retired));
        assert_eq!(worker.exited(by_signal(9), &[], NOW).reason, violation());
    }

    #[test]
    fn l5_after_a_breach_or_with_a_spoilt_page_all_that_is_owed_counts_as_started() {
        let owed = [Seq(2), Seq(3)];
        let page = |started: Option<Vec<Seq>>| WorkerExit { started, ..by_signal(11) };
        // The first of them has ended, and its result came.
        assert_eq!(ready().exited(page(Some(vec![Seq(1), Seq(2)])), &owed, NOW).started, [Seq(2)]);
        assert_eq!(ready().exited(page(None), &owed, NOW).started, owed);
        let mut garbled = ready();
        garbled.killed(&violation());
        assert_eq!(garbled.exited(page(Some(Vec::new())), &owed, NOW).started, owed);
    }

    #[test]
    fn who_ended_it_is_told_apart() {
        let ended = |prepare: fn(&mut WorkerLifecycle), exit: WorkerExit| {
            let mut worker = ready();
            prepare(&mut worker);
            worker.exited(exit, &[], NOW).ended_by
        };
        let deadline = |worker: &mut WorkerLifecycle| worker.kill_attempt(KillReason::Deadline);
        assert_eq!(ended(deadline, WorkerExit { killed: true, ..by_signal(9) }), EndedBy::Deadline);
        assert_eq!(ended(deadline, by_signal(9)), EndedBy::OutsideForce, "the order came too late");
        let spared = |worker: &mut WorkerLifecycle| {
            worker.kill_attempt(KillReason::Cancel);
            worker.spared();
        };
        assert_eq!(ended(spared, WorkerExit { killed: true, ..by_signal(9) }), EndedBy::OutsideForce);
        assert_eq!(ended(|_| (), by_signal(11)), EndedBy::Crash);
        assert_eq!(ended(|_| (), exit(ExitKind::Exited(ProcessExit::Code(3)))), EndedBy::OwnExit);
        assert_eq!(ended(|_| (), WorkerExit { out_of_memory: true, ..by_signal(9) }), EndedBy::OutOfMemory);
        assert_eq!(ended(|_| (), exit(ExitKind::Protocol { violation: "garbage".into() })), EndedBy::Protocol);
    }

    #[test]
    fn a_failure_to_start_says_why_and_whether_another_try_can_help() {
        let start = |cause, last_words: &str| {
            let exit = WorkerExit { last_words: last_words.to_owned(), ..exit(cause) };
            let end = starting().exited(exit, &[], NOW);
            assert!(!end.healthy);
            let WorkerDownReason::StartFailed { message, definite } = end.reason else { panic!("{:?}", end.reason) };
            (message, definite)
        };
        let code = ProcessExit::Code(1);
        assert_eq!(
            start(ExitKind::Exited(code), "no module"),
            ("the interpreter ended before the handshake, exit code 1: no module".into(), false)
        );
        assert!(start(ExitKind::Exited(code), "").0.ends_with("(it wrote nothing to standard error)"));
        assert_eq!(start(ExitKind::Unsuitable(code), "too old"), ("too old".into(), true));
        let never = ExitKind::NotStarted { message: "no such file".into(), definite: true };
        assert_eq!(start(never, ""), ("no such file".into(), true));
    }

    #[test]
    fn a_worker_is_healthy_if_it_ran_something_or_lived_for_a_second() {
        let healthy = |mut worker: WorkerLifecycle, started: &[u64], now| {
            let started = Some(started.iter().copied().map(Seq).collect());
            worker.exited(WorkerExit { started, ..by_signal(9) }, &[Seq(1)], now).healthy
        };
        assert!(!healthy(ready(), &[], NOW), "it was sent a task and never started it");
        assert!(healthy(ready(), &[1], NOW));
        assert!(healthy(ready(), &[], NOW.after(HEALTHY_AGE)));
        let mut worker = ready();
        worker.attempt_ended();
        assert!(healthy(worker, &[], NOW));
    }
}
