//! Flags of `oarlock queue put` and `oarlock queue cron`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand, ValueEnum};

/// The content of a task.
#[derive(Debug, Args)]
pub(crate) struct PayloadArgs {
    /// Content of the task: JSON; `-` reads it from standard input.
    #[arg(value_name = "PAYLOAD", required_unless_present = "file")]
    pub(crate) payload: Option<String>,
    /// Read the content from this file.
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    pub(crate) file: Option<PathBuf>,
    /// The content is any bytes or text, not JSON.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) bytes: bool,
}

/// Flags of `oarlock queue put`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock queue put email '{\"to\":\"ann\"}' --delay-ms 60000 --attribute trace=t1\n  oarlock queue put thumbnails --file photo.jpg --bytes --content-type image/jpeg\n  oarlock queue put email --lines - --dedupe-key monday"
)]
pub(crate) struct PutArgs {
    /// Name of the queue.
    #[arg(value_name = "QUEUE")]
    pub(crate) queue: String,
    /// The content.
    #[command(flatten)]
    pub(crate) content: PayloadArgs,
    /// Add a task for each line of the content, in batches. Empty lines are passed over.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) lines: bool,
    /// Smaller values are delivered first.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub(crate) priority: i64,
    /// Delay until the task is ready, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) delay_ms: u64,
    /// Deliveries until the task is dead. Default: that of the queue.
    #[arg(long, value_name = "N")]
    pub(crate) max_attempts: Option<u32>,
    /// Longest time until the first delivery, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub(crate) ttl_ms: Option<u64>,
    /// Deduplication key: the queue adds one task per key. With --lines, the number of the line is appended.
    #[arg(long, value_name = "KEY")]
    pub(crate) dedupe_key: Option<String>,
    /// How long the deduplication key holds, in milliseconds.
    #[arg(long, value_name = "MS", requires = "dedupe_key")]
    pub(crate) dedupe_window_ms: Option<u64>,
    /// Whose share of the deliveries the task takes, for example a customer.
    #[arg(long, value_name = "KEY")]
    pub(crate) fairness_key: Option<String>,
    /// Tasks with the same key are delivered one at a time, in the order of their arrival.
    #[arg(long, value_name = "KEY")]
    pub(crate) ordering_key: Option<String>,
    /// Text for workers. Can be given up to 10 times.
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub(crate) attributes: Vec<String>,
    /// Media type of the content, for workers.
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
    /// Name of an open group that the task belongs to.
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Id of a task that must be done before. Can be given several times.
    #[arg(long = "after", value_name = "ID")]
    pub(crate) after: Vec<u64>,
}

/// Subcommands of `oarlock queue cron`.
#[derive(Debug, Subcommand)]
pub(crate) enum CronCommand {
    /// List the schedules.
    #[command(after_help = "Example:\n  oarlock queue cron list --json")]
    List,
    /// Add a schedule, or replace it.
    Set(Box<CronSetArgs>),
    /// Delete a schedule. Tasks that it has added stay.
    #[command(after_help = "Example:\n  oarlock queue cron delete backup")]
    Delete {
        /// Name of the schedule.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Flags of `oarlock queue cron set`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("ticks").required(true).args(["every_ms", "at_ms"]))]
#[command(
    after_help = "Example:\n  oarlock queue cron set backup --queue jobs --every-ms 3600000 '{\"what\":\"all\"}'\n  oarlock queue cron set launch --queue jobs --at-ms 1900000000000,1900000600000 '\"go\"'"
)]
pub(crate) struct CronSetArgs {
    /// Name of the schedule.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Name of the queue of its tasks.
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: String,
    /// Content of each task.
    #[command(flatten)]
    pub(crate) content: PayloadArgs,
    /// Time between two ticks, in milliseconds, at least 1000.
    #[arg(long, value_name = "MS")]
    pub(crate) every_ms: Option<u64>,
    /// First tick, in milliseconds since 1970-01-01 UTC. Default: one interval from now.
    #[arg(long, value_name = "MS", requires = "every_ms")]
    pub(crate) start_ms: Option<u64>,
    /// The ticks, in milliseconds since 1970-01-01 UTC, separated by commas, at most 1,000.
    #[arg(long, value_name = "MS,…", value_delimiter = ',')]
    pub(crate) at_ms: Vec<u64>,
    /// What happens with ticks that passed while the schedule was paused or the cluster was down.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) catch_up: CatchUpArg,
    /// Add nothing until the schedule is set again.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) paused: bool,
}

/// What happens with ticks that were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CatchUpArg {
    /// One task for all of them.
    #[default]
    Last,
    /// One task for each.
    All,
    /// None.
    Skip,
}

impl CatchUpArg {
    /// Its name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::All => "all",
            Self::Skip => "skip",
        }
    }
}
