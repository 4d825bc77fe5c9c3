//! The binary `oarlock`: runs nodes and talks to them.
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | what can be called, with which flags, from arguments, environment and file |
//! | [`settings`] | the settings of a node, checked |
//! | [`node`] | one running node: guest, Raft, HTTP |
//! | [`http`] | what the node says to clients |
//! | [`serve`] | the command `oarlock serve` |
//! | [`exit`] | exit codes and the errors that lead to them |

mod cli;
mod exit;

use std::io::Write;
use std::process::ExitCode;

use cli::{Command, Invocation, ParseError};
use exit::Failure;

fn main() -> ExitCode {
    let outcome = match cli::parse(std::env::args_os().collect()) {
        Ok(invocation) => run(invocation),
        Err(ParseError::Settings(failure)) => Err(failure),
        Err(ParseError::Clap(error)) => {
            // A reader that went away wants no words.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(anstream::stderr(), "error: {failure}");
            ExitCode::from(&failure)
        }
    }
}

fn run(invocation: Invocation) -> Result<(), Failure> {
    let Invocation { command, origins } = invocation;
    match command {
        Command::Serve(_)
        | Command::Demo(_)
        | Command::Apply(_)
        | Command::Query(_)
        | Command::Status(_)
        | Command::Check(_)
        | Command::Bench(_)
        | Command::Snapshot(_) => Err(Failure::failed(format!("{origins:?}"))),
    }
}
