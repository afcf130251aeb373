//! How attempts end whose process was ended or died.

use super::*;
use crate::model::{EndedBy, PostMortem};

#[test]
fn a_task_that_must_not_run_twice_is_lost_when_its_worker_is_ended_because_of_another() {
    let limit = Duration::from_millis(50);
    let cases = [
        (KillReason::Deadline, EndedBy::Neighbour, "another task in it"),
        (KillReason::Cancel, EndedBy::Neighbour, "another task in it"),
        (KillReason::MemoryLimit, EndedBy::MemoryLimit, "together"),
    ];
    for (reason, ended_by, words) in cases {
        let mut scheduler = ruled(PoolRules { task_memory: Some(200), ..PoolRules::default() });
        scheduler.joined(worker(0, 1), 3, Tick(0));
        let late = submit_as(&mut scheduler, 1, Tick(0), |task| task.timeout(limit))[0];
        let once = submit_as(&mut scheduler, 3, Tick(0), |task| task.max_worker_losses(0));
        match reason {
            KillReason::Deadline => scheduler.tick(after(50)),
            KillReason::MemoryLimit => {
                scheduler.reported(worker(0, 1), vec![Report::Measured { resident: 201 }], after(50));
            }
            KillReason::Cancel => {
                scheduler.cancel(late, Duration::ZERO, after(1));
                scheduler.tick(after(1));
            }
        }
        scheduler.take_actions();
        let departure = Departure { post_mortem: Some(found(EndedBy::Unknown)), ..killed_by(reason, &[1, 2, 3]) };
        scheduler.left(worker(0, 1), departure, after(60));
        let records = finished(scheduler.take_actions());
        // The third of them was sent, but had not started: it was not running and goes back (L5).
        let lost: Vec<_> = records.iter().filter(|record| record.id != late).collect();
        assert_eq!(lost.iter().map(|record| record.id).collect::<Vec<_>>(), once[..2], "{reason:?}");
        for record in lost {
            assert_eq!((record.outcome.name(), record.worker_losses, record.earlier.len()), ("lost", 0, 0));
            let error = record.outcome.error().expect("lost");
            let post_mortem = error.post_mortem.as_ref().expect("examined");
            assert_eq!((error.kind, post_mortem.ended_by), (ErrorKind::WorkerLost, ended_by));
            assert!(error.message.contains("`max_worker_losses` 0") && error.message.contains(words), "{error}");
        }
        assert!(matches!(scheduler.table().find(once[2]), Found::Live(_)), "{reason:?}");
    }
}

fn found(ended_by: EndedBy) -> PostMortem {
    PostMortem {
        ended_by,
        exit: Some(ProcessExit::Signal(9)),
        usage: None,
        worker_age_seconds: 1.0,
        worker_tasks: 0,
        stdout_tail: String::new(),
        stderr_tail: String::new(),
        stacks: None,
    }
}
