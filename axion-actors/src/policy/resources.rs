//! What may run at one time: slots, processors, memory, and limits by key.
//!
//! A [`Gate`] lets what waits at it through while it fits. What runs at one time never uses more
//! than there is of anything, and nothing waits for ever:
//!
//! * What is as urgent and needs the same waits in one line, first come, first served.
//! * The heads of the lines are looked at by their priority, and then in the order in which they came
//!   (L12). One that does not fit may be overtaken by others, but only [`PATIENCE`] times. From then on
//!   all that it uses is held for it: whoever came later, is not more urgent and uses any of it has to
//!   wait until it is through. What runs ends some day, so it fits some day.
//! * A start that its rate does not allow yet holds nothing and overtakes nobody.
//!
//! The numbers are whole ([`Fixed`](crate::model::Fixed)), so that sums are exact.

mod demand;
mod gate;
mod parked;
mod rate;
#[cfg(test)]
mod tests;

pub use self::demand::{Demand, shortfall, worse};
pub use self::gate::{Gate, PATIENCE, Ticket, Waiting};
