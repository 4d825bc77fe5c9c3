//! The binary `oarlock`: runs nodes and sends requests to them.
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | commands and flags, from arguments, environment and settings file |
//! | [`settings`] | the validated settings of a node |
//! | [`node`] | one running node: guest, Raft, HTTP |
//! | [`http`] | the HTTP API of a node |
//! | [`tls`], [`access`] | certificates and encryption; who sends a request and what it may do |
//! | [`signers`] | signatures of modules |
//! | [`own_hosts`] | which hosts a request may name |
//! | [`private_files`], [`descriptors`], [`resource_limits`] | file modes, file descriptors and limits of a process |
//! | [`serve`] | the command `oarlock serve` |
//! | [`command`] | the commands that send requests to a cluster or read a file |
//! | [`doctor`] | what is wrong, why it matters and what to do |
//! | [`schema`] | the schema of a guest's messages |
//! | [`built_in`] | the task queues in this binary |
//! | [`compiled`] | compiled code on disk |
//! | [`module_check`] | checks modules in a child process |
//! | [`archive`], [`archive_streams`] | the files of archives; the streams of entries that a node sends to them |
//! | [`backup`] | the file format of backups |
//! | [`bench`] | the command `oarlock bench` |
//! | [`demo`] | the command `oarlock demo` |
//! | [`dev`] | the command `oarlock dev` |
//! | [`exit`] | exit codes and the errors that lead to them |

// A panic ends the process of the caller; return an error, or write in `unreachable!` why it cannot happen.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod access;
mod archive;
mod archive_streams;
mod audit;
mod backup;
mod bench;
mod built_in;
mod cli;
mod command;
mod compiled;
mod decisions;
mod deferred;
mod demo;
mod descriptors;
mod dev;
mod doctor;
mod events;
mod exit;
mod file_writes;
mod first_start;
mod guest;
mod history;
mod http;
mod log_module;
mod logging;
mod memory;
mod metrics;
mod module_check;
mod node;
mod node_log;
mod observations;
mod own_hosts;
mod private_files;
mod process_facts;
mod quarantine;
mod readiness;
mod resource_limits;
mod schema;
mod serve;
mod service_manager;
mod settings;
mod signers;
mod start_limits;
mod start_notices;
mod state_audit;
mod status;
mod timekeeper;
mod timestamp;
mod tls;
mod upgrades;
mod wall_clock;

use std::io::Write;
use std::process::ExitCode;

use cli::{CliCommand, Invocation, ParseError};
use exit::Failure;

/// A node allocates on many threads, a little for each command. The system allocator costs 14 % more processor time for
/// each put: `host/docs/performance.md`, decision record 0014.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match cli::parse(std::env::args_os().collect()) {
        Ok(invocation) => run(invocation),
        Err(ParseError::Settings(failure)) => Err(failure),
        Err(ParseError::Clap(error)) => {
            // Standard output may be closed: that is not an error.
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

/// Each command creates its own runtime: a node needs many threads, a client one.
fn run(invocation: Invocation) -> Result<(), Failure> {
    let Invocation { command, origins } = invocation;
    match command {
        CliCommand::Serve(args) => serve::serve(*args, &origins),
        CliCommand::Check(args) => command::check(args),
        CliCommand::CheckModule(args) => command::check_module(args),
        CliCommand::Apply(args) => command::apply(args),
        CliCommand::Query(args) => command::query(args),
        CliCommand::Queue(args) => command::queue(*args),
        CliCommand::Status(args) => command::status(args),
        CliCommand::Doctor(args) => command::doctor(args),
        CliCommand::Top(args) => command::top(args),
        CliCommand::Snapshot(args) => command::snapshot(args),
        CliCommand::Members(args) => command::members(args),
        CliCommand::TransferLeader(args) => command::transfer_leader(args),
        CliCommand::Settings(args) => command::settings(args),
        CliCommand::Audit(args) => command::audit(args),
        CliCommand::Backup(args) => command::backup(args),
        CliCommand::Archive(args) => command::archive(args),
        CliCommand::Restore(args) => command::restore(args),
        CliCommand::Verify(args) => command::verify(args),
        CliCommand::Operations(args) => command::operations(args),
        CliCommand::Recover(args) => command::recover(args),
        CliCommand::Cert(args) => command::cert(args),
        CliCommand::Token(args) => command::token(args),
        CliCommand::SignModule(args) => command::sign_module(args),
        CliCommand::New(args) => command::new(args),
        CliCommand::Build(args) => command::build(args),
        CliCommand::Test(args) => command::test(args),
        CliCommand::Client(args) => command::client(*args),
        CliCommand::Events(args) => command::events(args),
        CliCommand::Logs(args) => command::logs(args),
        CliCommand::Upgrade(args) => command::upgrade(args),
        CliCommand::Completions(args) => command::completions(args),
        CliCommand::Man(args) => command::man(args),
        CliCommand::Bench(args) => bench::bench(args),
        CliCommand::Dev(args) => dev::dev(args, &origins),
        CliCommand::Demo(args) => demo::demo(args, &origins),
    }
}
