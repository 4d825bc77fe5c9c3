//! Flags of `oarlock upgrade`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::common::ClientArgs;

/// Flags of `oarlock upgrade`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["file", "built_in", "history"]))]
#[command(
    after_help = "Example:\n  oarlock upgrade queue-v2.wasm --dry-run\n  oarlock upgrade queue-v2.wasm --endpoints 127.0.0.1:8101,127.0.0.1:8102\n  oarlock upgrade ledger.wasm --replace-machine\n  oarlock upgrade --history"
)]
pub(crate) struct UpgradeArgs {
    /// New module: a WebAssembly component, a core module with embedded WIT, or either in text format.
    #[arg(value_name = "NEW.wasm")]
    pub(crate) file: Option<PathBuf>,
    /// Upgrade to the task queue that this program contains.
    #[arg(long, env = "OARLOCK_BUILT_IN", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) built_in: bool,
    /// Show the active module, the upgrade in progress and past upgrades.
    #[arg(long, env = "OARLOCK_HISTORY", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) history: bool,
    /// Run every check on every voter, but do not activate the module.
    #[arg(long, env = "OARLOCK_DRY_RUN", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) dry_run: bool,
    /// Allow a module with another name than the active one. It must be able to read the state: with the same layout, or
    /// with `migrate`.
    #[arg(long, env = "OARLOCK_REPLACE_MACHINE", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) replace_machine: bool,
    /// How long to wait until every voter is ready, in milliseconds, 1 to 3600000. After that the upgrade is aborted and
    /// the current module keeps running.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 60_000,
        env = "OARLOCK_WAIT_MS"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) wait_ms: u64,
    /// Signature of the module, which `oarlock sign-module` has written. Default: NEW.wasm.sig, if there is one.
    #[arg(long, value_name = "FILE", env = "OARLOCK_SIGNATURE")]
    pub(crate) signature: Option<PathBuf>,
    /// Who requests the upgrade, for the history.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "oarlock upgrade",
        env = "OARLOCK_BY"
    )]
    pub(crate) by: String,
    /// The cluster.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
