//! The Supervisor and the Dispatcher on scripted children.

mod world;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::actors::messages::{Reply, Request, Submission};
use crate::actors::{Admission, Autoscaler, InboxSender, TimerDriver, inbox};
use crate::model::{ErrorKind, HostLoad, PoolId, ProcessExit, ScalingRule, Status, Task, TaskError, TaskRecord};
use crate::policy::pool_supervisor::MAX_FINISHING;
use crate::policy::restart::BreakerState;
use crate::policy::retention::RetentionPolicy;
use crate::policy::scheduler::{PoolRules, Scheduler};
use crate::policy::task_table::TaskTable;
use crate::process::{KernelTimer, Measurement, Meter, WallClockSet, nanos_since_boot};
use crate::testing::{FakeChild, FakeLauncher, Heard};
use crate::wire::{ControlDown, ControlUp};

/// Longer than any wait of a test that passes.
const LIMIT: Duration = Duration::from_secs(30);
/// The rule of the targets that the tests set.
const ON_DEMAND: ScalingRule = ScalingRule::OnDemand { waiting: 1 };

/// Asks for the breaker of the CPU pool.
#[derive(Message)]
#[rtype(result = "()")]
struct AskBreaker {
    reply: oneshot::Sender<BreakerState>,
}

impl Handler<AskBreaker> for Supervisor {
    type Result = ();

    fn handle(&mut self, AskBreaker { reply }: AskBreaker, _: &mut Self::Context) {
        let _ = reply.send(self.policy.breaker(PoolId::CPU).expect("every engine has it"));
    }
}

thread_local! {
    /// The number of hours by which the wall clock was set.
    static SET_BY: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

/// The machine started in 1970, and then the clock was set.
fn wall_now() -> Timestamp {
    let since_boot = Duration::from_nanos(nanos_since_boot());
    Timestamp::UNIX_EPOCH + since_boot + jiff::SignedDuration::from_hours(SET_BY.get())
}

fn clock() -> Clock {
    Clock::start_with(nanos_since_boot, wall_now)
}

struct SupervisorHarness {
    dispatcher: Addr<Dispatcher>,
    supervisor: Addr<Supervisor>,
    requests: InboxSender,
    admission: Arc<Admission>,
    children: UnboundedReceiver<FakeChild>,
    timers: TimerDriver,
    clock: Clock,
}

impl SupervisorHarness {
    fn new(config: &Config) -> Self {
        Self::with(config, PoolRules::default(), 100)
    }

    /// A harness with these rules and this much room for tasks.
    fn with(config: &Config, rules: PoolRules, room: usize) -> Self {
        let (launcher, children) = FakeLauncher::new();
        let (requests, inbox) = inbox().expect("a pipe");
        let (clock, admission) = (clock(), Arc::new(Admission::new(room, 1 << 20)));
        let timers = TimerDriver::start(KernelTimer::new().expect("a timer"), clock.clone());
        let sequencer = Sequencer::new(clock.clone());
        let keep = RetentionPolicy { count: 100, bytes: 1 << 20, each: 1 << 20, age: None };
        let scheduler = Scheduler::new(
            TaskTable::new(clock.epoch(), keep),
            &config.pool_settings().map(|_, pool| PoolRules { kind: pool.kind, ..rules }),
            config.capacity(None),
        );
        let dispatcher =
            Dispatcher::new(scheduler, &timers, admission.clone(), sequencer.clone(), inbox, config).start();
        let supervisor =
            Supervisor::new(Box::new(launcher), dispatcher.clone(), sequencer, timers.clone(), config).start();
        Self { dispatcher, supervisor, requests, admission, children, timers, clock }
    }

    async fn child(&mut self) -> FakeChild {
        let child = actix_rt::time::timeout(LIMIT, self.children.recv()).await;
        child.expect("a worker is started in time").expect("the launcher lives")
    }

    /// The state of the CPU pool's breaker.
    async fn breaker(&self) -> BreakerState {
        let (reply, answer) = oneshot::channel();
        self.supervisor.do_send(AskBreaker { reply });
        answer.await.expect("the supervisor lives")
    }

    async fn status(&self) -> Arc<Status> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Status { reply }).expect("the dispatcher lives");
        answer.await.expect("the dispatcher lives")
    }

    /// Waits until the CPU pool has these numbers of wanted, ready and starting workers.
    async fn pool_is(&self, expected: (usize, usize, usize)) {
        let begun = std::time::Instant::now();
        loop {
            let status = self.status().await;
            let pool = &status.components.process_pool.pools[PoolId::CPU];
            if (pool.target, pool.ready, pool.starting) == expected {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{pool:?} is not {expected:?}");
        }
    }

    fn submit(&self) -> oneshot::Receiver<Result<Arc<TaskRecord>, crate::actors::Refusal>> {
        // A task that fails at once when its worker dies.
        self.submit_task(Task::script("/a.py").max_worker_losses(0))
    }

    fn submit_task(&self, task: Task) -> oneshot::Receiver<Result<Arc<TaskRecord>, crate::actors::Refusal>> {
        let (reply, record) = oneshot::channel();
        self.requests
            .send(Request::Submit(Submission { task, units: 0, reply: Reply::One(reply), accepted: None }))
            .expect("the dispatcher lives");
        record
    }

    async fn outcome(record: oneshot::Receiver<Result<Arc<TaskRecord>, crate::actors::Refusal>>) -> String {
        let record = actix_rt::time::timeout(LIMIT, record).await.expect("in time").expect("an answer");
        let record = record.expect("a record");
        record.outcome.error().map_or(record.outcome.name().to_owned(), ToString::to_string)
    }
}

fn config(max_restarts: u32) -> Config {
    Config { cpu_bound_count: 2, io_bound_count: 0, max_restarts, restart_window: LIMIT, ..Config::default() }
}

/// The worker dies while it runs a task.
async fn dies_of_a_task(harness: &SupervisorHarness, child: &mut FakeChild) {
    let record = harness.submit();
    let seq = child.runs().await;
    child.exits(ProcessExit::Signal(11), &[seq]).await;
    assert!(SupervisorHarness::outcome(record).await.contains("SIGSEGV"));
}

async fn succeeds_on(harness: &SupervisorHarness, child: &mut FakeChild) {
    let record = harness.submit();
    let seq = child.runs().await;
    child.done(seq).await;
    assert_eq!(SupervisorHarness::outcome(record).await, "succeeded");
}

#[actix::test]
async fn a_pool_whose_breaker_is_open_works_on_with_the_workers_it_has_and_heals() {
    let mut harness = SupervisorHarness::new(&config(1));
    let (mut dying, mut well) = (harness.child().await, harness.child().await);
    dying.ready().await;
    dies_of_a_task(&harness, &mut dying).await;
    let mut dying = harness.child().await;
    assert_eq!(harness.breaker().await, BreakerState::Closed, "once is no reason");
    dying.ready().await;
    dies_of_a_task(&harness, &mut dying).await;
    // The other worker was starting all the time. The pool waits for it, and it takes the pool's tasks.
    let opened = harness.breaker().await;
    let BreakerState::Open { since, until } = opened else { panic!("{opened:?}") };
    assert_eq!(until.since(since), Duration::from_secs(1));
    let waits = harness.submit();
    well.ready().await;
    let seq = well.runs().await;
    well.done(seq).await;
    assert_eq!(SupervisorHarness::outcome(waits).await, "succeeded");
    for _ in 0..20 {
        succeeds_on(&harness, &mut well).await;
    }
    assert_eq!(harness.breaker().await, opened, "degraded, not refused");
    let mut healed = harness.child().await;
    assert!(harness.clock.now() >= until, "the replacement has waited");
    assert_eq!(harness.breaker().await, opened, "it is only on its way");
    healed.ready().await;
    succeeds_on(&harness, &mut healed).await;
    assert_eq!(harness.breaker().await, BreakerState::Closed);
}

#[actix::test]
async fn while_the_breaker_is_open_every_worker_that_dies_waits_and_a_pool_without_any_refuses() {
    let mut harness = SupervisorHarness::new(&config(3));
    let (mut one, mut other) = (harness.child().await, harness.child().await);
    for death in 1..=4 {
        one.ready().await;
        dies_of_a_task(&harness, &mut one).await;
        assert_eq!(harness.breaker().await == BreakerState::Closed, death < 4);
        if death < 4 {
            one = harness.child().await;
        }
    }
    // This death does not open the breaker again, but the replacement still waits.
    let opened = harness.breaker().await;
    other.ready().await;
    dies_of_a_task(&harness, &mut other).await;
    assert_eq!(harness.breaker().await, opened);
    let refused = SupervisorHarness::outcome(harness.submit()).await;
    assert!(refused.contains("unhealthy") && refused.contains("max_restarts"), "{refused}");
    let mut healed = harness.child().await;
    let BreakerState::Open { until, .. } = opened else { panic!("{opened:?}") };
    assert!(harness.clock.now() >= until, "both replacements have waited");
    healed.ready().await;
    let answer = loop {
        // Tasks are refused until the worker's report has reached the dispatcher.
        let record = harness.submit();
        let served = async {
            let seq = healed.runs().await;
            healed.done(seq).await;
            std::future::pending::<String>().await
        };
        let outcome =
            futures_util::future::select(Box::pin(SupervisorHarness::outcome(record)), Box::pin(served)).await;
        let outcome = outcome.factor_first().0;
        if !outcome.contains("unhealthy") {
            break outcome;
        }
    };
    assert_eq!(answer, "succeeded");
}

#[actix::test]
async fn a_worker_that_is_awaited_counts_as_starting_until_it_is_ready_or_not_wanted_any_more() {
    let mut harness = SupervisorHarness::new(&Config { cpu_bound_max: Some(3), ..config(9) });
    let (mut one, other) = (harness.child().await, harness.child().await);
    harness.pool_is((2, 0, 2)).await;
    one.ready().await;
    other.ready().await;
    succeeds_on(&harness, &mut one).await;
    harness.pool_is((2, 2, 0)).await;
    dies_of_a_task(&harness, &mut one).await; // its replacement is starting
    harness.pool_is((2, 1, 1)).await;
    harness.supervisor.do_send(SetTarget { pool: PoolId::CPU, workers: 9, rule: ON_DEMAND });
    harness.pool_is((3, 1, 2)).await;
    harness.supervisor.do_send(SetTarget { pool: PoolId::CPU, workers: 0, rule: ON_DEMAND });
    harness.pool_is((2, 1, 1)).await;
    let (_replacement, mut given_up) = (harness.child().await, harness.child().await);
    assert_eq!(given_up.spec.worker.index, 2);
    while given_up.hears().now_or_never().is_none_or(|heard| heard != Some(Heard::Kill)) {
        actix_rt::task::yield_now().await;
    }
}

/// Reports once that all memory is in use, and fails from then on.
struct Failing {
    has_measured: bool,
}

impl Meter for Failing {
    fn measure(&mut self, _: &[u32]) -> Measurement {
        assert!(!std::mem::replace(&mut self.has_measured, true), "asked to, by a test");
        Measurement { host: HostLoad { cpu: None, memory: Some(1.0) }, processes: Vec::new() }
    }
}

#[actix::test]
async fn a_machine_that_cannot_be_measured_any_more_is_not_taken_for_busy() {
    let config = Config { max_memory_percent: Some(90.0), ..config(9) };
    let harness = SupervisorHarness::new(&config);
    let meter = Box::new(Failing { has_measured: false });
    let SupervisorHarness { dispatcher, supervisor, timers, .. } = &harness;
    Autoscaler::new(&config, dispatcher.clone(), supervisor.clone(), timers, Some(meter)).start();
    let begun = std::time::Instant::now();
    for refuses in [true, false] {
        while harness.admission.try_enter(0, 0).is_err() != refuses {
            assert!(begun.elapsed() < LIMIT, "{refuses}");
            actix_rt::task::yield_now().await;
        }
    }
}

#[actix::test]
async fn the_running_tasks_of_a_replaced_worker_are_counted() {
    let rules = PoolRules { worker_tasks: Some(2), ..PoolRules::default() };
    let config = Config { cpu_bound_count: 1, cpu_bound_max: Some(1), cpu_bound_task_limit: 2, ..config(9) };
    let mut harness = SupervisorHarness::with(&config, rules, 100);
    let mut old = harness.child().await;
    old.ready().await;
    succeeds_on(&harness, &mut old).await;
    let records = [harness.submit(), harness.submit()];
    let last = old.runs().await;
    let mut new = harness.child().await;
    new.ready().await;
    let first = new.runs().await;
    let parts = harness.status().await.components.process_pool.clone();
    assert_eq!((parts.active_tasks, parts.cpu_bound_workers, parts.cpu_worker_tasks.len()), (2, 1, 1));
    old.done(last).await;
    new.done(first).await;
    for record in records {
        assert_eq!(SupervisorHarness::outcome(record).await, "succeeded");
    }
}

#[actix::test]
async fn l9_workers_that_finish_long_tasks_are_bounded_too() {
    let config = Config { cpu_bound_count: 0, cpu_bound_max: Some(1), ..config(9) };
    let mut harness = SupervisorHarness::new(&config);
    let set_target = |harness: &SupervisorHarness, workers| {
        harness.supervisor.do_send(SetTarget { pool: PoolId::CPU, workers, rule: ON_DEMAND })
    };
    let mut busy = Vec::new();
    for _ in 0..2 {
        let record = harness.submit();
        let mut child = harness.child().await;
        child.ready().await;
        let seq = child.runs().await;
        set_target(&harness, 0);
        harness.pool_is((0, 0, 0)).await;
        busy.push((child, seq, record));
    }
    let waits = harness.submit();
    harness.pool_is((1, 0, 0)).await;
    assert!(harness.children.try_recv().is_err(), "as many again as there may be finish what they have");
    let (mut child, seq, record) = busy.swap_remove(0);
    child.done(seq).await;
    assert_eq!(SupervisorHarness::outcome(record).await, "succeeded");
    assert_eq!(child.hears().await, Some(Heard::Finish));
    child.exits(ProcessExit::Code(0), &[]).await;
    let mut next = harness.child().await;
    next.ready().await;
    let seq = next.runs().await;
    next.done(seq).await;
    assert_eq!(SupervisorHarness::outcome(waits).await, "succeeded");
}

#[actix::test]
async fn l9_a_worker_is_not_replaced_while_too_many_before_it_have_not_finished() {
    let rules = PoolRules { worker_tasks: Some(2), ..PoolRules::default() };
    let config = Config { cpu_bound_count: 1, cpu_bound_max: Some(1), cpu_bound_task_limit: 2, ..config(9) };
    let mut harness = SupervisorHarness::with(&config, rules, 100);
    let (mut finishing, mut endless) = (Vec::new(), Vec::new());
    for _ in 0..=MAX_FINISHING {
        let mut child = harness.child().await;
        child.ready().await;
        endless.push(harness.submit());
        let seq = child.runs().await;
        // Its second task is its last.
        succeeds_on(&harness, &mut child).await;
        finishing.push((child, seq));
    }
    let waits = harness.submit();
    harness.status().await;
    assert!(harness.children.try_recv().is_err(), "no other process until one of them has ended");
    let (mut first, seq) = finishing.swap_remove(0);
    first.done(seq).await;
    assert_eq!(first.hears().await, Some(Heard::Finish));
    first.exits(ProcessExit::Code(0), &[]).await;
    let mut next = harness.child().await;
    next.ready().await;
    let seq = next.runs().await;
    next.done(seq).await;
    assert_eq!(SupervisorHarness::outcome(waits).await, "succeeded");
    assert_eq!(SupervisorHarness::outcome(endless.swap_remove(0)).await, "succeeded");
}

#[actix::test]
async fn a_task_held_until_a_calendar_time_starts_when_the_wall_clock_is_set() {
    let mut harness = SupervisorHarness::new(&Config { cpu_bound_count: 1, ..config(9) });
    let mut child = harness.child().await;
    child.ready().await;
    let in_an_hour = wall_now() + Duration::from_secs(3600);
    let held = harness.submit_task(Task::script("/a.py").not_before(in_an_hour));
    succeeds_on(&harness, &mut child).await;
    assert_eq!(harness.status().await.components.input_queue.held_back, 1);
    SET_BY.set(2);
    harness.dispatcher.send(WallClockSet).await.expect("the dispatcher lives");
    let seq = child.runs().await;
    child.done(seq).await;
    let record = held.await.expect("an answer").expect("a record");
    let finished = record.timings.finished;
    assert!(finished > in_an_hour, "the record has the times of the new setting: {finished}");
}
