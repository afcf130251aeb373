//! Timers of the actors, by the engine's clock.
//!
//! Tokio's timers stop while the machine sleeps; the engine's clock does not. So all actors share one timer of the
//! kernel that counts sleep, and get a [`TimerDue`] when theirs is due. An actor decides by the clock what is due, so a
//! message that comes early or late does no harm.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use actix::prelude::*;

use super::messages::TimerDue;
use crate::model::{Clock, Tick};
use crate::policy::timers::{TimerId, Timers};
use crate::process::KernelTimer;

/// Drives the timers of all actors of an engine. Clones share them.
#[derive(Clone)]
pub struct TimerDriver(Rc<Driver>);

struct Driver {
    clock: Clock,
    kernel: KernelTimer,
    timers: RefCell<Timers<Recipient<TimerDue>>>,
    /// The tick at which the kernel's timer is due.
    armed: Cell<Option<Tick>>,
}

impl TimerDriver {
    /// Starts a driver on the runtime of this thread.
    #[must_use]
    pub fn start(kernel: KernelTimer, clock: Clock) -> Self {
        let timers = RefCell::new(Timers::default());
        let driver = Self(Rc::new(Driver { clock, kernel, timers, armed: Cell::new(None) }));
        let shared = driver.0.clone();
        actix_rt::spawn(async move {
            let error = loop {
                match shared.kernel.expired().await {
                    Ok(()) => shared.fire(),
                    Err(error) => break error,
                }
            };
            // Without timers, waits would never end (L1).
            tracing::error!(%error, "the engine's timer failed; stopping the engine");
            System::current().stop_with_code(1);
        });
        driver
    }

    /// The engine's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.0.clock.clone()
    }

    /// A timer for one actor.
    pub(super) fn timer(&self) -> ActorTimer {
        ActorTimer { driver: self.0.clone(), running: None }
    }
}

impl Driver {
    fn start(&self, at: Tick, actor: Recipient<TimerDue>) -> TimerId {
        let id = self.timers.borrow_mut().start(at, actor);
        self.arm();
        id
    }

    /// Sets the kernel's timer for the first timer, if it would be late. An earlier setting stays: it only costs a look.
    fn arm(&self) {
        let Some(first) = self.timers.borrow().next() else { return };
        if self.armed.get().is_none_or(|armed| first < armed) {
            self.kernel.set(first.since(self.clock.now()));
            self.armed.set(Some(first));
        }
    }

    fn fire(&self) {
        self.armed.set(None);
        let now = self.clock.now();
        let next = || self.timers.borrow_mut().pop(now);
        for actor in std::iter::from_fn(next) {
            actor.do_send(TimerDue);
        }
        self.arm();
    }
}

/// The timer of one actor.
pub(super) struct ActorTimer {
    driver: Rc<Driver>,
    running: Option<TimerId>,
}

impl ActorTimer {
    /// Has the actor get a [`TimerDue`] at this tick, unless it gets one before that. A running timer keeps the actor
    /// alive, as actix's own timers do.
    pub(super) fn set<A>(&mut self, at: Tick, ctx: &Context<A>)
    where
        A: Actor<Context = Context<A>> + Handler<TimerDue>,
    {
        if let Some(running) = self.running {
            let mut timers = self.driver.timers.borrow_mut();
            if running.due() <= at && timers.is_running(running) {
                return;
            }
            timers.stop(running);
        }
        self.running = Some(self.driver.start(at, ctx.address().recipient()));
    }
}

impl Drop for ActorTimer {
    fn drop(&mut self) {
        if let Some(running) = self.running {
            self.driver.timers.borrow_mut().stop(running);
        }
    }
}

#[cfg(test)]
mod tests;
