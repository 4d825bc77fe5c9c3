//! Flags of `oarlock doctor`.

use std::path::PathBuf;

use clap::Args;

use super::common::ClientArgs;

/// Flags of `oarlock doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock doctor --endpoints 127.0.0.1:8101,127.0.0.1:8102,127.0.0.1:8103\n  oarlock doctor --data-dir data/node1      while the node is stopped\n\nExit codes: 0 nothing to do, 1 something is critical, 2 wrong usage, 3 no node responds, 4 warnings."
)]
pub(crate) struct DoctorArgs {
    /// Examine the data directory of a stopped node, and its certificates if --certs-dir names them, instead of running nodes.
    #[arg(
        long = "data-dir",
        id = "dir",
        value_name = "DIR",
        env = "OARLOCK_DATA_DIR"
    )]
    pub(crate) dir: Option<PathBuf>,
    /// The cluster. One node is enough: it names the others.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
