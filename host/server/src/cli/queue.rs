//! Flags of `oarlock queue`.

mod cron;
mod groups;
mod operate;
mod produce;
mod work;

use clap::{Args, Subcommand};

use super::common::ClientArgs;

pub(crate) use cron::{CatchUpArg, CronAddArgs, CronCommand};
pub(crate) use groups::{GroupCommand, GroupOpenArgs};
pub(crate) use operate::{ListArgs, ListStateArg, RedriveArgs};
pub(crate) use produce::{DedupeKeepArg, PayloadArgs, PutArgs};
pub(crate) use work::WorkArgs;

/// Flags of `oarlock queue`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock queue put email '{\"to\":\"ann\"}'\n  oarlock queue work email -j 4 -- ./handler.sh\n  oarlock queue stats\n  oarlock queue redrive email --dry-run\n\nIt needs a cluster that runs the task queue of version 2 or later."
)]
pub(crate) struct QueueArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: QueueCommand,
    /// The cluster.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Subcommands of `oarlock queue`.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Add a task, or with --lines a task for each line. The queue is created if it does not exist.
    Put(Box<PutArgs>),
    /// Run a program for each task of a queue, with the task's content on its standard input.
    Work(WorkArgs),
    /// Show the numbers of all queues, or of one.
    #[command(after_help = "Example:\n  oarlock queue stats\n  oarlock queue stats email --json")]
    Stats {
        /// Name of the queue. Default: all queues.
        #[arg(value_name = "QUEUE")]
        queue: Option<String>,
    },
    /// Show the numbers of the busiest queues. On a terminal, again after each change, until Ctrl-C.
    #[command(after_help = "Example:\n  oarlock queue top")]
    Top {
        /// Least time between two tables, in milliseconds.
        #[arg(long, value_name = "MS", default_value_t = 1000)]
        #[arg(value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
        refresh_ms: u64,
    },
    /// List the tasks of a queue in one state.
    List(ListArgs),
    /// Show the tasks that are delivered next, with their contents. Nothing is delivered.
    #[command(
        after_help = "Example:\n  oarlock queue peek email\n  oarlock queue peek email --max 10 --json"
    )]
    Peek {
        /// Name of the queue.
        #[arg(value_name = "QUEUE")]
        queue: String,
        /// Most tasks.
        #[arg(long, value_name = "N", default_value_t = 1)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
        max: u32,
    },
    /// List the dead tasks of a queue, oldest first, with their last errors.
    #[command(after_help = "Example:\n  oarlock queue dead email --max 10")]
    Dead {
        /// Name of the queue.
        #[arg(value_name = "QUEUE")]
        queue: String,
        /// Most tasks.
        #[arg(long, value_name = "N", default_value_t = 100)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
        max: u32,
        /// Continue after this place, which the list before printed.
        #[arg(long, value_name = "PLACE")]
        after: Option<String>,
    },
    /// Show one task with its failed attempts, as JSON.
    #[command(after_help = "Example:\n  oarlock queue task 5")]
    Task {
        /// Id of the task.
        #[arg(value_name = "ID")]
        id: u64,
    },
    /// Return dead tasks to their queue, with attempts counted from 0.
    Redrive(RedriveArgs),
    /// Stop deliveries of a queue. Tasks can still be added, acknowledged and returned.
    #[command(after_help = "Example:\n  oarlock queue pause email")]
    Pause {
        /// Name of the queue.
        #[arg(value_name = "QUEUE")]
        queue: String,
    },
    /// Start deliveries of a paused queue.
    #[command(after_help = "Example:\n  oarlock queue resume email")]
    Resume {
        /// Name of the queue.
        #[arg(value_name = "QUEUE")]
        queue: String,
    },
    /// Remove the tasks of a queue that wait, or with --dead its dead tasks. They can't be restored.
    #[command(after_help = "Example:\n  oarlock queue purge email --dead")]
    Purge {
        /// Name of the queue.
        #[arg(value_name = "QUEUE")]
        queue: String,
        /// Remove the dead tasks instead of those that wait.
        #[arg(long)]
        dead: bool,
    },
    /// Remove a task that waits, or tell the worker of a task that runs to stop.
    #[command(after_help = "Example:\n  oarlock queue cancel 5")]
    Cancel {
        /// Id of the task.
        #[arg(value_name = "ID")]
        id: u64,
    },
    /// Change settings of a queue.
    #[command(
        after_help = "Example:\n  oarlock queue configure email '{\"max_attempts\":5,\"retry\":{\"backoff\":\"exponential\",\"base_ms\":1000}}'\n  oarlock queue configure email '{\"concurrency\":10,\"dead_letter\":\"email-dead\"}'"
    )]
    Configure {
        /// Name of the queue.
        #[arg(value_name = "QUEUE")]
        queue: String,
        /// A JSON object with the settings to change. `null` restores the default of a setting.
        #[arg(value_name = "SETTINGS")]
        settings: String,
    },
    /// Change weight and limits of a fairness key of a queue.
    #[command(
        after_help = "Example:\n  oarlock queue configure-key email customer-7 '{\"weight\":5,\"concurrency\":2}'"
    )]
    ConfigureKey {
        /// Name of the queue.
        #[arg(value_name = "QUEUE")]
        queue: String,
        /// The fairness key.
        #[arg(value_name = "KEY")]
        key: String,
        /// A JSON object with the settings to change. `null` restores the default of a setting.
        #[arg(value_name = "SETTINGS")]
        settings: String,
    },
    /// List the fairness keys of a queue.
    #[command(after_help = "Example:\n  oarlock queue keys email")]
    Keys {
        /// Name of the queue.
        #[arg(value_name = "QUEUE")]
        queue: String,
        /// Continue after this key, which the list before printed.
        #[arg(long, value_name = "KEY")]
        after: Option<String>,
    },
    /// Show what needs attention: ready tasks that no worker takes, tasks near their last attempt, long leases.
    #[command(after_help = "Example:\n  oarlock queue stuck")]
    Stuck,
    /// Wait until a task is done, and print its result as JSON. It fails if the task is dead, or is not done in time.
    #[command(after_help = "Example:\n  oarlock queue wait 5 --wait-ms 600000")]
    Wait {
        /// Id of the task.
        #[arg(value_name = "ID")]
        id: u64,
        /// How long to wait, in milliseconds.
        #[arg(long, value_name = "MS", default_value_t = 60_000)]
        #[arg(value_parser = clap::value_parser!(u64).range(0..=86_400_000))]
        wait_ms: u64,
    },
    /// Begin, end or show a group: tasks that are followed by another one when all are done.
    #[command(
        after_help = "Example:\n  oarlock queue group open import --on-complete reports '\"imported\"'\n  oarlock queue put rows '1' --group import\n  oarlock queue group close import"
    )]
    Group {
        /// What to do.
        #[command(subcommand)]
        command: GroupCommand,
    },
    /// List, add, pause or remove schedules, which add a task at each tick.
    #[command(
        after_help = "Example:\n  oarlock queue cron list\n  oarlock queue cron add weekdays --cron '0 9 * * 1-5' --zone Europe/Berlin --queue reports '\"all\"'\n  oarlock queue cron run"
    )]
    Cron {
        /// What to do.
        #[command(subcommand)]
        command: CronCommand,
    },
}
