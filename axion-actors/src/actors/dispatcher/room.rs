//! The room of the admission that the tasks in the queues hold (L9).

/// Places, and units of bytes. What comes back from workers may make the tasks that wait more than their bound for
/// a while; none holds room twice.
#[derive(Debug, Default)]
pub(super) struct QueuedRoom {
    places: usize,
    units: usize,
}

impl QueuedRoom {
    /// A task has passed the admission, which gave it a place and these units.
    pub(super) fn enter(&mut self, units: u32) {
        self.places += 1;
        self.units += units as usize;
    }

    /// Gives back the room that `count` waiting tasks with `bytes` of parameters do not need.
    pub(super) fn spare(&mut self, (count, bytes): (usize, usize)) -> (usize, usize) {
        // Each task's bytes were rounded down, so this is at least what those that wait hold.
        let needed = (bytes >> 10).min(self.units);
        let places = self.places.saturating_sub(count);
        let units = if count == 0 { self.units } else { self.units - needed };
        (self.places, self.units) = (self.places - places, self.units - units);
        (places, units)
    }
}
