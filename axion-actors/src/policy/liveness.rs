//! Whether a worker can still account for the attempts that it was sent.
//!
//! A worker *owes* an attempt from the moment it is sent until the worker ends it or gives it back. An attempt that is
//! owed either runs, by the worker's status page, or waits in its pipe. One that does neither for long is lost: a task
//! wrote half a frame to the data pipe, pointed that pipe elsewhere, or read what was meant for the worker. Or the
//! worker hangs outside of any task.
//!
//! An attempt that is owed for [`Patience::quiet`] and does not run makes the engine ask the worker: give back what you
//! have not started, and answer a ping.
//!
//! * No answer within [`Patience::answer`] ends a worker that runs nothing. While an attempt runs, only its limits end
//!   it: a long C call that holds the interpreter lock also holds up the answer, and is no fault.
//! * An answer proves that the attempt is lost if it still does not run [`Patience::confirm`] later. The wait covers
//!   the moment in which a healthy worker has taken a task and not yet noted it in its page.
//!
//! There is one timer, armed while the worker owes something. While one attempt runs on, each look doubles the time to
//! the next: a task costs as many looks as its run time has binary digits (L10).

use std::time::Duration;

use super::process_deadline::ProcessDeadline;
use crate::model::{Seq, Tick};

/// How long each step of the rule waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long an attempt may be owed without running before the worker is asked.
    pub quiet: Duration,
    /// How long the worker may take to answer.
    pub answer: Duration,
    /// How long the attempt may take to show itself after the answer.
    pub confirm: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { quiet: Duration::from_secs(5), answer: Duration::from_secs(2), confirm: Duration::from_millis(500) }
    }
}

/// What a look at a worker finds.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The attempts that it owes, in ascending order.
    pub owed: &'a [Seq],
    /// The attempts that run by its status page; `None` if the page is spoilt, which proves nothing.
    pub running: Option<&'a [Seq]>,
    /// The bytes that went into its pipe so far.
    pub written: u64,
    /// The attempts that it has ended so far.
    pub ended: u64,
}

impl Look<'_> {
    /// Whether it owes this attempt and certainly does not run it.
    fn lacks(&self, seq: Seq) -> bool {
        self.running.is_some_and(|running| !running.contains(&seq)) && self.owed.binary_search(&seq).is_ok()
    }

    /// The first attempt that it lacks.
    fn first_lacking(&self) -> Option<Seq> {
        self.owed.iter().copied().find(|seq| self.lacks(*seq))
    }

    fn runs_nothing(&self) -> bool {
        self.running.is_some_and(<[Seq]>::is_empty)
    }
}

/// What the engine does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Nothing. A timer that is armed stays so.
    Nothing,
    /// Call [`Liveness::due`] at this time, not before.
    LookAt(Tick),
    /// Ask the worker to give back these attempts, then to answer a ping; then as `LookAt`.
    Ask {
        /// The attempts.
        seqs: Vec<Seq>,
        /// What the ping carries.
        nonce: u64,
        /// When the answer is due.
        until: Tick,
    },
    /// End the worker.
    End(Fault),
}

/// Why a worker has to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It runs nothing and does not answer.
    #[error(
        "the worker runs nothing, has not ended {owed} of the attempts that it was sent, and does not answer a ping"
    )]
    Silent {
        /// How many attempts it owes.
        owed: usize,
    },
    /// It answers, and an attempt is gone.
    #[error("attempt {seq} is lost in the worker: it does not run, has not ended, and was not given back")]
    Lost {
        /// Which attempt.
        seq: Seq,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Watch {
    /// Nothing was owed at the last look. No timer is armed.
    #[default]
    Idle,
    /// A look is due after `pause`.
    Watching { pause: Duration, last: Seen },
    /// The worker was asked because of this attempt; the answer is due.
    Asked { seq: Seq, pause: Duration, answer: ProcessDeadline },
    /// The worker has answered; the attempt has a moment to show itself.
    Answered { seq: Seq, confirm: ProcessDeadline },
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// The first attempt that the worker lacked, and since when the looks find it so.
    lacking: Option<(Seq, Tick)>,
    written: u64,
    ended: u64,
}

/// What is known about one worker.
#[derive(Debug, Default)]
pub struct Liveness {
    patience: Patience,
    state: Watch,
    /// Of the last ping.
    nonce: u64,
}

impl Liveness {
    /// Nothing is owed yet.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { patience, ..Self::default() }
    }

    /// Whether the next call of [`owes`](Self::owes) does something.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state == Watch::Idle
    }

    /// Whether the next call of [`ended`](Self::ended) does something.
    #[must_use]
    pub fn is_patient(&self) -> bool {
        matches!(self.state, Watch::Watching { pause, .. } if pause > self.often())
    }

    /// The time between looks while tasks come and go.
    fn often(&self) -> Duration {
        self.patience.quiet / 2
    }

    /// The worker was sent attempts.
    pub fn owes(&mut self, look: Look<'_>, now: Tick) -> NextStep {
        if self.is_idle() { self.watch(self.often(), look, now) } else { NextStep::Nothing }
    }

    /// The worker has ended an attempt, or given some back.
    pub fn ended(&mut self, look: Look<'_>, now: Tick) -> NextStep {
        if self.is_patient() { self.watch(self.often(), look, now) } else { NextStep::Nothing }
    }

    /// An attempt was to be killed, and neither runs nor has ended: it is asked back at once.
    pub fn doubt(&mut self, seq: Seq, look: Look<'_>, now: Tick) -> NextStep {
        let is_free = matches!(self.state, Watch::Idle | Watch::Watching { .. });
        if is_free && look.lacks(seq) { self.ask(seq, self.often(), look, now) } else { NextStep::Nothing }
    }

    /// The timer is due.
    pub fn due(&mut self, look: Look<'_>, now: Tick) -> NextStep {
        if let Watch::Asked { answer: deadline, .. } | Watch::Answered { confirm: deadline, .. } = &mut self.state
            && !deadline.has_passed(now)
        {
            // If this thread was held up, or the machine, the answer may wait to be read.
            return NextStep::LookAt(deadline.due());
        }
        match self.state {
            Watch::Idle => NextStep::Nothing,
            Watch::Watching { pause, last } => self.look(pause, last, look, now),
            Watch::Asked { seq, .. } if look.lacks(seq) && look.runs_nothing() => {
                NextStep::End(Fault::Silent { owed: look.owed.len() })
            }
            Watch::Asked { pause, .. } => self.watch(pause.saturating_mul(2), look, now),
            Watch::Answered { seq, .. } if look.lacks(seq) => NextStep::End(Fault::Lost { seq }),
            Watch::Answered { .. } => self.watch(self.often(), look, now),
        }
    }

    /// The worker answered a ping. What it gave back came before that, and is owed no more.
    pub fn answered(&mut self, nonce: u64, look: Look<'_>, now: Tick) -> NextStep {
        match self.state {
            Watch::Asked { seq, .. } if nonce == self.nonce && look.lacks(seq) => {
                let confirm = ProcessDeadline::start(self.patience.confirm, now);
                self.state = Watch::Answered { seq, confirm };
                NextStep::LookAt(confirm.due())
            }
            Watch::Asked { .. } if nonce == self.nonce => self.watch(self.often(), look, now),
            _ => NextStep::Nothing,
        }
    }

    fn look(&mut self, pause: Duration, last: Seen, look: Look<'_>, now: Tick) -> NextStep {
        let is_still = look.written == last.written;
        match (last.lacking.filter(|(seq, _)| is_still && look.lacks(*seq)), look.first_lacking()) {
            (Some((seq, since)), _) if now.since(since) >= self.patience.quiet => self.ask(seq, pause, look, now),
            (Some((_, since)), _) => {
                self.state = Watch::Watching { pause, last };
                NextStep::LookAt(since.after(self.patience.quiet))
            }
            (None, None) if is_still && look.ended == last.ended => self.watch(pause.saturating_mul(2), look, now),
            (None, _) => self.watch(self.often(), look, now),
        }
    }

    fn watch(&mut self, pause: Duration, look: Look<'_>, now: Tick) -> NextStep {
        if look.owed.is_empty() {
            self.state = Watch::Idle;
            return NextStep::Nothing;
        }
        let lacking = look.first_lacking().map(|seq| (seq, now));
        self.state = Watch::Watching { pause, last: Seen { lacking, written: look.written, ended: look.ended } };
        NextStep::LookAt(now.after(pause))
    }

    fn ask(&mut self, seq: Seq, pause: Duration, look: Look<'_>, now: Tick) -> NextStep {
        let seqs = look.owed.iter().copied().filter(|seq| look.lacks(*seq)).collect();
        let answer = ProcessDeadline::start(self.patience.answer, now);
        self.nonce += 1;
        self.state = Watch::Asked { seq, pause, answer };
        NextStep::Ask { seqs, nonce: self.nonce, until: answer.due() }
    }
}

#[cfg(test)]
mod tests;
