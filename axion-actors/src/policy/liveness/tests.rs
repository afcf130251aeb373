use super::*;

const SECOND: u64 = 1_000_000_000;

/// A worker as a test sets it up.
#[derive(Default)]
struct Scenario {
    liveness: Liveness,
    owed: Vec<Seq>,
    running: Vec<Seq>,
    spoilt: bool,
    written: u64,
    ended: u64,
    now: Tick,
}

impl Scenario {
    fn owing(owed: &[u64], running: &[u64]) -> Self {
        let [owed, running] = [owed, running].map(|seqs| seqs.iter().copied().map(Seq).collect());
        let mut scenario = Self { owed, running, ..Self::default() };
        assert_eq!(
            scenario.tell(|liveness, look, now| liveness.owes(look, now)),
            NextStep::LookAt(Tick(0).after(OFTEN))
        );
        scenario
    }

    /// The two looks after which a worker that lacks an attempt from the first is asked.
    fn stays_quiet(&mut self) -> NextStep {
        let at = self.now.after(QUIET);
        assert_eq!(self.due(OFTEN), NextStep::LookAt(at));
        self.due(OFTEN)
    }

    fn tell(&mut self, event: impl FnOnce(&mut Liveness, Look<'_>, Tick) -> NextStep) -> NextStep {
        let running = (!self.spoilt).then_some(&self.running[..]);
        let look = Look { owed: &self.owed, running, written: self.written, ended: self.ended };
        event(&mut self.liveness, look, self.now)
    }

    fn due(&mut self, after: Duration) -> NextStep {
        self.now = self.now.after(after);
        self.tell(|liveness, look, now| liveness.due(look, now))
    }

    fn answers(&mut self, nonce: u64) -> NextStep {
        self.tell(|liveness, look, now| liveness.answered(nonce, look, now))
    }
}

const QUIET: Duration = Duration::from_secs(5);
/// Between two looks while tasks come and go.
const OFTEN: Duration = Duration::from_millis(2500);
const ANSWER: Duration = Duration::from_secs(2);
const CONFIRM: Duration = Duration::from_millis(500);

#[test]
fn a_worker_that_lost_an_attempt_is_asked_once_and_ended() {
    let mut scenario = Scenario::owing(&[1, 2], &[]);
    let ask = NextStep::Ask { seqs: vec![Seq(1), Seq(2)], nonce: 1, until: Tick(7 * SECOND) };
    assert_eq!(scenario.stays_quiet(), ask);
    scenario.owed.pop(); // 2 was given back
    scenario.now = scenario.now.after(Duration::from_millis(1));
    assert_eq!(scenario.answers(1), NextStep::LookAt(scenario.now.after(CONFIRM)));
    assert_eq!(scenario.due(CONFIRM), NextStep::End(Fault::Lost { seq: Seq(1) }));
}

#[test]
fn a_worker_that_runs_nothing_and_does_not_answer_is_ended() {
    let mut scenario = Scenario::owing(&[1, 2, 3], &[]);
    assert!(matches!(scenario.stays_quiet(), NextStep::Ask { .. }));
    assert_eq!(scenario.answers(7), NextStep::Nothing, "an answer to something else");
    assert_eq!(scenario.due(ANSWER), NextStep::End(Fault::Silent { owed: 3 }));
}

#[test]
fn a_timer_that_comes_late_is_no_proof_that_the_worker_is_silent() {
    let mut scenario = Scenario::owing(&[1], &[]);
    assert!(matches!(scenario.stays_quiet(), NextStep::Ask { .. }));
    assert_eq!(scenario.due(ANSWER * 2), NextStep::LookAt(scenario.now.after(ANSWER)));
    assert_eq!(scenario.due(ANSWER), NextStep::End(Fault::Silent { owed: 1 }));

    let mut scenario = Scenario::owing(&[1], &[]);
    assert!(matches!(scenario.stays_quiet(), NextStep::Ask { .. }));
    assert!(matches!(scenario.answers(1), NextStep::LookAt(_)));
    let hour = Duration::from_secs(3600);
    assert_eq!(scenario.due(hour), NextStep::LookAt(scenario.now.after(CONFIRM)), "the machine slept");
    assert_eq!(scenario.due(CONFIRM), NextStep::End(Fault::Lost { seq: Seq(1) }));
}

#[test]
fn a_worker_that_gives_back_what_it_has_not_started_or_starts_it_lives() {
    let mut scenario = Scenario::owing(&[1], &[]);
    assert!(matches!(scenario.stays_quiet(), NextStep::Ask { .. }));
    scenario.owed.clear();
    assert_eq!(scenario.answers(1), NextStep::Nothing);
    assert!(scenario.liveness.is_idle());

    let mut scenario = Scenario::owing(&[1], &[]);
    assert!(matches!(scenario.stays_quiet(), NextStep::Ask { .. }));
    assert!(matches!(scenario.answers(1), NextStep::LookAt(_)), "it may have taken it just now");
    scenario.running = vec![Seq(1)];
    assert_eq!(scenario.due(CONFIRM), NextStep::LookAt(scenario.now.after(OFTEN)));
}

#[test]
fn while_an_attempt_runs_only_its_limits_end_it() {
    let mut scenario = Scenario::owing(&[1], &[1]);
    let mut pause = OFTEN;
    for looks in 1.. {
        let NextStep::LookAt(at) = scenario.due(pause) else { panic!("ended by a look") };
        pause = at.since(scenario.now);
        if scenario.now.since(Tick(0)) > Duration::from_secs(86_400) {
            assert!(looks < 20, "{looks} looks in a day");
            break;
        }
    }
    // Another one is sent to it, and a C call of the first holds up the whole process.
    scenario.owed.push(Seq(2));
    assert!(matches!(scenario.due(pause), NextStep::LookAt(_)), "2 has not waited for long");
    assert!(matches!(scenario.stays_quiet(), NextStep::Ask { seqs, .. } if seqs == [Seq(2)]));
    assert!(matches!(scenario.due(ANSWER), NextStep::LookAt(_)), "it runs something");
}

#[test]
fn an_attempt_that_is_lost_beside_one_that_runs_is_found() {
    let mut scenario = Scenario::owing(&[1, 2], &[2]);
    assert!(matches!(scenario.stays_quiet(), NextStep::Ask { seqs, nonce: 1, .. } if seqs == [Seq(1)]));
    scenario.answers(1);
    assert_eq!(scenario.due(CONFIRM), NextStep::End(Fault::Lost { seq: Seq(1) }));
}

#[test]
fn a_worker_that_moves_is_not_asked() {
    let mut scenario = Scenario::owing(&[1], &[]);
    scenario.written += 1; // of a frame that is larger than the pipe
    assert_eq!(scenario.due(OFTEN), NextStep::LookAt(Tick(5 * SECOND)));
    for ended in 1..10 {
        (scenario.owed, scenario.ended) = (vec![Seq(ended * 100)], ended);
        assert_eq!(scenario.due(OFTEN), NextStep::LookAt(scenario.now.after(OFTEN)), "it has not waited for long");
    }
    scenario.owed.clear();
    assert_eq!(scenario.due(OFTEN), NextStep::Nothing);
    assert!(scenario.liveness.is_idle());
}

#[test]
fn after_a_long_attempt_the_next_one_is_watched_as_closely_as_ever() {
    let mut scenario = Scenario::owing(&[1], &[1]);
    assert_eq!(scenario.due(OFTEN), NextStep::LookAt(scenario.now.after(OFTEN * 2)));
    assert!(scenario.liveness.is_patient());
    (scenario.owed, scenario.running, scenario.ended) = (vec![Seq(2)], Vec::new(), 1);
    let next = scenario.tell(|liveness, look, now| liveness.ended(look, now));
    assert_eq!(next, NextStep::LookAt(scenario.now.after(OFTEN)));
    assert!(!scenario.liveness.is_patient());
}

#[test]
fn a_spoilt_page_proves_nothing() {
    let mut scenario = Scenario::owing(&[1], &[]);
    scenario.spoilt = true;
    assert_eq!(scenario.due(OFTEN), NextStep::LookAt(scenario.now.after(OFTEN * 2)));
}

#[test]
fn a_doubt_asks_at_once_and_only_once() {
    let mut scenario = Scenario::owing(&[1, 2], &[2]);
    let doubt = |scenario: &mut Scenario, seq| scenario.tell(|liveness, look, now| liveness.doubt(Seq(seq), look, now));
    assert_eq!(doubt(&mut scenario, 2), NextStep::Nothing, "it runs");
    assert_eq!(doubt(&mut scenario, 3), NextStep::Nothing, "it is not owed");
    assert!(matches!(doubt(&mut scenario, 1), NextStep::Ask { .. }));
    assert_eq!(doubt(&mut scenario, 1), NextStep::Nothing, "the question is out");
    scenario.answers(1);
    assert_eq!(doubt(&mut scenario, 1), NextStep::Nothing, "the attempt has its moment");
    assert_eq!(scenario.due(CONFIRM), NextStep::End(Fault::Lost { seq: Seq(1) }));
}
