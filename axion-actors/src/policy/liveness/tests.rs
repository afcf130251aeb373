use super::*;

const SECOND: u64 = 1_000_000_000;

/// A worker as a test sets it up.
#[derive(Default)]
struct World {
    liveness: Liveness,
    owed: Vec<Seq>,
    running: Vec<Seq>,
    spoilt: bool,
    written: u64,
    ended: u64,
    now: Tick,
}

impl World {
    fn owing(owed: &[u64], running: &[u64]) -> Self {
        let [owed, running] = [owed, running].map(|seqs| seqs.iter().copied().map(Seq).collect());
        let mut world = Self { owed, running, ..Self::default() };
        assert_eq!(world.tell(|liveness, look, now| liveness.owes(look, now)), Next::LookAt(Tick(0).after(OFTEN)));
        world
    }

    /// The two looks after which a worker that lacks an attempt from the first is asked.
    fn stays_quiet(&mut self) -> Next {
        let at = self.now.after(QUIET);
        assert_eq!(self.due(OFTEN), Next::LookAt(at));
        self.due(OFTEN)
    }

    fn tell(&mut self, event: impl FnOnce(&mut Liveness, Look<'_>, Tick) -> Next) -> Next {
        let running = (!self.spoilt).then_some(&self.running[..]);
        let look = Look { owed: &self.owed, running, written: self.written, ended: self.ended };
        event(&mut self.liveness, look, self.now)
    }

    fn due(&mut self, after: Duration) -> Next {
        self.now = self.now.after(after);
        self.tell(|liveness, look, now| liveness.due(look, now))
    }

    fn answers(&mut self, nonce: u64) -> Next {
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
    let mut world = World::owing(&[1, 2], &[]);
    let ask = Next::Ask { seqs: vec![Seq(1), Seq(2)], nonce: 1, until: Tick(7 * SECOND) };
    assert_eq!(world.stays_quiet(), ask);
    world.owed.pop(); // 2 was given back
    world.now = world.now.after(Duration::from_millis(1));
    assert_eq!(world.answers(1), Next::LookAt(world.now.after(CONFIRM)));
    assert_eq!(world.due(CONFIRM), Next::End(Fault::Lost { seq: Seq(1) }));
}

#[test]
fn a_worker_that_runs_nothing_and_does_not_answer_is_ended() {
    let mut world = World::owing(&[1, 2, 3], &[]);
    assert!(matches!(world.stays_quiet(), Next::Ask { .. }));
    assert_eq!(world.answers(7), Next::Nothing, "an answer to something else");
    assert_eq!(world.due(ANSWER), Next::End(Fault::Silent { owed: 3 }));
}

#[test]
fn a_timer_that_comes_late_is_no_proof_that_the_worker_is_silent() {
    let mut world = World::owing(&[1], &[]);
    assert!(matches!(world.stays_quiet(), Next::Ask { .. }));
    assert_eq!(world.due(ANSWER * 2), Next::LookAt(world.now.after(ANSWER)));
    assert_eq!(world.due(ANSWER), Next::End(Fault::Silent { owed: 1 }));
}

#[test]
fn a_worker_that_gives_back_what_it_has_not_started_or_starts_it_lives() {
    let mut world = World::owing(&[1], &[]);
    assert!(matches!(world.stays_quiet(), Next::Ask { .. }));
    world.owed.clear();
    assert_eq!(world.answers(1), Next::Nothing);
    assert!(world.liveness.is_idle());

    let mut world = World::owing(&[1], &[]);
    assert!(matches!(world.stays_quiet(), Next::Ask { .. }));
    assert!(matches!(world.answers(1), Next::LookAt(_)), "it may have taken it just now");
    world.running = vec![Seq(1)];
    assert_eq!(world.due(CONFIRM), Next::LookAt(world.now.after(OFTEN)));
}

#[test]
fn while_an_attempt_runs_only_its_limits_end_it() {
    let mut world = World::owing(&[1], &[1]);
    let mut pause = OFTEN;
    for looks in 1.. {
        let Next::LookAt(at) = world.due(pause) else { panic!("ended by a look") };
        pause = at.since(world.now);
        if world.now.since(Tick(0)) > Duration::from_secs(86_400) {
            assert!(looks < 20, "{looks} looks in a day");
            break;
        }
    }
    // Another one is sent to it, and a C call of the first holds up the whole process.
    world.owed.push(Seq(2));
    assert!(matches!(world.due(pause), Next::LookAt(_)), "2 has not waited for long");
    assert!(matches!(world.stays_quiet(), Next::Ask { seqs, .. } if seqs == [Seq(2)]));
    assert!(matches!(world.due(ANSWER), Next::LookAt(_)), "it runs something");
}

#[test]
fn an_attempt_that_is_lost_beside_one_that_runs_is_found() {
    let mut world = World::owing(&[1, 2], &[2]);
    assert!(matches!(world.stays_quiet(), Next::Ask { seqs, nonce: 1, .. } if seqs == [Seq(1)]));
    world.answers(1);
    assert_eq!(world.due(CONFIRM), Next::End(Fault::Lost { seq: Seq(1) }));
}

#[test]
fn a_worker_that_moves_is_not_asked() {
    let mut world = World::owing(&[1], &[]);
    world.written += 1; // of a frame that is larger than the pipe
    assert_eq!(world.due(OFTEN), Next::LookAt(Tick(5 * SECOND)));
    for ended in 1..10 {
        (world.owed, world.ended) = (vec![Seq(ended * 100)], ended);
        assert_eq!(world.due(OFTEN), Next::LookAt(world.now.after(OFTEN)), "it has not waited for long");
    }
    world.owed.clear();
    assert_eq!(world.due(OFTEN), Next::Nothing);
    assert!(world.liveness.is_idle());
}

#[test]
fn after_a_long_attempt_the_next_one_is_watched_as_closely_as_ever() {
    let mut world = World::owing(&[1], &[1]);
    assert_eq!(world.due(OFTEN), Next::LookAt(world.now.after(OFTEN * 2)));
    assert!(world.liveness.is_patient());
    (world.owed, world.running, world.ended) = (vec![Seq(2)], Vec::new(), 1);
    let next = world.tell(|liveness, look, now| liveness.ended(look, now));
    assert_eq!(next, Next::LookAt(world.now.after(OFTEN)));
    assert!(!world.liveness.is_patient());
}

#[test]
fn a_spoilt_page_proves_nothing() {
    let mut world = World::owing(&[1], &[]);
    world.spoilt = true;
    assert_eq!(world.due(OFTEN), Next::LookAt(world.now.after(OFTEN * 2)));
}

#[test]
fn a_doubt_asks_at_once_and_only_once() {
    let mut world = World::owing(&[1, 2], &[2]);
    let doubt = |world: &mut World, seq| world.tell(|liveness, look, now| liveness.doubt(Seq(seq), look, now));
    assert_eq!(doubt(&mut world, 2), Next::Nothing, "it runs");
    assert_eq!(doubt(&mut world, 3), Next::Nothing, "it is not owed");
    assert!(matches!(doubt(&mut world, 1), Next::Ask { .. }));
    assert_eq!(doubt(&mut world, 1), Next::Nothing, "the question is out");
    world.answers(1);
    assert_eq!(doubt(&mut world, 1), Next::Nothing, "the attempt has its moment");
    assert_eq!(world.due(CONFIRM), Next::End(Fault::Lost { seq: Seq(1) }));
}
