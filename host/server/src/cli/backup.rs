//! Flags of `oarlock backup`, `restore` and `verify`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::common::{ClientArgs, DataDirArgs, OutputArgs};
use super::rfc3339::parse_time;

/// Flags of `oarlock backup`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock backup queue.backup\n  oarlock backup /backups/monday.backup --endpoints 127.0.0.1:8102,127.0.0.1:8103\n  oarlock verify queue.backup"
)]
pub(crate) struct BackupArgs {
    /// The file to write. It appears once it is complete and checked.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Replace the file if it exists.
    #[arg(long, env = "OARLOCK_FORCE", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) force: bool,
    /// The cluster. The first node that responds makes the backup.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Flags of `oarlock restore`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock restore queue.backup --data-dir data/new1\n  oarlock serve --data-dir data/new1\n\n  oarlock restore --archive week49 --data-dir data/new1                                      all that the archive has\n  oarlock restore --archive week49 --to-time 2026-11-28T18:00:00Z --data-dir data/new1 --dry-run\n  oarlock restore --archive week49 --to-index 1206 --data-dir data/new1\n\n  oarlock restore queue.backup --data-dir data/new1 --node-id node1 --peer-addr 10.0.0.1:7101\n  oarlock serve --data-dir data/new1 --node-id node1 --peer-addr 10.0.0.1:7101"
)]
pub(crate) struct RestoreArgs {
    /// The backup. With --archive it may be left out: then the newest one of the archive before the point is used.
    #[arg(value_name = "FILE", required_unless_present = "archive")]
    pub(crate) file: Option<PathBuf>,
    /// Execute the entries of this archive after the backup.
    #[arg(long, value_name = "DIR", env = "OARLOCK_ARCHIVE")]
    pub(crate) archive: Option<PathBuf>,
    /// Restore the state after this entry. Default: the last one of the archive.
    #[arg(
        long,
        value_name = "INDEX",
        requires = "archive",
        env = "OARLOCK_TO_INDEX"
    )]
    pub(crate) to_index: Option<u64>,
    /// Restore the state at this time of the log: after the last entry that is not later. As 2026-11-28T18:00:00Z, or in milliseconds since 1970.
    #[arg(
        long,
        value_name = "TIME",
        requires = "archive",
        env = "OARLOCK_TO_TIME"
    )]
    #[arg(conflicts_with = "to_index", value_parser = parse_time)]
    pub(crate) to_time: Option<u64>,
    /// Execute everything and show what would be restored. Write nothing.
    #[arg(long, requires = "archive", env = "OARLOCK_DRY_RUN", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) dry_run: bool,
    /// Directory to create. It must not exist, or be empty.
    #[command(flatten)]
    pub(crate) storage: DataDirArgs,
    /// Id of the node that begins the new cluster. Start the node with the same one.
    #[arg(
        long,
        value_name = "ID",
        env = "OARLOCK_NODE_ID",
        default_value = "node1"
    )]
    pub(crate) node_id: String,
    /// Its address for peers, for a cluster that grows. Default: the one with which it is started.
    #[arg(long, value_name = "HOST:PORT", env = "OARLOCK_PEER_ADDR")]
    pub(crate) peer_addr: Option<String>,
    /// Id of the new cluster. Default: that of the cluster in the backup.
    #[arg(long, value_name = "NAME", env = "OARLOCK_CLUSTER_ID")]
    pub(crate) cluster_id: Option<String>,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Flags of `oarlock verify`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["file", "dir"]))]
#[command(
    after_help = "Example:\n  oarlock verify queue.backup\n  oarlock verify week49                     the directory of an archive\n  oarlock verify --data-dir data/node1      while the node is stopped"
)]
pub(crate) struct VerifyArgs {
    /// A backup, or the directory of an archive.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The data directory of a stopped node.
    #[arg(
        long = "data-dir",
        id = "dir",
        value_name = "DIR",
        env = "OARLOCK_DATA_DIR"
    )]
    pub(crate) dir: Option<PathBuf>,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
