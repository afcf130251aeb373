//! `axion man`: the manual, in the format of `man`.

use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;

use super::session;
use crate::args::{Arguments, ManArguments};
use crate::exit::Exit;
use crate::message;

/// Prints the page of a command, or writes all pages.
pub(crate) fn execute(man: &ManArguments) -> Exit {
    match &man.folder {
        Some(folder) => write_all(folder),
        None => print(&man.command),
    }
}

fn write_all(folder: &Path) -> Exit {
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Arguments::command(), folder));
    match written {
        Ok(()) => {
            message::line(format_args!("wrote the pages to {}", folder.display()));
            Exit::Success
        }
        Err(error) => {
            message::error(format_args!("cannot write the pages to {}: {error}", folder.display()));
            Exit::Usage
        }
    }
}

fn print(words: &[String]) -> Exit {
    let mut command = Arguments::command();
    // Gives the commands below it their full names.
    command.build();
    for word in words {
        match command.find_subcommand(word).cloned() {
            Some(found) => command = found,
            None => {
                let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
                let words = words.join(" ");
                message::error(format_args!("there is no command `{words}`; known here: {}", known.join(", ")));
                return Exit::Usage;
            }
        }
    }
    let mut page = Vec::new();
    match Man::new(command).render(&mut page) {
        Ok(()) => session::print(&String::from_utf8_lossy(&page)),
        Err(error) => session::engine_failed(&error),
    }
}
