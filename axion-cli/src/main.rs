//! The program `axion`; all of it is in the library beside.

use std::process::ExitCode;

fn main() -> ExitCode {
    axion_cli::main(std::env::args_os(), None).into()
}
