//! Measurements of a child's memory, each on a thread of its own (L11).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::process::blocking::spawn_blocking;
use crate::process::containment::Held;
use crate::process::os::Pid;

/// The measurement that is under way, if one is.
#[derive(Default)]
pub(super) struct Memory {
    /// `None` inside: the system gave no thread for it.
    under_way: Option<Option<oneshot::Receiver<u64>>>,
}

impl Memory {
    /// Begins one, unless one is under way.
    pub(super) fn measure(&mut self, held: &Arc<Held>, leader: Pid) {
        let held = held.clone();
        // It reads a file for each process of the machine, so it never runs on the engine's thread.
        self.under_way.get_or_insert_with(|| spawn_blocking(move || held.resident(leader)).ok());
    }

    /// Its result; `None` if there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let resident = match &mut self.under_way {
            None => return Poll::Pending,
            Some(None) => None,
            Some(Some(measured)) => std::task::ready!(Pin::new(measured).poll(cx)).ok(),
        };
        self.under_way = None;
        Poll::Ready(resident)
    }
}
