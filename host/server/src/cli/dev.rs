//! Flags of `oarlock dev`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::common::ConfigArgs;

/// Flags of `oarlock dev`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oarlock new seats && oarlock dev seats\n  oarlock dev --fresh")]
pub(crate) struct DevArgs {
    /// Directory of the guest project.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) project: PathBuf,
    /// Begin with an empty state: remove the state of earlier runs, which is in DIR/.oarlock-dev.
    #[arg(long, env = "OARLOCK_FRESH", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) fresh: bool,
    /// Address for clients (HTTP).
    #[arg(long, value_name = "HOST:PORT", env = "OARLOCK_CLIENT_ADDR")]
    #[arg(default_value = "127.0.0.1:8101")]
    pub(crate) client_addr: String,
    /// Log level or filter of the node. The target of the guest's own lines is `guest`.
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "warn,guest=trace",
        env = "OARLOCK_LOG"
    )]
    pub(crate) log: String,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: ConfigArgs,
}
