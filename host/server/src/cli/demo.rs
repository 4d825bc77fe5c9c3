//! Flags of `oarlock demo`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::common::ConfigArgs;

/// Flags of `oarlock demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock demo\n  oarlock demo --script\n  oarlock demo --state-machine examples-wasm/dist/kv.wasm --base-port 9100"
)]
pub(crate) struct DemoArgs {
    /// State machine: a WebAssembly component, a core module with embedded WIT, or either in text format. Default: the
    /// built-in task queue.
    #[arg(long, value_name = "FILE", env = "OARLOCK_STATE_MACHINE")]
    pub(crate) state_machine: Option<PathBuf>,
    /// Directory for the data of all nodes. Default: a temporary directory, removed at the end.
    #[arg(long, value_name = "DIR", env = "OARLOCK_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// First port: node N uses PORT + N for peers and PORT + 1000 + N for clients. 0: any free ports.
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 7100,
        env = "OARLOCK_BASE_PORT"
    )]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=64_000))]
    pub(crate) base_port: u16,
    /// Number of nodes, 1 to 9.
    #[arg(long, value_name = "N", default_value_t = 3, env = "OARLOCK_NODES")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) nodes: u16,
    /// Exit after the tour. The exit code is 0 if every step succeeded.
    #[arg(long, env = "OARLOCK_SCRIPT", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) script: bool,
    /// Log level or filter of the nodes, for example `error,task_queue_raft=info`.
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "error",
        env = "OARLOCK_LOG"
    )]
    pub(crate) log: String,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: ConfigArgs,
}
