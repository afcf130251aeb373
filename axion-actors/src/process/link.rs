//! The engine's writing end towards one child: what the handle and the pump of a real child share.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::os::{self, PayloadSocket, Pid, Pipe, StatusPage};
use super::{Child, ControlDown, Down, Progress};
use crate::model::{Payload, Seq};
use crate::wire::{WireError, encode, encode_before};

/// The size of the frames in which a payload travels that fits into no frame.
const PIECE: usize = 512 << 10;

/// The largest frame and the largest payload that either side may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct WireLimits {
    pub(super) frame: usize,
    pub(super) payload: usize,
}

/// Outgoing bytes. The pipe takes what it can at once; the pump writes the rest.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) pipe: Option<Rc<Pipe>>,
    /// Frames with a large payload each. They precede `held`.
    large: VecDeque<(Vec<u8>, Bytes)>,
    held: Vec<u8>,
    /// The bytes of the first piece that the pipe has taken.
    written: usize,
    /// The bytes that the pipe has taken so far.
    total: u64,
    /// Close the pipe once everything has been written.
    closing: bool,
}

impl Outgoing {
    /// Writes what the pipe takes now. The windows of the scheduler bound the rest (L9).
    pub(super) fn flush(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        loop {
            let piece = match self.large.front() {
                Some((head, payload)) => match head.get(self.written..) {
                    Some(rest) if !rest.is_empty() => rest,
                    _ => &payload[self.written - head.len()..],
                },
                None => &self.held[self.written..],
            };
            if piece.is_empty() {
                if self.large.is_empty() {
                    break;
                }
                self.large.pop_front();
                self.written = 0;
                continue;
            }
            match pipe.write_now(piece) {
                Ok(count) => {
                    self.written += count;
                    self.total += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    // The child is gone; its exit will say how.
                    self.large.clear();
                    self.written = self.held.len();
                }
            }
        }
        // Moves the rest only when that is no more work than the write was.
        if self.large.is_empty() && self.written * 2 >= self.held.len() {
            self.held.drain(..self.written);
            self.written = 0;
        }
        if self.closing && self.is_empty() {
            self.pipe = None;
        }
    }

    fn is_empty(&self) -> bool {
        self.large.is_empty() && self.held.is_empty()
    }

    /// The pipe to wait for, if something is left to be written.
    pub(super) fn waiting(&self) -> Option<Rc<Pipe>> {
        if self.is_empty() { None } else { self.pipe.clone() }
    }

    /// Appends a frame whose payload is not copied.
    fn put_large(&mut self, head: &Down, payload: Bytes, frame_limit: usize) -> Result<(), WireError> {
        let mut frame = std::mem::take(&mut self.held);
        if self.large.is_empty() {
            // `held` was the first piece until now.
            frame.drain(..std::mem::take(&mut self.written));
        }
        let put = encode_before(head, payload.len(), frame_limit, &mut frame);
        match put {
            Ok(()) => self.large.push_back((frame, payload)),
            Err(_) => self.held = frame,
        }
        put
    }
}

/// Shared by the handle and the pump, on one thread.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) data: RefCell<Outgoing>,
    pub(super) control: RefCell<Outgoing>,
    /// Wakes the pump when it has something to write.
    pub(super) wake: Notify,
    /// Where the child notes what it runs, once it has started.
    page: OnceCell<StatusPage>,
    payloads: OnceCell<Rc<PayloadSocket>>,
    /// The leader of the group, from its start until it is about to be reaped.
    leader: Cell<Option<Pid>>,
    kill_at_start: Cell<bool>,
    /// The attempt that the pump has to kill.
    pub(super) kill_requested: Cell<Option<Seq>>,
    /// The pump has to measure the memory.
    pub(super) measure_requested: Cell<bool>,
    /// The process that sent the handshake. Behind a wrapper it is not the process that was started.
    pub(super) interpreter: Cell<Option<u32>>,
    /// The highest attempt that was sent.
    last_sent: Cell<Option<Seq>>,
    frame_limit: usize,
}

impl Link {
    pub(super) fn new(frame_limit: usize) -> Rc<Self> {
        Rc::new(Self {
            data: RefCell::default(),
            control: RefCell::default(),
            wake: Notify::new(),
            page: OnceCell::new(),
            payloads: OnceCell::new(),
            leader: Cell::new(None),
            kill_at_start: Cell::new(false),
            kill_requested: Cell::new(None),
            measure_requested: Cell::new(false),
            interpreter: Cell::new(None),
            last_sent: Cell::new(None),
            frame_limit,
        })
    }

    /// The process is there.
    pub(super) fn attach(&self, leader: Pid) {
        self.leader.set(Some(leader));
        if self.kill_at_start.get() {
            os::kill_group(leader);
        }
    }

    /// Its pipes and the socket for payloads are there, and the page in which it notes what it runs.
    pub(super) fn connect(&self, data: Pipe, control: Pipe, payloads: Rc<PayloadSocket>, page: StatusPage) {
        let _ = self.payloads.set(payloads);
        self.data.borrow_mut().pipe = Some(Rc::new(data));
        self.control.borrow_mut().pipe = Some(Rc::new(control));
        let _ = self.page.set(page);
    }

    /// The process has ended and is about to be reaped: kills what is left of its group while its number still names that
    /// group (L6).
    pub(super) fn detach(&self) {
        if let Some(leader) = self.leader.take() {
            os::kill_group(leader);
        }
    }

    pub(super) fn kill(&self) {
        match self.leader.get() {
            Some(leader) => os::kill_group(leader),
            None => self.kill_at_start.set(true),
        }
    }

    /// What the child's status page says; `None` if it has none or spoilt it.
    pub(super) fn page(&self) -> Option<Vec<Seq>> {
        self.page.get()?.running()
    }

    /// The same, but `None` also if it cannot be true: a task can write there, too (L8).
    pub(super) fn running(&self) -> Option<Vec<Seq>> {
        self.page().filter(|running| self.can_be_true(running))
    }

    /// The attempts that have started, as far as the page goes back, which is beyond all that are in flight.
    pub(super) fn started(&self) -> Option<Vec<Seq>> {
        self.page.get()?.started().filter(|started| self.can_be_true(started))
    }

    fn can_be_true(&self, seqs: &[Seq]) -> bool {
        seqs.iter().all(|seq| Some(*seq) <= self.last_sent.get())
    }

    /// Whether the engine has closed the data pipe, so that the child will close its own.
    pub(super) fn is_finishing(&self) -> bool {
        self.data.borrow().closing
    }

    /// Appends messages and writes what the pipe takes. A message above the frame limit kills the worker: admission
    /// refuses such tasks, so it is a bug of the engine.
    pub(super) fn push<T: serde::Serialize>(&self, outgoing: &RefCell<Outgoing>, messages: &[T]) {
        let mut outgoing = outgoing.borrow_mut();
        for message in messages {
            if let Err(error) = encode(message, self.frame_limit, &mut outgoing.held) {
                tracing::error!(%error, "a message to a worker cannot be encoded; ending the worker");
                self.kill();
            }
        }
        outgoing.flush();
        if !outgoing.is_empty() {
            self.wake.notify_one();
        }
    }

    /// As [`push`](Self::push), without a copy of large payloads.
    fn push_large(&self, messages: &[Down]) {
        for message in messages {
            let Some(payload) = message.large_payload() else {
                self.push(&self.data, std::slice::from_ref(message));
                continue;
            };
            if let Err(error) = self.put_payload(message, payload) {
                tracing::error!(%error, "a message to a worker cannot be encoded; ending the worker");
                self.kill();
            }
        }
        self.push::<Down>(&self.data, &[]);
    }

    /// Appends a message with a large payload. The payload travels by a descriptor if it lies in shared memory and the
    /// socket takes it, else in the message's frame, else in frames of its own.
    fn put_payload(&self, message: &Down, payload: &Payload) -> Result<(), WireError> {
        let mut data = self.data.borrow_mut();
        if self.payloads.get().is_some_and(|socket| socket.send(payload)) {
            return encode(&message.apart(true), self.frame_limit, &mut data.held);
        }
        let bytes: &Bytes = payload;
        match data.put_large(&message.head(), bytes.clone(), self.frame_limit) {
            Err(WireError::TooLarge { .. }) => {}
            put => return put,
        }
        let piece = Down::Piece { data: Bytes::new() };
        for start in (0..bytes.len()).step_by(PIECE) {
            let end = bytes.len().min(start + PIECE);
            data.put_large(&piece, bytes.slice(start..end), self.frame_limit)?;
        }
        encode(&message.apart(false), self.frame_limit, &mut data.held)
    }
}

/// The handle of a real child.
#[derive(Debug)]
pub(super) struct RealChild(pub(super) Rc<Link>);

impl Child for RealChild {
    fn send(&mut self, messages: &[Down]) {
        if let Some(seq) = messages.last().and_then(Down::begins) {
            self.0.last_sent.set(Some(seq));
        }
        // Large messages are rare.
        if messages.iter().any(|message| message.large_payload().is_some()) {
            self.0.push_large(messages);
        } else {
            self.0.push(&self.0.data, messages);
        }
    }

    fn control(&mut self, message: &ControlDown) {
        self.0.push(&self.0.control, std::slice::from_ref(message));
    }

    fn finish(&mut self) {
        let mut data = self.0.data.borrow_mut();
        data.closing = true;
        data.flush();
        self.0.wake.notify_one();
    }

    fn kill_attempt(&mut self, seq: Seq) {
        self.0.kill_requested.set(Some(seq));
        self.0.wake.notify_one();
    }

    fn kill(&mut self) {
        self.0.kill();
    }

    fn progress(&self) -> Progress {
        Progress { running: self.0.running(), written: self.0.data.borrow().total }
    }

    fn measure(&mut self) {
        self.0.measure_requested.set(true);
        self.0.wake.notify_one();
    }
}

impl Drop for RealChild {
    fn drop(&mut self) {
        self.0.kill();
    }
}
