//! The real child: a Python process, started on a thread for blocking work (L11), and a pump for its pipes.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::blocking::offload_or_inline;
use super::containment::{Containment, Held};
use super::folder::PrivateFolder;
use super::inherited::Inherited;
use super::interpreter::Interpreter;
use super::link::{Link, RealChild, WireLimits};
use super::meter::machine_memory;
use super::os::{self, Guardian, MemoryKills, Process, Program, SpawnError};
use super::pump::Pump;
use super::{ChildEvent, ChildExit, ExitCause, LaunchSpec, Launched, Launcher, StartError};
use crate::config::{Config, WorkerConfig};
use crate::model::PoolMap;
use crate::wire::{Down, PROTOCOL};

/// Runs the start script under a name that is no file's. A tool that watches the interpreter from its start, such as
/// coverage, would otherwise report on a file that is gone by then.
const BOOT: &str = "import sys\ndel sys.argv[0]\n__file__ = sys.argv[0]\n\
    with open(__file__, 'rb') as file:\n    code = compile(file.read(), '<axion>', 'exec')\nexec(code)\n";

/// How the frame of its last line is shown in stacks.
pub(super) const BOOT_FRAME: &str = "File \"<string>\", line 6 in <module>";

/// Events on their way to the worker actor; a full channel stops the reading (L9).
const EVENTS: usize = 8;

/// Starts Python processes.
pub struct RealLauncher {
    pools: PoolMap<PoolStart>,
    /// Makes each worker's mark its own.
    started: Cell<u64>,
    folder: Arc<PrivateFolder>,
    guardian: Arc<Guardian>,
    containment: Arc<Containment>,
    inherited: Arc<Inherited>,
    limits: WireLimits,
    memory_kills: Rc<MemoryKills>,
}

/// What the processes of one pool are started with.
struct PoolStart {
    interpreter: Rc<Interpreter>,
    /// The interpreter's own arguments.
    arguments: Arc<[OsString]>,
    /// Variables that stand for arguments.
    flags: &'static [&'static str],
    settings: Arc<WorkerConfig>,
}

impl RealLauncher {
    /// A launcher with the runtime in `folder`. It starts `program`, and in the pools that have one of their own in
    /// `pool_programs`, that. A program that the configuration names is started as it is, every time.
    #[must_use]
    pub fn new(
        program: PathBuf,
        pool_programs: &PoolMap<PathBuf>,
        config: &Config,
        folder: Arc<PrivateFolder>,
        guardian: Arc<Guardian>,
        containment: Arc<Containment>,
        inherited: Inherited,
    ) -> Self {
        let common = Rc::new(Interpreter::new(program, config.python.is_some()));
        let pools = config.pool_settings().map(|id, pool| {
            let own = pool_programs.get(id);
            let (arguments, flags) = inherited.flags_for(own.is_some(), config.python.is_some());
            PoolStart {
                interpreter: own.map_or_else(|| common.clone(), |own| Rc::new(Interpreter::new(own.clone(), true))),
                arguments: arguments.into(),
                flags,
                settings: Arc::new(pool.worker.clone()),
            }
        });
        Self {
            pools,
            folder,
            guardian,
            containment,
            inherited: Arc::new(inherited),
            limits: WireLimits { frame: config.frame_limit, payload: config.payload_limit(machine_memory()) },
            started: Cell::new(0),
            memory_kills: Rc::default(),
        }
    }
}

impl Launcher for RealLauncher {
    fn launch(&self, spec: LaunchSpec) -> Launched {
        let (events, receiver) = mpsc::channel(EVENTS);
        let link = Link::new(self.limits.frame);
        let PoolStart { interpreter, arguments, flags, settings } = &self.pools[spec.worker.pool];
        let start = Start {
            program: interpreter.path(),
            folder: self.folder.clone(),
            guardian: self.guardian.clone(),
            containment: self.containment.clone(),
            worker: spec.worker.to_string(),
            slots: spec.slots.to_string(),
            arguments: arguments.clone(),
            flags,
            settings: settings.clone(),
            inherited: self.inherited.clone(),
            name: format!("{}:{}", spec.worker, self.started.get()),
        };
        self.started.set(self.started.get() + 1);
        let configure = Down::Configure {
            protocol: PROTOCOL,
            worker: start.worker.clone(),
            slots: spec.slots,
            async_slots: spec.async_slots,
            frame_limit: self.limits.frame as u64,
            payload_limit: self.limits.payload as u64,
            restore: settings.restore,
        };
        let runtime = self.folder.path().display().to_string();
        let (shared, interpreter, limits) = (link.clone(), interpreter.clone(), self.limits);
        let (guardian, memory_kills) = (self.guardian.clone(), self.memory_kills.clone());
        actix_rt::spawn(async move {
            let begin = |(process, held)| Pump::new(process, held, guardian, shared, limits, runtime, memory_kills);
            let exit = match start.run().await.and_then(begin) {
                Ok(mut pump) => {
                    pump.configure(configure);
                    pump.run(&events, &interpreter).await;
                    pump.end(&events).await
                }
                Err(error) => {
                    interpreter.unlearn(&error);
                    let cause = ExitCause::NotStarted(error);
                    ChildExit {
                        cause,
                        started: None,
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
    containment: Arc<Containment>,
    worker: String,
    slots: String,
    arguments: Arc<[OsString]>,
    flags: &'static [&'static str],
    settings: Arc<WorkerConfig>,
    inherited: Arc<Inherited>,
    /// What no other process of the engine has.
    name: String,
}

impl Start {
    async fn run(self) -> Result<(Process, Held), StartError> {
        let spawned = offload_or_inline(move || {
            self.folder.restore()?;
            let script = self.folder.start_script();
            let own = [self.folder.package(), &self.worker, &self.slots].into_iter();
            let own = own.chain(self.inherited.hidden(&self.settings, self.flags)).map(OsStr::new);
            let boot = [OsStr::new("-c"), OsStr::new(BOOT), script.as_os_str()];
            let arguments: Vec<&OsStr> =
                self.arguments.iter().map(OsString::as_os_str).chain(boot).chain(own).collect();
            let mark = format!("{}:{}", self.folder.mark(), self.name);
            let Self { program: path, settings, inherited, flags, .. } = &self;
            let process = os::spawn(Program { path, arguments: &arguments, mark: &mark, settings, inherited, flags })?;
            if let Err(error) = self.guardian.guard(process.pid) {
                os::kill_group(process.pid);
                self.guardian.forget(process.pid);
                let _ = os::reap(process.pid);
                return Err(error.into());
            }
            // The interpreter is starting. It runs no code of the user's before the engine tells it to.
            let held = self.containment.hold(&self.name, process.pid, mark, self.settings.lowest_memory_limit());
            Ok((process, held))
        });
        spawned.await.unwrap_or_else(|| {
            let source = io::Error::other("it panicked");
            Err(SpawnError::Setup { what: "the thread that starts processes", source }.into())
        })
    }
}
