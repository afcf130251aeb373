//! The order in which tasks may expire.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use axion_core::TaskId;
use jiff::Timestamp;

/// A task expires before its engine has worked for this long after the end of its ttl.
const LATE: Duration = Duration::from_millis(200);
/// An engine that says nothing for longer than this may have been stopped, or may have had no processor.
const PAUSE: Duration = Duration::from_millis(1);

/// Until when the tasks that have not started must have.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    all: HashMap<TaskId, Timestamp>,
    waiting: BTreeSet<(Timestamp, TaskId)>,
    /// The time of the last fact, and for how long the engine has worked until then.
    last: Timestamp,
    worked: Duration,
    /// The tasks whose ttl is over and that wait all the same, with how long the engine had worked by then.
    overdue: VecDeque<(Duration, Timestamp, TaskId)>,
}

impl Deadlines {
    pub(super) fn accepted(&mut self, task: TaskId, ttl: Option<Duration>, at: Timestamp) {
        if let Some(until) = ttl.and_then(|ttl| at.saturating_add(ttl).ok()) {
            self.all.insert(task, until);
            self.waiting.insert((until, task));
        }
    }

    /// It has been sent, or has ended.
    pub(super) fn remove(&mut self, task: TaskId) {
        if let Some(until) = self.all.get(&task) {
            self.waiting.remove(&(*until, task));
        }
    }

    /// It came back without having started.
    pub(super) fn restore(&mut self, task: TaskId) {
        if let Some(until) = self.all.get(&task) {
            self.waiting.insert((*until, task));
            if *until <= self.last {
                self.overdue.push_back((self.worked, *until, task));
            }
        }
    }

    /// The time of the next fact. Checks that no task has outlived its ttl.
    pub(super) fn pass(&mut self, at: Timestamp) -> Result<(), String> {
        let before = self.last;
        self.last = at.max(before);
        let passed = Duration::try_from(self.last.duration_since(before)).unwrap_or_default();
        self.worked += passed.min(PAUSE);
        let ended = self.waiting.iter().skip_while(|(until, _)| *until <= before).take_while(|(until, _)| *until <= at);
        self.overdue.extend(ended.map(|(until, task)| (self.worked, *until, *task)));
        while let Some((worked, until, task)) = self.overdue.front().copied() {
            if !self.waiting.contains(&(until, task)) {
                self.overdue.pop_front();
            } else if self.worked > worked + LATE {
                self.overdue.pop_front();
                return Err(format!("the ttl of {task} was over at {until}, and it has not expired by {at}"));
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Checks that the task does not expire early, and that no task with an earlier deadline still waits.
    pub(super) fn expired(&self, task: TaskId, at: Timestamp) -> Result<(), String> {
        let until = *self.all.get(&task).ok_or("it may wait for ever, but has expired")?;
        if at < until {
            return Err(format!("it expired at {at}, and might have waited until {until}"));
        }
        match self.waiting.first() {
            Some((earlier, other)) if *earlier < until => {
                Err(format!("it expired, but {other}, which was to have started by {earlier}, still waits"))
            }
            _ => Ok(()),
        }
    }
}
