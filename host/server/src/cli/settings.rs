//! Flags of `oarlock settings`.

use clap::{Args, Subcommand};

use super::common::ClientArgs;

/// Flags of `oarlock settings`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock settings show\n  oarlock settings set fuel_per_command=2000000000 keys=200000\n  oarlock settings raise-level"
)]
pub(crate) struct SettingsArgs {
    /// What to do. Default: show.
    #[command(subcommand)]
    pub(crate) command: Option<SettingsCommand>,
    /// The cluster.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Subcommands of `oarlock settings`.
#[derive(Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// Show the settings of the cluster, and the flags of the responding node that differ.
    #[command(after_help = "Example:\n  oarlock settings show --json")]
    Show,
    /// Change settings: all of the given ones or none, on every node at the same entry of the log.
    #[command(after_help = "Example:\n  oarlock settings set fuel_per_command=2000000000")]
    Set {
        /// Name of the operator, for the logs of the nodes: up to 128 bytes.
        #[arg(
            long,
            value_name = "NAME",
            env = "OARLOCK_BY",
            default_value = "oarlock settings"
        )]
        by: String,
        /// Names and new values.
        #[arg(value_name = "NAME=VALUE", required = true)]
        values: Vec<String>,
    },
    /// Raise the level of the cluster after every node runs a newer release. A level is never lowered: nodes of the
    /// older release can't be started again.
    #[command(after_help = "Example:\n  oarlock settings raise-level")]
    RaiseLevel,
}
