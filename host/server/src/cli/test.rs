//! Flags of `oarlock test`.

use std::path::PathBuf;

use clap::Args;

use super::common::OutputArgs;

/// Flags of `oarlock test`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock test\n  oarlock test seats\n  oarlock test seats.wasm suite.json --from seats-v1.wasm"
)]
pub(crate) struct TestArgs {
    /// Directory of a project, which is built first, or the file of a module.
    #[arg(value_name = "DIR|GUEST.wasm", default_value = ".")]
    pub(crate) guest: PathBuf,
    /// The suite. Default: suite.json in the project's directory, or in the working directory for a module.
    #[arg(value_name = "SUITE.json")]
    pub(crate) suite: Option<PathBuf>,
    /// An earlier module: the suite also runs on copies that begin with it and are upgraded, one before each step.
    #[arg(long, value_name = "OLD.wasm", env = "OARLOCK_FROM")]
    pub(crate) from: Option<PathBuf>,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
