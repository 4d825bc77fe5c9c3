//! Flags of `oarlock queue cron`.

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use super::produce::PayloadArgs;

/// Subcommands of `oarlock queue cron`.
#[derive(Debug, Subcommand)]
pub(crate) enum CronCommand {
    /// List the schedules.
    #[command(after_help = "Example:\n  oarlock queue cron list --json")]
    List,
    /// Add a schedule, or replace it.
    #[command(alias = "set")]
    Add(Box<CronAddArgs>),
    /// Remove a schedule. Tasks that it has added stay.
    #[command(
        alias = "delete",
        after_help = "Example:\n  oarlock queue cron remove backup"
    )]
    Remove {
        /// Name of the schedule.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Pause a schedule: it adds nothing.
    #[command(after_help = "Example:\n  oarlock queue cron pause backup")]
    Pause {
        /// Name of the schedule.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Resume a paused schedule. --catch-up of the schedule decides about the ticks that have passed.
    #[command(after_help = "Example:\n  oarlock queue cron resume backup")]
    Resume {
        /// Name of the schedule.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Add ticks to all schedules with a cron expression until Ctrl-C.
    #[command(
        after_help = "Example:\n  oarlock queue cron run\n  oarlock queue cron run --once\n\nThe cluster keeps a list of at most 1,000 ticks for each schedule, at most 400 days ahead. This command adds ticks\nbefore half of the list is over: keep one running, or run it with --once at least once in eight hours. Any number can\nrun at once; no tick is doubled."
    )]
    Run {
        /// Add the ticks that are needed now, and exit.
        #[arg(long, action = ArgAction::SetTrue)]
        once: bool,
    },
}

/// Flags of `oarlock queue cron add`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("ticks").required(true).args(["cron", "every_ms", "at_ms"]))]
#[command(
    after_help = "Example:\n  oarlock queue cron add weekdays --cron '0 9 * * 1-5' --zone Europe/Berlin --queue reports '\"all\"'\n  oarlock queue cron add backup --every-ms 3600000 --queue jobs '{\"what\":\"all\"}'\n  oarlock queue cron add launch --at-ms 1900000000000,1900000600000 --queue jobs '\"go\"'\n\nA schedule with --cron needs `oarlock queue cron run` in the long run: see its --help."
)]
pub(crate) struct CronAddArgs {
    /// Name of the schedule.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Name of the queue of its tasks.
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: String,
    /// Content of each task.
    #[command(flatten)]
    pub(crate) content: PayloadArgs,
    /// Cron expression: minute, hour, day of month, month and day of week, or @hourly, @daily, @weekly, @monthly, @yearly.
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) cron: Option<String>,
    /// Time zone of the expression: an IANA name.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    #[arg(conflicts_with_all = ["every_ms", "at_ms"])]
    pub(crate) zone: String,
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
    /// Add nothing until the schedule is resumed.
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
