//! What may run at the same time: slots, processors, memory, and limits by key.
//!
//! A [`Gate`] starts a waiting task when its limits allow it. The tasks that run never use more than the capacity,
//! and no task waits for ever:
//!
//! * Tasks of one priority with the same demand and the same keys wait in one line, first in, first out.
//! * The gate probes the heads of the lines by priority and then by arrival (L12). Other tasks may overtake a head
//!   that cannot start at most [`MAX_OVERTAKES`] times. Then the line is *starved*: the gate reserves its keys, and
//!   its capacity as soon as its key has room. A task of the same or a lower priority that arrived later and uses
//!   anything reserved waits until the starved one has started. Running tasks end, so it starts some day.
//! * A line whose rate allows no start yet reserves nothing and overtakes nobody.
//!
//! The gate does not probe a line that cannot start. Each line is parked under one condition: its rate, its key, or
//! shared capacity. Rate waiters wake on a timer, one after another while the rate allows a start. Key waiters wake
//! when a task with the key ends. Capacity waiters wake once per distinct demand. So a start costs the same however
//! many keys there are. Only distinct unmet demands, and lines whose key is reserved for others, are walked over,
//! and that walk is bounded.
//!
//! The numbers are integers ([`Fixed`](crate::model::Fixed)), so sums are exact.

mod demand;
mod gate;
mod line;
mod rate;
#[cfg(test)]
mod tests;
mod waiters;

pub use self::demand::{Demand, shortfall, worse};
pub use self::gate::{Gate, GateWaiter, MAX_OVERTAKES, Permit};
