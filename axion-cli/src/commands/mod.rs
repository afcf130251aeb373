//! One file per command.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod flow;
pub(crate) mod man;
pub(crate) mod params;
pub(crate) mod run;
pub(crate) mod session;
