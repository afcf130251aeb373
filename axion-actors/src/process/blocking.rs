//! Blocking work, off the engine's thread (L11).
//!
//! Each piece of work has a thread of its own. Tokio's pool for blocking work panics where the system gives no thread,
//! so a task that uses up all processes of its user or its control group would take the engine along (L8). And the
//! engine does not wait at its end for work that is stuck.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use tokio::sync::oneshot;

/// The system gives no thread now. Returns the work.
#[derive(Debug)]
pub(super) struct NoThread<F> {
    pub(super) work: F,
    pub(super) error: io::Error,
}

/// Does work on a thread of its own. The receiver gets its result, or an error if the work panics.
pub(super) fn spawn_blocking<T, F>(work: F) -> Result<oneshot::Receiver<T>, NoThread<F>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    on(Builder::new(), work)
}

/// The same, but on this thread if the system gives no other. `None` if the work panics.
pub(crate) async fn offload_or_inline<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match spawn_blocking(work) {
        Ok(done) => done.await.ok(),
        Err(NoThread { work, error }) => {
            tracing::debug!(%error, "no thread for blocking work; it runs on the engine's thread");
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
    // A failed spawn drops its closure: the work comes back through this.
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
        let there = offload_or_inline(|| std::thread::current().id()).await;
        assert!(there.is_some_and(|there| there != here));
        assert_eq!(offload_or_inline(|| assert!(std::hint::black_box(false), "on purpose")).await, None);
    }

    #[test]
    fn l8_where_there_is_no_thread_the_work_comes_back() {
        // No system gives a thread such a stack.
        let Err(refused) = on(Builder::new().stack_size(1 << 60), || 7) else { panic!("a thread was made") };
        assert_eq!((refused.work)(), 7);
        assert!(refused.error.raw_os_error().is_some(), "{}", refused.error);
    }
}
