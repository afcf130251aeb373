//! Work that may block, away from the engine's thread (L11).
//!
//! On a thread of its own for each piece, not on the runtime's threads for blocking work: where the system
//! gives no thread, those panic, and a task that has used up all processes of its user, or of its control
//! group, would take the engine along (L8). Nor does the end of the engine wait for one that is stuck.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use tokio::sync::oneshot;

/// The system gives no thread at present, and this is the work back.
#[derive(Debug)]
pub(super) struct NoThread<F> {
    pub(super) work: F,
    pub(super) error: io::Error,
}

/// Has work done on a thread of its own. The receiver gets what it comes to; nothing if it panics.
pub(super) fn aside<T, F>(work: F) -> Result<oneshot::Receiver<T>, NoThread<F>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    on(Builder::new(), work)
}

/// The same, but here if there is no thread: a moment of the engine's time is better than not at all.
/// `None` if the work panics.
pub(crate) async fn aside_or_here<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match aside(work) {
        Ok(done) => done.await.ok(),
        Err(NoThread { work, error }) => {
            tracing::debug!(%error, "no thread for work that may block: the engine's own does it");
            Some(work())
        }
    }
}

fn on<T, F>(thread: Builder, work: F) -> Result<oneshot::Receiver<T>, NoThread<F>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, done) = oneshot::channel();
    // A thread that cannot be made keeps what it was to do: this is the way back.
    let held = Arc::new(Mutex::new(Some(work)));
    let taken = held.clone();
    let spawned = thread.spawn(move || {
        let work = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            let _ = sender.send(work());
        }
    });
    match (spawned, held) {
        (Ok(_), _) => Ok(done),
        (Err(error), held) => {
            let work = held.lock().unwrap_or_else(PoisonError::into_inner).take();
            match work {
                Some(work) => Err(NoThread { work, error }),
                None => Ok(done), // it was done after all
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn work_is_done_on_another_thread_and_a_panic_there_is_no_panic_here() {
        let here = std::thread::current().id();
        let there = aside_or_here(|| std::thread::current().id()).await;
        assert!(there.is_some_and(|there| there != here));
        assert_eq!(aside_or_here(|| assert!(std::hint::black_box(false), "on purpose")).await, None);
    }

    #[test]
    fn l8_where_there_is_no_thread_the_work_comes_back() {
        // No system gives a thread such a stack.
        let Err(refused) = on(Builder::new().stack_size(1 << 60), || 7) else { panic!("a thread was made") };
        assert_eq!((refused.work)(), 7);
        assert!(refused.error.raw_os_error().is_some(), "{}", refused.error);
    }
}
