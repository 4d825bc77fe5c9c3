//! Flags of `oarlock members` and `oarlock transfer-leader`.

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Subcommand};

use super::{CommonArgs, EndpointArgs};

/// Flags of `oarlock members`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock serve --join --node-id node4 --peer-addr 127.0.0.1:7104 --client-addr 127.0.0.1:8104 --data-dir data/node4\n  oarlock members add node4=127.0.0.1:7104 --voter\n  oarlock members list"
)]
pub(crate) struct MembersArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: MembersCommand,
    /// Where and how long to ask.
    #[command(flatten)]
    pub(crate) endpoint: EndpointArgs,
    /// Print one JSON object.
    #[arg(long, global = true, env = "OARLOCK_JSON", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// What can be done with the members of a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum MembersCommand {
    /// Show who belongs to the cluster, and who votes.
    #[command(after_help = "Example:\n  oarlock members list --json")]
    List,
    /// Add a node that was started with `oarlock serve --join`: it gets the log, and a vote only with --voter.
    #[command(after_help = "Example:\n  oarlock members add node4=127.0.0.1:7104 --voter")]
    Add {
        /// Its name, and where its peers reach it.
        #[arg(value_name = "ID=HOST:PORT")]
        node: String,
        /// Give it a vote as soon as it has caught up.
        #[arg(long, action = ArgAction::SetTrue)]
        voter: bool,
    },
    /// Give a learner that has caught up a vote.
    #[command(after_help = "Example:\n  oarlock members promote node4")]
    Promote {
        /// Its name.
        #[arg(value_name = "ID")]
        node: String,
    },
    /// Remove a node; stop its process afterwards.
    #[command(after_help = "Example:\n  oarlock members remove node3")]
    Remove {
        /// Its name.
        #[arg(value_name = "ID")]
        node: String,
    },
    /// Put a new node in the place of another one, which may be dead: one change, once the new one has caught up.
    #[command(after_help = "Example:\n  oarlock members replace node3 node4=127.0.0.1:7104")]
    Replace {
        /// Who goes.
        #[arg(value_name = "OLD")]
        old: String,
        /// Who comes, and where its peers reach it.
        #[arg(value_name = "ID=HOST:PORT")]
        node: String,
    },
}

/// Flags of `oarlock transfer-leader`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oarlock transfer-leader\n  oarlock transfer-leader node2")]
pub(crate) struct TransferArgs {
    /// Who is to lead. Default: the most up-to-date other voter.
    #[arg(value_name = "ID")]
    pub(crate) node: Option<String>,
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
