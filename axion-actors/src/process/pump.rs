//! The pump of a real child: reads all that the child writes, kills attempts, and detects its end.
//!
//! Each child has one pump: a task on the engine's thread that waits for all descriptors of the child at once (L11).

mod memory;
mod payloads;
mod source;
mod stacks;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::futures::Notified;
use tokio::sync::mpsc;

use self::memory::Memory;
use self::payloads::Payloads;
use self::source::{LAST_READS, READ, Source};
use self::stacks::Stacks;
use super::blocking::{offload_or_inline, spawn_blocking};
use super::containment::Held;
use super::interpreter::Interpreter;
use super::link::{Link, Outgoing, WireLimits};
use super::os::{self, Connection, Exit, Guardian, KillPipe, MemoryKills, Pid, Process};
use super::{ChildEvent, ChildExit, ExitCause, StartError};
use crate::model::{ProcessExit, Seq, Stream};
use crate::wire::{CONTROL_LIMIT, ControlUp, Down, FrameReader, Up, WireError};

/// The most messages that are taken from the data pipe in one turn. The others wait in the reader, so a child that floods
/// delays the tasks of other children by one turn, not by all that it has written (L8).
const TURN: usize = 64;
/// The bytes kept from the end of standard error.
const TAIL: usize = 8 << 10;
/// How long a process may outlive its data pipe.
const PIPE_GRACE: Duration = Duration::from_secs(1);
/// How long a process group may take to stop. The kill goes on without it after that.
const STOP: Duration = Duration::from_millis(10);

/// What the pump found when it was woken.
enum Input {
    /// Bytes were read from the data pipe into its reader, or it ended.
    Data,
    /// The same for the control socket.
    Control,
    /// Bytes of fd 1 or 2 are in the scratch buffer; none at the end of the pipe. With the attempts that the status page
    /// named just before the read.
    Raw(Stream, Option<Vec<Seq>>),
    /// An attempt is to be killed.
    Kill(Seq),
    /// The memory was measured, or could not be.
    Memory(Option<u64>),
    /// The process has ended.
    Exit,
}

/// Reads everything a child writes and notices its end.
pub(super) struct Pump {
    link: Rc<Link>,
    guardian: Arc<Guardian>,
    held: Arc<Held>,
    /// Its end kills the group, also when the engine is killed.
    _kill_pipe: KillPipe,
    pid: Pid,
    exit: Exit,
    data: Source,
    control: Source,
    raw: [(Stream, Source); 2],
    stacks: Stacks,
    memory: Memory,
    payloads: Payloads,
    /// The kernel's count of out-of-memory kills when the process started.
    memory_kills: Option<u64>,
    explained: Rc<MemoryKills>,
    data_frames: FrameReader,
    /// Whole frames may be left in `data_frames`.
    more_frames: bool,
    control_frames: FrameReader,
    scratch: Vec<u8>,
    stderr_tail: Vec<u8>,
    /// It was killed because of an attempt.
    killed: bool,
    /// Why it was killed for breaking the protocol.
    violation: Option<String>,
    /// The first message has come.
    met: bool,
    /// The data pipe has ended and the process has not. When this timer is due, the process is killed.
    pipe_grace: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Raw output came last, so that the other pipes have their turn first.
    raw_last: bool,
}

impl Pump {
    /// The pump of a process that has just been started. `runtime` is the folder of the runtime's files.
    pub(super) fn new(
        process: Process,
        held: Held,
        guardian: Arc<Guardian>,
        link: Rc<Link>,
        limits: WireLimits,
        runtime: String,
        explained: Rc<MemoryKills>,
    ) -> Result<Self, StartError> {
        let pid = process.pid;
        link.attach(pid);
        let connection = process.connect().inspect_err(|_| {
            link.detach();
            guardian.forget(pid);
            let _ = os::reap(pid);
        })?;
        let Connection { exit, data_in, data_out, raw_out, raw_err, .. } = connection;
        let Connection { control_in, control_out, stacks, payloads, kill_pipe, page, .. } = connection;
        let payloads = Rc::new(payloads);
        link.connect(data_in, control_in, payloads.clone(), page);
        Ok(Self {
            link,
            guardian,
            held: Arc::new(held),
            _kill_pipe: kill_pipe,
            pid,
            exit,
            data: Source::new(data_out),
            control: Source::new(control_out),
            raw: [(Stream::Stdout, Source::new(raw_out)), (Stream::Stderr, Source::new(raw_err))],
            stacks: Stacks::new(stacks, runtime),
            memory: Memory::default(),
            payloads: Payloads::new(payloads, limits.payload),
            memory_kills: os::out_of_memory_kills(),
            explained,
            data_frames: FrameReader::new(limits.frame),
            more_frames: false,
            control_frames: FrameReader::new(CONTROL_LIMIT),
            scratch: Vec::new(),
            stderr_tail: Vec::new(),
            killed: false,
            violation: None,
            met: false,
            pipe_grace: None,
            raw_last: false,
        })
    }

    /// The first message to the process.
    pub(super) fn configure(&self, configure: Down) {
        self.link.push(&self.link.data, &[configure]);
    }

    /// Pumps until the process has ended.
    pub(super) async fn run(&mut self, events: &mpsc::Sender<ChildEvent>, interpreter: &Interpreter) {
        let link = self.link.clone();
        let mut wake = std::pin::pin!(link.wake.notified());
        loop {
            let input = poll_fn(|cx| self.poll(cx, &link, &mut wake)).await;
            let event = match input {
                Input::Exit => return,
                Input::Raw(stream, running) => self.raw_event(stream, running),
                Input::Data => self.data_event(),
                Input::Control => self.control_event(),
                Input::Kill(seq) => self.kill_attempt(seq, events).await,
                Input::Memory(resident) => Some(ChildEvent::Measured { resident }),
            };
            let used_turn = self.more_frames || self.raw_last;
            if let Some(ChildEvent::Messages(messages)) = &event
                && !std::mem::replace(&mut self.met, true)
            {
                self.meet(messages, interpreter);
            }
            if let Some(event) = event {
                // Waits until the worker actor catches up. If the actor is gone, its handle has killed the process; the
                // pump then reads until the process ends.
                let _ = events.send(event).await;
            }
            if used_turn {
                tokio::task::yield_now().await;
            }
        }
    }

    fn poll<'a>(&mut self, cx: &mut Context<'_>, link: &'a Link, wake: &mut Pin<&mut Notified<'a>>) -> Poll<Input> {
        while wake.as_mut().poll(cx).is_ready() {
            wake.set(link.wake.notified());
        }
        if let Some(seq) = link.kill_requested.take() {
            return Poll::Ready(Input::Kill(seq));
        }
        if link.measure_requested.take() {
            self.memory.measure(&self.held, self.pid);
        }
        if let Poll::Ready(resident) = self.memory.poll(cx) {
            return Poll::Ready(Input::Memory(resident));
        }
        for outgoing in [&link.data, &link.control] {
            outgoing.borrow_mut().flush();
            poll_writable(cx, outgoing);
        }
        if !self.raw_last {
            let raw = self.poll_raw(cx);
            if raw.is_ready() {
                return raw;
            }
        }
        if self.more_frames {
            return Poll::Ready(Input::Data);
        }
        match poll_frames(&mut self.data, &mut self.data_frames, cx) {
            Poll::Ready(Ok(count)) => {
                if count == 0 && !link.is_finishing() {
                    self.pipe_grace = Some(Box::pin(tokio::time::sleep(PIPE_GRACE)));
                }
                return Poll::Ready(Input::Data);
            }
            Poll::Ready(Err(error)) => self.violated(error.to_string()),
            Poll::Pending => {}
        }
        match poll_frames(&mut self.control, &mut self.control_frames, cx) {
            Poll::Ready(Ok(_)) => return Poll::Ready(Input::Control),
            Poll::Ready(Err(error)) => self.violated(error.to_string()),
            Poll::Pending => {}
        }
        if self.exit.poll(cx).is_ready() {
            return Poll::Ready(Input::Exit);
        }
        if self.pipe_grace.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
            self.pipe_grace = None;
            self.violated("it closed its result pipe and lives on".to_owned());
        }
        if std::mem::take(&mut self.raw_last) {
            return self.poll_raw(cx);
        }
        Poll::Pending
    }

    /// Reads what was written below Python. It comes before the results, but never twice in a row, so a flood on fd 1
    /// does not delay them.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        let link = &self.link;
        for (stream, source) in &mut self.raw {
            self.scratch.clear();
            self.scratch.reserve(READ);
            let mut before = None;
            if source.poll_read(cx, &mut self.scratch, || before = link.page()).is_ready() {
                self.raw_last = true;
                let after = link.page().unwrap_or_default();
                // The owner is certain only if no other attempt has begun meanwhile.
                let running = before.filter(|before| after.is_empty() || after == *before);
                return Poll::Ready(Input::Raw(*stream, running));
            }
        }
        Poll::Pending
    }

    /// Handles the first message. The runtime sends it before any user code runs.
    fn meet(&self, messages: &[Up], interpreter: &Interpreter) {
        if let Some(Up::Ready { pid, executable, .. }) = messages.first() {
            self.link.interpreter.set(Some(*pid));
            interpreter.learn(executable);
        }
    }

    fn data_event(&mut self) -> Option<ChildEvent> {
        let mut messages: Vec<Up> = Vec::new();
        let drained = self.data_frames.drain_up(&mut messages, TURN).map_err(|error| error.to_string());
        self.more_frames = messages.len() == TURN;
        let completed = self.payloads.complete(&mut messages);
        if let Err(violation) = completed.and(drained) {
            self.violated(violation);
        }
        (!messages.is_empty()).then_some(ChildEvent::Messages(messages))
    }

    fn control_event(&mut self) -> Option<ChildEvent> {
        let mut messages: Vec<ControlUp> = Vec::new();
        if let Err(error) = self.control_frames.drain(&mut messages) {
            self.violated(error.to_string());
        }
        (!messages.is_empty()).then_some(ChildEvent::Control(messages))
    }

    /// Attributes captured bytes to the attempt that ran before the read, if only one did. A worker with one slot empties
    /// the pipes itself before it ends a task.
    fn raw_event(&mut self, stream: Stream, running: Option<Vec<Seq>>) -> Option<ChildEvent> {
        if self.scratch.is_empty() {
            return None;
        }
        if stream == Stream::Stderr {
            keep_tail(&mut self.stderr_tail, &self.scratch);
        }
        let seq = running.filter(|seqs| seqs.len() == 1).map(|seqs| seqs[0]);
        Some(ChildEvent::Raw { stream, seq, data: Bytes::copy_from_slice(&self.scratch) })
    }

    /// The child broke the protocol: kills it and ignores all further messages (L8).
    fn violated(&mut self, violation: String) {
        self.violation.get_or_insert(violation);
        self.more_frames = false;
        self.data.close();
        self.control.close();
        self.link.kill();
    }

    /// Kills the process because of one attempt. This order has no race (L6): while the group is stopped, the pipe holds
    /// everything that was written. If the result is not in it, the attempt has not ended, and the worker has not started
    /// another one (L2).
    ///
    /// The time is bounded, whatever is in the pipe: each step has a limit, and the reads are counted.
    async fn kill_attempt(&mut self, seq: Seq, events: &mpsc::Sender<ChildEvent>) -> Option<ChildEvent> {
        let leader = self.pid;
        // A wrapper around the interpreter does not handle the signal that forces a dump, and would die of it.
        let may_force = self.link.interpreter.get() == u32::try_from(leader.as_raw_pid()).ok();
        self.stacks.take(&self.link, leader, may_force).await;
        self.guardian.hold(leader);
        match spawn_blocking(move || os::wait_stopped(leader)) {
            Ok(stopped) => drop(tokio::time::timeout(STOP, stopped).await),
            // No thread can wait for it, so the full time passes.
            Err(_) => tokio::time::sleep(STOP).await,
        }
        let mut ended = false;
        self.drain_data(events, |messages| ended |= messages.iter().any(|it| it.ends() == Some(seq))).await;
        // The attempt may have ended before the order came, or not have started yet.
        if ended || self.link.running().is_some_and(|running| !running.contains(&seq)) {
            self.guardian.continue_group(leader);
            self.stacks.forget();
            return Some(ChildEvent::Spared { seq });
        }
        // False if the process has ended meanwhile, by itself or by another signal.
        self.killed = !os::has_ended(leader);
        let held = self.held.clone();
        if let Ok(done) = spawn_blocking(move || held.kill_descendants(leader)) {
            let _ = tokio::time::timeout(STOP, done).await;
        }
        self.link.kill();
        None
    }

    /// Reads what is in the data pipe now, and passes each batch of messages to `look`.
    async fn drain_data(&mut self, events: &mpsc::Sender<ChildEvent>, mut look: impl FnMut(&[Up])) {
        let mut reads = 0;
        loop {
            if !self.more_frames {
                let Ok(room) = self.data_frames.room(READ) else { break };
                if reads == LAST_READS || !self.data.read_now(room) {
                    break;
                }
                reads += 1;
            }
            let event = self.data_event();
            if let Some(ChildEvent::Messages(messages)) = &event {
                look(messages);
            }
            if let Some(event) = event {
                let _ = events.send(event).await;
            }
        }
    }

    /// The process has ended: reads what it left in its pipes, kills its group, and reaps it (L2, L6).
    pub(super) async fn end(&mut self, events: &mpsc::Sender<ChildEvent>) -> ChildExit {
        let (running, started) = (self.link.running(), self.link.started());
        for at in 0..self.raw.len() {
            for _ in 0..LAST_READS {
                self.scratch.clear();
                self.scratch.reserve(READ);
                if !self.raw[at].1.read_now(&mut self.scratch) {
                    break;
                }
                if let Some(event) = self.raw_event(self.raw[at].0, running.clone()) {
                    let _ = events.send(event).await;
                }
            }
        }
        self.drain_data(events, |_| ()).await;
        self.link.detach();
        self.guardian.forget(self.pid);
        let status = os::reap(self.pid);
        let usage = status.as_ref().ok().map(|(_, usage)| *usage);
        let cause = match (self.violation.take(), status) {
            (Some(violation), _) => ExitCause::Protocol { violation },
            (None, Ok((exit, _))) => ExitCause::Exit(exit),
            (None, Err(error)) => {
                tracing::warn!(pid = self.pid.as_raw_pid(), %error, "somebody else reaped a worker; its exit code is unknown");
                ExitCause::Exit(ProcessExit::Unknown)
            }
        };
        let stderr_tail = String::from_utf8_lossy(&self.stderr_tail).trim().to_owned();
        let killed = match &cause {
            // A process that dies of another signal died before the engine's kill, or of the forced stack dump. Where the
            // signal is unknown, the kill counts: the process was stopped when it came (L6).
            ExitCause::Exit(ProcessExit::Signal(9) | ProcessExit::Unknown) => self.killed,
            ExitCause::Exit(ProcessExit::Signal(signal)) if os::is_memory_fault(*signal) => self.stacks.were_forced(),
            _ => false,
        };
        let by_kill = matches!(cause, ExitCause::Exit(ProcessExit::Signal(9))) && !killed;
        let out_of_memory = by_kill && self.explained.explain_one(self.memory_kills, os::out_of_memory_kills());
        let held = self.held.clone();
        offload_or_inline(move || held.end()).await;
        ChildExit { cause, started, usage, stderr_tail, stacks: self.stacks.take_last(), killed, out_of_memory }
    }
}

/// Reads what has come into the frame reader of a pipe. An error is a lack of memory.
fn poll_frames(source: &mut Source, frames: &mut FrameReader, cx: &mut Context<'_>) -> Poll<Result<usize, WireError>> {
    match frames.room(READ) {
        Ok(room) => source.poll_read(cx, room, || ()).map(Ok),
        Err(error) => Poll::Ready(Err(error)),
    }
}

/// Asks to be woken when the pipe takes more, if anything is left to write.
fn poll_writable(cx: &mut Context<'_>, outgoing: &RefCell<Outgoing>) {
    loop {
        let waiting = outgoing.borrow().waiting();
        let Some(pipe) = waiting else { return };
        let Poll::Ready(Some(mut ready)) = pipe.poll_writable(cx) else { return };
        outgoing.borrow_mut().flush();
        if outgoing.borrow().waiting().is_some() {
            ready.clear();
        }
    }
}

fn keep_tail(tail: &mut Vec<u8>, more: &[u8]) {
    tail.extend_from_slice(more);
    if tail.len() > TAIL {
        tail.drain(..tail.len() - TAIL);
    }
}
