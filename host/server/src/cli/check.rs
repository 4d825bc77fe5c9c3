//! Flags of `oarlock check`.

use std::path::PathBuf;

use clap::Args;

use super::common::OutputArgs;

/// Flags of `oarlock check-module`, which a node runs as a child process.
#[derive(Debug, Args)]
pub(crate) struct CheckModuleArgs {
    /// Directory for compiled code.
    #[arg(long, value_name = "DIR")]
    pub(crate) compiled_dir: Option<PathBuf>,
    /// Writable memory, in bytes.
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_bytes: u64,
    /// Processor time of all threads, in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) processor_seconds: u64,
    /// Take only the processor time that others leave.
    #[arg(long)]
    pub(crate) in_background: bool,
}

/// Flags of `oarlock check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock check examples-wasm/dist/queue.wasm\n  oarlock check guest.wasm --json\n  \
                  oarlock check guest.wasm --compiled-dir oarlock-data/compiled"
)]
pub(crate) struct CheckArgs {
    /// A WebAssembly component, a core module with embedded WIT, or either in text format.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Keep the compiled code in this directory. A node with the same `--compiled-dir` then starts without compiling.
    #[arg(long, value_name = "DIR", env = "OARLOCK_COMPILED_DIR")]
    pub(crate) compiled_dir: Option<PathBuf>,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
