//! The timers of actors on the real clock.

use std::time::Duration;

use tokio::sync::mpsc;

use super::*;
use crate::process::nanos_since_boot;

/// Reports the tick at which its timer was due.
struct Sleeper {
    clock: Clock,
    timer: ActorTimer,
    woken: mpsc::UnboundedSender<Tick>,
}

impl Actor for Sleeper {
    type Context = Context<Self>;
}

impl Handler<TimerDue> for Sleeper {
    type Result = ();

    fn handle(&mut self, _: TimerDue, _: &mut Self::Context) {
        let _ = self.woken.send(self.clock.now());
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct SetTimer(Tick);

impl Handler<SetTimer> for Sleeper {
    type Result = ();

    fn handle(&mut self, SetTimer(at): SetTimer, ctx: &mut Self::Context) {
        self.timer.set(at, ctx);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

impl Handler<Stop> for Sleeper {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

fn driver() -> TimerDriver {
    TimerDriver::start(KernelTimer::new().expect("a timer"), Clock::start(nanos_since_boot))
}

fn sleeper(driver: &TimerDriver) -> (Addr<Sleeper>, mpsc::UnboundedReceiver<Tick>) {
    let (woken, wakes) = mpsc::unbounded_channel();
    (Sleeper { clock: driver.clock(), timer: driver.timer(), woken }.start(), wakes)
}

async fn woken(wakes: &mut mpsc::UnboundedReceiver<Tick>) -> Tick {
    let limit = Duration::from_secs(30);
    actix_rt::time::timeout(limit, wakes.recv()).await.expect("in time").expect("the actor lives")
}

#[actix::test]
async fn each_actor_is_woken_at_its_own_tick() {
    let driver = driver();
    let now = driver.clock().now();
    let after = |millis| now.after(Duration::from_millis(millis));
    let (late, mut wakes_late) = sleeper(&driver);
    let (early, mut wakes_early) = sleeper(&driver);
    let minute = after(60_000);
    late.do_send(SetTimer(minute));
    early.do_send(SetTimer(minute));
    early.do_send(SetTimer(after(3)));
    // Later than the timer that runs, which stays.
    early.do_send(SetTimer(minute));
    let first = woken(&mut wakes_early).await;
    late.do_send(SetTimer(after(30)));
    let second = woken(&mut wakes_late).await;
    assert!(after(3) <= first && first <= second && after(30) <= second, "{first:?}, {second:?}");
    // A tick in the past is due at once.
    early.do_send(SetTimer(now));
    assert!(woken(&mut wakes_early).await >= second);
}

#[actix::test]
async fn l9_an_actor_that_stops_leaves_no_timer_behind() {
    let driver = driver();
    let (actor, mut wakes) = sleeper(&driver);
    actor.send(SetTimer(Tick(u64::MAX))).await.expect("it lives");
    assert_eq!(driver.0.timers.borrow().len(), 1);
    actor.do_send(Stop);
    let none = actix_rt::time::timeout(Duration::from_secs(30), wakes.recv()).await;
    assert_eq!(none, Ok(None));
    assert!(driver.0.timers.borrow().is_empty());
}
