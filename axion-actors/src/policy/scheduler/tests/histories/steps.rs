//! What each step of a history does to the scheduler and to the workers around it.

use super::*;

impl HistoryWorld {
    /// Carries out a step, and checks what must hold after each. A step that is impossible at present does nothing.
    pub(in super::super) fn apply(&mut self, step: HistoryStep) {
        self.now = Tick(self.now.0 + 1000);
        match step {
            HistoryStep::Submit { task, count, timeout, delay } => self.submit(task, count, timeout, delay),
            HistoryStep::SubmitLimited { task, wanted } => self.submit_limited(task, wanted),
            HistoryStep::Join(worker) if !self.is_alive(worker) => self.join(worker),
            HistoryStep::Ended { worker, pick, micros, fails } => self.end_attempt(worker, pick, micros, fails),
            HistoryStep::Stale { worker, seq, generation } => self.report_stale(worker, seq, generation),
            HistoryStep::Die { worker, started, unknown } if self.is_alive(worker) => {
                self.crash(worker, started, unknown);
            }
            HistoryStep::Execute { worker, spared, started } if self.is_alive(worker) => {
                self.execute_kill(worker, spared, started);
            }
            HistoryStep::Revoke { worker, picks, begun } => self.give_back(worker, &picks, begun),
            HistoryStep::Cancel(pick) if !self.accepted.is_empty() => self.cancel(pick),
            HistoryStep::Shrink { pool, count } => self.scheduler.shrink(pool_of(pool), count.into(), self.now),
            HistoryStep::Unavailable { pool } => self.fail_pool(pool),
            HistoryStep::SetWallClock(ms) => self.set_wall_clock(ms),
            HistoryStep::Wait(micros) => self.wait(micros),
            HistoryStep::Join(_) | HistoryStep::Die { .. } | HistoryStep::Execute { .. } | HistoryStep::Cancel(_) => {}
        }
        self.take_actions();
        self.check();
        self.observe_facts();
        self.check_facts();
    }

    fn is_alive(&self, worker: u8) -> bool {
        self.alive[usize::from(worker)]
    }

    fn submit(&mut self, drawn: DrawnTask, count: u8, timeout: Option<u8>, delay: u8) {
        let wall_now = self.scheduler.table().wall(self.now);
        let ids = submit_as(&mut self.scheduler, count.into(), self.now, |task| {
            // Most start at once, some after a time, and some at a calendar time.
            let task = match delay {
                0..=10 => drawn.of(task),
                11..=15 => drawn.of(task).delay(millis(delay - 10)),
                _ => drawn.of(task).not_before(wall_now + millis(delay - 15)),
            };
            match timeout {
                Some(ms) => task.timeout(millis(ms)),
                None => task,
            }
        });
        self.accepted.extend(ids);
    }

    fn submit_limited(&mut self, drawn: DrawnTask, wanted: limits::Wanted) {
        let ids = submit_as(&mut self.scheduler, 1, self.now, |task| wanted.of(drawn.of(task)));
        self.accepted.extend(ids);
    }

    fn join(&mut self, worker: u8) {
        let index = usize::from(worker);
        self.generations[index] += 1;
        self.alive[index] = true;
        self.ordered[index] = None;
        self.scheduler.joined(self.worker(worker), slots(slots_of_worker(worker)), self.now);
    }

    /// Ends an attempt that is in a slot. The result comes twice.
    fn end_attempt(&mut self, worker: u8, pick: u8, micros: u32, fails: bool) {
        let (from, sent) = (self.worker(worker), self.scheduler.sent_to(self.worker(worker)));
        let running = sent.len().min(slots_of_worker(worker));
        let Some(&(key, seq)) = sent.get(usize::from(pick) % running.max(1)) else { return };
        self.count(key);
        let report = || if fails { failing(seq, ErrorKind::Exception) } else { done(seq, u64::from(micros) * 1000) };
        self.scheduler.reported(from, vec![report()], self.now);
        let before = self.scheduler.table().ignored();
        self.scheduler.reported(from, vec![report()], self.now);
        assert_eq!(self.scheduler.table().ignored(), before + 1, "L1: a result counts once");
    }

    /// Sends messages of an earlier process of a worker.
    fn report_stale(&mut self, worker: u8, seq: u8, generation: u8) {
        let stale = worker_of(worker, generation.into());
        if stale.generation.0 >= self.generations[usize::from(worker)] {
            return;
        }
        let (live, seq) = (self.scheduler.table().live(), Seq(seq.into()));
        let reports = vec![done(seq, 1), Report::Revoked { seqs: vec![seq] }, Report::Spared { seq }];
        self.scheduler.reported(stale, reports, self.now);
        self.scheduler.left(stale, killed(&[seq.0]), self.now);
        assert_eq!(self.scheduler.table().live(), live, "L3: a stale message changes nothing");
    }

    /// Ends a worker while some of its attempts run. If `unknown`, its status page does not say which.
    fn crash(&mut self, worker: u8, started: u8, unknown: bool) {
        let slots = slots_of_worker(worker);
        let count = if unknown { slots } else { usize::from(started).min(slots) };
        self.dies(worker, count, |running| {
            let departure = killed(running);
            if unknown { Departure { started: None, ..departure } } else { departure }
        });
    }

    fn dies(&mut self, index: u8, running: usize, departure: impl Fn(&[u64]) -> Departure) {
        self.alive[usize::from(index)] = false;
        let (from, sent) = (self.worker(index), self.scheduler.sent_to(self.worker(index)));
        for &(key, _) in sent.iter().take(running) {
            self.count(key);
        }
        let running: Vec<u64> = sent.iter().take(running).map(|(_, seq)| seq.0).collect();
        self.scheduler.left(from, departure(&running), self.now);
    }

    /// Carries out the kill that a worker was ordered.
    fn execute_kill(&mut self, worker: u8, spared: bool, started: bool) {
        let Some((seq, reason)) = self.ordered[usize::from(worker)].take() else { return };
        let from = self.worker(worker);
        let sent = self.scheduler.sent_to(from);
        let running = sent.iter().take(slots_of_worker(worker)).find(|(_, running)| *running == seq);
        match running {
            // The process dies with the attempt, unless the result was there already.
            Some(_) if started && !spared => {
                self.dies(worker, slots_of_worker(worker), |running| killed_by(reason, running));
            }
            Some(&(key, _)) if started => {
                self.count(key);
                self.scheduler.reported(from, vec![done(seq, MS), Report::Spared { seq }], self.now);
            }
            // The attempt has ended, is in the worker's pipe, or the worker's threads are held up.
            _ => self.scheduler.reported(from, vec![Report::Spared { seq }], self.now),
        }
    }

    /// Gives tasks of the window back. A worker that has begun nothing can give back everything.
    fn give_back(&mut self, worker: u8, picks: &[u8], begun: bool) {
        let (from, sent) = (self.worker(worker), self.scheduler.sent_to(self.worker(worker)));
        let ahead = sent.get(if begun { slots_of_worker(worker) } else { 0 }..).unwrap_or_default();
        let seqs = picks.iter().filter_map(|pick| ahead.get(usize::from(*pick) % ahead.len().max(1)));
        let seqs = seqs.map(|(_, seq)| *seq).collect();
        self.scheduler.reported(from, vec![Report::Revoked { seqs }], self.now);
    }

    fn cancel(&mut self, pick: u8) {
        let id = self.accepted[usize::from(pick) % self.accepted.len()];
        let answer = self.scheduler.cancel(CancelSource::Caller, id, Duration::from_millis(4), self.now);
        assert_ne!(answer, CancelAnswer::Unknown);
        if !self.limited {
            self.scheduler.place_all(self.now);
        }
    }

    /// Fails the tasks of a pool that has no worker.
    fn fail_pool(&mut self, pool: u8) {
        if !self.alive[usize::from(pool) * 3..][..3].contains(&true) {
            let error = TaskError::new(ErrorKind::WorkerStartFailed, "none");
            self.scheduler.unavailable(pool_of(pool), error, self.now);
        }
    }

    fn set_wall_clock(&mut self, by_millis: i64) {
        let epoch = self.scheduler.table().wall(Tick(0)) + SignedDuration::from_millis(by_millis);
        self.scheduler.wall_clock_set(epoch, self.now);
        self.scheduler.tick(self.now);
    }

    fn wait(&mut self, micros: u32) {
        self.now = Tick(self.now.0 + u64::from(micros) * 1000);
        self.scheduler.tick(self.now);
        assert!(self.scheduler.next_tick().is_none_or(|at| at > self.now));
    }
}
