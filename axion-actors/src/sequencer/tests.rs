//! Numbers without gaps, and bounded queues that say what they lost.

use super::*;
use crate::model::{LogLevel, Tick};

fn sequencer() -> Sequencer {
    Sequencer::new(Clock::start(crate::process::nanos_since_boot))
}

fn record(sequencer: &Sequencer, count: usize) {
    let mut recorder = Recorder::default();
    recorder.begin(sequencer.is_subscribed());
    for _ in 0..count {
        recorder.note(Tick(1), || FactKind::OverloadEnded {});
    }
    let _recorded = sequencer.record(recorder.take());
}

fn say(sequencer: &Sequencer, message: &str) {
    let (task, message) = (crate::model::TaskId::generate(), message.to_owned());
    sequencer.notify(|| NoticeKind::Log { task, level: LogLevel::Info, message });
}

/// Numbers of facts, negative counts of missed ones, and notices as 0.
fn read(subscription: &mut Subscription) -> Vec<i64> {
    let number = |watched| match watched {
        Watched::Fact(fact) => i64::try_from(fact.id.number).expect("small"),
        Watched::Notice(_) => 0,
        Watched::FactsMissed(count) | Watched::NoticesMissed(count) => -i64::try_from(count).expect("small"),
    };
    std::iter::from_fn(|| subscription.try_next()).map(number).collect()
}

#[test]
fn l13_facts_are_numbered_without_gaps_also_while_nobody_listens() {
    let sequencer = sequencer();
    record(&sequencer, 3);
    assert_eq!(sequencer.last(), 3);
    let (mut one, mut two) = (sequencer.subscribe(QueueBounds::default()), sequencer.subscribe(QueueBounds::default()));
    record(&sequencer, 2);
    assert_eq!((read(&mut one), read(&mut two)), (vec![4, 5], vec![4, 5]));
    drop(one);
    record(&sequencer, 1);
    assert_eq!(read(&mut two), [6]);
    drop(two);
    assert!(!sequencer.is_subscribed());
    record(&sequencer, 1);
    assert_eq!(sequencer.last(), 7);
}

#[test]
fn a_turn_that_began_before_the_subscription_is_not_missed() {
    let sequencer = sequencer();
    let mut recorder = Recorder::default();
    recorder.begin(sequencer.is_subscribed());
    recorder.note(Tick(1), || FactKind::OverloadEnded {});
    let mut late = sequencer.subscribe(QueueBounds::default());
    let _recorded = sequencer.record(recorder.take());
    record(&sequencer, 1);
    assert_eq!(read(&mut late), [2]);
}

#[test]
fn l9_a_slow_subscriber_keeps_the_newest_and_learns_how_many_it_missed() {
    let sequencer = sequencer();
    let mut slow = sequencer.subscribe(QueueBounds { facts: 3 * size_of::<Fact>(), notices: 0 });
    record(&sequencer, 10);
    assert_eq!(read(&mut slow), [-7, 8, 9, 10]);
    record(&sequencer, 1);
    assert_eq!(read(&mut slow), [11]);
    for message in ["one", "two", "three"] {
        say(&sequencer, message);
    }
    assert_eq!(read(&mut slow), [-2, 0], "the newest notice stays");
}

#[test]
fn facts_and_notices_come_in_the_order_in_which_they_were_made() {
    let sequencer = sequencer();
    let mut subscription = sequencer.subscribe(QueueBounds::default());
    record(&sequencer, 1);
    say(&sequencer, "between");
    record(&sequencer, 1);
    assert_eq!(read(&mut subscription), [1, 0, 2]);
}

#[tokio::test]
async fn a_subscriber_is_woken_by_a_fact_and_by_the_end() {
    let sequencer = sequencer();
    let mut subscription = sequencer.subscribe(QueueBounds::default());
    let recorded = async { record(&sequencer, 1) };
    let (first, ()) = tokio::join!(subscription.next(), recorded);
    assert!(matches!(first, Some(Watched::Fact(_))));
    let (end, ()) = tokio::join!(subscription.next(), async { sequencer.close() });
    assert_eq!(end, None);
    assert_eq!(sequencer.subscribe(QueueBounds::default()).next().await, None, "also for one that comes later");
}
