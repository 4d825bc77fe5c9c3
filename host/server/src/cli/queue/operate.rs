//! Flags of `oarlock queue list` and `oarlock queue redrive`.

use clap::{ArgAction, Args, ValueEnum};

/// Flags of `oarlock queue list`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock queue list email\n  oarlock queue list email --state timed --min-age-ms 60000 --payload --json"
)]
pub(crate) struct ListArgs {
    /// Name of the queue.
    #[arg(value_name = "QUEUE")]
    pub(crate) queue: String,
    /// State of the tasks.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) state: ListStateArg,
    /// Only tasks with this fairness key.
    #[arg(long, value_name = "KEY")]
    pub(crate) fairness_key: Option<String>,
    /// Only tasks that were added at least this long ago, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) min_age_ms: u64,
    /// Show the contents, too.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) payload: bool,
    /// Most tasks.
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) max: u32,
    /// Continue after this place, which the list before printed.
    #[arg(long, value_name = "PLACE")]
    pub(crate) after: Option<String>,
}

/// State of listed tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListStateArg {
    /// Tasks that can be delivered, in the order of priority, key and age.
    #[default]
    Ready,
    /// Delayed and leased tasks, and those that expire, in the order of their timers.
    Timed,
    /// Dead tasks, in the order of age.
    Dead,
}

/// Flags of `oarlock queue redrive`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock queue redrive email --error timeout --dry-run\n  oarlock queue redrive email --id 5 --id 9\n  oarlock queue redrive email-dead --to email"
)]
pub(crate) struct RedriveArgs {
    /// Name of the queue that holds the dead tasks.
    #[arg(value_name = "QUEUE")]
    pub(crate) queue: String,
    /// Only the task with this id. Can be given several times.
    #[arg(long = "id", value_name = "ID")]
    pub(crate) ids: Vec<u64>,
    /// Only tasks whose last error contains this text.
    #[arg(long, value_name = "TEXT")]
    pub(crate) error: Option<String>,
    /// Only tasks with this fairness key.
    #[arg(long, value_name = "KEY")]
    pub(crate) fairness_key: Option<String>,
    /// Only tasks that were added at least this long ago, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) min_age_ms: u64,
    /// Another queue to move them to.
    #[arg(long, value_name = "QUEUE")]
    pub(crate) to: Option<String>,
    /// Count the tasks, and change nothing.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) dry_run: bool,
}
