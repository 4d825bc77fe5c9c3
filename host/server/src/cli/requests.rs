//! Flags of `oarlock apply`, `query`, `status` and `snapshot`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};

use super::common::ClientArgs;

/// Flags of `oarlock apply`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["command", "file"]))]
#[command(
    after_help = "Example:\n  oarlock apply '{\"enqueue\":{\"queue\":\"email\",\"payload\":{\"to\":\"ann\"}}}'\n  echo '{\"add\":{\"by\":5}}' | oarlock apply - --endpoints 127.0.0.1:8101,127.0.0.1:8102"
)]
pub(crate) struct ApplyArgs {
    /// Command, in the format of the state machine; `-` reads it from standard input.
    #[arg(value_name = "COMMAND", allow_hyphen_values = false)]
    pub(crate) command: Option<String>,
    /// Read the command from this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Idempotency key, 1 to 256 visible ASCII characters. The same key with the same command is applied once and
    /// returns the first reply again. Default: a random key.
    #[arg(long, value_name = "KEY", env = "OARLOCK_IDEMPOTENCY_KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// The cluster.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Consistency of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConsistencyArg {
    /// Sees every command that was acknowledged before the query.
    #[default]
    Linearizable,
    /// Reads the state of the node that receives the query. It may lag behind; no leader is needed.
    Stale,
}

/// Flags of `oarlock query`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["query", "file"]))]
#[command(
    after_help = "Example:\n  oarlock query '{\"stats\":{}}'\n  oarlock query '{\"get\":{\"key\":\"k\"}}' --consistency stale\n  oarlock query '{\"stats\":{}}' --watch"
)]
pub(crate) struct QueryArgs {
    /// Query, in the format of the state machine; `-` reads it from standard input.
    #[arg(value_name = "QUERY", allow_hyphen_values = false)]
    pub(crate) query: Option<String>,
    /// Read the query from this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Consistency of the response.
    #[arg(long, value_enum, default_value_t, env = "OARLOCK_CONSISTENCY")]
    pub(crate) consistency: ConsistencyArg,
    /// Print the response again whenever it changes. The node reports each change, so an idle cluster is not polled.
    #[arg(long, env = "OARLOCK_WATCH", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) watch: bool,
    /// With --watch: least time between two queries, in milliseconds.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 100,
        env = "OARLOCK_INTERVAL_MS"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=3_600_000))]
    pub(crate) interval_ms: u64,
    /// With --watch: exit after so many responses. Default: never.
    #[arg(long, value_name = "N", env = "OARLOCK_COUNT")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// The cluster.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Flags of `oarlock status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock status\n  oarlock status --endpoints 127.0.0.1:8101,127.0.0.1:8102,127.0.0.1:8103 --json"
)]
pub(crate) struct StatusArgs {
    /// The cluster.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Flags of `oarlock snapshot`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oarlock snapshot --endpoints 127.0.0.1:8102")]
pub(crate) struct SnapshotArgs {
    /// The nodes that take a snapshot.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
