//! Flags of `oarlock client`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::common::ClientArgs;

/// The language of a generated client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientLanguage {
    /// A module on the crate `oarlock-client`.
    Rust,
    /// One file, standard library only; Python 3.11 or later.
    Python,
    /// One file, `fetch` only.
    Typescript,
}

/// Flags of `oarlock client`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock client python --schema src/schema.json --out kv.py\n  oarlock client typescript --schema guest.wasm --out kv.ts\n  oarlock client rust --endpoints 127.0.0.1:8101 > src/kv.rs"
)]
pub(crate) struct GenerateClientArgs {
    /// Language of the client.
    #[arg(value_name = "LANGUAGE", value_enum)]
    pub(crate) language: ClientLanguage,
    /// The schema, or a module that contains one. Default: the schema of the guest that runs on --endpoints.
    #[arg(long, value_name = "FILE", env = "OARLOCK_SCHEMA")]
    pub(crate) schema: Option<PathBuf>,
    /// Write the client to this file. Default: standard output.
    #[arg(long, value_name = "FILE", env = "OARLOCK_OUT")]
    pub(crate) out: Option<PathBuf>,
    /// The cluster.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
