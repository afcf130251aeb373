//! The engine room of Axion: everything between a submitted task and its outcome.
//!
//! Inside, dependencies point strictly downwards:
//!
//! ```text
//! actors → process, policy, wire → model, config
//! ```
//!
//! * [`model`]: plain data: ids, tasks, outcomes, facts.
//! * [`config`]: typed settings with defaults and checks; reads no files.
//! * [`policy`]: every decision, as plain structs with `now` passed in. No actor, no clock, no I/O.
//! * [`wire`]: the messages between engine and child and their bytes.
//! * [`process`]: the port behind which a child process sits, and the real child.
//! * [`sequencer`]: the numbers of facts, and where they go.
//! * [`actors`]: thin shells that feed events into policies and carry out what comes back.
//!
//! Embedders use the crate `axion-core`, which re-exports what they need from here.
//! Laws named `L1` to `L18` in comments and tests are listed in `ARCHITECTURE.md`.

#[cfg(not(target_os = "linux"))]
compile_error!("Axion runs on Linux only so far: `process/` uses pidfds and memfds");

pub mod actors;
pub mod config;
pub mod model;
pub mod policy;
pub mod process;
pub mod sequencer;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
pub mod wire;
