//! Flags of `oarlock recover`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::common::{DataDirArgs, OutputArgs};

/// Flags of `oarlock recover`.
#[derive(Debug, Args)]
#[command(
    after_help = "After the loss of a majority:\n  oarlock recover --data-dir data/node1 --survivor data/node4 --dry-run          what each directory contains, and which is best\n  oarlock recover --data-dir data/node4 --survivor data/node1 --into data/new1   a new cluster from it\n\nAn entry at which every node stops:\n  oarlock recover --data-dir data/node1                          show the decisions about entries\n  oarlock recover --data-dir data/node1 --skip-entry 1207        on every node, while it is stopped\n  oarlock recover --data-dir data/node1 --at-entry 1207 --successor repaired.wasm"
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
    /// Another directory that has survived the loss of a majority, to compare. May be repeated.
    #[arg(long = "survivor", value_name = "DIR", env = "OARLOCK_SURVIVOR")]
    #[arg(value_delimiter = ',', conflicts_with_all = ["skip_entry", "at_entry"])]
    pub(crate) survivors: Vec<PathBuf>,
    /// Show what the directories contain, which one is best, and what may be lost. Change nothing.
    #[arg(long, env = "OARLOCK_DRY_RUN", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new(), conflicts_with_all = ["skip_entry", "at_entry"])]
    pub(crate) dry_run: bool,
    /// Make this directory, of a new cluster with the state of --data-dir. It must not exist, or be empty. --data-dir stays as it is.
    #[arg(long, value_name = "DIR", env = "OARLOCK_INTO")]
    #[arg(conflicts_with_all = ["skip_entry", "at_entry"])]
    pub(crate) into: Option<PathBuf>,
    /// The module that the log began with, if it is not the built-in task queue and --data-dir does not keep it.
    #[arg(long, value_name = "FILE", env = "OARLOCK_STATE_MACHINE")]
    pub(crate) state_machine: Option<PathBuf>,
    /// Id of the node that begins the new cluster. Default: that of the node of --data-dir.
    #[arg(long, value_name = "ID", env = "OARLOCK_NODE_ID")]
    pub(crate) node_id: Option<String>,
    /// Its address for peers, for a cluster that grows. Default: the one with which it is started.
    #[arg(long, value_name = "HOST:PORT", env = "OARLOCK_PEER_ADDR")]
    pub(crate) peer_addr: Option<String>,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
