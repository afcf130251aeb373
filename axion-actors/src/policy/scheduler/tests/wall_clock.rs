//! The wall clock is set: calendar times follow it, and nothing else moves.

use jiff::SignedDuration;

use super::*;
use crate::model::{Backoff, RetryPolicy};

const HOUR: Duration = Duration::from_secs(3600);

/// The wall time of tick 0 after the clock was set by this number of hours.
fn set_by(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

fn set_clock(scheduler: &mut Scheduler, hours: i64, now: Tick) {
    scheduler.wall_clock_set(set_by(hours), now);
    scheduler.tick(now);
}

#[test]
fn a_task_held_until_a_calendar_time_starts_when_the_clock_is_set_forward() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let timed = submit_as(&mut scheduler, 1, Tick(0), |task| task.not_before(set_by(1)));
    let delayed = submit_as(&mut scheduler, 1, Tick(0), |task| task.delay(HOUR));
    set_clock(&mut scheduler, 1, after(5));
    assert_eq!(ids_sent(&scheduler.take_actions()), timed);
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS)], after(6));
    assert_eq!(scheduler.next_tick(), Some(Tick(0).after(HOUR)), "a delay does not move");
    scheduler.tick(Tick(0).after(HOUR));
    assert_eq!(ids_sent(&scheduler.take_actions()), delayed);
}

#[test]
fn a_task_held_until_a_calendar_time_waits_longer_when_the_clock_is_set_back() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let timed = submit_as(&mut scheduler, 2, Tick(0), |task| task.not_before(set_by(1)));
    set_clock(&mut scheduler, -1, after(5));
    assert_eq!(scheduler.next_tick(), Some(Tick(0).after(2 * HOUR)));
    scheduler.tick(Tick(0).after(HOUR));
    assert_eq!(ids_sent(&scheduler.take_actions()), []);
    scheduler.joined(worker(1, 1), slots(1), Tick(0).after(HOUR));
    scheduler.tick(Tick(0).after(2 * HOUR));
    assert_eq!(ids_sent(&scheduler.take_actions()), timed, "L12: in the order of their submission");
}

#[test]
fn l13_the_facts_of_a_clock_that_is_set_name_each_moved_task() {
    let mut scheduler = scheduler();
    let timed = submit_as(&mut scheduler, 1, Tick(0), |task| task.not_before(set_by(1)));
    submit_as(&mut scheduler, 1, Tick(0), |task| task.delay(HOUR));
    scheduler.table_mut().recorder().take();
    scheduler.wall_clock_set(set_by(-1), Tick(0));
    let facts = scheduler.table_mut().recorder().take().facts;
    let (until, wait_seconds) = (Tick(0).after(2 * HOUR), 7200.0);
    let expected = [
        FactKind::WallClockSet { from: set_by(0), to: set_by(-1) },
        FactKind::TaskHeld { task: timed[0], until, wait_seconds },
    ];
    assert_eq!(facts.into_iter().map(|(_, kind)| kind).collect::<Vec<_>>(), expected);
}

#[test]
fn time_limits_and_ttls_do_not_move_when_the_clock_is_set() {
    let seconds = Duration::from_secs;
    for hours in [-2, 2] {
        let mut scheduler = scheduler();
        scheduler.joined(worker(0, 1), slots(1), Tick(0));
        submit_as(&mut scheduler, 1, Tick(0), |task| task.timeout(seconds(20)));
        submit_as(&mut scheduler, 1, Tick(0), |task| task.ttl(seconds(10)));
        set_clock(&mut scheduler, hours, after(5));
        assert_eq!(finished(scheduler.take_actions()), []);
        assert_eq!(scheduler.next_tick(), Some(Tick(0).after(seconds(10))), "the ttl");
        scheduler.tick(Tick(0).after(seconds(10)));
        assert_eq!(finished(scheduler.take_actions())[0].outcome.name(), "expired");
        assert_eq!(scheduler.next_tick(), Some(Tick(0).after(seconds(20))), "the time limit");
    }
}

#[test]
fn the_times_of_a_record_never_go_backwards_when_the_clock_is_set_back() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let retry = RetryPolicy { backoff: Backoff::Fixed(Duration::from_millis(10)), ..RetryPolicy::times(1) };
    submit_as(&mut scheduler, 1, after(10), |task| task.retry(retry.clone()));
    scheduler.reported(worker(0, 1), vec![failing(Seq(1), ErrorKind::Exception)], after(20));
    set_clock(&mut scheduler, -3, after(21));
    assert_eq!(scheduler.next_tick(), Some(after(30)), "a retry does not move");
    scheduler.tick(after(30));
    scheduler.reported(worker(0, 1), vec![done(Seq(2), 5 * MS)], after(40));
    let record = finished(scheduler.take_actions()).remove(0);
    let (timings, earlier) = (&record.timings, &record.earlier[0]);
    let times = [timings.submitted, earlier.sent, earlier.ended, timings.started.expect("it ran"), timings.finished];
    let by_the_new_clock = [10, 10, 20, 35, 40].map(|ms| set_by(-3) + Duration::from_millis(ms));
    assert_eq!(times, by_the_new_clock);
}
