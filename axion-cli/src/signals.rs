//! The signals that end, stop and continue the program.

mod requests;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axion_core::{JobControl, own_process};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use self::requests::{Decision, StopRequests};

/// The signals that ask the program to end.
const ENDING: [SignalKind; 3] = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
/// The signals of a terminal that stop a job: Ctrl-Z, and reading or writing in the background.
const STOPPING: [i32; 3] = [own_process::SIGTSTP, own_process::SIGTTIN, own_process::SIGTTOU];

/// The requests to end, by the number of their signal: the first asks to cancel, the second to end at once.
#[derive(Debug)]
pub(crate) struct Signals {
    requests: mpsc::Receiver<u8>,
    job: Arc<OnceLock<JobControl>>,
}

impl Signals {
    /// Listens on a thread of its own, because the command's thread can block on output that nobody reads. A signal that
    /// the program was told to ignore, as by `nohup`, stays ignored.
    pub(crate) fn listen() -> std::io::Result<Self> {
        // The first and the second request; the third ends the process.
        let (sender, requests) = mpsc::channel(2);
        let job = Arc::new(OnceLock::new());
        let runtime = axion_core::tokio_runtime()?;
        let listener = {
            let _within = runtime.enter();
            Listener {
                ending: listened(ENDING)?,
                stopping: listened(STOPPING.map(SignalKind::from_raw))?,
                job: job.clone(),
                sender,
            }
        };
        std::thread::Builder::new().name("axion-signals".to_owned()).spawn(move || {
            let number = runtime.block_on(listener.run());
            // The guardian ends what the engine leaves behind (L7).
            std::process::exit(128 + i32::from(number));
        })?;
        Ok(Self { requests, job })
    }

    /// From now on, the workers stop and continue with the program.
    pub(crate) fn control(&self, job: JobControl) {
        let _ = self.job.set(job);
    }

    /// The number of the signal of the next request.
    pub(crate) async fn next(&mut self) -> u8 {
        match self.requests.recv().await {
            Some(number) => number,
            None => std::future::pending().await,
        }
    }
}

/// Streams of those of these signals that are not ignored.
pub(crate) fn listened<const N: usize>(kinds: [SignalKind; N]) -> std::io::Result<Vec<(SignalKind, Signal)>> {
    let kept = kinds.into_iter().filter(|kind| !own_process::ignores(kind.as_raw_value()));
    kept.map(|kind| Ok((kind, signal(kind)?))).collect()
}

struct Listener {
    ending: Vec<(SignalKind, Signal)>,
    stopping: Vec<(SignalKind, Signal)>,
    job: Arc<OnceLock<JobControl>>,
    sender: mpsc::Sender<u8>,
}

impl Listener {
    /// Passes requests on. Returns, with the number of a signal, when the process has to end.
    async fn run(mut self) -> u8 {
        let mut requests = StopRequests::default();
        let mut last = 0;
        loop {
            let exit_at = requests.exit_at().map(tokio::time::Instant::from_std);
            let exit = tokio::time::sleep_until(exit_at.unwrap_or_else(tokio::time::Instant::now));
            tokio::select! {
                kind = next(&mut self.ending) => {
                    let number = u8::try_from(kind.as_raw_value()).unwrap_or_default();
                    match requests.signal(Instant::now()) {
                        Decision::None => continue,
                        Decision::Cancel | Decision::End => drop(self.sender.try_send(number)),
                        Decision::Exit => return number,
                    }
                    last = number;
                }
                kind = next(&mut self.stopping) => self.stop(kind.as_raw_value()),
                () = exit, if exit_at.is_some() => return last,
            }
        }
    }

    /// Stops the workers, then this process. When a shell continues it, the workers go on, too.
    fn stop(&self, signal: i32) {
        let job = self.job.get();
        if let Some(job) = job {
            job.stop();
        }
        own_process::stop_by(signal);
        if let Some(job) = job {
            job.resume();
        }
    }
}

/// The kind of the next of these signals.
pub(crate) async fn next(signals: &mut [(SignalKind, Signal)]) -> SignalKind {
    std::future::poll_fn(|cx| {
        let ready = signals.iter_mut().find_map(|(kind, signal)| signal.poll_recv(cx).is_ready().then_some(*kind));
        ready.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
    })
    .await
}
