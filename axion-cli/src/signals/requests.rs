//! Which signals count, and what each one asks for. Decides only; `now` is an argument.

use std::time::{Duration, Instant};

/// A signal counts only if the last one that counted is at least this old. `timeout`, service managers and terminals
/// send one request as several signals, to the process and to its group, within microseconds.
pub(super) const ONE_REQUEST: Duration = Duration::from_secs(1);

/// The time that the program has to end after the second request.
pub(super) const FINAL_GRACE: Duration = Duration::from_secs(3);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing: it belongs to the request before it.
    None,
    /// The first request: cancel what runs and leave it its grace.
    Cancel,
    /// The second: end everything at once.
    End,
    /// The third: end this process.
    Exit,
}

/// The requests to end so far.
#[derive(Debug, Default)]
pub(super) struct StopRequests {
    count: u8,
    last: Option<Instant>,
}

impl StopRequests {
    /// A signal has come.
    pub(super) fn signal(&mut self, now: Instant) -> Decision {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < ONE_REQUEST) {
            return Decision::None;
        }
        self.last = Some(now);
        self.count = self.count.saturating_add(1);
        match self.count {
            1 => Decision::Cancel,
            2 => Decision::End,
            _ => Decision::Exit,
        }
    }

    /// When the process ends by itself, if the second request has come.
    pub(super) fn exit_at(&self) -> Option<Instant> {
        self.last.filter(|_| self.count >= 2).map(|second| second + FINAL_GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decisions(at: &[u64]) -> Vec<Decision> {
        let (begun, mut requests) = (Instant::now(), StopRequests::default());
        at.iter().map(|millis| requests.signal(begun + Duration::from_millis(*millis))).collect()
    }

    #[test]
    fn l1_signals_within_a_second_are_one_request() {
        use Decision::{Cancel, End, Exit, None};
        assert_eq!(decisions(&[0, 0, 999, 1000, 1500, 2000]), [Cancel, None, None, End, None, Exit]);
    }

    #[test]
    fn l1_a_hail_of_signals_cannot_keep_the_second_request_away() {
        let every_tenth: Vec<u64> = (0..=200).map(|it| it * 10).collect();
        let counted: Vec<Decision> = decisions(&every_tenth).into_iter().filter(|it| *it != Decision::None).collect();
        assert_eq!(counted, [Decision::Cancel, Decision::End, Decision::Exit]);
    }

    #[test]
    fn only_the_second_request_sets_an_end() {
        let (begun, mut requests) = (Instant::now(), StopRequests::default());
        requests.signal(begun);
        assert_eq!(requests.exit_at(), None);
        let second = begun + ONE_REQUEST;
        requests.signal(second);
        assert_eq!(requests.exit_at(), Some(second + FINAL_GRACE));
    }
}
