//! What may run at one time: slots, processors, memory, and limits by key.
//!
//! A [`Gate`] lets what waits at it through while it fits. What runs at one time never uses more
//! than there is of anything, and nothing waits for ever:
//!
//! * What is as urgent, needs the same and has the same keys waits in one line, first come, first served.
//! * The heads of the lines are looked at by their priority, and then in the order in which they came
//!   (L12). One that has to wait may be overtaken by others, but only [`MAX_OVERTAKES`] times. From then on
//!   its keys are held for it, and, as soon as its key has room for it, all that it uses of what there is
//!   an end of: whoever came later, is not more urgent and uses any of it has to wait until it is through.
//!   What runs ends some day, so it fits some day.
//! * A start that its rate does not allow yet holds nothing and overtakes nobody.
//!
//! A look that can come to nothing is not taken. A line waits for one thing: its rate, its key, or what all
//! share. Who waits for a rate is looked at when its time has come, who waits for a key when one with that
//! key ends, one after another for as long as the rate or the key lets somebody start; who waits for what
//! all share is looked at by what it needs, one look for all that need the same. So a start costs the
//! same however many keys there are, and only different *demands* that cannot be met are walked over, and
//! whoever waits for a key that is held for another; that walk is bounded.
//!
//! The numbers are whole ([`Fixed`](crate::model::Fixed)), so that sums are exact.

mod demand;
mod gate;
mod rate;
#[cfg(test)]
mod tests;
mod waiters;

pub use self::demand::{Demand, shortfall, worse};
pub use self::gate::{Gate, GateWaiter, MAX_OVERTAKES, Permit};
