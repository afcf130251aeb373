//! Random histories of a pool on scripted children: targets up and down, tasks, cancellations, crashes, failed starts
//! and late answers. At the end, every task has exactly one outcome, and the number of children is the target.

use std::collections::VecDeque;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::actors::NoRoom;
use crate::actors::Refusal;
use crate::actors::messages::{CancelTask, Reply};
use crate::model::CancelSource;
use crate::model::{Backoff, Priority, RetryPolicy, Seq, TaskId};
use crate::process::ChildEvent;
use crate::wire::{Down, Failure, FailureKind, Up};

const MOST: u32 = 4;
/// The maximum number of waiting tasks.
const ROOM: usize = 60;

/// Numbers by a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn small(&mut self, sides: u64) -> u32 {
        u32::try_from(self.roll(sides)).expect("small")
    }

    fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.roll(count.max(1) as u64)).expect("small")
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.roll(most))
    }
}

/// A child that behaves as a real one.
struct Puppet {
    child: FakeChild,
    slots: usize,
    ready: bool,
    gone: bool,
    ended: bool,
    /// The attempts that were sent and not answered. The first ones run.
    has: VecDeque<Seq>,
}

impl Puppet {
    fn running(&self) -> Vec<Seq> {
        self.has.iter().take(self.slots).copied().collect()
    }

    async fn dies(&mut self, exit: ProcessExit) {
        self.gone = true;
        self.child.exits(exit, &self.running()).await;
    }

    async fn becomes_ready(&mut self) {
        if !self.ready && !self.gone {
            self.ready = true;
            self.child.ready().await;
        }
    }

    /// Receives and carries out all messages so far.
    async fn listens(&mut self) {
        while !self.gone
            && let Some(heard) = self.child.hears().now_or_never()
        {
            let running = self.running();
            match heard {
                Some(Heard::Data(Down::Run { seq, .. })) => self.has.push_back(seq),
                Some(Heard::Control(ControlDown::Revoke { mut seqs })) => {
                    seqs.retain(|seq| self.has.contains(seq) && !running.contains(seq));
                    self.has.retain(|seq| !seqs.contains(seq));
                    self.child.answers(ControlUp::Revoked { seqs }).await;
                }
                Some(Heard::KillAttempt(seq)) if !running.contains(&seq) => {
                    self.child.event(ChildEvent::Spared { seq }).await;
                }
                Some(Heard::Finish) => {
                    assert_eq!(self.has, [], "who is to end has nothing left");
                    self.dies(ProcessExit::Code(0)).await;
                }
                Some(Heard::KillAttempt(_) | Heard::Kill) => self.dies(ProcessExit::Signal(9)).await,
                Some(Heard::Data(_) | Heard::Control(_) | Heard::Measure) => {}
                None => self.gone = true,
            }
        }
    }

    async fn ends_one(&mut self, dice: &mut Dice, fails: bool) {
        let running = self.running();
        if running.is_empty() || self.gone {
            return;
        }
        let (seq, nanos) = (running[dice.pick(running.len())], 1 << (10 + dice.roll(14)));
        self.has.retain(|it| *it != seq);
        self.ended = true;
        let failure = || Failure {
            kind: FailureKind::Exception,
            exception: String::new(),
            message: "bad".to_owned(),
            traceback: String::new(),
            causes: Vec::new(),
            raised: bytes::Bytes::new(),
        };
        let data = bytes::Bytes::from_static(b"1");
        let end = if fails {
            Up::Failed { seq, nanos, failure: failure() }
        } else {
            Up::Done { seq, nanos, data: data.into() }
        };
        self.child.says(end).await;
    }
}

struct World {
    harness: SupervisorHarness,
    slots: usize,
    dice: Dice,
    puppets: Vec<Puppet>,
    ids: Vec<TaskId>,
    records: Vec<oneshot::Receiver<Result<Arc<TaskRecord>, Refusal>>>,
    failed_starts: u32,
    /// Whether workers are recycled.
    recycles: bool,
    begun: Instant,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let (least, slots) = (dice.small(3), 1 + dice.small(2));
        let config = Config {
            cpu_bound_count: least,
            cpu_bound_max: Some(MOST),
            cpu_bound_task_limit: slots,
            io_bound_count: 0,
            io_bound_max: Some(0),
            max_restarts: 1000,
            cancel_grace: Duration::from_millis(2),
            ..Config::default()
        };
        let worker_tasks = (dice.roll(2) == 0).then(|| 1 + dice.roll(6));
        let rules = PoolRules { worker_tasks, ..PoolRules::default() };
        Self {
            harness: SupervisorHarness::with(&config, rules, ROOM),
            slots: slots as usize,
            recycles: rules.worker_tasks.is_some(),
            dice,
            puppets: Vec::new(),
            ids: Vec::new(),
            records: Vec::new(),
            failed_starts: 0,
            begun: Instant::now(),
        }
    }

    fn submit(&mut self) {
        let dice = &mut self.dice;
        let level = u8::try_from(dice.roll(10)).expect("small");
        let mut task = Task::script(["/a.py", "/b.py"][dice.pick(2)])
            .max_worker_losses(dice.small(4))
            .priority(Priority::try_from(level).expect("in range"));
        match dice.roll(8) {
            0 => task = task.delay(dice.millis(6)),
            1 => task = task.ttl(dice.millis(20)),
            2 => task = task.timeout(dice.millis(20)),
            3 => task = task.unique(["one", "two"][dice.pick(2)]).expect("a key"),
            4 => {
                let backoff = Backoff::Fixed(dice.millis(4));
                task = task.retry(RetryPolicy { backoff, ..RetryPolicy::times(2) });
            }
            _ => {}
        }
        let units = self.harness.admission.units_of(task.weight_in_queue());
        if self.harness.admission.try_enter(1, units).is_ok() {
            self.ids.push(task.id());
            let (reply, record) = oneshot::channel();
            self.ask(Request::Submit(Submission { task, units, reply: Reply::One(reply), accepted: None }));
            self.records.push(record);
        }
    }

    fn ask(&self, request: Request) {
        self.harness.requests.send(request).expect("the dispatcher lives");
    }

    fn set_target(&mut self, workers: u32) {
        self.harness.supervisor.do_send(SetTarget { pool: PoolId::CPU, workers, rule: ON_DEMAND });
    }

    fn children_come_and_go(&mut self) {
        self.puppets.retain(|puppet| !puppet.gone);
        while let Ok(child) = self.harness.children.try_recv() {
            let (slots, has) = (self.slots, VecDeque::new());
            self.puppets.push(Puppet { child, slots, ready: false, gone: false, ended: false, has });
        }
    }

    async fn step(&mut self) {
        self.children_come_and_go();
        let (at, action) = (self.dice.pick(self.puppets.len()), self.dice.roll(40));
        match (action, self.puppets.get_mut(at)) {
            (0..7, _) => self.submit(),
            (7..10, _) => {
                let workers = self.dice.small(u64::from(MOST) + 2);
                self.set_target(workers);
            }
            (10..12, _) if !self.ids.is_empty() => {
                let id = self.ids[self.dice.pick(self.ids.len())];
                let (reply, _) = oneshot::channel();
                self.ask(Request::Cancel(CancelTask { id, by: CancelSource::Caller, reply }));
            }
            (16..22, Some(puppet)) => puppet.becomes_ready().await,
            (22..30, Some(puppet)) => puppet.listens().await,
            (30..36, Some(puppet)) => {
                let fails = self.dice.roll(5) == 0;
                puppet.ends_one(&mut self.dice, fails).await;
            }
            (36..38, Some(puppet)) if puppet.ready && (puppet.ended || !puppet.has.is_empty()) => {
                puppet.dies(ProcessExit::Signal(11)).await;
            }
            // Few failures, because the next start in the same place waits in real time.
            (38, Some(puppet)) if !puppet.ready && self.failed_starts < 3 => {
                self.failed_starts += 1;
                puppet.dies(ProcessExit::Code(1)).await;
            }
            _ => actix_rt::task::yield_now().await,
        }
    }

    /// Every child does all of its work.
    async fn work(&mut self) {
        self.children_come_and_go();
        for puppet in &mut self.puppets {
            puppet.becomes_ready().await;
            puppet.listens().await;
            puppet.ends_one(&mut self.dice, false).await;
        }
        actix_rt::task::yield_now().await;
    }

    /// Advances until the condition holds for the status and the number of children.
    async fn until(&mut self, what: &str, holds: impl Fn(&Status, usize) -> bool) {
        loop {
            self.work().await;
            let status = self.harness.status().await;
            self.children_come_and_go();
            let children = self.puppets.len();
            if holds(&status, children) {
                return;
            }
            assert!(self.begun.elapsed() < LIMIT, "{what}: {children} children, {:?}", status.components);
        }
    }

    async fn plays(mut self, steps: u32) {
        for _ in 0..steps {
            self.step().await;
        }
        self.until("L1: every task ends", |status, _| status.components.tasks.live == 0).await;
        for record in std::mem::take(&mut self.records) {
            record.await.expect("L1: an answer").expect("a record");
        }
        let workers = self.dice.small(u64::from(MOST) + 1);
        let recycles = self.recycles;
        self.set_target(workers);
        let as_many = |status: &Status, children: usize| {
            let pool = &status.components.process_pool.pools[PoolId::CPU];
            // Beside each worker that has nearly taken its last task, a successor stands by.
            let bounds = pool.target..=pool.target * if recycles { 2 } else { 1 };
            (pool.ready, pool.starting) == (pool.target, 0) && bounds.contains(&children)
        };
        let wanted = |status: &Status| {
            let pool = &status.components.process_pool.pools[PoolId::CPU];
            pool.target == (workers as usize).clamp(pool.least, pool.most)
        };
        self.until("as many as there should be", |status, children| wanted(status) && as_many(status, children)).await;
        // All room has been given back (L9).
        assert_eq!(self.harness.admission.try_enter(ROOM as u32, 1 << 10), Ok(()));
        assert_eq!(self.harness.admission.try_enter(1, 0), Err(NoRoom::Full), "and none twice");
        self.harness.admission.leave(ROOM, 1 << 10);
        // The pool continues, even if it has no worker.
        (0..10).for_each(|_| self.submit());
        self.until("it works on", |status, _| status.components.tasks.live == 0).await;
        self.until("and keeps its size", as_many).await;
        self.stops().await;
    }

    async fn stops(&mut self) {
        let (reply, mut gone) = oneshot::channel();
        self.harness.supervisor.do_send(StopWorkers { reply });
        while gone.try_recv().is_err() {
            self.work().await;
            assert!(self.begun.elapsed() < LIMIT, "the shutdown ends");
        }
        self.children_come_and_go();
        assert_eq!(self.puppets.len(), 0, "L7: no child is left");
    }

    /// The engine is shut down in the middle of the history.
    async fn plays_until_shutdown(mut self, steps: u32) {
        for _ in 0..steps {
            self.step().await;
        }
        let error = TaskError::new(ErrorKind::Shutdown, "over");
        let (reply, _) = oneshot::channel();
        self.ask(Request::CancelAll { error, reply });
        self.submit();
        self.stops().await;
        for record in std::mem::take(&mut self.records) {
            record.await.expect("L1: an answer").expect("a record");
        }
        let status = self.harness.status().await;
        let shown = status.components.process_pool.cpu_worker_tasks.len();
        assert_eq!((status.components.tasks.live, status.components.process_pool.active_tasks, shown), (0, 0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn l1_l9_a_pool_that_grows_shrinks_and_crashes_loses_nothing_and_leaves_nobody_behind(
        seed: u64, steps in 20..400u32,
    ) {
        System::new().block_on(async move { World::new(seed).plays(steps).await });
    }
    #[test]
    fn l1_l7_a_shutdown_in_the_middle_of_it_all_answers_everybody_and_leaves_no_child(seed: u64, steps in 20..200u32) {
        System::new().block_on(async move { World::new(seed).plays_until_shutdown(steps).await });
    }
}
