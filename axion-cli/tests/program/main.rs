//! The built program as a user runs it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod bench;
mod config;
mod death;
mod flow;
mod flow_run;
mod memory;
mod options;
mod output;
mod places;
mod plain;
mod run;
mod security;
mod shell;
mod signals;
mod support;
mod terminal;
mod texts;
