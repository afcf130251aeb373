//! One file per command.

pub(crate) mod config;
pub(crate) mod flow;
pub(crate) mod params;
pub(crate) mod run;
pub(crate) mod session;
