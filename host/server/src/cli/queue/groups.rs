//! Flags of `oarlock queue group`.

use clap::{Args, Subcommand};

/// Subcommands of `oarlock queue group`.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Begin a group of tasks. Tasks join it with `oarlock queue put --group`.
    Open(GroupOpenArgs),
    /// End the addition of tasks to a group.
    #[command(after_help = "Example:\n  oarlock queue group close import")]
    Close {
        /// Name of the group.
        #[arg(value_name = "GROUP")]
        name: String,
    },
    /// Show how many tasks of a group are done, as JSON.
    #[command(after_help = "Example:\n  oarlock queue group show import")]
    Show {
        /// Name of the group.
        #[arg(value_name = "GROUP")]
        name: String,
    },
}

/// Flags of `oarlock queue group open`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock queue group open import --on-complete reports '{\"what\":\"import\"}' --on-dead alarms '\"import\"'"
)]
pub(crate) struct GroupOpenArgs {
    /// Name of the group.
    #[arg(value_name = "GROUP")]
    pub(crate) name: String,
    /// Queue and content, in JSON, of the task that is added when the group is closed and all its tasks are done.
    #[arg(long, num_args = 2, value_names = ["QUEUE", "PAYLOAD"])]
    pub(crate) on_complete: Vec<String>,
    /// Queue and content, in JSON, of the task that is added when the first of its tasks is dead.
    #[arg(long, num_args = 2, value_names = ["QUEUE", "PAYLOAD"])]
    pub(crate) on_dead: Vec<String>,
}
