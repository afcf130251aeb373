//! The gate by itself.

mod many;
mod plain;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{Capacity, Concurrency, Fixed, Limits, Memory, Needs, PoolKind, Priority, Rate, Tick};

fn percent(number: f64) -> Fixed {
    Fixed::new(number).expect("a percentage")
}

fn needs(slots: u32, cpu: f64, memory: f64) -> Needs {
    Needs { slots, cpu: percent(cpu), memory: (memory > 0.0).then(|| Memory::Percent(percent(memory))) }
}

fn capacity(processes: u32, cpu: f64, memory: f64) -> Capacity {
    Capacity {
        processes: Some(processes),
        threads: Some(2),
        cpu: Some(percent(cpu)),
        memory: Some(Memory::Percent(percent(memory))),
        machine_memory: None,
    }
}

fn enter<T: std::fmt::Debug + Clone>(gate: &mut Gate<T>, what: T, needs: Needs) {
    enter_as(gate, what, PoolKind::Cpu, &Limits { needs, ..Limits::default() });
}

fn enter_as<T: std::fmt::Debug + Clone>(gate: &mut Gate<T>, what: T, pool: PoolKind, limits: &Limits) {
    gate.wait(what, pool, Priority::default(), limits).expect("can be met");
}

#[test]
fn c3_2_what_can_never_be_met_is_refused_with_what_is_missing() {
    let session = capacity(2, 10.0, 25.0);
    let words = |pool, needs| shortfall(&session, pool, &needs).map(|it| it.to_string());
    assert_eq!(words(PoolKind::Cpu, needs(3, 0.0, 0.0)).as_deref(), Some("short of 1 process"));
    assert_eq!(words(PoolKind::Io, needs(4, 0.0, 0.0)).as_deref(), Some("short of 2 threads"));
    assert_eq!(words(PoolKind::Cpu, needs(1, 12.6, 34.7)).as_deref(), Some("short of 2.6 % CPU and 9.7 % memory"));
    let all = words(PoolKind::Cpu, needs(3, 12.6, 34.7));
    assert_eq!(all.as_deref(), Some("short of 1 process, 2.6 % CPU and 9.7 % memory"));
    assert_eq!(words(PoolKind::Cpu, needs(2, 10.0, 25.0)), None);
    let (what, _) = Gate::new(session)
        .wait("p3", PoolKind::Cpu, Priority::default(), &Limits { needs: needs(3, 0.0, 0.0), ..Limits::default() })
        .expect_err("three of two processes");
    assert_eq!(what, "p3");
}

#[test]
fn c3_4_limits_hold_only_among_what_runs_at_the_same_time() {
    let mut gate = Gate::new(capacity(9, 100.0, 100.0));
    enter(&mut gate, 1, needs(1, 60.5, 0.0));
    enter(&mut gate, 2, needs(1, 60.5, 0.0));
    let (first, permit) = gate.open(Tick(0)).pop().expect("one runs");
    assert_eq!((first, gate.len()), (1, 1));
    gate.give_back(permit);
    assert_eq!(gate.open(Tick(0)).pop().map(|(second, _)| second), Some(2));

    let mut gate = Gate::new(capacity(9, 100.0, 100.0));
    enter(&mut gate, 1, needs(1, 50.0, 0.0));
    enter(&mut gate, 2, needs(1, 50.0, 0.0));
    assert_eq!(gate.open(Tick(0)).len(), 2);
}

#[test]
fn memory_in_bytes_counts_against_per_cent_where_the_machine_is_known() {
    let machine =
        Capacity { memory: Some(Memory::Percent(percent(50.0))), machine_memory: Some(1000), ..Capacity::default() };
    let needs = |bytes| Needs { memory: Some(Memory::Bytes(bytes)), ..Needs::default() };
    assert_eq!(shortfall(&machine, PoolKind::Cpu, &needs(500)), None);
    let missing = shortfall(&machine, PoolKind::Cpu, &needs(501)).expect("too much");
    assert_eq!(missing.to_string(), "short of 0.1 % memory");
    let bytes = Capacity { memory: Some(Memory::Bytes(400)), ..machine };
    let missing = shortfall(&bytes, PoolKind::Cpu, &self::needs(1, 0.0, 50.0)).expect("too much");
    assert_eq!(missing.to_string(), "short of 100 bytes of memory");
}

#[test]
fn l12_what_fits_starts_in_the_order_in_which_it_came() {
    let mut gate = Gate::new(capacity(9, 100.0, 100.0));
    for (number, cpu) in [(1, 1.0), (2, 1.0), (3, 2.0), (4, 1.0), (5, 2.0)] {
        enter(&mut gate, number, needs(1, cpu, 0.0));
    }
    let order: Vec<i32> = gate.open(Tick(0)).into_iter().map(|(number, _)| number).collect();
    assert_eq!(order, [1, 2, 3, 4, 5]);
}

#[test]
fn a_large_need_is_overtaken_so_often_and_not_once_more() {
    let mut gate = Gate::new(capacity(2, 100.0, 100.0));
    enter(&mut gate, 0, needs(1, 0.0, 0.0));
    let (_, mut running) = gate.open(Tick(0)).pop().expect("runs");
    enter(&mut gate, 1_000, needs(2, 0.0, 0.0));
    let mut overtook = 0;
    for small in 1.. {
        enter(&mut gate, small, needs(1, 0.0, 0.0));
        let mut through = gate.open(Tick(0));
        let Some((_, next)) = through.pop() else { break };
        overtook += 1;
        gate.give_back(std::mem::replace(&mut running, next));
    }
    assert_eq!(overtook, MAX_OVERTAKES);
    gate.give_back(running);
    assert_eq!(gate.open(Tick(0)).first().map(|(what, _)| *what), Some(1_000));
}

#[test]
fn what_uses_nothing_of_what_is_held_passes() {
    let mut gate = Gate::new(capacity(1, 100.0, 100.0));
    enter(&mut gate, "runs", needs(1, 0.0, 0.0));
    let _running = gate.open(Tick(0));
    enter(&mut gate, "waits", needs(1, 0.0, 5.0));
    for _ in 0..3 * MAX_OVERTAKES {
        enter_as(&mut gate, "thread", PoolKind::Io, &Limits::default());
        for (_, permit) in gate.open(Tick(0)) {
            gate.give_back(permit);
        }
    }
    assert_eq!(gate.len(), 1);
}

#[test]
fn at_most_so_many_run_with_one_key() {
    let mut gate = Gate::new(Capacity::default());
    let limit = Concurrency { key: "api.example".into(), max: 2 };
    for number in 0..5 {
        let limits = Limits { concurrency: Some(limit.clone()), ..Limits::default() };
        enter_as(&mut gate, number, PoolKind::Io, &limits);
    }
    enter_as(&mut gate, 9, PoolKind::Io, &Limits::default());
    let mut through = gate.open(Tick(0));
    assert_eq!(through.iter().map(|(what, _)| *what).collect::<Vec<_>>(), [0, 1, 9]);
    gate.give_back(through.remove(0).1);
    assert_eq!(gate.open(Tick(0)).iter().map(|(what, _)| *what).collect::<Vec<_>>(), [2]);
}

#[test]
fn so_many_start_in_a_time_with_one_key() {
    let mut gate = Gate::new(Capacity::default());
    let rate = Rate { burst: 3, ..Rate::per_second("api", 10) };
    for number in 0..6 {
        enter_as(&mut gate, number, PoolKind::Io, &Limits { rate: Some(rate.clone()), ..Limits::default() });
    }
    let at = |millis: u64| Tick::default().after(Duration::from_millis(millis));
    assert_eq!(gate.open(at(1000)).len(), 3);
    assert_eq!(gate.next(), Some(at(1100)));
    assert_eq!(gate.open(at(1099)).len(), 0);
    assert_eq!(gate.open(at(1100)).len(), 1);
    assert_eq!(gate.open(at(1350)).len(), 2);
    assert_eq!((gate.next(), gate.is_empty()), (None, true));
}

#[test]
fn what_is_cancelled_leaves_the_line_and_the_next_moves_up() {
    let mut gate = Gate::new(capacity(1, 100.0, 100.0));
    for number in 0..4 {
        enter(&mut gate, number, needs(1, 0.0, 0.0));
    }
    let running = gate.open(Tick(0));
    assert_eq!(gate.remove(|number| *number % 2 == 1), [1, 3]);
    assert!(gate.open(Tick(0)).is_empty());
    running.into_iter().for_each(|(_, permit)| gate.give_back(permit));
    assert_eq!(gate.open(Tick(0)).first().map(|(number, _)| *number), Some(2));
    assert_eq!(gate.remove(|_| true), Vec::<i32>::new());
}

#[test]
fn l12_the_more_urgent_goes_first_also_when_it_came_later_and_another_has_lost_patience() {
    let mut gate = Gate::new(capacity(2, 100.0, 100.0));
    let urgent = |gate: &mut Gate<i32>, what, slots| {
        let limits = Limits { needs: needs(slots, 0.0, 0.0), ..Limits::default() };
        gate.wait(what, PoolKind::Cpu, Priority::HIGHEST, &limits).expect("can be met");
    };
    enter(&mut gate, 0, needs(1, 0.0, 0.0));
    let (_, mut running) = gate.open(Tick(0)).pop().expect("runs");
    enter(&mut gate, 1000, needs(2, 0.0, 0.0));
    for small in 1..=i32::try_from(2 * MAX_OVERTAKES).expect("small") {
        urgent(&mut gate, small, 1);
        let (_, next) = gate.open(Tick(0)).pop().expect("it is more urgent than the one that waits");
        gate.give_back(std::mem::replace(&mut running, next));
    }
    enter(&mut gate, -1, needs(1, 0.0, 0.0));
    urgent(&mut gate, -2, 2);
    assert!(gate.open(Tick(0)).is_empty(), "an equal stays behind it");
    gate.give_back(running);
    let order = [0; 3].map(|_| {
        let (what, permit) = gate.open(Tick(0)).swap_remove(0);
        gate.give_back(permit);
        what
    });
    assert_eq!(order, [-2, 1000, -1]);
    assert!(gate.is_whole() && gate.is_empty());
}

#[test]
fn one_that_leaves_takes_nothing_and_holds_nobody_up() {
    let mut gate = Gate::new(Capacity::default());
    let rate = Rate::per_second("api", 1);
    let limits = Limits { rate: Some(rate), ..Limits::default() };
    let wait =
        |gate: &mut Gate<i32>, what| gate.wait(what, PoolKind::Io, Priority::default(), &limits).expect("can be met");
    let places: Vec<GateWaiter> = (0..5).map(|number| wait(&mut gate, number)).collect();
    for at in [1, 0, 2] {
        assert!(gate.leave(places[at]).is_some());
    }
    assert_eq!(gate.leave(places[1]), None, "it has left");
    let through = gate.open(Tick(0));
    assert_eq!(through.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3], "the first of its rate");
    assert_eq!((gate.leave(places[3]), gate.len()), (None, 1));
    assert_eq!(gate.leave(places[4]), Some(4));
    assert_eq!((gate.next(), gate.is_empty()), (None, true));
    assert!(gate.open(Tick(1)).is_empty());
}

proptest! {
    /// Whatever comes and goes: nothing is ever used beyond what there is, nobody is overtaken more
    /// than the rule allows by those who came later and use the same, and in the end all have run.
    #[test]
    fn nothing_exceeds_its_limit_and_nobody_starves(
        tasks in proptest::collection::vec((1..=4u32, 0..=100u64, 0..=100u64, 0..4u8), 1..120),
        choices in proptest::collection::vec(any::<u16>(), 400)
    ) {
        let whole = capacity(4, 100.0, 100.0);
        let limit = Concurrency { key: "k".into(), max: 2 };
        let mut gate = Gate::new(whole);
        let mut running: Vec<(usize, Permit)> = Vec::new();
        let (mut arrived, mut started) = (0, vec![None; tasks.len()]);
        let mut starts = Vec::new();
        let mut choices = choices.into_iter().cycle();
        for round in 0..10_000 {
            prop_assert!(round < 9_999, "somebody waits for ever");
            let choice = usize::from(choices.next().unwrap_or_default());
            if arrived < tasks.len() && (choice % 3 > 0 || running.is_empty()) {
                let (slots, cpu, memory, key) = tasks[arrived];
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let needs = needs(slots, cpu as f64, memory as f64);
                let concurrency = (key == 0).then(|| limit.clone());
                enter_as(&mut gate, arrived, PoolKind::Cpu, &Limits { needs, concurrency, rate: None });
                arrived += 1;
            } else if !running.is_empty() {
                let (_, permit) = running.swap_remove(choice % running.len());
                gate.give_back(permit);
            } else if arrived == tasks.len() && gate.is_empty() {
                break;
            }
            for (what, permit) in gate.open(Tick(round)) {
                started[what] = Some(starts.len());
                starts.push((what, arrived));
                running.push((what, permit));
            }
            let used = |of: fn(&(u32, u64, u64, u8)) -> u64| running.iter().map(|(it, _)| of(&tasks[*it])).sum::<u64>();
            prop_assert!(used(|it| it.0.into()) <= 4 && used(|it| it.1) <= 100 && used(|it| it.2) <= 100);
            prop_assert!(used(|it| u64::from(it.3 == 0)) <= 2);
        }
        for (what, started) in started.iter().enumerate() {
            let started = started.expect("all have run");
            // Those of its own class came before it one by one; each of them may be overtaken too.
            let same = tasks[..what].iter().filter(|it| **it == tasks[what] || it.3 == 0).count() as u64;
            let overtook = starts[..started].iter().filter(|(other, _)| *other > what).count() as u64;
            prop_assert!(overtook <= MAX_OVERTAKES * (same + 1), "{what} was overtaken {overtook} times");
        }
    }
}
