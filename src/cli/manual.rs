//! `completions`, `man`: what the program says of its own command line.

use super::args::flags::WriteOut;
use super::args::{Args, Completions, Man};
use super::{Exit, write_out};
use crate::{output, rekey};
use clap::{Command, CommandFactory};
use std::path::Path;

/// `completions`.
pub fn completions(args: &Completions) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "etcd-rekey", &mut text);
    if args.shell == clap_complete::Shell::Bash {
        // clap_complete spells a name with a hyphen in one way where it asks
        // for the flags of a command, and in another where it lists them.
        text = String::from_utf8_lossy(&text).replace("etcd__subcmd__rekey", "etcd__rekey").into_bytes();
    }
    write_out::bytes(&text)
}

/// `man`.
pub fn man(args: &Man) -> Exit {
    let program = built();
    if let Some(directory) = &args.dir {
        let mut all = Vec::new();
        pages(&program, &mut all);
        return match all.iter().try_for_each(|page| write(page, directory)) {
            Ok(()) => Exit::Done,
            Err(error) => write_out::error(&error.into(), WriteOut::Simple),
        };
    }
    let Some(name) = &args.of else { return print(&program) };
    match program.find_subcommand(name) {
        Some(command) => print(command),
        None => write_out::error(
            &rekey::Error::NoSuchCommand { name: name.escape_debug().to_string() },
            WriteOut::Simple,
        ),
    }
}

/// The command line, each command with the name of its page.
fn built() -> Command {
    let mut program = Args::command();
    program.build();
    program
}

/// A command, and all below it.
fn pages(command: &Command, all: &mut Vec<Command>) {
    all.push(command.clone());
    command.get_subcommands().filter(|sub| !sub.is_hide_set()).for_each(|sub| pages(sub, all));
}

fn text(command: &Command) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command.clone()).manual("etcd-rekey");
    page.source(concat!("etcd-rekey ", env!("CARGO_PKG_VERSION"))).render(&mut text)?;
    Ok(text)
}

fn print(command: &Command) -> Exit {
    match text(command) {
        Ok(text) => write_out::bytes(&text),
        Err(error) => write_out::error(&rekey::Error::Unexpected(error.to_string()), WriteOut::Simple),
    }
}

/// Pages are for everybody to read, and may be written again.
fn write(command: &Command, directory: &Path) -> Result<(), output::Error> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let path = directory.join(format!("{name}.1"));
    let written = text(command).and_then(|text| std::fs::write(&path, text));
    written.map_err(|source| output::Error::Io { path, step: "writing", source })
}
