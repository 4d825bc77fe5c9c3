//! Flags of `oarlock sign-module`.

use std::path::PathBuf;

use clap::Args;

use super::common::OutputArgs;

/// Flags of `oarlock sign-module`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["file", "new_key"]))]
#[command(
    after_help = "Example:\n  oarlock sign-module --new-key module.key           prints the public key, for --module-signers of the nodes\n  oarlock sign-module queue.wasm --key module.key   writes queue.wasm.sig, which `oarlock upgrade` sends"
)]
pub(crate) struct SignModuleArgs {
    /// Module to sign. The signature is written next to it, with the ending `.sig`.
    #[arg(value_name = "FILE.wasm", requires = "key")]
    pub(crate) file: Option<PathBuf>,
    /// Key that signs. Keep it away from the nodes: with it, everyone can sign modules.
    #[arg(long, value_name = "FILE", env = "OARLOCK_KEY")]
    pub(crate) key: Option<PathBuf>,
    /// Write a new key to this file, which only you can read, and print its public key.
    #[arg(
        long,
        value_name = "FILE",
        env = "OARLOCK_NEW_KEY",
        conflicts_with = "key"
    )]
    pub(crate) new_key: Option<PathBuf>,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
