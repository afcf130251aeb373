//! Each way of a task through the table, and what is retained of it.

use super::*;
use crate::model::{ErrorKind, ExpiredBy, Generation, Json, PoolId, TaskError, WorkerId};

const KEEP: RetentionPolicy =
    RetentionPolicy { count: 3, bytes: 1 << 20, each: 4 << 10, age: Some(Duration::from_secs(1)) };

fn table() -> TaskTable {
    TaskTable::new(Timestamp::UNIX_EPOCH, KEEP)
}

fn worker(generation: u32) -> WorkerRef {
    WorkerRef { id: WorkerId::local(PoolId::CPU, 0), generation: Generation(generation) }
}

fn success() -> TaskEnd {
    TaskEnd { outcome: Outcome::Succeeded(Json("1".into()).into()), nanos: Some(500), output: None }
}

#[test]
fn a_task_runs_and_its_record_says_when_and_where() {
    let mut table = table();
    let task = Task::script("/a.py");
    let id = task.id();
    let key = table.accept(task, None, Tick(1000)).expect("new");
    assert_eq!(table.send(key, (worker(1), Seq(1)), Placement::Isolated, Tick(2000)), Some(Attempt(1)));
    let record = table.finish(key, Some((worker(1), Seq(1))), success(), Tick(3000)).expect("finishes").record;
    assert_eq!((record.attempt, record.worker), (Some(Attempt(1)), Some(worker(1))));
    assert_eq!(record.timings.started.map(Timestamp::as_nanosecond), Some(2500));
    assert_eq!(table.find(id), TaskLookup::Finished(record));
    assert_eq!(table.live(), 0);
}

#[test]
fn l3_a_stale_result_changes_nothing() {
    let mut table = table();
    let key = table.accept(Task::script("/a.py"), None, Tick(0)).expect("new");
    assert!(table.finish(key, Some((worker(1), Seq(1))), success(), Tick(1)).is_none(), "never sent");
    table.send(key, (worker(2), Seq(7)), Placement::Isolated, Tick(1));
    for (from, seq) in [(worker(1), Seq(7)), (worker(2), Seq(6)), (worker(3), Seq(7))] {
        assert!(table.finish(key, Some((from, seq)), success(), Tick(2)).is_none());
        assert!(!table.give_back(key, (from, seq), ReturnCause::Revoked, Tick(2)));
    }
    assert_eq!(table.state(key), Some(TaskState::Sent { worker: worker(2), seq: Seq(7), at: Tick(1) }));
    assert_eq!(table.ignored(), 7);
    assert!(table.finish(key, Some((worker(2), Seq(7))), success(), Tick(3)).is_some());
    assert!(table.finish(key, Some((worker(2), Seq(7))), success(), Tick(4)).is_none(), "L1: only once");
}

#[test]
fn l5_what_comes_back_is_not_counted() {
    let mut table = table();
    let key = table.accept(Task::script("/a.py"), None, Tick(0)).expect("new");
    table.send(key, (worker(1), Seq(1)), Placement::Isolated, Tick(1));
    assert!(table.give_back(key, (worker(1), Seq(1)), ReturnCause::Revoked, Tick(2)));
    assert_eq!(table.send(key, (worker(2), Seq(1)), Placement::Isolated, Tick(3)), Some(Attempt(1)));
}

#[test]
fn a_second_task_of_the_same_id_is_refused_also_when_the_first_has_finished() {
    let mut table = table();
    let task = Task::script("/a.py");
    let key = table.accept(task.clone(), None, Tick(0)).expect("new");
    assert_eq!(table.accept(task.clone(), None, Tick(1)), Err(AcceptError::Id));
    let end = TaskEnd::without_run(Outcome::Cancelled(Box::new(TaskError::new(ErrorKind::Shutdown, ""))));
    table.finish(key, None, end, Tick(2));
    assert_eq!(table.accept(task, None, Tick(3)), Err(AcceptError::Id));
}

#[test]
fn an_expired_record_says_when_and_why() {
    let mut table = table();
    let ids: Vec<TaskId> = (0..4)
        .map(|n| {
            let task = Task::script("/a.py");
            let id = task.id();
            let key = table.accept(task, None, Tick(n)).expect("new");
            table.finish(key, None, TaskEnd::without_run(Outcome::Succeeded(Json("1".into()).into())), Tick(n));
            id
        })
        .collect();
    assert!(matches!(table.find(ids[0]), TaskLookup::Expired(Expired { why: ExpiredBy::Count, .. })));
    assert_eq!(table.next_expiry(), Some(Tick(1).after(Duration::from_secs(1))));
    let later = Tick(2).after(Duration::from_secs(1));
    table.expire_old(later);
    let TaskLookup::Expired(expired) = table.find(ids[2]) else { panic!("retained") };
    assert_eq!((expired.why, expired.at.as_nanosecond()), (ExpiredBy::Age, 1_000_000_002));
    assert!(matches!(table.find(ids[3]), TaskLookup::Finished(_)));
    assert_eq!(table.accept(Task::script("/a.py"), None, later).map(|_| ()), Ok(()));
}

#[test]
fn l9_kept_records_are_bounded_by_count_and_by_bytes() {
    let mut table = table();
    let mut finish = |size: usize| {
        let task = Task::script("/a.py");
        let id = task.id();
        let key = table.accept(task, None, Tick(0)).expect("new");
        let end = TaskEnd::without_run(Outcome::Succeeded(Json(vec![b'1'; size].into()).into()));
        table.finish(key, None, end, Tick(0));
        (id, table.retained().0, table.evicted())
    };
    let first = finish(1).0;
    finish(1);
    finish(1);
    assert_eq!((finish(1).1, finish(1).2), (3, 2));
    assert_eq!(finish(2 << 20).1, 0, "one record above the whole bound is not retained at all");
    assert_eq!(table.find(first), TaskLookup::Unknown, "six ends ago");
    assert_eq!(table.retained(), (0, 0));
}

#[test]
fn the_output_of_an_earlier_attempt_is_kept_and_never_costs_the_reason() {
    let mut table = table();
    let key = table.accept(Task::script("/a.py"), None, Tick(0)).expect("new");
    for seq in 1..=2 {
        table.send(key, (worker(1), Seq(seq)), Placement::Isolated, Tick(seq));
        let mut output = CapturedOutput::default();
        output.stdout.push(&b"0123456789".repeat(KEEP.each), 10 * KEEP.each);
        let error = TaskError::new(ErrorKind::Exception, "the reason");
        let end = AttemptEnd { error, nanos: None, output: Some(Box::new(output)) };
        assert!(table.rerun(key, (worker(1), Seq(seq)), end, false, Tick(seq)));
    }
    let record = table.finish(key, None, success(), Tick(3)).expect("finished").record;
    assert_eq!((record.earlier.len(), record.earlier_left_out), (2, 0));
    for attempt in &record.earlier {
        let output = &attempt.output.as_ref().expect("kept").stdout;
        assert_eq!(attempt.error.message, "the reason");
        assert!(output.text().starts_with("0123") && output.text().ends_with("789"), "{}", output.text());
        assert_eq!(output.len() as u64 + output.dropped, 10 * KEEP.each as u64);
        assert!(output.len() <= KEEP.each / 16);
    }
}

#[test]
fn l9_a_record_is_bounded_and_says_what_was_left_out() {
    let mut table = table();
    let key = table.accept(Task::script("/a.py"), None, Tick(0)).expect("new");
    let failure =
        |size| AttemptEnd { error: TaskError::new(ErrorKind::WorkerLost, "x".repeat(size)), nanos: None, output: None };
    for seq in 1..=20 {
        table.send(key, (worker(1), Seq(seq)), Placement::Isolated, Tick(seq));
        let failure = failure(if seq < 19 { 10 } else { 1200 });
        assert!(table.rerun(key, (worker(1), Seq(seq)), failure, false, Tick(seq)));
    }
    table.send(key, (worker(1), Seq(21)), Placement::Isolated, Tick(21));
    let mut output = Box::new(CapturedOutput::default());
    output.stdout.push(&[b'o'; 2000], 2000);
    let end = TaskEnd { output: Some(output), ..success() };
    let record = table.finish(key, Some((worker(1), Seq(21))), end, Tick(22)).expect("finished").record;
    assert!(record.weight_beside_data() <= KEEP.each, "{}", record.weight_beside_data());
    assert_eq!(record.earlier.len() + record.earlier_left_out as usize, 20);
    assert_eq!(record.earlier.last().map(|it| it.attempt), Some(Attempt(20)), "the latest stays longest");
    assert_eq!(table.trimmed(), 1);
    // A small one is left as it is; one attempt above the bound is not even retained meanwhile.
    for (count, size) in [(1, 10), (2, 5000)] {
        let key = table.accept(Task::script("/a.py"), None, Tick(23)).expect("new");
        table.send(key, (worker(1), Seq(22)), Placement::Isolated, Tick(23));
        table.rerun(key, (worker(1), Seq(22)), failure(size), false, Tick(24));
        let record = table.finish(key, None, success(), Tick(25)).expect("finished").record;
        assert_eq!((table.trimmed(), record.earlier_left_out), (count, count as u32 - 1));
    }
}
