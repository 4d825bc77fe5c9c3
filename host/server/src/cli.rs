//! The command line: commands and flags.
//!
//! A flag that is not given is read from the variable `OARLOCK_<FLAG>`, or else from the file of `--config`, or else it
//! has its default. [`parse`] does this once; no other module reads arguments or the environment.

mod archive;
mod audit;
mod authority;
mod backup;
mod bench;
mod build;
mod cert;
mod check;
mod client;
mod common;
mod completions;
mod demo;
mod dev;
mod doctor;
mod events;
mod file;
mod logs;
mod members;
mod new;
mod operations;
mod origin;
mod queue;
mod recover;
mod requests;
mod rfc3339;
mod serve;
mod settings;
mod sign_module;
mod test;
mod token;
mod top;
mod upgrade;

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use archive::ArchiveArgs;
pub(crate) use audit::{AuditArgs, AuditCommand};
pub(crate) use authority::{AuthorityArgs, NewClientArgs};
pub(crate) use backup::{BackupArgs, RestoreArgs, VerifyArgs};
pub(crate) use bench::BenchArgs;
pub(crate) use build::BuildArgs;
pub(crate) use cert::{CertArgs, CertCommand};
pub(crate) use check::{CheckArgs, CheckModuleArgs};
pub(crate) use client::{ClientLanguage, GenerateClientArgs};
pub(crate) use common::ClientArgs;
pub(crate) use completions::{CompletionsArgs, ManArgs};
pub(crate) use demo::DemoArgs;
pub(crate) use dev::DevArgs;
pub(crate) use doctor::DoctorArgs;
pub(crate) use events::EventsArgs;
pub(crate) use logs::LogsArgs;
pub(crate) use members::{MembersArgs, MembersCommand, TransferArgs};
pub(crate) use new::NewArgs;
pub(crate) use operations::OperationsArgs;
pub(crate) use origin::{Origins, ParseError};
pub(crate) use queue::{
    CatchUpArg, CronAddArgs, CronCommand, DedupeKeepArg, GroupCommand, GroupOpenArgs, ListArgs,
    ListStateArg, PayloadArgs, PutArgs, QueueArgs, QueueCommand, RedriveArgs, WorkArgs,
};
pub(crate) use recover::RecoverArgs;
pub(crate) use requests::{ApplyArgs, ConsistencyArg, QueryArgs, SnapshotArgs, StatusArgs};
pub(crate) use serve::{LogFormatArg, ServeArgs};
pub(crate) use settings::{SettingsArgs, SettingsCommand};
pub(crate) use sign_module::SignModuleArgs;
pub(crate) use test::TestArgs;
pub(crate) use token::{TokenArgs, TokenCommand};
pub(crate) use top::TopArgs;
pub(crate) use upgrade::UpgradeArgs;

/// A Raft-replicated host for WebAssembly state machines.
#[derive(Debug, Parser)]
#[command(name = "oarlock", bin_name = "oarlock", version, max_term_width = 100)]
#[command(arg_required_else_help = true, propagate_version = true)]
#[command(
    after_help = "Example:\n  oarlock demo          three nodes, a tour, commands to try\n  oarlock serve         one node with the built-in task queue, data in ./oarlock-data\n\nEvery flag can be set with OARLOCK_<FLAG> or in the file of --config.\nExit codes: 0 success, 1 refused or failed, 2 wrong usage, 3 no leader or no node reachable, 4 warnings of `oarlock doctor`."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Run a demo cluster in this process: a tour of failover and recovery, then commands to try.
    Demo(DemoArgs),
    /// Run one node. Without flags: a single-node cluster with the built-in task queue.
    Serve(Box<ServeArgs>),
    /// Apply a command to the state machine and print the reply.
    Apply(ApplyArgs),
    /// Query the state machine, without changing it, and print the response.
    Query(QueryArgs),
    /// Use the task queue: add tasks, run a program for each, show and change queues.
    Queue(Box<QueueArgs>),
    /// Follow the events of the state machine, over all nodes of --endpoints.
    Events(EventsArgs),
    /// Show the latest lines of the logs of all nodes and of their guests, or follow them.
    Logs(LogsArgs),
    /// Show role, term, log indexes, module and health of every node.
    Status(StatusArgs),
    /// Find out what is wrong with a cluster or a data directory, why it matters and what to do.
    Doctor(DoctorArgs),
    /// Show rates, latencies, roles, lag, memory and disk of every node, measured again and again.
    Top(TopArgs),
    /// Check a WebAssembly file: print what it contains, or every reason why a node would refuse it.
    Check(CheckArgs),
    /// Check the module on standard input, with limits on memory and time. For a node.
    #[command(hide = true)]
    CheckModule(CheckModuleArgs),
    /// Measure throughput and latency of a running cluster.
    Bench(BenchArgs),
    /// Take a snapshot now on every node of --endpoints.
    Snapshot(SnapshotArgs),
    /// List, add, promote, replace or remove members of the cluster.
    Members(MembersArgs),
    /// Transfer leadership to another voter. No client request fails.
    TransferLeader(TransferArgs),
    /// Show or change the replicated settings of the cluster, or raise its level.
    Settings(SettingsArgs),
    /// Show the comparison of the nodes' states, or accept one of them where no majority agrees.
    Audit(AuditArgs),
    /// Write the state of the cluster into a file, while it serves clients.
    Backup(BackupArgs),
    /// Copy the committed entries after a backup into a directory, while the cluster serves clients.
    Archive(ArchiveArgs),
    /// Make the data directory of a new cluster from the file of `oarlock backup`, or from an archive as of an entry or a time.
    Restore(RestoreArgs),
    /// Check a backup, an archive, or the data directory of a stopped node.
    Verify(VerifyArgs),
    /// Show what operators and upgraders did last. Nodes record it in the log once they use certificates.
    Operations(OperationsArgs),
    /// Record on a stopped node how to pass an entry at which every node stops.
    Recover(RecoverArgs),
    /// Create, show, renew and revoke the certificates of a cluster, its nodes and its clients.
    Cert(CertArgs),
    /// Create, show and revoke tokens of clients.
    Token(TokenArgs),
    /// Sign a module, for nodes with --module-signers, or create a key for that.
    SignModule(SignModuleArgs),
    /// Create a guest project that builds and passes its tests.
    New(NewArgs),
    /// Build the module of a guest project, whatever its language, and check it.
    Build(BuildArgs),
    /// Test a guest: run a suite of commands and queries on live, restored and upgraded copies, in this process.
    Test(TestArgs),
    /// Build a guest project on each change, and upgrade a local node to it.
    Dev(DevArgs),
    /// Generate a typed client of a guest in Rust, Python or TypeScript.
    Client(Box<GenerateClientArgs>),
    /// Print completions for a shell.
    Completions(CompletionsArgs),
    /// Write a manual page for the program and for each command.
    Man(ManArgs),
    /// Upgrade the cluster to another module while it serves clients, or show past upgrades.
    Upgrade(UpgradeArgs),
}

/// A parsed command line.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// The command with its settings.
    pub(crate) command: CliCommand,
    /// Where each setting was set, for error messages.
    pub(crate) origins: Origins,
}

/// The definition in which an empty variable counts as not set, as a shell or a unit file may leave it.
fn without_empty_variables(definition: Command) -> Command {
    let is_empty = |arg: &Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    definition
        .mut_args(|arg| {
            if is_empty(&arg) {
                arg.env(None::<&'static str>)
            } else {
                arg
            }
        })
        .mut_subcommands(without_empty_variables)
}

/// Parses arguments, environment and settings file.
///
/// # Errors
/// Help or version was requested, or a setting is not valid.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Invocation, ParseError> {
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let environment: BTreeMap<String, OsString> = variables
        .filter(|(name, value)| name.starts_with(origin::PREFIX) && !value.is_empty())
        .collect();
    let definition = Cli::command();
    let (arguments, origins) =
        file::add_settings(&definition, arguments, &environment).map_err(ParseError::Settings)?;
    let parsed = without_empty_variables(definition).try_get_matches_from(arguments);
    match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => Ok(Invocation {
            command: cli.command,
            origins,
        }),
        Err(error) => Err(origins.explain(error)),
    }
}

#[cfg(test)]
mod tests;
