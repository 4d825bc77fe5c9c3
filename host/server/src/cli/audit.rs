//! Flags of `oarlock audit`.

use clap::{Args, Subcommand};

use super::common::ClientArgs;

/// Flags of `oarlock audit`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oarlock audit show\n  oarlock audit accept node2")]
pub(crate) struct AuditArgs {
    /// What to do. Default: show.
    #[command(subcommand)]
    pub(crate) command: Option<AuditCommand>,
    /// The cluster.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Subcommands of `oarlock audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show the latest comparison of the nodes' states.
    #[command(after_help = "Example:\n  oarlock audit show --json")]
    Show,
    /// Accept the state of one node as the right one, where no majority of the voters agrees or the node is the only
    /// voter. The other nodes keep a copy of their state and install a snapshot of the accepted one: commands that only
    /// they have executed in another way count as the accepted node has executed them.
    #[command(after_help = "Example:\n  oarlock audit accept node2")]
    Accept {
        /// Node id.
        #[arg(value_name = "ID")]
        node: String,
        /// Name of the operator, for the logs of the nodes: up to 128 bytes.
        #[arg(
            long,
            value_name = "NAME",
            env = "OARLOCK_BY",
            default_value = "oarlock audit"
        )]
        by: String,
    },
}
