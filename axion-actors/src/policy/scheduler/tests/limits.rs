//! Needs, keys and rates: which tasks wait for them, and that the gate holds only what tasks use.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::histories::{HistoryStep, HistoryWorld, WORKERS, drawn_task, step};
use super::*;
use crate::model::{BlockedBy, Concurrency, Fixed, Limits, Needs, PoolCapacity, Rate};
use crate::policy::resources::MAX_OVERTAKES;

const IO: WorkerRef = WorkerRef { id: WorkerId::local(PoolId::IO, 0), generation: Generation(1) };

/// What the world of the tests has: six slots, and one machine.
fn machine() -> EngineCapacity {
    let shared = crate::model::Capacity { cpu: Fixed::new(100.0), ..crate::model::Capacity::default() };
    let pools = in_every_pool(PoolRules::default()).map(|_, rules| PoolCapacity { kind: rules.kind, slots: 6 });
    EngineCapacity { shared, pools }
}

fn limited_scheduler() -> Scheduler {
    let mut table = TaskTable::new(
        Timestamp::UNIX_EPOCH,
        RetentionPolicy { count: 1 << 20, bytes: 1 << 30, each: 1 << 20, age: None },
    );
    table.recorder().begin(true);
    Scheduler::new(table, &in_every_pool(PoolRules::default()), machine())
}

fn needing(slots: u32) -> impl Fn(Task) -> Task {
    move |task| task.needs(Needs { slots, ..Needs::default() })
}

fn keyed(max: u32) -> impl Fn(Task) -> Task {
    move |task| task.concurrency(Concurrency { key: "api".into(), max })
}

/// The limits of a task of the random histories.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    slots: u8,
    cpu: u8,
    /// 1 and 2 are shared by as many at one time; 0 is none.
    key: u8,
    rate: bool,
}

impl Wanted {
    pub(super) fn of(self, task: Task) -> Task {
        let Self { slots, cpu, key, rate } = self;
        let cpu = Fixed::new(f64::from(cpu)).expect("a percentage");
        let mut task = task.needs(Needs { slots: slots.into(), cpu, memory: None });
        if key > 0 {
            task = task.concurrency(Concurrency { key: format!("key {key}").into(), max: key.into() });
        }
        if rate {
            task = task.rate(Rate { burst: 2, per: Duration::from_millis(10), ..Rate::per_second("rate", 4) });
        }
        task
    }
}

fn limited_step() -> impl Strategy<Value = HistoryStep> {
    let submit = (drawn_task(), 1..=6u8, 0..=100u8, 0..3u8, any::<bool>()).prop_map(|(task, slots, cpu, key, rate)| {
        // Half of them need more than a slot, half some of the machine.
        let wanted = Wanted { slots: slots.saturating_sub(2).max(1), cpu: cpu.saturating_sub(50), key, rate };
        HistoryStep::SubmitLimited { task, wanted }
    });
    prop_oneof![1 => submit, 4 => step()]
}

impl HistoryWorld {
    /// Nothing is in use beyond its limit, and what is held is held by somebody.
    pub(super) fn check_limits(&self) {
        let table = self.scheduler.table();
        let is_sent = |key: TaskKey| matches!(table.state(key), Some(TaskState::Sent { .. }));
        let running: Vec<&Limits> =
            table.keys().filter(|key| is_sent(*key)).filter_map(|key| table.task(key)?.limits()).collect();
        let cpu: u64 = running.iter().map(|limits| limits.needs.cpu.0).sum();
        assert!(cpu <= 100_000, "{cpu} thousandths of a per cent of the machine");
        for max in 1..3 {
            let with = |limits: &&&Limits| limits.concurrency.as_ref().is_some_and(|it| it.max == max);
            assert!(running.iter().filter(with).count() <= max as usize, "key {max}");
        }
        let held = self.scheduler.limiter.held();
        for (key, ticket, reservations) in &held {
            let limits = table.task(*key).and_then(Task::limits).expect("only what lives holds something");
            assert_eq!(*ticket, limits.is_shared());
            let reserved: usize = reservations.iter().map(|reserve_slots| reserve_slots.slots).sum();
            if is_sent(*key) {
                assert_eq!(reserved + 1, limits.needs.slots as usize);
            } else {
                let pool = &self.scheduler.pools[table.task(*key).expect("live").pool_id()];
                let waits = pool.cleared.iter().chain(&pool.suspects).copied().chain(pool.multi_slot.queue.iter());
                assert!(reserved == 0 && waits.into_iter().any(|it| it == *key), "it is about to be placed");
            }
        }
        let holders = held.iter().filter(|(key, ..)| is_sent(*key)).count();
        let holding = |limits: &&Limits| limits.is_shared() || limits.needs.slots > 1;
        assert_eq!(holders, running.into_iter().filter(holding).count(), "who runs holds what it uses");
        // Slots: those that are reserved and those in which something runs are never more than there are.
        for member in self.scheduler.pools.values().flat_map(|pool| pool.workers.iter()) {
            let (pool, index) = (member.worker.id.pool, member.worker.id.index as usize);
            let in_pool = held.iter().filter(|(key, ..)| table.task(*key).is_some_and(|task| task.pool_id() == pool));
            let reservations = in_pool.flat_map(|(.., reservations)| reservations.iter());
            let reserved: usize = reservations
                .filter(|reserve_slots| reserve_slots.index == index)
                .map(|reserve_slots| reserve_slots.slots)
                .sum();
            assert_eq!(member.view().reserved, reserved);
            assert!(member.running() + reserved <= index + 1, "{} slots of {}", member.running() + reserved, index + 1);
        }
    }

    /// Everything ends well from now on.
    fn calm_down(&mut self) {
        // A task may wait for a calendar time that is days away, because the wall clock was set back often.
        self.apply(HistoryStep::SetWallClock(1000 * 3_600_000));
        for round in 0..5000 {
            if self.scheduler.table().live() == 0 {
                return;
            }
            for index in 0..WORKERS {
                self.apply(HistoryStep::Join(index));
                self.apply(HistoryStep::Execute { worker: index, spared: true, started: true });
                self.apply(HistoryStep::Ended { worker: index, pick: round as u8, micros: 100, fails: false });
            }
            self.apply(HistoryStep::Wait(1000));
        }
        let table = self.scheduler.table();
        let left: Vec<_> = table.keys().map(|key| (table.state(key), table.task(key).and_then(Task::limits))).collect();
        panic!("L1: these wait for ever: {left:?}");
    }
}

/// The reasons of waits since the last call.
fn reasons(scheduler: &mut Scheduler) -> Vec<(TaskId, BlockedBy)> {
    let reasons = facts(scheduler).into_iter().filter_map(|kind| match kind {
        FactKind::TaskBlocked { task, by } => Some((task, by)),
        _ => None,
    });
    reasons.collect()
}

fn at_limit(max: u32, running: u32, holders: &[TaskId]) -> BlockedBy {
    BlockedBy::Concurrency { key: "api".into(), max, running, holders: holders.to_vec() }
}

#[test]
fn l15_a_task_that_waits_for_a_key_names_those_that_hold_it() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(worker(0, 1), slots(4), Tick(0));
    let ids = submit_as(&mut scheduler, 4, Tick(0), keyed(2));
    let behind = (ids[3], BlockedBy::SameLimits);
    assert_eq!(reasons(&mut scheduler), [(ids[2], at_limit(2, 2, &ids[..2])), behind]);
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS)], after(1));
    assert_eq!(reasons(&mut scheduler), [(ids[3], at_limit(2, 2, &ids[1..3]))], "the head has another holder");
    // While nobody listens, nothing is noted; who listens later hears of the present holders.
    scheduler.table_mut().recorder().begin(false);
    scheduler.reported(worker(0, 1), vec![done(Seq(2), MS)], after(2));
    let unheard = submit_as(&mut scheduler, 1, after(2), keyed(2));
    assert_eq!(facts(&mut scheduler), []);
    scheduler.table_mut().recorder().begin(true);
    scheduler.cancel(CancelSource::Caller, unheard[0], Duration::ZERO, after(3));
    let late = submit_as(&mut scheduler, 1, after(3), keyed(2));
    assert_eq!(reasons(&mut scheduler), [(late[0], at_limit(2, 2, &ids[2..]))]);
}

#[test]
fn l9_a_reason_names_at_most_eight_holders_of_a_key() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(IO, slots(20), Tick(0));
    let ids = submit_as(&mut scheduler, 11, Tick(0), |task| keyed(10)(task).on(PoolId::IO));
    let first = &ids[..BlockedBy::MAX_HOLDERS];
    assert_eq!(reasons(&mut scheduler), [(ids[10], at_limit(10, 10, first))]);
}

proptest! {
    /// Random histories with limits: nothing is ever used beyond them, nothing that has been held is forgotten,
    /// and nothing waits for ever.
    #[test]
    fn l1_limits_hold_and_let_everything_through_over_random_histories(
        steps in proptest::collection::vec(limited_step(), 1..120)
    ) {
        let mut world = HistoryWorld::new(limited_scheduler(), true);
        for step in steps {
            world.apply(step);
        }
        world.calm_down();
        prop_assert!(world.scheduler.limiter.is_whole(), "everything was given back");
        prop_assert_eq!(world.scheduler.timers.len(), 0);
        prop_assert_eq!(world.oracle.finish(), Ok(Vec::new()), "L1: every task ends");
        let ended: BTreeSet<TaskId> = world.records.iter().map(|record| record.id).collect();
        prop_assert_eq!(ended.len(), world.records.len(), "L1: exactly once");
        prop_assert_eq!(ended, world.accepted.iter().copied().collect::<BTreeSet<_>>(), "L1: every task ends");
    }

    /// Whenever the engine ends, nothing is held afterwards.
    #[test]
    fn l1_the_end_of_the_engine_gives_everything_back(steps in proptest::collection::vec(limited_step(), 1..60)) {
        let mut world = HistoryWorld::new(limited_scheduler(), true);
        for step in steps {
            world.apply(step);
        }
        world.scheduler.cancel_all(&TaskError::new(ErrorKind::Shutdown, "over"), world.now);
        world.observe_facts();
        prop_assert_eq!(world.oracle.finish(), Ok(Vec::new()), "L1: every task ends");
        prop_assert_eq!(world.scheduler.table().live(), 0);
        prop_assert!(world.scheduler.limiter.is_whole());
    }
}

fn running(scheduler: &Scheduler) -> usize {
    scheduler.workers(PoolId::CPU).map(|worker| worker.load.running).sum()
}

#[test]
fn a_key_is_shared_by_both_pools() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(worker(0, 1), slots(3), Tick(0));
    scheduler.joined(IO, slots(3), Tick(0));
    submit_as(&mut scheduler, 2, Tick(0), keyed(2));
    let third = keyed(2)(Task::script("/a.py").on(PoolId::IO));
    let id = third.id();
    scheduler.submit(third, None, Tick(0)).expect("new");
    scheduler.place(PoolId::IO, Tick(0));
    let plain = submit(&mut scheduler, 1, Tick(0));
    assert_eq!(scheduler.sent_to(IO).len(), 0);
    assert!(ids_sent(&scheduler.take_actions()).contains(&plain[0]), "who has no limits goes on");
    assert_eq!((scheduler.table().queued(PoolId::IO), scheduler.held_by_limits(PoolId::IO)), (1, 1));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS)], Tick(1));
    assert_eq!(ids_sent(&scheduler.take_actions()), [id]);
}

#[test]
fn l10_a_rate_says_when_the_next_start_may_be() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(worker(0, 1), slots(3), Tick(0));
    let second = submit_as(&mut scheduler, 3, Tick(0), |task| task.rate(Rate::per_second("api", 1)));
    assert_eq!(ids_sent(&scheduler.take_actions()), second[..1]);
    let next = scheduler.next_tick().expect("the others wait");
    assert_eq!(next, Tick(1000 * MS));
    scheduler.tick(Tick(next.0 - 1));
    assert!(scheduler.take_actions().is_empty());
    scheduler.tick(next);
    assert_eq!(ids_sent(&scheduler.take_actions()), second[1..2]);
    // One that is cancelled while it waits leaves no timer behind.
    assert_eq!(scheduler.cancel(CancelSource::Caller, second[2], Duration::ZERO, next), CancelAnswer::Removed);
    assert_eq!(scheduler.next_tick(), None);
}

#[test]
fn a_retry_waits_for_its_key_again_and_holds_no_permit_meanwhile() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(worker(0, 1), slots(3), Tick(0));
    let backoff = crate::model::Backoff::Fixed(Duration::from_millis(10));
    let policy = crate::model::RetryPolicy { backoff, ..crate::model::RetryPolicy::times(1) };
    let retried = submit_as(&mut scheduler, 1, Tick(0), |task| keyed(1)(task).retry(policy.clone()))[0];
    let other = submit_as(&mut scheduler, 1, Tick(0), keyed(1))[0];
    assert_eq!(ids_sent(&scheduler.take_actions()), [retried]);
    scheduler.reported(worker(0, 1), vec![failing(Seq(1), ErrorKind::Exception)], after(1));
    assert_eq!(ids_sent(&scheduler.take_actions()), [other]);
    scheduler.tick(after(30));
    assert_eq!(ids_sent(&scheduler.take_actions()), []);
    scheduler.reported(worker(0, 1), vec![done(Seq(2), MS)], after(31));
    assert_eq!(ids_sent(&scheduler.take_actions()), [retried]);
}

#[test]
fn l12_tasks_that_wait_for_a_key_start_by_priority() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(worker(0, 1), slots(3), Tick(0));
    let with = |level: u8| move |task: Task| keyed(1)(task).priority(Priority::try_from(level).expect("in range"));
    let first = submit_as(&mut scheduler, 1, Tick(0), with(5));
    let low = submit_as(&mut scheduler, 1, Tick(0), with(9));
    let usual = submit_as(&mut scheduler, 2, Tick(0), with(5));
    let high = submit_as(&mut scheduler, 1, Tick(0), with(0));
    let mut order = ids_sent(&scheduler.take_actions());
    for seq in 1..5 {
        scheduler.reported(worker(0, 1), vec![done(Seq(seq), MS)], Tick(seq));
        order.extend(ids_sent(&scheduler.take_actions()));
    }
    assert_eq!(order, [first[0], high[0], usual[0], usual[1], low[0]]);
}

#[test]
fn tasks_with_limits_are_not_sent_ahead() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    submit_as(&mut scheduler, 4, Tick(0), keyed(4));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS / 10)], Tick(1));
    assert_eq!(scheduler.sent_to(worker(0, 1)).len(), 1, "what is in use is used by what runs");
    // Plain tasks behind one that may go do not keep the worker from getting free.
    submit(&mut scheduler, 10, Tick(1));
    assert_eq!(scheduler.sent_to(worker(0, 1)).len(), 1);
}

#[test]
fn a_task_of_several_slots_keeps_them_idle_in_as_few_workers_as_can_be() {
    let mut scheduler = limited_scheduler();
    for (index, count) in [(0, 1), (1, 3), (2, 2)] {
        scheduler.joined(worker(index, 1), slots(count), Tick(0));
    }
    submit_as(&mut scheduler, 1, Tick(0), needing(4));
    let reserved = |scheduler: &Scheduler| -> Vec<(usize, usize)> {
        scheduler.workers(PoolId::CPU).map(|worker| (worker.load.running, worker.reserved)).collect()
    };
    assert_eq!(reserved(&scheduler), [(0, 0), (1, 2), (0, 1)]);
    submit(&mut scheduler, 5, Tick(0));
    assert_eq!(reserved(&scheduler), [(1, 0), (1, 2), (1, 1)], "two of six slots were left");
    scheduler.reported(worker(1, 1), vec![done(Seq(1), 9 * MS)], Tick(1));
    assert_eq!(reserved(&scheduler), [(1, 0), (2, 0), (2, 0)], "the three that waited are shared out");
    assert!(scheduler.limiter.is_whole());
}

#[test]
fn a_claimed_worker_that_dies_stays_claimed() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    scheduler.joined(worker(1, 1), slots(1), Tick(0));
    let multi_slot = submit_as(&mut scheduler, 1, Tick(0), needing(2))[0];
    let plain = submit(&mut scheduler, 1, Tick(0))[0];
    assert_eq!(ids_sent(&scheduler.take_actions()), [multi_slot]);
    scheduler.left(worker(1, 1), killed(&[]), Tick(1));
    scheduler.joined(worker(1, 2), slots(1), Tick(2));
    assert_eq!(ids_sent(&scheduler.take_actions()), []);
    // Its own worker dies: it is a suspect now, and needs both again. There is only one at present.
    scheduler.left(worker(0, 1), killed(&[1]), Tick(3));
    assert_eq!(ids_sent(&scheduler.take_actions()), [plain]);
    let behind = submit(&mut scheduler, 1, Tick(3))[0];
    scheduler.joined(worker(0, 2), slots(1), Tick(4));
    assert_eq!(ids_sent(&scheduler.take_actions()), [], "nothing starts before a suspect that needs all");
    scheduler.reported(worker(1, 2), vec![done(Seq(1), 9 * MS)], Tick(5));
    assert_eq!(ids_sent(&scheduler.take_actions()), [multi_slot]);
    scheduler.reported(worker(0, 2), vec![done(Seq(1), 9 * MS)], Tick(6));
    assert_eq!(ids_sent(&scheduler.take_actions()), [behind]);
    assert!(scheduler.limiter.is_whole());
}

#[test]
fn l1_a_task_of_several_slots_is_overtaken_so_often_and_not_once_more() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(worker(0, 1), slots(2), Tick(0));
    submit(&mut scheduler, 2, Tick(0));
    scheduler.take_actions();
    let multi_slot = submit_as(&mut scheduler, 1, Tick(0), needing(2))[0];
    submit(&mut scheduler, 200, Tick(0));
    let mut overtook = 0;
    for seq in 1..200 {
        // One of two ends at a time, so there is never room for it.
        scheduler.reported(worker(0, 1), vec![done(Seq(seq), 10 * MS)], after(seq));
        let started = ids_sent(&scheduler.take_actions());
        if started.is_empty() {
            break;
        }
        assert!(!started.contains(&multi_slot));
        overtook += started.len() as u64;
    }
    assert_eq!((overtook, running(&scheduler)), (MAX_OVERTAKES, 1));
    // What is more urgent goes before it all the same (L12), and takes nothing of its patience.
    let urgent = submit_as(&mut scheduler, 1, after(300), |task| task.priority(Priority::HIGHEST))[0];
    assert_eq!(ids_sent(&scheduler.take_actions()), [urgent]);
    for (_, seq) in scheduler.sent_to(worker(0, 1)) {
        scheduler.reported(worker(0, 1), vec![done(seq, 10 * MS)], after(301));
    }
    assert_eq!(ids_sent(&scheduler.take_actions()), [multi_slot]);
}

#[test]
fn l1_a_pool_that_is_too_small_at_present_is_asked_to_grow_and_again_when_it_shrinks() {
    let mut scheduler = limited_scheduler();
    submit_as(&mut scheduler, 1, Tick(0), needing(3));
    let called = |scheduler: &mut Scheduler| -> Vec<usize> {
        let calls = scheduler.take_actions().into_iter().filter_map(|action| match action {
            Action::Call { workers, .. } => Some(workers),
            _ => None,
        });
        calls.collect()
    };
    assert_eq!(called(&mut scheduler), [1], "how many slots a worker has is not known yet");
    scheduler.joined(worker(0, 1), slots(1), Tick(1));
    assert_eq!(called(&mut scheduler), [3]);
    scheduler.resized(PoolId::CPU, 3, 6, Tick(2));
    assert_eq!(called(&mut scheduler), [0; 0], "they are on their way");
    scheduler.resized(PoolId::CPU, 2, 6, Tick(2));
    assert_eq!(called(&mut scheduler), [3], "one of them was given up");
    scheduler.joined(worker(1, 1), slots(1), Tick(3));
    assert_eq!(called(&mut scheduler), [3]);
    scheduler.shrink(PoolId::CPU, 1, Tick(4));
    assert_eq!(called(&mut scheduler), [3]);
    scheduler.joined(worker(1, 2), slots(1), Tick(5));
    scheduler.joined(worker(2, 1), slots(1), Tick(5));
    assert_eq!(running(&scheduler), 1);
}

#[test]
fn l1_a_task_whose_workers_do_not_start_does_not_hold_up_the_others() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let multi_slot = submit_as(&mut scheduler, 1, Tick(0), needing(2))[0];
    let others = 3 * MAX_OVERTAKES;
    submit(&mut scheduler, usize::try_from(others).expect("small"), Tick(0));
    for seq in 1..=others {
        scheduler.reported(worker(0, 1), vec![done(Seq(seq), 10 * MS)], after(seq));
    }
    let actions = scheduler.take_actions();
    assert!(!ids_sent(&actions).contains(&multi_slot));
    assert_eq!(finished(actions).len() as u64, others);
    // It runs into the second one's start that fails, in vain; then that starts after all.
    submit(&mut scheduler, 2, after(200));
    scheduler.joined(worker(1, 1), slots(1), after(201));
    scheduler.reported(worker(0, 1), vec![done(Seq(others + 1), 10 * MS)], after(202));
    assert_eq!(scheduler.sent_to(worker(0, 1)).len() + scheduler.sent_to(worker(1, 1)).len(), 1);
    assert!(ids_sent(&scheduler.take_actions()).contains(&multi_slot), "its patience had ended long ago");
}

#[test]
fn c3_2_a_task_whose_needs_can_never_be_met_fails_at_once() {
    let mut scheduler = limited_scheduler();
    submit_as(&mut scheduler, 1, Tick(0), needing(7));
    let records = finished(scheduler.take_actions());
    let error = records[0].outcome.error().expect("cancelled");
    assert_eq!(error.message, "it can never run: short of 1 process");
    assert!(scheduler.limiter.is_whole());
}

#[test]
fn l1_a_pool_that_cannot_start_also_fails_its_tasks_at_the_gate_and_no_others() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(worker(0, 1), slots(2), Tick(0));
    scheduler.joined(IO, slots(2), Tick(0));
    // The first holds the key; of the next, one waits for it in each pool, and one for slots with the key's second.
    submit_as(&mut scheduler, 1, Tick(0), keyed(1));
    submit_as(&mut scheduler, 1, Tick(0), keyed(1));
    let other = keyed(1)(Task::script("/a.py").on(PoolId::IO));
    let id = other.id();
    scheduler.submit(other, None, Tick(0)).expect("new");
    scheduler.place(PoolId::IO, Tick(0));
    submit_as(&mut scheduler, 1, Tick(0), needing(2));
    scheduler.take_actions();
    scheduler.left(worker(0, 1), killed(&[1]), Tick(1));
    let error = TaskError::new(ErrorKind::WorkerStartFailed, "no python3");
    scheduler.unavailable(PoolId::CPU, error, Tick(2));
    let actions = scheduler.take_actions();
    assert_eq!(ids_sent(&actions), [id]);
    assert_eq!(finished(actions).len(), 3);
    scheduler.reported(IO, vec![done(Seq(1), MS)], Tick(3));
    assert!(scheduler.limiter.is_whole());
}

#[test]
fn a_worker_with_reserved_slots_steals_no_tasks() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    scheduler.joined(worker(1, 1), slots(1), Tick(0));
    scheduler.joined(worker(2, 1), slots(1), Tick(0));
    submit(&mut scheduler, 1, Tick(0));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS / 10)], Tick(1));
    submit_as(&mut scheduler, 1, Tick(1), needing(2));
    scheduler.take_actions();
    submit(&mut scheduler, 20, Tick(1));
    let actions = scheduler.take_actions();
    assert_eq!(ids_sent(&actions).len(), 20, "sent ahead to the third");
    assert!(!actions.iter().any(|action| matches!(action, Action::Revoke { .. })), "{actions:?}");
    for pool in scheduler.pools.values() {
        pool.workers.assert_sums();
    }
}

#[test]
fn l9_the_keys_of_cancelled_tasks_do_not_pile_up_at_the_gate() {
    let mut scheduler = limited_scheduler();
    scheduler.joined(worker(0, 1), slots(2), Tick(0));
    submit_as(&mut scheduler, 1, Tick(0), keyed(1));
    for _ in 0..1000 {
        let id = submit_as(&mut scheduler, 1, Tick(1), keyed(1))[0];
        assert_eq!(scheduler.cancel(CancelSource::Caller, id, Duration::ZERO, Tick(1)), CancelAnswer::Removed);
        assert_eq!(scheduler.limiter.gate_len(), 0);
    }
}
