//! For tests and benches: a scripted fake of the process port, and the [`Oracle`], which checks the laws on facts.

mod oracle;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

pub use self::oracle::{Law, LawBroken, Oracle, OracleStopped};
use crate::model::{ProcessExit, Seq};
use crate::process::{Child, ChildEvent, ChildExit, ExitCause, LaunchSpec, Launched, Launcher, Progress};
use crate::wire::{ControlDown, ControlUp, Down, PROTOCOL, Up};

/// A call on the handle of a fake child.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// On the data pipe.
    Data(Down),
    /// On the control socket.
    Control(ControlDown),
    /// The data pipe was closed.
    Finish,
    /// It should be killed unless this attempt has ended.
    KillAttempt(Seq),
    /// Its memory should be measured.
    Measure,
    /// It was killed; dropping the handle counts.
    Kill,
}

/// Starts fake children and hands their other ends to the test.
#[derive(Debug)]
pub struct FakeLauncher {
    born: mpsc::UnboundedSender<FakeChild>,
}

impl FakeLauncher {
    /// A launcher, and where its children appear.
    #[must_use]
    pub fn new() -> (Self, mpsc::UnboundedReceiver<FakeChild>) {
        let (born, children) = mpsc::unbounded_channel();
        (Self { born }, children)
    }

    /// A launcher whose children are ready at once and answer every task with the result `1`. All
    /// messages go through the codec both ways, as they would with a real child.
    #[must_use]
    pub fn echo() -> Self {
        let (launcher, mut children) = Self::new();
        actix_rt::spawn(async move {
            while let Some(child) = children.recv().await {
                actix_rt::spawn(child.echo());
            }
        });
        launcher
    }
}

impl Launcher for FakeLauncher {
    fn launch(&self, spec: LaunchSpec) -> Launched {
        let (events, receiver) = mpsc::channel(64);
        let (heard, hears) = mpsc::unbounded_channel();
        let (trap, trapped) = mpsc::unbounded_channel();
        let page = Page::default();
        let handle = Handle { heard, trapped, page: page.clone(), written: 0 };
        let _ = self.born.send(FakeChild { spec, heard: hears, events, trap, page, killed: false });
        Launched { child: Box::new(handle), events: receiver }
    }
}

/// What the status page shows; `None` if it says nothing.
type Page = Arc<Mutex<Option<Vec<Seq>>>>;

struct Handle {
    heard: mpsc::UnboundedSender<Heard>,
    trapped: mpsc::UnboundedReceiver<()>,
    page: Page,
    written: u64,
}

impl Child for Handle {
    fn send(&mut self, messages: &[Down]) {
        assert!(self.trapped.try_recv().is_err(), "the fake child was told to panic here");
        for message in messages {
            let _ = self.heard.send(Heard::Data(message.clone()));
            self.written += 1;
        }
    }

    fn control(&mut self, message: &ControlDown) {
        let _ = self.heard.send(Heard::Control(message.clone()));
    }

    fn finish(&mut self) {
        let _ = self.heard.send(Heard::Finish);
    }

    fn kill_attempt(&mut self, seq: Seq) {
        let _ = self.heard.send(Heard::KillAttempt(seq));
    }

    fn kill(&mut self) {
        let _ = self.heard.send(Heard::Kill);
    }

    fn progress(&self) -> Progress {
        let running = self.page.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Progress { running, written: self.written }
    }

    fn measure(&mut self) {
        let _ = self.heard.send(Heard::Measure);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The child's side of a fake child, driven by a test.
#[derive(Debug)]
pub struct FakeChild {
    /// What it was started as.
    pub spec: LaunchSpec,
    heard: mpsc::UnboundedReceiver<Heard>,
    events: mpsc::Sender<ChildEvent>,
    trap: mpsc::UnboundedSender<()>,
    page: Page,
    /// It has received an order to kill an attempt.
    killed: bool,
}

impl FakeChild {
    /// The next call on its handle; `None` when the handle is gone and all calls were returned.
    pub async fn hears(&mut self) -> Option<Heard> {
        let heard = self.heard.recv().await;
        self.killed |= matches!(heard, Some(Heard::KillAttempt(_)));
        heard
    }

    /// The sequence number of the next task that it is sent.
    ///
    /// # Panics
    /// If the next call is something else.
    pub async fn runs(&mut self) -> Seq {
        match self.hears().await {
            Some(Heard::Data(Down::Run { seq, .. } | Down::Call { seq, .. })) => seq,
            other => panic!("expected a task, heard {other:?}"),
        }
    }

    /// Sends an event.
    pub async fn event(&self, event: ChildEvent) {
        let _ = self.events.send(event).await;
    }

    /// Says something on the data pipe.
    pub async fn says(&self, message: Up) {
        self.event(ChildEvent::Messages(vec![message])).await;
    }

    /// Says something on the control socket.
    pub async fn answers(&self, message: ControlUp) {
        self.event(ChildEvent::Control(vec![message])).await;
    }

    /// Has the status page show these attempts. It says nothing until then.
    pub fn shows(&self, running: &[Seq]) {
        *self.page.lock().unwrap_or_else(PoisonError::into_inner) = Some(running.to_vec());
    }

    /// Finishes the handshake.
    pub async fn ready(&self) {
        let executable = bytes::Bytes::new();
        self.says(Up::Ready { protocol: PROTOCOL, pid: 1, python: "3.fake".into(), executable }).await;
    }

    /// Ends a task with the result `1`, after a millisecond.
    pub async fn done(&self, seq: Seq) {
        self.says(done(seq)).await;
    }

    /// Ends, by this signal or exit code, while these attempts ran.
    pub async fn exits(&self, exit: ProcessExit, running: &[Seq]) {
        let killed = self.killed && exit == ProcessExit::Signal(9);
        let exit = ChildExit {
            cause: ExitCause::Exit(exit),
            started: Some(running.to_vec()),
            usage: None,
            stderr_tail: "last words".to_owned(),
            stacks: None,
            killed,
            out_of_memory: false,
        };
        self.event(ChildEvent::Exited(exit)).await;
    }

    /// Makes the worker actor panic when it sends the next task.
    pub fn traps_next_send(&self) {
        let _ = self.trap.send(());
    }

    /// Finishes the handshake and answers every task with the result `1` until it is told to end. All messages
    /// go through the codec both ways, as they would with a real child.
    pub async fn echo(mut self) {
        self.ready().await;
        let (mut heard, mut bytes) = (Vec::new(), Vec::new());
        while self.heard.recv_many(&mut heard, 256).await > 0 {
            let mut answers = Vec::with_capacity(heard.len());
            for message in heard.drain(..) {
                match message {
                    Heard::Data(message) => answers.extend(echoed(&message, &mut bytes)),
                    Heard::Control(_) | Heard::KillAttempt(_) | Heard::Measure => {}
                    Heard::Finish | Heard::Kill => {
                        return self.exits(ProcessExit::Code(0), &[]).await;
                    }
                }
            }
            self.event(ChildEvent::Messages(answers)).await;
        }
    }
}

/// The result `1` of an attempt that took a millisecond.
#[must_use]
pub fn done(seq: Seq) -> Up {
    Up::Done { seq, nanos: 1_000_000, data: bytes::Bytes::from_static(b"1").into() }
}

/// The answer to a task, after question and answer went through the codec.
fn echoed(message: &Down, bytes: &mut Vec<u8>) -> Option<Up> {
    let again = |bytes: &mut Vec<u8>, message: &Down| -> Option<Down> {
        bytes.clear();
        crate::wire::encode(message, usize::MAX, bytes).ok()?;
        crate::wire::decode(&bytes[4..]).ok()
    };
    let seq = again(bytes, message)?.begins()?;
    bytes.clear();
    crate::wire::encode(
        &Up::Done { seq, nanos: 1000, data: bytes::Bytes::from_static(b"1").into() },
        usize::MAX,
        bytes,
    )
    .ok()?;
    crate::wire::decode(&bytes[4..]).ok()
}
