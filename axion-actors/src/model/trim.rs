//! Trimming: shortens a record to its bound (L9).

use super::outcome::{Outcome, TaskError};
use super::record::{CapturedOutput, TaskRecord};

impl TaskRecord {
    /// The size in bytes without the result.
    #[must_use]
    pub fn weight_beside_data(&self) -> usize {
        self.weight() - self.outcome.data_size()
    }

    /// Trims the record to `limit` bytes, not counting the result, and marks in the record what was left out. Earlier
    /// attempts go first, the oldest before the others. Then the middle of the output goes. The longest texts of the
    /// error go last, which only a small limit requires. Returns whether anything was left out.
    ///
    /// Fields of a fixed size stay, so a record can exceed a limit below 4 KiB.
    pub fn trim(&mut self, limit: usize) -> bool {
        let mut over = self.weight_beside_data().saturating_sub(limit);
        if over == 0 {
            return false;
        }
        let mut gone = 0;
        while over > 0 && gone < self.earlier.len() {
            over = over.saturating_sub(self.earlier[gone].weight());
            gone += 1;
        }
        self.earlier.drain(..gone);
        self.earlier_left_out = self.earlier_left_out.saturating_add(u32::try_from(gone).unwrap_or(u32::MAX));
        if over > 0
            && let Some(output) = self.output.as_deref_mut()
        {
            over -= output.shed(over);
        }
        if over > 0
            && let Outcome::Failed(error)
            | Outcome::TimedOut(error)
            | Outcome::Cancelled(error)
            | Outcome::Expired(error)
            | Outcome::Lost(error) = &mut self.outcome
        {
            error.shed(over);
        }
        true
    }
}

impl CapturedOutput {
    /// Keeps up to `limit` bytes, the beginning and the end of each stream, and counts the others (L9).
    pub fn shrink(&mut self, limit: usize) {
        let over = self.len().saturating_sub(limit);
        if over > 0 {
            self.shed(over);
        }
    }

    /// Leaves out up to `over` bytes, of the longer stream first. Returns the number of bytes left out.
    fn shed(&mut self, over: usize) -> usize {
        let (one, two) = (self.stdout.len(), self.stderr.len());
        let rest = (one + two).saturating_sub(over);
        // Each stream gets half of the rest. A stream that needs less leaves its share to the other.
        let for_two = two.min((rest / 2).max(rest.saturating_sub(one)));
        self.stdout.shrink(rest - for_two);
        self.stderr.shrink(for_two);
        one + two - rest
    }
}

impl TaskError {
    /// Leaves out up to `over` bytes from the middle of the texts. The texts that say most about the failure go last.
    fn shed(&mut self, mut over: usize) {
        // The text of the error still says what the exception was.
        if over > 0
            && let Some(raised) = self.raised.take()
        {
            over = over.saturating_sub(raised.0.len());
        }
        let mut shed = |text: &mut String| {
            let before = text.len();
            cut(text, before.saturating_sub(over));
            over -= (before - text.len()).min(over);
        };
        if let Some(found) = &mut self.post_mortem {
            found.stacks.as_mut().map(&mut shed);
            shed(&mut found.stdout_tail);
            shed(&mut found.stderr_tail);
        }
        for cause in &mut self.causes {
            shed(&mut cause.message);
            shed(&mut cause.exception);
        }
        self.traceback.as_mut().map(&mut shed);
        shed(&mut self.message);
        self.exception.as_mut().map(&mut shed);
    }
}

/// Keeps the beginning and the end of a text that is longer than `most` bytes. A line between them says how many bytes
/// are missing. If there is no room for that line, the text becomes empty.
fn cut(text: &mut String, most: usize) {
    if text.len() <= most {
        return;
    }
    let mark = format!("\n... {} bytes left out ...\n", text.len() - most);
    let Some(room) = most.checked_sub(mark.len()) else { return text.clear() };
    let (begin, end) = (text.floor_char_boundary(room / 2), text.ceil_char_boundary(text.len() - (room - room / 2)));
    // The mark takes room too, so the actual number is a little higher.
    *text = format!("{}{mark}{}", &text[..begin], &text[end..]);
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{
        Attempt, AttemptRecord, Cause, EndedBy, ErrorKind, Generation, Json, Pickle, PoolId, PostMortem, ScriptPath,
        TaskId, Timings, WorkName, WorkerId, WorkerRef,
    };

    fn record(outcome: Outcome, earlier: Vec<TaskError>, output: [usize; 2]) -> TaskRecord {
        let at = Timestamp::UNIX_EPOCH;
        let worker = WorkerRef { id: WorkerId::local(PoolId::CPU, 0), generation: Generation(1) };
        let mut captured = Box::new(CapturedOutput::default());
        captured.stdout.push(&vec![b'o'; output[0]], 64 << 10);
        captured.stderr.push(&vec![b'e'; output[1]], 64 << 10);
        TaskRecord {
            id: TaskId::generate(),
            work: WorkName::Script(ScriptPath::new("/a.py".as_ref())),
            pool: PoolId::CPU,
            outcome,
            attempt: Some(Attempt(1)),
            worker: Some(worker),
            timings: Timings { submitted: at, started: None, finished: at },
            output: Some(captured),
            retries: 0,
            worker_losses: 0,
            earlier: (1..)
                .zip(earlier)
                .map(|(n, error)| AttemptRecord {
                    attempt: Attempt(n),
                    worker,
                    sent: at,
                    ended: at,
                    error,
                    output: None,
                })
                .collect(),
            earlier_left_out: 0,
        }
    }

    fn error(size: usize) -> TaskError {
        TaskError::new(ErrorKind::Exception, "x".repeat(size))
    }

    #[test]
    fn earlier_attempts_go_oldest_first_and_then_output() {
        let whole = || record(Outcome::Succeeded(Json("1".into()).into()), vec![error(4000); 3], [3000, 1000]);
        let weight = whole().weight_beside_data();
        let trimmed = |over: usize| {
            let mut record = whole();
            assert_eq!(record.trim(weight - over), over > 0);
            assert!(record.weight_beside_data() <= weight - over);
            let output = record.output.expect("some");
            let attempts: Vec<u32> = record.earlier.iter().map(|it| it.attempt.0).collect();
            (attempts, record.earlier_left_out, [output.stdout.dropped, output.stderr.dropped])
        };
        assert_eq!(trimmed(0), (vec![1, 2, 3], 0, [0, 0]));
        assert_eq!(trimmed(1), (vec![2, 3], 1, [0, 0]));
        assert_eq!(trimmed(4000), (vec![2, 3], 1, [0, 0]));
        assert_eq!(trimmed(5000), (vec![3], 2, [0, 0]));
        let earlier = 3 * whole().earlier[0].weight();
        assert_eq!(trimmed(earlier), (vec![], 3, [0, 0]));
        assert_eq!(trimmed(earlier + 1000), (vec![], 3, [1000, 0]), "the longer stream first");
        assert_eq!(trimmed(earlier + 3000), (vec![], 3, [2500, 500]));
    }

    #[test]
    fn the_result_is_not_counted_and_not_trimmed() {
        let mut record = record(Outcome::Succeeded(Json(vec![b'1'; 1 << 20].into()).into()), Vec::new(), [10, 0]);
        assert!(!record.trim(4 << 10));
        assert_eq!(record.outcome.data().expect("a success").0.len(), 1 << 20);
        assert!(record.weight() > 1 << 20);
    }

    #[test]
    fn a_text_is_cut_in_the_middle_at_character_boundaries() {
        let mut text = "ä".repeat(100);
        cut(&mut text, 101);
        assert!(text.len() <= 101 && text.starts_with("ää") && text.ends_with("ää"), "{text}");
        assert!(text.contains("... 99 bytes left out ..."), "{text}");
        cut(&mut text, 5);
        assert_eq!(text, "");
    }

    fn any_error() -> impl Strategy<Value = TaskError> {
        let text = || "[a-zäöü€]{0,3000}";
        let post_mortem =
            (text(), text(), proptest::option::of(text())).prop_map(|(stdout_tail, stderr_tail, stacks)| {
                Box::new(PostMortem {
                    ended_by: EndedBy::Deadline,
                    exit: None,
                    usage: None,
                    worker_age_seconds: 1.0,
                    worker_tasks: 1,
                    stdout_tail,
                    stderr_tail,
                    stacks,
                })
            });
        let cause = (text(), text()).prop_map(|(exception, message)| Cause { exception, message });
        let causes = proptest::collection::vec(cause, 0..4);
        let texts = (text(), proptest::option::of(text()), proptest::option::of(text()));
        let raised = proptest::option::of((0..5000usize).prop_map(|size| Pickle(vec![0; size].into())));
        (texts, causes, raised, proptest::option::of(post_mortem)).prop_map(
            |((message, exception, traceback), causes, raised, post_mortem)| TaskError {
                kind: ErrorKind::Exception,
                message,
                exception,
                traceback,
                causes,
                raised,
                post_mortem,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn l9_a_trimmed_record_never_holds_more_than_its_limit_and_says_what_is_missing(
            last in proptest::option::of(any_error()),
            earlier in proptest::collection::vec(any_error(), 0..4),
            output in [0..100_000usize, 0..100_000usize],
            limit in 4096..60_000usize,
        ) {
            let outcome = last.map_or(Outcome::Succeeded(Json("1".into()).into()), |it| Outcome::Failed(Box::new(it)));
            let whole = record(outcome, earlier, output);
            let mut trimmed = whole.clone();
            let changed = trimmed.trim(limit);
            prop_assert!(trimmed.weight_beside_data() <= limit, "{} > {}", trimmed.weight_beside_data(), limit);
            prop_assert_eq!(changed, trimmed != whole);
            prop_assert_eq!(trimmed.earlier.len() + trimmed.earlier_left_out as usize, whole.earlier.len());
            prop_assert!(whole.earlier.ends_with(&trimmed.earlier), "the latest stay");
            let parts = |record: &TaskRecord| {
                let output = record.output.clone().expect("some");
                [output.stdout, output.stderr].map(|part| part.len() as u64 + part.dropped)
            };
            prop_assert_eq!(parts(&trimmed), parts(&whole), "every byte is kept or counted");
        }
    }
}
