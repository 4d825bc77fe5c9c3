//! Flags of `oarlock upgrade`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::{CommonArgs, EndpointArgs};

/// Flags of `oarlock upgrade`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["file", "history"]))]
#[command(
    after_help = "Example:\n  oarlock upgrade queue-v2.wasm --dry-run\n  oarlock upgrade queue-v2.wasm --endpoints 127.0.0.1:8101,127.0.0.1:8102\n  oarlock upgrade --history"
)]
pub(crate) struct UpgradeArgs {
    /// The new guest: a component, a core module with embedded WIT, or the text of either.
    #[arg(value_name = "NEW.wasm")]
    pub(crate) file: Option<PathBuf>,
    /// Show what has run when, and what is under way.
    #[arg(long, env = "OARLOCK_HISTORY", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) history: bool,
    /// Do everything but the switch.
    #[arg(long, env = "OARLOCK_DRY_RUN", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) dry_run: bool,
    /// How long to wait for voters that are behind or away, in milliseconds; then the old guest goes on.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 60_000,
        env = "OARLOCK_WAIT_MS"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) wait_ms: u64,
    /// Who asks for it, for the history.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "oarlock upgrade",
        env = "OARLOCK_BY"
    )]
    pub(crate) by: String,
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
