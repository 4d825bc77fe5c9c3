//! `oarlock completions` and `oarlock man`: what a package installs next to the program.

use std::fs;

use clap::{Command, CommandFactory};

use super::output::write_out;
use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::exit::Failure;

/// Name of the program.
const NAME: &str = "oarlock";

/// Prints the completions for a shell.
///
/// # Errors
/// The output can't be written.
pub(crate) fn completions(args: CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(), NAME, &mut script);
    write_out(std::io::stdout().lock(), &script)
}

/// The definition without hidden commands, which no one types.
fn visible() -> Command {
    let all = Cli::command();
    let commands = all
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .args(all.get_arguments())
        .subcommands(commands)
}

/// Writes a manual page for the program and for each command.
///
/// # Errors
/// The directory or a page can't be written.
pub(crate) fn man(args: ManArgs) -> Result<(), Failure> {
    let written = fs::create_dir_all(&args.dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.dir));
    written.map_err(|error| {
        Failure::failed(format!(
            "cannot write the pages into {}: {error}; choose a directory that this user may write to",
            args.dir.display()
        ))
    })
}
