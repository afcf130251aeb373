//! One worker actor between a scripted child and recorded neighbours.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::model::{
    Attempt, EndedBy, ErrorKind, Function, Generation, Part, PoolId, ProcessExit, ScriptPath, WorkerId,
};
use crate::process::{EXIT_NO_WORKER, EXIT_TOO_OLD, ExitCause, KernelTimer, LaunchSpec, Launcher, nanos_since_boot};
use crate::testing::{FakeChild, FakeLauncher, Heard, done};
use crate::wire::{Down, Failure, FailureKind};

/// Longer than any wait of a test that passes.
const LIMIT: Duration = Duration::from_secs(30);

fn script() -> Work {
    Work::Script(ScriptPath::new("/a.py".as_ref()))
}

/// Records what a worker says to its neighbours.
struct Neighbour(mpsc::UnboundedSender<Observed>);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful of them exist")]
enum Observed {
    Ready,
    Reports(Vec<Report>),
    Down(WorkerDown),
}

impl Actor for Neighbour {
    type Context = Context<Self>;
}

impl Handler<Reports> for Neighbour {
    type Result = ();
    fn handle(&mut self, message: Reports, _: &mut Self::Context) {
        let _ = self.0.send(Observed::Reports(message.reports));
    }
}

impl Handler<WorkerReady> for Neighbour {
    type Result = ();
    fn handle(&mut self, _: WorkerReady, _: &mut Self::Context) {
        let _ = self.0.send(Observed::Ready);
    }
}

impl Handler<WorkerDown> for Neighbour {
    type Result = ();
    fn handle(&mut self, message: WorkerDown, _: &mut Self::Context) {
        let _ = self.0.send(Observed::Down(message));
    }
}

/// Asks a silent worker almost at once, and leaves it ample time to answer.
const QUICK: Patience = Patience { quiet: Duration::from_millis(5), answer: LIMIT, confirm: Duration::from_millis(5) };

struct WorkerHarness {
    worker: Addr<Worker>,
    child: FakeChild,
    observed: mpsc::UnboundedReceiver<Observed>,
}

impl WorkerHarness {
    async fn start(start_timeout: Duration) -> Self {
        Self::start_measured(start_timeout, None).await
    }

    async fn start_measured(start_timeout: Duration, measure_every: Option<Duration>) -> Self {
        let (launcher, mut children) = FakeLauncher::new();
        let (sender, observed) = mpsc::unbounded_channel();
        let neighbour = Neighbour(sender).start();
        let id = WorkerId::local(PoolId::CPU, 0);
        let me = WorkerRef { id, generation: Generation(3) };
        let launched = launcher.launch(LaunchSpec { worker: id, slots: 1, async_slots: 0 });
        let stop_grace = Duration::from_millis(20);
        let settings = Settings { start_timeout, stop_grace, output_limit: 10, measure_every, patience: QUICK };
        let clock = Clock::start(nanos_since_boot);
        let neighbours = Neighbours {
            dispatcher: neighbour.clone().recipient(),
            ready: neighbour.clone().recipient(),
            down: neighbour.recipient(),
            sequencer: Sequencer::new(clock.clone()),
            timers: TimerDriver::start(KernelTimer::new().expect("a timer"), clock),
        };
        let worker = Worker::new(me, launched, settings, neighbours).start();
        let child = children.recv().await.expect("launched");
        Self { worker, child, observed }
    }

    async fn ready() -> Self {
        let mut harness = Self::start(LIMIT).await;
        harness.child.ready().await;
        assert!(matches!(harness.observe().await, Observed::Ready));
        harness
    }

    async fn observe(&mut self) -> Observed {
        let observed = actix_rt::time::timeout(LIMIT, self.observed.recv()).await;
        observed.expect("the worker sends something in time").expect("the neighbour lives")
    }

    async fn down(&mut self) -> WorkerDown {
        match self.observe().await {
            Observed::Down(down) => down,
            other => panic!("expected the end of the worker, got {other:?}"),
        }
    }

    /// Nothing follows the worker's end: its actor, which holds the neighbour, is gone (L1).
    async fn falls_silent(mut self) {
        drop(self.worker);
        drop(self.child);
        let more = actix_rt::time::timeout(LIMIT, self.observed.recv()).await.expect("in time");
        assert!(more.is_none(), "{more:?} after the end");
    }

    fn run(&self, seqs: &[u64]) {
        self.run_work(&script(), seqs);
    }

    fn run_work(&self, work: &Work, seqs: &[u64]) {
        let task = |seq: &u64| RunTask {
            waiter: None,
            seq: Seq(*seq),
            attempt: Attempt(1),
            id: TaskId::generate(),
            work: work.clone(),
            params: Bytes::from_static(b"{}").into(),
            limit: None,
        };
        self.worker.do_send(WorkerCommand::Run(seqs.iter().map(task).collect()));
    }
}

#[actix::test]
async fn tasks_go_down_in_order_and_results_come_up() {
    let mut harness = WorkerHarness::ready().await;
    harness.run(&[1, 2]);
    assert_eq!((harness.child.runs().await, harness.child.runs().await), (Seq(1), Seq(2)));
    harness.child.done(Seq(1)).await;
    let Observed::Reports(reports) = harness.observe().await else { panic!("no report") };
    assert!(matches!(&reports[..], [Report::Ended { seq: Seq(1), result: Ok(_), .. }]), "{reports:?}");
}

#[actix::test]
async fn a_failure_comes_up_as_text() {
    let mut harness = WorkerHarness::ready().await;
    harness.run(&[1]);
    let failure = Failure {
        kind: FailureKind::Exception,
        exception: "ValueError".into(),
        message: "bad".into(),
        traceback: String::new(),
        causes: Vec::new(),
        raised: Bytes::new(),
    };
    harness.child.says(Up::Failed { seq: Seq(1), nanos: 5, failure }).await;
    let Observed::Reports(reports) = harness.observe().await else { panic!("no report") };
    let [Report::Ended { result: Err(error), nanos: 5, .. }] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!((error.kind, error.exception.as_deref()), (ErrorKind::Exception, Some("ValueError")));
    assert_eq!(error.traceback, None);
}

#[actix::test]
async fn l9_output_stays_with_its_task_up_to_the_limit() {
    let mut harness = WorkerHarness::ready().await;
    harness.run(&[1, 2]);
    let output = |seq, text: &'static str| Up::Output { seq: Seq(seq), stream: Stream::Stdout, data: text.into() };
    harness.child.says(output(2, "two")).await;
    harness.child.says(output(1, "one and more")).await;
    let raw = ChildEvent::Raw { stream: Stream::Stderr, seq: Some(Seq(1)), data: "raw".into() };
    harness.child.event(raw).await;
    harness.child.event(ChildEvent::Raw { stream: Stream::Stderr, seq: None, data: "nobody's".into() }).await;
    harness.child.done(Seq(1)).await;
    let Observed::Reports(reports) = harness.observe().await else { panic!("no report") };
    let [Report::Ended { output: Some(output), .. }] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!((output.stdout.len(), output.stdout.dropped), (10, 2));
    assert!(output.stdout.text().starts_with("one a\n") && output.stdout.text().ends_with("\n more"));
    assert_eq!(output.stderr.text(), "raw");
}

#[actix::test]
async fn a_revoked_task_is_reported_only_if_the_child_gave_it_back() {
    let mut harness = WorkerHarness::ready().await;
    harness.run(&[1, 2, 3]);
    for _ in 0..3 {
        harness.child.runs().await;
    }
    harness.worker.do_send(WorkerCommand::Revoke(vec![Seq(2), Seq(3)]));
    let asked = Heard::Control(ControlDown::Revoke { seqs: vec![Seq(2), Seq(3)] });
    assert_eq!(harness.child.hears().await, Some(asked));
    // 7 was never sent, so the message is ignored.
    harness.child.answers(ControlUp::Revoked { seqs: vec![Seq(3), Seq(7)] }).await;
    let Observed::Reports(reports) = harness.observe().await else { panic!("no report") };
    assert!(matches!(&reports[..], [Report::Revoked { seqs }] if seqs == &[Seq(3)]), "{reports:?}");
}

#[actix::test]
async fn a_dead_child_is_reported_once_with_its_attempts_and_output() {
    let mut harness = WorkerHarness::ready().await;
    harness.run(&[1, 2]);
    harness.child.says(Up::Output { seq: Seq(1), stream: Stream::Stdout, data: "last".into() }).await;
    harness.child.exits(ProcessExit::Signal(9), &[Seq(1)]).await;
    let down = harness.down().await;
    assert_eq!(down.departure.reason, WorkerDownReason::Exited(ProcessExit::Signal(9)));
    assert_eq!(down.departure.started, Some(vec![Seq(1)]));
    assert_eq!(down.departure.outputs[0].1.stdout.text(), "last");
    assert!(down.healthy, "it died of a task");
    harness.falls_silent().await;
}

#[actix::test]
async fn l1_a_panic_in_the_actor_is_reported_and_the_child_is_killed() {
    let mut harness = WorkerHarness::ready().await;
    harness.child.traps_next_send();
    harness.run(&[1]);
    let down = harness.down().await;
    assert_eq!(down.departure.reason, WorkerDownReason::ActorPanicked);
    assert_eq!(harness.child.hears().await, Some(Heard::Kill));
    harness.falls_silent().await;
}

#[actix::test]
async fn l8_a_result_of_a_task_it_was_not_sent_costs_the_worker() {
    let mut harness = WorkerHarness::ready().await;
    harness.run(&[1]);
    harness.child.runs().await;
    harness.child.done(Seq(9)).await;
    assert_eq!(harness.child.hears().await, Some(Heard::Kill));
    harness.child.done(Seq(1)).await; // ignored from now on
    harness.child.exits(ProcessExit::Signal(9), &[Seq(1)]).await;
    let down = harness.down().await;
    assert!(matches!(down.departure.reason, WorkerDownReason::Protocol { .. }), "{down:?}");
}

#[actix::test]
async fn the_kind_of_a_script_is_reported_before_its_result() {
    let mut harness = WorkerHarness::ready().await;
    harness.run(&[1, 2]);
    let loaded = Up::Loaded { seq: Seq(2), coroutine: true };
    harness.child.event(ChildEvent::Messages(vec![loaded, done(Seq(2))])).await;
    let Observed::Reports(reports) = harness.observe().await else { panic!("no report") };
    let [Report::Learned { work, coroutine: true }, Report::Ended { seq: Seq(2), .. }] = &reports[..] else {
        panic!("{reports:?}")
    };
    assert_eq!(work, &script().name());
}

#[actix::test]
async fn a_function_is_sent_once_and_its_result_is_a_pickle_or_the_plain_data_of_a_step() {
    let mut harness = WorkerHarness::ready().await;
    let function = Function::new("f", &b"code"[..]);
    let work = Work::Function(function.clone());
    harness.run_work(&work, &[1]);
    assert_eq!(harness.child.hears().await, Some(Heard::Data(define(function.code()))));
    assert_eq!(harness.child.runs().await, Seq(1));
    harness.run_work(&work, &[2]);
    assert_eq!(harness.child.runs().await, Seq(2), "and nothing before it");
    for (seq, data) in [(1, "\u{2}…"), (2, "[1]")] {
        harness.child.says(Up::Done { seq: Seq(seq), nanos: 1, data: data.into() }).await;
    }
    let mut results = Vec::new();
    while results.len() < 2 {
        let Observed::Reports(reports) = harness.observe().await else { panic!("no report") };
        results.extend(reports.into_iter().map(|report| match report {
            Report::Ended { result: Ok(data), .. } => data,
            other => panic!("{other:?}"),
        }));
    }
    assert!(matches!(&results[..], [Data::Pickle(_), Data::Json(_)]), "{results:?}");
}

#[actix::test]
async fn the_parts_of_a_function_are_sent_before_it_and_once_for_all_functions() {
    let mut harness = WorkerHarness::ready().await;
    let parts: Arc<[Part]> = [Part::new("one"), Part::new("two")].into();
    let [f, g] = ["f", "g"].map(|code| Function::with_parts("f", code, parts.clone()));
    harness.run_work(&Work::Function(f.clone()), &[1]);
    harness.run_work(&Work::Function(g.clone()), &[2]);
    for piece in [&parts[0], &parts[1], f.code()] {
        assert_eq!(harness.child.hears().await, Some(Heard::Data(define(piece))));
    }
    assert_eq!(harness.child.runs().await, Seq(1));
    assert_eq!(harness.child.hears().await, Some(Heard::Data(define(g.code()))));
    assert_eq!(harness.child.runs().await, Seq(2));
}

#[actix::test]
async fn l9_a_function_is_forgotten_after_its_last_attempt_ended_or_was_given_back() {
    let mut harness = WorkerHarness::ready().await;
    let heavy = |name: &str| Function::with_parts(name, name.to_owned(), [Part::new(vec![0; 40 << 20])].into());
    let large = |name: &str| Function::new(name, vec![name.as_bytes()[0]; 40 << 20]);
    let (f, g, h) = (heavy("f"), large("g"), large("h"));
    for (seq, function) in [(1, &f), (2, &f), (3, &g)] {
        harness.run_work(&Work::Function(function.clone()), &[seq]);
    }
    for piece in f.pieces() {
        assert_eq!(harness.child.hears().await, Some(Heard::Data(define(piece))));
    }
    assert_eq!((harness.child.runs().await, harness.child.runs().await), (Seq(1), Seq(2)));
    assert_eq!(harness.child.hears().await, Some(Heard::Data(define(g.code()))), "both attempts of `f` need its part");
    assert_eq!(harness.child.runs().await, Seq(3));
    harness.worker.do_send(WorkerCommand::Revoke(vec![Seq(2)]));
    assert_eq!(harness.child.hears().await, Some(Heard::Control(ControlDown::Revoke { seqs: vec![Seq(2)] })));
    harness.child.done(Seq(1)).await;
    harness.child.answers(ControlUp::Revoked { seqs: vec![Seq(2)] }).await;
    for _ in 0..2 {
        assert!(matches!(harness.observe().await, Observed::Reports(_)));
    }
    harness.run_work(&Work::Function(h.clone()), &[4]);
    for piece in f.pieces() {
        assert_eq!(harness.child.hears().await, Some(Heard::Data(Down::Forget { part: piece.id() })));
    }
    assert_eq!(harness.child.hears().await, Some(Heard::Data(define(h.code()))));
}

fn define(piece: &Part) -> Down {
    Down::Define { part: piece.id(), code: piece.bytes().clone() }
}

#[actix::test]
async fn l8_a_report_on_an_attempt_that_was_not_sent_ends_the_worker() {
    let mut harness = WorkerHarness::ready().await;
    harness.run(&[1]);
    harness.child.runs().await;
    harness.child.says(Up::Loaded { seq: Seq(2), coroutine: true }).await;
    assert_eq!(harness.child.hears().await, Some(Heard::Kill));
    harness.child.exits(ProcessExit::Signal(9), &[Seq(1)]).await;
    let down = harness.down().await;
    assert!(matches!(down.departure.reason, WorkerDownReason::Protocol { .. }), "{down:?}");
}

#[actix::test]
async fn l8_anything_before_the_handshake_and_another_protocol_version_cost_the_worker() {
    let wrong = Up::Ready { protocol: PROTOCOL + 1, pid: 1, python: "3".into(), executable: Bytes::new() };
    for first in [Up::Done { seq: Seq(1), nanos: 0, data: Payload::default() }, wrong] {
        let mut harness = WorkerHarness::start(LIMIT).await;
        harness.child.says(first).await;
        assert_eq!(harness.child.hears().await, Some(Heard::Kill));
        harness.child.exits(ProcessExit::Signal(9), &[]).await;
        assert!(matches!(harness.down().await.departure.reason, WorkerDownReason::Protocol { .. }));
    }
}

#[actix::test]
async fn a_child_that_does_not_shake_hands_in_time_is_killed() {
    let mut harness = WorkerHarness::start(Duration::from_millis(5)).await;
    assert_eq!(harness.child.hears().await, Some(Heard::Kill));
    harness.child.exits(ProcessExit::Signal(9), &[]).await;
    let reason = harness.down().await.departure.reason;
    assert!(matches!(&reason, WorkerDownReason::StartFailed { message, .. } if message.contains("5 ms")), "{reason:?}");
}

#[actix::test]
async fn a_child_that_ends_before_the_handshake_failed_to_start_with_its_last_words() {
    for (code, is_definite) in [(1, false), (EXIT_TOO_OLD, true), (EXIT_NO_WORKER, true)] {
        let mut harness = WorkerHarness::start(LIMIT).await;
        harness.child.exits(ProcessExit::Code(code), &[]).await;
        let down = harness.down().await;
        let WorkerDownReason::StartFailed { message, definite } = &down.departure.reason else { panic!("{down:?}") };
        assert!(message.contains("last words"), "{message}");
        assert_eq!((*definite, down.healthy), (is_definite, false));
    }
}

#[actix::test]
async fn output_before_the_handshake_is_the_reason_of_a_failed_start() {
    let mut harness = WorkerHarness::start(LIMIT).await;
    let data = Bytes::from_static(b"RuntimeError: can't start new thread\n");
    harness.child.says(Up::Output { seq: Seq(0), stream: Stream::Stderr, data }).await;
    harness.child.exits(ProcessExit::Code(1), &[]).await;
    let reason = harness.down().await.departure.reason;
    let WorkerDownReason::StartFailed { message, definite: false } = &reason else { panic!("{reason:?}") };
    assert!(message.contains("exit code 1: RuntimeError: can't start new thread"), "{message}");
}

#[actix::test]
async fn retiring_closes_the_pipe_and_kills_after_the_grace_period() {
    let mut harness = WorkerHarness::ready().await;
    harness.worker.do_send(Retire);
    assert_eq!(harness.child.hears().await, Some(Heard::Finish));
    assert_eq!(harness.child.hears().await, Some(Heard::Kill), "it did not end by itself");
    harness.child.exits(ProcessExit::Signal(9), &[]).await;
    assert_eq!(harness.down().await.departure.reason, WorkerDownReason::Retired);
}

#[actix::test]
async fn l6_a_kill_of_an_ended_attempt_does_not_reach_the_child() {
    let mut harness = WorkerHarness::ready().await;
    harness.run(&[1, 2]);
    assert_eq!((harness.child.runs().await, harness.child.runs().await), (Seq(1), Seq(2)));
    harness.child.done(Seq(1)).await;
    assert!(matches!(harness.observe().await, Observed::Reports(_)));
    harness.worker.do_send(WorkerCommand::Kill(Seq(1), KillReason::Deadline));
    let Observed::Reports(reports) = harness.observe().await else { panic!("no report") };
    assert!(matches!(&reports[..], [Report::Spared { seq: Seq(1) }]), "{reports:?}");
    harness.worker.do_send(WorkerCommand::Kill(Seq(2), KillReason::Deadline));
    assert_eq!(harness.child.hears().await, Some(Heard::KillAttempt(Seq(2))));
    harness.child.exits(ProcessExit::Signal(9), &[Seq(2)]).await;
    assert_eq!(harness.down().await.departure.reason, WorkerDownReason::Killed(KillReason::Deadline));
}

#[actix::test]
async fn a_child_that_crashes_before_it_is_killed_has_crashed() {
    for exit in [ProcessExit::Signal(11), ProcessExit::Code(3)] {
        let mut harness = WorkerHarness::ready().await;
        harness.run(&[1]);
        harness.child.runs().await;
        harness.worker.do_send(WorkerCommand::Kill(Seq(1), KillReason::Deadline));
        assert_eq!(harness.child.hears().await, Some(Heard::KillAttempt(Seq(1))));
        harness.child.exits(exit, &[Seq(1)]).await;
        let departure = harness.down().await.departure;
        assert_eq!(departure.reason, WorkerDownReason::Exited(exit));
        assert_eq!(departure.post_mortem.expect("examined").ended_by, EndedBy::from_exit(exit));
    }
}

#[actix::test]
async fn a_child_that_somebody_else_kills_before_the_order_comes_through_was_killed_from_outside() {
    let mut harness = WorkerHarness::ready().await;
    harness.run(&[1]);
    harness.child.runs().await;
    // The worker has given the order; the child has not received it.
    harness.worker.send(WorkerCommand::Kill(Seq(1), KillReason::MemoryLimit)).await.expect("the worker lives");
    harness.child.exits(ProcessExit::Signal(9), &[Seq(1)]).await;
    let departure = harness.down().await.departure;
    assert_eq!(departure.reason, WorkerDownReason::Exited(ProcessExit::Signal(9)));
    assert_eq!(departure.post_mortem.expect("examined").ended_by, EndedBy::OutsideForce);
}

#[actix::test]
async fn l8_where_the_page_is_spoilt_everything_it_was_sent_may_have_run() {
    let mut harness = WorkerHarness::ready().await;
    harness.run(&[1, 2, 3]);
    harness.child.done(Seq(1)).await;
    assert!(matches!(harness.observe().await, Observed::Reports(_)));
    let exit = ChildExit {
        cause: ExitCause::Exit(ProcessExit::Code(1)),
        started: None,
        usage: None,
        stderr_tail: String::new(),
        stacks: None,
        killed: false,
        out_of_memory: false,
    };
    harness.child.event(ChildEvent::Exited(exit)).await;
    assert_eq!(harness.down().await.departure.started, Some(vec![Seq(2), Seq(3)]));
}

impl WorkerHarness {
    /// Receives the revoke request and the ping; returns the payload of the ping.
    async fn is_asked_for(&mut self, seqs: &[u64]) -> u64 {
        let seqs = seqs.iter().copied().map(Seq).collect();
        assert_eq!(self.child.hears().await, Some(Heard::Control(ControlDown::Revoke { seqs })));
        match self.child.hears().await {
            Some(Heard::Control(ControlDown::Ping { nonce })) => nonce,
            other => panic!("expected a ping, heard {other:?}"),
        }
    }
}

#[actix::test]
async fn l1_a_worker_that_lost_an_attempt_gives_back_the_others_and_is_ended() {
    let mut harness = WorkerHarness::ready().await;
    harness.child.shows(&[]);
    harness.run(&[1, 2]);
    assert_eq!((harness.child.runs().await, harness.child.runs().await), (Seq(1), Seq(2)));
    let nonce = harness.is_asked_for(&[1, 2]).await;
    harness.child.answers(ControlUp::Revoked { seqs: vec![Seq(2)] }).await;
    let Observed::Reports(reports) = harness.observe().await else { panic!("no report") };
    assert!(matches!(&reports[..], [Report::Revoked { seqs }] if seqs == &[Seq(2)]), "{reports:?}");
    harness.child.answers(ControlUp::Pong { nonce }).await;
    assert_eq!(harness.child.hears().await, Some(Heard::Kill));
    harness.child.exits(ProcessExit::Signal(9), &[]).await;
    let departure = harness.down().await.departure;
    let WorkerDownReason::Protocol { violation } = &departure.reason else { panic!("{departure:?}") };
    assert!(violation.contains("attempt 1 is lost"), "{violation}");
    assert_eq!(departure.started, Some(vec![Seq(1)]), "charged: it may have run");
    assert_eq!(departure.post_mortem.expect("examined").ended_by, EndedBy::Protocol);
}

#[actix::test]
async fn a_worker_that_shows_its_attempt_is_kept_and_the_dispatcher_gets_no_empty_answer() {
    let mut harness = WorkerHarness::ready().await;
    harness.child.shows(&[]);
    harness.run(&[1]);
    assert_eq!(harness.child.runs().await, Seq(1));
    let nonce = harness.is_asked_for(&[1]).await;
    harness.child.answers(ControlUp::Revoked { seqs: Vec::new() }).await;
    harness.child.shows(&[Seq(1)]);
    harness.child.answers(ControlUp::Pong { nonce }).await;
    harness.child.done(Seq(1)).await;
    let Observed::Reports(reports) = harness.observe().await else { panic!("no report") };
    assert!(matches!(&reports[..], [Report::Ended { seq: Seq(1), .. }]), "{reports:?}");
    harness.run(&[2]);
    assert_eq!(harness.child.runs().await, Seq(2), "and nothing before it");
}

#[actix::test]
async fn l1_an_attempt_that_is_spared_and_cannot_be_found_ends_the_worker() {
    let mut harness = WorkerHarness::ready().await;
    harness.run(&[1]);
    assert_eq!(harness.child.runs().await, Seq(1));
    harness.child.shows(&[]);
    harness.worker.do_send(WorkerCommand::Kill(Seq(1), KillReason::Deadline));
    assert_eq!(harness.child.hears().await, Some(Heard::KillAttempt(Seq(1))));
    harness.child.event(ChildEvent::Spared { seq: Seq(1) }).await;
    let Observed::Reports(reports) = harness.observe().await else { panic!("no report") };
    assert!(matches!(&reports[..], [Report::Spared { seq: Seq(1) }]), "{reports:?}");
    let nonce = harness.is_asked_for(&[1]).await;
    harness.child.answers(ControlUp::Revoked { seqs: Vec::new() }).await;
    harness.child.answers(ControlUp::Pong { nonce }).await;
    assert_eq!(harness.child.hears().await, Some(Heard::Kill));
}

#[actix::test]
async fn l15_a_measurement_names_the_attempts_that_ran_when_it_began() {
    let mut harness = WorkerHarness::start_measured(LIMIT, Some(Duration::ZERO)).await;
    harness.child.ready().await;
    assert!(matches!(harness.observe().await, Observed::Ready));
    assert_eq!(harness.child.hears().await, Some(Heard::Measure), "it has been a while since its start");
    harness.child.shows(&[Seq(1)]);
    harness.run(&[1, 2]);
    assert_eq!((harness.child.runs().await, harness.child.runs().await), (Seq(1), Seq(2)));
    for (resident, ran) in [(5, &[][..]), (7, &[Seq(1)])] {
        harness.child.event(ChildEvent::Measured { resident: Some(resident) }).await;
        let Observed::Reports(reports) = harness.observe().await else { panic!("no report") };
        let [Report::Measured { resident: found, running }] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!((*found, &running[..]), (resident, ran));
        assert_eq!(harness.child.hears().await, Some(Heard::Measure), "the next one, after the answer to the last");
        harness.child.shows(&[Seq(2)]);
    }
    harness.child.event(ChildEvent::Measured { resident: None }).await;
    assert_eq!(harness.child.hears().await, Some(Heard::Measure), "one that failed is no measurement");
}

#[actix::test]
async fn l8_an_answer_that_nobody_asked_for_ends_the_worker() {
    for answer in [ControlUp::Revoked { seqs: Vec::new() }, ControlUp::Pong { nonce: 1 }] {
        let mut harness = WorkerHarness::ready().await;
        harness.run(&[1]);
        assert_eq!(harness.child.runs().await, Seq(1));
        harness.child.answers(answer.clone()).await;
        harness.child.answers(answer).await;
        assert_eq!(harness.child.hears().await, Some(Heard::Kill));
        harness.child.exits(ProcessExit::Signal(9), &[]).await;
        let departure = harness.down().await.departure;
        assert!(matches!(departure.reason, WorkerDownReason::Protocol { .. }), "{departure:?}");
    }
}
