//! Flags of `oarlock build`.

use std::path::PathBuf;

use clap::Args;

use super::common::OutputArgs;

/// Flags of `oarlock build`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oarlock build\n  oarlock build seats --json")]
pub(crate) struct BuildArgs {
    /// Directory of the project.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
