//! The binary `oarlock`: runs nodes and talks to them.
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | what can be called, with which flags, from arguments, environment and file |
//! | [`settings`] | the settings of a node, checked |
//! | [`node`] | one running node: guest, Raft, HTTP |
//! | [`http`] | what the node says to clients |
//! | [`serve`] | the command `oarlock serve` |
//! | [`command`] | the commands that talk to a running cluster, or look at a file |
//! | [`compiled`] | compiled code on this node's disk |
//! | [`bench`] | the command `oarlock bench` |
//! | [`demo`] | the command `oarlock demo` |
//! | [`exit`] | exit codes and the errors that lead to them |

// A panic ends the process of the caller; return an error, or write in `unreachable!` why it cannot happen.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod audit;
mod bench;
mod cli;
mod command;
mod compiled;
mod deferred;
mod demo;
mod events;
mod exit;
mod guest;
mod http;
mod logging;
mod metrics;
mod node;
mod quarantine;
mod readiness;
mod retry;
mod serve;
mod settings;
mod status;
mod timekeeper;
mod upgrades;
mod wall_clock;

use std::io::Write;
use std::process::ExitCode;

use cli::{CliCommand, Invocation, ParseError};
use exit::Failure;

/// A node allocates in many threads at once, a little for each command. With the system's own allocator a put takes a
/// seventh more of the processors (`host/docs/performance.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

/// Each command makes the kind of runtime that suits it: a node many threads, a client one.
fn run(invocation: Invocation) -> Result<(), Failure> {
    let Invocation { command, origins } = invocation;
    match command {
        CliCommand::Serve(args) => serve::serve(*args, &origins),
        CliCommand::Check(args) => command::check(args),
        CliCommand::Apply(args) => command::apply(args),
        CliCommand::Query(args) => command::query(args),
        CliCommand::Status(args) => command::status(args),
        CliCommand::Snapshot(args) => command::snapshot(args),
        CliCommand::Members(args) => command::members(args),
        CliCommand::TransferLeader(args) => command::transfer_leader(args),
        CliCommand::New(args) => command::new(args),
        CliCommand::Upgrade(args) => command::upgrade(args),
        CliCommand::Bench(args) => bench::bench(args),
        CliCommand::Demo(args) => demo::demo(args, &origins),
    }
}
