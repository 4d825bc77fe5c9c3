//! Flags of `oarlock top`.

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::common::ClientArgs;

/// Flags of `oarlock top`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock top --endpoints 127.0.0.1:8101,127.0.0.1:8102,127.0.0.1:8103\n  oarlock top --once --json\n\nRates and latencies need the role `monitor`, the rest the role `reader`."
)]
pub(crate) struct TopArgs {
    /// Show one table and exit. This is the default if standard output is not a terminal, unless --json is set.
    #[arg(long, env = "OARLOCK_ONCE", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) once: bool,
    /// Time between two measurements, in milliseconds, 100 to 60000.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 2_000,
        env = "OARLOCK_INTERVAL_MS"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(100..=60_000))]
    pub(crate) interval_ms: u64,
    /// The cluster. One node is enough: it names the others.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
