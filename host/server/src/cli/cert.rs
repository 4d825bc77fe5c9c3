//! Flags of `oarlock cert`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Subcommand};

use super::authority::{AuthorityArgs, NewClientArgs, RevokingNodesArgs, ValidityArgs};
use super::common::OutputArgs;

/// Flags of `oarlock cert`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock cert ca --cluster-id prod\n  oarlock cert node node1 node2 node3 --host 127.0.0.1,localhost\n  oarlock cert client ann --roles reader,writer\n  oarlock serve --node-id node1 --certs-dir certs/node1\n  oarlock status --certs-dir certs/ann"
)]
pub(crate) struct CertArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: CertCommand,
    /// Where the authority is.
    #[command(flatten)]
    pub(crate) authority: AuthorityArgs,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Subcommands of `oarlock cert`.
#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Create the authority of a cluster, or rotate it.
    #[command(
        after_help = "Example:\n  oarlock cert ca --cluster-id prod\n\nRotation, while the cluster runs:\n  oarlock cert ca --rotate                                 a new authority, and the old one stays trusted\n  oarlock cert renew certs/node1 --authorities-only        on every node, before the next step\n  oarlock cert renew certs/node1                           on every node\n  oarlock cert ca --drop-old                               then renew --authorities-only again on every node"
    )]
    Ca {
        /// Id of the cluster, which `serve` uses too. For a cluster that exists: `oarlock serve` prints it at its start.
        #[arg(long, value_name = "NAME", env = "OARLOCK_CLUSTER_ID")]
        #[arg(default_value = "oarlock")]
        cluster_id: String,
        /// Replace the authority. The one before stays trusted until --drop-old.
        #[arg(long, env = "OARLOCK_ROTATE", action = ArgAction::SetTrue)]
        #[arg(value_parser = FalseyValueParser::new(), conflicts_with = "drop_old")]
        rotate: bool,
        /// Trust the newest authority only.
        #[arg(long, env = "OARLOCK_DROP_OLD", action = ArgAction::SetTrue)]
        #[arg(value_parser = FalseyValueParser::new())]
        drop_old: bool,
        /// How many days it is valid.
        #[arg(long, value_name = "N", env = "OARLOCK_DAYS", default_value_t = 3650)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Create certificates of nodes, each in a directory for --certs-dir of `serve`.
    #[command(
        after_help = "Example:\n  oarlock cert node node1 node2 node3 --host 127.0.0.1,localhost\n  oarlock cert node node1 --host node1.example,10.0.0.1 --out /etc/oarlock/certs"
    )]
    Node {
        /// Ids of the nodes.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        /// Names and addresses by which clients reach the nodes, separated by commas. Peers need none of them: they check the
        /// id.
        #[arg(
            long,
            value_name = "HOST,…",
            value_delimiter = ',',
            env = "OARLOCK_HOST"
        )]
        #[arg(default_value = "localhost,127.0.0.1,::1")]
        host: Vec<String>,
        /// Directory for the files of one node. Default: the directory of the authority, and in it one with the id.
        #[arg(long, value_name = "DIR", env = "OARLOCK_OUT")]
        out: Option<PathBuf>,
        /// How long it is valid.
        #[command(flatten)]
        validity: ValidityArgs,
    },
    /// Create the certificate of a client, in a directory for --certs-dir of the other commands.
    #[command(
        after_help = "Example:\n  oarlock cert client ann --roles reader,writer\n  oarlock cert client prometheus --roles monitor --out /etc/prometheus/oarlock"
    )]
    Client {
        /// The client.
        #[command(flatten)]
        client: NewClientArgs,
        /// Directory for its files. Default: the directory of the authority, and in it one with the name.
        #[arg(long, value_name = "DIR", env = "OARLOCK_OUT")]
        out: Option<PathBuf>,
        /// How long it is valid.
        #[command(flatten)]
        validity: ValidityArgs,
    },
    /// Show the certificates in directories or files.
    #[command(
        after_help = "Example:\n  oarlock cert show certs certs/node1\n  oarlock cert show certs/node1 --json"
    )]
    Show {
        /// Directories or files.
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
    },
    /// Replace certificate and key in directories by new ones for the same owner. A running node uses them by itself.
    #[command(
        after_help = "Example:\n  oarlock cert renew certs/node1 certs/node2\n  oarlock cert renew certs/node1 --authorities-only"
    )]
    Renew {
        /// Directories of nodes or clients.
        #[arg(value_name = "DIR", required = true)]
        dirs: Vec<PathBuf>,
        /// Only copy the certificates of the authorities.
        #[arg(long, env = "OARLOCK_AUTHORITIES_ONLY", action = ArgAction::SetTrue)]
        #[arg(value_parser = FalseyValueParser::new())]
        authorities_only: bool,
        /// How long it is valid.
        #[command(flatten)]
        validity: ValidityArgs,
    },
    /// Add a certificate to the file `revoked` of nodes. They close its connections and accept it no more.
    #[command(
        after_help = "Example:\n  oarlock cert revoke certs/ann --nodes certs/node1,certs/node2,certs/node3"
    )]
    Revoke {
        /// The certificate: its file, or the directory of its owner.
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// The nodes.
        #[command(flatten)]
        at: RevokingNodesArgs,
    },
}
