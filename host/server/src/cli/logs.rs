//! Flags of `oarlock logs`.

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};

use super::common::ClientArgs;

/// How severe a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevelArg {
    /// Something failed.
    Error,
    /// An operator should look at it.
    Warn,
    /// Normal operation.
    Info,
    /// Details for debugging.
    Debug,
    /// Single steps.
    #[default]
    Trace,
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogSourceArg {
    /// Guests and nodes.
    #[default]
    All,
    /// The guest.
    Guest,
    /// The node.
    Node,
}

/// Flags of `oarlock logs`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock logs\n  oarlock logs -f --source guest --level warn\n  oarlock logs --node node2 --tail 1000 --json --endpoints 127.0.0.1:8101,127.0.0.1:8102"
)]
pub(crate) struct LogsArgs {
    /// Go on with new lines, until Ctrl-C.
    #[arg(long, short, env = "OARLOCK_FOLLOW", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) follow: bool,
    /// Only these nodes, separated by commas. Default: all members of the cluster.
    #[arg(long, value_name = "ID,…", value_delimiter = ',', env = "OARLOCK_NODE")]
    pub(crate) node: Vec<String>,
    /// Only lines of this level and more severe ones. A node stores those that pass its own filter, --log of `oarlock serve`.
    #[arg(long, value_enum, default_value_t, env = "OARLOCK_LEVEL")]
    pub(crate) level: LogLevelArg,
    /// Only lines of the guest, or only those of the node.
    #[arg(long, value_enum, default_value_t, env = "OARLOCK_SOURCE")]
    pub(crate) source: LogSourceArg,
    /// How many past lines of each node, 0 to 10000.
    #[arg(long, value_name = "N", default_value_t = 100, env = "OARLOCK_TAIL")]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub(crate) tail: u64,
    /// Exit after so many lines. Default: no limit.
    #[arg(long, value_name = "N", env = "OARLOCK_COUNT")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// The cluster. One node is enough: it names the others.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
