//! Flags of `oarlock bench`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::common::ClientArgs;

/// Flags of `oarlock bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock bench --clients 64 --duration 10\n  oarlock bench --command '{\"put\":{\"key\":\"k{seq}\",\"value\":\"{payload}\"}}' --size 1024 --json"
)]
pub(crate) struct BenchArgs {
    /// Number of connections, 1 to 10000. Each has one request in flight.
    #[arg(long, value_name = "N", default_value_t = 64, env = "OARLOCK_CLIENTS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) clients: u32,
    /// Duration of the measurement, in seconds, after one second of warm-up.
    #[arg(long, value_name = "S", default_value_t = 10, env = "OARLOCK_DURATION")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) duration: u64,
    /// Size of `{payload}`, in bytes, up to 16777216.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 256,
        env = "OARLOCK_SIZE"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=16_777_216))]
    pub(crate) size: u64,
    /// Template of a request. `{seq}` is a number that counts up, `{client}` the number of the connection, `{payload}` a
    /// text of --size bytes. Default: a command of the example state machines.
    #[arg(long, value_name = "TEMPLATE", env = "OARLOCK_COMMAND")]
    pub(crate) command: Option<String>,
    /// Send queries instead of commands.
    #[arg(long, env = "OARLOCK_QUERY", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) query: bool,
    /// Measure 4 KiB appends with fdatasync in this directory too.
    #[arg(long, value_name = "DIR", env = "OARLOCK_DISK")]
    pub(crate) disk: Option<PathBuf>,
    /// The cluster.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
