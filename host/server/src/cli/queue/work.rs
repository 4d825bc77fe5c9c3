//! Flags of `oarlock queue work`.

use std::ffi::OsString;

use clap::{ArgAction, Args};

/// Flags of `oarlock queue work`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock queue work email -j 4 -- ./handler.sh\n  oarlock queue work thumbnails --lease-ms 60000 --result -- convert - -resize 100 png:-\n  oarlock queue work email --drain -- sh -c 'cat; exit 65'\n\nThe handler gets the content of the task on standard input, and in its environment:\n  OARLOCK_TASK_ID, OARLOCK_TASK_QUEUE, OARLOCK_TASK_ATTEMPT, OARLOCK_TASK_CONTENT_TYPE,\n  OARLOCK_TASK_FAIRNESS_KEY, OARLOCK_TASK_ORDERING_KEY, OARLOCK_TASK_ATTRIBUTES (JSON),\n  OARLOCK_TASK_ATTRIBUTE_<NAME> for each attribute.\nIts exit code decides: 0 the task is done, 65 the task is dead, others the attempt failed and is tried again as the\nretry policy of the queue says. The end of its standard error is the reason.\n\nCtrl-C stops: no more tasks are taken, and handlers that run may finish. After --grace-ms, or at a second Ctrl-C, they\nget SIGTERM, and 5 seconds later SIGKILL, and their tasks are returned."
)]
pub(crate) struct WorkArgs {
    /// Names of the queues.
    #[arg(value_name = "QUEUE", required = true, num_args = 1..=64)]
    pub(crate) queues: Vec<String>,
    /// Number of tasks at once, 1 to 1000.
    #[arg(short = 'j', long = "jobs", value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) jobs: u16,
    /// Length of a lease, in milliseconds. It is extended while the handler runs. If this process dies, its tasks are
    /// delivered again after this time.
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(100..=86_400_000))]
    pub(crate) lease_ms: u64,
    /// Name of the worker. Default: name of the host and number of the process.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// How long handlers may run on after Ctrl-C, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=86_400_000))]
    pub(crate) grace_ms: u64,
    /// Keep the handler's standard output as the result of the task: JSON as it is, other text as a string, at most 64 KiB.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) result: bool,
    /// Exit once no task is ready, instead of waiting for the next one.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) drain: bool,
    /// The handler: a program with its arguments.
    #[arg(value_name = "HANDLER", last = true, required = true, num_args = 1..)]
    pub(crate) handler: Vec<OsString>,
}
