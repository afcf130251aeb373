//! The real child: a Python process, and the task that pumps its pipes.
//!
//! Each child has one pump, a task on the engine's thread that waits for all of its descriptors at
//! once (L11). The process itself is started on a thread for blocking work.

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::process::Pid;
use tokio::io::unix::AsyncFd;
use tokio::sync::futures::Notified;
use tokio::sync::mpsc;

use super::aside::{aside, aside_or_here};
use super::folder::PrivateFolder;
use super::forks::{self, PrivateFd};
use super::guardian::Guardian;
use super::link::{Link, RealChild};
use super::linux::{self, MemoryKills, Process, StatusPage};
use super::{ChildEvent, ChildExit, ExitCause, LaunchSpec, Launched, Launcher, StartError};
use crate::config::{Config, WorkerConfig};
use crate::model::{PoolKind, ProcessExit, Seq, Stream};
use crate::wire::{ControlUp, Down, FrameReader, PROTOCOL, Up};

/// Events on their way to the worker actor; a full channel stops the reading (L9).
const EVENTS: usize = 8;
/// The most that is read at once.
const READ: usize = 64 << 10;
/// How much of what was written last to fd 2 is kept.
const TAIL: usize = 8 << 10;
/// The most that is read from each pipe of a process that has died: more than the pipe holds, and
/// a bound on what an escaped descendant can keep writing.
const LAST_READS: usize = 64;
/// How long a process may live on without its data pipe.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a group may take to stop before an attempt is killed all the same.
const STOP: Duration = Duration::from_millis(10);
/// How long to wait for the first of the stacks, and then for more.
const FIRST_STACKS: Duration = Duration::from_millis(25);
const MORE_STACKS: Duration = Duration::from_millis(3);
/// The most that is kept of them.
const MOST_STACKS: usize = 64 << 10;

/// Which interpreter to start.
struct Program {
    configured: PathBuf,
    /// Whether a shim in front of it may be left out: not if somebody named it, who may want it for
    /// what it does besides.
    may_learn: bool,
    /// The path the interpreter gave for itself, which spares later starts the detour.
    learned: RefCell<Option<PathBuf>>,
}

impl Program {
    fn path(&self) -> PathBuf {
        self.learned.borrow().as_ref().unwrap_or(&self.configured).clone()
    }

    fn learn(&self, executable: &[u8]) {
        if self.may_learn && !executable.is_empty() {
            *self.learned.borrow_mut() = Some(OsString::from_vec(executable.to_vec()).into());
        }
    }

    /// It could not be executed: it may have been replaced by an upgrade.
    fn unlearn(&self, error: &StartError) {
        if matches!(error, StartError::Execute { .. }) {
            self.learned.take();
        }
    }
}

/// Starts Python processes.
pub struct RealLauncher {
    program: Rc<Program>,
    settings: [Arc<WorkerConfig>; 2],
    /// Makes each worker's mark its own.
    started: Cell<u64>,
    folder: Arc<PrivateFolder>,
    guardian: Arc<Guardian>,
    frame_limit: usize,
    memory_kills: Rc<MemoryKills>,
}

impl RealLauncher {
    /// A launcher of `program` with the runtime in `folder`. If the configuration names a program, it is
    /// started as it is, every time.
    #[must_use]
    pub fn new(program: PathBuf, config: &Config, folder: Arc<PrivateFolder>, guardian: Arc<Guardian>) -> Self {
        let may_learn = config.python.is_none();
        let program = Rc::new(Program { configured: program, may_learn, learned: RefCell::default() });
        let settings = PoolKind::ALL.map(|pool| Arc::new(config.worker(pool).clone()));
        Self {
            program,
            settings,
            folder,
            guardian,
            frame_limit: config.frame_limit,
            started: Cell::new(0),
            memory_kills: Rc::default(),
        }
    }
}

impl Launcher for RealLauncher {
    fn launch(&self, spec: LaunchSpec) -> Launched {
        let (events, receiver) = mpsc::channel(EVENTS);
        let link = Link::new(self.frame_limit);
        let start = Start {
            program: self.program.path(),
            folder: self.folder.clone(),
            guardian: self.guardian.clone(),
            worker: spec.worker.to_string(),
            settings: self.settings[spec.worker.pool.index()].clone(),
            mark: format!("{}:{}:{}", self.folder.mark(), spec.worker, self.started.get()),
        };
        self.started.set(self.started.get() + 1);
        let configure = Down::Configure {
            protocol: PROTOCOL,
            worker: start.worker.clone(),
            slots: spec.slots,
            async_slots: spec.async_slots,
            frame_limit: self.frame_limit as u64,
        };
        let (runtime, mark) = (self.folder.path().display().to_string(), start.mark.clone());
        let (shared, program, frame_limit) = (link.clone(), self.program.clone(), self.frame_limit);
        let memory_kills = self.memory_kills.clone();
        actix_rt::spawn(async move {
            let exit = match start.run().await.and_then(|process| Pump::new(process, shared, frame_limit)) {
                Ok((mut pump, guardian)) => {
                    (pump.runtime, pump.explained) = (runtime, memory_kills);
                    pump.link.push(&pump.link.data, &[configure]);
                    pump.run(&events, &program).await;
                    let exit = pump.end(&events, &guardian).await;
                    aside_or_here(move || linux::kill_escaped(&mark)).await;
                    exit
                }
                Err(error) => {
                    program.unlearn(&error);
                    let cause = ExitCause::NotStarted(error);
                    ChildExit {
                        cause,
                        running: None,
                        usage: None,
                        stderr_tail: String::new(),
                        stacks: None,
                        killed: false,
                        out_of_memory: false,
                    }
                }
            };
            let _ = events.send(ChildEvent::Exited(exit)).await;
        });
        Launched { child: Box::new(RealChild(link)), events: receiver }
    }
}

/// What starting a process takes, on a thread where it may block.
struct Start {
    program: PathBuf,
    folder: Arc<PrivateFolder>,
    guardian: Arc<Guardian>,
    worker: String,
    settings: Arc<WorkerConfig>,
    mark: String,
}

impl Start {
    async fn run(self) -> Result<(Process, Arc<Guardian>), StartError> {
        let spawned = aside_or_here(move || {
            let script = self.folder.start_script();
            let arguments = [script.as_os_str(), OsStr::new(self.folder.package()), OsStr::new(&self.worker)];
            linux::spawn(&self.program, &arguments, &self.mark, &self.settings, &self.guardian)
                .map(|process| (process, self.guardian))
        });
        spawned.await.unwrap_or_else(|| {
            let source = io::Error::other("it panicked");
            Err(StartError::Setup { what: "the thread that starts processes", source })
        })
    }
}

/// What the pump found when it was woken.
enum Input {
    /// Bytes were read from the data pipe into its reader, or it ended.
    Data,
    /// The same of the control socket.
    Control,
    /// Bytes of fd 1 or 2 are in the scratch buffer, none at the pipe's end; and what the status
    /// page said just before they were read.
    Raw(Stream, Option<Vec<Seq>>),
    /// An attempt is to be killed.
    Kill(Seq),
    /// The process has ended.
    Exit,
}

/// One of the pipes from the child.
struct Source {
    /// `None` once it has ended.
    fd: Option<AsyncFd<PrivateFd>>,
}

impl Source {
    fn new(fd: PrivateFd) -> Result<Self, StartError> {
        let fd = linux::watch(fd).map_err(|source| StartError::Setup { what: "watching a pipe", source })?;
        Ok(Self { fd: Some(fd) })
    }

    /// Appends what there is to `into`, after a call of `before`. An error of the pipe counts as its end.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>, mut before: impl FnMut()) -> Poll<usize> {
        let Some(fd) = &self.fd else {
            return Poll::Pending;
        };
        let count = loop {
            let Ok(mut guard) = ready!(fd.poll_read_ready(cx)) else {
                break 0;
            };
            let read = guard.try_io(|fd| {
                before();
                Ok(rustix::io::read(fd.get_ref(), spare_capacity(into))?)
            });
            match read {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => break result.unwrap_or(0),
                Err(_would_block) => {}
            }
        };
        if count == 0 {
            self.fd = None;
        }
        Poll::Ready(count)
    }

    /// Appends what there is to `into` without waiting; false when nothing is left.
    fn read_now(&mut self, into: &mut Vec<u8>) -> bool {
        let Some(fd) = &self.fd else { return false };
        matches!(rustix::io::read(fd.get_ref(), spare_capacity(into)), Ok(count) if count > 0)
    }
}

/// Reads everything a child writes and notices its end.
struct Pump {
    link: Rc<Link>,
    pid: Pid,
    exit: AsyncFd<OwnedFd>,
    data: Source,
    control: Source,
    raw: [(Stream, Source); 2],
    page: StatusPage,
    stacks: AsyncFd<PrivateFd>,
    /// The folder of the runtime's files.
    runtime: String,
    /// The kernel's count of memory kills when the process was young.
    memory_kills: Option<u64>,
    explained: Rc<MemoryKills>,
    last_stacks: Option<String>,
    data_frames: FrameReader,
    control_frames: FrameReader,
    scratch: Vec<u8>,
    stderr_tail: Vec<u8>,
    /// It was killed because of an attempt.
    killed: bool,
    /// Why it was killed for breaking the protocol.
    violation: Option<String>,
    /// The process that the handshake came from; a wrapper's child has another one than we started.
    speaker: Option<u32>,
    /// The data pipe has ended before the process: how long the process may take to end, too.
    patience: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Raw output came last, so that the other pipes have their turn first.
    raw_last: bool,
}

impl Pump {
    fn new(
        (process, guardian): (Process, Arc<Guardian>),
        link: Rc<Link>,
        frame_limit: usize,
    ) -> Result<(Self, Arc<Guardian>), StartError> {
        let pid = process.pid;
        link.attach(pid);
        Self::assemble(process, link.clone(), frame_limit).map(|pump| (pump, guardian.clone())).inspect_err(|_| {
            link.detach();
            guardian.forget(pid);
            let _ = linux::reap(pid);
        })
    }

    fn assemble(process: Process, link: Rc<Link>, frame_limit: usize) -> Result<Self, StartError> {
        let watch = |fd| linux::watch(fd).map_err(|source| StartError::Setup { what: "watching a pipe", source });
        let ([control], ()) = forks::private(|| Ok(([process.control.as_fd().try_clone_to_owned()?], ())))
            .map_err(|source: io::Error| StartError::Setup { what: "the control socket", source })?;
        link.data.borrow_mut().fd = Some(Rc::new(watch(process.data_in)?));
        link.control.borrow_mut().fd = Some(Rc::new(watch(process.control)?));
        Ok(Self {
            link,
            pid: process.pid,
            exit: linux::watch(process.exit)
                .map_err(|source| StartError::Setup { what: "watching a process", source })?,
            data: Source::new(process.data_out)?,
            control: Source::new(control)?,
            raw: [(Stream::Stdout, Source::new(process.raw_out)?), (Stream::Stderr, Source::new(process.raw_err)?)],
            page: process.page,
            stacks: watch(process.stacks)?,
            runtime: String::new(),
            memory_kills: linux::out_of_memory_kills(),
            explained: Rc::default(),
            last_stacks: None,
            data_frames: FrameReader::new(frame_limit),
            control_frames: FrameReader::new(frame_limit),
            scratch: Vec::new(),
            stderr_tail: Vec::new(),
            killed: false,
            violation: None,
            speaker: None,
            patience: None,
            raw_last: false,
        })
    }

    /// Pumps until the process has ended.
    async fn run(&mut self, events: &mpsc::Sender<ChildEvent>, program: &Program) {
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
            };
            if let Some(ChildEvent::Messages(messages)) = &event
                && self.speaker.is_none()
            {
                self.speaker = Some(0);
                self.meet(messages, program);
            }
            if let Some(event) = event {
                // Waits while the worker actor has not caught up. If the actor is gone, so is the
                // handle, and the process has been killed: read on until its end.
                let _ = events.send(event).await;
            }
        }
    }

    fn poll<'a>(&mut self, cx: &mut Context<'_>, link: &'a Link, wake: &mut Pin<&mut Notified<'a>>) -> Poll<Input> {
        while wake.as_mut().poll(cx).is_ready() {
            wake.set(link.wake.notified());
        }
        if let Some(seq) = link.condemned.take() {
            return Poll::Ready(Input::Kill(seq));
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
        if let Poll::Ready(count) = self.data.poll_read(cx, self.data_frames.room(READ), || ()) {
            if count == 0 && !link.is_finishing() {
                self.patience = Some(Box::pin(tokio::time::sleep(PATIENCE)));
            }
            return Poll::Ready(Input::Data);
        }
        if self.control.poll_read(cx, self.control_frames.room(READ), || ()).is_ready() {
            return Poll::Ready(Input::Control);
        }
        if self.exit.poll_read_ready(cx).is_ready() {
            return Poll::Ready(Input::Exit);
        }
        if self.patience.as_mut().is_some_and(|patience| patience.as_mut().poll(cx).is_ready()) {
            self.patience = None;
            self.violated("it closed its result pipe and lives on".to_owned());
        }
        if std::mem::take(&mut self.raw_last) {
            return self.poll_raw(cx);
        }
        Poll::Pending
    }

    /// What was written below Python. Read before the results, but never twice in a row before them:
    /// a flood on fd 1 does not hold them up.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        for (stream, source) in &mut self.raw {
            self.scratch.clear();
            self.scratch.reserve(READ);
            let mut before = None;
            if source.poll_read(cx, &mut self.scratch, || before = self.page.running()).is_ready() {
                self.raw_last = true;
                let after = self.page.running().unwrap_or_default();
                // Certain only if nothing else has begun meanwhile.
                let running = before.filter(|before| after.is_empty() || after == *before);
                return Poll::Ready(Input::Raw(*stream, running));
            }
        }
        Poll::Pending
    }

    /// The first message of a process comes from the runtime, before any user code.
    fn meet(&mut self, messages: &[Up], program: &Program) {
        if let Some(Up::Ready { pid, executable, .. }) = messages.first() {
            self.speaker = Some(*pid);
            program.learn(executable);
        }
    }

    fn data_event(&mut self) -> Option<ChildEvent> {
        let mut messages: Vec<Up> = Vec::new();
        if let Err(error) = self.data_frames.drain_up(&mut messages) {
            self.violated(error.to_string());
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

    /// Bytes in a capture pipe belong to the task that ran before they were read, if it was the only
    /// one: a worker that runs one task at a time empties the pipes itself before it ends a task.
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

    /// The child broke the protocol: it is killed and nothing more of its data is believed (L8).
    fn violated(&mut self, violation: String) {
        self.violation.get_or_insert(violation);
        self.data.fd = None;
        self.control.fd = None;
        self.link.kill();
    }

    /// What the page says, unless it cannot be true: a task can write there, too (L8).
    fn running(&self) -> Option<Vec<Seq>> {
        self.page.running().filter(|running| running.iter().all(|seq| self.link.has_sent(*seq)))
    }

    /// Kills the process because of one attempt. In this order there is no race (L6): with the group
    /// stopped, what is in the pipe is all there is; a result that is not there will never be, since
    /// the worker has not moved on (L2).
    async fn kill_attempt(&mut self, seq: Seq, events: &mpsc::Sender<ChildEvent>) -> Option<ChildEvent> {
        self.last_stacks = self.take_stacks().await;
        let leader = self.pid;
        linux::stop_group(leader);
        match aside(move || linux::wait_stopped(leader)) {
            Ok(stopped) => drop(tokio::time::timeout(STOP, stopped).await),
            // Without a thread to be told by, it has all the time there is.
            Err(_) => tokio::time::sleep(STOP).await,
        }
        let mut ended = false;
        for _ in 0..LAST_READS {
            if !self.data.read_now(self.data_frames.room(READ)) {
                break;
            }
            let event = self.data_event();
            if let Some(ChildEvent::Messages(messages)) = &event {
                ended |= messages.iter().any(|it| it.ends() == Some(seq));
            }
            if let Some(event) = event {
                let _ = events.send(event).await;
            }
        }
        // It may also have ended before the order to kill it came, or not have started.
        if ended || self.running().is_some_and(|running| !running.contains(&seq)) {
            linux::continue_group(leader);
            // They are of no kill, and say nothing of a later end.
            self.last_stacks = None;
            return Some(ChildEvent::Spared { seq });
        }
        // Not if it has ended meanwhile by itself or by another's signal.
        self.killed = !linux::has_ended(leader);
        self.link.kill();
        None
    }

    /// What the child's fault handler writes when it is asked, within a short time: it may be asked
    /// in the middle of a C call, but not in a system call that cannot be interrupted.
    async fn take_stacks(&mut self) -> Option<String> {
        // Only the runtime knows this signal; it would end a wrapper around the interpreter.
        let is_runtime = self.speaker == u32::try_from(self.pid.as_raw_pid()).ok();
        self.drop_late_stacks();
        if !is_runtime || !linux::ask_for_stacks(self.pid) {
            return None;
        }
        let (mut text, mut patience) = (Vec::new(), FIRST_STACKS);
        while text.len() < MOST_STACKS {
            let Ok(Ok(mut ready)) = tokio::time::timeout(patience, self.stacks.readable()).await else { break };
            text.reserve(READ);
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), spare_capacity(&mut text))?));
            match read {
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(_)) => patience = MORE_STACKS,
                // It was ready with what has been dropped.
                Err(_would_block) => {}
            }
        }
        (!text.is_empty()).then(|| without_runtime(&String::from_utf8_lossy(&text), &self.runtime))
    }

    /// What came too late for a kill that did not happen says nothing of the next one.
    fn drop_late_stacks(&self) {
        let mut late = [0; 4096];
        let mut is_more = || matches!(rustix::io::read(self.stacks.get_ref(), &mut late), Ok(count) if count > 0);
        for _ in 0..LAST_READS {
            if !is_more() {
                break;
            }
        }
    }

    /// The process has ended: takes what it left in its pipes, ends its group, reaps it (L2, L6).
    async fn end(&mut self, events: &mpsc::Sender<ChildEvent>, guardian: &Guardian) -> ChildExit {
        let running = self.running();
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
        for _ in 0..LAST_READS {
            if !self.data.read_now(self.data_frames.room(READ)) {
                break;
            }
            if let Some(event) = self.data_event() {
                let _ = events.send(event).await;
            }
        }
        self.link.detach();
        guardian.forget(self.pid);
        let status = linux::reap(self.pid);
        let usage = status.as_ref().ok().map(|(_, usage)| *usage);
        let cause = match (self.violation.take(), status) {
            (Some(violation), _) => ExitCause::Protocol { violation },
            (None, Ok((exit, _))) => ExitCause::Exit(exit),
            (None, Err(error)) => {
                tracing::warn!(pid = self.pid.as_raw_pid(), %error, "somebody else reaped a worker; its exit code is unknown");
                ExitCause::Exit(ProcessExit::Code(-1))
            }
        };
        let stderr_tail = String::from_utf8_lossy(&self.stderr_tail).trim().to_owned();
        let by_kill = matches!(cause, ExitCause::Exit(ProcessExit::Signal(9))) && !self.killed;
        let out_of_memory = by_kill && self.explained.explain_one(self.memory_kills, linux::out_of_memory_kills());
        ChildExit {
            cause,
            running,
            usage,
            stderr_tail,
            stacks: self.last_stacks.take(),
            killed: self.killed,
            out_of_memory,
        }
    }
}

/// Stacks without the frames of the runtime, whose files are under `runtime`, and without threads
/// that have no others.
fn without_runtime(stacks: &str, runtime: &str) -> String {
    let threads = stacks.split("\n\n").filter_map(|thread| {
        let lines: Vec<&str> = thread.lines().filter(|line| !line.contains(runtime)).collect();
        lines.iter().any(|line| line.trim_start().starts_with("File ")).then(|| lines.join("\n"))
    });
    threads.collect::<Vec<_>>().join("\n\n")
}

/// Registers for the moment the pipe takes more, if something is left to be written.
fn poll_writable(cx: &mut Context<'_>, outgoing: &RefCell<super::link::Outgoing>) {
    loop {
        let waiting = outgoing.borrow().waiting();
        let Some(fd) = waiting else { return };
        let Poll::Ready(Ok(mut guard)) = fd.poll_write_ready(cx) else {
            return;
        };
        outgoing.borrow_mut().flush();
        if outgoing.borrow().waiting().is_some() {
            guard.clear_ready();
        }
    }
}

fn keep_tail(tail: &mut Vec<u8>, more: &[u8]) {
    tail.extend_from_slice(more);
    if tail.len() > TAIL {
        tail.drain(..tail.len() - TAIL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_those_of_user_code() {
        let stacks = "Current thread 0x1 (most recent call first):\n  File \"/tmp/axion-x/p/control.py\", line 1 in _watch\n\n\
                      Thread 0x2 (most recent call first):\n  File \"/s/a.py\", line 5 in main\n  \
                      File \"/tmp/axion-x/p/inline.py\", line 9 in serve\n";
        let shown = without_runtime(stacks, "/tmp/axion-x");
        assert_eq!(shown, "Thread 0x2 (most recent call first):\n  File \"/s/a.py\", line 5 in main");
    }
}
