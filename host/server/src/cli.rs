//! The command line: what can be called and with which flags.
//!
//! A flag that is not given comes from `OARLOCK_<FLAG>`, else from the file of `--config`, else from its default.
//! [`parse`] does all of that once; nothing else looks at arguments or at the environment.

mod file;
mod members;
mod new;
mod origin;
mod serve;
mod upgrade;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::exit::Failure;

pub(crate) use members::{MembersArgs, MembersCommand, TransferArgs};
pub(crate) use new::NewArgs;
pub(crate) use origin::Origins;
pub(crate) use serve::ServeArgs;
pub(crate) use upgrade::UpgradeArgs;

/// A Raft-replicated host for your own state machine, given as a WebAssembly component.
#[derive(Debug, Parser)]
#[command(name = "oarlock", bin_name = "oarlock", version, max_term_width = 100)]
#[command(arg_required_else_help = true, propagate_version = true)]
#[command(
    after_help = "Example:\n  oarlock demo          three nodes, a tour, commands to try\n  oarlock serve         one node with the built-in task queue, durable in ./oarlock-data"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Run three nodes in this process and show what they do.
    Demo(DemoArgs),
    /// Run one node of a cluster; with no flags, a cluster of one with the built-in task queue.
    Serve(Box<ServeArgs>),
    /// Have a command replicated and applied, and print the guest's reply.
    Apply(ApplyArgs),
    /// Ask the guest something that changes nothing, and print its answer.
    Query(QueryArgs),
    /// Show every node: role, term, log, state machine, health.
    Status(StatusArgs),
    /// Say what a WebAssembly file is, or every reason why a node would refuse it.
    Check(CheckArgs),
    /// Measure throughput and latency of a running cluster.
    Bench(BenchArgs),
    /// Have a node take a snapshot now.
    Snapshot(SnapshotArgs),
    /// Show, add, promote, replace or remove the nodes of a cluster.
    Members(MembersArgs),
    /// Give leadership to another node, without refusing a command.
    TransferLeader(TransferArgs),
    /// Write a project for a guest of your own: it builds and passes its tests.
    New(NewArgs),
    /// Have another guest take over while clients are served, or show which ones did.
    Upgrade(UpgradeArgs),
}

/// Flags of every command.
#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// File of settings, TOML: `flag_name = value` for any flag, with underscores.
    #[arg(long, value_name = "FILE", env = "OARLOCK_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,
}

/// Flags of commands that talk to a cluster.
#[derive(Debug, Args)]
pub(crate) struct EndpointArgs {
    /// Client addresses of nodes, any of them, separated by commas.
    #[arg(
        long,
        value_name = "ADDR,…",
        value_delimiter = ',',
        default_value = "127.0.0.1:8101"
    )]
    #[arg(env = "OARLOCK_ENDPOINTS", global = true)]
    pub(crate) endpoints: Vec<String>,
    /// How long to wait for an answer, in milliseconds.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 10_000,
        env = "OARLOCK_TIMEOUT_MS",
        global = true
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(crate) timeout_ms: u64,
}

/// Flags of `oarlock demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock demo\n  oarlock demo --script\n  oarlock demo --state-machine examples-wasm/dist/kv.wasm --base-port 9100"
)]
pub(crate) struct DemoArgs {
    /// The guest: a component, a core module with embedded WIT, or the text of either. Default: the built-in task queue.
    #[arg(long, value_name = "FILE", env = "OARLOCK_STATE_MACHINE")]
    pub(crate) state_machine: Option<PathBuf>,
    /// Where the nodes keep their data. Default: a temporary directory, removed at the end.
    #[arg(long, value_name = "DIR", env = "OARLOCK_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Peers listen on the ports from here + 1 on, clients are served from here + 1001 on. 0: any ports that are free.
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 7100,
        env = "OARLOCK_BASE_PORT"
    )]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=64_000))]
    pub(crate) base_port: u16,
    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 3, env = "OARLOCK_NODES")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) nodes: u16,
    /// Run the tour, then exit: 0 if every step of it worked.
    #[arg(long, env = "OARLOCK_SCRIPT", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) script: bool,
    /// What the nodes log: a level, or a filter as in `error,task_queue_raft=info`.
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "error",
        env = "OARLOCK_LOG"
    )]
    pub(crate) log: String,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// Flags of `oarlock apply`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["command", "file"]))]
#[command(
    after_help = "Example:\n  oarlock apply '{\"enqueue\":{\"queue\":\"email\",\"payload\":{\"to\":\"ann\"}}}'\n  echo '{\"add\":{\"by\":5}}' | oarlock apply - --endpoints 127.0.0.1:8101,127.0.0.1:8102"
)]
pub(crate) struct ApplyArgs {
    /// The command, as the guest wants it; `-` reads it from standard input.
    #[arg(value_name = "COMMAND", allow_hyphen_values = false)]
    pub(crate) command: Option<String>,
    /// Read the command from this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The same key with the same command is carried out once, and answered alike each time. Default: a random one.
    #[arg(long, value_name = "KEY", env = "OARLOCK_IDEMPOTENCY_KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Where and how long to ask.
    #[command(flatten)]
    pub(crate) endpoint: EndpointArgs,
    /// Print one JSON object with reply and log index.
    #[arg(long, env = "OARLOCK_JSON", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConsistencyArg {
    /// Sees every command that was answered before.
    #[default]
    Linearizable,
    /// What that node knows, which may be old.
    Stale,
}

/// Flags of `oarlock query`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["query", "file"]))]
#[command(
    after_help = "Example:\n  oarlock query '{\"stats\":{}}'\n  oarlock query '{\"get\":{\"key\":\"k\"}}' --consistency stale"
)]
pub(crate) struct QueryArgs {
    /// The question, as the guest wants it; `-` reads it from standard input.
    #[arg(value_name = "QUERY", allow_hyphen_values = false)]
    pub(crate) query: Option<String>,
    /// Read the question from this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How fresh the answer must be.
    #[arg(long, value_enum, default_value_t, env = "OARLOCK_CONSISTENCY")]
    pub(crate) consistency: ConsistencyArg,
    /// Where and how long to ask.
    #[command(flatten)]
    pub(crate) endpoint: EndpointArgs,
    /// Print one JSON object with answer and log index.
    #[arg(long, env = "OARLOCK_JSON", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// Flags of `oarlock status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock status\n  oarlock status --endpoints 127.0.0.1:8101,127.0.0.1:8102,127.0.0.1:8103 --json"
)]
pub(crate) struct StatusArgs {
    /// Where and how long to ask.
    #[command(flatten)]
    pub(crate) endpoint: EndpointArgs,
    /// Print one JSON object, with all that each node says of itself.
    #[arg(long, env = "OARLOCK_JSON", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// Flags of `oarlock check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock check examples-wasm/dist/queue.wasm\n  oarlock check guest.wasm --json\n  \
                  oarlock check guest.wasm --compiled-dir oarlock-data/compiled"
)]
pub(crate) struct CheckArgs {
    /// A component, a core module with embedded WIT, or the text of either.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Keep what is compiled in this directory, so that a node with the same `--compiled-dir` finds it.
    #[arg(long, value_name = "DIR", env = "OARLOCK_COMPILED_DIR")]
    pub(crate) compiled_dir: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long, env = "OARLOCK_JSON", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// Flags of `oarlock bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock bench --clients 64 --duration 10\n  oarlock bench --command '{\"put\":{\"key\":\"k{seq}\",\"value\":\"{payload}\"}}' --size 1024 --json"
)]
pub(crate) struct BenchArgs {
    /// Connections, each with one request under way.
    #[arg(long, value_name = "N", default_value_t = 64, env = "OARLOCK_CLIENTS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) clients: u32,
    /// How long to measure, in seconds, after one of warming up.
    #[arg(long, value_name = "S", default_value_t = 10, env = "OARLOCK_DURATION")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) duration: u64,
    /// Size of `{payload}`, in bytes.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 256,
        env = "OARLOCK_SIZE"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=16_777_216))]
    pub(crate) size: u64,
    /// What to send: `{seq}` becomes a number, `{client}` the connection's, `{payload}` a text. Default: fits the guest.
    #[arg(long, value_name = "TEMPLATE", env = "OARLOCK_COMMAND")]
    pub(crate) command: Option<String>,
    /// Send questions instead of commands.
    #[arg(long, env = "OARLOCK_QUERY", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) query: bool,
    /// Measure append + fdatasync of 4 KiB in this directory too.
    #[arg(long, value_name = "DIR", env = "OARLOCK_DISK")]
    pub(crate) disk: Option<PathBuf>,
    /// Where and how long to ask.
    #[command(flatten)]
    pub(crate) endpoint: EndpointArgs,
    /// Print one JSON object.
    #[arg(long, env = "OARLOCK_JSON", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// Flags of `oarlock snapshot`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oarlock snapshot --endpoints 127.0.0.1:8102")]
pub(crate) struct SnapshotArgs {
    /// Where and how long to ask.
    #[command(flatten)]
    pub(crate) endpoint: EndpointArgs,
    /// Print one JSON object.
    #[arg(long, env = "OARLOCK_JSON", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// A command with all of its settings, and where each of them came from.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// What to do.
    pub(crate) command: CliCommand,
    /// Where settings came from, for errors about them.
    pub(crate) origins: Origins,
}

/// Why there is no [`Invocation`].
#[derive(Debug)]
pub(crate) enum ParseError {
    /// Help or version was asked for, or clap has an error to show in its own way.
    Clap(clap::Error),
    /// The file of `--config`, or a setting that did not come from the command line.
    Settings(Failure),
}

/// Reads arguments, environment and file.
///
/// # Errors
/// Help was asked for, or something makes no sense; the error names the place it came from.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Invocation, ParseError> {
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let environment: BTreeMap<String, OsString> = variables
        .filter(|(name, _)| name.starts_with(origin::PREFIX))
        .collect();
    let definition = Cli::command();
    let (arguments, origins) =
        file::add_settings(&definition, arguments, &environment).map_err(ParseError::Settings)?;
    match Cli::try_parse_from(arguments) {
        Ok(cli) => Ok(Invocation {
            command: cli.command,
            origins,
        }),
        Err(error) => Err(origins.explain(error)),
    }
}

#[cfg(test)]
mod tests;
