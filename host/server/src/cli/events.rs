//! Flags of `oarlock events`.

use clap::Args;

use super::common::ClientArgs;

/// Flags of `oarlock events`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock events\n  oarlock events --topic sold --after 120.0 --count 10 --json --endpoints 127.0.0.1:8101,127.0.0.1:8102"
)]
pub(crate) struct EventsArgs {
    /// Only events of this topic.
    #[arg(long, value_name = "TOPIC", env = "OARLOCK_TOPIC")]
    pub(crate) topic: Option<String>,
    /// Begin after the event with this id, such as 120.0; 0.0 begins with the oldest that a node stores. Default: new
    /// events.
    #[arg(long, value_name = "ID", env = "OARLOCK_AFTER")]
    pub(crate) after: Option<String>,
    /// Exit after so many events. Default: never.
    #[arg(long, value_name = "N", env = "OARLOCK_COUNT")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// The cluster. --timeout-ms: how long no node may accept the connection.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
