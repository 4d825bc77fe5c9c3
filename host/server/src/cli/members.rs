//! Flags of `oarlock members` and `oarlock transfer-leader`.

use clap::{ArgAction, Args, Subcommand};

use super::common::ClientArgs;

/// Flags of `oarlock members`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock serve --join --node-id node4 --peer-addr 127.0.0.1:7104 --client-addr 127.0.0.1:8104 --data-dir data/node4\n  oarlock members add node4=127.0.0.1:7104 --voter\n  oarlock members list"
)]
pub(crate) struct MembersArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: MembersCommand,
    /// The cluster.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Subcommands of `oarlock members`.
#[derive(Debug, Subcommand)]
pub(crate) enum MembersCommand {
    /// List the members with their roles and addresses.
    #[command(after_help = "Example:\n  oarlock members list --json")]
    List,
    /// Add a node that runs with `oarlock serve --join`, as a learner or, with --voter, as a voter.
    #[command(after_help = "Example:\n  oarlock members add node4=127.0.0.1:7104 --voter")]
    Add {
        /// Node id, and its address for peers.
        #[arg(value_name = "ID=HOST:PORT")]
        node: String,
        /// Make the node a voter once it has caught up.
        #[arg(long, action = ArgAction::SetTrue)]
        voter: bool,
    },
    /// Make a learner that has caught up a voter.
    #[command(after_help = "Example:\n  oarlock members promote node4")]
    Promote {
        /// Node id.
        #[arg(value_name = "ID")]
        node: String,
    },
    /// Remove a node from the cluster. Stop its process afterwards.
    #[command(after_help = "Example:\n  oarlock members remove node3")]
    Remove {
        /// Node id.
        #[arg(value_name = "ID")]
        node: String,
    },
    /// Replace a node, which may be down, by a new one: one change, once the new node has caught up.
    #[command(after_help = "Example:\n  oarlock members replace node3 node4=127.0.0.1:7104")]
    Replace {
        /// Node id of the node to remove.
        #[arg(value_name = "OLD")]
        old: String,
        /// Node id of the new node, and its address for peers.
        #[arg(value_name = "ID=HOST:PORT")]
        node: String,
    },
}

/// Flags of `oarlock transfer-leader`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oarlock transfer-leader\n  oarlock transfer-leader node2")]
pub(crate) struct TransferArgs {
    /// Node id of the new leader. Default: the other voter with the most up-to-date log.
    #[arg(value_name = "ID")]
    pub(crate) node: Option<String>,
    /// The cluster.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
