//! `axion completions`: what a shell offers after `axion` and TAB.

use clap::CommandFactory;
use clap_complete::Shell;

use super::session;
use crate::args::Arguments;
use crate::exit::Exit;

/// Prints the completions of a shell.
pub(crate) fn execute(shell: Shell) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "axion", &mut text);
    session::print(&String::from_utf8_lossy(&text))
}
