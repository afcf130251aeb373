//! The policy `demand`, case by case.

use super::*;

fn scaler(kind: PoolKind, least: u32, most: u32) -> Scaler {
    Scaler::new(kind.into(), kind, ScalingPolicy::Demand, WorkerBounds { least, most })
}

/// A pool on a machine with 8 processors, half busy.
fn on_eight(waiting: usize, workers: &[(usize, usize)], ended: u64) -> PoolLoad {
    PoolLoad { ended, host_cpu: Some(0.5), processors: 8, ..load(waiting, workers, 0.5) }
}

/// Checks a pool that works steadily until its run time is known; returns the scaler and the time.
fn settled(kind: PoolKind, running: usize, ended_per_look: u64, most: u32) -> (Scaler, u64, u64) {
    let (mut scaler, mut ended) = (scaler(kind, 1, most), 0);
    for look in 0..200 {
        ended += ended_per_look;
        assert_eq!(grown(&scaler.decide(&on_eight(0, &vec![(1, 0); running], ended), ms(look * 250))), 0);
    }
    (scaler, 200 * 250, ended)
}

#[test]
fn with_no_task_waiting_it_never_grows() {
    let mut scaler = scaler(PoolKind::Cpu, 1, 64);
    for look in 0..100 {
        assert_eq!(grown(&scaler.decide(&on_eight(0, &[(1, 128)], look * 100), ms(look * 250))), 0);
    }
}

#[test]
fn short_tasks_get_the_workers_that_drain_the_queue_within_the_horizon() {
    // One worker, 100 tasks/s of 10 ms; then 160 tasks wait at once. That is 1.6 s of work within 0.8 s, and the
    // arrivals add 1 worker.
    let (mut scaler, now, ended) = settled(PoolKind::Cpu, 1, 25, 64);
    let by = grown(&scaler.decide(&on_eight(160, &[(1, 0)], ended + 25), ms(now)));
    assert!((3..=5).contains(&by), "+{by}");
}

#[test]
fn before_anything_ended_a_run_time_of_a_tenth_of_a_second_is_expected() {
    // 81 tasks of 0.1 s, each 0.1 / 0.8 of the horizon: 10.1 slots, and a margin of 3.2.
    assert_eq!(grown(&scaler(PoolKind::Io, 1, 64).decide(&on_eight(80, &[(1, 0)], 0), ms(0))), 13);
}

#[test]
fn it_notices_within_seconds_that_tasks_have_become_long() {
    let (mut scaler, mut now, ended) = settled(PoolKind::Io, 1, 25, 64);
    for _ in 0..12 {
        assert_eq!(grown(&scaler.decide(&on_eight(0, &[(1, 0)], ended), ms(now))), 0);
        now += 250;
    }
    let by = grown(&scaler.decide(&on_eight(10, &[(1, 0)], ended), ms(now)));
    assert!(by >= 2, "+{by}: one worker was enough for ten tasks of 10 ms");
}

#[test]
fn long_tasks_get_a_worker_each() {
    // Two tasks of ten seconds run; four more arrive.
    let (mut scaler, now, ended) = settled(PoolKind::Io, 2, 0, 64);
    let by = grown(&scaler.decide(&on_eight(4, &[(1, 0), (1, 0)], ended), ms(now)));
    assert!((4..=7).contains(&by), "+{by}");
}

#[test]
fn what_is_starting_is_counted() {
    let (mut scaler, now, ended) = settled(PoolKind::Io, 2, 0, 64);
    let seen = on_eight(4, &[(1, 0), (1, 0)], ended);
    assert_eq!(grown(&scaler.decide(&PoolLoad { starting: 8, ..seen }, ms(now))), 0);
}

#[test]
fn no_more_start_at_once_than_two_for_a_processor() {
    let (mut scaler, now, ended) = settled(PoolKind::Io, 2, 0, 1000);
    let seen = on_eight(900, &[(1, 0), (1, 0)], ended);
    assert_eq!(grown(&scaler.decide(&seen, ms(now))), 16);
    let more = PoolLoad { starting: 14, ..seen };
    assert_eq!(grown(&scaler.decide(&more, ms(now + 250))), 2);
}

#[test]
fn a_cpu_pool_stops_at_the_processors_unless_they_stay_idle_while_tasks_wait() {
    let grow_at = |host: Option<f64>, cpu: f64, at: u64| {
        let (mut scaler, now, ended) = settled(PoolKind::Cpu, 8, 0, 64);
        let seen = PoolLoad { host_cpu: host, ended, processors: 8, ..load(20, &[(1, 0); 8], cpu) };
        let first = grown(&scaler.decide(&seen, ms(now)));
        assert_eq!(first, 0, "at the first sight of a queue");
        grown(&scaler.decide(&seen, ms(now + at)))
    };
    assert_eq!(grow_at(Some(1.0), 1.0, 5000), 0, "the machine is full");
    assert_eq!(grow_at(None, 0.0, 5000), 0, "nobody knows");
    assert_eq!(grow_at(Some(0.1), 0.1, 1999), 0, "too early to tell");
    assert_eq!(grow_at(Some(0.81), 0.1, 5000), 0, "hardly idle");
    assert!(grow_at(Some(0.1), 0.1, 2000) > 0, "its tasks do not compute");
    assert_eq!(grow_at(Some(0.5), 1.0, 2000), 4, "half the machine is left, and each uses a core");
}

#[test]
fn a_cpu_pool_below_the_processors_grows_up_to_them_on_a_busy_machine() {
    let (mut scaler, now, ended) = settled(PoolKind::Cpu, 2, 0, 64);
    let seen = PoolLoad { host_cpu: Some(1.0), ..on_eight(50, &[(1, 0), (1, 0)], ended) };
    assert_eq!(grown(&scaler.decide(&seen, ms(now))), 6);
}

#[test]
fn an_io_pool_that_fills_the_machine_by_its_own_computing_does_not_grow() {
    let grow_at = |cpu| {
        let (mut scaler, now, ended) = settled(PoolKind::Io, 8, 0, 64);
        let seen = PoolLoad { host_cpu: Some(1.0), ended, processors: 8, ..load(20, &[(1, 0); 8], cpu) };
        grown(&scaler.decide(&seen, ms(now)))
    };
    assert_eq!(grow_at(1.0), 0);
    assert!(grow_at(0.1) > 0, "others fill it: its tasks only wait");
}

#[test]
fn io_workers_whose_interpreters_are_full_are_relieved_although_they_have_slots() {
    let mut scaler = scaler(PoolKind::Io, 1, 24);
    let seen = |cpu| PoolLoad { slots: 20, processors: 8, host_cpu: Some(0.3), ..load(0, &[(9, 0), (9, 0)], cpu) };
    assert_eq!(grown(&scaler.decide(&seen(0.84), ms(0))), 0);
    assert_eq!(grown(&scaler.decide(&seen(0.9), ms(250))), 1, "1.8 cores over 0.7");
}

#[test]
fn coroutines_beyond_the_slots_are_room_too() {
    let mut scaler = scaler(PoolKind::Io, 1, 24);
    // One worker runs 100 at a time; otherwise, 110 tasks would need six workers of 20 slots.
    let seen = PoolLoad { slots: 20, processors: 8, ..load(10, &[(100, 0)], 0.3) };
    scaler.decide(&seen, ms(0));
    let by = grown(&scaler.decide(&PoolLoad { ended: 25, ..seen }, ms(2000)));
    assert!(by <= 1, "+{by}");
}

#[test]
fn it_shrinks_after_its_patience_and_at_once_to_what_was_needed() {
    let mut scaler = scaler(PoolKind::Cpu, 1, 16);
    let idle = on_eight(0, &[(0, 0); 6], 0);
    for now in (0..10_000).step_by(250) {
        assert_eq!(scaler.decide(&idle, ms(now)).verdict, ScalingStep::Stay, "after {now} ms");
    }
    let decision = scaler.decide(&idle, ms(10_000));
    assert_eq!(shrunk(&decision), 5, "to the minimum");
    assert_eq!(decision.line.as_deref(), Some("[CPU] Scale IN -5 → 1 workers | QUIET: 0 needed in the last 10 s"));
}

#[test]
fn a_short_need_within_its_patience_keeps_the_workers() {
    let mut scaler = scaler(PoolKind::Cpu, 1, 16);
    for look in 0..80 {
        // Every 5 s, all six workers are busy with long tasks.
        let running = usize::from(look % 20 == 0);
        let verdict = scaler.decide(&on_eight(0, &[(running, 0); 6], 0), ms(look * 250)).verdict;
        assert_eq!(verdict, ScalingStep::Stay, "look {look}");
    }
}

#[test]
fn it_shrinks_to_nothing_where_nothing_must_be_there_and_starts_from_nothing() {
    let mut scaler = scaler(PoolKind::Cpu, 0, 16);
    let idle = on_eight(0, &[(0, 0)], 0);
    assert_eq!(shrunk(&scaler.decide(&idle, ms(0))), 0);
    assert_eq!(shrunk(&scaler.decide(&idle, ms(10_000))), 1);
    assert_eq!(scaler.decide(&on_eight(0, &[], 0), ms(10_250)).verdict, ScalingStep::Stay);
    assert!(grown(&scaler.decide(&on_eight(1, &[], 0), ms(10_251))) >= 1, "also between two looks");
}

#[test]
fn l10_it_looks_often_at_a_pool_that_works_and_seldom_at_one_at_rest() {
    let mut scaler = scaler(PoolKind::Cpu, 1, 16);
    assert_eq!(scaler.decide(&on_eight(0, &[(0, 0)], 0), ms(0)).look_again, Some(ms(1000)));
    assert_eq!(scaler.decide(&on_eight(0, &[(1, 0)], 0), ms(1000)).look_again, Some(ms(1250)));
    let idle_above = on_eight(0, &[(0, 0), (0, 0)], 0);
    assert_eq!(scaler.decide(&idle_above, ms(2000)).look_again, Some(ms(2250)));
}

#[test]
fn a_look_too_soon_after_another_changes_nothing() {
    let mut scaler = scaler(PoolKind::Io, 1, 16);
    scaler.decide(&on_eight(0, &[(1, 0)], 0), ms(0));
    let decision = scaler.decide(&on_eight(50, &[(1, 0)], 0), ms(49));
    assert_eq!(decision, Decision { look_again: Some(ms(250)), ..Decision::default() });
    assert!(grown(&scaler.decide(&on_eight(50, &[(1, 0)], 0), ms(50))) > 0);
}

#[test]
fn a_growth_says_what_it_was_for() {
    let (mut scaler, now, ended) = settled(PoolKind::Io, 2, 0, 64);
    let line = scaler.decide(&on_eight(4, &[(1, 0), (1, 0)], ended), ms(now)).line.unwrap_or_default();
    assert!(line.starts_with("[IO] Scale OUT +") && line.contains(" | DEMAND: "), "{line}");
    assert!(line.ends_with("(queue=4, running=2)"), "{line}");
}
