//! Random ids that no other process makes, also none that was forked from this one.
//!
//! The random bits are the system's. A generator in memory would continue with the same numbers in a forked process. A
//! system call for each id would be a tenth of the work of a submit, so a thread takes many numbers at a time, and drops
//! those that it has left in a forked copy. Until somebody tells of forks ([`forks_are_told`]), each number is fetched alone.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use super::time::wall_since_epoch;

/// How many numbers a thread takes at a time.
const BATCH: usize = 64;

/// Counts the forks between the first process and this one, from 1 on; 0 as long as nobody tells of forks.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The time of the latest id, in units of 1/4096 ms.
static LATEST: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static NUMBERS: RefCell<Batch> = const { RefCell::new(Batch { forks: 0, left: 0, numbers: [0; BATCH] }) };
}

/// From now on [`forked`] is called in each forked copy.
pub(crate) fn forks_are_told() {
    let _ = FORKS.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
}

/// This process has just been forked. Allocates nothing and takes no lock.
pub(crate) fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// A new UUID v7. Its time is that of its making, to the 4096th of a millisecond, or a little later: each one is larger than
/// all that this process has made before. Its lower 62 bits are random.
pub(crate) fn fresh_uuid() -> Uuid {
    let now = ticks(wall_since_epoch());
    let later = |latest: u64| now.max(latest + 1);
    // Never refused.
    let before = LATEST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |latest| Some(later(latest)));
    let time = later(before.unwrap_or_else(|latest| latest));
    let (version, variant) = (7 << 12, 0b10 << 62);
    Uuid::from_u64_pair((time >> 12 << 16) | version | (time & 0xfff), variant | (random() >> 2))
}

fn ticks(since_epoch: Duration) -> u64 {
    since_epoch.as_secs() * 1000 * 4096 + u64::from(since_epoch.subsec_nanos()) * 4096 / 1_000_000
}

fn random() -> u64 {
    match FORKS.load(Ordering::Relaxed) {
        0 => of_system(),
        // A thread that ends has no batch any more.
        forks => NUMBERS.try_with(|batch| batch.borrow_mut().next(forks)).unwrap_or_else(|_| of_system()),
    }
}

/// Random numbers of a thread, taken when `forks` forks had been counted.
struct Batch {
    forks: u32,
    left: usize,
    numbers: [u64; BATCH],
}

impl Batch {
    fn next(&mut self, forks: u32) -> u64 {
        if self.left == 0 || self.forks != forks {
            let mut bytes = [0; BATCH * size_of::<u64>()];
            if getrandom::fill(&mut bytes).is_err() {
                return of_system();
            }
            for (number, bytes) in self.numbers.iter_mut().zip(bytes.as_chunks().0) {
                *number = u64::from_ne_bytes(*bytes);
            }
            (self.forks, self.left) = (forks, BATCH);
        }
        self.left -= 1;
        self.numbers[self.left]
    }
}

/// One number of the system's. If it gives none, one of what tells this moment of this thread from others.
fn of_system() -> u64 {
    getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(wall_since_epoch()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_their_making_and_say_when_that_was() {
        let ids: Vec<Uuid> = (0..10_000).map(|_| fresh_uuid()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122));
        let now = wall_since_epoch().as_secs();
        let (made, _) = ids[0].get_timestamp().expect("a time").to_unix();
        assert!(now.abs_diff(made) < 3600, "{made} at {now}");
    }

    #[test]
    fn a_forked_copy_drops_the_numbers_that_it_has_left() {
        let mut here = Batch { forks: 0, left: 0, numbers: [0; BATCH] };
        let first = here.next(1);
        let mut copy = Batch { forks: here.forks, left: here.left, numbers: here.numbers };
        let (ours, theirs) = (here.next(1), copy.next(2));
        assert!(first != ours && ours != theirs, "{first} {ours} {theirs}");
        assert_eq!(here.left, BATCH - 2);
    }

    #[test]
    fn every_number_of_a_batch_is_another_one() {
        let mut batch = Batch { forks: 0, left: 0, numbers: [0; BATCH] };
        let mut numbers: Vec<u64> = (0..3 * BATCH).map(|_| batch.next(1)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 3 * BATCH);
    }
}
