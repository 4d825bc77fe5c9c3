//! Flags of `oarlock recover`.

use std::path::PathBuf;

use clap::Args;

use super::common::{DataDirArgs, OutputArgs};

/// Flags of `oarlock recover`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock recover --data-dir data/node1                          show the decisions about entries\n  oarlock recover --data-dir data/node1 --skip-entry 1207        on every node, while it is stopped\n  oarlock recover --data-dir data/node1 --at-entry 1207 --successor repaired.wasm"
)]
pub(crate) struct RecoverArgs {
    /// The data directory. Its node is stopped.
    #[command(flatten)]
    pub(crate) storage: DataDirArgs,
    /// Skip this entry of the log, at which every node stops: its commands fail and change nothing.
    #[arg(
        long,
        value_name = "INDEX",
        conflicts_with = "at_entry",
        env = "OARLOCK_SKIP_ENTRY"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) skip_entry: Option<u64>,
    /// Have the module of --successor execute this entry and those after it.
    #[arg(
        long,
        value_name = "INDEX",
        requires = "successor",
        env = "OARLOCK_AT_ENTRY"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) at_entry: Option<u64>,
    /// The module that takes over the state at --at-entry.
    #[arg(
        long,
        value_name = "FILE",
        requires = "at_entry",
        env = "OARLOCK_SUCCESSOR"
    )]
    pub(crate) successor: Option<PathBuf>,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
