//! The builder of an engine: one method for each of the usual settings.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axion_actors::config::{Config, ConfigError, EngineKind, PoolConfig, ScalingPolicy};
use axion_actors::model::{Clock, PoolId};
use axion_actors::process::{
    ByteCode, Containment, Guardian, Inherited, Launcher, PrivateFolder, RealLauncher, find_pool_pythons, find_python,
    nanos_since_boot, own,
};
use axion_actors::sequencer::{QueueBounds, Sequencer};

use crate::engine::Engine;
use crate::error::StartError;
use crate::runtime::Children;
use crate::watch::EventStream;

/// Builds an [`Engine`]. Other settings keep their [`Config`] defaults. The builder reads no file and no environment
/// variable, unless it was made by [`from_environment`](Self::from_environment) or [`from_file`](Self::from_file).
#[derive(Clone, Debug, Default)]
pub struct EngineBuilder {
    config: Config,
    /// The sequencer, if a watcher subscribed before the start.
    sequencer: Option<Sequencer>,
    inherited: Option<Inherited>,
    byte_code: ByteCode,
}

fn new_sequencer() -> Sequencer {
    Sequencer::new(Clock::start(nanos_since_boot))
}

impl EngineBuilder {
    /// Replaces all settings.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// A fixed number of CPU workers; 0 disables the pool.
    #[must_use]
    pub fn cpu_workers(self, count: u32) -> Self {
        self.cpu_workers_between(count, count)
    }

    /// Lets the autoscaler choose the number of CPU workers within these bounds.
    #[must_use]
    pub fn cpu_workers_between(mut self, least: u32, most: u32) -> Self {
        (self.config.cpu_bound_count, self.config.cpu_bound_max) = (least, Some(most));
        self
    }

    /// A fixed number of IO workers; 0 disables the pool.
    #[must_use]
    pub fn io_workers(self, count: u32) -> Self {
        self.io_workers_between(count, count)
    }

    /// Lets the autoscaler choose the number of IO workers within these bounds.
    #[must_use]
    pub fn io_workers_between(mut self, least: u32, most: u32) -> Self {
        (self.config.io_bound_count, self.config.io_bound_max) = (least, Some(most));
        self
    }

    /// Declares a pool beside `cpu` and `io`, or replaces its settings.
    ///
    /// ```
    /// # use axion_core::{Engine, PoolConfig, PoolId, WorkerRange};
    /// let gpu = PoolConfig { workers: WorkerRange::exactly(2), ..PoolConfig::default() };
    /// let builder = Engine::builder().pool(PoolId::named("gpu")?, gpu);
    /// # Ok::<(), axion_core::PoolNameError>(())
    /// ```
    #[must_use]
    pub fn pool(mut self, pool: PoolId, config: PoolConfig) -> Self {
        self.config.pools.insert(pool, config);
        self
    }

    /// Whether tasks run concurrently, or one after the other in their order.
    #[must_use]
    pub fn kind(mut self, kind: EngineKind) -> Self {
        self.config.engine = kind;
        self
    }

    /// The policy that chooses the number of workers within a pool's bounds.
    #[must_use]
    pub fn autoscaler(mut self, policy: ScalingPolicy) -> Self {
        self.config.autoscaler = policy;
        self
    }

    /// The workers' interpreter: a path, or a name on the `PATH`.
    #[must_use]
    pub fn python(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.python = Some(path.into());
        self
    }

    /// Arguments of the workers' interpreter, such as `-O`.
    #[must_use]
    pub fn python_arguments<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        let inherited = self.inherited.get_or_insert_with(Inherited::now);
        inherited.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Has the workers inherit the environment variables and the current folder as they are now, instead of as they are
    /// at the start of the engine. The Python package calls it while it holds the interpreter lock, which protects them.
    #[must_use]
    pub fn inherit(mut self) -> Self {
        let mut now = Inherited::now();
        now.arguments = self.inherited.take().map(|before| before.arguments).unwrap_or_default();
        self.inherited = Some(now);
        self
    }

    /// Byte code of the workers' runtime, so that no worker compiles it: the names and contents of files for the folder
    /// `__pycache__` beside the runtime's source. A worker uses what its Python version has made of that very source.
    #[must_use]
    pub fn byte_code(mut self, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        self.byte_code = files.into_iter().collect();
        self
    }

    /// The largest number of waiting tasks.
    #[must_use]
    pub fn input_queue_size(mut self, size: usize) -> Self {
        self.config.input_queue_size = size;
        self
    }

    /// The longest time that a worker may take to start.
    #[must_use]
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.config.start_timeout = limit;
        self
    }

    /// Every fact and notice of the engine, from its first on. The engine's clock begins with this call.
    pub fn watch(&mut self) -> EventStream {
        let sequencer = self.sequencer.get_or_insert_with(new_sequencer);
        EventStream(sequencer.subscribe(QueueBounds::default()))
    }

    /// Starts the engine. Its workers start in the background; tasks can be submitted at once.
    ///
    /// # Errors
    /// If a setting is out of range, there is no interpreter, or the system refuses a thread, a
    /// process or the private folder.
    pub fn start(self) -> Result<Engine, StartError> {
        self.config.validate()?;
        if let Some(role) = own::adopts_orphans() {
            tracing::warn!(
                "this process is {role}. The engine reaps only its own workers, so processes that tasks leave behind \
                 stay zombies unless the program reaps them: start a container with an init (docker run --init, tini)"
            );
        }
        let program = find_python(self.config.python.as_deref())?;
        let pool_programs = find_pool_pythons(&self.config.clone().resolved().pool_settings())?;
        let folder = Arc::new(PrivateFolder::create(self.config.runtime_dir.as_deref())?);
        folder.add_byte_code(&self.byte_code)?;
        let containment = Arc::new(Containment::strongest(folder.path()));
        let guardian = Arc::new(Guardian::start(folder.path(), &containment, &program)?);
        let config = self.config.clone();
        let inherited = self.inherited.unwrap_or_else(Inherited::now);
        for (pool, settings) in config.pool_settings().iter() {
            check_folder(pool, settings.worker.cwd.as_deref())?;
        }
        let launcher = {
            let (folder, guardian, containment) = (folder.clone(), guardian.clone(), containment.clone());
            move || {
                let launcher =
                    RealLauncher::new(program, &pool_programs, &config, folder, guardian, containment, inherited);
                Box::new(launcher) as Box<dyn Launcher>
            }
        };
        let children = Children { guardian: Some(guardian), containment: Some(containment), _folder: Some(folder) };
        Engine::start(self.config, self.sequencer.unwrap_or_else(new_sequencer), launcher, children)
    }

    /// Starts the engine with another launcher, for tests and benches.
    ///
    /// # Errors
    /// If a setting is out of range or the system refuses a thread.
    #[cfg(feature = "test-util")]
    pub fn start_with(
        self,
        launcher: impl FnOnce() -> Box<dyn Launcher> + Send + 'static,
    ) -> Result<Engine, StartError> {
        self.config.validate()?;
        Engine::start(self.config, self.sequencer.unwrap_or_else(new_sequencer), launcher, Children::default())
    }
}

/// Checked here because the system reports a missing folder as a missing interpreter.
fn check_folder(pool: PoolId, cwd: Option<&Path>) -> Result<(), ConfigError> {
    match cwd {
        Some(folder) if !folder.is_dir() => {
            let key = format!("{}.cwd", axion_actors::config::worker_section(pool));
            Err(ConfigError::new(key, folder.display(), "a folder that exists"))
        }
        _ => Ok(()),
    }
}
