//! Flags of `oarlock operations`.

use clap::Args;

use super::common::ClientArgs;

/// Flags of `oarlock operations`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock operations --certs-dir certs/ann\n  oarlock operations --json --certs-dir certs/ann"
)]
pub(crate) struct OperationsArgs {
    /// The cluster.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
