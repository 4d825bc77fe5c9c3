//! Flags of `oarlock completions` and `oarlock man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::common::ConfigArgs;

/// Flags of `oarlock completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock completions bash > ~/.local/share/bash-completion/completions/oarlock\n  oarlock completions zsh > ~/.zfunc/_oarlock"
)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Flags of `oarlock man`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oarlock man ~/.local/share/man/man1\n  man oarlock-serve")]
pub(crate) struct ManArgs {
    /// The directory to write the pages into. It is created.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}
