//! Flags of `oarlock queue put`.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

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
    /// Which of two tasks with the same deduplication key is kept. Default: first.
    #[arg(long, value_enum, requires = "dedupe_key")]
    pub(crate) dedupe_keep: Option<DedupeKeepArg>,
    /// Whose share of the deliveries the task takes, for example a customer.
    #[arg(long, value_name = "KEY")]
    pub(crate) fairness_key: Option<String>,
    /// Deliveries of the fairness key in one turn, 1 to 1000.
    #[arg(long, value_name = "N", requires = "fairness_key")]
    pub(crate) weight: Option<u32>,
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

/// Which of two tasks with the same deduplication key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DedupeKeepArg {
    /// The first one: the second changes nothing.
    First,
    /// The last one: it replaces the content of the first while that one waits.
    Last,
    /// As last, and the delay starts again.
    Debounce,
}
