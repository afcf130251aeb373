//! Closes the engine's private descriptors in processes that the program forks (L7).
//!
//! A forked process has copies of all descriptors. They would keep the pipes of the guardian and the workers open, so a
//! `kill -9` of the program would go unnoticed. The copy closes them first: `pthread_atfork` runs the functions below on
//! each `fork`, also one of Python's. `posix_spawn` and `vfork` do not run them; there, close-on-exec applies. A `clone`
//! system call that bypasses the C library keeps the descriptors.

use std::cell::UnsafeCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::model;

/// The open private descriptors. The lock is held while descriptors are made or closed, and across a fork, so the list is
/// exact in each copy. It is never held while a process is started, which may fork.
static OPEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

fn open() -> MutexGuard<'static, Vec<RawFd>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A descriptor that forked processes close.
#[derive(Debug)]
pub(super) struct PrivateFd(RawFd);

/// Makes descriptors. The first `N` are private. No fork happens meanwhile.
pub(super) fn private<const N: usize, T, E: From<io::Error>>(
    make: impl FnOnce() -> Result<([OwnedFd; N], T), E>,
) -> Result<([PrivateFd; N], T), E> {
    watch_forks()?;
    let mut open = open();
    let (made, rest) = make()?;
    let made = made.map(|fd| PrivateFd(fd.into_raw_fd()));
    open.extend(made.iter().map(|fd| fd.0));
    Ok((made, rest))
}

impl AsRawFd for PrivateFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl AsFd for PrivateFd {
    #[expect(unsafe_code, reason = "the number of a descriptor that it owns")]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: it is open until `self` is dropped.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl Drop for PrivateFd {
    #[expect(unsafe_code, reason = "the number of a descriptor that it owns")]
    fn drop(&mut self) {
        let mut open = open();
        // A forked process has closed it, and may use the number for something else.
        if let Some(at) = open.iter().position(|fd| *fd == self.0) {
            open.swap_remove(at);
            // SAFETY: it was open, as the list says, and nothing else owns it.
            drop(unsafe { OwnedFd::from_raw_fd(self.0) });
        }
    }
}

/// Where the lock is kept over a fork.
struct OverFork(UnsafeCell<Option<MutexGuard<'static, Vec<RawFd>>>>);

#[expect(unsafe_code, reason = "the cell is the lock holder's alone")]
// SAFETY: it is touched by the functions below only, by a thread that holds the lock: the one that forks.
unsafe impl Sync for OverFork {}

static OVER_FORK: OverFork = OverFork(UnsafeCell::new(None));

/// Registers the fork handlers, once for the whole process. Making a private descriptor does it, too.
///
/// # Errors
/// If the system has no memory for it.
pub fn watch_forks() -> io::Result<()> {
    static RESULT: OnceLock<i32> = OnceLock::new();
    #[expect(unsafe_code, reason = "the standard library knows nothing of forks")]
    let result = *RESULT.get_or_init(|| {
        // SAFETY: the functions live as long as the program and do not unwind.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) }
    });
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    model::forks_are_told();
    Ok(())
}

#[expect(unsafe_code, reason = "the lock has to outlast the function")]
extern "C" fn before() {
    let held = open();
    // SAFETY: this thread holds the lock.
    unsafe { *OVER_FORK.0.get() = Some(held) };
}

#[expect(unsafe_code, reason = "the lock has outlasted its function")]
extern "C" fn in_parent() {
    // SAFETY: this thread took the lock in `before`; the guard is out of the cell before it is let go.
    let held = unsafe { (*OVER_FORK.0.get()).take() };
    drop(held);
}

/// Allocates nothing and calls nothing but `close`: the copy has one thread, and the others' locks.
#[expect(unsafe_code, reason = "the lock has outlasted its function")]
extern "C" fn in_child() {
    model::forked();
    // SAFETY: the only thread here is the one that took the lock in `before`.
    if let Some(mut open) = unsafe { (*OVER_FORK.0.get()).take() } {
        for fd in open.drain(..) {
            // SAFETY: it was open, as the list says, and what owned it does not run in this process.
            unsafe { libc::close(fd) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> ([PrivateFd; 1], OwnedFd) {
        private(|| {
            let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            Ok::<_, io::Error>(([ours], theirs))
        })
        .expect("a pipe")
    }

    /// Runs `check` in a process that is forked off; it may use nothing that another thread could hold.
    #[expect(unsafe_code, reason = "there is no fork in the standard library")]
    fn in_a_copy(check: impl FnOnce() -> bool) -> bool {
        let mut status = 0;
        // SAFETY: the copy calls `check`, which keeps the promise above, and ends; the parent waits for it.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::_exit(i32::from(!check()));
            }
            assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
        }
        status == 0
    }

    #[test]
    fn l7_a_copy_has_no_descriptor_of_the_engines_and_may_use_the_numbers_anew() {
        let ([ours], theirs) = pipe();
        let number = ours.as_raw_fd();
        let is_open = |fd: BorrowedFd<'_>| rustix::io::fcntl_getfd(fd).is_ok();
        assert!(in_a_copy(|| {
            let gone = !is_open(ours.as_fd()) && is_open(theirs.as_fd());
            let again = rustix::io::fcntl_dupfd_cloexec(&theirs, number).is_ok_and(|fd| {
                let same = fd.as_raw_fd() == number;
                // What the copy has of the owner says nothing about the new one.
                drop(ours);
                let kept = is_open(fd.as_fd());
                std::mem::forget(fd);
                same && kept
            });
            gone && again
        }));
        // This process has lost its variable to the closure, and the descriptor with it.
        assert!(rustix::io::read(&theirs, &mut [0; 1][..]).is_ok_and(|count| count == 0));
    }

    #[test]
    fn a_copy_makes_other_ids_than_the_process_that_it_was_copied_from() {
        watch_forks().expect("handlers");
        let low = || model::fresh_uuid().as_u64_pair().1;
        low();
        let (theirs, ours) = rustix::pipe::pipe().expect("a pipe");
        assert!(in_a_copy(|| rustix::io::write(&ours, &low().to_ne_bytes()).is_ok()));
        let mut copied = [0; 8];
        rustix::io::read(&theirs, &mut copied[..]).expect("eight bytes");
        assert_ne!(u64::from_ne_bytes(copied), low());
    }

    #[test]
    fn the_list_knows_what_is_open_and_nothing_else() {
        // Where another thread takes the number at once, another one is tried.
        let is_forgotten = || {
            let ([ours], _theirs) = pipe();
            let number = ours.as_raw_fd();
            assert!(open().contains(&number));
            drop(ours);
            !open().contains(&number)
        };
        assert!((0..1000).any(|_| is_forgotten()));
        let failed = private::<1, (), _>(|| Err(io::Error::other("no")));
        assert!(failed.is_err());
    }
}
